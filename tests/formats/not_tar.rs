//! T1: what is no tar archive is refused, and named by its first bytes; what is an archive is read,
//! however empty it is and whatever stands behind its end.

use std::io::{self, Read};

use lowerdir::internals::Archive;
use lowerdir::{Kind, Result};

use crate::blobs::{gzip, xz, zstd};
use crate::read::read;
use crate::tarball::{LayerBuilder, header};

/// Zeros, then these bytes, then more zeros.
fn image(zeros: usize, magic: &[u8]) -> Vec<u8> {
    [&vec![0; zeros][..], magic, &[0; 5000]].concat()
}

/// What `read` says, through a decoder.
fn decoded(blob: &[u8]) -> Result<usize> {
    let mut bytes = Vec::new();
    let decoder = lowerdir::internals::Decoder::open(blob)?;
    let reading = |error| lowerdir::Error::reading("reading", error);
    { decoder }.read_to_end(&mut bytes).map_err(reading)?;
    Ok(read(&bytes)?.len())
}

#[test]
fn t1_file_system_images_are_no_empty_archives() {
    let superblock = [&[0; 56][..], b"\x53\xef"].concat();
    let inodes = [b"\x10", &superblock[1..]].concat();
    let btrfs = [b"sum.", &[0; 60][..], b"_BHRfS_M"].concat();
    for (blob, name) in [
        (image(1024, b"\xe2\xe1\xf5\xe0"), "an EROFS image"),
        (image(1024, &superblock), "an ext2, ext3 or ext4 image"),
        (image(1024, &inodes), "an ext2, ext3 or ext4 image"),
        (image(0x8000, b"\x01CD001\x01"), "an ISO 9660 image"),
        (image(0x8000, b"\x00BEA01\x01"), "a UDF image"),
        (image(0x1_0000, &btrfs), "a btrfs image"),
        (image(512, b"x"), "has other bytes at 512"),
        (image(3 << 20, b"x"), "has other bytes at 3145728"),
        (image(513, b"x"), "has other bytes at 512"),
    ] {
        for blob in [blob.clone(), zstd(&blob), gzip(&blob), xz(&blob)] {
            let error = decoded(&blob).unwrap_err();
            assert_eq!(error.kind(), Kind::Refused);
            let text = error.to_string();
            assert!(text.starts_with("this is not a tar archive"), "{text}");
            assert!(text.contains(name), "{text}");
        }
    }
}

#[test]
fn t1_an_archive_of_nothing_but_zeros_is_empty() {
    for length in [0, 512, 1024, 1025, 10_240, 1 << 20] {
        assert_eq!(read(&vec![0; length]).unwrap().len(), 0, "{length}");
    }
}

#[test]
fn t1_behind_the_end_of_an_archive_may_be_anything() {
    let archive = LayerBuilder::new().file("f", 0o644, "body").finish();
    let archive = [&archive[..], b"garbage", &[7; 2000]].concat();
    assert_eq!(read(&archive).unwrap().len(), 1);
    let label = header(b'V', b"label", b"", &crate::tarball::Meta::new(0), 0);
    let labelled = [&label[..], &[0; 1024], b"garbage"].concat();
    assert!(read(&labelled).unwrap().is_empty());
}

/// So many zeros, without memory for them.
struct Zeros(u64);

impl Read for Zeros {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Not in whole blocks, and each byte once.
        let most = buffer.len().min(70_001);
        let count = usize::try_from(self.0).map_or(most, |left| left.min(most));
        buffer[..count].fill(0);
        self.0 -= count as u64;
        Ok(count)
    }
}

#[test]
fn t1_zeros_are_not_held_in_memory() {
    let mut archive = Archive::new(Zeros(1 << 30).chain(&b"x"[..]));
    let error = archive.next_entry().unwrap_err();
    assert!(error.to_string().contains("at 1073741824"), "{error}");
    let mut archive = Archive::new(Zeros(1 << 28));
    assert!(archive.next_entry().unwrap().is_none());
    assert!(archive.next_entry().unwrap().is_none());
}

#[test]
fn t1_what_is_no_archive_is_named() {
    for (start, name) in [
        (&b"PK\x03\x04"[..], "a zip archive"),
        (b"7z\xbc\xaf\x27\x1c\0\x04", "a 7z archive"),
        (b"Rar!\x1a\x07\x01\0", "a RAR archive"),
        (b"07070100000001", "a cpio archive"),
        (b"\xc7\x71\0\0", "a cpio archive"),
        (b"!<arch>\ndebian-binary", "an ar archive or Debian package"),
        (b"\xed\xab\xee\xdb\x03\0", "an RPM package"),
        (b"hsqs\x02\0\0\0", "a squashfs image"),
        (b"XFSB\0\0\x10\0", "an xfs image"),
        (b"\x7fELF\x02\x01", "an ELF program"),
        (b"\0asm\x01\0\0\0", "a WebAssembly module"),
        (b"BZh91AY&SY", "bzip2-compressed"),
        (b"\x04\x22\x4d\x18\x64\x40", "lz4-compressed"),
        (b"\x5d\0\0\x80\0\xff\xff", "lzma-compressed"),
        (b"LZIP\x01", "lzip-compressed"),
        (b"\x1f\x9d\x90", "compressed by compress(1)"),
        (b"\x1f\x8b\x08\0", "gzip-compressed twice"),
        (b"\x28\xb5\x2f\xfd\x24", "zstd-compressed twice"),
        (b"\xfd7zXZ\0\0\x04", "xz-compressed twice"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "a Git LFS pointer",
        ),
        (b"<!DOCTYPE HTML PUBLIC", "an HTML page"),
        (b"\n <html lang=en>", "an HTML page"),
        (b"<?xml version=\"1.0\"?>", "an XML document"),
        (b"{ \"errors\": [] }", "a JSON document"),
        (b"[{\"Config\":1}]", "a JSON document"),
        (b"\xef\xbb\xbf{}", "a JSON document"),
    ] {
        // A short one, and one of several blocks, which has no zeros where a checksum would be.
        for blob in [start.to_vec(), [start, &[b'9'; 2000]].concat()] {
            let error = read(&blob).map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), Kind::Refused);
            let expected = format!("this is not a tar archive: it is {name}");
            assert_eq!(error.to_string(), expected);
            // A hint gives the command for a compression.
            let command = error
                .hint_text()
                .is_some_and(|hint| hint.contains(" FILE`"));
            assert_eq!(command, name.contains("compressed"), "{name}");
        }
    }
}

#[test]
fn t1_a_boot_sector_is_named() {
    let mut sector = vec![7; 512];
    sector[510..].copy_from_slice(b"\x55\xaa");
    let error = read(&[sector, vec![0; 4096]].concat())
        .map(|_| ())
        .unwrap_err();
    assert!(error.to_string().contains("a boot sector"), "{error}");
}

#[test]
fn t1_what_has_no_name_is_not_called_damaged() {
    let error = read(&[b'9'; 2000]).map(|_| ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "this is not a tar archive, or its first header is damaged"
    );
    let error = read(b"text").map(|_| ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "this is not a tar archive: it is too short"
    );
}

/// A name that begins like something else is a name.
#[test]
fn an_archive_is_one_whatever_its_first_name() {
    for name in [
        "PK\x03\x04",
        "070701",
        "{\"a\"",
        "<html",
        "BZh",
        "hsqs",
        "]",
    ] {
        let archive = LayerBuilder::new().file(name, 0o644, "").finish();
        assert_eq!(read(&archive).unwrap().len(), 1, "{name}");
    }
    let mut damaged = LayerBuilder::new().file("PK\x03\x04", 0o644, "").finish();
    damaged[20] ^= 1;
    let error = read(&damaged).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("checksum does not match"));
}

#[test]
fn the_input_of_an_archive_is_read_to_its_last_byte() {
    let archive = LayerBuilder::new().file("f", 0o644, "body").finish();
    let behind = Broken(&archive);
    let mut archive = Archive::new(behind);
    while archive.next_entry().unwrap().is_some() {}
    let error = archive.finish().map(|_| ()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(5));
}

/// Gives some bytes, then the error of a broken disk.
struct Broken<'a>(&'a [u8]);

impl Read for Broken<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::Error::from_raw_os_error(5)),
            count => Ok(count),
        }
    }
}
