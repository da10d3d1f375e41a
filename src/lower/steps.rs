//! `Steps`: the components that a path is still to go through, those of symbolic links on its way
//! among them. Where they lead, [`super::Below`] and [`crate::view`] say.

use super::reversed;

/// The components still to come, `..` among them; without empty ones and `.`.
pub struct Steps {
    /// The next one last.
    todo: Vec<Box<[u8]>>,
    /// How many of them are the path's own.
    own: usize,
    is_own: bool,
}

impl Steps {
    /// Begins at the root.
    pub fn new(path: &[u8]) -> Steps {
        let todo = reversed(path);
        let own = todo.len();
        Steps {
            todo,
            own,
            is_own: true,
        }
    }

    /// Puts the target of a symbolic link before what is still to come.
    pub fn follow(&mut self, target: &[u8]) {
        self.todo.extend(reversed(target));
    }

    /// How many components of the path itself come after the last one; `None` if that one was of a
    /// symbolic link.
    pub fn left(&self) -> Option<usize> {
        self.is_own.then_some(self.own)
    }
}

impl Iterator for Steps {
    type Item = Box<[u8]>;

    fn next(&mut self) -> Option<Box<[u8]>> {
        let name = self.todo.pop()?;
        self.is_own = self.todo.len() < self.own;
        self.own = self.own.min(self.todo.len());
        Some(name)
    }
}
