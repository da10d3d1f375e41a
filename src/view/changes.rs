//! The differences between two trees, path by path.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;

use crate::content::{Content, ContentHasher};
use crate::error::Result;
use crate::image::Image;
use crate::path::EntryPath;
use crate::store::pipeline::Run;

use super::contents::{contents, read_parts};
use super::tree::{Body, Id, ImageInode, ImageTree, Name, Source, Stored};
use super::walk::Walk;

const BUFFER: usize = 128 * 1024;

/// A path that differs between two trees.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Change<'a> {
    /// The path.
    pub path: EntryPath,
    /// How it differs.
    pub what: What,
    /// The inode in the first tree.
    pub before: Option<&'a ImageInode>,
    /// The inode in the second tree.
    pub after: Option<&'a ImageInode>,
}

/// How a path differs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// Only the second tree has it.
    Created,
    /// Only the first tree has it.
    Deleted,
    /// Both have it, and these parts differ, at least one.
    Changed(Vec<Part>),
}

/// A part that may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// File, directory, symbolic link and so on. What only one of the types has is not compared.
    Type,
    /// The permission bits.
    Mode,
    /// The owner or the group.
    Owner,
    /// The time of the last modification.
    Time,
    /// The size of a file, and so its content.
    Size,
    /// The content of a file of the same size.
    Content,
    /// The target of a symbolic link.
    Target,
    /// The number of a device.
    Device,
    /// The extended attributes.
    Xattrs,
    /// The other names of the same inode.
    Links,
}

/// One of the trees to compare, and the image that it was read from.
pub type Side<'a> = (&'a Image, &'a ImageTree);

/// Compares two trees, and reports each path that differs, in order. Files of the same size are read,
/// unless both are the same entry of the same layer.
pub fn compare<'a>(
    before: Side<'a>,
    after: Side<'a>,
    run: Run<'_>,
    mut tell: impl FnMut(Change<'a>) -> Result<()>,
) -> Result<()> {
    let same = same_content(before, after, run)?;
    let links = [before.1.links(), after.1.links()];
    let mut pairs = Pairs::new(before.1, after.1);
    while let Some((path, one, other)) = pairs.next() {
        let inode =
            |(tree, name): (&'a ImageTree, Option<Name>)| name.map(|name| tree.inode(name.inode));
        let (was, is) = (inode((before.1, one)), inode((after.1, other)));
        let what = match (one, other) {
            (Some(one), Some(other)) => {
                let (was, is) = (was.expect("it has a name"), is.expect("it has a name"));
                let mut parts = parts(was, is);
                if both_files_of_a_size(was, is) && !same(one.inode, other.inode) {
                    parts.push(Part::Content);
                }
                if links[0].get(&one.inode) != links[1].get(&other.inode) {
                    parts.push(Part::Links);
                }
                if parts.is_empty() {
                    continue;
                }
                What::Changed(parts)
            }
            (Some(_), None) => What::Deleted,
            _ => What::Created,
        };
        tell(Change {
            path,
            what,
            before: was,
            after: is,
        })?;
    }
    Ok(())
}

/// The parts that differ between two inodes, except content of the same size.
fn parts(was: &ImageInode, is: &ImageInode) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut differs = |part, differs| {
        if differs {
            parts.push(part);
        }
    };
    let owner = |inode: &ImageInode| (inode.meta.uid, inode.meta.gid);
    match (&was.body, &is.body) {
        (Body::Directory(_), Body::Directory(_)) | (Body::Fifo, Body::Fifo) => {}
        (Body::File(was), Body::File(is)) => {
            differs(Part::Size, was.shape.size != is.shape.size);
        }
        (Body::Symlink(was), Body::Symlink(is)) => differs(Part::Target, was != is),
        (Body::CharDevice(was), Body::CharDevice(is))
        | (Body::BlockDevice(was), Body::BlockDevice(is)) => differs(Part::Device, was != is),
        _ => differs(Part::Type, true),
    }
    differs(Part::Mode, was.meta.mode != is.meta.mode);
    differs(Part::Owner, owner(was) != owner(is));
    differs(Part::Time, was.meta.mtime != is.meta.mtime);
    differs(Part::Xattrs, was.meta.xattrs != is.meta.xattrs);
    parts
}

fn both_files_of_a_size(was: &ImageInode, is: &ImageInode) -> bool {
    match (&was.body, &is.body) {
        (Body::File(was), Body::File(is)) => was.shape.size == is.shape.size,
        _ => false,
    }
}

/// Reads the files that both trees have at a path with the same size. The result says whether two of them
/// have the same content.
fn same_content<'a>(
    before: Side<'a>,
    after: Side<'a>,
    run: Run<'_>,
) -> Result<impl Fn(Id, Id) -> bool + use<'a>> {
    let mut wanted = [BTreeSet::new(), BTreeSet::new()];
    let mut pairs = Pairs::new(before.1, after.1);
    while let Some((_, one, other)) = pairs.next() {
        let (Some(one), Some(other)) = (one, other) else {
            continue;
        };
        let (was, is) = (before.1.inode(one.inode), after.1.inode(other.inode));
        if both_files_of_a_size(was, is) && !is_same_entry(before, was, after, is) {
            wanted[0].insert(one.inode);
            wanted[1].insert(other.inode);
        }
    }
    let digests = [
        digests(before, &wanted[0], run)?,
        digests(after, &wanted[1], run)?,
    ];
    Ok(move |one, other| {
        let (was, is) = (before.1.inode(one), after.1.inode(other));
        is_same_entry(before, was, after, is) || digests[0].get(&one) == digests[1].get(&other)
    })
}

/// Whether two files are known to be the same without reading them.
fn is_same_entry(before: Side<'_>, was: &ImageInode, after: Side<'_>, is: &ImageInode) -> bool {
    let place = |(image, _): Side<'_>, inode: &ImageInode| match &inode.body {
        Body::File(Stored { shape, .. }) if shape.size == 0 => Some((None, 0)),
        Body::File(Stored { source, .. }) => match source {
            Source::Layer { layer, entry } => {
                let layer = image.layers.get(*layer as usize - 1)?;
                Some((Some(layer.diff_id.clone()), *entry))
            }
            Source::Host(_) => None,
        },
        _ => None,
    };
    let was = place(before, was);
    was.is_some() && was == place(after, is)
}

/// Digests of file contents, the same for a sparse file and for one written in full.
fn digests(side: Side<'_>, wanted: &BTreeSet<Id>, run: Run<'_>) -> Result<BTreeMap<Id, Content>> {
    let mut digests = BTreeMap::new();
    let mut buffer = vec![0; BUFFER];
    contents(side.0, side.1, wanted, run, |id, shape, reader| {
        let mut hasher = ContentHasher::blocks();
        read_parts(shape, reader, &mut buffer, |offset, data| {
            hasher.update(offset, data);
            Ok(())
        })?;
        digests.insert(id, hasher.finish());
        Ok(())
    })?;
    Ok(digests)
}

/// The paths of two trees, in order, with what each has there.
struct Pairs<'a> {
    before: Peekable<Walk<'a>>,
    after: Peekable<Walk<'a>>,
}

impl<'a> Pairs<'a> {
    fn new(before: &'a ImageTree, after: &'a ImageTree) -> Pairs<'a> {
        Pairs {
            before: before.walk().peekable(),
            after: after.walk().peekable(),
        }
    }

    fn next(&mut self) -> Option<(EntryPath, Option<Name>, Option<Name>)> {
        let path = match (self.before.peek(), self.after.peek()) {
            (Some(one), Some(other)) => (&one.path).min(&other.path),
            (one, other) => &one.or(other)?.path,
        };
        let path = path.clone();
        let take = |walk: &mut Peekable<Walk<'a>>| {
            let item = walk.next_if(|item| item.path == path);
            item.map(|item| item.name)
        };
        let (one, other) = (take(&mut self.before), take(&mut self.after));
        Some((path, one, other))
    }
}
