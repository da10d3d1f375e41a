//! The real path of a file that need not exist yet: the path that it would have once it is created.
//!
//! Called for output paths from the user, before anything is written.

use std::io;
use std::path::{Path, PathBuf};

/// As many symbolic links as the kernel follows (`MAXSYMLINKS`).
const LINKS_MAX: usize = 40;

/// The absolute path, without symbolic links, at which `path` would be created: a dangling link leads to
/// its target, and missing directories stay as they are spelled. Errors: the system's.
pub fn real_path(path: &Path) -> io::Result<PathBuf> {
    let mut path = std::path::absolute(path)?;
    for _ in 0..LINKS_MAX {
        match path.canonicalize() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(path);
        };
        let parent = real_path(parent)?;
        match std::fs::read_link(&path) {
            Ok(target) => path = parent.join(target),
            Err(_) => return Ok(parent.join(name)),
        }
    }
    Err(rustix::io::Errno::LOOP.into())
}
