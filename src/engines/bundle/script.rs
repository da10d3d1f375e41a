//! `with-rootfs`, a shell script in a bundle: it mounts the layers on `rootfs` in a mount namespace of
//! its own and runs its arguments there, such as `runc run`. The mount ends with the container.
//!
//! Called by [`super::write()`] for [`Overlay::Script`](super::Overlay::Script). Without root, the script
//! needs a user namespace, and the runtime starts inside it. This module also has the commands that run a
//! bundle.

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
    /// The POSIX shell command that runs it. `directory` is a path to the bundle; the last word is a
    /// placeholder for the container's name.
    pub fn run_command(&self, directory: &Path) -> String {
        let run = format!("runc run --bundle {} NAME", word(directory));
        match self.overlay {
            Overlay::Script => format!("{} {run}", word(&directory.join(NAME))),
            _ => run,
        }
    }

    /// The command that unmounts it, if it has a mount of its own.
    pub fn umount_command(&self, directory: &Path) -> Option<String> {
        let rootfs = word(&directory.join(ROOTFS));
        (self.overlay == Overlay::Mounted).then(|| format!("lowerdir umount {rootfs}"))
    }
}

/// A path, quoted for a shell.
fn word(path: &Path) -> String {
    String::from_utf8_lossy(&quoted(path.as_os_str())).into_owned()
}

/// The script's name in the bundle.
pub const NAME: &str = "with-rootfs";

/// Writes the script. `mount` is the shell command that mounts the layers.
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
