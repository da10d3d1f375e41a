//! Opens a store to write to it or, if that is not possible, to read it.
//!
//! If the caller may not write to the directory, or it is on a read-only mount, the store is only read:
//! nothing is created, cleaned or set up. Other users are what makes a store dangerous, even if it cannot
//! be written to:
//!
//! - They could change layers, which root then runs. So a store must belong to the caller or, if it is
//!   only read, to root; and no others may write to it, because a read-only mount may also be mounted
//!   read-write elsewhere.
//! - They could run setuid files of images. So only its owner may enter a store. If it is only read, others
//!   may enter it if it is mounted with `nosuid`, as NFS with `root_squash` requires.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::{Access, AtFlags, Stat, StatVfsMountFlags};
use rustix::io::Errno;

use crate::error::{Advice, Error, Operation, Result};
use crate::fs::root::{self, Dir};
use crate::meta::Time;
use crate::path::EntryPath;

use super::{DOWNLOADS, EMPTY, FormatFile, Store, is_unfinished, locks, staging};

const LAYERS: &str = "layers";
/// The format of a store. Raise it with every change to the content of stores, or to a rule by which layers
/// are translated.
const FORMAT: u32 = 1;

impl Store {
    /// Opens a store, and creates it if needed. Removes the staging directories and lock files of dead
    /// processes. If it cannot be written to, it is only read.
    ///
    /// Errors: a directory that other users may enter, where they could change layers or run
    /// setuid files of images ([`Kind::Conflict`](crate::Kind::Conflict)); a store of another format
    /// ([`Kind::Unsupported`](crate::Kind::Unsupported)); a directory that can only be read, and is not a
    /// store.
    pub fn open(path: impl AsRef<Path>) -> Result<Store> {
        let path = path.as_ref();
        if !path.exists() {
            super::check_outside(path, "the new store")?;
        }
        if let Err(error) = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
        {
            return Err(fail("making", path, error));
        }
        let mut store = Store::at(path)?;
        store.is_writable = store.may_be_written()?;
        match store.is_writable {
            true => store.set_up()?,
            false => store.check_for_reading()?,
        }
        Ok(store)
    }

    /// Whether there is a store at a path, in any format. Creates none.
    pub fn is_at(path: &Path) -> bool {
        path.join(FormatFile::NAME).is_file() || path.join(LAYERS).is_dir()
    }

    /// Opens several stores as one. New layers go to the first one that can be written to, which is opened,
    /// or created, as by [`Store::open`]. The others are only read, and must exist.
    ///
    /// ```
    /// use lowerdir::Store;
    /// # let place = tempfile::tempdir()?;
    /// # let (image, local) = (place.path().join("image"), place.path().join("local"));
    /// # Store::open(&image)?;
    ///
    /// // New layers go to the first; layers of the second are not unpacked again.
    /// let store = Store::open_all(&[local, image])?;
    /// assert_eq!(store.each().count(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_all(paths: &[impl AsRef<Path>]) -> Result<Store> {
        let (mut before, mut written, mut after) = (Vec::new(), None, Vec::new());
        let mut known = Vec::new();
        for path in paths {
            let store = match written {
                None => Store::open(path.as_ref())?,
                Some(_) => Store::open_to_read(path.as_ref())?,
            };
            let stat = store.stat()?;
            let inode = (stat.st_dev, stat.st_ino);
            // A store that is named twice would wait for itself.
            if known.contains(&inode) {
                continue;
            }
            known.push(inode);
            match &written {
                None if store.is_writable => written = Some(store),
                None => before.push(store),
                Some(_) => after.push(store),
            }
        }
        let mut store = match written {
            Some(store) => store,
            None if before.is_empty() => return Err(Error::usage("no store is given")),
            None => {
                after = before.split_off(1);
                before.remove(0)
            }
        };
        (store.before, store.after) = (before, after);
        Ok(store)
    }

    /// Opens several stores as one, as [`Store::open_all`] does, but makes none: `None` if the only one does not exist. If
    /// the first of several does not, all of them are only read.
    pub fn open_existing(paths: &[impl AsRef<Path>]) -> Result<Option<Store>> {
        // What a store could be made in is none yet; a format, of whatever version, is one.
        let is_missing = |path: &&Path| match path.read_dir() {
            Ok(mut entries) => entries.all(|entry| {
                entry.is_ok_and(|entry| {
                    let name = entry.file_name();
                    name != FormatFile::NAME && counts_for_nothing(name.as_encoded_bytes())
                })
            }),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        let first = paths.first().map(AsRef::as_ref).filter(is_missing);
        if first.is_none() {
            return Store::open_all(paths).map(Some);
        }
        let others = paths[1..].iter();
        let others = others.map(|path| Store::open_to_read(path.as_ref()));
        let mut others = others.collect::<Result<Vec<Store>>>()?;
        if others.is_empty() {
            return Ok(None);
        }
        let mut store = others.remove(0);
        store.after = others;
        Ok(Some(store))
    }

    /// Opens an existing store to read it, even if it can be written to.
    fn open_to_read(path: &Path) -> Result<Store> {
        let store = Store::at(path)?;
        store.check_for_reading()?;
        Ok(store)
    }

    fn at(path: &Path) -> Result<Store> {
        let path = path
            .canonicalize()
            .map_err(|error| fail("opening", path, error))?;
        let directory = Dir::open(&path).map_err(|error| fail("opening", &path, error))?;
        Ok(Store {
            path,
            directory,
            is_writable: false,
            before: Vec::new(),
            after: Vec::new(),
        })
    }

    fn stat(&self) -> Result<Stat> {
        let stat = self.directory.stat_self();
        stat.map_err(|error| fail("looking at", &self.path, error))
    }

    fn may_be_written(&self) -> Result<bool> {
        let access = Access::WRITE_OK | Access::EXEC_OK;
        match rustix::fs::accessat(&self.directory, ".", access, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::ROFS | Errno::ACCESS | Errno::PERM) => Ok(false),
            Err(errno) => Err(fail("looking at", &self.path, errno.into())),
        }
    }

    fn set_up(&self) -> Result<()> {
        let names = self.directory.names();
        let names = names.map_err(|error| fail("looking into", &self.path, error))?;
        let is_new = self.is_new(&names)?;
        self.check_mode()?;
        if is_new {
            let written = self.format().write();
            written.map_err(|error| error.during(Operation::OpenStore))?;
        }
        self.format().clean(&names);
        for name in [
            LAYERS,
            "layers/sha256",
            "layers/sha512",
            "images",
            "staging",
            "l",
            "locks",
            DOWNLOADS,
            "empty",
            EMPTY[0],
            EMPTY[1],
        ] {
            self.make_dir(name)?;
        }
        for name in EMPTY {
            // Like a root without an entry (rules N2, I2).
            let directory = self.open_dir(name)?;
            self.check_empty(name, &directory)?;
            root::set_mode(&directory, 0o755)
                .and_then(|()| root::set_times(&directory, Time::default()))
                .map_err(|error| fail("setting up", &self.path, error))?;
        }
        staging::remove_dead(&self.open_dir("staging")?)
            .and_then(|()| locks::remove_dead(&self.open_dir("locks")?))
            .map_err(|error| fail("cleaning", &self.path, error))
    }

    fn check_empty(&self, name: &str, directory: &Dir) -> Result<()> {
        let names = directory.names();
        match names
            .map_err(|error| fail("looking into", &self.path, error))?
            .is_empty()
        {
            true => Ok(()),
            false => {
                let text = format!("{} is not empty", self.path.join(name).display());
                let hint = "stacks with few layers would show its files: remove them";
                Err(Error::conflict(text).hint(hint))
            }
        }
    }

    /// Whether it is empty, so that it can become a store. Errors: it has other files, or is a store of
    /// another format. Another process may be making one: what is there is looked up after
    /// the names were listed, in the order in which it is not made.
    fn is_new(&self, names: &[Box<[u8]>]) -> Result<bool> {
        let has_layers = self.find_dir(LAYERS)?.is_some();
        let is_bare = names.iter().all(|name| counts_for_nothing(name));
        match (self.has_format()?, has_layers) {
            (true, true) => return Ok(false),
            (false, true) => return Err(self.format().missing()),
            (_, false) if is_bare => return Ok(true),
            (_, false) => {}
        }
        let text = format!(
            "{} has other files in it, and is not a store",
            self.path.display()
        );
        Err(Error::conflict(text).hint(Advice::EmptyStore))
    }

    fn format(&self) -> FormatFile<'_> {
        FormatFile {
            directory: &self.directory,
            what: format!("the store {}", self.path.display()),
            number: FORMAT,
        }
    }

    fn has_format(&self) -> Result<bool> {
        let found = self.format().is_there();
        found.map_err(|error| error.during(Operation::OpenStore))
    }

    fn check_mode(&self) -> Result<()> {
        let stat = self.stat()?;
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            return Err(self.of_another_user());
        }
        if stat.st_mode & 0o077 == 0 {
            return Ok(());
        }
        let names = self.directory.names();
        let is_empty = names.is_ok_and(|names| names.iter().all(|name| counts_for_nothing(name)));
        if is_empty && root::set_mode(&self.directory, 0o700).is_ok() {
            return Ok(());
        }
        // Another process that creates a store here restricts the mode before it adds anything.
        if self.stat()?.st_mode & 0o077 == 0 {
            return Ok(());
        }
        let text = format!("other users may enter the store {}", self.path.display());
        Err(Error::conflict(text).hint(format!("chmod 700 {}", self.path.display())))
    }

    fn of_another_user(&self) -> Error {
        let text = format!("the store {} belongs to another user", self.path.display());
        Error::conflict(text).hint(Advice::AnotherStore)
    }

    fn check_for_reading(&self) -> Result<()> {
        let stat = self.stat()?;
        let owners = [0, rustix::process::geteuid().as_raw()];
        if !owners.contains(&stat.st_uid) {
            return Err(self.of_another_user());
        }
        let path = self.path.display();
        if stat.st_mode & 0o022 != 0 {
            let text = format!("other users may write to the store {path}");
            return Err(Error::conflict(text).hint("its directory must have the mode 700"));
        }
        if stat.st_mode & 0o055 != 0 && !self.is_nosuid()? {
            let text = format!("other users may enter the store {path}");
            let hint = "its directory must have the mode 700, or its mount the option nosuid";
            return Err(Error::conflict(text).hint(hint));
        }
        match (self.has_format()?, self.find_dir(LAYERS)?) {
            (true, Some(_)) => {}
            (false, Some(_)) => return Err(self.format().missing()),
            (_, None) => {
                let text = format!("{path} is not a store, and none can be created there");
                return Err(Error::not_found(text).hint(Advice::AnotherStore));
            }
        }
        for name in EMPTY {
            if let Some(directory) = self.find_dir(name)? {
                self.check_empty(name, &directory)?;
            }
        }
        Ok(())
    }

    fn is_nosuid(&self) -> Result<bool> {
        let told = rustix::fs::fstatvfs(&self.directory);
        let told = told.map_err(|errno| fail("looking at", &self.path, errno.into()))?;
        Ok(told.f_flag.contains(StatVfsMountFlags::NOSUID))
    }

    /// Creates a directory of the store, if needed.
    pub(super) fn make_dir(&self, name: &str) -> Result<()> {
        let path = EntryPath::parse(name.as_bytes())?;
        let (parent, last) = path.split().expect("it has a name");
        let parent = self.directory.open_beneath(&parent);
        match parent.and_then(|parent| parent.make_dir(last)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(Error::system(format!("making {name} in the store"), error))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a name is ignored: `lost+found`, or an unfinished file of a killed process.
fn counts_for_nothing(name: &[u8]) -> bool {
    name == b"lost+found" || name == FormatFile::NAME.as_bytes() || is_unfinished(name)
}

fn fail(doing: &str, path: &Path, error: io::Error) -> Error {
    Error::system(format!("{doing} the store {}", path.display()), error)
        .during(Operation::OpenStore)
}
