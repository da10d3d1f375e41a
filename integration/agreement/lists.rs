//! A tree as mtree(5) and composefs-dump(5) list it, by other code than the product's.

use std::collections::BTreeMap;

use rustix::fs::makedev;
use sha2::{Digest, Sha256};

use crate::model::{Item, Listing};
use crate::oci::sha256;
use crate::property::Verdict;
use crate::tarball::Kind;

/// What is told of each path.
pub type Lines = BTreeMap<String, String>;

/// Errors: the first paths of which the list says something else.
pub fn same(format: &str, list: &str, expected: &Lines) -> Verdict {
    let lines = list.lines().filter(|line| *line != "#mtree");
    let lines: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(' ')).collect();
    let told: Lines = lines
        .iter()
        .map(|(path, rest)| (path.to_string(), sorted_xattrs(format, rest)))
        .collect();
    if told.len() != lines.len() {
        return Err(format!("{format} lists a path twice: {list}"));
    }
    let paths = told.keys().chain(expected.keys());
    let differs = |path: &&String| told.get(*path) != expected.get(*path);
    let differ: Vec<String> = paths
        .filter(differs)
        .take(5)
        .map(|path| {
            let (here, there) = (told.get(path), expected.get(path));
            format!("{path}\n  {format}: {here:?}\n  the model: {there:?}")
        })
        .collect();
    match differ.is_empty() {
        true => Ok(()),
        false => Err(differ.join("\n")),
    }
}

/// Those of composefs-dump stand behind ten fields, in any order.
fn sorted_xattrs(format: &str, rest: &str) -> String {
    let mut fields: Vec<&str> = rest.split(' ').collect();
    if format != "mtree" && fields.len() > 10 {
        fields[10..].sort();
    }
    fields.join(" ")
}

pub fn mtree(tree: &Listing) -> Lines {
    let names = names(tree);
    let line = |(path, item): (&Vec<u8>, &Item)| {
        let shown = match path.as_slice() {
            b"" => ".".to_owned(),
            path => format!("./{}", octal(path)),
        };
        let (kind, rest) = match &item.kind {
            Kind::Dir => ("dir", String::new()),
            Kind::Fifo => ("fifo", String::new()),
            Kind::Symlink(target) => ("link", format!(" link={}", octal(target))),
            Kind::Char(major, minor) => ("char", format!(" device=native,{major},{minor}")),
            Kind::Block(major, minor) => ("block", format!(" device=native,{major},{minor}")),
            Kind::File(content) => {
                let (size, digest) = (content.len(), sha256(content));
                let nlink = count(&names, path, item);
                (
                    "file",
                    format!(" size={size} nlink={nlink} sha256digest={digest}"),
                )
            }
            Kind::Hardlink(_) => unreachable!("a listing has none"),
        };
        let Item { mode, uid, gid, .. } = item;
        let (seconds, nanoseconds) = split(item.mtime);
        let time = format!("{seconds}.{nanoseconds:09}");
        let text = format!("type={kind} mode={mode:04o} uid={uid} gid={gid} time={time}{rest}");
        (shown, text)
    };
    tree.iter().map(line).collect()
}

pub fn composefs_dump(tree: &Listing) -> Lines {
    let names = names(tree);
    let line = |(path, item): (&Vec<u8>, &Item)| {
        let first = item.links.as_ref().filter(|first| *first != path);
        let (size, kind, device) = match &item.kind {
            Kind::Dir => (0, 0o040_000, 0),
            Kind::File(content) => (content.len(), 0o100_000, 0),
            Kind::Symlink(target) => (target.len(), 0o120_000, 0),
            Kind::Char(major, minor) => (0, 0o020_000, makedev(*major, *minor)),
            Kind::Block(major, minor) => (0, 0o060_000, makedev(*major, *minor)),
            Kind::Fifo => (0, 0o010_000, 0),
            Kind::Hardlink(_) => unreachable!("a listing has none"),
        };
        let nlink = match item.kind {
            Kind::Dir => 2 + directories_in(tree, path),
            _ => count(&names, path, item),
        };
        let at = if first.is_some() { "@" } else { "" };
        let (seconds, nanoseconds) = split(item.mtime.max(0));
        let mut fields = vec![
            size.to_string(),
            format!("{at}{:o}", kind | item.mode),
            nlink.to_string(),
            item.uid.to_string(),
            item.gid.to_string(),
            device.to_string(),
            format!("{seconds}.{nanoseconds}"),
        ];
        fields.extend(payload(item, first));
        let xattr = |(name, value): (&Vec<u8>, &Vec<u8>)| {
            format!("{}={}", hex(name, b"="), hex(value, b"="))
        };
        let mut xattrs: Vec<String> = item.xattrs.iter().map(xattr).collect();
        xattrs.sort();
        fields.extend(xattrs);
        (field(&[b"/", path.as_slice()].concat()), fields.join(" "))
    };
    tree.iter().map(line).collect()
}

/// The fields PAYLOAD, CONTENT and DIGEST.
fn payload(item: &Item, first: Option<&Vec<u8>>) -> [String; 3] {
    let none = || "-".to_owned();
    match (first, &item.kind) {
        (Some(first), _) => [field(&[b"/", first.as_slice()].concat()), none(), none()],
        (None, Kind::Symlink(target)) => [field(target), none(), none()],
        (None, Kind::File(content)) if content.is_empty() => [none(), none(), none()],
        (None, Kind::File(content)) if content.len() <= 64 => [none(), field(content), none()],
        (None, Kind::File(content)) => {
            let digest = verity(content);
            let place = format!("{}/{}", &digest[..2], &digest[2..]);
            [place, none(), digest]
        }
        _ => [none(), none(), none()],
    }
}

/// The fs-verity digest of SHA-256 and blocks of 4 KiB, of at most 128 of them.
fn verity(content: &[u8]) -> String {
    const BLOCK: usize = 4096;
    let block = |bytes: &[u8]| {
        let mut block = bytes.to_vec();
        block.resize(BLOCK, 0);
        Sha256::digest(block).to_vec()
    };
    let hashes: Vec<u8> = content.chunks(BLOCK).flat_map(block).collect();
    assert!(hashes.len() <= BLOCK, "one level is enough here");
    let root = match hashes.len() {
        32 => hashes,
        _ => block(&hashes),
    };
    let mut descriptor = vec![1, 1, 12, 0, 0, 0, 0, 0];
    descriptor.extend((content.len() as u64).to_le_bytes());
    descriptor.extend(root);
    descriptor.resize(256, 0);
    sha256(descriptor)
}

/// How many names each inode has that has several, by its first.
fn names(tree: &Listing) -> BTreeMap<&[u8], usize> {
    let mut names = BTreeMap::new();
    for first in tree.values().filter_map(|item| item.links.as_deref()) {
        *names.entry(first).or_insert(0) += 1;
    }
    names
}

fn count(names: &BTreeMap<&[u8], usize>, path: &[u8], item: &Item) -> usize {
    let first = item.links.as_deref().unwrap_or(path);
    names.get(first).copied().unwrap_or(1)
}

fn directories_in(tree: &Listing, parent: &[u8]) -> usize {
    let is_child = |path: &[u8]| {
        let inside = match parent {
            b"" => Some(path),
            _ => path
                .strip_prefix(parent)
                .and_then(|rest| rest.strip_prefix(b"/")),
        };
        inside.is_some_and(|name| !name.is_empty() && !name.contains(&b'/'))
    };
    let directories = tree.iter().filter(|(_, item)| item.kind == Kind::Dir);
    directories.filter(|(path, _)| is_child(path)).count()
}

fn split(nanoseconds: i128) -> (i128, i128) {
    const SECOND: i128 = 1_000_000_000;
    (
        nanoseconds.div_euclid(SECOND),
        nanoseconds.rem_euclid(SECOND),
    )
}

fn octal(bytes: &[u8]) -> String {
    let byte = |&byte: &u8| match byte {
        b'!'..=b'~' if !b"\\#=*?[".contains(&byte) => char::from(byte).to_string(),
        _ => format!("\\{byte:03o}"),
    };
    bytes.iter().map(byte).collect()
}

fn field(bytes: &[u8]) -> String {
    match bytes {
        b"-" => "\\x2d".to_owned(),
        _ => hex(bytes, b""),
    }
}

fn hex(bytes: &[u8], more: &[u8]) -> String {
    let byte = |&byte: &u8| match byte {
        b'\\' => "\\\\".to_owned(),
        b'\n' => "\\n".to_owned(),
        b'\r' => "\\r".to_owned(),
        b'\t' => "\\t".to_owned(),
        b'!'..=b'~' if !more.contains(&byte) => char::from(byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    bytes.iter().map(byte).collect()
}
