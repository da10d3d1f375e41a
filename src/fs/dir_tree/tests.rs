//! Numbers, paths, and removal of trees that paths cannot reach.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::Mode;

use super::{DirId, DirTree};
use crate::fs::dir_cache::tests::scratch;
use crate::fs::root::{Dir, Mounts};

fn top(path: &Path) -> Arc<Dir> {
    Arc::new(Dir::open(path).unwrap())
}

/// A chain of directories below another one, each with a file in it.
fn make_chain(top: &Dir, name: &[u8], depth: usize) {
    let mut dir = top.open_dir(b"", Mounts::Entered).unwrap();
    for _ in 0..depth {
        dir.make_dir(name).unwrap();
        dir = dir.open_dir(name, Mounts::Entered).unwrap();
        dir.make_file(b"file").unwrap();
    }
}

#[test]
fn a_number_stands_for_a_path() {
    let scratch = scratch();
    std::fs::create_dir_all(scratch.path().join("a/b")).unwrap();
    std::fs::write(scratch.path().join("a/b/f"), "").unwrap();
    let mut tree = DirTree::new(top(scratch.path()));
    let a = tree.add(DirTree::TOP, b"a"[..].into());
    let b = tree.add(a, b"b"[..].into());
    assert_eq!(tree.path(b).unwrap().as_bytes(), b"a/b");
    assert_eq!(tree.open(b).unwrap().names().unwrap(), [b"f"[..].into()]);
    assert_eq!(
        (tree.name(b), tree.name(DirTree::TOP)),
        (&b"b"[..], &b""[..])
    );
    assert!(tree.path(DirTree::TOP).unwrap().is_root());
    assert_eq!(tree.open(DirTree::TOP).unwrap().names().unwrap().len(), 1);
}

#[test]
fn the_number_of_a_directory_that_was_left_means_the_next_one() {
    let scratch = scratch();
    for name in ["a", "b"] {
        std::fs::create_dir(scratch.path().join(name)).unwrap();
        std::fs::write(scratch.path().join(name).join(name), "").unwrap();
    }
    let mut tree = DirTree::new(top(scratch.path()));
    let mut numbers = Vec::new();
    for name in [&b"a"[..], b"b"] {
        let id: DirId = tree.add(DirTree::TOP, name.into());
        assert_eq!(tree.open(id).unwrap().names().unwrap(), [name.into()]);
        tree.leave(id);
        numbers.push(id);
    }
    assert_eq!(numbers[0], numbers[1]);
}

/// `PATH_MAX` is 4,096: no path from the top reaches the deepest of these.
#[test]
fn a_tree_deeper_than_any_path_is_removed() {
    let scratch = scratch();
    let top = top(scratch.path());
    make_chain(&top, &[b'n'; 255], 60);
    make_chain(&top, b"n", 3000);
    top.make_dir(b"flat").unwrap();
    top.remove_tree(&[b'n'; 255]).unwrap();
    assert_eq!(top.names().unwrap().len(), 2);
    top.remove_children().unwrap();
    assert!(top.names().unwrap().is_empty());
}

/// Without root: nobody may look into it, list it or write to it.
#[test]
fn a_tree_that_lets_nobody_in_is_removed() {
    let scratch = scratch();
    let top = top(scratch.path());
    for mode in [0o000, 0o100, 0o200, 0o300, 0o400, 0o500, 0o600] {
        let name = format!("{mode:o}");
        top.make_dir(name.as_bytes()).unwrap();
        let dir = top.open_dir(name.as_bytes(), Mounts::Entered).unwrap();
        make_chain(&dir, b"d", 3);
        let below = dir.open_dir(b"d", Mounts::Entered).unwrap();
        rustix::fs::fchmod(below.as_fd(), Mode::from_raw_mode(mode)).unwrap();
        rustix::fs::fchmod(dir.as_fd(), Mode::from_raw_mode(mode)).unwrap();
    }
    top.remove_children().unwrap();
    assert!(top.names().unwrap().is_empty());
}
