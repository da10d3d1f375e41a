//! `Root`: a layer's directory, and the directories below it by their paths.

use std::io;
use std::sync::Arc;

use crate::fs::descriptors;
use crate::fs::dir_cache::{DirCache, DirPath};
use crate::path::{EntryPath, Trail};

use super::{Dir, Mounts};

/// How many directories are open at most.
const OPEN_MAX: usize = 32;

/// A layer's directory. The directory below it that was used last is held open, and some of those above
/// that: neighbours in an archive are neighbours on disk. So nothing but [`Root::remove`] may put another
/// directory in the place of one.
#[derive(Debug)]
pub struct Root {
    top: Arc<Dir>,
    last: Arc<Dir>,
    /// The path of the one that was used last.
    trail: Trail,
    /// Those on the way to it, by their depth.
    open: DirCache<usize>,
}

impl Root {
    /// Takes a layer's directory.
    pub fn new(top: Dir) -> Root {
        let top = Arc::new(top);
        Root {
            last: Arc::clone(&top),
            top,
            trail: Trail::default(),
            open: DirCache::new(descriptors::cached(OPEN_MAX)),
        }
    }

    /// Takes a directory that stays its owner's. Errors: it cannot be opened again.
    pub fn of(top: &Dir) -> io::Result<Root> {
        Ok(Root::new(top.open_dir(b"", Mounts::Entered)?))
    }

    /// The layer's directory itself.
    pub fn top(&self) -> &Dir {
        &self.top
    }

    /// A directory of the layer, which may be kept open.
    pub fn dir(&mut self, path: &EntryPath) -> io::Result<&Dir> {
        let before = self.trail.depth();
        let kept = self.trail.change(path.as_bytes());
        for depth in kept + 1..=before {
            self.open.forget(depth);
        }
        if kept < before || kept < self.trail.depth() {
            let (top, trail) = (&self.top, &self.trail);
            match self.open.get(trail.depth(), &OnTheWay { top, trail }) {
                Ok(dir) => self.last = dir,
                Err(error) => {
                    self.go_back();
                    return Err(error);
                }
            }
        }
        Ok(&self.last)
    }

    /// The same, for a caller that goes on to other directories before it is done.
    pub fn shared_dir(&mut self, path: &EntryPath) -> io::Result<Arc<Dir>> {
        self.dir(path)?;
        Ok(Arc::clone(&self.last))
    }

    /// Closes all but the layer's directory itself.
    fn go_back(&mut self) {
        self.trail.clear();
        self.open.clear();
        self.last = Arc::clone(&self.top);
    }
}

struct OnTheWay<'a> {
    top: &'a Arc<Dir>,
    trail: &'a Trail,
}

impl DirPath for OnTheWay<'_> {
    type Id = usize;

    fn parent(&self, depth: usize) -> Option<(usize, &[u8])> {
        let above = depth.checked_sub(1)?;
        Some((above, self.trail.component(above)))
    }

    fn open_root(&self, _: usize) -> io::Result<Arc<Dir>> {
        Ok(Arc::clone(self.top))
    }
}

#[cfg(test)]
mod tests {
    use super::{Dir, EntryPath, Root};

    fn path(path: &str) -> EntryPath {
        EntryPath::parse(path.as_bytes()).unwrap()
    }

    #[test]
    fn a_path_leads_to_its_directory_whatever_was_open_before() {
        let scratch = tempfile::tempdir().unwrap();
        for name in ["a/b/c", "a/d", "e"] {
            std::fs::create_dir_all(scratch.path().join(name)).unwrap();
        }
        let mut root = Root::new(Dir::open(scratch.path()).unwrap());
        let paths = [
            "", "a/b/c", "a/b", "a/d", "", "e", "a/none", "", "a/b/c", "e/x/y", "a",
        ];
        for one in paths
            .into_iter()
            .flat_map(|one| paths.map(|other| [one, other]))
            .flatten()
        {
            let found = root.dir(&path(one)).and_then(Dir::stat_self);
            let expected = std::fs::metadata(scratch.path().join(one));
            let inode = |found: std::fs::Metadata| std::os::unix::fs::MetadataExt::ino(&found);
            assert_eq!(
                found.ok().map(|found| found.st_ino),
                expected.ok().map(inode),
                "{one}"
            );
        }
    }
}
