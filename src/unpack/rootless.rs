//! The options for who is not root, or only in a user namespace: what the kernel allows is found out.
//!
//! Source: `user_namespaces(7)`; the kernel lets anybody make whiteout devices since 5.8, if no seccomp
//! filter denies it.

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
    /// What a process without privilege can do with files in this directory, which is tried:
    /// `user.overlay.*`; devices as whiteouts where they can be made; the image's owners where there
    /// are several ids to choose from.
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

/// A namespace of one user has nobody to give files to.
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
