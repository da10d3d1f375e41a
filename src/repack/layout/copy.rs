//! Copies an image into a layout as it is: the same manifest, config and blobs, byte for byte.
//!
//! A blob of a registry arrives in a directory of the layout, where the next run finds what a killed one had, and gets its
//! name there; others are copied. Every blob is verified before it has its name.

use std::collections::BTreeSet;
#[cfg(feature = "registry")]
use std::fs;
use std::io::{self, Read, Write};

use serde_json::{Value, json};

use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};
use crate::fs::atomic_file::AtomicFile;
use crate::image::{Image, Layer, manifest_value, open_at_once};
#[cfg(feature = "registry")]
use crate::registry::Spool;
use crate::store::pipeline::{LowestFailure, Run, Watch};

use super::{Layout, MANIFEST, REF_NAME, document, replace};

const BUFFER: usize = 256 << 10;
/// Where blobs of a registry arrive.
#[cfg(feature = "registry")]
const ARRIVING: &str = ".lowerdir-arriving";

/// What was copied.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Copied {
    /// The digest of the manifest.
    pub digest: Digest,
    /// How many blobs of layers the layout lacked.
    pub blobs: usize,
    /// Their size in bytes.
    pub bytes: u64,
}

impl Layout {
    /// Copies an image into the layout under the name `tag`, which any other image loses. Blobs that the layout has are
    /// not read. Of an index only this image is copied.
    ///
    /// Errors: the image has no manifest, as in a Docker archive ([`Kind::Refused`](crate::Kind::Refused)); a blob is
    /// missing, or is not what its digest says; cancelled. Blobs that are complete stay.
    pub fn copy(&self, image: &Image, tag: &str, run: Run<'_>) -> Result<Copied> {
        let Some(manifest) = &image.documents.manifest else {
            let text = "the image has no manifest, which says how its layers are compressed";
            return Err(Error::refused(text)
                .hint("`skopeo copy docker-archive:FILE oci:DIR:TAG` makes one for it"));
        };
        let mut copied = Copied {
            digest: image.digest.clone(),
            blobs: 0,
            bytes: 0,
        };
        let missing = self.missing(image)?;
        #[cfg(feature = "registry")]
        let arriving = self.arriving(&missing)?;
        for layer in &missing {
            let size = self
                .copy_blob(layer, run)
                .map_err(|error| error.in_layer(layer.label()))?;
            copied.blobs += 1;
            copied.bytes += size;
        }
        #[cfg(feature = "registry")]
        if arriving.is_some() {
            // Another run may have left something in it.
            let _ = fs::remove_dir(self.path.join(ARRIVING));
        }
        let config: Value = serde_json::from_slice(&image.documents.config)
            .map_err(|error| Error::reading("reading the config", error.into()))?;
        let parsed = manifest_value(manifest, "the manifest")?;
        // By the manifest's digest of it, which need not be a SHA-256.
        let digest = super::digest_of(&parsed["config"])?;
        self.put_bytes(&digest, &image.documents.config)?;
        self.put_bytes(&image.digest, manifest)?;
        let media_type = parsed["mediaType"].as_str().unwrap_or(MANIFEST);
        let mut descriptor = json!({
            "mediaType": media_type,
            "digest": image.digest.to_string(),
            "size": manifest.len(),
            "annotations": { REF_NAME: tag },
        });
        if let Some(mut platform) = document::platform(&config) {
            // The variant may be in the index alone.
            let variant = image.platform.as_ref().map(|known| known.variant());
            if let Some(variant) = variant.filter(|variant| !variant.is_empty()) {
                platform["variant"] = json!(variant);
            }
            descriptor["platform"] = platform;
        }
        let mut index = self.index()?;
        replace(&mut index, tag, descriptor)?;
        self.put("index.json", &index)?;
        Ok(copied)
    }

    /// The layers whose blobs the layout lacks, each blob once.
    fn missing<'a>(&self, image: &'a Image) -> Result<Vec<&'a Layer>> {
        let mut known = BTreeSet::new();
        let mut missing = Vec::new();
        for layer in &image.layers {
            let digest = digest_of(layer)?;
            if known.insert(digest) && !self.has(digest)? {
                missing.push(layer);
            }
        }
        Ok(missing)
    }

    /// Whether a blob is there, and is what its name says.
    fn has(&self, digest: &Digest) -> Result<bool> {
        let path = self.blob_path(digest);
        // Not File::open, which would wait for who writes to a FIFO.
        let mut file = match open_at_once(&path) {
            Ok(file) if file.metadata().is_ok_and(|found| found.is_file()) => file,
            Ok(_) => {
                let text = format!("{} is no regular file", path.display());
                return Err(Error::conflict(text));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(Error::system(format!("opening {}", path.display()), error)),
        };
        let mut hasher = Hasher::new(digest.algorithm());
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = file.read(&mut buffer);
            let count = count
                .map_err(|error| Error::system(format!("reading {}", path.display()), error))?;
            if count == 0 {
                return Ok(hasher.finish() == *digest);
            }
            hasher.update(&buffer[..count]);
        }
    }

    /// Has the blobs of a registry fetched, all of them at once: where they arrive, if there are any.
    #[cfg(feature = "registry")]
    fn arriving(&self, missing: &[&Layer]) -> Result<Option<Spool>> {
        let blobs = missing.iter().filter_map(|layer| layer.blob.get().ok());
        let blobs: Vec<_> = blobs.filter(|blob| blob.is_remote()).collect();
        if blobs.is_empty() {
            return Ok(None);
        }
        let path = self.path.join(ARRIVING);
        let making = |error| Error::system(format!("making {}", path.display()), error);
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(making)?,
        }
        let directory = crate::fs::root::Dir::open(&path).map_err(making)?;
        let spool = Spool::Named(directory.into(), path);
        for blob in blobs {
            blob.prefetch(&spool);
        }
        Ok(Some(spool))
    }

    /// Returns the size in bytes.
    fn copy_blob(&self, layer: &Layer, run: Run<'_>) -> Result<u64> {
        let (blob, digest) = (layer.blob.get()?, digest_of(layer)?);
        let (index, label) = (layer.number - 1, layer.label());
        let failure = LowestFailure::none();
        let watch = Watch {
            index,
            progress: run.progress,
            failure: &failure,
        };
        run.progress.begins(index, &label, blob.len());
        let path = self.blob_path(digest);
        self.make_directory_of(digest)?;
        #[cfg(feature = "registry")]
        if blob.is_remote() {
            let arrived = arrive(blob, watch);
            match arrived {
                Err(_) if blob.fetch_again() => {
                    arrive(blob, watch)?;
                }
                arrived => arrived?,
            }
            blob.publish(&path)?;
            run.progress.copied(index, &label, blob.len());
            return Ok(blob.len());
        }
        let mut file = AtomicFile::beside(&path)?;
        let mut hasher = Hasher::new(digest.algorithm());
        let mut reader = watch.blob(blob.open());
        let size = pass_on(&mut reader, |bytes| {
            hasher.update(bytes);
            let written = file.write_all(bytes);
            written.map_err(|error| Error::io("writing the blob", error))
        })?;
        let is = hasher.finish();
        if is != *digest {
            return Err(Error::mismatch(format!(
                "the blob has the digest {is}, not {digest}"
            )));
        }
        file.keep(&path)?;
        run.progress.copied(index, &label, size);
        Ok(size)
    }
}

/// The digest of a layer's blob. Errors: none is known.
fn digest_of(layer: &Layer) -> Result<&Digest> {
    let digest = layer.expected.blob.as_ref();
    digest.ok_or_else(|| {
        Error::refused("the digest of its blob is not known").in_layer(layer.label())
    })
}

/// Waits until a blob of a registry is here, and what its digest says.
#[cfg(feature = "registry")]
fn arrive(blob: &crate::image::Blob, watch: Watch<'_>) -> Result<()> {
    let mut reader = watch.told(watch.blob(blob.open()), blob);
    pass_on(&mut reader, |_| Ok(()))?;
    blob.check_arrived(&|| watch.check().is_err())
}

/// Reads to the end. Returns the number of bytes.
fn pass_on(reader: &mut impl Read, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<u64> {
    let mut buffer = vec![0; BUFFER];
    let mut size = 0;
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => return Ok(size),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::reading("reading the blob", error)),
        };
        take(&buffer[..count])?;
        size += count as u64;
    }
}
