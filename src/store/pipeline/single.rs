//! Unpacks one layer into one directory, for callers that manage layers themselves. The directory is
//! complete or absent, like a layer of the store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::compress::codec::{Expected, Measured};
use crate::error::{Advice, Error, Result};
use crate::fs::atomic_file::check_not_within;
use crate::fs::descriptors;
use crate::fs::root::{self, Dir};
use crate::image::Blob;
use crate::overlay::inspect::check_marks_show;
use crate::overlay::merged_view::{LayerRoot, MergedView};
use crate::store::AtomicDir;
use crate::threads::ThreadBudget;
use crate::unpack::{Options, Pending, Report};

use super::Run;
use super::watch::LowestFailure;
use super::work::{Source, again, finish};

/// The layers below a single layer.
#[derive(Clone, Debug)]
pub enum Parents {
    /// Not known: the directory gets the form that is right over any layers.
    Unknown,
    /// These layer directories, topmost first; none for a lowest layer.
    Known(Vec<PathBuf>),
}

impl<P: Into<PathBuf>, const N: usize> From<[P; N]> for Parents {
    fn from(parents: [P; N]) -> Parents {
        Parents::Known(parents.into_iter().map(Into::into).collect())
    }
}

impl<P: Into<PathBuf>> From<Vec<P>> for Parents {
    fn from(parents: Vec<P>) -> Parents {
        Parents::Known(parents.into_iter().map(Into::into).collect())
    }
}

/// What [`unpack_layer`](crate::store::unpack::unpack_layer) does for users of the library.
pub fn unpack_layer(
    blob: &Blob,
    expected: &Expected,
    target: &Path,
    parents: &Parents,
    options: &Options,
    run: Run<'_>,
) -> Result<(Report, Measured)> {
    if let Parents::Known(paths) = parents {
        for parent in paths {
            check_not_within(target, "the layer", parent)?;
        }
    }
    let view = open_parents(parents, options)?;
    let output = AtomicDir::new(target, "layer")?;
    let directory = output.directory()?;
    let failure = LowestFailure::none();
    let threads = ThreadBudget::new(descriptors::jobs(run.jobs));
    let source = Source::alone(blob, expected, run, &threads, &failure);
    let done = fill(source, &directory, view, options);
    let done = done.map_err(|error| root::told(error, &directory))?;
    run.progress.syncs();
    output.sync(run.sync)?;
    source.watch.check()?;
    output.publish(run.sync)?;
    Ok(done)
}

fn open_parents(parents: &Parents, options: &Options) -> Result<Option<MergedView>> {
    let Parents::Known(paths) = parents else {
        return Ok(None);
    };
    if !paths.is_empty() {
        check_marks_show(options.dialect.namespace)?;
    }
    let open = |path: &PathBuf| {
        let opened = Dir::open(path).map_err(|error| {
            Error::system(format!("opening the parent {}", path.display()), error)
        });
        Ok(LayerRoot::from(Arc::new(opened?)).called(path.display().to_string()))
    };
    let layers = paths.iter().map(open).collect::<Result<Vec<_>>>()?;
    Ok(Some(
        MergedView::of_layers(layers, options.dialect.namespace).with_labels(options.selinux),
    ))
}

fn fill(
    source: Source<'_>,
    directory: &Dir,
    view: Option<MergedView>,
    options: &Options,
) -> Result<(Report, Measured)> {
    let progress = source.watch.progress;
    progress.begins(0, "", source.blob.len());
    let (pending, measured) = source.read(again(directory)?, options, None)?;
    if source.expected.blob.is_none() && source.expected.diff_id.is_none() {
        check_is_layer(&pending, &measured)?;
    }
    let (report, _) = finish(source, directory, pending, view, options)?;
    progress.ends(0, "", &report);
    Ok((report, measured))
}

/// Refuses input that is not a layer, unless a digest vouches for it: an image archive, and empty input,
/// which may come from a failed download. Container engines accept empty input as an empty layer.
fn check_is_layer(pending: &Pending, measured: &Measured) -> Result<()> {
    pending.signs.check()?;
    match measured.uncompressed {
        0 => Err(Error::refused("this is not a tar archive: it is empty").hint(Advice::EmptyLayer)),
        _ => Ok(()),
    }
}
