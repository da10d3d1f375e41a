//! `LayerRoot`: where a layer's directory is, so that it can be opened when it is needed.

use std::io;
use std::sync::Arc;

use crate::error::Error;
use crate::fs::root::Dir;
use crate::path::EntryPath;

/// A layer's directory: open, or below one that is, which may be that of many layers.
#[derive(Clone, Debug)]
pub struct LayerRoot {
    near: Arc<Dir>,
    path: EntryPath,
    name: Option<Box<str>>,
}

impl LayerRoot {
    /// The directory at a path, which is opened when it is needed, and closed again where a stack has
    /// many layers.
    pub fn beneath(near: Arc<Dir>, path: EntryPath) -> LayerRoot {
        LayerRoot {
            near,
            path,
            name: None,
        }
    }

    /// Gives it a name, which errors then say.
    #[must_use]
    pub fn called(self, name: impl Into<Box<str>>) -> LayerRoot {
        LayerRoot {
            name: Some(name.into()),
            ..self
        }
    }

    /// Opens it.
    ///
    /// Errors: the system's.
    pub fn open(&self) -> io::Result<Arc<Dir>> {
        match self.path.is_root() {
            true => Ok(Arc::clone(&self.near)),
            false => self.near.open_beneath(&self.path).map(Arc::new),
        }
    }

    /// Says of an error that it is in this layer, if it has a name.
    pub(super) fn named(&self, error: Error) -> Error {
        match &self.name {
            Some(name) => error.in_layer(name),
            None => error,
        }
    }
}

impl From<Arc<Dir>> for LayerRoot {
    fn from(dir: Arc<Dir>) -> LayerRoot {
        LayerRoot::beneath(dir, EntryPath::root())
    }
}
