//! The content of the store: images and layers, listed, looked up and removed.
//!
//! [`crate::store::pipeline`] records images; [`crate::store::gc`] removes them and layers that are
//! no longer needed; [`crate::store::verify`] reads them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::io::retry_on_intr;

use crate::digest::Digest;
use crate::error::{Advice, Error, Result};
use crate::fs::root::Dir;
use crate::path::EntryPath;

use super::{
    ImageRecord, Store, StoreLock, Sync, layer_name, read_json, sync_directory, write_json,
};

/// The minimum number of digits of a digest that name an image.
const PREFIX: usize = 4;

impl Store {
    /// Records an image, once its layers are there. It keeps the names that it had.
    pub(crate) fn record_image(&self, mut record: ImageRecord, sync: Sync) -> Result<()> {
        let staging = self.stage()?;
        let images = self.open_dir("images")?;
        let name = file_name(&record.digest);
        let mut write = || -> io::Result<()> {
            // Two processes may add a name: until this directory is closed, one at a time.
            retry_on_intr(|| rustix::fs::flock(&images, FlockOperation::LockExclusive))?;
            // A damaged record is rewritten.
            if let Ok(known) = self.read_image(&images, &record.digest) {
                record.names.extend(known.names);
            }
            record.names.sort();
            record.names.dedup();
            write_json(&staging.directory, &name, &record, sync)?;
            rustix::fs::renameat(&staging.directory, &*name, &images, &*name)?;
            sync_directory(&images, sync)
        };
        write().map_err(|error| Error::system("recording the image", error))
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
        let name = file_name(digest);
        let hint = Advice::RewriteRecord;
        let record = read_json::<ImageRecord>(images, &name);
        let record = record.map_err(|error| match error.is_system_fault() {
            true => error,
            false => error.hint(hint),
        })?;
        match record.digest == *digest {
            true => Ok(record),
            false => {
                let text = format!("reading {name}: it is of image {}", record.digest);
                Err(Error::conflict(text).hint(hint))
            }
        }
    }

    /// All images, sorted by digest. Errors: one of the records is damaged.
    pub fn images(&self) -> Result<Vec<ImageRecord>> {
        let digests = self.image_digests()?;
        digests.iter().map(|digest| self.image(digest)).collect()
    }

    /// The image with a digest or a name, or whose digest begins with some digits, in this order. Errors:
    /// several match; none does, but a record is damaged.
    pub fn find_image(&self, wanted: &str) -> Result<Option<Digest>> {
        let digests = self.image_digests()?;
        if let Some(digest) = digests.iter().find(|digest| digest.to_string() == wanted) {
            return Ok(Some(digest.clone()));
        }
        let (mut named, mut damaged) = (Vec::new(), None);
        for digest in &digests {
            match self.image(digest) {
                Ok(image) if image.names.iter().any(|name| name == wanted) => named.push(digest),
                Ok(_) => {}
                Err(error) if error.is_system_fault() => return Err(error),
                Err(error) => damaged = damaged.or(Some(error)),
            }
        }
        if named.is_empty() {
            named.extend(digests.iter().filter(|digest| begins(digest, wanted)));
        }
        match (named.as_slice(), damaged) {
            ([], Some(error)) => Err(error),
            ([], None) => Ok(None),
            ([only], _) => Ok(Some((*only).clone())),
            (several, _) => {
                let digests: Vec<String> = several.iter().map(|one| one.to_string()).collect();
                let text = format!("several images in the store are named {wanted}");
                Err(Error::not_found(text).hint(format!("use one of {}", digests.join(", "))))
            }
        }
    }

    /// Removes the record of an image; its layers stay. Errors: the store can only be read.
    pub(crate) fn forget_image(&self, digest: &Digest, sync: Sync) -> Result<()> {
        self.check_writable()?;
        let images = self.open_dir("images")?;
        let forget = || -> io::Result<()> {
            images.remove_file(file_name(digest).as_bytes())?;
            sync_directory(&images, sync)
        };
        forget().map_err(|error| Error::system(format!("forgetting image {digest}"), error))
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

fn file_name(digest: &Digest) -> String {
    format!("{}-{}.json", digest.algorithm().name(), digest.hex())
}

fn digest_in(file_name: &[u8]) -> Option<Digest> {
    let name = std::str::from_utf8(file_name).ok()?.strip_suffix(".json")?;
    Digest::parse(&name.replacen('-', ":", 1)).ok()
}

/// Whether a digest begins with some digits, which the algorithm may precede.
fn begins(digest: &Digest, wanted: &str) -> bool {
    let algorithm = wanted.strip_prefix(digest.algorithm().name());
    let digits = algorithm.and_then(|rest| rest.strip_prefix(':'));
    let digits = digits.unwrap_or(wanted);
    digits.len() >= PREFIX && digest.hex().starts_with(digits)
}
