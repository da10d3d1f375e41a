//! The upperdir and workdir of a mount: created if needed, perhaps on a tmpfs, and with the attributes
//! of the image's root. Called by [`super::mount`].

use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, umount2};

use crate::dialect::Dialect;
use crate::error::{Error, Result};
use crate::fs::root::{self, Dir};
use crate::ids::IdMaps;
use crate::store::stack::Stack;

use super::claim::Claim;
use super::{TMPFS_SOURCE, Upper, failed};

/// The directories in which overlayfs keeps changes.
#[derive(Clone, Copy, Debug)]
pub struct Directories<'a> {
    pub upperdir: &'a Path,
    pub workdir: &'a Path,
}

/// Directories that exist. On drop, a tmpfs that was mounted for them is unmounted (an overlay that uses
/// it keeps it alive), and directories that were created are removed, unless the overlay was mounted.
pub struct Prepared {
    directories: Option<(PathBuf, PathBuf)>,
    tmpfs: Option<PathBuf>,
    made: Made,
}

impl Prepared {
    pub fn directories(&self) -> Option<Directories<'_>> {
        let (upperdir, workdir) = self.directories.as_ref()?;
        Some(Directories { upperdir, workdir })
    }

    /// The overlay is mounted: the directories stay.
    pub fn is_mounted(&mut self) {
        self.made.keep();
    }

    /// Unmounts the tmpfs, if there is one.
    pub fn unmount_tmpfs(&mut self) {
        if let Some(target) = self.tmpfs.take() {
            // It was just mounted, and nothing else uses it.
            let _ = umount2(&target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
        }
    }

    /// Leaves the tmpfs where it is.
    pub fn keep(mut self) {
        self.is_mounted();
        self.tmpfs = None;
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        self.unmount_tmpfs();
    }
}

/// Makes the directories. A tmpfs is mounted on the target itself, which needs no other directory, and
/// after a crash it is easily found.
pub fn prepare(
    upper: &Upper,
    like: Like<'_>,
    claim: &Claim<'_>,
    target: &Path,
) -> Result<Prepared> {
    let (directories, tmpfs) = match upper {
        Upper::None => (None, None),
        Upper::Directories { upperdir, workdir } => {
            (Some((upperdir.clone(), workdir.clone())), None)
        }
        Upper::Tmpfs { size } => {
            mount_tmpfs(size.as_deref(), target)?;
            let directories = (target.join("upper"), target.join("work"));
            (Some(directories), Some(target.to_path_buf()))
        }
    };
    let mut prepared = Prepared {
        directories,
        tmpfs,
        made: Made::default(),
    };
    match (&prepared.directories, upper) {
        (Some((upperdir, workdir)), Upper::Directories { .. }) => {
            let directories = Directories { upperdir, workdir };
            claim_directories(directories, like, claim, &mut prepared.made)?;
            // The mount table will show these paths.
            let absolute = |path: &PathBuf| {
                let absolute = path.canonicalize();
                absolute
                    .map_err(|error| Error::system(format!("opening {}", path.display()), error))
            };
            prepared.directories = Some((absolute(upperdir)?, absolute(workdir)?));
        }
        (Some((upperdir, workdir)), _) => {
            make_both(upperdir, workdir, &mut prepared.made)?;
            like.describe(upperdir)?;
        }
        (None, _) => {}
    }
    Ok(prepared)
}

/// Directories that were created. On drop, those that are still empty are removed.
#[derive(Default)]
pub struct Made {
    directories: Vec<PathBuf>,
    /// Keeps other processes from mounting the upperdir.
    lock: Option<Dir>,
}

impl Made {
    /// Keeps the directories.
    pub fn keep(&mut self) {
        self.directories.clear();
    }

    /// Lets other processes mount the upperdir.
    pub fn unlock(&mut self) {
        self.lock = None;
    }

    fn add(&mut self, directory: &Path) -> Result<bool> {
        let is_new = make(directory)?;
        if is_new {
            self.directories.push(directory.into());
        }
        Ok(is_new)
    }

    /// Adds the directories that a failed mount creates in the workdir.
    fn add_work(&mut self, workdir: &Path) {
        let inside = ["work", "index"].map(|name| workdir.join(name));
        let absent = inside.into_iter().filter(|path| !path.exists());
        self.directories.splice(0..0, absent);
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for directory in &self.directories {
            // A directory that is no longer empty stays.
            let _ = std::fs::remove_dir(directory);
        }
    }
}

/// The attributes for an empty upperdir.
#[derive(Clone, Copy)]
pub struct Like<'a> {
    /// The image's root.
    pub top: Option<&'a Path>,
    pub dialect: Dialect,
    /// The id maps for its owner.
    pub ids: &'a IdMaps,
}

impl Like<'_> {
    /// The root of the topmost layer, in one of these stores if there are any: directories stacked above
    /// are not part of the image.
    pub fn root_of<'a>(stack: &'a Stack, stores: &[PathBuf], ids: &'a IdMaps) -> Like<'a> {
        let is_image = |layer: &&PathBuf| {
            stores.is_empty() || stores.iter().any(|store| layer.starts_with(store))
        };
        Like {
            top: stack
                .directories()
                .iter()
                .find(is_image)
                .map(PathBuf::as_path),
            dialect: stack.dialect(),
            ids,
        }
    }

    fn describe(self, upperdir: &Path) -> Result<()> {
        match self.top {
            Some(top) => copy_attributes(top, upperdir, self.dialect, self.ids),
            None => Ok(()),
        }
    }
}

/// Checks both directories, creates them if needed, and gives an empty upperdir its attributes.
pub fn claim_directories(
    directories: Directories<'_>,
    like: Like<'_>,
    claim: &Claim<'_>,
    made: &mut Made,
) -> Result<()> {
    let Directories { upperdir, workdir } = directories;
    claim.check_places(directories)?;
    let is_new = make_both(upperdir, workdir, made)?;
    let upper = claim.take(directories, is_new)?;
    made.add_work(workdir);
    like.describe(upperdir)?;
    claim.remember(&upper)?;
    made.lock = Some(upper);
    Ok(())
}

/// Whether the upperdir was absent.
fn make_both(upperdir: &Path, workdir: &Path, made: &mut Made) -> Result<bool> {
    made.add(workdir)?;
    made.add(upperdir)
}

fn mount_tmpfs(size: Option<&str>, target: &Path) -> Result<()> {
    let options = match size {
        Some(size) => format!("mode=0755,size={size}"),
        None => "mode=0755".into(),
    };
    let (source, kind) = (Some(TMPFS_SOURCE), Some("tmpfs"));
    nix::mount::mount(source, target, kind, MsFlags::empty(), Some(&*options)).map_err(|errno| {
        let doing = format!("mounting a tmpfs on {} ({options})", target.display());
        failed(doing, rustix::io::Errno::from_raw_os_error(errno as i32))
    })
}

/// Returns false if it existed.
fn make(directory: &Path) -> Result<bool> {
    match std::fs::create_dir(directory) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(Error::system(
            format!("making {}", directory.display()),
            error,
        )),
    }
}

/// Gives an empty upperdir the attributes of the image's root, because overlayfs shows those of the topmost
/// directory.
pub fn copy_attributes(from: &Path, upperdir: &Path, dialect: Dialect, ids: &IdMaps) -> Result<()> {
    let failed = |error: io::Error| {
        let doing = "giving the upperdir the attributes of the image's root";
        Error::system(format!("{doing}: {}", upperdir.display()), error)
    };
    let (from, to) = (
        Dir::open(from).map_err(failed)?,
        Dir::open(upperdir).map_err(failed)?,
    );
    if !to.names().map_err(failed)?.is_empty() {
        return Ok(());
    }
    let mut xattrs = from.xattrs(b".").map_err(failed)?;
    xattrs.retain(|xattr| !dialect.is_order(&xattr.name));
    let mut wanted = root::attributes(&from.stat_self().map_err(failed)?, xattrs);
    ids.map(&mut wanted)?;
    let set = || -> io::Result<()> {
        let is = to.stat_self()?;
        if (wanted.uid, wanted.gid) != (is.st_uid, is.st_gid) {
            root::set_owner(&to, wanted.uid, wanted.gid)?;
        }
        for xattr in &wanted.xattrs {
            root::set_xattr(&to, &xattr.name, &xattr.value)?;
        }
        root::set_mode(&to, wanted.mode)?;
        root::set_times(&to, wanted.mtime)
    };
    set().map_err(failed)
}
