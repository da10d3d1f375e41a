//! Identifies files that are not tar archives by their first bytes, so that an error can name their type.
//!
//! Used by [`crate::tar::archive`] for input that it cannot read, and by [`crate::compress::codec`] for
//! compressions without a decoder here. Nothing is ever accepted because of it. Pure.

/// A type of file that is not a tar archive.
#[derive(Clone, Copy, Debug)]
pub struct Magic {
    /// With its article: `a zip archive`.
    pub name: &'static str,
    /// The command that decompresses it to standard output, if it is a compression.
    pub undo: Option<&'static str>,
    offset: u64,
    bytes: &'static [u8],
}

const fn file(name: &'static str, offset: u64, bytes: &'static [u8]) -> Magic {
    let undo = None;
    Magic {
        name,
        undo,
        offset,
        bytes,
    }
}

const fn compressed(name: &'static str, undo: &'static str, bytes: &'static [u8]) -> Magic {
    Magic {
        name,
        undo: Some(undo),
        offset: 0,
        bytes,
    }
}

/// If two match, the first one counts.
const KNOWN: &[Magic] = &[
    compressed("bzip2-compressed", "bzip2 -dc", b"BZh"),
    compressed("lz4-compressed", "lz4 -dc", b"\x04\x22\x4d\x18"),
    compressed("lz4-compressed", "lz4 -dc", b"\x02\x21\x4c\x18"),
    compressed("lzip-compressed", "lzip -dc", b"LZIP"),
    compressed("lzop-compressed", "lzop -dc", b"\x89LZO\0"),
    compressed("lzma-compressed", "xz -dc", b"\x5d\0\0"),
    compressed("compressed by compress(1)", "zcat", b"\x1f\x9d"),
    // Inside another compression: only one is decoded.
    compressed("gzip-compressed twice", "gzip -dc", b"\x1f\x8b"),
    compressed("zstd-compressed twice", "zstd -dc", b"\x28\xb5\x2f\xfd"),
    compressed("xz-compressed twice", "xz -dc", b"\xfd7zXZ\0"),
    file("a zip archive", 0, b"PK\x03\x04"),
    file("a zip archive", 0, b"PK\x05\x06"),
    file("a 7z archive", 0, b"7z\xbc\xaf\x27\x1c"),
    file("a RAR archive", 0, b"Rar!\x1a\x07"),
    file("a cpio archive", 0, b"070701"),
    file("a cpio archive", 0, b"070702"),
    file("a cpio archive", 0, b"070707"),
    file("a cpio archive", 0, b"\xc7\x71"),
    file("a cpio archive", 0, b"\x71\xc7"),
    file("an ar archive or Debian package", 0, b"!<arch>\n"),
    file("an RPM package", 0, b"\xed\xab\xee\xdb"),
    file("an EROFS image", 1024, b"\xe2\xe1\xf5\xe0"),
    file("an ext2, ext3 or ext4 image", 1080, b"\x53\xef"),
    file("a squashfs image", 0, b"hsqs"),
    file("a squashfs image", 0, b"sqsh"),
    file("an xfs image", 0, b"XFSB"),
    file("a btrfs image", 0x1_0040, b"_BHRfS_M"),
    file("an ISO 9660 image", 0x8001, b"CD001"),
    file("a UDF image", 0x8001, b"BEA01"),
    file("a LUKS volume", 0, b"LUKS\xba\xbe"),
    file("a qcow2 image", 0, b"QFI\xfb"),
    file("a disk image with a boot sector", 510, b"\x55\xaa"),
    file("an ELF program", 0, b"\x7fELF"),
    file("a WebAssembly module", 0, b"\0asm"),
    file("a Git LFS pointer", 0, b"version https://git-lfs"),
    file("a script", 0, b"#!"),
    file("a PDF document", 0, b"%PDF-"),
];

const HTML: Magic = file("an HTML page", 0, b"");
const XML: Magic = file("an XML document", 0, b"");
const JSON: Magic = file("a JSON document", 0, b"");

impl Magic {
    /// Whether a server may have sent it instead of a blob, to explain an error.
    pub fn is_text(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// What holds these bytes at this offset, if it is known.
pub fn find(offset: u64, window: &[u8]) -> Option<Magic> {
    let fits = |magic: &&Magic| {
        let start = magic.offset.checked_sub(offset);
        let start = start.and_then(|start| usize::try_from(start).ok());
        start.is_some_and(|start| {
            let there = window.get(start..).unwrap_or_default();
            there.starts_with(magic.bytes)
        })
    };
    let known = KNOWN.iter().find(fits).copied();
    known.or_else(|| match offset {
        0 => text(window),
        _ => None,
    })
}

fn text(window: &[u8]) -> Option<Magic> {
    let window = window.strip_prefix(b"\xef\xbb\xbf").unwrap_or(window);
    let window = window.trim_ascii_start();
    let begins = |with: &[u8]| {
        let start = window.get(..with.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(with))
    };
    // The first byte inside an object or a list.
    let inside = window.get(1..).unwrap_or_default().trim_ascii_start();
    match window.first()? {
        _ if begins(b"<!doctype html") || begins(b"<html") => Some(HTML),
        _ if begins(b"<?xml") => Some(XML),
        b'{' if matches!(inside.first(), Some(b'"' | b'}')) => Some(JSON),
        b'[' if matches!(inside.first(), Some(b'"' | b'{' | b'[' | b']')) => Some(JSON),
        _ => None,
    }
}
