//! Applies one layer to the tree of the layers below it: the sink that carries out the actions of a layer
//! in memory. [`crate::layer`] decides what each entry means; then the layer's own tree is merged into the
//! one below, as overlayfs would merge the directories.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::error::Result;
use crate::layer::action::Action;
use crate::layer::apply::{Layer, Unsettled};
use crate::layer::below::Below;
use crate::layer::lower::{Found, Leaf, Lower};
use crate::layer::options::Options;
use crate::layer::plan::Plan;
use crate::layer::report::{Occurrences, Report, Warning};
use crate::layer::tree::{DirId, InodeId, InodeKind, Tree};
use crate::limits::Limits;
use crate::meta::{Meta, Time};
use crate::path::EntryPath;
use crate::tar::archive::{Entry, EntryKind};

use super::read::Said;
use super::tree::{Body, Id, ImageInode, ImageTree, Name, Source, Stored};

/// The effect of a layer.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Applied {
    /// Entries in its archive, markers among them.
    pub entries: u64,
    /// Bytes of file content in its archive, without holes.
    pub bytes: u64,
    /// The existing names that it deletes, with the times of their whiteouts.
    pub deleted: BTreeMap<EntryPath, Time>,
    /// The directories that it makes opaque.
    pub opaque: BTreeSet<EntryPath>,
    /// Warnings about what was left out.
    pub warnings: BTreeMap<Warning, Occurrences>,
}

impl Applied {
    /// The same in numbers.
    pub fn report(&self) -> Report {
        Report {
            entries: self.entries,
            bytes: self.bytes,
            deletions: self.deleted.len() as u64,
            opaque: self.opaque.len() as u64,
            warnings: self.warnings.clone(),
        }
    }
}

/// Applies a layer, counted from 1 at the bottom. After an error the tree is invalid.
///
/// Errors: what the rules refuse; limits.
pub fn apply(
    tree: &mut ImageTree,
    layer: u32,
    said: Said,
    options: &Options,
    limits: &Limits,
) -> Result<Applied> {
    let mut applied = Applied {
        entries: said.report.entries,
        bytes: said.entries.iter().map(|(_, entry)| stored(entry)).sum(),
        warnings: said.report.warnings,
        ..Applied::default()
    };
    let below = InMemory::new(tree);
    let below = Below::new(below, &said.markers, options.keep_dirlinks)?;
    let mut new = New {
        layer: Layer::new(options, limits, Some(&below)),
        below: &below,
        number: layer,
        leaves: HashMap::new(),
    };
    let mut actions = Vec::new();
    for (number, entry) in said.entries {
        let path = entry.path.clone();
        let placed = new.layer.apply(entry, &mut actions);
        placed.map_err(|error| error.at_entry(path))?;
        for action in actions.drain(..) {
            new.carry_out(action, number);
        }
    }
    let (mut unsettled, leaves) = (new.layer.finish(), new.leaves);
    let plan = Plan::new(&mut unsettled, &below, options, limits)?;
    let metas = directory_metas(&unsettled, &plan, &below, options)?;
    let mut merge = Merge {
        tree,
        layer,
        own: unsettled.tree,
        metas,
        leaves,
        plan: &plan,
    };
    merge.note(&mut applied);
    merge.run()?;
    Ok(applied)
}

/// Bytes of data in the archive.
fn stored(entry: &Entry) -> u64 {
    match &entry.kind {
        EntryKind::File(shape) => shape.stored(),
        _ => 0,
    }
}

/// The attributes of all directories of a layer.
fn directory_metas(
    layer: &Unsettled,
    plan: &Plan,
    below: &Below<InMemory<'_>>,
    options: &Options,
) -> Result<HashMap<DirId, Meta>> {
    let tree = &layer.tree;
    let meta = |id| match tree.meta(id) {
        Some(meta) => Ok((id, meta)),
        None => Ok((id, plan.implied_meta(id, tree, below, options)?)),
    };
    tree.directories().map(meta).collect()
}

/// The tree of the layers below, as the rules ask for it.
struct InMemory<'a> {
    tree: &'a ImageTree,
    /// The names of inodes with several names, computed when first needed.
    links: OnceCell<BTreeMap<Id, Vec<EntryPath>>>,
}

impl<'a> InMemory<'a> {
    fn new(tree: &'a ImageTree) -> InMemory<'a> {
        let links = OnceCell::new();
        InMemory { tree, links }
    }

    fn child(&self, directory: Id, name: &[u8]) -> (Id, &'a ImageInode) {
        let child = self.tree.child(directory, name);
        let child = child.expect("it was found there");
        (child.inode, self.tree.inode(child.inode))
    }
}

impl Lower for InMemory<'_> {
    type Directory = Id;

    fn root(&self) -> Found<Id> {
        Found::Directory(self.tree.root().inode)
    }

    fn lookup(&self, directory: Id, name: &[u8]) -> Result<Found<Id>> {
        let Some(child) = self.tree.child(directory, name) else {
            return Ok(Found::Absent);
        };
        Ok(match &self.tree.inode(child.inode).body {
            Body::Directory(_) => Found::Directory(child.inode),
            Body::Symlink(_) => Found::Symlink,
            _ => Found::Other,
        })
    }

    fn names(&self, directory: Id) -> Result<Vec<Box<[u8]>>> {
        match &self.tree.inode(directory).body {
            Body::Directory(children) => Ok(children.keys().cloned().collect()),
            _ => unreachable!("only directories are looked into"),
        }
    }

    fn directory_meta(&self, directory: Id) -> Result<Option<Meta>> {
        let is_empty_root = directory == self.tree.root().inode && self.tree.root().layer == 0;
        let meta = || self.tree.inode(directory).meta.clone();
        Ok((!is_empty_root).then(meta))
    }

    fn read_link(&self, directory: Id, name: &[u8]) -> Result<Box<[u8]>> {
        match &self.child(directory, name).1.body {
            Body::Symlink(target) => Ok(target.clone()),
            _ => unreachable!("only symbolic links are read"),
        }
    }

    fn leaf(&self, directory: Id, name: &[u8]) -> Result<Leaf> {
        let (_, inode) = self.child(directory, name);
        let (kind, bytes) = match &inode.body {
            Body::File(stored) => {
                let (size, content) = (stored.shape.size, None);
                (InodeKind::File { size, content }, stored.shape.stored())
            }
            Body::Symlink(_) => (InodeKind::Symlink, 0),
            Body::CharDevice(device) => (InodeKind::CharDevice(*device), 0),
            Body::BlockDevice(device) => (InodeKind::BlockDevice(*device), 0),
            Body::Fifo => (InodeKind::Fifo, 0),
            Body::Directory(_) => unreachable!("a directory is no leaf"),
        };
        let meta = inode.meta.clone();
        Ok(Leaf { kind, meta, bytes })
    }

    fn names_of_inode(&self, directory: Id, name: &[u8]) -> Result<Vec<EntryPath>> {
        let links = self.links.get_or_init(|| self.tree.links());
        let (inode, _) = self.child(directory, name);
        Ok(links.get(&inode).cloned().unwrap_or_default())
    }
}

/// What a layer has.
struct New<'a> {
    layer: Layer<'a, InMemory<'a>>,
    below: &'a Below<InMemory<'a>>,
    /// Of the layer, from 1 at the bottom.
    number: u32,
    leaves: HashMap<InodeId, NewLeaf>,
}

/// Anything in a layer but a directory.
enum NewLeaf {
    New(ImageInode),
    /// It is of the layers below, or was merged already.
    Known(Id),
}

impl New<'_> {
    fn carry_out(&mut self, action: Action, number: u64) {
        match action {
            Action::Make {
                inode, kind, meta, ..
            } => {
                let body = body(kind, self.number, number);
                let leaf = NewLeaf::New(ImageInode { meta, body });
                self.leaves.insert(inode, leaf);
            }
            Action::CopyUp {
                inode, place, from, ..
            } => {
                let directory = self.below.directory(from);
                let (id, _) = self.below.lower().child(directory, place.name());
                self.leaves.insert(inode, NewLeaf::Known(id));
            }
            // The layer's tree has it.
            Action::Remove { .. }
            | Action::MakeDirectory(_)
            | Action::Describe(_)
            | Action::Link { .. } => {}
            Action::LeaveOut { .. } => unreachable!("nothing is left out"),
        }
    }
}

fn body(kind: EntryKind, layer: u32, entry: u64) -> Body {
    match kind {
        EntryKind::File(shape) => {
            let source = Source::Layer { layer, entry };
            Body::File(Stored { shape, source })
        }
        EntryKind::Symlink(target) => Body::Symlink(target),
        EntryKind::CharDevice(device) => Body::CharDevice(device),
        EntryKind::BlockDevice(device) => Body::BlockDevice(device),
        EntryKind::Fifo => Body::Fifo,
        EntryKind::Directory | EntryKind::HardLink(_) => {
            unreachable!("they have actions of their own")
        }
    }
}

/// Merges a layer into the tree.
struct Merge<'a> {
    tree: &'a mut ImageTree,
    layer: u32,
    own: Tree,
    metas: HashMap<DirId, Meta>,
    leaves: HashMap<InodeId, NewLeaf>,
    plan: &'a Plan,
}

impl Merge<'_> {
    /// What the layer hides.
    fn note(&self, applied: &mut Applied) {
        for deletion in &self.plan.deletions {
            let path = self.own.path_of(deletion.directory, &deletion.name);
            applied.deleted.insert(path, deletion.time);
        }
        let opaque = self.plan.opaque.iter();
        applied.opaque = opaque.map(|&directory| self.own.path(directory)).collect();
    }

    fn run(&mut self) -> Result<()> {
        let mut deletions: HashMap<DirId, Vec<&[u8]>> = HashMap::new();
        for deletion in &self.plan.deletions {
            let names = deletions.entry(deletion.directory).or_default();
            names.push(&deletion.name);
        }
        let root = &mut self.tree.root;
        root.needed_by = self.layer;
        if self.own.directory(Tree::ROOT).is_described {
            root.layer = self.layer;
        }
        let mut todo = vec![(Tree::ROOT, root.inode)];
        while let Some((own, id)) = todo.pop() {
            if let Some(meta) = self.metas.remove(&own) {
                self.tree.inode_mut(id).meta = meta;
            }
            for name in deletions.remove(&own).unwrap_or_default() {
                self.tree.children_mut(id).remove(name);
            }
            let children = self.own.children(own);
            let children: Vec<(Box<[u8]>, InodeId)> =
                children.map(|(name, inode)| (name.into(), inode)).collect();
            for (name, inode) in children {
                match self.own.as_directory(inode) {
                    Some(child) => todo.push((child, self.directory(id, name, child)?)),
                    None => self.leaf(id, name, inode)?,
                }
            }
        }
        Ok(())
    }

    /// Merges a directory with what the layers below show there, unless it hides that.
    fn directory(&mut self, parent: Id, name: Box<[u8]>, own: DirId) -> Result<Id> {
        let known = self.tree.child(parent, &name);
        let known = known.filter(|name| self.tree.inode(name.inode).is_directory());
        let inode = match known {
            Some(known) => known.inode,
            None => self.tree.add(ImageInode::implied_directory())?,
        };
        if self.plan.opaque.contains(&own) {
            self.tree.children_mut(inode).clear();
        }
        let is_described = self.own.directory(own).is_described;
        let layer = match known {
            Some(known) if !is_described => known.layer,
            _ => self.layer,
        };
        let new = Name {
            inode,
            layer,
            needed_by: self.layer,
        };
        self.tree.children_mut(parent).insert(name, new);
        Ok(inode)
    }

    fn leaf(&mut self, parent: Id, name: Box<[u8]>, own: InodeId) -> Result<()> {
        let inode = match self.leaves.remove(&own) {
            Some(NewLeaf::New(inode)) => self.tree.add(inode)?,
            Some(NewLeaf::Known(id)) => id,
            None => unreachable!("each leaf was made or copied"),
        };
        if self.own.inode(own).has_links {
            self.leaves.insert(own, NewLeaf::Known(inode));
        }
        let new = Name {
            inode,
            layer: self.layer,
            needed_by: self.layer,
        };
        self.tree.children_mut(parent).insert(name, new);
        Ok(())
    }
}
