//! What the view shows of directories made by hand, also while it grows.

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::{LayerRoot, MergedView};
use crate::dialect::Namespace;
use crate::error::{Error, Kind};
use crate::fs::dir_cache::tests::{processor_time, scratch};
use crate::fs::root::Dir;
use crate::layer::lower::{Found, Lower};
use crate::path::EntryPath;

/// Layers, the lowest first, each from words: `d/` is a directory, `d/=y` one with that opaque mark, `w!` a
/// deletion as an xattr, `l@` a symbolic link, and `f` a file that holds the layer's number.
struct Stack {
    scratch: TempDir,
    layers: Vec<PathBuf>,
}

impl Stack {
    fn new(layers: &[&str]) -> Stack {
        let scratch = scratch();
        let make = |(number, words): (usize, &&str)| {
            let layer = scratch.path().join(number.to_string());
            fs::create_dir(&layer).unwrap();
            words
                .split_whitespace()
                .for_each(|word| add(&layer, number, word));
            layer
        };
        let layers = layers.iter().enumerate().map(make).collect();
        Stack { scratch, layers }
    }

    fn view(&self) -> MergedView {
        let mut view = MergedView::new(Namespace::User);
        self.layers.iter().for_each(|layer| view.push(open(layer)));
        view
    }

    fn mark(&self, layer: usize, path: &str, name: &str, value: &str) {
        let path = self.layers[layer].join(path);
        xattr::set(path, format!("user.overlay.{name}"), value.as_bytes()).unwrap();
    }
}

fn open(layer: &Path) -> LayerRoot {
    LayerRoot::from(Arc::new(Dir::open(layer).unwrap()))
}

fn add(layer: &Path, number: usize, word: &str) {
    let set = |path: &Path, name: &str, value: &str| {
        xattr::set(path, format!("user.overlay.{name}"), value.as_bytes()).unwrap();
    };
    if let Some((directory, value)) = word.split_once("/=") {
        fs::create_dir_all(layer.join(directory)).unwrap();
        set(&layer.join(directory), "opaque", value);
    } else if let Some(directory) = word.strip_suffix('/') {
        fs::create_dir_all(layer.join(directory)).unwrap();
    } else if let Some(name) = word.strip_suffix('!') {
        let path = layer.join(name);
        fs::write(&path, "").unwrap();
        set(&path, "whiteout", "");
        set(path.parent().unwrap(), "opaque", "x");
    } else if let Some(name) = word.strip_suffix('@') {
        symlink("nowhere", layer.join(name)).unwrap();
    } else {
        fs::write(layer.join(word), number.to_string()).unwrap();
    }
}

fn path(path: &str) -> EntryPath {
    EntryPath::parse(path.as_bytes()).unwrap()
}

/// Every path that shows, sorted: directories with a slash, links with `@`, files with what they hold.
fn shown(view: &MergedView) -> Vec<String> {
    let Found::Directory(root) = view.root() else {
        unreachable!("the root is a directory");
    };
    let (mut todo, mut shown) = (vec![root], Vec::new());
    while let Some(directory) = todo.pop() {
        for name in view.names(directory).unwrap() {
            let path = view.path(directory, &name).unwrap();
            shown.push(match view.lookup(directory, &name).unwrap() {
                Found::Directory(below) => {
                    assert_eq!(view.directory(&path).unwrap(), Some(below));
                    todo.push(below);
                    format!("{path}/")
                }
                Found::Symlink => format!("{path}@"),
                Found::Other => {
                    let mut text = String::new();
                    let mut file = view.open_leaf(directory, &name).unwrap();
                    file.read_to_string(&mut text).unwrap();
                    format!("{path}={text}")
                }
                found => panic!("{path} is listed, and is {found:?}"),
            });
        }
    }
    shown.sort_unstable();
    shown
}

#[test]
fn layers_merge_as_a_mount_merges_them() {
    for (layers, expected) in [
        (
            &["d/ d/f e", "d/ d/g"][..],
            &["d/", "d/f=0", "d/g=1", "e=0"][..],
        ),
        (&["f", "f"], &["f=1"]),
        (&["f l@", "f! l!"], &[]),
        (&["d/ d/f", "d/=y d/g"], &["d/", "d/g=1"]),
        (&["d/ d/f", "d!", "d/"], &["d/"]),
        (&["d/ d/f", "d", "d/ d/g"], &["d/", "d/g=2"]),
        (&["d/ d/f", "d"], &["d=1"]),
        (&["d", "d/ d/f"], &["d/", "d/f=1"]),
        (&["d/ d/f", "d/ d/f!", "d/ d/f"], &["d/", "d/f=2"]),
        (
            &["d/d/ d/d/f", "d/=y d/d/", "d/d/ d/d/g"],
            &["d/", "d/d/", "d/d/g=2"],
        ),
        (&["a/ a/f b/", "a@ b/"], &["a@", "b/"]),
        (&[], &[]),
    ] {
        let stack = Stack::new(layers);
        assert_eq!(shown(&stack.view()), expected, "{layers:?}");
    }
}

/// The directories that are known from before must not show what a new layer hides.
#[test]
fn a_view_that_grows_shows_what_one_made_at_once_shows() {
    let words = [
        "",
        "d/",
        "d/ d/f",
        "d/=y",
        "d/=y d/g",
        "d!",
        "d",
        "d/d/ d/d/f",
        "d/ d/d!",
        "d/ d/d/=y d/d/h",
        "d/ d@",
    ];
    let words = words.map(|word| word.replace("d/ d@", "d@"));
    for first in &words {
        for second in &words {
            for third in &words {
                let stack = Stack::new(&[first, second, third]);
                let mut view = MergedView::new(Namespace::User);
                for (count, layer) in stack.layers.iter().enumerate() {
                    view.push(open(layer));
                    let below = stack.layers[..=count].iter().rev().map(|layer| open(layer));
                    let at_once = MergedView::of_layers(below.collect::<Vec<_>>(), Namespace::User);
                    let expected = shown(&at_once);
                    assert_eq!(
                        shown(&view),
                        expected,
                        "{first}, {second}, {third}: {count}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_mark_on_the_root_of_a_layer_hides_nothing() {
    let stack = Stack::new(&["f", "g"]);
    stack.mark(1, "", "opaque", "y");
    stack.mark(1, "", "redirect", "/x");
    assert_eq!(shown(&stack.view()), ["f=0", "g=1"]);
}

fn refusal(error: Error) -> String {
    assert_eq!(error.kind(), Kind::Refused, "{error:?}");
    error.to_string()
}

#[test]
fn a_layer_that_is_not_complete_is_refused_by_name() {
    let stack = Stack::new(&["d/ d/f", "d/ d/d/ d/f", "d/ d/f"]);
    stack.mark(1, "d/d", "redirect", "x");
    stack.mark(2, "d/f", "metacopy", "");
    let name = |number: usize| stack.layers[number].display().to_string();
    let layers = (0..3)
        .rev()
        .map(|number| open(&stack.layers[number]).called(name(number)));
    let view = MergedView::of_layers(layers.collect::<Vec<_>>(), Namespace::User);
    let error = refusal(view.see_path(&path("d/d")).unwrap_err());
    assert!(
        error.contains(&name(1)) && error.contains("d/d: xattr user.overlay.redirect"),
        "{error}"
    );
    let directory = view.directory(&path("d")).unwrap().unwrap();
    // It is there, whatever it holds.
    assert_eq!(view.lookup(directory, b"f").unwrap(), Found::Other);
    for error in [
        view.leaf(directory, b"f").unwrap_err(),
        view.open_leaf(directory, b"f").unwrap_err(),
        view.find_leaf(directory, b"f").unwrap_err(),
    ] {
        let error = refusal(error);
        assert!(
            error.contains(&name(2)) && error.contains("d/f: xattr user.overlay.metacopy"),
            "{error}"
        );
    }
}

#[test]
fn an_xattr_whiteout_counts_only_in_a_directory_that_is_marked_for_it() {
    for mark in [None, Some("y"), Some("xx"), Some("")] {
        let stack = Stack::new(&["d/ d/f", "d/ d/f!"]);
        let directory = stack.layers[1].join("d");
        match mark {
            Some(mark) => stack.mark(1, "d", "opaque", mark),
            None => xattr::remove(directory, "user.overlay.opaque").unwrap(),
        }
        let view = stack.view();
        let error = refusal(view.see_path(&path("d/f")).unwrap_err());
        assert!(
            error.contains("d/f: xattr user.overlay.whiteout"),
            "{error}"
        );
        let directory = view.directory(&path("d")).unwrap().unwrap();
        assert_eq!(refusal(view.names(directory).unwrap_err()), error);
    }
    // A file that holds something is none.
    let stack = Stack::new(&["d/ d/f", "d/=x d/f"]);
    stack.mark(1, "d/f", "whiteout", "");
    assert_eq!(shown(&stack.view()), ["d/", "d/f=1"]);
}

#[test]
fn all_names_of_an_inode_that_show_are_found() {
    let stack = Stack::new(&["a/b/ c/ f", "c! g"]);
    for name in ["a/b/f", "a/f", "c/f", "g", "h"] {
        fs::hard_link(stack.layers[0].join("f"), stack.layers[0].join(name)).unwrap();
    }
    let view = stack.view();
    let Found::Directory(root) = view.root() else {
        unreachable!("the root is a directory");
    };
    let names = view.names_of_inode(root, b"f").unwrap();
    assert_eq!(names, ["a/b/f", "a/f", "f", "h"].map(path));
    assert!(view.names_of_inode(root, b"g").unwrap().is_empty());
}

#[test]
fn a_leaf_says_what_a_copy_of_it_costs() {
    let stack = Stack::new(&["l@ f"]);
    let sparse = fs::File::create(stack.layers[0].join("sparse")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    let view = stack.view();
    let Found::Directory(root) = view.root() else {
        unreachable!("the root is a directory");
    };
    assert_eq!(view.leaf(root, b"f").unwrap().bytes, 1);
    assert_eq!(view.leaf(root, b"sparse").unwrap().bytes, 0);
    assert_eq!(view.leaf(root, b"l").unwrap().bytes, 0);
    assert_eq!(&*view.read_link(root, b"l").unwrap(), b"nowhere");
}

/// Looks the same directories up in each view while it grows.
fn time_to_grow(layers: usize, directories: usize) -> Duration {
    let words: String = (0..directories)
        .map(|number| format!("d/{number}/ "))
        .collect();
    let stack = Stack::new(&vec![&*words; layers]);
    let start = processor_time();
    let mut view = MergedView::new(Namespace::User);
    for layer in &stack.layers {
        view.push(open(layer));
        for number in 0..directories {
            let found = view.directory(&path(&format!("d/{number}"))).unwrap();
            assert!(found.is_some());
        }
    }
    processor_time() - start
}

#[test]
fn directories_that_every_layer_lists_cost_one_lookup_a_layer() {
    let few = (0..3).map(|_| time_to_grow(10, 100)).min().unwrap();
    let many = time_to_grow(100, 100);
    assert!(many < 40 * few, "{few:?}, {many:?}");
}

/// A process may have 1,024 files open; other tests have some, too.
#[test]
fn many_layers_are_not_all_open_at_once() {
    let stack = Stack::new(&vec!["d/e/ d/e/f"; 300]);
    let near = Arc::new(Dir::open(stack.scratch.path()).unwrap());
    let mut view = MergedView::new(Namespace::User);
    for number in 0..300 {
        view.push(LayerRoot::beneath(
            Arc::clone(&near),
            path(&number.to_string()),
        ));
    }
    assert_eq!(shown(&view), ["d/", "d/e/", "d/e/f=299"]);
    let open = fs::read_dir("/proc/self/fd").unwrap().filter(|entry| {
        let target = fs::read_link(entry.as_ref().unwrap().path());
        target.is_ok_and(|target| target.starts_with(stack.scratch.path()))
    });
    assert!(open.count() <= 128);
}
