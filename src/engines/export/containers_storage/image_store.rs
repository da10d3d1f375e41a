//! `ImageStore`: the directory of an additional image store, in which new files are staged and then renamed
//! into place together.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use rustix::io::Errno;
use serde_json::Value;

use crate::canonical;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::fs::root::{self, Dir};
use crate::image::{Image, Layer};
use crate::path::EntryPath;
use crate::progress::{Progress, waiting};
use crate::store::pipeline::Run;
use crate::store::{EXCLUSIVE, NAME_ELSEWHERE, Staging, StoredLayer, check_outside, lock};

use super::super::duplicate::{Means, duplicate};
use super::documents::Documents;
use super::placing::Placing;
use super::{Added, Adding, Link, records, tar_split};

/// The digest of a gzipped empty archive, which old manifests list for a step that changed no file. It is
/// not a layer in containers/storage.
const NO_LAYER: &str = "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4";
/// The first one identifies the directory, even after a kill.
const SKELETON: [&str; 4] = ["overlay-images", "overlay-layers", "overlay", "overlay/l"];
const LAYERS: [&str; 2] = ["overlay-layers/layers.json", "overlay-layers/layers.lock"];
const IMAGES: [&str; 2] = ["overlay-images/images.json", "overlay-images/images.lock"];
/// The length of the value in a lock file, which tells readers of a change.
const LAST_WRITER: usize = 64;

/// A directory that is, or becomes, an additional image store; locked as long as this lives.
pub struct ImageStore<'a> {
    path: &'a Path,
    directory: Dir,
    /// Whether it was created for this export.
    is_new: bool,
}

impl ImageStore<'_> {
    /// Opens or creates it, and waits for its lock. Errors: it is something else; cancelled.
    pub fn open<'a>(path: &'a Path, progress: &dyn Progress) -> Result<ImageStore<'a>> {
        check_outside(path, "the image store")?;
        loop {
            let place = ImageStore::open_or_make(path)?;
            place.lock(progress)?;
            // A failed export that held the lock may have removed the directory.
            if place.is_named()? {
                place.check().inspect_err(|_| place.abandon())?;
                return Ok(place);
            }
        }
    }

    fn open_or_make(path: &Path) -> Result<ImageStore<'_>> {
        let failed = |doing: &str, error| {
            let text = format!("{doing} {}", path.display());
            Error::system(text, error)
        };
        let is_new = match std::fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(failed("making", error)),
        };
        let directory = Dir::open(path).map_err(|error| failed("opening", error))?;
        Ok(ImageStore {
            path,
            directory,
            is_new,
        })
    }

    /// Waits for other exports to the same directory.
    fn lock(&self, progress: &dyn Progress) -> Result<()> {
        let what = self.path.display().to_string();
        lock(&self.directory, EXCLUSIVE, &what, waiting(progress, || ()))
    }

    fn is_named(&self) -> Result<bool> {
        let looking = |error| Error::system(format!("looking at {}", self.path.display()), error);
        let own = self.directory.stat_self().map_err(looking)?;
        match std::fs::metadata(self.path) {
            Ok(named) => Ok((named.dev(), named.ino()) == (own.st_dev, own.st_ino)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(looking(error)),
        }
    }

    /// Errors: it is the storage of a running Podman, or a directory of something else.
    fn check(&self) -> Result<()> {
        let names = self.directory.names();
        let names = names.map_err(|error| {
            Error::system(format!("looking into {}", self.path.display()), error)
        })?;
        let has = |wanted: &str| names.iter().any(|name| **name == *wanted.as_bytes());
        let hint = "use a directory that is absent or empty, or from an earlier export";
        let refuse = |what: &str| {
            let text = format!("{} {what}", self.path.display());
            Err(Error::conflict(text).hint(hint))
        };
        let is_ours = |name: &[u8]| name.starts_with(b".lowerdir-");
        match names.iter().all(|name| is_ours(name)) {
            true => Ok(()),
            false if !has(SKELETON[0]) => refuse("is not an image store, and not empty"),
            false if has("overlay-containers") || has("libpod") => {
                refuse("is a storage that containers run from")
            }
            false => Ok(()),
        }
    }

    /// Removes the directory, if it was created for this export.
    pub fn abandon(&self) {
        if self.is_new {
            let _ = std::fs::remove_dir(self.path);
        }
    }

    /// Adds to an error that it is about this directory's file system.
    pub fn told(&self, error: Error) -> Error {
        root::told(error, &self.directory)
    }

    /// Adds an image, or changes nothing.
    pub fn add(
        &self,
        image: &Image,
        layers: &[StoredLayer],
        adding: &Adding<'_>,
        run: Run<'_>,
    ) -> Result<Added> {
        let staging = Staging::beside(self.path)
            .map_err(|error| Error::system("making a staging directory", error))?;
        let documents = Documents::of(image, layers)?;
        let mut placing = Placing::new(&staging);
        for name in SKELETON {
            placing.directory(name)?;
        }
        let layers = image.layers.iter().zip(layers);
        let (list, chain) = self.layers(layers, adding, &documents, &mut placing, run)?;
        let mut added = Added {
            id: documents.id.clone(),
            digest: documents.digest.clone(),
            names: Vec::new(),
            layers: chain.layers,
            new_layers: chain.new,
            symlinks: chain.symlinks,
        };
        self.put_list(&mut placing, LAYERS, &list)?;
        let top = added.layers.last();
        let mut images = self.list(IMAGES[0])?;
        let names = adding.names.iter().map(ToString::to_string);
        added.names = records::add_image(&mut images, names.collect(), &documents, top);
        self.put_image(&mut placing, &documents)?;
        self.put_list(&mut placing, IMAGES, &images)?;
        run.progress.syncs();
        staging.sync(run.sync)?;
        if run.progress.is_cancelled() {
            return Err(Error::cancelled());
        }
        placing.place(&SKELETON, run.sync)?;
        Ok(added)
    }

    /// Stages the layers that are missing, and lists all of them.
    fn layers<'b>(
        &self,
        layers: impl Iterator<Item = (&'b Layer, &'b StoredLayer)>,
        adding: &Adding<'_>,
        documents: &Documents,
        placing: &mut Placing<'_>,
        run: Run<'_>,
    ) -> Result<(Vec<Value>, Chain)> {
        let mut list = self.list(LAYERS[0])?;
        let mut chain = Chain::default();
        for (of_image, layer) in layers {
            let in_layer = |error: Error| error.in_layer(of_image.label());
            let record = &layer.record;
            if record.blob == NO_LAYER {
                continue;
            }
            if run.progress.is_cancelled() {
                return Err(Error::cancelled());
            }
            let parent = chain.layers.last();
            let id = records::layer_id(parent, &Digest::parse(&record.diff_id)?);
            let known = self.short_name(&id, &chain.lower, adding.link, &list);
            let (is_new, short) = match known {
                Some(short) => (false, short),
                None => {
                    let chain_id = Digest::parse(&record.chain_id)?;
                    (true, chain_id.hex()[..NAME_ELSEWHERE].to_string())
                }
            };
            if is_new {
                let staged =
                    stage_layer(placing, layer, &id, &short, &chain.lower, adding.link, run);
                chain.symlinks += usize::from(staged.map_err(in_layer)? == Link::Symlink);
                chain.new += 1;
            }
            let size = match adding.tar_split {
                true => self.tar_split(placing, of_image, layer, &id, run),
                false => Ok(None),
            };
            let size = size.map_err(in_layer)?;
            if is_new || size.is_some() {
                records::add_layer(&mut list, &id, parent, record, size, &documents.created);
            }
            chain.lower.insert(0, format!("l/{short}"));
            chain.layers.push(id);
        }
        Ok((list, chain))
    }

    /// The short name of a layer that is already there, listed, with these layers below it, and not a
    /// symbolic link unless `link` asks for one.
    fn short_name(&self, id: &str, lower: &[String], link: Link, list: &[Value]) -> Option<String> {
        let layer = self.path.join("overlay").join(id);
        let read = |name: &str| std::fs::read_to_string(layer.join(name)).ok();
        let short = read("link")?;
        let is_listed = list.iter().any(|layer| layer["id"] == id);
        // The link may lead to a layer that lowerdir's store no longer has.
        let leads =
            layer.join("diff").is_dir() && self.path.join("overlay/l").join(&short).is_dir();
        let is_above = read("lower").unwrap_or_default() == lower.join(":");
        let may_be_so = link == Link::Symlink || !layer.join("diff").is_symlink();
        (is_listed && leads && is_above && may_be_so).then_some(short)
    }

    /// Stages the tar-split of a layer, unless it is there. Returns the size of the archive.
    fn tar_split(
        &self,
        placing: &mut Placing<'_>,
        of_image: &Layer,
        layer: &StoredLayer,
        id: &str,
        run: Run<'_>,
    ) -> Result<Option<u64>> {
        let name = format!("overlay-layers/{id}.tar-split.gz");
        if self.path.join(&name).exists() {
            return Ok(None);
        }
        let file = placing.stage_open_file(&name)?;
        tar_split::write(of_image, &layer.directory, file, run).map(Some)
    }

    fn put_image(&self, placing: &mut Placing<'_>, documents: &Documents) -> Result<()> {
        let files = placing.stage_directory(&format!("overlay-images/{}", documents.id))?;
        let writing = |error| Error::system("writing the documents of the image", error);
        for document in &documents.all {
            let mut file = files
                .make_file(document.file_name().as_bytes())
                .map_err(writing)?;
            file.write_all(&document.bytes).map_err(writing)?;
        }
        Ok(())
    }

    /// A list; empty if the file does not exist.
    fn list(&self, name: &str) -> Result<Vec<Value>> {
        let path = self.path.join(name);
        let reading = |error| Error::system(format!("reading {}", path.display()), error);
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| reading(error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(reading(error)),
        }
    }

    /// Stages a list, and its lock file with a new value.
    fn put_list(
        &self,
        placing: &mut Placing<'_>,
        [name, lock]: [&str; 2],
        list: &[Value],
    ) -> Result<()> {
        let text = canonical::compact(&list);
        let text = text.map_err(|error| Error::system(format!("writing {name}"), error))?;
        placing.stage_file(name, &text)?;
        let mut last_writer = [0; LAST_WRITER];
        rustix::rand::getrandom(&mut last_writer, rustix::rand::GetRandomFlags::empty())
            .map_err(|errno| Error::system(format!("writing {lock}"), errno))?;
        placing.stage_file(lock, &last_writer)
    }
}

/// The lower layers of an image so far.
#[derive(Default)]
struct Chain {
    /// Their IDs, lowest first.
    layers: Vec<String>,
    /// Their short names, topmost first.
    lower: Vec<String>,
    new: usize,
    symlinks: usize,
}

/// Stages a layer, and returns how it was made.
fn stage_layer(
    placing: &mut Placing<'_>,
    layer: &StoredLayer,
    id: &str,
    short: &str,
    lower: &[String],
    link: Link,
    run: Run<'_>,
) -> Result<Link> {
    let directory = placing.stage_directory(&format!("overlay/{id}"))?;
    let making = |error| Error::system("making its directory", error);
    let write = |name: &str, text: &str| {
        let file = directory.make_file(name.as_bytes());
        file.and_then(|mut file| file.write_all(text.as_bytes()))
    };
    write("link", short).map_err(making)?;
    // The lowest layer has no such file, because readers would take an empty line for a name.
    if !lower.is_empty() {
        write("lower", &lower.join(":")).map_err(making)?;
    }
    let made = stage_diff(&directory, layer, link, run)?;
    placing.stage_symlink(&format!("overlay/l/{short}"), &format!("../{id}/diff"))?;
    Ok(made)
}

/// Makes `diff` in the directory of a layer, and returns how it was made.
fn stage_diff(directory: &Dir, layer: &StoredLayer, link: Link, run: Run<'_>) -> Result<Link> {
    let making = |error| Error::system("making its directory", error);
    let means = match link {
        Link::Symlink => {
            let target = layer.path.as_os_str().as_bytes();
            directory.make_symlink(b"diff", target).map_err(making)?;
            return Ok(link);
        }
        Link::Auto | Link::Hard => Means::HardLinks,
        Link::Reflink => Means::Reflinks,
        Link::Copy => Means::Copies,
    };
    directory.make_dir(b"diff").map_err(making)?;
    let diff = directory.open_beneath(&EntryPath::parse(b"diff")?);
    let diff = diff.map_err(making)?;
    match duplicate(&layer.directory, &diff, means, run.progress) {
        Err(error) if link == Link::Auto && no_hard_links(&error) => {
            directory.remove_tree(b"diff").map_err(making)?;
            stage_diff(directory, layer, Link::Symlink, run)
        }
        Err(error) => Err(error),
        Ok(()) if link == Link::Auto => Ok(Link::Hard),
        Ok(()) => Ok(link),
    }
}

/// Whether link(2) cannot work here: another file system or mount, a file of another user
/// (`protected_hardlinks`), or too many links.
fn no_hard_links(error: &Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::XDEV | Errno::PERM | Errno::MLINK))
}
