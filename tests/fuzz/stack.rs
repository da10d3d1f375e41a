//! `stack`: a stack of layers that the dice throw, unpacked over each other, and what [`MergedView`]
//! says they show together, beside what the reference model says that the image is.
//!
//! Nothing is mounted: the view reads the layer directories as overlayfs would, and the integration
//! tests try it against the kernel. What the model refuses must be refused, and leave nothing.
//!
//! So that it needs no privilege, the stacks have no devices, only `user.*` xattrs, and nothing that
//! its owner may not read; owners are not compared.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use lowerdir::image::Blob;
use lowerdir::internals::{Dir, DirectoryId, Lower, MergedView, Seen};
use lowerdir::meta::Meta;
use lowerdir::store::Sync;
use lowerdir::unpack_layer;
use rustix::fs::{FileType, Stat};
use tempfile::TempDir;

use support::directory::{in_memory, make_removable};

use crate::dice::Dice;
use crate::generate::{Flavour, Stack};
use crate::model::{Item, Listing};
use crate::tarball::{Entry, Kind};
use crate::unpack::{limits, options};

static SITE: LazyLock<TempDir> = LazyLock::new(in_memory);

pub fn check(data: &[u8]) {
    let mut stack = Stack::thrown(&mut Dice::of_bytes(data), Flavour::ALL);
    for entry in stack.layers.iter_mut().flatten() {
        make_modest(entry);
    }
    let work = TempDir::new_in(SITE.path()).expect("a directory");
    let verdict = std::panic::catch_unwind(|| try_stack(work.path(), &stack));
    make_removable(work.path());
    drop(work);
    if let Err(panic) = verdict {
        eprintln!("{stack}");
        std::panic::resume_unwind(panic);
    }
}

/// Leaves nothing that takes privilege.
fn make_modest(entry: &mut Entry) {
    if matches!(entry.kind, Kind::Char(major, minor) if (major, minor) != (0, 0))
        || matches!(entry.kind, Kind::Block(..))
    {
        entry.kind = Kind::Fifo;
    }
    entry
        .meta
        .xattrs
        .retain(|(name, _)| name.starts_with(b"user."));
    entry.meta.mode |= match entry.kind {
        Kind::Dir => 0o700,
        _ => 0o600,
    };
}

fn try_stack(work: &Path, stack: &Stack) {
    let mut layers: Vec<PathBuf> = Vec::new();
    let expected = stack.expected();
    let refused = expected.as_ref().err().map(|(layer, _)| *layer);
    for (number, (tar, compression)) in stack.tars().iter().enumerate() {
        let target = work.join(format!("layer{number}"));
        let file = work.join("blob");
        fs::write(&file, compression.compress(tar)).expect("room for a blob");
        let blob = File::open(&file).map(Blob::from_file);
        let blob = blob.expect("just written").expect("it is a file");
        let done = unpack_layer(&blob, &target)
            .parents(layers.clone())
            .options(options())
            .limits(limits())
            .jobs(1)
            .sync(Sync::None)
            .run();
        if refused == Some(number) {
            let error = done.map(|_| ()).expect_err("the model refuses it");
            assert!(matches!(
                error.kind(),
                lowerdir::Kind::Refused | lowerdir::Kind::Limit
            ));
            assert!(!target.exists(), "a refused layer is there");
            return;
        }
        done.unwrap_or_else(|error| panic!("layer {number}: {error}"));
        layers.insert(0, target);
    }
    let model = without_owners(expected.expect("no layer was refused"));
    let merged = merged(&layers);
    let paths: std::collections::BTreeSet<_> = model.keys().chain(merged.keys()).collect();
    for path in paths {
        let shown = path.escape_ascii();
        assert_eq!(
            merged.get(path),
            model.get(path),
            "./{shown}, merged and in the model"
        );
    }
}

fn without_owners(mut listing: Listing) -> Listing {
    for item in listing.values_mut() {
        (item.uid, item.gid) = (0, 0);
    }
    listing
}

/// What the view shows, name by name.
fn merged(layers: &[PathBuf]) -> Listing {
    let open = |path: &PathBuf| Arc::new(Dir::open(path).expect("a layer directory"));
    let view = MergedView::of_layers(layers.iter().map(open), options().dialect.namespace);
    let mut listing = Listing::new();
    let mut names: BTreeMap<(u32, u64), Vec<Vec<u8>>> = BTreeMap::new();
    let root = view.directory_meta(DirectoryId::ROOT);
    let root = root.expect("it is readable").unwrap_or_default();
    listing.insert(Vec::new(), item(Kind::Dir, root));
    let mut todo = vec![DirectoryId::ROOT];
    while let Some(directory) = todo.pop() {
        for name in view.names(directory).expect("it is readable") {
            let path = view.path(directory, &name).expect("a name on disk");
            let key = path.as_bytes().to_vec();
            let (kind, meta) = match view.see(directory, &name).expect("it is readable") {
                Seen::Absent => panic!("{path}: listed, and not found"),
                Seen::Directory(found) => {
                    todo.push(found);
                    let meta = view.directory_meta(found).expect("it is readable");
                    (Kind::Dir, meta.expect("a layer has it"))
                }
                Seen::Leaf(layer, stat) => {
                    let inode = names.entry((layer, stat.st_ino)).or_default();
                    inode.push(key.clone());
                    let leaf = view.leaf(directory, &name).expect("it is readable");
                    (kind(&view, directory, &name, &stat), leaf.meta)
                }
            };
            listing.insert(key, item(kind, meta));
        }
    }
    for mut paths in names.into_values().filter(|paths| paths.len() > 1) {
        paths.sort();
        for path in &paths {
            let item = listing.get_mut(path).expect("it was just listed");
            item.links = Some(paths[0].clone());
        }
    }
    listing
}

fn kind(view: &MergedView, directory: DirectoryId, name: &[u8], stat: &Stat) -> Kind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => {
            let target = view.read_link(directory, name).expect("a link");
            Kind::Symlink(target.into())
        }
        FileType::RegularFile => {
            let mut content = Vec::new();
            let mut file = view.open_leaf(directory, name).expect("a file");
            file.read_to_end(&mut content).expect("it is readable");
            Kind::File(content)
        }
        FileType::Fifo => Kind::Fifo,
        other => panic!("{}: {other:?}", name.escape_ascii()),
    }
}

fn item(kind: Kind, meta: Meta) -> Item {
    let xattrs = meta.xattrs.iter();
    let time = (
        i128::from(meta.mtime.seconds),
        i128::from(meta.mtime.nanoseconds),
    );
    Item {
        kind,
        mode: meta.mode,
        uid: 0,
        gid: 0,
        mtime: time.0 * 1_000_000_000 + time.1,
        xattrs: xattrs
            .map(|xattr| (xattr.name.to_vec(), xattr.value.to_vec()))
            .collect(),
        links: None,
    }
}
