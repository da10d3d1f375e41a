//! Converts a tree between forms: from the form of images (`.wh.` files) to overlayfs's, back, or between
//! dialects of overlayfs.
//!
//! The new tree is built beside the old one, under the same parent: directories and marks are new, and
//! files are hard links to the same inodes (a copy if an xattr changes its name). Once it is on disk, one
//! rename exchanges the two, and the old tree is removed. So the directory is complete in one form or the
//! other, whenever the work is stopped; and nothing is kept in the tree itself that a layer could forge
//! (rule X1). The next run beside the same directory removes what a dead one left
//! (`Staging`).
//!
//! First the whole tree is read, and refused if something has no counterpart. Everything is reached by
//! descriptor, beneath the directory, and no link is followed, because the tree may be hostile. Rules W1
//! to W8, O1 to O3, X1. Called by the command line.
//!
//! ```
//! use lowerdir::Silent;
//! use lowerdir::repack::convert::{Form, ConvertOptions, convert};
//! use lowerdir::options::{Dialect, Namespace};
//!
//! let place = tempfile::tempdir()?;
//! let tree = place.path().join("tree");
//! std::fs::create_dir(&tree)?;
//! std::fs::write(tree.join(".wh.motd"), "")?;
//! let overlay = Form::Overlay(Dialect::default().namespace(Namespace::User));
//! let options = ConvertOptions::new(Form::Oci, overlay);
//! let report = convert(&tree, &options, &mut |_, _| Ok(()), &Silent)?;
//! assert_eq!(report.deletions, 1);
//! assert!(tree.join("motd").symlink_metadata().is_ok());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod build;
mod contents;
mod form;
mod plan;
mod target;
mod xattrs;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::dialect::Namespace;
use crate::error::{Error, Operation, Result};
use crate::fs::root::{self, Dir, Root};
use crate::overlay::inspect::check_marks_show;
use crate::overlay::merged_view::{LayerRoot, MergedView};
use crate::overlay::overlays::{
    Part, Relation, UpperRecord, Use, refuse_bind_mounted, refuse_used,
};
use crate::path::EntryPath;
use crate::progress::Progress;
use crate::setters::setters;
use crate::store::{AtomicDir, Sync, check_outside};

pub use form::Form;

use build::Builder;
use contents::{Contents, is_directory};
use target::Target;

/// The options of a conversion.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConvertOptions {
    /// The form of the tree.
    pub from: Form,
    /// The form to convert it to.
    pub to: Form,
    /// The layer directories below, topmost first, in the new form; `None` if they are not known.
    pub parents: Option<Vec<PathBuf>>,
    /// Whether to change nothing, and only report what would change.
    pub dry_run: bool,
}

impl ConvertOptions {
    /// Over layers that are not known, and at once.
    pub fn new(from: Form, to: Form) -> ConvertOptions {
        ConvertOptions {
            from,
            to,
            parents: None,
            dry_run: false,
        }
    }

    setters! {
        parents: Option<Vec<PathBuf>>,
        dry_run: bool,
    }
}

/// One change to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Conversion {
    /// A deletion gets its new form.
    Deletion,
    /// An opaque directory gets its new form.
    Opaque,
    /// A mark that hides nothing is dropped.
    Needless,
    /// An xattr of the image gets another name.
    Xattr,
}

/// The report on a conversion.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ConvertReport {
    /// Deletions in their new form.
    pub deletions: u64,
    /// Opaque directories in their new form.
    pub opaque: u64,
    /// Marks that hid nothing, and were dropped.
    pub needless: u64,
    /// Names with renamed xattrs.
    pub xattrs: u64,
    /// Names with marks of an xattr namespace other than the old form's, which are data.
    pub other_marks: u64,
}

/// Called for each change before it is made; an error stops the work, and nothing is changed.
pub type Tell<'a> = &'a mut dyn FnMut(Conversion, &EntryPath) -> Result<()>;

/// Converts the tree in a directory. Descriptors that are open in it lead to the old tree, which is removed.
///
/// Errors: what has no counterpart in the new form: a root that is opaque, names too long, names
/// and devices that would become marks, redirects ([`Kind::Refused`](crate::Kind::Refused));
/// another conversion at work in it; an overlay mount that is made of it; a mount point, or another file system mounted in it; the
/// system's. The tree is unchanged then, but where only the removal of the old one failed, which
/// the error says.
pub fn convert(
    directory: &Path,
    options: &ConvertOptions,
    tell: Tell<'_>,
    progress: &dyn Progress,
) -> Result<ConvertReport> {
    if options.from == options.to {
        return Err(Error::usage(
            "both forms are the same: there is nothing to convert",
        ));
    }
    check_outside(directory, "the tree")?;
    let from = options.from.dialect().map(|dialect| dialect.namespace);
    let below = options.parents.as_ref().and(options.to.dialect());
    for namespace in from
        .into_iter()
        .chain(below.map(|dialect| dialect.namespace))
    {
        check_marks_show(namespace)?;
    }
    let place = Target::open(directory)?;
    if !options.dry_run {
        refuse_used(directory, "it", breaks).map_err(|error| error.hint("unmount it first"))?;
        refuse_bind_mounted(&place.path)?;
    }
    let parents = options.parents.as_deref();
    let parents = parents.map(|paths| view(paths, options.to)).transpose()?;
    let walk = |tell: Tell<'_>, builder: Option<&mut Builder<'_>>| {
        let converter = Converter {
            place: &place,
            options,
            parents: parents.as_ref(),
            report: ConvertReport::default(),
            tell,
            progress,
        };
        converter.walk(builder)
    };
    walk(&mut |_, _| Ok(()), None)?;
    if options.dry_run {
        return walk(tell, None);
    }
    let output = AtomicDir::replacing(&place.path, "converted tree")?;
    let new = output.directory()?;
    new.remove_acls()
        .map_err(|error| Error::system("removing an inherited ACL", error))?;
    let mut builder = Builder::new(&place.top, &new, options)?;
    let built = walk(tell, Some(&mut builder)).and_then(|report| {
        builder.finish()?;
        if let Some((record, namespace)) = kept_record(&place.top, options)? {
            record.write(&new, namespace)?;
        }
        Ok(report)
    });
    let report = built.map_err(|error| root::told(error, &new))?;
    progress.syncs();
    output.sync(Sync::Fs)?;
    if progress.is_cancelled() {
        return Err(Error::cancelled());
    }
    output.exchange(&place.stat, Sync::Fs)?;
    Ok(report)
}

/// One walk over the tree.
struct Converter<'a> {
    place: &'a Target,
    options: &'a ConvertOptions,
    parents: Option<&'a MergedView>,
    report: ConvertReport,
    tell: Tell<'a>,
    progress: &'a dyn Progress,
}

impl Converter<'_> {
    /// From directory to directory, parents first. Deep trees cost memory, not descriptors or stack.
    fn walk(mut self, mut builder: Option<&mut Builder<'_>>) -> Result<ConvertReport> {
        let opening = |error| reading(&EntryPath::root(), error);
        let mut tree = Root::of(&self.place.top).map_err(opening)?;
        let mut todo = vec![plan::PlannedDirectory::root()];
        while let Some(place) = todo.pop() {
            if self.progress.is_cancelled() {
                return Err(Error::cancelled());
            }
            let path = &place.path;
            let directory = tree.dir(path);
            let directory = directory.map_err(|error| reading(path, error))?;
            let contents = self.contents(path, directory)?;
            self.xattrs(path, directory, &contents)?;
            let plan = self.plan(&place, &contents)?;
            if let Some(builder) = &mut builder {
                builder.directory(path, directory, &contents, &plan)?;
            }
            todo.extend(plan.directories);
        }
        Ok(self.report)
    }

    /// Checks the xattrs of a directory and of its children, except directories.
    fn xattrs(&mut self, path: &EntryPath, directory: &Dir, contents: &Contents) -> Result<()> {
        let mut names: Vec<(EntryPath, &[u8])> = vec![(path.clone(), b".")];
        for (name, stat) in &contents.names {
            if !is_directory(stat) {
                names.push((path.join(name)?, name));
            }
        }
        for (place, name) in names {
            let xattrs = directory.kept_xattrs(name);
            let xattrs = xattrs.map_err(|error| reading(&place, error))?;
            let from = self.options.from.dialect();
            if from.is_some_and(|from| from.has_mark_of_other(&xattrs)) {
                self.report.other_marks += 1;
            }
            let translated = xattrs::translate(xattrs, self.options);
            if translated.map_err(|error| error.at_entry(&place))?.renamed {
                self.told(Conversion::Xattr, &place)?;
            }
        }
        Ok(())
    }

    fn told(&mut self, change: Conversion, path: &EntryPath) -> Result<()> {
        (self.tell)(change, path)?;
        match change {
            Conversion::Deletion => self.report.deletions += 1,
            Conversion::Opaque => self.report.opaque += 1,
            Conversion::Needless => self.report.needless += 1,
            Conversion::Xattr => self.report.xattrs += 1,
        }
        Ok(())
    }
}

/// Whether a mount breaks when the tree is changed.
fn breaks(found: &Use) -> bool {
    found.part != Part::Lower || found.relation != Relation::Inside
}

/// The record of mounts in an upperdir, and its new namespace, if overlayfs's xattrs are renamed.
fn kept_record(top: &Dir, options: &ConvertOptions) -> Result<Option<(UpperRecord, Namespace)>> {
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

/// The layers below, which have the new form already.
fn view(paths: &[PathBuf], to: Form) -> Result<MergedView> {
    let open = |path: &PathBuf| {
        let layer = LayerRoot::from(Arc::new(open(path)?));
        Ok(layer.called(path.display().to_string()))
    };
    let layers = paths.iter().map(open).collect::<Result<Vec<_>>>()?;
    let namespace = match to {
        Form::Overlay(dialect) => dialect.namespace,
        Form::Oci | Form::FuseOverlayfs => Namespace::Trusted,
    };
    Ok(MergedView::of_layers(layers, namespace))
}

/// A system error while reading the old tree.
fn reading(path: &EntryPath, error: io::Error) -> Error {
    Error::io("reading it", error)
        .at_entry(path)
        .during(Operation::ReadTree)
}
