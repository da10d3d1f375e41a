//! `Placing`: files and directories that are staged, and then renamed into place together. If a rename
//! fails, the earlier ones are reverted.

use std::fs::File;
use std::io::{self, Write};

use rustix::fs::RenameFlags;
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::fs::root::Dir;
use crate::path::EntryPath;
use crate::store::{Staging, Sync, sync_directory};

/// Files and directories in a staging directory with their destinations, in the order of the renames.
pub struct Placing<'a> {
    staging: &'a Staging,
    meant: Vec<Meant>,
}

struct Meant {
    staged: String,
    path: EntryPath,
}

/// A renamed file or directory, and whether it was exchanged with an old one.
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

    /// A directory that must exist; an existing one is left alone.
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

    /// A directory to fill. It replaces whatever is at its destination.
    pub fn stage_directory(&mut self, path: &str) -> Result<Dir> {
        let staged = self.mean(path)?;
        let directory = self.staging.directory();
        let made = directory.make_dir(staged.as_bytes()).and_then(|()| {
            let name = EntryPath::parse(staged.as_bytes())?;
            directory.open_beneath(&name)
        });
        made.map_err(|error| Error::system(format!("making {path}"), error))
    }

    /// A file to write. It replaces whatever is at its destination.
    pub fn stage_open_file(&mut self, path: &str) -> Result<File> {
        let staged = self.mean(path)?;
        let file = self.staging.directory().make_file(staged.as_bytes());
        file.map_err(|error| Error::system(format!("making {path}"), error))
    }

    /// A file with these bytes. It replaces whatever is at its destination.
    pub fn stage_file(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        self.stage_open_file(path)?
            .write_all(bytes)
            .map_err(|error| Error::system(format!("writing {path}"), error))
    }

    /// A symbolic link. It replaces whatever is at its destination.
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

    /// Renames everything into place, durably, in these directories. On an error everything is as it was.
    pub fn place(self, directories: &[&str], sync: Sync) -> Result<()> {
        let mut placed = Vec::with_capacity(self.meant.len());
        let done = self
            .rename_all(&mut placed)
            .and_then(|()| sync_all(self.staging.parent(), directories, sync));
        if done.is_err() {
            for Placed { meant, exchanged } in placed.into_iter().rev() {
                // If reverting fails too, what stays is an unlisted layer or an equivalent of the old one.
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

    /// Renames one of them. Returns whether it replaced something, which is in staging now.
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

/// Makes the renames durable.
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
