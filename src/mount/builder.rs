//! `MountBuilder`: mounts a [`Stack`], with what the caller chose.
//!
//! The command line and [`crate::engines::bundle`] call it. While it works, nothing is removed from the
//! stores that the layers are in.

use std::path::Path;

use crate::error::{Advice, Error, Result};
use crate::ids::IdMaps;
use crate::progress::Silent;
use crate::store::StoreLock;
use crate::store::stack::Stack;

use super::claim::Claim;
use super::upper::{self, Like};
use super::{
    Method, MountOptions, Upper, UserNamespace, attach, blamed, check_places, classic, configured,
    idmap, place, record,
};

/// A mount of a [`Stack`] in the making: read-only, with the ids that the layers have, unless it is
/// told otherwise.
///
/// ```no_run
/// use lowerdir::mount::{MountBuilder, MountOptions, Upper, umount};
/// use lowerdir::{Image, Store};
///
/// let image = Image::open(&"alpine.tar".parse()?)?;
/// let stack = Store::open("/var/lib/lowerdir")?.stack(&image)?;
///
/// MountBuilder::new(&stack)
///     .upper(Upper::Tmpfs { size: None })
///     .options(MountOptions::new(["nosuid".parse()?, "xino=on".parse()?])?)
///     .mount("/mnt")?;
/// umount("/mnt")?;
/// # Ok::<(), lowerdir::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "it mounts nothing until `mount` is called"]
pub struct MountBuilder<'a> {
    stack: &'a Stack,
    upper: Upper,
    options: MountOptions,
    namespace: Option<&'a UserNamespace>,
}

impl Stack {
    /// Mounts the stack read-only on a directory. [`MountBuilder`] does the same with changes, mount
    /// options or other ids. Errors: as of [`MountBuilder::mount`].
    pub fn mount(&self, target: impl AsRef<Path>) -> Result<Method> {
        MountBuilder::new(self).mount(target)
    }
}

impl<'a> MountBuilder<'a> {
    /// A read-only mount.
    pub fn new(stack: &'a Stack) -> MountBuilder<'a> {
        MountBuilder {
            stack,
            upper: Upper::None,
            options: MountOptions::default(),
            namespace: None,
        }
    }

    /// Where changes go.
    pub fn upper(mut self, upper: Upper) -> Self {
        self.upper = upper;
        self
    }

    /// Options as of `mount -o`.
    pub fn options(mut self, options: MountOptions) -> Self {
        self.options = options;
        self
    }

    /// Shows the ids of a user namespace: user 0 of the image is the host's user that is 0 there. The
    /// layers in the store stay as they are, so that one copy serves every user namespace; what is not
    /// in the store is shown as it is. Changes are written with the ids that are shown.
    ///
    /// ```no_run
    /// use std::process::Command;
    ///
    /// use lowerdir::ids::{IdMap, IdMaps};
    /// use lowerdir::mount::{MountBuilder, UserNamespace};
    /// # let image = lowerdir::Image::open(&"alpine.tar".parse()?)?;
    /// # let stack = lowerdir::Store::open("/var/lib/lowerdir")?.stack(&image)?;
    ///
    /// let map = IdMap::new(vec!["0:100000:65536".parse()?])?;
    /// let ids = IdMaps { uids: map.clone(), gids: map };
    /// // A program that calls `hold_user_namespace`.
    /// let mut holder = Command::new("/usr/bin/lowerdir");
    /// holder.arg("hold-user-namespace");
    /// let namespace = UserNamespace::new(&ids, holder)?;
    /// MountBuilder::new(&stack).user_namespace(&namespace).mount("/mnt")?;
    /// # Ok::<(), lowerdir::Error>(())
    /// ```
    pub fn user_namespace(mut self, namespace: &'a UserNamespace) -> Self {
        self.namespace = Some(namespace);
        self
    }

    /// Mounts it, and says by which calls.
    ///
    /// Errors: what the system says, with what the kernel wrote to the mount's own log
    /// ([`Kind::System`](crate::Kind::System)); directories for changes that are in use, or that
    /// overlayfs cannot use; options that mean nothing for such a mount
    /// ([`Kind::Usage`](crate::Kind::Usage)); too many layers for one page, where the kernel
    /// takes no more ([`Kind::Limit`](crate::Kind::Limit)); with a user namespace also that the
    /// store's file system or the kernel cannot map ids, that the caller is not root of the whole
    /// system, or that the layers were unpacked with other ids
    /// ([`Kind::Conflict`](crate::Kind::Conflict)).
    pub fn mount(self, target: impl AsRef<Path>) -> Result<Method> {
        self.options.check(self.stack, &self.upper)?;
        let target = target.as_ref();
        if self.namespace.is_some() && !self.stack.ids().is_empty() {
            let text = "the layers were unpacked with id maps: --idmap would map them twice";
            return Err(Error::conflict(text).hint(Advice::UnmappedStore));
        }
        check_places(target, &self.upper)?;
        let target = place(target)?;
        let _lock = StoreLock::shared(self.stack.stores(), &Silent)?;
        match self.namespace {
            Some(namespace) => self.mount_idmapped(&target, namespace),
            None => self.mount_plain(&target),
        }
    }

    fn mount_plain(&self, target: &Path) -> Result<Method> {
        let (stack, options) = (self.stack, &self.options);
        let ids = IdMaps::default();
        let record = record(stack, &ids);
        let claim = Claim {
            stack,
            target: Some(target),
            record: &record,
        };
        let like = Like::root_of(stack, &[], &ids);
        let prepared = upper::prepare(&self.upper, like, &claim, target)?;
        let directories = prepared.directories();
        let configured = configured::mount(stack, directories, options);
        let Some(mounted) = configured.map_err(|error| blamed(error, stack, directories))? else {
            let mounted = classic::mount(stack, directories, options, target);
            mounted.map_err(|error| blamed(error, stack, directories))?;
            prepared.keep();
            return Ok(Method::Classic);
        };
        attach(mounted, prepared, target)?;
        Ok(Method::Configured)
    }

    fn mount_idmapped(&self, target: &Path, namespace: &UserNamespace) -> Result<Method> {
        let (stack, options) = (self.stack, &self.options);
        let record = record(stack, namespace.ids());
        let claim = Claim {
            stack,
            target: Some(target),
            record: &record,
        };
        let like = Like::root_of(stack, stack.stores(), namespace.ids());
        let prepared = upper::prepare(&self.upper, like, &claim, target)?;
        let directories = prepared.directories();
        let has_layers = |store: &&Path| {
            let mut layers = stack.directories().iter();
            layers.any(|layer| layer.starts_with(store))
        };
        let stores = stack.stores().iter().map(|store| store.as_path());
        let stores: Vec<&Path> = stores.filter(has_layers).collect();
        let mounted = idmap::in_mapped_stores(&stores, namespace, || {
            configured::mount(stack, directories, options)
        });
        let mounted = mounted.map_err(|error| blamed(error, stack, directories))?;
        let Some(mounted) = mounted else {
            let text = "--idmap needs the mount option `lowerdir+`, which this kernel or a seccomp filter denies";
            return Err(Error::unsupported(text).hint("Linux 6.7 has it"));
        };
        attach(mounted, prepared, target)?;
        Ok(Method::Configured)
    }
}
