//! The reference model: an image is what one root directory holds after its layers were applied to
//! it one after another.
//!
//! There is no overlayfs in here, no layer directory and nothing of the product: inodes in memory,
//! and real removals. A layer is applied in three steps:
//!
//! 1. every marker (whiteout, opaque mark) finds its directory in the tree as it was, but not
//!    through a symlink in whose place the layer has a directory entry;
//! 2. all that they delete goes at once;
//! 3. the other entries are added in the order of the archive.
//!
//! What the tree is in the end, a [`Listing`] says; walking a mount gives one too.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use crate::tarball::{Entry, Kind, Meta};

const NAME_MAX: usize = 255;
const PATH_MAX: usize = 4095;
const MAX_SYMLINKS: usize = 40;

/// Paths by their components.
type Paths = BTreeSet<Vec<Vec<u8>>>;

/// What is at each path; the root is the empty one.
pub type Listing = BTreeMap<Vec<u8>, Item>;

/// What one name shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Item {
    /// Never a [`Kind::Hardlink`].
    pub kind: Kind,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    /// In nanoseconds.
    pub mtime: i128,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The smallest path of the same inode, where it has several.
    pub links: Option<Vec<u8>>,
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.kind {
            Kind::File(content) => write!(f, "file {:?}", content.escape_ascii().to_string())?,
            Kind::Symlink(target) => write!(f, "symlink to {}", target.escape_ascii())?,
            kind => write!(f, "{kind:?}")?,
        }
        let Item { mode, uid, gid, .. } = self;
        write!(f, " {mode:04o} {uid}:{gid} mtime {}", self.mtime)?;
        for (name, value) in &self.xattrs {
            write!(f, " {}={}", name.escape_ascii(), value.escape_ascii())?;
        }
        match &self.links {
            Some(first) => write!(f, " (same inode as {})", first.escape_ascii()),
            None => Ok(()),
        }
    }
}

/// Why a layer is refused, and which of its entries is to blame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub entry: usize,
    pub why: &'static str,
}

/// Index of an inode; 0 is the root directory.
type Id = usize;

const ROOT: Id = 0;

#[derive(Clone)]
struct Inode {
    kind: Kind,
    meta: Attributes,
    children: BTreeMap<Vec<u8>, Id>,
}

#[derive(Clone, Default)]
struct Attributes {
    mode: u32,
    uid: u64,
    gid: u64,
    mtime: i128,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What the name of an entry says.
enum Name {
    Path(Vec<Vec<u8>>),
    Whiteout { parent: Vec<Vec<u8>>, name: Vec<u8> },
    Opaque { directory: Vec<Vec<u8>> },
    Reserved,
}

/// Where a resolution goes on if a name is absent, or is neither directory nor symlink.
#[derive(Clone, Copy, PartialEq)]
enum Missing {
    /// Absent: a directory is made. Something else: no way.
    Make,
    /// A directory is made, in place of whatever is there.
    Replace,
    /// No way.
    Fail,
}

/// Why there is no way.
#[derive(Clone, Copy, PartialEq)]
enum NoWay {
    Loop,
    Blocked,
}

/// A tree, and what can happen to it.
#[derive(Clone)]
pub struct Model {
    inodes: Vec<Inode>,
    /// Whether `security.selinux` is kept (rule X2).
    keeps_labels: bool,
}

impl Default for Model {
    fn default() -> Model {
        Model::new()
    }
}

impl Model {
    /// A root, and no labels.
    pub fn new() -> Model {
        Model {
            inodes: vec![Inode::implied_directory()],
            keeps_labels: false,
        }
    }

    /// What `--selinux` asks for.
    pub fn with_labels() -> Model {
        Model {
            keeps_labels: true,
            ..Model::new()
        }
    }

    /// Applies one layer. After an error the tree is of no use.
    pub fn apply(&mut self, layer: &[Entry]) -> Result<(), Refused> {
        let mut names = Vec::new();
        for (entry, found) in layer.iter().enumerate() {
            names.push(classify(&found.name).map_err(|why| Refused { entry, why })?);
        }
        let own = own_directories(layer, &names);
        // All parents before any deletion; each is None where the marker has no effect.
        let mut deletions = Vec::new();
        for name in &names {
            match name {
                Name::Whiteout { parent, name } => {
                    let parent = self.directory_of_marker(parent, &own);
                    deletions.push((parent, Some(name.clone())));
                }
                Name::Opaque { directory } => {
                    deletions.push((self.directory_of_marker(directory, &own), None));
                }
                Name::Path(_) | Name::Reserved => {}
            }
        }
        for (directory, name) in deletions {
            let Some(directory) = directory else { continue };
            let children = &mut self.inodes[directory].children;
            match name {
                Some(name) => drop(children.remove(&name)),
                None => children.clear(),
            }
        }
        for (entry, name) in names.iter().enumerate() {
            if let Name::Path(path) = name {
                self.add(path, &layer[entry])
                    .map_err(|why| Refused { entry, why })?;
            }
        }
        Ok(())
    }

    /// What every path is now.
    pub fn listing(&self) -> Listing {
        let mut names: BTreeMap<Id, Vec<Vec<u8>>> = BTreeMap::new();
        let mut todo = vec![(Vec::new(), ROOT)];
        while let Some((path, id)) = todo.pop() {
            for (name, child) in &self.inodes[id].children {
                let below = [path.as_slice(), name].join(&b"/"[..]);
                todo.push((below.strip_prefix(b"/").unwrap_or(&below).to_vec(), *child));
            }
            names.entry(id).or_default().push(path);
        }
        let mut listing = Listing::new();
        for (id, mut paths) in names {
            paths.sort();
            let item = self.inodes[id].item((paths.len() > 1).then(|| paths[0].clone()));
            listing.extend(paths.into_iter().map(|path| (path, item.clone())));
        }
        listing
    }

    fn add(&mut self, path: &[Vec<u8>], entry: &Entry) -> Result<(), &'static str> {
        let Some((name, parent)) = path.split_last() else {
            if entry.kind != Kind::Dir {
                return Err("the root is no directory");
            }
            self.inodes[ROOT].meta = self.attributes(entry);
            return Ok(());
        };
        if let Kind::Hardlink(target) = &entry.kind {
            return self.add_link(parent, name, target);
        }
        if entry.kind == Kind::Char(0, 0) {
            return Err("a character device 0:0");
        }
        let parent = self.directory_of_entry(parent)?;
        let there = self.inodes[parent].children.get(name).copied();
        match there {
            Some(there) if entry.kind == Kind::Dir && self.inodes[there].is_directory() => {
                self.inodes[there].meta = self.attributes(entry);
            }
            _ => {
                let (kind, meta) = (entry.kind.clone(), self.attributes(entry));
                self.put(parent, name, Inode::new(kind, meta));
            }
        }
        Ok(())
    }

    /// What a file system keeps of an entry. ACLs are taken to agree with the mode (the generator
    /// sees to it), and none is inherited.
    fn attributes(&self, entry: &Entry) -> Attributes {
        let Entry { kind, meta, .. } = entry;
        let may_have_user_xattrs = matches!(kind, Kind::File(_) | Kind::Dir);
        let is_kept = |name: &[u8]| match name {
            b"security.selinux" => self.keeps_labels,
            _ => may_have_user_xattrs || !name.starts_with(b"user."),
        };
        let xattrs = meta.xattrs.iter().filter(|(name, _)| is_kept(name));
        Attributes {
            mode: match kind {
                Kind::Symlink(_) => 0o777,
                _ => meta.mode & 0o7777,
            },
            uid: meta.uid,
            gid: meta.gid,
            mtime: nanoseconds(meta),
            xattrs: xattrs.cloned().collect(),
        }
    }

    fn add_link(
        &mut self,
        parent: &[Vec<u8>],
        name: &[u8],
        target: &[u8],
    ) -> Result<(), &'static str> {
        let target = clean(target)?;
        self.link_target(&target)?;
        let parent = self.directory_of_entry(parent)?;
        // Making the directory may have replaced the target.
        let (of, final_name, inode) = self.link_target(&target)?;
        if (of, final_name) == (parent, name) {
            return Ok(());
        }
        self.inodes[parent].children.remove(name);
        // The name may have been a directory with the target below it.
        if !self.is_reachable(of) {
            return Err("the hard link's target is below its own name");
        }
        self.inodes[parent].children.insert(name.to_vec(), inode);
        Ok(())
    }

    /// The directory, the name in it and the inode that a hard link means.
    fn link_target<'a>(
        &mut self,
        target: &'a [Vec<u8>],
    ) -> Result<(Id, &'a [u8], Id), &'static str> {
        let Some((name, parent)) = target.split_last() else {
            return Err("a hard link to the root");
        };
        let parent = self.resolve(parent, Missing::Fail, &Paths::new(), &mut Vec::new());
        let parent = parent.map_err(|_| "the hard link's target is missing")?;
        match self.inodes[parent].children.get(name) {
            Some(&inode) if !self.inodes[inode].is_directory() => Ok((parent, name, inode)),
            Some(_) => Err("the hard link's target is a directory"),
            None => Err("the hard link's target is missing"),
        }
    }

    fn is_reachable(&self, wanted: Id) -> bool {
        let mut todo = vec![ROOT];
        while let Some(id) = todo.pop() {
            if id == wanted {
                return true;
            }
            todo.extend(self.inodes[id].children.values());
        }
        false
    }

    /// A marker's directory; what was made on the way goes again if there is none.
    fn directory_of_marker(&mut self, path: &[Vec<u8>], own: &Paths) -> Option<Id> {
        let mut made = Vec::new();
        let found = self.resolve(path, Missing::Make, own, &mut made);
        if found.is_err() {
            for (parent, name) in made {
                self.inodes[parent].children.remove(&name);
            }
        }
        found.ok()
    }

    fn directory_of_entry(&mut self, path: &[Vec<u8>]) -> Result<Id, &'static str> {
        self.resolve(path, Missing::Replace, &Paths::new(), &mut Vec::new())
            .map_err(|_| "too many symlinks")
    }

    /// The directory at a path, symlinks followed as if the tree's root were the only one; a
    /// symlink that one of the `masks` will replace blocks the way. Adds to `made` what it makes.
    fn resolve(
        &mut self,
        path: &[Vec<u8>],
        missing: Missing,
        masks: &Paths,
        made: &mut Vec<(Id, Vec<u8>)>,
    ) -> Result<Id, NoWay> {
        // Each with how much of the path it ends; nothing, if it comes from a symlink.
        let mut todo: VecDeque<(Vec<u8>, usize)> = path.iter().cloned().zip(1..).collect();
        let mut above = vec![ROOT];
        let mut place = Vec::new();
        let mut followed = 0;
        while let Some((name, spelled)) = todo.pop_front() {
            let here = above[above.len() - 1];
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    above.truncate(1.max(above.len() - 1));
                    place.pop();
                    continue;
                }
                _ => place.push(name.clone()),
            }
            let found = self.inodes[here].children.get(&name).copied();
            match found.map(|id| (id, &self.inodes[id].kind)) {
                Some((id, Kind::Dir)) => above.push(id),
                Some((_, Kind::Symlink(_)))
                    if masks.contains(&place)
                        || (spelled > 0 && masks.contains(&path[..spelled])) =>
                {
                    return Err(NoWay::Blocked);
                }
                Some((_, Kind::Symlink(target))) => {
                    place.pop();
                    followed += 1;
                    if followed > MAX_SYMLINKS {
                        return Err(NoWay::Loop);
                    }
                    if target.starts_with(b"/") {
                        above.truncate(1);
                        place.clear();
                    }
                    for component in target.split(|&byte| byte == b'/').rev() {
                        todo.push_front((component.to_vec(), 0));
                    }
                }
                Some(_) if missing != Missing::Replace => return Err(NoWay::Blocked),
                None if missing == Missing::Fail => return Err(NoWay::Blocked),
                _ => {
                    made.push((here, name.clone()));
                    above.push(self.inodes.len());
                    self.put(here, &name, Inode::implied_directory());
                }
            }
        }
        Ok(above[above.len() - 1])
    }

    /// A new inode under a name, in place of whatever is there.
    fn put(&mut self, parent: Id, name: &[u8], inode: Inode) {
        let id = self.inodes.len();
        self.inodes.push(inode);
        self.inodes[parent].children.insert(name.to_vec(), id);
    }
}

impl Inode {
    fn implied_directory() -> Inode {
        let meta = Attributes {
            mode: 0o755,
            ..Attributes::default()
        };
        Inode::new(Kind::Dir, meta)
    }

    fn new(kind: Kind, meta: Attributes) -> Inode {
        Inode {
            kind,
            meta,
            children: BTreeMap::new(),
        }
    }

    fn is_directory(&self) -> bool {
        self.kind == Kind::Dir
    }

    fn item(&self, links: Option<Vec<u8>>) -> Item {
        let Attributes { mode, uid, gid, .. } = self.meta;
        Item {
            kind: self.kind.clone(),
            mode,
            uid,
            gid,
            mtime: self.meta.mtime,
            xattrs: self.meta.xattrs.clone(),
            links,
        }
    }
}

fn nanoseconds(meta: &Meta) -> i128 {
    i128::from(meta.mtime.0) * 1_000_000_000 + i128::from(meta.mtime.1)
}

/// Where a layer has a directory entry, unless something else takes its place later.
fn own_directories(layer: &[Entry], names: &[Name]) -> Paths {
    let mut own = Paths::new();
    for (entry, name) in layer.iter().zip(names) {
        match name {
            Name::Path(path) if entry.kind == Kind::Dir => drop(own.insert(path.clone())),
            Name::Path(path) => own.retain(|directory| !directory.starts_with(path)),
            _ => {}
        }
    }
    own
}

/// The components of a name.
fn clean(name: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    let components = name.split(|&byte| byte == b'/');
    let components: Vec<Vec<u8>> = components
        .filter(|component| !matches!(*component, b"" | b"."))
        .map(<[u8]>::to_vec)
        .collect();
    for component in &components {
        let bare = component.strip_prefix(b".wh.").unwrap_or(component);
        if component == b".." {
            return Err("a component `..`");
        }
        if component.contains(&0) {
            return Err("a NUL byte");
        }
        if bare.len() > NAME_MAX {
            return Err("a component of over 255 bytes");
        }
    }
    if components.join(&b"/"[..]).len() > PATH_MAX {
        return Err("a path of over 4095 bytes");
    }
    Ok(components)
}

fn classify(name: &[u8]) -> Result<Name, &'static str> {
    let mut path = clean(name)?;
    let Some(at) = path.iter().position(|part| part.starts_with(b".wh.")) else {
        return Ok(Name::Path(path));
    };
    let is_last = at + 1 == path.len();
    let marker = path[at].clone();
    path.truncate(at);
    match marker.as_slice() {
        b".wh..wh..opq" if is_last => Ok(Name::Opaque { directory: path }),
        b".wh..wh..opq" => Err("an entry below a marker"),
        reserved if reserved.starts_with(b".wh..wh.") => Ok(Name::Reserved),
        b".wh." | b".wh.." | b".wh..." => Err("a whiteout of no name"),
        _ if !is_last => Err("an entry below a marker"),
        whiteout => Ok(Name::Whiteout {
            parent: path,
            name: whiteout[b".wh.".len()..].to_vec(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, kind: Kind) -> Entry {
        Entry {
            name: name.into(),
            kind,
            meta: Meta::new(0o700),
        }
    }

    fn dir(name: &str) -> Entry {
        entry(name, Kind::Dir)
    }

    fn file(name: &str) -> Entry {
        entry(name, Kind::File(name.into()))
    }

    fn symlink(name: &str, target: &str) -> Entry {
        entry(name, Kind::Symlink(target.into()))
    }

    fn link(name: &str, target: &str) -> Entry {
        entry(name, Kind::Hardlink(target.into()))
    }

    fn try_tree(layers: &[Vec<Entry>]) -> Result<Listing, Refused> {
        let mut model = Model::new();
        layers.iter().try_for_each(|layer| model.apply(layer))?;
        Ok(model.listing())
    }

    fn names(layers: &[Vec<Entry>]) -> String {
        let listing = try_tree(layers).expect("the layers are accepted");
        let names = listing.keys().map(|path| path.escape_ascii().to_string());
        names.collect::<Vec<_>>().join(" ").trim().to_owned()
    }

    fn why(layers: &[Vec<Entry>]) -> &'static str {
        try_tree(layers).expect_err("a layer is refused").why
    }

    #[test]
    fn model_nested_whiteouts_leave_nothing() {
        let below = vec![file("a/b")];
        assert_eq!(names(&[below, vec![file(".wh.a"), file("a/.wh.b")]]), "");
    }

    #[test]
    fn model_markers_act_before_entries_wherever_they_stand() {
        let below = vec![file("d/old"), file("f")];
        let above = vec![
            file("d/new"),
            file("f"),
            file("d/.wh..wh..opq"),
            file(".wh.f"),
        ];
        assert_eq!(names(&[below, above]), "d d/new f");
    }

    #[test]
    fn model_marker_behind_a_file_has_no_effect() {
        let layers = [vec![file("f")], vec![file("f/d/.wh.g"), dir("y")]];
        assert_eq!(names(&layers), "f y");
    }

    #[test]
    fn model_marker_makes_its_directory_and_a_reserved_name_nothing() {
        assert_eq!(
            names(&[vec![file("a/b/.wh.c"), file("x/.wh..wh.plnk/1")]]),
            "a a/b"
        );
    }

    #[test]
    fn model_parents_are_followed_inside_the_root() {
        let below = vec![dir("d"), symlink("l", "/../d"), symlink("m", "n")];
        let above = vec![file("l/f"), file("m/g")];
        assert_eq!(names(&[below, above]), "d d/f l m n n/g");
        assert_eq!(why(&[vec![file("d/../h")]]), "a component `..`");
    }

    #[test]
    fn model_whiteout_through_a_symlink_of_its_own_layer_means_the_tree_before() {
        let below = vec![file("d/f"), file("l/f")];
        let above = vec![entry("l", Kind::Symlink(b"d".into())), file("l/.wh.f")];
        assert_eq!(names(&[below, above]), "d d/f l");
    }

    #[test]
    fn model_marker_does_not_reach_through_a_symlink_that_its_layer_replaces() {
        let below = vec![file("d/f"), symlink("l", "d"), symlink("m", "l")];
        let tree = |above: Vec<Entry>| names(&[below.clone(), above]);
        let masked = "d d/f l m";
        assert_eq!(tree(vec![dir("l"), file("l/.wh.f")]), masked);
        assert_eq!(tree(vec![file("l/.wh..wh..opq"), dir("l")]), masked);
        assert_eq!(tree(vec![file("m/.wh.f"), dir("l")]), masked);
        assert_eq!(tree(vec![file("l/.wh.f")]), "d l m");
        let replaced = vec![dir("l"), file("l/.wh.f"), symlink("l", "d")];
        assert_eq!(tree(replaced), "d l m");
    }

    #[test]
    fn model_directory_replaces_a_symlink_and_a_file_replaces_a_directory() {
        let below = vec![dir("d"), symlink("l", "d"), file("e/f")];
        assert_eq!(names(&[below, vec![dir("l"), file("e")]]), "d e l");
    }

    #[test]
    fn model_links_to_lower_files_make_one_inode() {
        let below = vec![file("f"), link("g", "f")];
        let tree = try_tree(&[below, vec![link("h", "g")]]).expect("it is accepted");
        for name in [b"f", b"g", b"h"] {
            assert_eq!(tree[&name[..]].links, Some(b"f".to_vec()));
        }
    }

    #[test]
    fn model_bad_links_are_refused() {
        let missing = "the hard link's target is missing";
        assert_eq!(why(&[vec![link("a", "b")]]), missing);
        assert_eq!(
            why(&[vec![file("b")], vec![file(".wh.b"), link("a", "b")]]),
            missing
        );
        assert_eq!(
            why(&[vec![dir("d"), link("a", "d")]]),
            "the hard link's target is a directory"
        );
        assert_eq!(names(&[vec![file("f"), link("./f", "/f")]]), "f");
    }

    #[test]
    fn model_loops_refuse_entries_but_not_markers() {
        let below = vec![symlink("l", "l")];
        let layers = [below, vec![file("l/f")]];
        assert_eq!(why(&layers), "too many symlinks");
        assert_eq!(names(&[layers[0].clone(), vec![file("l/.wh.f")]]), "l");
    }

    #[test]
    fn model_directory_keeps_its_children_and_takes_the_new_attributes() {
        let mut again = dir("d");
        again.meta = Meta::new(0o1777).owner(1, 2).time(-1, 500_000_000);
        let tree = try_tree(&[vec![file("d/f")], vec![again]]).expect("it is accepted");
        let found = &tree[&b"d"[..]];
        assert_eq!((found.mode, found.uid, found.gid), (0o1777, 1, 2));
        assert_eq!(found.mtime, -500_000_000);
        assert!(tree.contains_key(&b"d/f"[..]));
        assert_eq!(tree[&b""[..]].mode, 0o755);
    }

    #[test]
    fn model_labels_stay_with_what_they_are_on() {
        let label = (&b"security.selinux"[..], b"a label".to_vec());
        let mut labelled = vec![dir("d"), file("d/f")];
        for entry in &mut labelled {
            entry.meta.xattrs.push((label.0.to_vec(), label.1.clone()));
        }
        // A directory that is implied, and a hard link to what is below.
        let above = vec![file("d/g"), link("h", "d/f")];
        let shown = |mut model: Model, path: &[u8]| {
            model.apply(&labelled).expect("it is accepted");
            model.apply(&above).expect("it is accepted");
            model.listing()[path].xattrs.get(label.0).cloned()
        };
        for path in [&b"d"[..], b"d/f", b"h"] {
            assert_eq!(shown(Model::with_labels(), path), Some(label.1.clone()));
            assert_eq!(shown(Model::new(), path), None);
        }
        assert_eq!(shown(Model::with_labels(), b"d/g"), None);
    }
}
