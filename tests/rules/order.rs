//! The result depends neither on where the markers stand in the archive, nor on the threads.

use std::fs;

use lowerdir::store::Sync;
use lowerdir::{Image, Reference, Store};
use proptest::prelude::*;

use crate::layer_dir::describe;
use crate::oci::{self, Compression};
use crate::place::{Place, unprivileged};
use crate::tarball::{Entry, LayerBuilder, layer};

/// Few names, so that they meet.
fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4)
        .prop_map(|names| names.join("/"))
}

fn entry() -> impl Strategy<Value = Entry> {
    let modes = prop::sample::select(vec![0o755, 0o700, 0o750]);
    prop_oneof![
        3 => (path(), modes).prop_map(|(path, mode)| Entry::dir(path).mode(mode)),
        3 => path().prop_map(|path| Entry::file(&path, &path)),
        1 => (path(), path()).prop_map(|(path, target)| Entry::symlink(path, format!("/{target}"))),
        1 => (path(), path()).prop_map(|(path, target)| Entry::hardlink(path, target)),
    ]
}

fn marker() -> impl Strategy<Value = Entry> {
    prop_oneof![
        3 => path().prop_map(|path| Entry::whiteout(&path)),
        1 => path().prop_map(|path| Entry::opaque(&path)),
        1 => Just(Entry::opaque("")),
    ]
}

/// One layer twice: its markers first, and its markers anywhere.
fn layer_in_two_orders() -> impl Strategy<Value = (LayerBuilder, LayerBuilder)> {
    let entries = prop::collection::vec(entry(), 0..6);
    let markers = prop::collection::vec((marker(), any::<prop::sample::Index>()), 0..4);
    (entries, markers).prop_map(|(entries, markers)| {
        let first = markers.iter().map(|(marker, _)| marker.clone());
        let first: LayerBuilder = first.chain(entries.clone()).collect();
        let mut anywhere = entries;
        for (marker, index) in markers {
            anywhere.insert(index.index(anywhere.len() + 1), marker);
        }
        (first, anywhere.into_iter().collect())
    })
}

fn unpack(layers: &[LayerBuilder]) -> Vec<Vec<String>> {
    let place = Place::new();
    match place.try_stack(layers) {
        Ok(done) => done.iter().map(|dir| describe(dir.path())).collect(),
        // Which of several faults is found first may well depend on the order.
        Err(error) => vec![vec![format!("{:?}", error.kind())]],
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn markers_may_stand_anywhere_in_their_layer(
        layers in prop::collection::vec(layer_in_two_orders(), 1..4)
    ) {
        let (first, anywhere): (Vec<LayerBuilder>, Vec<LayerBuilder>) = layers.into_iter().unzip();
        prop_assert_eq!(unpack(&first), unpack(&anywhere));
    }
}

/// Layers that need each other in every way: second passes, implied directories, deletions.
fn entangled() -> Vec<LayerBuilder> {
    let bottom = layer()
        .add(Entry::dir("./").mode(0o711))
        .add(Entry::dir("usr/lib").mode(0o750).xattr("user.a", "b"))
        .symlink("lib", "usr/lib")
        .file("usr/lib/f", 0o644, "bottom")
        .hardlink("usr/g", "usr/lib/f")
        .file("etc/x", 0o644, "x".repeat(300_000));
    vec![
        bottom,
        layer().file("lib/new", 0o644, "1").whiteout("lib/f"),
        layer()
            .hardlink("h", "usr/g")
            .dir("etc", 0o755)
            .opaque("etc"),
        layer().whiteout("usr").file("usr/lib/again", 0o644, "2"),
        layer()
            .file("lib/more", 0o644, "3")
            .file("etc/y", 0o644, "4"),
        layer()
            .opaque("")
            .file("last", 0o644, "5")
            .file("usr/lib/z", 0o644, ""),
    ]
}

fn trees(layers: &[LayerBuilder], jobs: usize) -> Vec<(String, Vec<String>)> {
    let place = Place::new();
    let path = place.path().join("image");
    let kinds = [Compression::Gzip, Compression::Zstd, Compression::Plain];
    let layers: Vec<_> = layers
        .iter()
        .zip(kinds.into_iter().cycle())
        .map(|(layer, compression)| (layer.clone().finish(), compression))
        .collect();
    oci::write_layout(&path, "latest", &layers);
    let reference = Reference::parse(path.as_os_str()).unwrap();
    let image = Image::open(&reference).unwrap();
    let store = Store::open(place.path().join("store")).unwrap();
    let unpack = store.unpack(&image).options(unprivileged());
    let done = unpack.jobs(jobs).sync(Sync::None).layers().unwrap();
    done.iter()
        .map(|unpacked| {
            let name = unpacked.path.strip_prefix(store.path()).unwrap();
            let record = fs::read_to_string(unpacked.path.with_file_name("layer.json"));
            let name = format!("{} {}", name.display(), record.unwrap());
            (name, describe(&unpacked.path))
        })
        .collect()
}

#[test]
fn one_thread_and_four_make_the_same_trees() {
    let one = trees(&entangled(), 1);
    assert_eq!(one.len(), 6);
    for _ in 0..5 {
        assert_eq!(trees(&entangled(), 4), one);
    }
}

#[test]
fn layers_one_by_one_are_the_same_as_layers_of_an_image() {
    let place = Place::new();
    let one_by_one = place.try_stack(&entangled()).unwrap();
    for (done, (name, tree)) in one_by_one.iter().zip(trees(&entangled(), 2)) {
        assert_eq!(describe(done.path()), tree, "{name}");
    }
}
