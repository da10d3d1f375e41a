//! Checks an upperdir and a workdir before they are mounted and, as far as possible, before they are
//! created. Called by [`super::upper`].
//!
//! The kernel accepts most of the cases that are refused here, and then breaks a mount or loses data: a
//! second mount of the same directories, layers that change under a mount, files in the workdir, which it
//! removes. The rest it refuses with a bare EINVAL and a line in its log.
//! Source: kernel `Documentation/filesystems/overlayfs.rst`, "Upper and Lower", "Sharing and copying
//! layers", "Volatile mount".

use std::collections::HashSet;
use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FlockOperation, StatxFlags, statx};
use rustix::io::Errno;

use crate::error::{Advice, Error, Result};
use crate::fs::root::Dir;
use crate::overlay::overlays::{
    Lineage, Part, Relation, UpperRecord, Use, refuse_used, refuse_used_if_new,
};
use crate::store::stack::Stack;

use super::{Directories, configured};

const HINT: Advice = Advice::UpperInUse;

/// A mount to be made.
#[derive(Clone, Copy)]
pub struct Claim<'a> {
    pub stack: &'a Stack,
    /// The mount point, if it is known.
    pub target: Option<&'a Path>,
    /// The id maps of its changes.
    pub record: &'a UpperRecord,
}

impl Claim<'_> {
    /// Checks the locations of the directories, which may be absent. Errors: one is inside the other, in a
    /// layer, or around the mount point, or they are on two file systems.
    pub fn check_places(&self, directories: Directories<'_>) -> Result<()> {
        let upper = CheckedPath::of(directories.upperdir, "--upper")?;
        let work = CheckedPath::of(directories.workdir, "--work")?;
        refuse_overlap(&upper, &work)?;
        refuse_two_mounts(&upper, &work)?;
        configured::check_upper(upper.existing)?;
        for place in [&upper, &work] {
            if let Some(target) = self.target {
                refuse_target(place, target)?;
            }
            refuse_layers(place, self.stack)?;
        }
        Ok(())
    }

    /// Makes the checks that still hold later, for a mount that another program will make; the directories
    /// may all be absent. Errors: as for the other functions.
    pub fn check_later(&self, directories: Directories<'_>) -> Result<()> {
        match self.check_places(directories) {
            Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => {}
            checked => checked?,
        }
        match Dir::open(directories.upperdir) {
            Ok(upper) => self.check_record(&upper, directories.upperdir),
            Err(_) => Ok(()),
        }
    }

    /// Claims both directories, which exist, for this mount. Another process that wants them has to wait
    /// until the returned lock is dropped, and then finds the mount. `is_new`: the upperdir was just
    /// created.
    ///
    /// Errors: they are in use; the workdir holds files that overlayfs did not create; the upperdir was
    /// mounted with other id maps.
    pub fn take(&self, directories: Directories<'_>, is_new: bool) -> Result<Dir> {
        let Directories { upperdir, workdir } = directories;
        let lock = lock(upperdir)?;
        for (option, directory) in [("--upper", upperdir), ("--work", workdir)] {
            let subject = format!("{option} {}", directory.display());
            let checked = match is_new {
                true => refuse_used_if_new(directory, &subject, breaks),
                false => refuse_used(directory, &subject, breaks),
            };
            checked.map_err(|error| error.hint(HINT))?;
        }
        check_work(workdir)?;
        self.check_record(&lock, upperdir)?;
        Ok(lock)
    }

    /// Checks the recorded id maps. An empty upperdir has no files whose ids could mix.
    fn check_record(&self, upper: &Dir, upperdir: &Path) -> Result<()> {
        let shown = upperdir.display().to_string();
        let looking = |error| Error::system(format!("looking at {shown}"), error);
        if upper.names().map_err(looking)?.is_empty() {
            return Ok(());
        }
        let record = UpperRecord::read_or_refuse(upper, self.stack.dialect().namespace);
        let hint = Advice::ConvertUpper;
        let Some(record) = record.map_err(|error| error.at_entry(&shown).hint(hint))? else {
            return Ok(());
        };
        if record.ids == self.record.ids {
            return Ok(());
        }
        let text =
            format!("{shown} has been mounted with other id maps: its files would have mixed ids");
        Err(Error::conflict(text).hint(match record.ids.is_empty() {
            true => Advice::EmptyUpper.into(),
            false if record.is_idmapped => Advice::MountIdmapped.with(record.ids.to_string()),
            false => Advice::MountMapped.with(record.ids.to_string()),
        }))
    }

    /// Records this mount in the upperdir.
    pub fn remember(&self, upper: &Dir) -> Result<()> {
        let namespace = self.stack.dialect().namespace;
        match UpperRecord::read(upper, namespace) {
            Ok(Some(record)) if record == *self.record => Ok(()),
            _ => self.record.write(upper, namespace),
        }
    }
}

/// Whether an existing use of a directory conflicts with this mount.
fn breaks(found: &Use) -> bool {
    // Being inside a layer of some mount is common: `lowerdir=/` is one.
    found.part != Part::Lower || found.relation != Relation::Inside
}

fn lock(upperdir: &Path) -> Result<Dir> {
    let doing = |error| Error::system(format!("locking {}", upperdir.display()), error);
    let directory = Dir::open(upperdir).map_err(doing)?;
    match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(directory),
        Err(Errno::WOULDBLOCK) => {
            let text = format!("{} is being mounted or converted", upperdir.display());
            Err(Error::conflict(text).hint("run it again when the other process is done"))
        }
        Err(errno) => Err(doing(errno.into())),
    }
}

/// A directory. If it is absent, the checks apply to its parent.
struct CheckedPath<'a> {
    path: &'a Path,
    option: &'static str,
    existing: &'a Path,
    lineage: Lineage,
}

impl CheckedPath<'_> {
    fn of<'a>(path: &'a Path, option: &'static str) -> Result<CheckedPath<'a>> {
        let failed = |error| Error::system(format!("opening {}", path.display()), error);
        let (existing, lineage) = match Lineage::named(path) {
            Ok(lineage) => (path, lineage),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let parent = path.parent().unwrap_or(Path::new("/"));
                let parent = match parent.as_os_str().is_empty() {
                    true => Path::new("."),
                    false => parent,
                };
                let missing = |error| failed(error).hint("make the directory above it first");
                (parent, Lineage::named(parent).map_err(missing)?)
            }
            Err(error) => return Err(failed(error)),
        };
        Ok(CheckedPath {
            path,
            option,
            existing,
            lineage,
        })
    }

    fn exists(&self) -> bool {
        self.existing == self.path
    }

    /// Its relation to an existing directory.
    fn relation_to(&self, other: &Lineage) -> Option<Relation> {
        match self.lineage.relation_to(other) {
            // An absent directory will be inside its parent, and around nothing.
            Some(Relation::Same) if !self.exists() => Some(Relation::Inside),
            Some(Relation::Around) if !self.exists() => None,
            relation => relation,
        }
    }

    fn refuse(&self, what: &str) -> Error {
        let (option, path) = (self.option, self.path.display());
        Error::conflict(format!("{option} {path} {what}"))
    }
}

fn refuse_overlap(upper: &CheckedPath<'_>, work: &CheckedPath<'_>) -> Result<()> {
    let relation = match (upper.exists(), work.exists()) {
        (_, true) => upper.relation_to(&work.lineage),
        (true, false) => match work.relation_to(&upper.lineage) {
            Some(Relation::Inside) => Some(Relation::Around),
            _ => None,
        },
        (false, false) => {
            let is_same = upper.path.file_name() == work.path.file_name()
                && upper.lineage.relation_to(&work.lineage) == Some(Relation::Same);
            is_same.then_some(Relation::Same)
        }
    };
    let work = work.path.display();
    let text = match relation {
        None => return Ok(()),
        Some(Relation::Same) => format!("and --work {work} are the same directory"),
        Some(Relation::Inside) => format!("is inside --work {work}"),
        Some(Relation::Around) => format!("has --work {work} in it"),
    };
    Err(upper
        .refuse(&text)
        .hint("give two directories, side by side"))
}

/// Overlayfs renames files from the workdir into the upperdir, which two mounts would prevent.
fn refuse_two_mounts(upper: &CheckedPath<'_>, work: &CheckedPath<'_>) -> Result<()> {
    let (upper_mount, work_mount) = (mount_of(upper.existing)?, mount_of(work.existing)?);
    let other = if upper_mount.device != work_mount.device {
        "on another file system than"
    } else if upper_mount.id != work_mount.id {
        "under another mount than"
    } else {
        return Ok(());
    };
    let text = format!("is {other} --upper {}", upper.path.display());
    Err(work
        .refuse(&text)
        .hint("give two directories, side by side"))
}

#[derive(PartialEq, Eq)]
struct Mount {
    device: (u32, u32),
    /// 0 before Linux 5.8.
    id: u64,
}

fn mount_of(directory: &Path) -> Result<Mount> {
    // STATX_MNT_ID, which rustix has no name for.
    let mask = StatxFlags::from_bits_retain(0x1000);
    let stat = statx(CWD, directory, AtFlags::empty(), mask);
    let stat =
        stat.map_err(|errno| Error::system(format!("looking at {}", directory.display()), errno))?;
    let has_id = stat.stx_mask & mask.bits() != 0;
    Ok(Mount {
        device: (stat.stx_dev_major, stat.stx_dev_minor),
        id: if has_id { stat.stx_mnt_id } else { 0 },
    })
}

fn refuse_target(place: &CheckedPath<'_>, target: &Path) -> Result<()> {
    let lineage = Lineage::named(target);
    let lineage =
        lineage.map_err(|error| Error::system(format!("opening {}", target.display()), error))?;
    let target = target.display();
    let text = match place.relation_to(&lineage) {
        Some(Relation::Same) => format!("is the mount point {target} itself, which would hide it"),
        Some(Relation::Around) => format!("has the mount point {target} in it"),
        // The mount hides the directory, but works.
        Some(Relation::Inside) | None => return Ok(()),
    };
    Err(place.refuse(&text).hint("mount on a directory beside it"))
}

/// Errors: the mount would write to a layer, or a layer would change under it.
fn refuse_layers(place: &CheckedPath<'_>, stack: &Stack) -> Result<()> {
    let mut seen = HashSet::new();
    for layer in stack.directories() {
        for (steps, directory) in layer.ancestors().enumerate() {
            if !seen.insert(directory) {
                break;
            }
            // A layer that cannot be opened is reported by the mount itself.
            let Ok(found) = Lineage::of_one(directory) else {
                continue;
            };
            let what = match (place.relation_to(&found), steps) {
                (Some(Relation::Same), 0) => "is",
                (Some(Relation::Inside), 0) => "is inside",
                (Some(Relation::Same), _) => "has in it",
                _ => continue,
            };
            let text = format!("{what} {}, a layer of this mount", layer.display());
            return Err(place
                .refuse(&text)
                .hint("use a directory outside of every layer"));
        }
    }
    Ok(())
}

/// Overlayfs removes everything in `work/work` without warning, and interprets `work/index`.
fn check_work(workdir: &Path) -> Result<()> {
    let doing = |error| Error::system(format!("looking at {}", workdir.display()), error);
    let work = Dir::open(workdir).map_err(doing)?;
    for name in work.names().map_err(doing)? {
        let is_own_name: fn(&[u8]) -> bool = match &*name {
            b"work" => is_temporary,
            b"index" => is_index_entry,
            _ => return Err(foreign(workdir, &name, b"")),
        };
        let path = crate::path::EntryPath::root().join(&name)?;
        let Some(directory) = work.find_beneath(&path).map_err(doing)? else {
            return Err(foreign(workdir, &name, b""));
        };
        for inner in directory.names().map_err(doing)? {
            if &*inner == b"incompat" {
                check_incompatible(&directory, workdir)?;
            } else if !is_own_name(&inner) {
                return Err(foreign(workdir, &name, &inner));
            }
        }
    }
    Ok(())
}

/// `#` and a hexadecimal number.
fn is_temporary(name: &[u8]) -> bool {
    name.strip_prefix(b"#").is_some_and(is_hexadecimal)
}

fn is_index_entry(name: &[u8]) -> bool {
    is_hexadecimal(name) || is_temporary(name)
}

fn is_hexadecimal(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_hexdigit)
}

fn foreign(workdir: &Path, name: &[u8], inner: &[u8]) -> Error {
    let mut path = crate::path::display(name).to_string();
    if !inner.is_empty() {
        path = format!("{path}/{}", crate::path::display(inner));
    }
    let text = format!(
        "--work {} has {path} in it, which overlayfs did not make",
        workdir.display()
    );
    Error::conflict(text).hint("use an empty or absent directory: overlayfs removes what is in it")
}

/// Errors: a mount with `volatile` used the workdir, and changes may be missing.
fn check_incompatible(work: &Dir, workdir: &Path) -> Result<()> {
    let doing = |error| Error::system(format!("looking at {}", workdir.display()), error);
    let marks = crate::path::EntryPath::parse(b"incompat")?;
    let Some(marks) = work.find_beneath(&marks).map_err(doing)? else {
        return Err(foreign(workdir, b"work", b"incompat"));
    };
    let names = marks.names().map_err(doing)?;
    if !names.iter().any(|name| &**name == b"volatile") {
        return Ok(());
    }
    let workdir = workdir.display();
    let text = format!(
        "--work {workdir} was last used by a mount with `volatile`, which may have lost changes"
    );
    Err(Error::conflict(text).hint(format!(
        "if the system has not crashed since, remove the directory {workdir}/work/incompat; else start with an empty --upper"
    )))
}
