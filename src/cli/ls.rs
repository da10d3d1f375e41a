//! `lowerdir ls IMAGE`

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::iter::Peekable;
use std::os::unix::ffi::OsStrExt;

use clap::Args;

use crate::meta::Time;
use crate::path::{EntryPath, display};
use crate::progress::Silent;
use crate::store::Sync;
use crate::view::{Body, Id, ImageInode, Item, View};
use crate::{Error, Result};

use super::json::Name;
use super::limits::LimitsArgs;
use super::options::ViewArgs;
use super::registry_args::RegistryArgs;
use super::row::{self, Row};
use super::summary::warn_of_view;
use super::{Global, ImageArgs, output};

const EXAMPLES: &str = "\
Examples:
  lowerdir ls alpine.tar                       the merged tree
  lowerdir ls alpine.tar etc                   /etc and everything below it
  lowerdir ls alpine.tar --layer 2             what layer 2 adds and deletes
  lowerdir ls alpine.tar --json | jq -r 'select(.type == \"file\" and .size > 1000000) | .path'
  lowerdir ls alpine.tar -l | grep -B1 security.capability";

/// List the files of an image, without unpacking it.
///
/// Prints type and mode, owner, size or device number, time (UTC), layer and path of everything in
/// the merged tree, or in one layer. The layer is the one that the entry comes from.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Ls {
    #[command(flatten)]
    image: ImageArgs,
    /// Only PATH and everything below it; symbolic links among its parents are followed
    /// [default: all]
    path: Option<OsString>,
    /// Only layer N, counted from 1 at the bottom: what its layer directory would hold, with deletions
    /// (`deleted`) and directories that hide those below (`opaque`)
    #[arg(long, value_name = "N")]
    layer: Option<usize>,
    /// Print xattrs too, and nanoseconds
    #[arg(short, long)]
    long: bool,
    #[command(flatten)]
    view: ViewArgs,
    #[command(flatten)]
    limits: LimitsArgs,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub fn run(verb: &Ls, global: &Global) -> anyhow::Result<()> {
    let (image, _lock) = verb.image.open_to_read(&verb.registry, global)?;
    let options = verb.view.options();
    let how = global.how(Sync::None, verb.limits.limits(), &Silent);
    let view = match verb.layer {
        Some(number) => View::of_layer(&image, number, &options, how)?,
        None => View::read(&image, &options, how)?,
    };
    warn_of_view(&global.console, &image, &view, None);
    let top = verb.top(&view)?;
    let out = output::buffered();
    let mut lines = Lines {
        out,
        json: global.console.json,
        long: verb.long,
        layer_width: image.layers.len().to_string().len(),
        links: first_names(&view),
    };
    for listed in Listing::new(&view, &top, verb.layer) {
        lines.print(&listed)?;
    }
    lines.out.flush()?;
    Ok(())
}

impl Ls {
    /// The path to begin with, as the tree has it.
    fn top(&self, view: &View) -> Result<EntryPath> {
        let Some(path) = &self.path else {
            return Ok(EntryPath::root());
        };
        let absent = |path: &EntryPath| {
            let error = Error::not_found("there is no such path in the image").at_entry(path);
            match self.layer {
                Some(_) => error.hint("leave out --layer to search all layers"),
                None => error,
            }
        };
        let asked =
            EntryPath::parse(path.as_bytes()).map_err(|error| Error::usage(error.to_string()))?;
        let found = view.tree.find(&asked)?.unwrap_or_else(|| asked.clone());
        let is_there = Listing::new(view, &found, self.layer).next().is_some();
        is_there.then_some(found).ok_or_else(|| absent(&asked))
    }
}

/// A line of the listing.
enum Listed<'a> {
    There {
        item: Item<'a>,
        opaque: bool,
    },
    Deleted {
        path: &'a EntryPath,
        layer: u32,
        time: Time,
    },
}

/// A path and everything below it, including deletions, in order.
struct Listing<'a> {
    view: &'a View,
    layer: Option<u32>,
    items: Peekable<Box<dyn Iterator<Item = Item<'a>> + 'a>>,
    deleted: Peekable<Box<dyn Iterator<Item = (&'a EntryPath, Time)> + 'a>>,
}

impl<'a> Listing<'a> {
    fn new(view: &'a View, top: &'a EntryPath, layer: Option<usize>) -> Listing<'a> {
        let layer = layer.map(|layer| layer as u32);
        let walk = view.tree.at(top).map(|name| {
            let walk = view.tree.walk_from(top.clone(), name);
            match layer {
                Some(layer) => walk.of_layer(layer),
                None => walk,
            }
        });
        let items: Box<dyn Iterator<Item = Item<'a>> + 'a> = Box::new(walk.into_iter().flatten());
        // Only a single layer lists deletions; the merged tree simply lacks those paths.
        let applied = layer.and_then(|_| view.layers.last());
        let deleted = applied.into_iter().flat_map(|applied| &applied.deleted);
        let deleted = deleted.filter(move |(path, _)| *path == top || path.is_below(top));
        let deleted = deleted.map(|(path, &time)| (path, time));
        let deleted: Box<dyn Iterator<Item = (&'a EntryPath, Time)> + 'a> = Box::new(deleted);
        Listing {
            view,
            layer,
            items: items.peekable(),
            deleted: deleted.peekable(),
        }
    }
}

impl<'a> Iterator for Listing<'a> {
    type Item = Listed<'a>;

    fn next(&mut self) -> Option<Listed<'a>> {
        let is_deletion = match (self.items.peek(), self.deleted.peek()) {
            (Some(item), Some((path, _))) => **path < item.path,
            (item, _) => item.is_none(),
        };
        if is_deletion {
            let (path, time) = self.deleted.next()?;
            let layer = self.layer?;
            return Some(Listed::Deleted { path, layer, time });
        }
        let item = self.items.next()?;
        let applied = self.layer.and_then(|_| self.view.layers.last());
        let opaque = applied.is_some_and(|applied| applied.opaque.contains(&item.path));
        Some(Listed::There { item, opaque })
    }
}

/// The first name of each inode with several names.
fn first_names(view: &View) -> BTreeMap<Id, EntryPath> {
    let links = view.tree.links().into_iter();
    links
        .filter_map(|(id, names)| Some((id, names.into_iter().next()?)))
        .collect()
}

/// Where the lines go, and how they look.
struct Lines<W> {
    out: W,
    json: bool,
    long: bool,
    layer_width: usize,
    links: BTreeMap<Id, EntryPath>,
}

impl<W: Write> Lines<W> {
    fn print(&mut self, listed: &Listed<'_>) -> io::Result<()> {
        match self.json {
            true => {
                let row = self.row(listed);
                output::json_line(&mut self.out, &row)
            }
            false => self.text(listed),
        }
    }

    fn row(&self, listed: &Listed<'_>) -> Row {
        match listed {
            Listed::There { item, opaque } => Row {
                layer: Some(item.name.layer).filter(|&layer| layer > 0),
                link: self
                    .other_name(item)
                    .map(|first| Name::entry("link", first)),
                opaque: *opaque,
                ..Row::of(&item.path, item.inode)
            },
            Listed::Deleted { path, layer, time } => Row::deleted(path, *layer, *time),
        }
    }

    fn other_name(&self, item: &Item<'_>) -> Option<&EntryPath> {
        let first = self.links.get(&item.name.inode)?;
        (*first != item.path).then_some(first)
    }

    fn text(&mut self, listed: &Listed<'_>) -> io::Result<()> {
        match listed {
            Listed::There { item, opaque } => {
                let Item { path, name, inode } = item;
                let owner = format!("{}:{}", inode.meta.uid, inode.meta.gid);
                let time = inode.meta.mtime;
                let mode = row::mode(inode);
                self.columns(&mode, &owner, &size(inode), time, name.layer)?;
                write!(self.out, "{path}")?;
                if let Body::Symlink(target) = &inode.body {
                    write!(self.out, " -> {}", display(target))?;
                }
                let first = self.other_name(item).cloned();
                if let Some(first) = first {
                    write!(self.out, " link to {first}")?;
                }
                self.out
                    .write_all(if *opaque { b" (opaque)\n" } else { b"\n" })?;
                self.xattrs(inode)
            }
            Listed::Deleted { path, layer, time } => {
                self.columns("deleted", "-", "-", *time, *layer)?;
                writeln!(self.out, "{path}")
            }
        }
    }

    fn columns(
        &mut self,
        mode: &str,
        owner: &str,
        size: &str,
        time: Time,
        layer: u32,
    ) -> io::Result<()> {
        let layer = match layer {
            0 => "-".to_string(),
            layer => layer.to_string(),
        };
        let (time, width) = (row::date(time, self.long), self.layer_width);
        write!(
            self.out,
            "{mode:<10} {owner:<9} {size:>9} {time:<19} {layer:>width$} "
        )
    }

    fn xattrs(&mut self, inode: &ImageInode) -> io::Result<()> {
        for xattr in inode.meta.xattrs.iter().filter(|_| self.long) {
            let (name, value) = (display(&xattr.name), display(&xattr.value));
            writeln!(self.out, "    {name}={value}")?;
        }
        Ok(())
    }
}

/// The size of a file in bytes, or the number of a device.
fn size(inode: &ImageInode) -> String {
    match (&inode.body, row::device(&inode.body)) {
        (Body::File(stored), _) => stored.shape.size.to_string(),
        (_, Some(device)) => format!("{},{}", device.major, device.minor),
        _ => "-".into(),
    }
}
