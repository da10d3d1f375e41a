//! Which overlay mounts are made of a directory, in every mount namespace of this system; and what
//! lowerdir keeps in an upperdir about the mounts that it was in ([`UpperRecord`]).
//!
//! Overlayfs takes a second mount of the same upperdir or workdir without an error, and both then break;
//! so it is with an upperdir or a layer that is changed below a mount. [`crate::mount`],
//! [`crate::repack::pack`](mod@crate::repack::pack) and [`crate::repack::convert`](mod@crate::repack::convert) ask here before they touch one. Two sources answer:
//! - the mount tables (`tables`) name the mounts, with the paths that they were given. Directories are
//!   compared by device and inode, since such a path may be one of another namespace or chroot;
//! - the kernel (`kernel`) knows every upperdir and workdir that is in use, and no names.
//!
//! A name that is relative to where the mounter was, or to a descriptor, may be that of several directories:
//! then the kernel decides. What neither can tell: a lower directory of such a name.

mod binds;
mod kernel;
mod lineage;
mod record;
mod tables;

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

use crate::error::{Error, Result};
use crate::path;

use lineage::Seeker;

pub use binds::{place_in_file_system, refuse_bind_mounted};
pub use lineage::Lineage;
pub use record::UpperRecord;
pub use tables::{Line, Table, tables, unescaped};

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// How paths that are named by a descriptor of the mounter's begin.
const BY_DESCRIPTOR: &[u8] = b"/proc/self/fd/";

/// What a directory is to a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// One of its layers.
    Lower,
    /// Where its changes go.
    Upper,
    /// Where it works.
    Work,
}

/// Where a directory lies, seen from one that a mount is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It is that one.
    Same,
    /// It is below that one.
    Inside,
    /// That one is below it.
    Around,
}

/// An overlay mount that a directory has to do with.
#[derive(Clone, Debug)]
pub struct Use {
    /// What the mount is made of.
    pub part: Part,
    /// Where the directory lies, seen from that.
    pub relation: Relation,
    /// Whether files can be changed through this mount.
    pub is_writable: bool,
    /// Whether it is mounted in the mount namespace of this process.
    pub is_here: bool,
    /// Whether the mount table names this directory and no other.
    is_certain: bool,
    target: Vec<u8>,
    process: String,
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relation = match self.relation {
            Relation::Same => "",
            Relation::Inside => "inside ",
            Relation::Around => "around ",
        };
        let part = match self.part {
            Part::Lower => "a layer",
            Part::Upper => "the upperdir",
            Part::Work => "the workdir",
        };
        let target = path::display(&self.target);
        write!(f, "{relation}{part} of the overlay mount on {target}")?;
        match self.is_here {
            true => Ok(()),
            false => write!(f, ", in the mount namespace of process {}", self.process),
        }
    }
}

/// How long a mount in another mount namespace is waited for: a program that makes a namespace begins
/// with a copy of all mounts, which a container runtime soon takes down.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(50);

/// Refuses a directory that mounts are made of, as far as they matter. Errors
/// ([`Kind::Conflict`](crate::Kind::Conflict)): one does, or the kernel knows of one that no table shows.
/// `subject` is what it is called at the beginning of such an error.
pub fn refuse_used(directory: &Path, subject: &str, matters: impl Fn(&Use) -> bool) -> Result<()> {
    let start = Instant::now();
    while let Some(conflict) = conflict(directory, &matters)? {
        let is_here = matches!(&conflict, Conflict::With(found) if found.is_here);
        if is_here || start.elapsed() > PATIENCE {
            return Err(conflict.error(subject));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// The same as [`refuse_used`] for one that was made a moment ago, which costs less: only another process
/// that did so at the same time can have mounted it.
pub fn refuse_used_if_new(
    directory: &Path,
    subject: &str,
    matters: impl Fn(&Use) -> bool,
) -> Result<()> {
    match kernel::is_in_use(directory) {
        Some(false) => Ok(()),
        _ => refuse_used(directory, subject, matters),
    }
}

/// Why a directory is left alone.
enum Conflict {
    With(Use),
    Unseen,
}

impl Conflict {
    fn error(&self, subject: &str) -> Error {
        Error::conflict(match self {
            Conflict::With(found) => format!("{subject} is {found}"),
            Conflict::Unseen => {
                format!("{subject} is in use by an overlay mount that no mount table shows")
            }
        })
    }
}

fn conflict(directory: &Path, matters: impl Fn(&Use) -> bool) -> Result<Option<Conflict>> {
    let uses = uses(directory)?;
    if let Some(found) = uses.iter().find(|found| found.is_certain && matters(found)) {
        return Ok(Some(Conflict::With(found.clone())));
    }
    let takes_changes =
        |found: &&Use| found.part != Part::Lower && found.relation != Relation::Around;
    let may_be = uses
        .iter()
        .find(|found| takes_changes(found) && matters(found));
    let is_explained = uses.iter().any(|found| takes_changes(&found));
    Ok(match (kernel::is_in_use(directory), may_be) {
        (Some(false), _) | (None, None) => None,
        (_, Some(found)) => Some(Conflict::With(found.clone())),
        (Some(true), None) if is_explained => None,
        (Some(true), None) => Some(Conflict::Unseen),
    })
}

/// The overlay mounts that a directory has to do with, those of this mount namespace first.
fn uses(directory: &Path) -> Result<Vec<Use>> {
    let looking = |error| Error::system(format!("looking at {}", directory.display()), error);
    let near = directory.canonicalize().map_err(looking)?;
    let seeker = Seeker::new(Lineage::named(&near).map_err(looking)?);
    let mut subject = Subject { near, seeker };
    let tables = tables().map_err(|error| Error::system("looking at /proc", error))?;
    Ok(tables
        .iter()
        .flat_map(|table| subject.uses_in(table))
        .collect())
}

/// A directory that is looked for.
struct Subject {
    near: PathBuf,
    seeker: Seeker,
}

impl Subject {
    fn uses_in(&mut self, table: &Table) -> Vec<Use> {
        let lines = table.lines().filter(|line| line.file_system == b"overlay");
        let mut lines = lines.peekable();
        if lines.peek().is_none() {
            return Vec::new();
        }
        // A mount may have been made from outside of the chroot that shows it.
        let mut roots = vec![PathBuf::from("/")];
        if !table.is_own() {
            roots.insert(0, table.thread.join("root"));
        }
        let roots: Vec<OwnedFd> = roots
            .iter()
            .filter_map(|root| open(CWD, root).ok())
            .collect();
        let mut uses = Vec::new();
        for line in lines {
            for (part, value) in directories(line.options) {
                let relation = self.relation(&roots, &value);
                uses.extend(relation.map(|(relation, evidence)| Use {
                    part,
                    relation,
                    is_certain: evidence.is_certain(part),
                    ..found(table, &line)
                }));
            }
        }
        uses
    }

    /// Where the directory lies, seen from one that a mount table names.
    fn relation(&mut self, roots: &[OwnedFd], value: &[u8]) -> Option<(Relation, Evidence)> {
        // With several roots, nobody knows from which one it was named.
        let evidence = match roots {
            [_] => Evidence::Path,
            _ => Evidence::LongName,
        };
        let mut names = vec![value.to_vec()];
        names.extend(value.contains(&b'\\').then(|| without_backslashes(value)));
        names
            .iter()
            .find_map(|name| match name.strip_prefix(BY_DESCRIPTOR) {
                Some(rest) => self.by_descriptor(rest),
                None if name.starts_with(b"/") => {
                    let named = |root| in_root(root, OsStr::from_bytes(name)).ok();
                    let mut named = roots.iter().filter_map(named);
                    let found = named.find_map(|found| self.seeker.relation_to(found));
                    found.map(|relation| (relation, evidence))
                }
                None => self.by_relative_name(Path::new(OsStr::from_bytes(name))),
            })
    }

    /// Of what was named by a descriptor, the last parts of the path are all that is left.
    fn by_descriptor(&self, rest: &[u8]) -> Option<(Relation, Evidence)> {
        let slash = rest.iter().position(|byte| *byte == b'/')?;
        let rest = Path::new(OsStr::from_bytes(&rest[slash + 1..]));
        let mut around = self.near.ancestors();
        let relation = match around.position(|path| path.ends_with(rest))? {
            0 => Relation::Same,
            _ => Relation::Inside,
        };
        Some((relation, Evidence::of_name(rest)))
    }

    /// Engines mount from the directory that holds their layers, or short names for them, which are
    /// symbolic links.
    fn by_relative_name(&mut self, name: &Path) -> Option<(Relation, Evidence)> {
        let Subject { near, seeker } = self;
        let from = near.ancestors().skip(1);
        let mut places = from.flat_map(|from| [from.join(name), from.join("l").join(name)]);
        places.find_map(|place| {
            let relation = seeker.relation_to(open(CWD, &place).ok()?)?;
            let evidence = match place.is_symlink() {
                true => Evidence::LongName,
                false => Evidence::of_name(name),
            };
            Some((relation, evidence))
        })
    }
}

/// How a mount table names a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evidence {
    /// By its path.
    Path,
    /// By a path in another place, by the last parts of its path, or by a link to it.
    LongName,
    /// By a name that others may have too.
    ShortName,
}

impl Evidence {
    fn of_name(name: &Path) -> Evidence {
        match name.components().count() {
            0 | 1 => Evidence::ShortName,
            _ => Evidence::LongName,
        }
    }

    /// Containers' upperdirs are called alike, and of those the kernel knows more.
    fn is_certain(self, part: Part) -> bool {
        self == Evidence::Path || (self == Evidence::LongName && part == Part::Lower)
    }
}

/// A mount, with what it is to a directory left open.
fn found(table: &Table, line: &Line<'_>) -> Use {
    let is_read_only = |options: &[u8]| {
        options
            .split(|byte| *byte == b',')
            .any(|word| word == b"ro")
    };
    let process = table.thread.components().nth(2);
    let process = process.map(|part| part.as_os_str().to_string_lossy());
    Use {
        part: Part::Lower,
        relation: Relation::Same,
        is_writable: !is_read_only(line.attributes) && !is_read_only(line.options),
        is_here: table.is_own(),
        is_certain: false,
        target: unescaped(line.target),
        process: process.unwrap_or_default().into(),
    }
}

/// The directories in the options of an overlay mount, without the table's escapes.
fn directories(options: &[u8]) -> Vec<(Part, Vec<u8>)> {
    let mut found = Vec::new();
    for option in options.split(|byte| *byte == b',') {
        let value = |key: &str| option.strip_prefix(key.as_bytes()).map(unescaped);
        if let Some(names) = value("lowerdir=") {
            let names = split_at_colons(&names);
            found.extend(names.into_iter().map(|name| (Part::Lower, name)));
        } else if let Some(name) = value("lowerdir+=").or_else(|| value("datadir+=")) {
            found.push((Part::Lower, name));
        } else if let Some(name) = value("upperdir=") {
            found.push((Part::Upper, name));
        } else if let Some(name) = value("workdir=") {
            found.push((Part::Work, name));
        }
    }
    found
}

/// A backslash keeps a colon from ending a name; two colons begin data-only layers.
fn split_at_colons(text: &[u8]) -> Vec<Vec<u8>> {
    let mut names = vec![Vec::new()];
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        let name = names.last_mut().expect("there is one");
        match byte {
            b'\\' => name.extend([Some(&byte), bytes.next()].into_iter().flatten()),
            b':' => names.push(Vec::new()),
            _ => name.push(byte),
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn without_backslashes(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        plain.extend(match byte {
            b'\\' => bytes.next().copied(),
            _ => Some(byte),
        });
    }
    plain
}

fn open(from: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(from, path, DIRECTORY, Mode::empty())?)
}

/// Opens a path as those see it whose root this is: also its symbolic links stay in there.
fn in_root(root: &OwnedFd, path: &OsStr) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    Ok(rustix::fs::openat2(
        root,
        path,
        DIRECTORY,
        Mode::empty(),
        resolve,
    )?)
}
