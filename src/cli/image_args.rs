//! Which image a verb is about: a file, or an image of the store.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use crate::error::{Advice, Hint};
use crate::image::names::closest;
use crate::image::{Image, Platform, Reference, Transport};
use crate::path::display;
use crate::repack::read_back::read_back;
use crate::store::{Store, StoreLock};
use crate::{Error, Result};

use super::Global;
use super::input::refuse_terminal;
use super::other_tools::refuse_reference;
use super::progress::{self, Shown};
use super::registry_args::RegistryArgs;
use super::target::WRONG_WAY_ROUND;
#[cfg(feature = "registry")]
use super::target::is_archive_name;
use super::usage::usage;

#[derive(Debug, Args)]
pub(super) struct ImageArgs {
    /// An image in the store, by its name or the first digits of its digest; or oci:DIR[:TAG],
    /// oci-archive:FILE[:TAG], docker-archive:FILE[:NAME], dir:DIR, docker://NAME, the path of a file, or `-`
    ///
    /// A path that exists comes before a name of the store; store:NAME is never a path. `-` is an archive on standard
    /// input. `@DIGEST` instead of `:TAG` names a manifest or an index, `:TAG@DIGEST` checks both, and `:@N` is
    /// image number N, from 0.
    #[arg(value_name = "IMAGE")]
    pub reference: OsString,
    /// Platform of the image, as OS/ARCHITECTURE[/VARIANT], or either of the first two alone
    /// [default: this machine's]
    #[arg(long)]
    pub platform: Option<Platform>,
    /// IMAGE is the digest of a manifest or an index in this content store
    ///
    /// containerd's is /var/lib/containerd/io.containerd.content.v1.content.
    #[arg(long, value_name = "DIR")]
    pub blobs: Option<PathBuf>,
}

impl ImageArgs {
    /// Opens the image of a file or, if there is no such file, of the store.
    pub fn open(&self, registry: &RegistryArgs, global: &Global) -> anyhow::Result<Image> {
        let reference = self.reference()?;
        match is_in_store(&reference) {
            true => {
                registry.refuse()?;
                self.in_store(&reference, global.find_store()?.as_ref(), global)
            }
            false => self.elsewhere(&reference, registry),
        }
    }

    /// In a registry or a file.
    #[cfg(feature = "registry")]
    fn elsewhere(&self, reference: &Reference, registry: &RegistryArgs) -> anyhow::Result<Image> {
        if reference.transport != Transport::Docker {
            registry.refuse()?;
            return self.in_file(reference);
        }
        let image = Image::open_with(reference, self.platform.as_ref(), &registry.access()?);
        image.with_context(|| self.shown())
    }

    #[cfg(not(feature = "registry"))]
    fn elsewhere(&self, reference: &Reference, _: &RegistryArgs) -> anyhow::Result<Image> {
        self.in_file(reference)
    }

    /// The same for a verb that reads the layers: those of an image of the store are read back from it, and nothing is
    /// removed from it until the lock is dropped.
    pub fn open_to_read(
        &self,
        registry: &RegistryArgs,
        global: &Global,
    ) -> anyhow::Result<(Image, Option<StoreLock>)> {
        let reference = self.reference()?;
        if !is_in_store(&reference) {
            return Ok((self.elsewhere(&reference, registry)?, None));
        }
        registry.refuse()?;
        let store = global.find_store()?;
        let image = self.in_store(&reference, store.as_ref(), global)?;
        let store = store.ok_or_else(|| global.no_store())?;
        let shown = Shown::start(&global.console, &progress::Expected::nothing())?;
        let lock = store.lock_shared(&shown)?;
        let (image, has_owners) = read_back(&store, image)?;
        if !has_owners {
            global.console.note(
                "it was unpacked without root: the owners, devices and privileged xattrs of the image are not in the store",
            );
        }
        Ok((image, Some(lock)))
    }

    /// The same for a verb that needs the store, too. A note says if the store has another image of that name.
    pub fn open_with_store(&self, global: &Global) -> anyhow::Result<(Store, Image)> {
        let reference = self.reference()?;
        if is_in_store(&reference) || reference.name_in_store().is_some() {
            let store = global.open_existing_store()?;
            let image = self.in_store(&reference, Some(&store), global)?;
            return Ok((store, image));
        }
        // What is wrong with the image comes first.
        let image = self.in_file(&reference)?;
        image.check_media_types()?;
        let store = global.open_existing_store()?;
        let hidden = match reference.transport {
            Transport::Any => {
                let name = self.reference.to_string_lossy();
                self.find(&store, &name).ok().flatten()
            }
            _ => None,
        };
        if let Some(hidden) = hidden.filter(|hidden| hidden.digest != image.digest) {
            let name = self.shown();
            let digest = hidden.digest.short();
            let text = format!(
                "{name} is a file; the image of that name in the store is store:{name} ({digest})"
            );
            global.console.note(&text);
        }
        Ok((store, image))
    }

    /// The same for a verb that makes a directory: a name of the store in its place says that the arguments are the wrong
    /// way round.
    pub fn open_with_store_for(
        &self,
        directory: &Path,
        global: &Global,
    ) -> anyhow::Result<(Store, Image)> {
        let opened = self.open_with_store(global);
        let name = directory.to_string_lossy();
        let is_name = || {
            let store = global.find_store().ok().flatten();
            let found = store.map(|store| store.find_in_each(&name).is_ok_and(|it| it.is_some()));
            found.unwrap_or_default()
        };
        match opened {
            Err(_) if !directory.exists() && is_name() => Err(usage(format!(
                "{} is an image in the store, not a directory: {WRONG_WAY_ROUND}",
                display(name.as_bytes())
            ))),
            opened => opened,
        }
    }

    /// Says for which platform an image is, if the user did not ask for it and this machine does not run it.
    pub fn note_platform(&self, image: &Image, global: &Global) {
        let host = Platform::host();
        let foreign = image
            .platform
            .as_ref()
            .filter(|built_for| host.distance(built_for).is_none());
        if let (Some(foreign), None) = (foreign, &self.platform) {
            let text = format!("the image is for {foreign}, and this machine is {host}");
            global.console.note(&text);
        }
    }

    fn reference(&self) -> Result<Reference> {
        if !Path::new(&self.reference).exists() {
            refuse_reference(&self.reference.to_string_lossy())?;
        }
        match &self.blobs {
            Some(directory) => Reference::in_blobs(directory, &self.reference),
            None => Reference::parse(&self.reference),
        }
    }

    fn in_file(&self, reference: &Reference) -> anyhow::Result<Image> {
        if reference.path == Path::new("-") {
            refuse_terminal()?;
        }
        let image = match &self.platform {
            Some(platform) => Image::open_for(reference, platform),
            None => Image::open(reference),
        };
        image.with_context(|| self.shown())
    }

    fn in_store(
        &self,
        reference: &Reference,
        store: Option<&Store>,
        global: &Global,
    ) -> anyhow::Result<Image> {
        let of_registry = reference.name_in_store();
        let is_forced = reference.transport == Transport::Store || of_registry.is_some();
        let name = match (of_registry, is_forced) {
            (Some(name), _) => name.into(),
            (None, true) => reference.path.to_string_lossy(),
            (None, false) => self.reference.to_string_lossy(),
        };
        let found = match store {
            Some(store) => self.find(store, &name)?,
            None if is_forced => return Err(global.no_store().into()),
            None => None,
        };
        Ok(match found {
            Some(image) => image,
            None if is_forced => {
                let text = format!(
                    "no image in the store is named {}",
                    display(name.as_bytes())
                );
                let advice = match reference.transport {
                    Transport::Store => Advice::ListImages,
                    _ => Advice::Unpack,
                };
                return Err(Error::not_found(text).hint(advice).into());
            }
            None => return Err(self.nowhere(reference, store).into()),
        })
    }

    fn find(&self, store: &Store, name: &str) -> Result<Option<Image>> {
        let Some((one, digest)) = store.find_in_each(name)? else {
            return Ok(None);
        };
        let image = one.open_image(&digest)?;
        let wanted = self.platform.as_ref().zip(image.platform.as_ref());
        match wanted {
            Some((wanted, built_for)) if wanted.distance(built_for).is_none() => {
                let text = format!(
                    "{} in the store is for {built_for}, not {wanted}",
                    display(name.as_bytes())
                );
                Err(Error::not_found(text).hint(Advice::Unpack))
            }
            _ => Ok(Some(image)),
        }
    }

    /// The error for a text that is neither a file nor a name: with what may have been meant.
    fn nowhere(&self, reference: &Reference, store: Option<&Store>) -> Error {
        let text = format!("{}: neither a file nor an image in the store", self.shown());
        let error = Error::not_found(text);
        let wanted = self.reference.to_string_lossy();
        let names = store
            .and_then(|store| store.names().ok())
            .unwrap_or_default();
        match closest(&wanted, names.into_keys()).or_else(|| beside(&reference.path)) {
            Some(name) => error.hint(format!("did you mean {name}?")),
            None => error.hint(perhaps_in_registry(&wanted)),
        }
    }

    fn shown(&self) -> String {
        display(self.reference.as_encoded_bytes()).to_string()
    }
}

/// Where an image may be that is neither a file nor in the store.
fn perhaps_in_registry(wanted: &str) -> Hint {
    #[cfg(feature = "registry")]
    if !is_archive_name(Path::new(wanted)) && crate::registry::Name::parse(wanted).is_ok() {
        return Advice::PerhapsInRegistry.with(wanted);
    }
    let _ = wanted;
    Advice::NeitherFileNorName.into()
}

fn is_in_store(reference: &Reference) -> bool {
    reference.transport == Transport::Store || reference.may_be_in_store()
}

/// The file beside one that does not exist that may have been meant, as the user would spell it.
fn beside(missing: &Path) -> Option<String> {
    let (parent, name) = (missing.parent()?, missing.file_name()?.to_str()?);
    let directory = match parent.as_os_str().is_empty() {
        true => Path::new("."),
        false => parent,
    };
    let entries = directory.read_dir().into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let meant = parent.join(closest(name, names)?);
    Some(display(meant.as_os_str().as_encoded_bytes()).to_string())
}
