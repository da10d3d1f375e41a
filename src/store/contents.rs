//! What is in the store: its images and its layers, listed, looked up, and removed.
//!
//! [`crate::pipeline`] records images; [`crate::collect`] removes them and the layers that nobody
//! needs; [`crate::verify`] goes through them.

use std::collections::BTreeSet;
use std::io;

use rustix::fs::FlockOperation;
use rustix::io::retry_on_intr;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::path::EntryPath;
use crate::root::Dir;

use super::{
    Hold, ImageRecord, Staging, Store, Sync, layer_name, read_json, sync_directory, write_json,
};

/// How many digits of a digest name an image at least.
const PREFIX: usize = 4;

impl Store {
    /// Remembers an image, once its layers are there. The names that it was known by stay.
    pub fn record_image(&self, record: ImageRecord, sync: Sync) -> Result<()> {
        let staging = self.stage()?;
        let images = self.open_dir("images")?;
        write_image(&images, &staging, record, sync)
            .map_err(|error| Error::system("recording the image", error))
    }

    /// All images, sorted by digest. Errors: a record that cannot be read, with its name.
    pub fn images(&self) -> Result<Vec<ImageRecord>> {
        let images = self.open_dir("images")?;
        let names = images.names();
        let names = names.map_err(|error| Error::system("listing the images", error))?;
        let names = names.iter().map(|name| String::from_utf8_lossy(name));
        names
            .filter(|name| !name.starts_with('.') && name.ends_with(".json"))
            .map(|name| read_json(&images, &name).map_err(|error| error.at_entry(name)))
            .collect()
    }

    /// The image that a user means by a name, a digest, or the first digits of one. Errors: several
    /// are meant.
    pub fn find_image(&self, wanted: &str) -> Result<Option<ImageRecord>> {
        let mut found: Vec<ImageRecord> = self.images()?;
        found.retain(|image| {
            let hex = image.digest.split_once(':').map_or("", |(_, hex)| hex);
            let digits = wanted.len() >= PREFIX && hex.starts_with(wanted);
            image.digest == wanted || digits || image.names.iter().any(|name| name == wanted)
        });
        match found.len() {
            0 | 1 => Ok(found.pop()),
            _ => {
                let digests: Vec<&str> = found.iter().map(|image| &*image.digest).collect();
                let text = format!("several images in the store are named {wanted}");
                Err(Error::not_found(text).hint(format!("name one of {}", digests.join(", "))))
            }
        }
    }

    /// Forgets an image; its layers stay.
    pub fn forget_image(&self, image: &ImageRecord, sync: Sync) -> Result<()> {
        let images = self.open_dir("images")?;
        let forget = || -> io::Result<()> {
            images.remove_file(file_name(&image.digest).as_bytes())?;
            sync_directory(&images, sync)
        };
        forget().map_err(|error| Error::system(format!("forgetting image {}", image.digest), error))
    }

    /// The chain IDs of all layers, sorted.
    pub fn layers(&self) -> Result<BTreeSet<Digest>> {
        let mut layers = BTreeSet::new();
        for algorithm in ["sha256", "sha512"] {
            let directory = self.open_dir(&format!("layers/{algorithm}"))?;
            let names = directory.names();
            for name in names.map_err(|error| Error::system("listing the layers", error))? {
                let text = format!("{algorithm}:{}", String::from_utf8_lossy(&name));
                // What is no digest is not ours.
                layers.extend(Digest::parse(&text).ok());
            }
        }
        Ok(layers)
    }

    /// Takes layers away, at once and for good: their names go while the store is held alone, and
    /// what they hold when it is open to others again.
    pub fn remove_layers(&self, layers: &BTreeSet<Digest>, hold: Hold, sync: Sync) -> Result<()> {
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
        self.sync(sync, true)?;
        staging
            .remove()
            .map_err(|error| Error::system("removing the layers", error))
    }

    /// A short name whose layer is gone.
    fn remove_dead_links(&self) -> Result<()> {
        let links = self.open_dir("l")?;
        let remove = || -> io::Result<()> {
            for name in links.names()? {
                let target = links.read_link(&name)?;
                let inside = target.strip_prefix(b"../").unwrap_or(&target);
                let path = EntryPath::parse(inside)?;
                if self.directory.find_beneath(&path)?.is_none() {
                    links.remove_file(&name)?;
                }
            }
            Ok(())
        };
        remove().map_err(|error| Error::system("removing short names", error))
    }
}

/// One at a time, so that no name gets lost.
fn write_image(
    images: &Dir,
    staging: &Staging,
    mut record: ImageRecord,
    sync: Sync,
) -> io::Result<()> {
    retry_on_intr(|| rustix::fs::flock(images, FlockOperation::LockExclusive))?;
    let name = file_name(&record.digest);
    // A damaged record is written anew.
    if let Ok(known) = read_json::<ImageRecord>(images, &name) {
        record.names.extend(known.names);
    }
    record.names.sort();
    record.names.dedup();
    write_json(&staging.directory, &name, &record, sync)?;
    rustix::fs::renameat(&staging.directory, &*name, images, &*name)?;
    sync_directory(images, sync)
}

fn file_name(digest: &str) -> String {
    format!("{}.json", digest.replace(':', "-"))
}
