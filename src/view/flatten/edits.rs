//! `Edits`: the changes to the tree that a user asks for.

use std::fs;
use std::path::PathBuf;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::error::{Error, Result};
use crate::layer::marker;
use crate::meta::{Meta, Time};
use crate::path::EntryPath;
use crate::setters::setters;
use crate::tar::archive::FileShape;
use crate::view::{Body, ImageInode, ImageTree, Source, Stored};

/// Set-user-ID and set-group-ID.
const SET_ID: u32 = 0o6000;

/// Changes to a tree, in the order in which they are applied.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Edits {
    /// Paths to leave out, with everything below them: `*` and `?` do not match a slash, `**` does.
    pub exclude: Vec<String>,
    /// Files whose content is replaced by that of a file on this machine.
    pub replace: Vec<(EntryPath, PathBuf)>,
    /// Symbolic links to add, and their targets.
    pub symlinks: Vec<(EntryPath, Vec<u8>)>,
    /// Directories to create if needed.
    pub directories: Vec<EntryPath>,
    /// The latest time; later ones are set to it.
    pub clamp: Option<Time>,
    /// The attributes of the root.
    pub root: RootMeta,
    /// The directory to put the whole tree in.
    pub prefix: EntryPath,
}

/// The attributes of the root of a flattened tree. Layers often have no entry for it, or one from the
/// machine that built the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RootMeta {
    /// The image's own.
    #[default]
    Image,
    /// Those of `/usr`.
    Usr,
    /// 0755 0:0, the epoch, no xattrs.
    Default,
}

impl Edits {
    setters! {
        exclude: Vec<String>,
        replace: Vec<(EntryPath, PathBuf)>,
        symlinks: Vec<(EntryPath, Vec<u8>)>,
        directories: Vec<EntryPath>,
        clamp: Option<Time>,
        root: RootMeta,
        prefix: EntryPath,
    }

    /// Makes the changes.
    ///
    /// Errors: a pattern that means nothing; a path that leads through something that is no
    /// directory, or that a layer would read as a deletion; a file that is not there; no `/usr`
    /// whose attributes could be taken.
    pub fn apply(&self, tree: &mut ImageTree) -> Result<()> {
        self.check_names()?;
        if !self.exclude.is_empty() {
            let patterns = self.patterns()?;
            tree.remove(|path| patterns.is_match(path.as_os_str()));
        }
        for (path, file) in &self.replace {
            replace(tree, path, file.clone()).map_err(|error| error.at_entry(path))?;
        }
        for (path, target) in &self.symlinks {
            let meta = Meta {
                mode: 0o777,
                ..Meta::default()
            };
            let body = Body::Symlink(target.as_slice().into());
            tree.put(path, ImageInode { meta, body })?;
        }
        for path in &self.directories {
            tree.make_directory(path)?;
        }
        self.set_root(tree)?;
        if let Some(latest) = self.clamp {
            tree.for_each_meta(|meta| meta.mtime = meta.mtime.min(latest));
        }
        tree.move_below(&self.prefix)
    }

    /// Rule W6.
    fn check_names(&self) -> Result<()> {
        let replaced = self.replace.iter().map(|(path, _)| path);
        let linked = self.symlinks.iter().map(|(path, _)| path);
        let all = replaced.chain(linked).chain(&self.directories);
        match all
            .chain([&self.prefix])
            .find(|path| marker::is_marker_in(path))
        {
            None => Ok(()),
            Some(path) => {
                let why = "a name that starts with .wh., which means a deletion in a layer";
                Err(Error::usage(why).at_entry(path))
            }
        }
    }

    fn patterns(&self) -> Result<GlobSet> {
        let mut set = GlobSetBuilder::new();
        for pattern in &self.exclude {
            let relative = pattern.trim_start_matches("./").trim_matches('/');
            let glob = GlobBuilder::new(relative)
                .literal_separator(true)
                .build()
                .map_err(|error| {
                    Error::usage(format!("the pattern {pattern:?}: {}", error.kind()))
                })?;
            set.add(glob);
        }
        set.build()
            .map_err(|error| Error::usage(format!("the patterns: {}", error.kind())))
    }

    fn set_root(&self, tree: &mut ImageTree) -> Result<()> {
        let meta = match self.root {
            RootMeta::Image => return Ok(()),
            RootMeta::Default => Meta::of_implied_directory(),
            RootMeta::Usr => {
                let usr = tree.at(&EntryPath::parse(b"usr")?);
                let usr = usr.map(|name| tree.inode(name.inode));
                let usr = usr.filter(|inode| inode.is_directory());
                let usr = usr.ok_or_else(|| {
                    Error::not_found(
                        "the image has no directory usr whose attributes the root could have",
                    )
                })?;
                usr.meta.clone()
            }
        };
        tree.set_root_meta(meta);
        Ok(())
    }
}

/// Owner, mode and time of the file that is there stay, as they would if it were written to; so
/// set-user-ID bits and capabilities go. Its other names keep the old content.
fn replace(tree: &mut ImageTree, path: &EntryPath, file: PathBuf) -> Result<()> {
    let looking = |error| Error::system(format!("looking at {}", file.display()), error);
    let metadata = fs::metadata(&file).map_err(looking)?;
    if !metadata.is_file() {
        let text = format!("{} is not a regular file", file.display());
        return Err(Error::conflict(text));
    }
    let found = tree.find(path)?;
    let there = found.and_then(|place| tree.at(&place));
    let mut meta = match there.map(|name| tree.inode(name.inode)) {
        Some(inode) if matches!(inode.body, Body::File(_)) => inode.meta.clone(),
        _ => Meta {
            mode: 0o644,
            ..Meta::default()
        },
    };
    meta.mode &= !SET_ID;
    meta.xattrs
        .retain(|xattr| &*xattr.name != b"security.capability");
    let shape = FileShape {
        size: metadata.len(),
        extents: None,
    };
    let source = Source::Host(file);
    let body = Body::File(Stored { shape, source });
    tree.put(path, ImageInode { meta, body })
}
