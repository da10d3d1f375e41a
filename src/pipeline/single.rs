//! One layer into one directory of the caller's: the primitive for those who keep layers
//! themselves. Whole or absent, like a layer of the store.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

use crate::codec::{Expected, Measured};
use crate::error::{Error, Result};
use crate::image::Blob;
use crate::lower::LowerView;
use crate::path::EntryPath;
use crate::root::{self, Dir};
use crate::store::{Staging, Sync, sync_directory};
use crate::unpack::{Options, Report, system};

use super::Run;
use super::watch::{LowestFailure, Watch};
use super::work::{Source, again, finish};

/// What lies below a single layer.
#[derive(Debug)]
pub enum Parents {
    /// It is not known: the directory gets the form that is right over any layers.
    Unknown,
    /// These layer directories, topmost first; none for a lowest layer.
    Known(Vec<PathBuf>),
}

/// Unpacks one layer into a directory that is absent or empty. It is made beside that directory
/// and renamed when it is complete; on an error nothing is left.
pub fn unpack_layer(
    blob: &Blob,
    expected: &Expected,
    target: &Path,
    parents: &Parents,
    options: &Options,
    run: Run<'_>,
) -> Result<(Report, Measured)> {
    let view = open_parents(parents, options)?;
    check_target(target)?;
    let beside = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let staging = Staging::beside(beside).map_err(|error| {
        system(
            &format!("making a directory in {}", beside.display()),
            error,
        )
    })?;
    let opening = |error| system("opening a directory beside the target", error);
    let outer = staging.directory();
    outer.make_dir(b"fs").map_err(opening)?;
    let directory = outer
        .open_beneath(&EntryPath::parse(b"fs")?)
        .map_err(opening)?;
    let failure = LowestFailure::none();
    let watch = Watch {
        index: 0,
        progress: run.progress,
        failure: &failure,
    };
    let source = Source {
        blob,
        expected,
        limits: run.limits,
        threads: run.threads(),
        watch,
    };
    let done = fill(source, &directory, view, options)?;
    run.progress.syncs();
    staging.sync(run.sync)?;
    watch.check()?;
    publish(&staging, target, run.sync)?;
    Ok(done)
}

fn open_parents(parents: &Parents, options: &Options) -> Result<Option<LowerView>> {
    let Parents::Known(paths) = parents else {
        return Ok(None);
    };
    let open = |path: &PathBuf| {
        let opened = Dir::open(path);
        opened
            .map(Arc::new)
            .map_err(|error| Error::system(format!("opening the parent {}", path.display()), error))
    };
    let layers = paths.iter().map(open).collect::<Result<Vec<_>>>()?;
    Ok(Some(LowerView::new(layers, options.dialect)))
}

fn check_target(target: &Path) -> Result<()> {
    let refuse = |why: &str| {
        let text = format!("{} {why}", target.display());
        Err(Error::in_the_way(text).hint("name a directory that is absent or empty"))
    };
    match std::fs::symlink_metadata(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::system(
            format!("looking at {}", target.display()),
            error,
        )),
        Ok(metadata) if !metadata.is_dir() => refuse("is no directory"),
        Ok(_) => match std::fs::read_dir(target).map(|mut names| names.next().is_none()) {
            Ok(true) => Ok(()),
            Ok(false) => refuse("is not empty"),
            Err(error) => Err(Error::system(
                format!("reading {}", target.display()),
                error,
            )),
        },
    }
}

fn fill(
    source: Source<'_>,
    directory: &Dir,
    view: Option<LowerView>,
    options: &Options,
) -> Result<(Report, Measured)> {
    let progress = source.watch.progress;
    progress.begins(0, "", source.blob.len());
    let (pending, measured) = source.read(again(directory)?, options, None)?;
    let (report, _) = finish(source, directory, pending, view, options)?;
    progress.ends(0, "", &report);
    Ok((report, measured))
}

/// The rename replaces an empty directory and nothing else.
fn publish(staging: &Staging, target: &Path, sync: Sync) -> Result<()> {
    let outer = staging.directory();
    let renaming = |error: io::Error| {
        let error = Error::system(format!("renaming the layer to {}", target.display()), error);
        error.hint("the directory must be absent or empty, and no mount point")
    };
    let rename = || rustix::fs::renameat(outer, "fs", rustix::fs::CWD, target);
    match rename() {
        Ok(()) => {}
        Err(Errno::ACCESS) => rename_read_only(outer, rename, sync).map_err(renaming)?,
        Err(errno) => return Err(renaming(errno.into())),
    }
    sync_directory(staging.parent(), sync)
        .map_err(|error| Error::system("writing the layer's name to disk", error))
}

/// Without root, a directory that may not be written cannot be moved either, since its `..`
/// changes: it is made writable for that moment.
fn rename_read_only(
    outer: &Dir,
    rename: impl FnOnce() -> rustix::io::Result<()>,
    sync: Sync,
) -> io::Result<()> {
    let layer = outer.open_beneath(&EntryPath::parse(b"fs")?)?;
    let mode = layer.stat_self()?.st_mode & 0o7777;
    root::set_mode(&layer, mode | 0o700)?;
    rename()?;
    root::set_mode(&layer, mode)?;
    sync_directory(&layer, sync)
}
