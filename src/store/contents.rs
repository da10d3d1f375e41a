//! The content of the store: images and layers, listed, looked up and removed.
//!
//! [`crate::store::pipeline`] records images; [`crate::store::gc`] removes them and layers that are
//! no longer needed; [`crate::store::verify`] reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
#[cfg(feature = "registry")]
use std::sync::Arc;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::io::retry_on_intr;

use crate::digest::Digest;
use crate::error::{Advice, Error, Result};
use crate::fs::root::{Dir, is_absent};
use crate::image::names::rank;
use crate::image::{DOCUMENT_MAX, Documents, Image, stored};
use crate::path::EntryPath;
#[cfg(feature = "registry")]
use crate::registry::Spool;

use super::{
    DOWNLOADS, ImageRecord, Store, StoreLock, Sync, layer_name, read_json, sync_directory,
    write_json,
};

/// The minimum number of digits of a digest that name an image.
const PREFIX: usize = 4;
const IMAGE: &str = "image.json";
const MANIFEST: &str = "manifest.json";
const CONFIG: &str = "config.json";

/// An image that was looked up.
pub(crate) struct Found {
    pub digest: Digest,
    /// The name that it was found by, if not by its digest.
    pub name: Option<String>,
}

impl Store {
    /// Records an image, once its layers are there, with its documents.
    pub(crate) fn record_image(
        &self,
        record: &ImageRecord,
        documents: &Documents,
        sync: Sync,
    ) -> Result<()> {
        let images = self.lock_images()?;
        let is_there = self.read_image(&images, &record.digest);
        let is_whole = is_there.is_ok_and(|known| known == *record)
            && self.documents(&record.digest).is_ok_and(|known| {
                (&known.manifest, &known.config) == (&documents.manifest, &documents.config)
            });
        if is_whole {
            return sync_directory(&images, sync).map_err(recording);
        }
        // Names that a killed removal left would lead to it again.
        self.drop_loose_names(&images, sync)?;
        let staging = self.stage()?;
        let name = directory_name(&record.digest);
        let write = || -> io::Result<()> {
            staging.directory.make_dir(name.as_bytes())?;
            let new = staging.directory.open_beneath(&entry(&name)?)?;
            if let Some(manifest) = &documents.manifest {
                write_file(&new, MANIFEST, manifest, sync)?;
            }
            write_file(&new, CONFIG, &documents.config, sync)?;
            write_json(&new, IMAGE, record, sync)?;
            sync_directory(&new, sync)?;
            match images.find_beneath(&entry(&name)?)? {
                None => rustix::fs::renameat(&staging.directory, &*name, &images, &*name)?,
                // What is damaged is replaced; the record comes last, as proof of the others.
                Some(old) => {
                    for file in [MANIFEST, CONFIG, IMAGE] {
                        match rustix::fs::renameat(&new, file, &old, file) {
                            Err(Errno::NOENT) if file == MANIFEST => {}
                            renamed => renamed?,
                        }
                    }
                    sync_directory(&old, sync)?;
                }
            }
            sync_directory(&images, sync)
        };
        write().map_err(recording)
    }

    /// The digests of all images, sorted.
    pub fn image_digests(&self) -> Result<BTreeSet<Digest>> {
        // A copied medium may lack empty directories.
        let Some(images) = self.find_dir("images")? else {
            return Ok(BTreeSet::new());
        };
        let names = images.names();
        let names = names.map_err(|error| Error::system("listing the images", error))?;
        // What is no digest is not ours.
        Ok(names.iter().filter_map(|name| digest_in(name)).collect())
    }

    /// The record of an image. Errors: it is damaged, or not there.
    pub fn image(&self, digest: &Digest) -> Result<ImageRecord> {
        self.read_image(&self.open_dir("images")?, digest)
    }

    fn read_image(&self, images: &Dir, digest: &Digest) -> Result<ImageRecord> {
        let name = directory_name(digest);
        let hint = Advice::RewriteRecord;
        let directory = entry(&name).and_then(|name| images.open_beneath(&name));
        let directory = directory
            .map_err(|error| Error::system(format!("opening image {}", digest.short()), error))?;
        let record = read_json::<ImageRecord>(&directory, IMAGE);
        let record = record.map_err(|error| match error.is_system_fault() {
            true => error,
            false => error.hint(hint),
        })?;
        match record.digest == *digest {
            true => Ok(record),
            false => {
                let text = format!("reading {IMAGE}: it is of image {}", record.digest);
                Err(Error::conflict(text).hint(hint))
            }
        }
    }

    /// All images, sorted by digest. Errors: one of the records is damaged.
    pub fn images(&self) -> Result<Vec<ImageRecord>> {
        let digests = self.image_digests()?;
        digests.iter().map(|digest| self.image(digest)).collect()
    }

    /// An image as its documents describe it, without its blobs, which a store does not keep. Its layers are found by
    /// [`layers_of`](Store::layers_of), and its stack by [`stack`](Store::stack).
    ///
    /// Errors: it is not in this store; its record or a document is damaged
    /// ([`Kind::Conflict`](crate::Kind::Conflict)).
    pub fn open_image(&self, digest: &Digest) -> Result<Image> {
        let record = self.image(digest)?;
        let platform = record.platform.and_then(|text| text.parse().ok());
        let opened = stored::open(digest, platform, self.documents(digest)?);
        let mut image = opened.map_err(|error| {
            let text = format!("image {} in the store: {}", digest.short(), error.reason());
            Error::conflict(text).hint(Advice::RewriteRecord)
        })?;
        image.names = match self.names_of(digest) {
            // Who gives the digest does not need the names.
            Err(error) if !error.is_system_fault() => Vec::new(),
            names => names?,
        };
        image.name = image.names.first().cloned();
        Ok(image)
    }

    fn documents(&self, digest: &Digest) -> Result<Documents> {
        let path = |file: &str| format!("images/{}/{file}", directory_name(digest));
        let read = |file: &str| -> io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            let file = self.directory.open_file(&entry(&path(file))?)?;
            file.take(DOCUMENT_MAX).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let failed = |file: &str, error: io::Error| match is_absent(&error) {
            true => Error::conflict(format!("image {} lacks its {file}", digest.short()))
                .hint(Advice::RewriteRecord),
            false => Error::system(format!("reading {file}"), error),
        };
        let manifest = match read(MANIFEST) {
            // An image of a Docker archive has none.
            Err(error) if is_absent(&error) => None,
            read => Some(read.map_err(|error| failed(MANIFEST, error))?),
        };
        let config = read(CONFIG).map_err(|error| failed(CONFIG, error))?;
        Ok(Documents { manifest, config })
    }

    /// Where blobs of a registry are kept while they arrive, and for the next run if they did not all arrive.
    #[cfg(feature = "registry")]
    pub(super) fn downloads(&self) -> Result<Spool> {
        let directory = Arc::new(self.open_dir(DOWNLOADS)?);
        Ok(Spool::Named(directory, self.path().join(DOWNLOADS)))
    }

    /// Removes all downloads, or only counts them: how many, and how many bytes they have on disk. The caller holds the
    /// store alone.
    pub(crate) fn drop_downloads(&self, dry_run: bool) -> Result<(u64, u64)> {
        let Some(directory) = self.find_dir(DOWNLOADS)? else {
            return Ok((0, 0));
        };
        let drop_all = || -> io::Result<(u64, u64)> {
            let (mut count, mut bytes) = (0, 0);
            for name in directory.names()? {
                let stat = directory.stat(&name)?;
                bytes += stat.map_or(0, |stat| stat.st_blocks as u64 * 512);
                count += 1;
                if !dry_run {
                    directory.remove_file(&name)?;
                }
            }
            Ok((count, bytes))
        };
        drop_all().map_err(|error| Error::system("removing downloads", error))
    }

    /// The image that a name or a digest leads to: its digest; its name; its name without the tag `latest`, or without
    /// what Docker leaves out; what follows a `/` of its name; the first four or more digits of its digest, in this
    /// order. `NAME@DIGEST` checks both.
    ///
    /// Errors: several match ([`Kind::NotFound`](crate::Kind::NotFound)); the names are damaged.
    pub fn find_image(&self, wanted: &str) -> Result<Option<Digest>> {
        Ok(self.look_up(wanted)?.map(|found| found.digest))
    }

    /// The same in each of several stores: the first that has it.
    pub fn find_in_each(&self, wanted: &str) -> Result<Option<(&Store, Digest)>> {
        for store in self.each() {
            if let Some(digest) = store.find_image(wanted)? {
                return Ok(Some((store, digest)));
            }
        }
        Ok(None)
    }

    pub(crate) fn look_up(&self, wanted: &str) -> Result<Option<Found>> {
        let digests = self.image_digests()?;
        let by_digest = |digest: &Digest| Found {
            digest: digest.clone(),
            name: None,
        };
        if let Some(digest) = digests.iter().find(|digest| digest.to_string() == wanted) {
            return Ok(Some(by_digest(digest)));
        }
        let (name, pinned) = match wanted.rsplit_once('@') {
            Some((name, digest)) => (
                name,
                Some(Digest::parse(digest).map_err(|error| Error::usage(error.reason()))?),
            ),
            None => (wanted, None),
        };
        let (names, damage) = match self.names() {
            Ok(names) => (names, None),
            Err(error) if error.is_system_fault() => return Err(error),
            Err(error) => (BTreeMap::new(), Some(error)),
        };
        let ranked = names.iter().filter(|(_, digest)| digests.contains(digest));
        let ranked = ranked.filter_map(|(known, digest)| Some((rank(name, known)?, known, digest)));
        let mut ranked: Vec<_> = ranked.collect();
        ranked.sort();
        let best = ranked.first().map(|(rank, ..)| *rank);
        ranked.retain(|(rank, ..)| Some(*rank) == best);
        let distinct: BTreeSet<&Digest> = ranked.iter().map(|(.., digest)| *digest).collect();
        let found = match (ranked.first(), distinct.len()) {
            (Some((_, known, digest)), 1) => Some(Found {
                digest: (*digest).clone(),
                name: Some((*known).clone()),
            }),
            (Some(_), _) => {
                let several = ranked
                    .iter()
                    .map(|(_, known, digest)| format!("{known} ({digest})"));
                return Err(ambiguous(wanted, several));
            }
            (None, _) => {
                let mut several = digests.iter().filter(|digest| begins(digest, name));
                match (several.next(), several.next()) {
                    (None, _) => None,
                    (Some(only), None) => Some(by_digest(only)),
                    (Some(one), Some(other)) => {
                        let all = [one, other].into_iter().chain(several);
                        return Err(ambiguous(wanted, all.map(ToString::to_string)));
                    }
                }
            }
        };
        match (found, pinned, damage) {
            (None, _, Some(error)) => Err(error),
            (Some(found), Some(pinned), _) if found.digest != pinned => {
                let text = format!("{name} is {}, not {pinned}", found.digest);
                Err(Error::not_found(text).hint("leave out the digest, or the name"))
            }
            (found, ..) => Ok(found),
        }
    }

    /// Removes an image and its names; its layers stay. Errors: the store can only be read.
    pub(crate) fn forget_image(&self, digest: &Digest, sync: Sync) -> Result<()> {
        let staging = self.stage()?;
        let images = self.lock_images()?;
        let name = directory_name(digest);
        let forget = || -> io::Result<()> {
            rustix::fs::renameat(&images, &*name, &staging.directory, &*name)?;
            sync_directory(&images, sync)
        };
        forget().map_err(|error| Error::system(format!("forgetting image {digest}"), error))?;
        // In this order: a name without an image leads nowhere, but an image that lost its name could not be
        // removed by it.
        self.drop_loose_names(&images, sync)
    }

    /// The directory of images, which one process at a time changes: until it is closed.
    pub(super) fn lock_images(&self) -> Result<Dir> {
        self.check_writable()?;
        let images = self.open_dir("images")?;
        let lock = retry_on_intr(|| rustix::fs::flock(&images, FlockOperation::LockExclusive));
        lock.map_err(|errno| Error::system("locking the images of the store", errno))?;
        Ok(images)
    }

    /// The chain IDs of all layers, sorted.
    pub fn layers(&self) -> Result<BTreeSet<Digest>> {
        let mut layers = BTreeSet::new();
        for algorithm in ["sha256", "sha512"] {
            let Some(directory) = self.find_dir(&format!("layers/{algorithm}"))? else {
                continue;
            };
            let names = directory.names();
            for name in names.map_err(|error| Error::system("listing the layers", error))? {
                let text = format!("{algorithm}:{}", String::from_utf8_lossy(&name));
                // What is no digest is not ours.
                layers.extend(Digest::parse(&text).ok());
            }
        }
        Ok(layers)
    }

    /// Removes layers for good: their names while the store is locked exclusively, and their content once
    /// it is unlocked.
    pub(crate) fn remove_layers(
        &self,
        layers: &BTreeSet<Digest>,
        hold: StoreLock,
        sync: Sync,
    ) -> Result<()> {
        let staging = self.stage()?;
        for (number, chain_id) in layers.iter().enumerate() {
            let to = number.to_string();
            rustix::fs::renameat(
                &self.directory,
                &*layer_name(chain_id),
                &staging.directory,
                &*to,
            )
            .map_err(|errno| Error::system(format!("removing layer {chain_id}"), errno))?;
        }
        self.remove_dead_links()?;
        drop(hold);
        // After a power cut, a layer that has its name must be complete.
        self.sync(sync, true)?;
        staging
            .remove()
            .map_err(|error| Error::system("removing the layers", error))
    }

    /// Removes short names whose layers are gone.
    fn remove_dead_links(&self) -> Result<()> {
        let links = self.open_dir("l")?;
        let remove = || -> io::Result<()> {
            for name in links.names()? {
                let target = match links.read_link(&name) {
                    // What is no link is not ours.
                    Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                        continue;
                    }
                    other => other?,
                };
                if self.is_dead(&target)? {
                    links.remove_file(&name)?;
                }
            }
            Ok(())
        };
        remove().map_err(|error| Error::system("removing short names", error))
    }
}

impl Store {
    /// Whether the target of a short name, in this store or elsewhere, is gone.
    fn is_dead(&self, target: &[u8]) -> io::Result<bool> {
        if target.starts_with(b"/") {
            let there = std::fs::symlink_metadata(OsStr::from_bytes(target));
            return Ok(there.is_err_and(|error| error.kind() == io::ErrorKind::NotFound));
        }
        let inside = target.strip_prefix(b"../").unwrap_or(target);
        match EntryPath::parse(inside) {
            Ok(path) => Ok(self.directory.find_beneath(&path)?.is_none()),
            Err(_) => Ok(false),
        }
    }
}

fn recording(error: io::Error) -> Error {
    Error::system("recording the image", error)
}

fn ambiguous(wanted: &str, several: impl Iterator<Item = String>) -> Error {
    let several: Vec<String> = several.collect();
    let text = format!("{wanted} is not the name of one image in the store");
    Error::not_found(text).hint(format!("use one of {}", several.join(", ")))
}

fn entry(path: &str) -> io::Result<EntryPath> {
    Ok(EntryPath::parse(path.as_bytes())?)
}

fn write_file(directory: &Dir, name: &str, bytes: &[u8], sync: Sync) -> io::Result<()> {
    let mut file = directory.make_file(name.as_bytes())?;
    file.write_all(bytes)?;
    match sync {
        Sync::Fs => file.sync_all(),
        Sync::None => Ok(()),
    }
}

fn directory_name(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().name(), digest.hex())
}

fn digest_in(name: &[u8]) -> Option<Digest> {
    let name = std::str::from_utf8(name).ok()?;
    Digest::parse(&name.replacen('-', ":", 1)).ok()
}

/// Whether a digest begins with some digits, which the algorithm may precede.
fn begins(digest: &Digest, wanted: &str) -> bool {
    let algorithm = wanted.strip_prefix(digest.algorithm().name());
    let digits = algorithm.and_then(|rest| rest.strip_prefix(':'));
    let digits = digits.unwrap_or(wanted);
    digits.len() >= PREFIX && digest.hex().starts_with(digits)
}
