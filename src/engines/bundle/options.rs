//! `BundleOptions`: what the caller of [`write()`] chose.

use crate::mount::{Upper, UserNamespace};
use crate::setters::setters;
use crate::store::Sync;

#[cfg(doc)]
use super::{SCRIPT, write};

/// What mounts the layers on `rootfs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overlay {
    /// [`write()`], at once. Works with every runtime. The mount lasts until `umount` or a reboot.
    Mounted,
    /// A script in the bundle, [`SCRIPT`], which mounts them in a mount namespace of its own and starts
    /// the runtime there. Works with every runtime, and without root.
    Script,
    /// The runtime: the mount on `/` comes first in `config.json`. runc 1.3 and later and crun 1.21 refuse
    /// it (runc issue 5070).
    InConfig,
    /// The user, before the container starts, with a command for a POSIX shell.
    Command,
    /// The same with a line for fstab(5).
    Fstab,
    /// The same with a systemd mount unit.
    Unit,
}

const NO_CHANGES: &Upper = &Upper::None;

/// The options of a bundle.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BundleOptions<'a> {
    /// Where changes go. [`Upper::None`] makes the container's root read-only.
    pub upper: &'a Upper,
    /// What mounts the layers.
    pub overlay: Overlay,
    /// What to run instead of the image's `Cmd`; if empty, that.
    pub command: &'a [String],
    /// Whether the process gets a terminal.
    pub terminal: bool,
    /// The user namespace of the container, if [`write()`] is to mount the layers id-mapped.
    pub idmap: Option<&'a UserNamespace>,
    /// Annotations to add to the image's own, or to replace them: names and values.
    pub annotations: &'a [(String, String)],
    /// Whether it is for a runtime without root: in a user namespace with the caller alone, and with the
    /// host's network.
    pub rootless: bool,
    /// Whether to wait until the bundle is on disk.
    pub sync: Sync,
}

impl Default for BundleOptions<'_> {
    /// What the image says, on a root that is read-only and mounted at once.
    fn default() -> Self {
        BundleOptions {
            upper: NO_CHANGES,
            overlay: Overlay::Mounted,
            command: &[],
            terminal: false,
            idmap: None,
            annotations: &[],
            rootless: false,
            sync: Sync::default(),
        }
    }
}

impl<'a> BundleOptions<'a> {
    setters! {
        upper: &'a Upper,
        overlay: Overlay,
        command: &'a [String],
        terminal: bool,
        idmap: Option<&'a UserNamespace>,
        annotations: &'a [(String, String)],
        rootless: bool,
        sync: Sync,
    }
}
