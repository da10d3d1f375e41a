//! Turns the upperdir of an overlay mount into a layer.
//!
//! A container's changes are in an upperdir, with overlayfs's own marks: 0:0 devices, opaque directories,
//! redirects, files with attributes only. [`pack`] writes them as a layer, so that the layer, applied to
//! the image, gives the tree that the mount showed. With the layers below it writes only deletions that
//! delete something, writes opaque directories as deletions (which more tools get right), and follows
//! redirects. Without them it refuses what depends on them.
//!
//! Owners, and the ids in ACLs and capabilities, are mapped back to the image's if the mount had id maps
//! (`ids`). An upperdir that is mounted read-write is refused.
//!
//! The order is: a directory, the deletions in it, its children, sorted by bytes; so the same upperdir
//! gives the same bytes. Called by the command line. It writes nothing but the archive, reads through
//! descriptors beneath the given directories, and follows no link.
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
//! let options = pack::PackOptions::default()
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
use crate::error::{Advice, Error, Result};
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

/// The options of packing.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PackOptions {
    /// The namespace of its marks: `trusted.overlay.*`, or `user.overlay.*` of a mount with `userxattr`.
    pub namespace: Namespace,
    /// Whether `security.selinux` is kept (rule X2).
    pub selinux: bool,
    /// Times after this one, in seconds since the epoch, are set to it (`SOURCE_DATE_EPOCH`).
    pub clamp: Option<i64>,
    /// Whether holes are written as zeros, because not every tool reads sparse files.
    pub fill_holes: bool,
    /// The id maps of the upperdir. By default those that it was mounted with, if lowerdir mounted it.
    pub ids: IdMaps,
    /// Whether the directories below have the image's own ids, which the mount mapped.
    pub is_idmapped: bool,
    /// Whether to pack an upperdir that is mounted read-write.
    pub live: bool,
}

impl PackOptions {
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
    options: &PackOptions,
    out: W,
) -> Result<(W, Report)> {
    check_marks_show(options.namespace).map_err(|error| error.at_entry(upper.display()))?;
    let lowers = lowers
        .map(|paths| Lowers::open(paths, options))
        .transpose()?;
    // Both forms of deletions are read.
    let dialect = Dialect {
        whiteout: Whiteout::Xattr,
        namespace: options.namespace,
    };
    let directory = open(upper)?;
    if !options.live {
        refuse_used(upper, "it", may_change).map_err(|error| error.hint(Advice::PackLive))?;
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

/// Whether files can change through a mount while they are read.
fn may_change(found: &Use) -> bool {
    found.is_writable && found.part != Part::Lower && found.relation != Relation::Around
}

fn open(path: &Path) -> Result<Dir> {
    Dir::open(path).map_err(|error| Error::system(format!("opening {}", path.display()), error))
}
