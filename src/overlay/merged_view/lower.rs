//! What the rules ask of the layers below, answered from disk.

use std::collections::BTreeMap;

use rustix::fs::FileType;

use crate::error::{Error, Result};
use crate::fs::root;
use crate::layer::lower::{Found, Leaf, Lower};
use crate::layer::tree::InodeKind;
use crate::meta::Meta;
use crate::overlay::inspect::{Inspected, check_has_content, inspect};
use crate::path::EntryPath;

use super::directories::Merged;
use super::{DirectoryId, MergedView, Seen, meta_on_disk};

impl Lower for MergedView {
    type Directory = DirectoryId;

    fn root(&self) -> Found<DirectoryId> {
        Found::Directory(DirectoryId::ROOT)
    }

    fn lookup(&self, directory: DirectoryId, name: &[u8]) -> Result<Found<DirectoryId>> {
        Ok(match self.see(directory, name)? {
            Seen::Absent => Found::Absent,
            Seen::Directory(id) => Found::Directory(id),
            Seen::Leaf(_, stat) => match FileType::from_raw_mode(stat.st_mode) {
                FileType::Symlink => Found::Symlink,
                _ => Found::Other,
            },
        })
    }

    fn names(&self, directory: DirectoryId) -> Result<Vec<Box<[u8]>>> {
        // The topmost layer that has a name decides over it.
        let mut names = BTreeMap::new();
        let merged = self.directories.borrow().layers(directory);
        for holder in Merged::each(merged.as_ref()) {
            let failed = |error| self.failed(error, Some(holder.layer), directory, b"");
            let dir = self.open(holder.layer, directory).map_err(failed)?;
            let marks = self.marks(holder, directory).map_err(failed)?;
            for name in dir.names().map_err(failed)? {
                if names.contains_key(&name) {
                    continue;
                }
                let found = inspect(&dir, &marks, &name, self.namespace)
                    .map_err(|error| self.failed(error, Some(holder.layer), directory, &name))?;
                if let Some(found) = found {
                    names.insert(name, !matches!(found, Inspected::Whiteout));
                }
            }
        }
        let shown = names.into_iter().filter(|(_, is_shown)| *is_shown);
        Ok(shown.map(|(name, _)| name).collect())
    }

    fn directory_meta(&self, directory: DirectoryId) -> Result<Option<Meta>> {
        let meta = self.directory_meta_on_disk(directory)?;
        Ok(meta.map(|meta| self.shown(meta)))
    }

    fn read_link(&self, directory: DirectoryId, name: &[u8]) -> Result<Box<[u8]>> {
        self.with_holder(directory, name, |dir, _| Ok(dir.read_link(name)?.into()))
    }

    fn leaf(&self, directory: DirectoryId, name: &[u8]) -> Result<Leaf> {
        self.with_holder(directory, name, |dir, stat| {
            let mut bytes = 0;
            let kind = match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => {
                    check_has_content(dir, name, self.namespace)?;
                    let size = stat.st_size as u64;
                    if size > 0 {
                        bytes = root::data_length(&dir.open_file(&EntryPath::parse(name)?)?)?;
                    }
                    let content = None;
                    InodeKind::File { size, content }
                }
                FileType::Symlink => InodeKind::Symlink,
                FileType::CharacterDevice => InodeKind::CharDevice(root::device(stat)),
                FileType::BlockDevice => InodeKind::BlockDevice(root::device(stat)),
                FileType::Fifo => InodeKind::Fifo,
                _ => {
                    let text = "a hard link to a socket of a lower layer";
                    return Err(Error::refused(text).into());
                }
            };
            let meta = self.shown(meta_on_disk(dir, name, stat)?);
            Ok(Leaf { kind, meta, bytes })
        })
    }

    fn names_of_inode(&self, directory: DirectoryId, name: &[u8]) -> Result<Vec<EntryPath>> {
        self.names_shown_of(directory, name)
    }
}
