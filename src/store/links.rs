//! `ShortNames`: symlinks in the store's `l`, so that the names of many layers fit into the one page of
//! options of `mount(2)`: at five characters per layer, 500 layers take 3000 bytes.
//!
//! [`crate::mount`] uses them; nothing else depends on them, and they may be removed.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::fs::root::Dir;

use super::Store;

/// The length of a name, unless it is taken.
const SHORT: usize = 5;

/// How many digits of the chain ID other programs' names for a layer have, as in an additional image
/// store: a mount that shows such a name uses that layer.
pub const NAME_ELSEWHERE: usize = 26;

/// Short names for layer directories, in their order.
#[derive(Clone, Debug)]
pub struct ShortNames {
    /// The directory that the names are in.
    pub directory: PathBuf,
    /// Hexadecimal digits only, so that nothing has to be escaped.
    pub names: Vec<String>,
}

impl Store {
    /// Short names for directories, in these stores or with an absolute path. A name is derived from its
    /// target, so every process finds the same one. Errors: this store can only be read.
    pub(crate) fn short_names(&self, directories: &[PathBuf]) -> Result<ShortNames> {
        self.check_writable()?;
        let links = self.open_dir("l")?;
        let names = directories
            .iter()
            .map(|layer| self.short_name(&links, layer))
            .collect::<Result<Vec<String>>>()?;
        let directory = self.path.join("l");
        Ok(ShortNames { directory, names })
    }

    /// The layers that the short names lead to.
    pub(crate) fn short_name_targets(&self) -> Result<BTreeMap<Vec<u8>, Digest>> {
        let links = self.open_dir("l")?;
        let reading = |error| Error::system("reading the short names", error);
        let mut targets = BTreeMap::new();
        for name in links.names().map_err(reading)? {
            let target = match links.read_link(&name) {
                // What is no link is not ours.
                Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => continue,
                other => other.map_err(reading)?,
            };
            let target = String::from_utf8_lossy(&target);
            let mut parts = target.rsplit('/').skip(1);
            if let (Some(hex), Some(algorithm)) = (parts.next(), parts.next())
                && let Ok(layer) = Digest::parse(&format!("{algorithm}:{hex}"))
            {
                targets.insert(name.into(), layer);
            }
        }
        Ok(targets)
    }

    fn short_name(&self, links: &Dir, layer: &Path) -> Result<String> {
        let target = match layer.strip_prefix(&self.path) {
            Ok(inside) => Path::new("..").join(inside),
            Err(_) => layer.into(),
        };
        let target = target.as_os_str().as_bytes();
        let digest = Digest::of(target);
        for length in SHORT..digest.hex().len() {
            let name = &digest.hex()[..length];
            match links.make_symlink(name.as_bytes(), target) {
                Ok(()) => return Ok(name.into()),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let there = links.read_link(name.as_bytes());
                    if there.is_ok_and(|there| there == target) {
                        return Ok(name.into());
                    }
                }
                Err(error) => {
                    return Err(Error::system(
                        format!("making the short name {name}"),
                        error,
                    ));
                }
            }
        }
        Err(Error::conflict("there is no short name left"))
    }
}
