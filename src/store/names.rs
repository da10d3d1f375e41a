//! The names of images: one file, so that a name is never lost and never on two images, whatever is killed when.
//!
//! [`crate::store::pipeline`] names what it unpacks, `tag` names it again, and [`crate::store::gc`] takes names away.
//! A name may lead to an image that is gone; such names are ignored.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::fs::root::{Dir, is_absent};
use crate::image::names::parse;

use super::{Staging, Store, Sync, read_json, sync_directory, write_json};

const NAMES: &str = "names.json";

/// `names.json`
#[derive(Default, Serialize, Deserialize)]
struct Names {
    names: BTreeMap<String, Digest>,
}

impl Store {
    /// The names of its images. Errors: the file with them is damaged ([`Kind::Conflict`](crate::Kind::Conflict)).
    pub fn names(&self) -> Result<BTreeMap<String, Digest>> {
        let Some(images) = self.find_dir("images")? else {
            return Ok(BTreeMap::new());
        };
        match images.stat(NAMES.as_bytes()) {
            Ok(None) => return Ok(BTreeMap::new()),
            Err(error) if !is_absent(&error) => {
                return Err(Error::system(format!("reading {NAMES}"), error));
            }
            _ => {}
        }
        let names: Result<Names> = read_json(&images, NAMES);
        match names {
            Ok(names) => Ok(names.names),
            Err(error) if error.is_system_fault() => Err(error),
            Err(error) => {
                let path = self.path().join("images").join(NAMES);
                let hint = format!("remove {}, and name the images again", path.display());
                Err(error.hint(hint))
            }
        }
    }

    /// The names of an image, sorted. Errors: as of [`Store::names`].
    pub fn names_of(&self, digest: &Digest) -> Result<Vec<String>> {
        let names = self.names()?.into_iter();
        let names = names.filter(|(_, of)| of == digest);
        Ok(names.map(|(name, _)| name).collect())
    }

    /// Names an image of this store. A name without a tag gets `latest`; a name of another image moves to this
    /// one. Returns the names that moved, each with the image that had it.
    ///
    /// Errors: a name that cannot be one ([`Kind::Usage`](crate::Kind::Usage)); the image is not in this store; the
    /// store can only be read.
    pub fn tag(
        &self,
        digest: &Digest,
        names: &[impl AsRef<str>],
        sync: Sync,
    ) -> Result<Vec<(String, Digest)>> {
        let new = names.iter().map(|name| parse(name.as_ref()));
        let new = new.collect::<Result<Vec<String>>>()?;
        let images = self.lock_images()?;
        let digests = self.image_digests()?;
        if !digests.contains(digest) {
            return Err(Error::not_found(format!(
                "no image {digest} is in the store"
            )));
        }
        let known = self.names()?;
        let (mut names, mut moved) = (known.clone(), Vec::new());
        for name in new {
            let before = names.insert(name.clone(), digest.clone());
            let before = before.filter(|before| before != digest && digests.contains(before));
            moved.extend(before.map(|before| (name, before)));
        }
        if names != known {
            self.write_names(&images, &self.stage()?, names, sync)?;
        }
        Ok(moved)
    }

    /// Takes a name away from an image, which stays. A name that another process has moved since stays too.
    pub(super) fn untag(&self, name: &str, digest: &Digest, sync: Sync) -> Result<()> {
        let staging = self.stage()?;
        let images = self.lock_images()?;
        let mut names = self.names()?;
        names.retain(|known, of| known != name || of != digest);
        self.write_names(&images, &staging, names, sync)
    }

    /// Drops the names of images that are gone. The caller has locked the images. Damaged names stay as they are.
    pub(super) fn drop_loose_names(&self, images: &Dir, sync: Sync) -> Result<()> {
        let known = match self.names() {
            Err(error) if error.is_system_fault() => return Err(error),
            Err(_) => return Ok(()),
            Ok(known) => known,
        };
        let digests = self.image_digests()?;
        let mut names = known.clone();
        names.retain(|_, digest| digests.contains(digest));
        match names == known {
            true => Ok(()),
            false => self.write_names(images, &self.stage()?, names, sync),
        }
    }

    /// Replaces the names at once. The caller has locked the images.
    pub(super) fn write_names(
        &self,
        images: &Dir,
        staging: &Staging,
        names: BTreeMap<String, Digest>,
        sync: Sync,
    ) -> Result<()> {
        let write = || -> io::Result<()> {
            write_json(&staging.directory, NAMES, &Names { names }, sync)?;
            rustix::fs::renameat(&staging.directory, NAMES, images, NAMES)?;
            sync_directory(images, sync)
        };
        write().map_err(|error| Error::system("naming the image", error))
    }
}
