//! `Root`: a layer's directory.

use std::io;
use std::sync::Arc;

use crate::path::EntryPath;

use super::Dir;

/// A layer's directory, with the directory below it that was used last held open: neighbours in
/// an archive are neighbours on disk.
#[derive(Debug)]
pub struct Root {
    top: Arc<Dir>,
    last: Option<(EntryPath, Dir)>,
}

impl Root {
    /// Takes a layer's directory.
    pub fn new(top: Dir) -> Root {
        let (top, last) = (Arc::new(top), None);
        Root { top, last }
    }

    /// The layer's directory itself.
    pub fn top(&self) -> &Dir {
        &self.top
    }

    /// The same, for other threads.
    pub fn shared_top(&self) -> Arc<Dir> {
        Arc::clone(&self.top)
    }

    /// A directory of the layer, which may be kept open.
    pub fn dir(&mut self, path: &EntryPath) -> io::Result<&Dir> {
        if path.is_root() {
            return Ok(&self.top);
        }
        let is_last = matches!(&self.last, Some((last, _)) if last == path);
        if !is_last {
            let directory = self.top.open_beneath(path)?;
            self.last = Some((path.clone(), directory));
        }
        Ok(&self.last.as_ref().expect("just filled").1)
    }

    /// Removes a name with all below it.
    pub fn remove(&mut self, directory: &EntryPath, name: &[u8]) -> io::Result<()> {
        self.dir(directory)?.remove_tree(name)?;
        // What was open may have been below it.
        self.last = None;
        Ok(())
    }
}
