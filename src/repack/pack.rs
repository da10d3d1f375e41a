//! The way back: the upperdir of an overlay mount becomes a layer.
//!
//! A container's changes lie in an upperdir in overlayfs's own spelling: 0:0 devices, opaque
//! marks, redirects, files that are attributes only. [`pack`] writes them as a layer of an image,
//! so that the layer, applied over the image, is the tree that the mount showed. With the layers
//! below at hand it writes only deletions that delete something, spells opaque directories out as
//! deletions (which more tools get right), and follows redirects; without them it refuses what
//! cannot be known.
//!
//! Owners, and the ids in ACLs and capabilities, become the image's again where the mount had other ids
//! (`ids`). An upperdir that is mounted and can be changed is refused.
//!
//! The order: a directory, the deletions in it, what it holds, sorted by bytes; so the same
//! upperdir gives the same bytes. The command line calls it. It writes to the archive and nowhere
//! else, reads through descriptors beneath the directories it was given, and follows no link.
//! Source: kernel `Documentation/filesystems/overlayfs.rst`; image-spec `layer.md`, "Whiteouts".
//!
//! ```
//! use lowerdir::options::Namespace;
//! use lowerdir::repack::pack::{self, pack};
//!
//! let place = tempfile::tempdir()?;
//! let upper = place.path().join("upper");
//! std::fs::create_dir_all(upper.join("etc"))?;
//! std::fs::write(upper.join("etc/motd"), "hello\n")?;
//!
//! let options = pack::Options::default()
//!     .namespace(Namespace::User)
//!     .clamp(Some(0));
//! let (archive, report) = pack(&upper, None, &options, Vec::new())?;
//! // The root, `etc/` and `etc/motd`.
//! assert_eq!((report.entries, report.bytes), (3, 6));
//! assert!(archive.starts_with(b"./\0"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod below;
mod children;
mod file;
mod ids;
mod links;
mod walk;

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::dialect::{Dialect, Namespace, Whiteout};
use crate::error::{Error, Result};
use crate::fs::root::{Dir, Root};
use crate::ids::IdMaps;
use crate::layer::report::Report;
use crate::overlay::inspect::check_marks_show;
use crate::overlay::overlays::{Part, Relation, Use, refuse_used};
use crate::setters::setters;
use crate::tar::writer::Writer;

use below::Lowers;
use walk::Packer;

pub use ids::Ids;

/// How an upperdir is packed.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// Whose orders it has: those of `trusted.overlay.*`, or of a mount with `userxattr`.
    pub namespace: Namespace,
    /// Whether `security.selinux` is kept (rule X2).
    pub selinux: bool,
    /// Times after this one, in seconds since the epoch, become this one (`SOURCE_DATE_EPOCH`).
    pub clamp: Option<i64>,
    /// Whether holes are written as zeros: not every tool reads sparse files.
    pub fill_holes: bool,
    /// Which ids of the host the upperdir has in the place of the image's. Where none are given, those
    /// that it was mounted with, if lowerdir mounted it.
    pub ids: IdMaps,
    /// Whether the directories below have the image's own ids all the same: the mount showed them with
    /// others.
    pub is_idmapped: bool,
    /// Whether an upperdir that is mounted and can be changed is packed all the same.
    pub live: bool,
}

impl Options {
    setters! {
        namespace: Namespace,
        selinux: bool,
        clamp: Option<i64>,
        fill_holes: bool,
        ids: IdMaps,
        is_idmapped: bool,
        live: bool,
    }
}

/// Writes an upperdir as an uncompressed layer, and returns the writer, flushed. `lowers` are the
/// directories below it, topmost first; `None` if they are not known.
///
/// Errors ([`Kind::Refused`](crate::Kind::Refused)): what needs the directories below (redirects,
/// files that are attributes only) without them; names that a layer would read as deletions;
/// xattrs that no archive can hold; a file that changes while it is read; an id that no map has. Another
/// file system that is mounted in the upperdir, which an overlay mount does not show. It is mounted, and
/// can be changed; it was mounted with other id maps than those of the options
/// ([`Kind::Conflict`](crate::Kind::Conflict)). Its xattrs do not show to the caller. The system's.
pub fn pack<W: Write>(
    upper: &Path,
    lowers: Option<&[PathBuf]>,
    options: &Options,
    out: W,
) -> Result<(W, Report)> {
    check_marks_show(options.namespace).map_err(|error| error.at_entry(upper.display()))?;
    let lowers = lowers
        .map(|paths| Lowers::open(paths, options))
        .transpose()?;
    // Both forms of deletions are read, whichever there are.
    let dialect = Dialect {
        whiteout: Whiteout::Xattr,
        namespace: options.namespace,
    };
    let directory = open(upper)?;
    if !options.live {
        refuse_used(upper, "it", may_change).map_err(|error| {
            error.hint("unmount it, or remount it read-only; with --live it is packed as it is")
        })?;
    }
    let details = directory.details(b".");
    let details = details.map_err(|error| Error::system("looking at the upperdir", error))?;
    let ids = Ids::of_directory(&directory, options)?;
    let packer = Packer {
        upper: Root::new(directory),
        mount: details.mount,
        ids: &ids,
        lowers,
        dialect,
        options,
        links: links::Links::default(),
        out: Writer::new(out),
        report: Report::default(),
    };
    packer.run()
}

/// Whether files change through a mount while they are read.
fn may_change(found: &Use) -> bool {
    found.is_writable && found.part != Part::Lower && found.relation != Relation::Around
}

fn open(path: &Path) -> Result<Dir> {
    Dir::open(path).map_err(|error| Error::system(format!("opening {}", path.display()), error))
}
