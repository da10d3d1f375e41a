//! Layouts that umoci writes: `repack` after deletions, `insert` with its two kinds of deletion.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;

use crate::model::Listing;
use crate::tarball::Kind;
use crate::walk::Walk;

use super::image::{settle, write};
use super::workshop::{Input, Workshop};

#[test]
fn layout_that_umoci_repacks_mounts_as_its_bundle() {
    let Some(shop) = Workshop::open(&["umoci"]) else {
        return;
    };
    repacked(&shop);
}

#[test]
fn layout_with_umoci_inserts_mounts_as_umoci_unpacks_it() {
    inserted_mounts_as_umoci_unpacks_it("");
}

/// It does not close the archive of an insert (opencontainers/umoci#436, up to 0.4.7): not even the
/// padding of the last file is there. Readers in Go take that for the end.
#[test]
fn insert_that_ends_with_the_content_of_a_file_mounts_as_umoci_unpacks_it() {
    inserted_mounts_as_umoci_unpacks_it("no whole block");
}

/// `last` is what the last file of an insert holds.
fn inserted_mounts_as_umoci_unpacks_it(last: &str) {
    let Some(shop) = Workshop::open(&["umoci"]) else {
        return;
    };
    let names = repacked(&shop);
    let image = shop.path("layout:deleted").display().to_string();
    insert(&shop, &image, last);
    let mut tree = unpacked_by_umoci(&shop, &image);
    assert!(tree.contains_key(&b"opt/sub/new"[..]));
    assert!(!tree.contains_key(&b"opt/kept"[..]));
    assert!(!tree.contains_key(&b"etc/again/gone"[..]));
    // It leaves directories with the time at which it last wrote into them.
    let reference = format!("oci:{image}");
    let ours = shop.mounted(&reference, Input::None);
    let ours = Walk::new(&ours.target.0, &names).listing;
    for (path, item) in &mut tree {
        if let (Kind::Dir, Some(ours)) = (&item.kind, ours.get(path)) {
            item.mtime = ours.mtime;
        }
    }
    let layers = shop.mounts_as(&reference, Input::None, &tree, &names);
    assert_eq!(layers.len(), 5);
}

fn insert(shop: &Workshop, image: &str, last: &str) {
    let source = shop.path("source");
    fs::create_dir_all(source.join("sub")).expect("a directory");
    write(&source.join("sub/new"), "new", 0o600).expect("a file");
    write(&source.join("the last"), last, 0o600).expect("a file");
    settle(&source, 4000).expect("times");
    let source = source.display().to_string();
    let insert = ["umoci", "insert", "--image", image];
    shop.run(&[&insert[..], &["--opaque", &source, "/opt"]].concat());
    shop.run(&[&insert[..], &["--whiteout", "/etc/again/gone"]].concat());
    shop.run(&[&insert[..], &[&source, "/etc/again"]].concat());
}

fn unpacked_by_umoci(shop: &Workshop, image: &str) -> Listing {
    let bundle = shop.path("unpacked");
    let unpack = ["umoci", "unpack", "--image", image];
    shop.run(&[&unpack[..], &[&bundle.display().to_string()]].concat());
    Walk::new(&bundle.join("rootfs"), &BTreeSet::new()).listing
}

/// Makes a layout of two layers in two runs of `repack`, and checks it after both.
fn repacked(shop: &Workshop) -> BTreeSet<Vec<u8>> {
    let layout = shop.path("layout").display().to_string();
    let bundle = shop.path("bundle").display().to_string();
    let image = |tag: &str| format!("{layout}:{tag}");
    shop.run(&["umoci", "init", "--layout", &layout]);
    shop.run(&["umoci", "new", "--image", &image("empty")]);
    shop.run(&["umoci", "unpack", "--image", &image("empty"), &bundle]);
    let root = shop.path("bundle/rootfs");
    let mut names = BTreeSet::new();
    for (number, (tag, edit)) in [("full", fill as fn(&Path)), ("deleted", delete)]
        .into_iter()
        .enumerate()
    {
        edit(&root);
        settle(&root, (number as i64 + 1) * 1000).expect("times");
        let repack = ["umoci", "repack", "--refresh-bundle", "--image"];
        shop.run(&[&repack[..], &[&image(tag), &bundle]].concat());
        let tree = Walk::new(&root, &BTreeSet::new()).listing;
        names.extend(last_names(&tree));
        let reference = format!("oci:{}", image(tag));
        let layers = shop.mounts_as(&reference, Input::None, &tree, &names);
        assert_eq!(layers.len(), number + 1);
    }
    names
}

fn last_names(tree: &Listing) -> impl Iterator<Item = Vec<u8>> {
    let names = tree
        .keys()
        .filter_map(|path| path.rsplit(|&byte| byte == b'/').next());
    names.filter(|name| !name.is_empty()).map(<[u8]>::to_vec)
}

fn fill(root: &Path) {
    for directory in ["etc/again/sub", "etc/gone", "opt/some", "usr/bin"] {
        fs::create_dir_all(root.join(directory)).expect("a directory");
    }
    for (file, mode) in [
        ("etc/again/one", 0o644),
        ("etc/again/sub/two", 0o644),
        ("etc/gone/three", 0o644),
        ("opt/kept", 0o600),
        ("opt/some/gone", 0o644),
        ("usr/bin/su", 0o4755),
    ] {
        write(&root.join(file), file, mode).expect("a file");
    }
    fs::hard_link(root.join("opt/kept"), root.join("usr/hard")).expect("a link");
    symlink("su", root.join("usr/bin/sudo")).expect("a link");
    chown(root.join("opt/some"), Some(1000), Some(1001)).expect("an owner");
    xattr::set(root.join("opt/kept"), "user.color", b"blue").expect("an xattr");
}

fn delete(root: &Path) {
    for directory in ["etc/again", "etc/gone"] {
        fs::remove_dir_all(root.join(directory)).expect("it was there");
    }
    fs::remove_file(root.join("opt/some/gone")).expect("it was there");
    fs::create_dir(root.join("etc/again")).expect("a directory");
    write(&root.join("etc/again/gone"), "new", 0o644).expect("a file");
}
