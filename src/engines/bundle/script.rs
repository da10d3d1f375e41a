//! `with-rootfs`, a shell script in a bundle: it mounts the layers on `rootfs` in a mount namespace of
//! its own and runs its arguments there, such as `runc run`. The mount ends with the container.
//!
//! Called by [`super::write()`] for [`Overlay::Script`](super::Overlay::Script). Without root, the mount
//! takes a user namespace, which the runtime then starts in. The commands for a bundle are here as well.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use crate::error::Result;
use crate::fs::root::{self, Dir};
use crate::mount::quoted;
use crate::unpack::system;

use super::{Bundle, Overlay, ROOTFS};

impl Bundle {
    /// What runs it, for a POSIX shell, where `directory` is a path to it; the last word, the
    /// container's name, is to be replaced.
    pub fn run_command(&self, directory: &Path) -> String {
        let run = format!("runc run --bundle {} NAME", word(directory));
        match self.overlay {
            Overlay::Script => format!("{} {run}", word(&directory.join(NAME))),
            _ => run,
        }
    }

    /// What takes its mount down, likewise, if it has one of its own.
    pub fn umount_command(&self, directory: &Path) -> Option<String> {
        let rootfs = word(&directory.join(ROOTFS));
        (self.overlay == Overlay::Mounted).then(|| format!("lowerdir umount {rootfs}"))
    }
}

/// A path for a shell.
fn word(path: &Path) -> String {
    String::from_utf8_lossy(&quoted(path.as_os_str())).into_owned()
}

/// Its name in the bundle.
pub const NAME: &str = "with-rootfs";

/// Writes it. `mount` is what a POSIX shell mounts the layers with.
pub fn write(directory: &Dir, mount: &[u8], is_rootless: bool) -> Result<()> {
    let text = text(mount, is_rootless);
    let write = || -> std::io::Result<()> {
        let mut file = directory.make_file(NAME.as_bytes())?;
        file.write_all(&text)?;
        root::set_mode(&file, 0o755)
    };
    write().map_err(|error| system("writing with-rootfs", error))
}

fn text(mount: &[u8], is_rootless: bool) -> Vec<u8> {
    let steps = OsString::from_vec([mount, b"exec \"$@\""].concat());
    let namespaces: &[u8] = match is_rootless {
        true => b"--user --map-root-user --mount",
        false => b"--mount",
    };
    [
        b"#!/bin/sh\n\
          # Mounts the layers on rootfs, in a mount namespace of its own, and runs a command there:\n\
          #   DIR/with-rootfs runc run --bundle DIR NAME\n\
          [ $# -gt 0 ] || { echo \"usage: $0 COMMAND [ARGUMENT...]\" >&2; exit 2; }\n\
          exec unshare ",
        namespaces,
        b" sh -ec ",
        &*quoted(&steps),
        b" sh \"$@\"\n",
    ]
    .concat()
}
