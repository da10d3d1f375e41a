//! Readers that give little at a time, stumble, or fail: the result is the same, or the error is.

use std::io::{self, Read};

use lowerdir::Digest;
use lowerdir::image::Expected;
use lowerdir::internals::Archive;
use lowerdir::internals::LayerReader;
use lowerdir::{Error, Kind};

use crate::blobs::{gzip, skippable, xz, zstd};
use crate::tarball::{LayerBuilder, Meta};

/// Gives `most` bytes a call, and is interrupted before each.
struct Slow<'a> {
    rest: &'a [u8],
    most: usize,
    interrupted: bool,
}

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let most = buffer.len().min(self.most);
        self.rest.read(&mut buffer[..most])
    }
}

fn slow(rest: &[u8], most: usize) -> Slow<'_> {
    Slow {
        rest,
        most,
        interrupted: false,
    }
}

fn layer() -> Vec<u8> {
    LayerBuilder::new()
        .dir("d", 0o755)
        .file("d/f", Meta::new(0o644).xattr("user.k", "v"), [7; 1500])
        .symlink("d/s", "x".repeat(150))
        .finish()
}

#[test]
fn an_archive_is_the_same_however_little_a_read_gives() {
    let layer = layer();
    let expected = crate::read::read(&layer).unwrap();
    for most in [1, 7, 511, 512, 513] {
        let mut archive = Archive::new(slow(&layer, most));
        for member in &expected {
            let entry = archive.next_entry().unwrap().expect("as many entries");
            assert_eq!(entry.path, member.entry.path);
            assert_eq!(entry.meta, member.entry.meta);
            let mut content = Vec::new();
            archive.data().read_to_end(&mut content).unwrap();
            assert_eq!(content, member.content);
        }
        assert!(archive.next_entry().unwrap().is_none());
    }
}

#[test]
fn unread_data_is_skipped() {
    let layer = layer();
    let mut archive = Archive::new(&layer[..]);
    let mut names = Vec::new();
    while let Some(entry) = archive.next_entry().unwrap() {
        names.push(entry.path.to_string());
        // Some of it, or nothing.
        let mut some = [0; 100];
        let count = archive.data().read(&mut some).unwrap();
        assert_eq!(count, if names.len() == 2 { 100 } else { 0 });
    }
    assert_eq!(names, ["d", "d/f", "d/s"]);
}

#[test]
fn a_blob_is_recognised_however_little_the_first_read_gives() {
    let layer = layer();
    for (name, blob) in [
        ("plain", layer.clone()),
        ("gzip", gzip(&layer)),
        ("zstd", zstd(&layer)),
        ("skippable", [skippable(b"x"), zstd(&layer)].concat()),
        ("xz", xz(&layer)),
    ] {
        for most in [1, 2, 3, 5, 100] {
            let mut reader = LayerReader::open(slow(&blob, most), Expected::default()).unwrap();
            io::copy(&mut reader, &mut io::sink()).unwrap();
            let measured = reader.finish().unwrap();
            assert_eq!(measured.blob, Digest::of(&blob), "{name} by {most}");
            assert_eq!(measured.diff_id, Digest::of(&layer), "{name} by {most}");
        }
    }
}

#[test]
fn what_nobody_read_is_measured_too() {
    let layer = layer();
    for blob in [layer.clone(), gzip(&layer), zstd(&layer), xz(&layer)] {
        for read in [0, 1, 600] {
            let mut reader = LayerReader::open(&blob[..], Expected::default()).unwrap();
            reader.read_exact(&mut vec![0; read]).unwrap();
            let measured = reader.finish().unwrap();
            assert_eq!(measured.blob, Digest::of(&blob));
            assert_eq!(measured.diff_id, Digest::of(&layer));
            assert_eq!(measured.uncompressed, layer.len() as u64);
        }
    }
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

#[test]
fn an_error_of_the_system_is_not_the_fault_of_the_image() {
    let layer = layer();
    for length in [0, 100, 512, 600, 2000] {
        let mut archive = Archive::new(Broken(&layer[..length]));
        let error = loop {
            match archive.next_entry() {
                Ok(entry) => assert!(entry.is_some(), "an end at {length}"),
                Err(error) => break error,
            }
        };
        assert_eq!(
            (error.kind(), error.raw_os_error()),
            (Kind::System, Some(5))
        );
    }
    for blob in [gzip(&layer), zstd(&layer), xz(&layer)] {
        let cut = Broken(&blob[..blob.len() / 2]);
        let mut reader = LayerReader::open(cut, Expected::default()).unwrap();
        let error = io::copy(&mut reader, &mut io::sink()).unwrap_err();
        assert_eq!(Error::reading("reading", error).kind(), Kind::System);
    }
}
