//! Comparing the layers of a store with what was written down when they were unpacked, and
//! unpacking the damaged ones again.
//!
//! The command line's `verify` calls it. It reads every file, unless it is asked to be quick, and
//! writes nothing; [`repair`] replaces whole layers, and touches no file of one.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;

use crate::collect::InUse;
use crate::content::{Content, ContentHasher};
use crate::digest::{Digest, chain_id};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::listing::{Found, Node, Reader, Walk};
use crate::path::EntryPath;
use crate::pipeline::{Run, Unpacked, chain_ids, unpack_missing, waiting};
use crate::progress::Silent;
use crate::root;
use crate::store::{Hold, Record, Store, StoredLayer};
use crate::unpack::Options;

/// What is wrong with a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The path in the layer, escaped; `None` if it is about the layer as a whole.
    pub path: Option<String>,
    /// What is not as it was: `mode is 0600, was 0644`.
    pub what: String,
}

impl Change {
    fn of_layer(what: impl Into<String>) -> Change {
        let (path, what) = (None, what.into());
        Change { path, what }
    }

    fn at(path: &EntryPath, what: impl Into<String>) -> Change {
        let (path, what) = (Some(path.to_string()), what.into());
        Change { path, what }
    }
}

/// Keeps what is going to be compared in the store until it is dropped; `tell` is called once if
/// another process is removing something, which this one waits for.
pub fn hold(store: &Store, tell: impl Fn()) -> Result<Hold> {
    store.share(waiting(&Silent, tell))
}

/// Compares a layer with its record and its listing, and returns every difference, in the order of
/// paths. `quick` leaves out what files hold.
///
/// Errors: the layer cannot be read; a damaged one is no error.
pub fn verify_layer(store: &Store, chain_id: &Digest, quick: bool) -> Result<Vec<Change>> {
    let stored = match store.layer(chain_id) {
        Ok(Some(stored)) => stored,
        Ok(None) => return Ok(vec![Change::of_layer("not in the store")]),
        Err(error) => return Ok(vec![Change::of_layer(text(&error))]),
    };
    if let Some(what) = contradiction(&stored.record, chain_id) {
        return Ok(vec![Change::of_layer(format!("layer.json: {what}"))]);
    }
    let listing = match store.listing(chain_id).and_then(Reader::new) {
        Ok(listing) => listing,
        Err(error) => return Ok(vec![Change::of_layer(format!("tree.zst: {error}"))]),
    };
    compare(&stored, listing, quick)
}

fn text(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// What is wrong with a record by itself.
fn contradiction(record: &Record, wanted: &Digest) -> Option<String> {
    let digests = || -> Result<Digest> {
        let parent = record.parent.as_deref().map(Digest::parse).transpose()?;
        Ok(chain_id(parent.as_ref(), &Digest::parse(&record.diff_id)?))
    };
    match digests() {
        Err(error) => Some(error.to_string()),
        Ok(computed) if computed != *wanted || record.chain_id != wanted.to_string() => {
            Some(format!("it is of layer {}", record.chain_id))
        }
        Ok(_) => None,
    }
}

fn compare(stored: &StoredLayer, mut listing: Reader, quick: bool) -> Result<Vec<Change>> {
    let directory = stored
        .directory
        .open_beneath(&EntryPath::root())
        .map_err(|error| Error::system("opening the layer's directory", error))?;
    let mut walk = Walk::new(directory, stored.record.options.selinux);
    let damaged = |error: io::Error| Ok(vec![Change::of_layer(format!("tree.zst: {error}"))]);
    let mut changes = Vec::new();
    let unreadable = |mut changes: Vec<Change>, error: &Error| {
        changes.push(Change::of_layer(text(error)));
        Ok(changes)
    };
    let mut listed = match listing.next() {
        Ok(first) => first,
        Err(error) => return damaged(error),
    };
    let mut found = match walk.next() {
        Ok(first) => first,
        Err(error) => return unreadable(changes, &error),
    };
    loop {
        let order = match (&listed, &found) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((path, _)), Some(found)) => path.cmp(&found.path),
        };
        match (&listed, &found) {
            (Some((path, _)), _) if order == Ordering::Less => {
                changes.push(Change::at(path, "is missing"));
            }
            (_, Some(found)) if order == Ordering::Greater => {
                changes.push(Change::at(&found.path, "was added"));
            }
            (Some((path, was)), Some(is)) => {
                let differences = differences(was, is, &mut walk, quick);
                changes.extend(differences.into_iter().map(|what| Change::at(path, what)));
            }
            _ => {}
        }
        if order != Ordering::Less {
            found = match walk.next() {
                Ok(next) => next,
                Err(error) => return unreadable(changes, &error),
            };
        }
        if order != Ordering::Greater {
            listed = match listing.next() {
                Ok(next) => next,
                Err(error) => return damaged(error),
            };
        }
    }
    if listing.digest().to_string() != stored.record.tree {
        let what = "tree.zst: it is not the listing that layer.json names";
        return Ok(vec![Change::of_layer(what)]);
    }
    Ok(changes)
}

fn differences(was: &Node, is: &Found, walk: &mut Walk, quick: bool) -> Vec<String> {
    let now = &is.node;
    if was.kind != now.kind {
        return vec![format!("is {}, was {}", now.kind, was.kind)];
    }
    let mut what = Vec::new();
    let mut compare = |name: &str, is: String, was: String| {
        if is != was {
            what.push(format!("{name} is {is}, was {was}"));
        }
    };
    let owner = |node: &Node| format!("{}:{}", node.uid, node.gid);
    let none = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".into());
    compare("mode", now.mode.clone(), was.mode.clone());
    compare("owner", owner(now), owner(was));
    compare("time", now.mtime.clone(), was.mtime.clone());
    let size = |node: &Node| node.size.map_or_else(String::new, |size| size.to_string());
    compare("size", size(now), size(was));
    compare("target", none(&now.target), none(&was.target));
    compare("device", none(&now.device), none(&was.device));
    compare("hard link to", none(&now.link), none(&was.link));
    for name in was
        .xattrs
        .keys()
        .chain(now.xattrs.keys())
        .collect::<BTreeSet<_>>()
    {
        match (was.xattrs.get(name), now.xattrs.get(name)) {
            (Some(_), None) => what.push(format!("xattr {name} is missing")),
            (None, Some(_)) => what.push(format!("xattr {name} was added")),
            (before, after) if before != after => what.push(format!("xattr {name} was changed")),
            _ => {}
        }
    }
    if !quick && was.size == now.size && was.holds_data() && now.holds_data() {
        let wanted = was.content;
        let read = walk.open(is).and_then(|file| content_of(&file, wanted));
        match read {
            Ok(content) if Some(content) == wanted => {}
            Ok(_) => what.push("content was changed".into()),
            Err(error) => what.push(text(&error)),
        }
    }
    what
}

/// What a file holds, in the form that was written down.
fn content_of(file: &File, form: Option<Content>) -> Result<Content> {
    let mut hasher = match form {
        Some(Content::Blocks(_)) => ContentHasher::blocks(),
        _ => ContentHasher::whole(),
    };
    let read = match form {
        Some(Content::Blocks(_)) => root::read_data,
        _ => root::read_all,
    };
    let mut take = |offset: u64, data: &[u8]| {
        hasher.update(offset, data);
        Ok(())
    };
    read(file, &mut take).map_err(|error| Error::system("reading it", error))?;
    Ok(hasher.finish())
}

/// Unpacks the `damaged` layers of an image again (counted from 0), and puts them in the place of
/// those that are there, once all are verified and on disk.
///
/// Errors: as [`crate::unpack_image`]; a damaged layer is part of a mount, which would lose it.
pub fn repair(
    image: &Image,
    store: &Store,
    damaged: &BTreeSet<usize>,
    run: Run<'_>,
) -> Result<Vec<Unpacked>> {
    let alone = store.hold_alone(waiting(run.progress, || run.progress.waits_for_store()))?;
    let chain = chain_ids(image);
    let in_use = InUse::now(store)?;
    for &index in damaged {
        if let Some(mount) = in_use.of(&chain[index]) {
            let text = format!("it is in use by {mount}, which would lose it");
            return Err(Error::in_the_way(text)
                .in_layer(image.layers[index].label())
                .hint("unmount it first: see `lowerdir umount`"));
        }
    }
    let options = options_of(&chain, store);
    unpack_missing(image, store, &options, run, damaged, &alone)
}

/// All layers of an image are unpacked with the same options: any of them that can be read tells.
fn options_of(chain: &[Digest], store: &Store) -> Options {
    let stored = chain.iter().filter_map(|layer| store.layer(layer).ok()?);
    let mut options = stored.map(|layer| layer.record.options);
    options.next().unwrap_or_default()
}
