//! Removes a tree of any depth. A container can create directories deeper than the longest path: those that
//! are too deep are moved up, beside the tree, and removed first.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::error::{Error, Kind};
use crate::fs::root::{Dir, is_absent};
use crate::path::EntryPath;

/// The length of a path, in bytes, at which a directory is moved up: half of the maximum.
const DEEP: usize = 2048;

/// Removes a name from a directory, and everything below it. No error if it is absent. Directories that it
/// moves up get this name with a dot and a number.
pub fn remove(directory: &Dir, name: &str) -> io::Result<()> {
    let mut names = vec![name.to_string()];
    while let Some(last) = names.last() {
        match directory.remove_tree(last.as_bytes()) {
            Ok(()) => {
                names.pop();
            }
            Err(error) if is_too_deep(&error) => {
                let up = free_name(directory, name)?;
                match move_up(directory, last, &up)? {
                    true => names.push(up),
                    false => return Err(error),
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The snapshot that a name belongs to, which may be a directory that was moved up.
pub fn id_of(name: &[u8]) -> Option<u64> {
    let name = std::str::from_utf8(name).ok()?;
    let (id, number) = name.split_once('.').unwrap_or((name, "0"));
    number.parse::<u64>().ok()?;
    id.parse().ok()
}

fn is_too_deep(error: &io::Error) -> bool {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    let is_long = error.raw_os_error() == Some(Errno::NAMETOOLONG.raw_os_error());
    is_long || inner.is_some_and(|inner| inner.kind() == Kind::Limit)
}

fn free_name(directory: &Dir, name: &str) -> io::Result<String> {
    for number in 1.. {
        let free = format!("{name}.{number}");
        if directory.stat(free.as_bytes())?.is_none() {
            return Ok(free);
        }
    }
    unreachable!("there are enough names")
}

/// Finds a directory deep below `name`, and renames it to `up`, beside `name`.
fn move_up(directory: &Dir, name: &str, up: &str) -> io::Result<bool> {
    let top = directory.open_beneath(&EntryPath::parse(name.as_bytes())?)?;
    let mut todo = vec![EntryPath::root()];
    while let Some(path) = todo.pop() {
        let inside = match top.open_beneath(&path) {
            Err(error) if is_absent(&error) => continue,
            other => other?,
        };
        for child in inside.names()? {
            let stat = inside.stat(&child)?;
            if !stat.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir()) {
                continue;
            }
            if path.as_bytes().len() + child.len() >= DEEP {
                rustix::fs::renameat(inside.as_fd(), &*child, directory, up)?;
                return Ok(true);
            }
            todo.push(path.join(&child)?);
        }
    }
    Ok(false)
}
