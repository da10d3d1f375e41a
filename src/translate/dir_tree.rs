//! `DirTree`: the directories of the layer that is being translated, as unpacking would make them.
//! Its leaves are known to [`super::to_overlay`].

use std::collections::BTreeMap;

use crate::meta::Meta;
use crate::path::EntryPath;

/// Every directory of the layer, the root among them, parents before children.
#[derive(Debug)]
pub(super) struct DirTree(BTreeMap<EntryPath, DirNode>);

/// One directory.
#[derive(Debug, Default)]
pub(super) struct DirNode {
    /// What its entry says; `None` while it is only implied by something below it.
    pub meta: Option<Box<Meta>>,
    /// It took the place of something that this layer had put there before, and that had hidden
    /// what is below.
    pub replaces: bool,
    /// So did it, or a directory above it.
    is_in_replaced: bool,
}

impl DirNode {
    /// A directory that is new, with what its entry says.
    pub fn new(meta: Option<Box<Meta>>, replaces: bool) -> DirNode {
        DirNode {
            meta,
            replaces,
            is_in_replaced: replaces,
        }
    }
}

impl DirTree {
    /// A layer with nothing but its root, implied.
    pub fn of_root() -> DirTree {
        DirTree(BTreeMap::from([(EntryPath::root(), DirNode::default())]))
    }

    /// Whether this path is a directory of the layer.
    pub fn contains(&self, path: &EntryPath) -> bool {
        self.0.contains_key(path)
    }

    /// A directory of the layer.
    pub fn get(&self, path: &EntryPath) -> Option<&DirNode> {
        self.0.get(path)
    }

    /// Gives a directory that is there its entry's attributes; false if it is not there.
    pub fn describe(&mut self, path: &EntryPath, meta: &Meta) -> bool {
        let node = self.0.get_mut(path);
        node.map(|node| node.meta = Some(Box::new(meta.clone())))
            .is_some()
    }

    /// Adds a directory; the one above it is there.
    pub fn insert(&mut self, path: EntryPath, mut node: DirNode) {
        node.is_in_replaced |= self.hides_below(&path);
        self.0.insert(path, node);
    }

    /// Forgets a directory and all below it.
    pub fn remove(&mut self, path: &EntryPath) {
        let below: Vec<EntryPath> = self
            .0
            .range(path..)
            .map(|(known, _)| known)
            .take_while(|known| *known == path || known.is_below(path))
            .cloned()
            .collect();
        for path in below {
            self.0.remove(&path);
        }
    }

    /// Whether something that this layer did on the way to `path` hides whatever the layers
    /// below have there.
    pub fn hides_below(&self, path: &EntryPath) -> bool {
        // The nearest directory that is there knows of those above it.
        let mut nearest = std::iter::once(path.clone()).chain(path.ancestors());
        let nearest = nearest.find_map(|above| self.0.get(&above));
        nearest.is_some_and(|node| node.is_in_replaced)
    }

    /// All directories, parents before children.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&EntryPath, &DirNode)> {
        self.0.iter()
    }
}
