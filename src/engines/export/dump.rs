//! composefs-dump(5): eleven fields and the xattrs, separated by spaces.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::error::Result;
use crate::image::Image;
use crate::meta::Time;
use crate::path::EntryPath;
use crate::store::pipeline::Run;
use crate::view::{Body, Id, ImageInode, ImageTree, Item, contents, file_ids, read_parts};

use super::verity::Verity;

/// Files of up to this many bytes are inlined, as in `mkcomposefs`.
const INLINE: u64 = 64;
const BUFFER: usize = 128 * 1024;

/// The content of a file in the list.
enum Content {
    Inline(Vec<u8>),
    Verity([u8; 32]),
}

/// Writes the list. The outer error is that of the image, the inner one that of the writer.
pub fn write(
    image: &Image,
    tree: &ImageTree,
    run: Run<'_>,
    out: &mut impl Write,
) -> Result<io::Result<()>> {
    let contents = read(image, tree, run)?;
    let links = tree.links();
    let mut first_names: BTreeMap<Id, EntryPath> = BTreeMap::new();
    let mut write = || {
        for item in tree.walk() {
            let id = item.name.inode;
            let names = links.get(&id).map_or(1, Vec::len);
            let first = first_names.get(&id);
            line(out, &item, tree, names, first, contents.get(&id))?;
            if names > 1 {
                first_names.entry(id).or_insert(item.path);
            }
        }
        Ok(())
    };
    Ok(write())
}

fn read(image: &Image, tree: &ImageTree, run: Run<'_>) -> Result<BTreeMap<Id, Content>> {
    let mut found = BTreeMap::new();
    let mut buffer = vec![0; BUFFER];
    contents(image, tree, &file_ids(tree), run, |id, shape, reader| {
        let content = match shape.size <= INLINE {
            true => {
                let mut bytes = vec![0; shape.size as usize];
                read_parts(shape, reader, &mut buffer, |offset, data| {
                    bytes[offset as usize..][..data.len()].copy_from_slice(data);
                    Ok(())
                })?;
                Content::Inline(bytes)
            }
            false => {
                let mut verity = Verity::default();
                read_parts(shape, reader, &mut buffer, |offset, data| {
                    verity.skip(offset - verity.size());
                    verity.update(data);
                    Ok(())
                })?;
                verity.skip(shape.size - verity.size());
                Content::Verity(verity.finish())
            }
        };
        found.insert(id, content);
        Ok(())
    })?;
    Ok(found)
}

fn line(
    out: &mut impl Write,
    item: &Item<'_>,
    tree: &ImageTree,
    names: usize,
    first: Option<&EntryPath>,
    content: Option<&Content>,
) -> io::Result<()> {
    let Item { path, inode, .. } = item;
    let meta = &inode.meta;
    let (size, kind, nlink) = match &inode.body {
        Body::Directory(children) => {
            let is_directory = |id| tree.inode(id).is_directory();
            let directories = children.values().filter(|name| is_directory(name.inode));
            (0, 0o040_000, 2 + directories.count())
        }
        Body::File(stored) => (stored.shape.size, 0o100_000, names),
        Body::Symlink(target) => (target.len() as u64, 0o120_000, names),
        Body::CharDevice(_) => (0, 0o020_000, names),
        Body::BlockDevice(_) => (0, 0o060_000, names),
        Body::Fifo => (0, 0o010_000, names),
    };
    let device = match &inode.body {
        Body::CharDevice(device) | Body::BlockDevice(device) => {
            rustix::fs::makedev(device.major, device.minor)
        }
        _ => 0,
    };
    write!(out, "{} {size} ", escaped(&absolute(path), Escape::Field))?;
    let link = if first.is_some() { "@" } else { "" };
    write!(out, "{link}{:o} {nlink} ", kind | meta.mode)?;
    write!(out, "{} {} {device} ", meta.uid, meta.gid)?;
    // EROFS cannot store times before 1970.
    let time = meta.mtime.max(Time::default());
    write!(out, "{}.{} ", time.seconds, time.nanoseconds)?;
    payload(out, inode, first, content)?;
    for xattr in &meta.xattrs {
        let name = escaped(&xattr.name, Escape::XattrName);
        write!(out, " {name}={}", escaped(&xattr.value, Escape::XattrValue))?;
    }
    out.write_all(b"\n")
}

/// The fields PAYLOAD, CONTENT and DIGEST.
fn payload(
    out: &mut impl Write,
    inode: &ImageInode,
    first: Option<&EntryPath>,
    content: Option<&Content>,
) -> io::Result<()> {
    let optional = |bytes: &[u8]| match bytes.is_empty() {
        true => "-".to_string(),
        false => escaped(bytes, Escape::Field),
    };
    match (first, &inode.body, content) {
        (Some(first), _, _) => write!(out, "{} - -", optional(&absolute(first))),
        (None, Body::Symlink(target), _) => write!(out, "{} - -", optional(target)),
        (None, Body::File(_), Some(Content::Inline(bytes))) => {
            write!(out, "- {} -", optional(bytes))
        }
        (None, Body::File(_), Some(Content::Verity(digest))) => {
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            // The path of the file in composefs's object store.
            write!(out, "{}/{} - {hex}", &hex[..2], &hex[2..])
        }
        _ => write!(out, "- - -"),
    }
}

fn absolute(path: &EntryPath) -> Vec<u8> {
    [b"/", path.as_bytes()].concat()
}

#[derive(Clone, Copy, PartialEq)]
enum Escape {
    Field,
    XattrName,
    XattrValue,
}

fn escaped(bytes: &[u8], how: Escape) -> String {
    // A lone `-` would mean an absent field.
    if bytes == b"-" && how == Escape::Field {
        return r"\x2d".into();
    }
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'\\' => text.push_str(r"\\"),
            b'\n' => text.push_str(r"\n"),
            b'\r' => text.push_str(r"\r"),
            b'\t' => text.push_str(r"\t"),
            b'=' if how != Escape::Field => text.push_str(r"\x3d"),
            b'!'..=b'~' => text.push(byte.into()),
            _ => text.push_str(&format!(r"\x{byte:02x}")),
        }
    }
    text
}
