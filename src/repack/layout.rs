//! `Layout`: writes an OCI image layout. A blob appears under its digest once it is complete, and an image
//! gets its name once all its blobs are there.
//!
//! Packing appends a layer to an image, and flattening publishes a new image. Everything appears by rename,
//! and a lock on the directory keeps two writers from losing each other's tags. Documents are changed as
//! JSON, so unknown members are preserved.
//! Source: image-spec `image-layout.md`, `image-index.md`, `manifest.md`, `config.md`.
//!
//! ```
//! use lowerdir::repack::Compression;
//! use lowerdir::repack::layout::{History, Layout};
//! use lowerdir::Image;
//!
//! let place = tempfile::tempdir()?;
//! let path = place.path().join("layout");
//! let layout = Layout::open_or_create(&path)?;
//! let mut archive = tar::Builder::new(layout.layer(Compression::Zstd)?);
//! // Entries go here.
//! let layer = archive.into_inner()?.finish()?;
//! let history = History { created: 0, created_by: "an example".into(), comment: String::new() };
//! let config = br#"{ "os": "linux", "architecture": "amd64" }"#;
//! let digest = layout.publish("empty", config, &[(layer, history)])?;
//!
//! let reference = format!("oci:{}:empty", path.display());
//! let image = Image::open(&reference.parse()?)?;
//! assert_eq!((image.digest, image.layers.len()), (digest, 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod blob;
mod copy;
mod document;

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde_json::{Value, json};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::{is_image, names};
use crate::store::check_outside;

pub use blob::{BlobWriter, NewLayer};
pub use copy::Copied;
pub use document::History;

use document::{array, is_index, names_of};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An OCI image layout, locked for as long as this lives.
pub struct Layout {
    path: PathBuf,
    /// Holds the lock.
    directory: File,
}

impl Layout {
    /// Opens an existing layout. Errors: it does not exist, or is not a layout.
    pub fn open(path: &Path) -> Result<Layout> {
        check_outside(path, "the layout")?;
        let opening = |error| Error::system(format!("opening {}", path.display()), error);
        let layout = Layout {
            path: path.into(),
            directory: File::open(path).map_err(opening)?,
        };
        if !layout.has_index()? {
            let what = format!(
                "{} is not an OCI layout: it has no index.json",
                path.display()
            );
            return Err(Error::refused(what));
        }
        layout.lock()
    }

    /// Opens a layout, or creates an empty one if the path is absent or an empty directory.
    pub fn open_or_create(path: &Path) -> Result<Layout> {
        check_outside(path, "the layout")?;
        let making = |error| Error::system(format!("making {}", path.display()), error);
        match fs::create_dir(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(making(error)),
            _ => {}
        }
        let layout = Layout {
            path: path.into(),
            directory: File::open(path).map_err(making)?,
        };
        let layout = layout.lock()?;
        let entries = fs::read_dir(path).map_err(making)?;
        if entries.count() > 0 {
            return Layout::open_locked(layout);
        }
        layout.put("oci-layout", &json!({ "imageLayoutVersion": "1.0.0" }))?;
        let empty = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] });
        layout.put("index.json", &empty)?;
        Ok(layout)
    }

    fn open_locked(layout: Layout) -> Result<Layout> {
        match layout.has_index()? {
            true => Ok(layout),
            false => {
                let path = layout.path.display();
                let what = format!("{path} is neither empty nor an OCI layout");
                Err(Error::conflict(what))
            }
        }
    }

    fn has_index(&self) -> Result<bool> {
        let path = self.path.join("index.json");
        match fs::metadata(&path) {
            Ok(found) => Ok(found.is_file()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::system(
                format!("looking at {}", path.display()),
                error,
            )),
        }
    }

    fn lock(self) -> Result<Layout> {
        rustix::fs::flock(&self.directory, FlockOperation::LockExclusive)
            .map_err(|errno| Error::system(format!("locking {}", self.path.display()), errno))?;
        Ok(self)
    }

    /// Adds a layer to the image named `tag` (the only one, if `None`). The new image takes that name, or
    /// gets `new_tag` and leaves the old image its name. Returns the digest of the manifest.
    ///
    /// Errors: no such image; one for several platforms; documents that do not fit together
    /// ([`Kind::Refused`](crate::Kind::Refused)).
    pub fn append(
        &self,
        tag: Option<&str>,
        new_tag: Option<&str>,
        layer: &NewLayer,
        history: &History,
    ) -> Result<Digest> {
        let mut index = self.index()?;
        let at = find(&index, tag)?;
        let old = array(&mut index, "manifests")?[at].clone();
        let mut manifest = self.manifest(&old)?;
        if is_index(&old) || is_index(&manifest) {
            let error = Error::refused("the name has images for several platforms");
            return Err(error.hint("copy the one that you want first: `skopeo copy`"));
        }
        let mut config = self.config(&manifest)?;
        document::append(&mut manifest, &mut config, layer, history)?;
        document::redirect(&mut manifest["config"], &self.put_blob(&config)?);
        let (digest, size) = self.put_blob(&manifest)?;

        let mut new = old;
        document::redirect(&mut new, &(digest.clone(), size));
        match new_tag {
            None => array(&mut index, "manifests")?[at] = new,
            Some(tag) => {
                new["annotations"] = json!({ REF_NAME: tag });
                replace(&mut index, tag, new)?;
            }
        }
        self.put("index.json", &index)?;
        Ok(digest)
    }

    /// Publishes an image of new layers, lowest first, each with its history, under the name `tag`, which
    /// any other image loses. `config` is as in image-spec's `config.md`; its layers, history and time of
    /// creation are replaced. Returns the digest of the manifest.
    pub fn publish(
        &self,
        tag: &str,
        config: &[u8],
        layers: &[(NewLayer, History)],
    ) -> Result<Digest> {
        let mut config: Value = serde_json::from_slice(config)
            .map_err(|error| Error::reading("reading the config", error.into()))?;
        if !config.is_object() {
            return Err(Error::refused("the config is not a JSON object"));
        }
        config["rootfs"] = json!({ "type": "layers", "diff_ids": [] });
        config["history"] = json!([]);
        let descriptor = json!({ "mediaType": CONFIG });
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor, "layers": [],
        });
        for (layer, history) in layers {
            document::append(&mut manifest, &mut config, layer, history)?;
        }
        document::redirect(&mut manifest["config"], &self.put_blob(&config)?);
        let (digest, size) = self.put_blob(&manifest)?;
        let mut descriptor = json!({ "mediaType": MANIFEST, "annotations": { REF_NAME: tag } });
        document::redirect(&mut descriptor, &(digest.clone(), size));
        if let Some(platform) = document::platform(&config) {
            descriptor["platform"] = platform;
        }
        let mut index = self.index()?;
        replace(&mut index, tag, descriptor)?;
        self.put("index.json", &index)?;
        Ok(digest)
    }

    fn index(&self) -> Result<Value> {
        let path = self.path.join("index.json");
        document::manifest(&path, None, "index.json")
    }

    /// The manifest of a descriptor, checked against its digest.
    fn manifest(&self, descriptor: &Value) -> Result<Value> {
        let digest = digest_of(descriptor)?;
        document::manifest(&self.blob_path(&digest), Some(&digest), "the manifest")
    }

    /// The config of a manifest, checked likewise.
    fn config(&self, manifest: &Value) -> Result<Value> {
        let digest = digest_of(&manifest["config"])?;
        document::config(&self.blob_path(&digest), &digest)
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        let directory = self.path.join("blobs").join(digest.algorithm().name());
        directory.join(digest.hex())
    }
}

fn digest_of(descriptor: &Value) -> Result<Digest> {
    Digest::parse(descriptor["digest"].as_str().unwrap_or_default())
}

/// The position in the index of the image with a name.
fn find(index: &Value, tag: Option<&str>) -> Result<usize> {
    let none = Vec::new();
    let manifests = index["manifests"].as_array().unwrap_or(&none);
    let images = (0..manifests.len()).filter(|&at| is_image(&manifests[at]));
    let names: Vec<String> = images
        .clone()
        .flat_map(|at| names_of(&manifests[at]))
        .collect();
    let is_meant = |descriptor: &Value| match tag {
        None => true,
        Some(tag) => names_of(descriptor).any(|name| names::matches(tag, &name)),
    };
    let meant: Vec<usize> = images.filter(|&at| is_meant(&manifests[at])).collect();
    match (&meant[..], tag) {
        ([at], _) => Ok(*at),
        ([], Some(tag)) => Err(names::no_such(tag, &names)),
        ([], None) => Err(Error::not_found("there is no image in it")),
        (_, None) => Err(names::ambiguous(&names)),
        (several, Some(tag)) => Err(names::several(tag, several.len())),
    }
}

/// Replaces the descriptor with this exact name, or adds one at the end.
fn replace(index: &mut Value, tag: &str, descriptor: Value) -> Result<()> {
    let manifests = array(index, "manifests")?;
    let at = manifests
        .iter()
        .position(|known| known["annotations"][REF_NAME].as_str() == Some(tag));
    match at {
        Some(at) => manifests[at] = descriptor,
        None => manifests.push(descriptor),
    }
    Ok(())
}
