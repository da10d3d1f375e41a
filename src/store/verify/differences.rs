//! What is different about one name: each in the words that users read.

use std::collections::BTreeSet;
use std::fs::File;

use crate::content::{Content, ContentHasher};
use crate::error::{Error, Result};
use crate::fs::root;
use crate::store::listing::{Node, Shown, Text, Walk};

use super::compare::Comparing;
use super::found;

/// What a name was and what it is, of the same path. Errors: the system could not look.
pub fn differences(
    was: &Node,
    now: &Node,
    walk: &mut Walk<'_>,
    how: Comparing<'_>,
) -> Result<Vec<String>> {
    if was.kind != now.kind {
        return Ok(vec![format!("is {}, was {}", now.kind, was.kind)]);
    }
    let mut what = attributes(was, now);
    what.extend(xattrs(was, now));
    if !how.quick && was.size == now.size && was.holds_data() && now.holds_data() {
        let read = walk
            .open(now)
            .and_then(|file| content_of(&file, was.content, how));
        match read {
            Ok(content) if Some(content) == was.content => {}
            Ok(_) => what.push("content was changed".into()),
            Err(error) => {
                let error = error.at_entry(&now.path);
                what.push(found(error, Error::reason)?);
            }
        }
    }
    Ok(what)
}

fn attributes(was: &Node, now: &Node) -> Vec<String> {
    let owner = |node: &Node| (node.uid, node.gid);
    let mut what = Vec::new();
    what.extend(changed("mode", now.mode, was.mode, |mode| shown(&mode)));
    what.extend(changed("owner", owner(now), owner(was), |(uid, gid)| {
        format!("{uid}:{gid}")
    }));
    what.extend(changed("time", now.mtime, was.mtime, |time| shown(&time)));
    what.extend(changed("size", now.size, was.size, |size| {
        size.map_or_else(String::new, |size| size.to_string())
    }));
    let target = |target: &Option<_>| target.as_ref().map_or_else(String::new, shown);
    what.extend(changed("target", &now.target, &was.target, target));
    let device = |device: Option<_>| device.as_ref().map_or_else(String::new, shown);
    what.extend(changed("device", now.device, was.device, device));
    what.extend(match (&was.link, &now.link) {
        (Some(was), None) => Some(format!("is no hard link to {was} any more")),
        (None, Some(is)) => Some(format!("became a hard link to {is}")),
        (Some(was), Some(is)) if was != is => Some(format!("is a hard link to {is}, was to {was}")),
        _ => None,
    });
    what
}

fn changed<T: PartialEq>(name: &str, is: T, was: T, text: impl Fn(T) -> String) -> Option<String> {
    (is != was).then(|| format!("{name} is {}, was {}", text(is), text(was)))
}

fn shown<T: Text>(value: &T) -> String {
    Shown(value).to_string()
}

fn xattrs(was: &Node, now: &Node) -> Vec<String> {
    let names: BTreeSet<&String> = was.xattrs.keys().chain(now.xattrs.keys()).collect();
    let difference = |name: &String| match (was.xattrs.get(name), now.xattrs.get(name)) {
        (Some(_), None) => Some(format!("xattr {name} is missing")),
        (None, Some(_)) => Some(format!("xattr {name} was added")),
        (before, after) if before != after => Some(format!("xattr {name} was changed")),
        _ => None,
    };
    names.into_iter().filter_map(difference).collect()
}

/// What a file holds, in the form that was written down.
fn content_of(file: &File, form: Option<Content>, how: Comparing<'_>) -> Result<Content> {
    let (mut hasher, read): (_, fn(&File, root::Take<'_>) -> _) = match form {
        Some(Content::Blocks(_)) => (ContentHasher::blocks(), root::read_data),
        _ => (ContentHasher::whole(), root::read_all),
    };
    let mut take = |offset: u64, data: &[u8]| {
        hasher.update(offset, data);
        how.progress.read(how.number, data.len() as u64);
        match how.progress.is_cancelled() {
            true => Err(Error::cancelled().into()),
            false => Ok(()),
        }
    };
    read(file, &mut take).map_err(|error| Error::io("reading it", error))?;
    Ok(hasher.finish())
}
