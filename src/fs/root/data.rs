//! Reads a file, completely or without its holes, and copies one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

const BUFFER: usize = 256 * 1024;

/// Receives data and its offset; an error ends the reading.
pub type Take<'a> = &'a mut dyn FnMut(u64, &[u8]) -> io::Result<()>;

/// Reads a file from its first byte to its last, without its holes, which may be of any size.
pub fn read_data(file: &File, take: Take<'_>) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut offset = 0;
    loop {
        let end = match rustix::fs::seek(file, SeekFrom::Data(offset)) {
            Ok(data) => {
                offset = data;
                rustix::fs::seek(file, SeekFrom::Hole(data))?
            }
            // There is no data behind this.
            Err(Errno::NXIO) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        while offset < end {
            let most = usize::try_from(end - offset).map_or(BUFFER, |n| n.min(BUFFER));
            let count = file.read_at(&mut buffer[..most], offset)?;
            if count == 0 {
                return Ok(());
            }
            take(offset, &buffer[..count])?;
            offset += count as u64;
        }
    }
}

/// Bytes of a file's data, without its holes.
pub fn data_length(file: &File) -> io::Result<u64> {
    let (mut offset, mut length) = (0, 0);
    loop {
        match rustix::fs::seek(file, SeekFrom::Data(offset)) {
            Ok(data) => {
                offset = rustix::fs::seek(file, SeekFrom::Hole(data))?;
                length += offset - data;
            }
            // There is no data behind this.
            Err(Errno::NXIO) => return Ok(length),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Reads a file from its first byte to its last.
pub fn read_all(file: &File, take: Take<'_>) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut offset = 0;
    loop {
        let count = file.read_at(&mut buffer, offset)?;
        if count == 0 {
            return Ok(());
        }
        take(offset, &buffer[..count])?;
        offset += count as u64;
    }
}

/// Copies a file into an empty one: reflinks it if the file system supports that, and otherwise copies its
/// data and keeps the holes.
pub fn clone_or_copy(source: &File, file: &File) -> io::Result<()> {
    let size = source.metadata()?.len();
    if size == 0 || rustix::fs::ioctl_ficlone(file, source).is_ok() {
        return Ok(());
    }
    file.set_len(size)?;
    read_data(source, &mut |offset, data| file.write_all_at(data, offset))
}
