//! `Wanted`: what the caller of [`write()`] chose.

use crate::mount::{Upper, UserNamespace};
use crate::setters::setters;
use crate::store::Sync;

#[cfg(doc)]
use super::{SCRIPT, write};

/// Who mounts the layers on `rootfs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlay {
    /// [`write()`], at once. Every runtime takes that. The mount ends with `umount`, or a reboot.
    Mounted,
    /// A script in the bundle, [`SCRIPT`], which mounts them in a mount namespace of its own and runs
    /// the runtime there. Every runtime takes that, also without root.
    Script,
    /// The runtime: the mount on `/` comes first in `config.json`. runc from 1.3 on and crun 1.21
    /// refuse it (runc issue 5070).
    InConfig,
    /// Somebody else, before the container is started, by a command for a POSIX shell.
    Command,
    /// The same by a line of fstab(5).
    Fstab,
    /// The same by a systemd mount unit.
    Unit,
}

const NO_CHANGES: &Upper = &Upper::None;

/// What a bundle is to be.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Wanted<'a> {
    /// Where changes go. [`Upper::None`] makes the container's root read-only.
    pub upper: &'a Upper,
    /// Who mounts the layers.
    pub overlay: Overlay,
    /// What to run in the place of the image's `Cmd`; empty for just that.
    pub command: &'a [String],
    /// Whether the process gets a terminal.
    pub terminal: bool,
    /// The user namespace of the container, if [`write()`] mounts the layers with its ids.
    pub idmap: Option<&'a UserNamespace>,
    /// Annotations to add to the image's own, or to put in their place: names with their values.
    pub annotations: &'a [(String, String)],
    /// Whether who is not root is to run it: in a user namespace with the caller alone, and with the
    /// host's network.
    pub rootless: bool,
    /// Whether the bundle is on disk before this counts as done.
    pub sync: Sync,
}

impl Default for Wanted<'_> {
    /// What the image says, on a root that is read-only and mounted at once.
    fn default() -> Self {
        Wanted {
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

impl<'a> Wanted<'a> {
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
