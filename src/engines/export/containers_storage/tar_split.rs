//! The tar-split of a layer: from it and the layer directory, containers/storage rebuilds the layer's
//! archive byte by byte, to save or push an image.
//!
//! It holds everything between the contents of files verbatim, and for each file its path and a checksum.
//! Files that are not on disk as they are in the archive (one that comes twice, a sparse file, a whiteout
//! with content) are stored with their content. A file is referred to by its path only if it was found
//! there, without following a symbolic link, and compared to its last byte.
//! Source: tar-split 0.11, `tar/storage` and `tar/asm`.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc::{CRC_64_GO_ISO, Crc, Table};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::canonical;
use crate::compress::codec::LayerReader;
use crate::error::{Error, Result};
use crate::fs::root::Dir;
use crate::image::Layer;
use crate::path::EntryPath;
use crate::store::pipeline::Run;
use crate::tar::archive::{Archive, EntryKind};

const BUFFER: usize = 256 * 1024;
/// The size of a segment in bytes, to limit memory.
const SEGMENT: usize = 64 * 1024;
static CHECKSUM: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_GO_ISO);

/// Writes the tar-split of a layer. Its blob is read to the last byte and verified. Returns the size of the
/// archive in bytes.
pub fn write(layer: &Layer, directory: &Dir, out: File, run: Run<'_>) -> Result<u64> {
    let blob = layer.blob.get()?.open();
    let mut reader = LayerReader::with_limits(blob, layer.expected.clone(), run.limits)?;
    let packer = RefCell::new(Packer::new(out));
    let recorder = Recorder {
        inner: BufReader::with_capacity(BUFFER, &mut reader),
        packer: &packer,
    };
    let mut archive = Archive::with_limits(recorder, run.limits);
    // Readers reject a repeated path.
    let mut named = HashSet::new();
    while let Some(entry) = archive.next_entry()? {
        if run.progress.is_cancelled() {
            return Err(Error::cancelled());
        }
        // Data that was not compared is recorded when the next entry is read.
        if let EntryKind::File(shape) = &entry.kind
            && shape.size > 0
            && shape.extents.is_none()
            && !named.contains(&entry.path)
            && let Some(file) = find(directory, &entry.path, shape.size)
        {
            let is_same = compare(&mut archive, &packer, &file, &entry.path, shape.size);
            if is_same
                .map_err(|error| Error::reading("comparing it", error).at_entry(&entry.path))?
            {
                named.insert(entry.path);
            }
        }
    }
    // Anything after the end of the archive is recorded too.
    archive.finish()?;
    reader.finish()?;
    let packer = packer.into_inner();
    packer
        .finish()
        .map_err(|error| Error::system("writing its tar-split", error))
}

/// The file at a path of the layer, if it may match an entry.
fn find(directory: &Dir, path: &EntryPath, size: u64) -> Option<File> {
    let file = directory.open_file(path).ok()?;
    let found = file.metadata().ok()?;
    (found.is_file() && found.len() == size).then_some(file)
}

type Recorded<'a, R> = Archive<Recorder<'a, R>>;

/// Compares the content of an entry with a file, and refers to the file. Returns false as soon as they
/// differ, and leaves the rest to be recorded.
fn compare<R: Read>(
    archive: &mut Recorded<'_, R>,
    packer: &RefCell<Packer>,
    file: &File,
    path: &EntryPath,
    size: u64,
) -> io::Result<bool> {
    let (mut data, mut on_disk) = (vec![0; SEGMENT], vec![0; SEGMENT]);
    let (mut checksum, mut offset) = (CHECKSUM.digest(), 0);
    packer.borrow_mut().is_recording = false;
    while offset < size {
        let count = archive.data().read(&mut data)?;
        let (data, on_disk) = (&data[..count], &mut on_disk[..count]);
        if file.read_exact_at(on_disk, offset).is_err() || data != on_disk {
            let mut packer = packer.borrow_mut();
            packer.is_recording = true;
            packer.copy(file, offset)?;
            return packer.raw(data).map(|()| false);
        }
        checksum.update(data);
        offset += count as u64;
    }
    let mut packer = packer.borrow_mut();
    packer.is_recording = true;
    packer.file(path, size, checksum.finalize()).map(|()| true)
}

/// Records the bytes that are read through it, while recording is on.
struct Recorder<'a, R> {
    inner: R,
    packer: &'a RefCell<Packer>,
}

impl<R: Read> Read for Recorder<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let mut packer = self.packer.borrow_mut();
        if packer.is_recording {
            packer.raw(&buffer[..count])?;
        }
        Ok(count)
    }
}

/// Writes the parts of an archive, one JSON object each.
struct Packer {
    out: BufWriter<GzEncoder<File>>,
    is_recording: bool,
    /// The bytes of the next segment.
    segment: Vec<u8>,
    position: u64,
    /// The size of the archive so far.
    size: u64,
}

impl Packer {
    fn new(out: File) -> Packer {
        Packer {
            out: BufWriter::new(GzEncoder::new(out, Compression::fast())),
            is_recording: true,
            segment: Vec::new(),
            position: 0,
            size: 0,
        }
    }

    fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.segment.extend_from_slice(bytes);
        match self.segment.len() >= SEGMENT {
            true => self.end_segment(),
            false => Ok(()),
        }
    }

    /// Records the first bytes of a file, which are those of an entry.
    fn copy(&mut self, file: &File, length: u64) -> io::Result<()> {
        let (mut buffer, mut offset) = (vec![0; SEGMENT], 0);
        while offset < length {
            let most = usize::try_from(length - offset).map_or(SEGMENT, |left| left.min(SEGMENT));
            file.read_exact_at(&mut buffer[..most], offset)?;
            self.raw(&buffer[..most])?;
            offset += most as u64;
        }
        Ok(())
    }

    fn end_segment(&mut self) -> io::Result<()> {
        if self.segment.is_empty() {
            return Ok(());
        }
        let payload = STANDARD.encode(&self.segment);
        self.size += self.segment.len() as u64;
        self.segment.clear();
        self.line(json!({ "type": 2, "payload": payload }))
    }

    fn file(&mut self, path: &EntryPath, size: u64, checksum: u64) -> io::Result<()> {
        self.end_segment()?;
        self.size += size;
        let payload = STANDARD.encode(checksum.to_be_bytes());
        let mut line = json!({ "type": 1, "size": size, "payload": payload });
        match std::str::from_utf8(path.as_bytes()) {
            Ok(name) => line["name"] = json!(name),
            Err(_) => line["name_raw"] = json!(STANDARD.encode(path.as_bytes())),
        }
        self.line(line)
    }

    fn line(&mut self, mut line: Value) -> io::Result<()> {
        line["position"] = json!(self.position);
        self.position += 1;
        self.out.write_all(&canonical::compact(&line)?)?;
        self.out.write_all(b"\n")
    }

    fn finish(mut self) -> io::Result<u64> {
        self.end_segment()?;
        self.out.into_inner()?.finish()?;
        Ok(self.size)
    }
}
