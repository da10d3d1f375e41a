//! Where a directory lies in its file system, and which other mounts show it: `mount --bind` gives one
//! directory several paths. [`crate::repack::convert`](mod@crate::repack::convert) and [`crate::store`] ask here.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::path;

use super::tables::{Table, tables, unescaped};

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// Where in its file system a path lies, whatever of that is mounted where. `path` is absolute and has no
/// symbolic links. `None` if `/proc` does not say.
pub fn place_in_file_system(path: &Path) -> Option<PathBuf> {
    let own = Table::own().ok()?;
    own.locate(path).map(|(_, place)| place)
}

/// Refuses a directory that is mounted elsewhere, itself or something below it, as by `mount --bind`: those
/// mounts would keep the old one. `directory` is absolute and has no symbolic links. Errors
/// ([`Kind::Conflict`](crate::Kind::Conflict)): it is.
pub fn refuse_bind_mounted(directory: &Path) -> Result<()> {
    let tables = tables().map_err(|error| Error::system("reading the mount tables", error))?;
    let own = tables.iter().find(|table| table.is_own());
    let Some((device, root)) = own.and_then(|own| own.locate(directory)) else {
        return Ok(());
    };
    for line in tables.iter().flat_map(Table::lines) {
        if line.device == device && as_path(&unescaped(line.root)).starts_with(&root) {
            let target = path::display(&unescaped(line.target)).to_string();
            let text = format!("it is mounted on {target} too, which would keep the old tree");
            return Err(Error::conflict(text).hint("unmount that first"));
        }
    }
    Ok(())
}
