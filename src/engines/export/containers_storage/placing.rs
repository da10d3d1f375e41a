//! `Placing`: what is staged for a directory, and put into it all together: each thing by a rename,
//! which is taken back if a later one fails.

use std::fs::File;
use std::io::{self, Write};

use rustix::fs::RenameFlags;
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::fs::root::Dir;
use crate::path::EntryPath;
use crate::store::{Staging, Sync, sync_directory};

/// Things in a staging directory, with the places that they are meant for, in the order in which
/// they get there.
pub struct Placing<'a> {
    staging: &'a Staging,
    meant: Vec<Meant>,
}

struct Meant {
    staged: String,
    path: EntryPath,
}

/// What was renamed, and what came back for it.
struct Placed<'a> {
    meant: &'a Meant,
    exchanged: bool,
}

impl<'a> Placing<'a> {
    /// Nothing so far.
    pub fn new(staging: &'a Staging) -> Placing<'a> {
        let meant = Vec::new();
        Placing { staging, meant }
    }

    /// A directory that shall be there, and be left as it is if it is.
    pub fn directory(&mut self, path: &str) -> Result<()> {
        let found = EntryPath::parse(path.as_bytes())?;
        match self.staging.parent().open_beneath(&found) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.stage_directory(path).map(drop)
            }
            Err(error) => Err(Error::system(format!("opening {path}"), error)),
        }
    }

    /// A directory to fill. What is at its place then goes.
    pub fn stage_directory(&mut self, path: &str) -> Result<Dir> {
        let staged = self.mean(path)?;
        let directory = self.staging.directory();
        let made = directory.make_dir(staged.as_bytes()).and_then(|()| {
            let name = EntryPath::parse(staged.as_bytes())?;
            directory.open_beneath(&name)
        });
        made.map_err(|error| Error::system(format!("making {path}"), error))
    }

    /// A file to write. What is at its place then goes.
    pub fn stage_open_file(&mut self, path: &str) -> Result<File> {
        let staged = self.mean(path)?;
        let file = self.staging.directory().make_file(staged.as_bytes());
        file.map_err(|error| Error::system(format!("making {path}"), error))
    }

    /// A file with these bytes. What is at its place then goes.
    pub fn stage_file(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        self.stage_open_file(path)?
            .write_all(bytes)
            .map_err(|error| Error::system(format!("writing {path}"), error))
    }

    /// A symbolic link. What is at its place then goes.
    pub fn stage_symlink(&mut self, path: &str, target: &str) -> Result<()> {
        let staged = self.mean(path)?;
        let (directory, target) = (self.staging.directory(), target.as_bytes());
        directory
            .make_symlink(staged.as_bytes(), target)
            .map_err(|error| Error::system(format!("making {path}"), error))
    }

    fn mean(&mut self, path: &str) -> Result<String> {
        let path = EntryPath::parse(path.as_bytes())?;
        let staged = self.meant.len().to_string();
        let meant = Meant {
            staged: staged.clone(),
            path,
        };
        self.meant.push(meant);
        Ok(staged)
    }

    /// Puts all of it into its place, in some directories, durably. On an error everything is as it was.
    pub fn place(self, directories: &[&str], sync: Sync) -> Result<()> {
        let mut placed = Vec::with_capacity(self.meant.len());
        let done = self
            .rename_all(&mut placed)
            .and_then(|()| sync_all(self.staging.parent(), directories, sync));
        if done.is_err() {
            for Placed { meant, exchanged } in placed.into_iter().rev() {
                // What cannot be taken back is a layer that no list has, or as good as the old one.
                let _ = self.take_back(meant, exchanged);
            }
        }
        done
    }

    fn rename_all<'b>(&'b self, placed: &mut Vec<Placed<'b>>) -> Result<()> {
        for meant in &self.meant {
            let putting = |error| {
                let text = format!("putting {} into its place", meant.path);
                Error::system(text, error)
            };
            let exchanged = self.rename(meant).map_err(putting)?;
            placed.push(Placed { meant, exchanged });
        }
        Ok(())
    }

    /// Renames one thing; tells whether there was something in its place, which is staged now.
    fn rename(&self, meant: &Meant) -> io::Result<bool> {
        let (parent, name) = self.place_of(meant)?;
        let staging = self.staging.directory();
        let rename =
            |flags| rustix::fs::renameat_with(staging, &*meant.staged, &parent, &*name, flags);
        match rename(RenameFlags::EXCHANGE) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(rename(RenameFlags::NOREPLACE).map(|()| false)?),
            Err(errno) => Err(errno.into()),
        }
    }

    fn take_back(&self, meant: &Meant, exchanged: bool) -> io::Result<()> {
        let (parent, name) = self.place_of(meant)?;
        let flags = match exchanged {
            true => RenameFlags::EXCHANGE,
            false => RenameFlags::NOREPLACE,
        };
        let staging = self.staging.directory();
        Ok(rustix::fs::renameat_with(
            &parent,
            &*name,
            staging,
            &*meant.staged,
            flags,
        )?)
    }

    fn place_of(&self, meant: &Meant) -> io::Result<(Dir, Vec<u8>)> {
        let (parent, name) = meant.path.split().expect("it has a name");
        let parent = self.staging.parent().open_beneath(&parent)?;
        Ok((parent, name.to_vec()))
    }
}

/// Makes what was renamed durable.
fn sync_all(top: &Dir, directories: &[&str], sync: Sync) -> Result<()> {
    let syncing = || -> io::Result<()> {
        for name in directories {
            let name = EntryPath::parse(name.as_bytes())?;
            sync_directory(top.open_beneath(&name)?, sync)?;
        }
        sync_directory(top, sync)
    };
    syncing().map_err(|error| Error::system("writing names to disk", error))
}
