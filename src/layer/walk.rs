//! `PathWalk`: resolves a path through symbolic links and `..`, inside the root (rules N4, N5).
//!
//! It knows no tree: its caller looks up each name in the current directory, and then either enters a
//! directory or follows a link. The directories from the root down are kept as a stack, so a step costs
//! O(1) and a path O(depth). The result is a directory in the caller's tree, never a path to be resolved
//! again. Pure.

use crate::error::{Error, Result};
use crate::path::{EntryPath, NAME_MAX};

use super::marker;

/// More symbolic links than this on one path are a loop, as in the kernel (`MAXSYMLINKS`).
const MAX_SYMLINKS: u32 = 40;
/// Steps through symbolic links that any layer may take.
const STEPS: u64 = 1 << 20;
/// Additional steps for each entry of the layer.
const STEPS_OF_ENTRY: u64 = 256;

/// The total number of steps through symbolic links for the paths of one layer: otherwise 40 links of
/// 4 KiB would make an entry as expensive as thousands.
#[derive(Clone, Debug)]
pub struct Steps {
    left: u64,
}

impl Default for Steps {
    fn default() -> Steps {
        Steps { left: STEPS }
    }
}

impl Steps {
    /// The layer has one more entry.
    pub fn allow_entry(&mut self) {
        self.left += STEPS_OF_ENTRY;
    }

    fn take(&mut self, steps: u64) -> Result<()> {
        match self.left.checked_sub(steps) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Error::limit(
                "its paths take too many steps through symbolic links",
            )),
        }
    }
}

/// The resolution of a path, where `Place` is a directory in the caller's tree.
pub struct PathWalk<Place> {
    root: Place,
    /// The directories from below the root to the current one, with their names.
    entered: Vec<(Box<[u8]>, Place)>,
    /// Bytes of the path to there.
    length: usize,
    /// The components still to come, `..` among them, the next one last.
    todo: Vec<Box<[u8]>>,
    /// How many of them are from the path itself, not from a symbolic link.
    own: usize,
    is_own: bool,
    links: u32,
}

impl<Place: Copy> PathWalk<Place> {
    /// Begins at the root.
    pub fn new(root: Place, path: &EntryPath) -> PathWalk<Place> {
        let todo = reversed(path.as_bytes());
        PathWalk {
            root,
            entered: Vec::new(),
            length: 0,
            own: todo.len(),
            todo,
            is_own: true,
            links: 0,
        }
    }

    /// The current directory.
    pub fn here(&self) -> Place {
        self.entered.last().map_or(self.root, |(_, place)| *place)
    }

    /// The real path of that directory.
    pub fn path(&self) -> EntryPath {
        EntryPath::from_components(self.entered.iter().map(|(name, _)| &**name))
    }

    /// The next name to look up there; handles `..` itself.
    pub fn next_name(&mut self) -> Option<Box<[u8]>> {
        while let Some(name) = self.todo.pop() {
            self.is_own = self.todo.len() < self.own;
            self.own = self.own.min(self.todo.len());
            if &*name != b".." {
                return Some(name);
            }
            if let Some((name, _)) = self.entered.pop() {
                self.length -= name.len() + 1;
            }
        }
        None
    }

    /// How many components of the path itself come after the last name; `None` if that name came from a
    /// symbolic link.
    pub fn left(&self) -> Option<usize> {
        self.is_own.then_some(self.own)
    }

    /// Enters the directory of that name.
    ///
    /// Errors ([`Kind::Limit`](crate::Kind::Limit)): its path is longer than the system takes.
    pub fn enter(&mut self, name: Box<[u8]>, place: Place) -> Result<()> {
        self.length += name.len() + 1;
        self.entered.push((name, place));
        EntryPath::check_length(self.length - 1, || self.path())
    }

    /// Follows a symbolic link; false if there were too many.
    ///
    /// Errors: a component that no layer may spell (rule N5); the layer's steps are used up
    /// ([`Kind::Limit`](crate::Kind::Limit)).
    pub fn follow(&mut self, target: &[u8], steps: &mut Steps) -> Result<bool> {
        let components = target.iter().filter(|&&byte| byte == b'/').count() + 1;
        steps.take(components as u64)?;
        check_components(target)?;
        self.links += 1;
        if target.starts_with(b"/") {
            self.entered.clear();
            self.length = 0;
        }
        self.todo.extend(reversed(target));
        Ok(self.links <= MAX_SYMLINKS)
    }
}

/// Rule N5: a link may not lead to a name that a layer may not spell, because it could then be created.
fn check_components(target: &[u8]) -> Result<()> {
    let why = target.split(|&byte| byte == b'/').find_map(|component| {
        if component.len() > NAME_MAX {
            Some("a symbolic link leads to a name of over 255 bytes")
        } else if component.starts_with(marker::PREFIX) {
            Some("a symbolic link leads to a name that starts with .wh., which means a deletion")
        } else {
            None
        }
    });
    why.map_or(Ok(()), |why| Err(Error::refused(why)))
}

/// The components of a path, without empty ones and `.`, the first one last.
fn reversed(path: &[u8]) -> Vec<Box<[u8]>> {
    let components = path.split(|&byte| byte == b'/').rev();
    let components = components.filter(|component| !matches!(*component, b"" | b"."));
    components.map(Into::into).collect()
}
