//! Rewriting a tree in place: from the form that images have (`.wh.` files) into one that a mount
//! obeys, back, or from one such form to another.
//!
//! It may be killed at any moment, and goes on where it was when it is called again: a name in its
//! new form is there before the old one goes, each appears by rename, and what the next run must
//! know is kept in xattrs of the tree itself until it is done (`trusted.lowerdir.*`, or
//! `user.lowerdir.*` without root): what is being converted to what, and the times of directories.
//!
//! The phases: look at all of it and refuse what cannot be done, before anything is changed; set
//! aside xattrs that the image has and that look like overlayfs's own; rewrite the marks, from the
//! top down; give those xattrs the names of the new form. Everything is reached by descriptor,
//! beneath the directory, and no link is followed: the tree may be hostile. Rules W1 to W7, O1 to
//! O3, X1. The command line calls it.
//!
//! ```
//! use lowerdir::convert::{Form, Options, convert};
//! use lowerdir::dialect::{Dialect, Namespace};
//!
//! let place = tempfile::tempdir()?;
//! std::fs::write(place.path().join(".wh.motd"), "")?;
//! let options = Options {
//!     from: Form::Oci,
//!     to: Form::Overlay(Dialect { namespace: Namespace::User, ..Dialect::default() }),
//!     parents: None,
//!     dry_run: false,
//! };
//! let report = convert(place.path(), &options, &mut |_, _| Ok(()))?;
//! assert_eq!(report.deletions, 1);
//! assert!(place.path().join("motd").symlink_metadata().is_ok());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod contents;
mod form;
mod journal;
mod make;
mod marks;
mod scan;
mod walk;
mod xattrs;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::Serialize;

use crate::dialect::{Dialect, Namespace, Whiteout};
use crate::error::{Error, Result};
use crate::lower::LowerView;
use crate::overlays::{Part, Relation, UpperRecord, Use, refuse_used};
use crate::path::EntryPath;
use crate::root::Dir;

pub use form::Form;

use journal::{Journal, Phase};

/// What is converted to what.
#[derive(Clone, Debug)]
pub struct Options {
    /// The form of the tree.
    pub from: Form,
    /// The form that it is to have.
    pub to: Form,
    /// The layer directories below, topmost first, in the new form; `None` if they are not known.
    pub parents: Option<Vec<PathBuf>>,
    /// Whether to say only what would be done.
    pub dry_run: bool,
}

/// One change to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A deletion gets its new form.
    Deletion,
    /// An opaque directory gets its new form.
    Opaque,
    /// A mark goes that hides nothing.
    Needless,
    /// An xattr of the image gets another name.
    Xattr,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Deletions in their new form.
    pub deletions: u64,
    /// Opaque directories in their new form.
    pub opaque: u64,
    /// Marks that hid nothing, and went.
    pub needless: u64,
    /// Inodes with xattrs that have another name now.
    pub xattrs: u64,
    /// Whether an earlier run was taken up.
    pub resumed: bool,
}

/// Who is told of each change before it is made; its error ends the work, which can be taken up.
pub type Tell<'a> = &'a mut dyn FnMut(Change, &EntryPath) -> Result<()>;

/// Converts the tree in a directory.
///
/// Errors: another conversion is at work in it, or was interrupted and is not this one; what has no
/// counterpart in the new form: a root that is opaque, names too long, names and devices that would
/// become marks, redirects ([`Kind::Refused`](crate::Kind::Refused)); another file system mounted
/// in it; an overlay mount that is made of it. Nothing is changed then. The system's: then the same call goes on later.
pub fn convert(directory: &Path, options: &Options, tell: Tell<'_>) -> Result<Report> {
    if options.from == options.to {
        return Err(Error::refused(
            "both forms are the same: there is nothing to convert",
        ));
    }
    let top = open(directory)?;
    lock(&top)?;
    if !options.dry_run {
        refuse_used(directory, "it", breaks).map_err(|error| error.hint("unmount it first"))?;
    }
    let kept = kept_record(&top, options)?;
    let mut converter = Converter {
        journal: Journal::open(&top, options)?,
        parents: options
            .parents
            .as_deref()
            .map(|paths| view(paths, options.to))
            .transpose()?,
        top,
        options,
        report: Report::default(),
        tell,
    };
    converter.report.resumed = converter.journal.is_resumed();
    let parks = converter.scan()?;
    if !options.dry_run {
        converter.change(parks)?;
        if let Some((record, namespace)) = kept {
            record.write(&converter.top, namespace)?;
        }
    } else {
        converter.rewrite_marks()?;
    }
    Ok(converter.report)
}

/// One conversion.
struct Converter<'a> {
    top: Dir,
    options: &'a Options,
    journal: Journal,
    parents: Option<LowerView>,
    report: Report,
    tell: Tell<'a>,
}

impl Converter<'_> {
    /// Each phase is done before the next begins, and may be done twice.
    fn change(&mut self, parks: bool) -> Result<()> {
        if self.journal.phase() == Phase::SetAside {
            self.journal.enter(&self.top, Phase::SetAside)?;
            if parks {
                self.set_xattrs_aside()?;
            }
            self.journal.enter(&self.top, Phase::Marks)?;
        }
        if self.journal.phase() == Phase::Marks {
            self.rewrite_marks()?;
            self.journal.enter(&self.top, Phase::TakeBack)?;
        }
        if parks || self.report.resumed {
            self.take_xattrs_back()?;
        }
        rustix::fs::syncfs(&self.top)
            .map_err(|errno| Error::system("writing it to disk", errno))?;
        self.journal.close(&self.top)
    }

    fn told(&mut self, change: Change, path: &EntryPath) -> Result<()> {
        (self.tell)(change, path)?;
        match change {
            Change::Deletion => self.report.deletions += 1,
            Change::Opaque => self.report.opaque += 1,
            Change::Needless => self.report.needless += 1,
            Change::Xattr => self.report.xattrs += 1,
        }
        Ok(())
    }
}

/// Whether a mount breaks when the tree is changed.
fn breaks(found: &Use) -> bool {
    found.part != Part::Lower || found.relation != Relation::Inside
}

/// What an upperdir remembers of its mounts, and where it is to be kept, if overlayfs's xattrs get other
/// names.
fn kept_record(top: &Dir, options: &Options) -> Result<Option<(UpperRecord, Namespace)>> {
    let namespaces = options.from.dialect().zip(options.to.dialect());
    let Some((from, to)) = namespaces.map(|(from, to)| (from.namespace, to.namespace)) else {
        return Ok(None);
    };
    let record = UpperRecord::read(top, from)?;
    Ok(record.filter(|_| from != to).map(|record| (record, to)))
}

fn open(directory: &Path) -> Result<Dir> {
    Dir::open(directory)
        .map_err(|error| Error::system(format!("opening {}", directory.display()), error))
}

fn lock(top: &Dir) -> Result<()> {
    match rustix::fs::flock(top, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => Err(Error::in_the_way("somebody else is converting it")),
        Err(errno) => Err(Error::system("locking it", errno)),
    }
}

/// The layers below, which have the form that is being made.
fn view(paths: &[PathBuf], to: Form) -> Result<LowerView> {
    let layers = paths.iter().map(|path| open(path).map(Arc::new));
    let namespace = match to {
        Form::Overlay(dialect) => dialect.namespace,
        Form::Oci | Form::FuseOverlayfs => Namespace::Trusted,
    };
    let dialect = Dialect {
        whiteout: Whiteout::Xattr,
        namespace,
    };
    Ok(LowerView::new(layers.collect::<Result<_>>()?, dialect))
}
