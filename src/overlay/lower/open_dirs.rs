//! `OpenDirs`: directories of the layers below that are kept open, because what is looked up next
//! is mostly in the same place or just above it.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use crate::fs::descriptors;
use crate::fs::root::Dir;
use crate::path::EntryPath;

/// Directories that are kept open, where the process may open so many files and more.
const MOST: usize = 128;

/// The same directory in several layers, and others: those that were used last at the front.
#[derive(Default)]
pub struct OpenDirs(VecDeque<(EntryPath, InLayers)>);

type InLayers = Vec<(usize, Rc<Dir>)>;

impl OpenDirs {
    /// A directory of a layer, opened if it is not.
    pub fn get(
        &mut self,
        layer: usize,
        path: &EntryPath,
        open: impl FnOnce() -> io::Result<Dir>,
    ) -> io::Result<Rc<Dir>> {
        let known = self.0.iter().position(|(known, _)| known == path);
        match known.and_then(|known| self.0.remove(known)) {
            Some(found) => self.0.push_front(found),
            None => self.0.push_front((path.clone(), Vec::new())),
        }
        let same = |(known, _): &&(usize, Rc<Dir>)| *known == layer;
        if let Some((_, directory)) = self.0[0].1.iter().find(same) {
            return Ok(Rc::clone(directory));
        }
        let directory = Rc::new(open()?);
        self.0[0].1.push((layer, Rc::clone(&directory)));
        self.close_some();
        Ok(directory)
    }

    fn close_some(&mut self) {
        let count = |(_, directories): &(EntryPath, InLayers)| directories.len();
        let most = descriptors::cached(MOST);
        while self.0.iter().map(count).sum::<usize>() > most && self.0.len() > 1 {
            self.0.pop_back();
        }
        // Of a deep stack only the layers that were used last.
        let directories = &mut self.0[0].1;
        let excess = directories.len().saturating_sub(most);
        directories.drain(..excess);
    }
}
