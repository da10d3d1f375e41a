//! From directory to directory, parents first. Deep trees cost memory, not descriptors or stack.

use std::io;

use rustix::fs::{FileType, Stat};

use crate::error::{Error, Operation, Result};
use crate::meta::Xattr;
use crate::path::EntryPath;
use crate::root::Dir;

use super::journal::has_no_xattrs;

/// Calls for each directory below another, itself first.
pub fn each(top: &Dir, mut visit: impl FnMut(&EntryPath, &Dir) -> Result<()>) -> Result<()> {
    let mut todo = vec![EntryPath::root()];
    while let Some(path) = todo.pop() {
        let directory = top
            .open_beneath(&path)
            .map_err(|error| changing(&path, error))?;
        visit(&path, &directory)?;
        todo.extend(subdirectories(&path, &directory)?);
    }
    Ok(())
}

/// The last one first, to be popped in order.
fn subdirectories(path: &EntryPath, directory: &Dir) -> Result<Vec<EntryPath>> {
    let fail = |error| changing(path, error);
    let mut found = Vec::new();
    for name in directory.names().map_err(fail)?.iter().rev() {
        if directory
            .stat(name)
            .map_err(fail)?
            .is_some_and(|stat| is_directory(&stat))
        {
            found.push(path.join(name)?);
        }
    }
    Ok(found)
}

pub fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// The xattrs of a name; none where the file system has none.
pub fn xattrs(directory: &Dir, name: &[u8]) -> io::Result<Vec<Xattr>> {
    match directory.xattrs(name) {
        Err(error) if has_no_xattrs(&error) => Ok(Vec::new()),
        other => other,
    }
}

/// An error of the system's, with what the user can do.
pub fn changing(path: &EntryPath, error: io::Error) -> Error {
    Error::io("converting it", error)
        .at_entry(path)
        .during(Operation::Convert)
}
