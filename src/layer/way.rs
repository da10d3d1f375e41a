//! `Way`: the way that a path takes, with the symbolic links and the `..` on it (rule N4). It never
//! leaves the root.
//!
//! It knows no tree. What each name on it means is said by whoever goes it: [`crate::overlay::lower::Below`] and
//! [`crate::view`] for the layers below, [`crate::unpack`] and [`crate::repack::translate`] for the layer
//! itself.

use crate::error::{Error, Result};
use crate::layer::whiteout;
use crate::path::{EntryPath, NAME_MAX};

/// More symbolic links on one path than this are a loop, as for the kernel.
const MAX_SYMLINKS: u32 = 40;

/// How far one has come, and what is still to be gone.
pub struct Way {
    at: EntryPath,
    /// How many components that has.
    depth: usize,
    /// The components still to come, `..` among them, the next one last.
    todo: Vec<Box<[u8]>>,
    /// How many of them are the path's own.
    own: usize,
    is_own: bool,
    links: u32,
}

impl Way {
    /// Begins at the root.
    pub fn new(path: &EntryPath) -> Way {
        let todo = reversed(path.as_bytes());
        Way {
            at: EntryPath::root(),
            depth: 0,
            own: todo.len(),
            todo,
            is_own: true,
            links: 0,
        }
    }

    /// Where it has come to.
    pub fn at(&self) -> &EntryPath {
        &self.at
    }

    /// How many directories that is below the root.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The next name to be looked up there; `..` it goes by itself.
    pub fn next_name(&mut self) -> Option<Box<[u8]>> {
        while let Some(name) = self.todo.pop() {
            self.is_own = self.todo.len() < self.own;
            self.own = self.own.min(self.todo.len());
            if &*name != b".." {
                return Some(name);
            }
            self.at = self.at.parent().unwrap_or_default();
            self.depth = self.depth.saturating_sub(1);
        }
        None
    }

    /// How many components of the path itself come after the last name; `None` if that was one of
    /// a symbolic link.
    pub fn left(&self) -> Option<usize> {
        self.is_own.then_some(self.own)
    }

    /// Goes on to the path that was looked up.
    pub fn enter(&mut self, path: EntryPath) {
        self.at = path;
        self.depth += 1;
    }

    /// Goes where a symbolic link leads; false if it was one too many. Errors: a component there is
    /// none that a layer may spell (rule N5).
    pub fn follow(&mut self, target: &[u8]) -> Result<bool> {
        check_components(target)?;
        self.links += 1;
        if target.starts_with(b"/") {
            (self.at, self.depth) = (EntryPath::root(), 0);
        }
        self.todo.extend(reversed(target));
        Ok(self.links <= MAX_SYMLINKS)
    }

    /// Where it has come to at its end.
    pub fn end(self) -> EntryPath {
        self.at
    }
}

/// Rule N5: a name that no layer may spell is none that a link may lead to, else it would be made.
fn check_components(target: &[u8]) -> Result<()> {
    let why = target.split(|&byte| byte == b'/').find_map(|component| {
        if component.len() > NAME_MAX {
            Some("a symbolic link leads to a name of over 255 bytes")
        } else if component.starts_with(whiteout::PREFIX) {
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
