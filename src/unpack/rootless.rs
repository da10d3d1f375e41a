//! The options for use without root or in a user namespace, found by probing what the kernel allows.
//!
//! Source: `user_namespaces(7)`. Since 5.8 the kernel lets any user create whiteout devices, unless a
//! seccomp filter denies it.

use std::path::Path;

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::dialect::{Dialect, Namespace, Whiteout};
use crate::error::{Error, Result};
use crate::fs::root::Dir;
use crate::meta::Device;

use super::{Options, Owners, system};

const PROBE: &[u8] = b".lowerdir-whiteout";

impl Options {
    /// The options for a process without privilege, found by probing in this directory: `user.overlay.*`
    /// xattrs, devices as whiteouts if they can be created, and the image's owners if the user namespace
    /// has several ids.
    ///
    /// ```
    /// use lowerdir::Options;
    /// use lowerdir::options::Namespace;
    ///
    /// let place = tempfile::tempdir()?;
    /// let options = Options::rootless(place.path())?;
    /// assert_eq!(options.dialect.namespace, Namespace::User);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rootless(directory: impl AsRef<Path>) -> Result<Options> {
        let directory = directory.as_ref();
        let opened = Dir::open(directory);
        Options::rootless_in(
            &opened.map_err(|error| {
                Error::system(format!("opening {}", directory.display()), error)
            })?,
        )
    }

    pub(crate) fn rootless_in(directory: &Dir) -> Result<Options> {
        Ok(Options {
            dialect: Dialect {
                whiteout: whiteout(directory)?,
                namespace: Namespace::User,
            },
            owners: owners()?,
            ..Options::default()
        })
    }
}

fn whiteout(directory: &Dir) -> Result<Whiteout> {
    let made = directory
        .make_node(PROBE, FileType::CharacterDevice, Device::WHITEOUT)
        .and_then(|()| directory.remove_file(PROBE));
    match made {
        Ok(()) => Ok(Whiteout::Device),
        Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => {
            Ok(Whiteout::Xattr)
        }
        Err(error) => Err(system("trying to make a whiteout", error)),
    }
}

/// In a user namespace with one id, the caller owns every file.
fn owners() -> Result<Owners> {
    if !rustix::process::geteuid().is_root() {
        return Ok(Owners::Caller);
    }
    for map in ["/proc/self/uid_map", "/proc/self/gid_map"] {
        let text = std::fs::read_to_string(map)
            .map_err(|error| Error::system(format!("reading {map}"), error))?;
        let sizes = text
            .lines()
            .filter_map(|line| line.split_whitespace().nth(2));
        let ids: u64 = sizes.filter_map(|size| size.parse::<u64>().ok()).sum();
        if ids <= 1 {
            return Ok(Owners::Caller);
        }
    }
    Ok(Owners::Image)
}
