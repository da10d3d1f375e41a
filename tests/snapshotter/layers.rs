//! Snapshots of layers that the store has: containerd is told that they exist, mounts show them, and
//! they stay as long as the snapshots do.

use std::fs;

use lowerdir::snapshotter::Code;
use lowerdir::snapshotter::{SnapshotKind, Snapshotter};
use lowerdir::store::Sync;
use lowerdir::store::{Removing, prune, remove_image};

use crate::oci::{chain_ids, diff_ids};
use crate::place::{Place, TARGET, labels, two_layers};
use crate::tarball::LayerBuilder;

/// What containerd asks before it would fetch a layer.
fn prepare(snapshotter: &Snapshotter, chain_id: &str, parent: Option<&str>) -> Option<Code> {
    let key = format!("extract-1 {chain_id} {parent:?}");
    let asked = snapshotter.prepare(&key, parent, labels([(TARGET, chain_id)]));
    asked.err().map(|failure| failure.code)
}

fn now() -> Removing<'static> {
    Removing::default().sync(Sync::None)
}

#[test]
fn a_chain_of_the_store_exists_under_its_name() {
    let (place, (layers, chain)) = (Place::new(), two_layers());
    place.unpack(&layers);
    let snapshotter = place.open();
    assert_eq!(
        prepare(&snapshotter, &chain[0], None),
        Some(Code::AlreadyExists)
    );
    assert_eq!(
        prepare(&snapshotter, &chain[1], Some(&chain[0])),
        Some(Code::AlreadyExists)
    );
    // Once more, as from another pull.
    assert_eq!(
        prepare(&snapshotter, &chain[1], Some(&chain[0])),
        Some(Code::AlreadyExists)
    );

    let top = snapshotter.stat(&chain[1]).unwrap();
    assert_eq!(
        (top.kind, top.parent.as_ref()),
        (SnapshotKind::Committed, Some(&chain[0]))
    );
    // This is how containerd finds it.
    let filter = format!("labels.\"{TARGET}\"=={},parent==\"{}\"", chain[1], chain[0]);
    let found = snapshotter.list(&[filter]).unwrap();
    assert_eq!(found, [top]);
    assert_eq!(snapshotter.list(&[]).unwrap().len(), 2);
    assert!(place.directories().is_empty());

    let store = fs::canonicalize(&place.config.store).unwrap();
    let fs = |chain_id: &str| {
        let hex = chain_id.strip_prefix("sha256:").unwrap();
        format!("{}/layers/sha256/{hex}/fs", store.display())
    };
    let mounts = snapshotter
        .prepare("run", Some(&chain[1]), labels([]))
        .unwrap();
    let lower = format!("lowerdir={}:{}", fs(&chain[1]), fs(&chain[0]));
    assert!(mounts[0].options.contains(&lower), "{mounts:?}");
    // An overlay too where there is one layer: it may hold what only an overlay shows right.
    let mounts = snapshotter
        .view("look", Some(&chain[0]), labels([]))
        .unwrap();
    let lower = format!("lowerdir={}:{}/empty/1", fs(&chain[0]), store.display());
    assert_eq!(mounts[0].kind, "overlay");
    assert!(mounts[0].options.contains(&lower), "{mounts:?}");
    // The whiteout and the two files: with directories, 3 and 2 inodes.
    assert_eq!(snapshotter.usage(&chain[0]).unwrap().inodes, 3);
    assert_eq!(snapshotter.usage(&chain[1]).unwrap().inodes, 4);
}

#[test]
fn what_the_store_lacks_is_left_to_containerd() {
    let (mut place, (layers, chain)) = (Place::new(), two_layers());
    place.unpack(&layers[..1]);
    let snapshotter = place.open();
    assert_eq!(
        prepare(&snapshotter, &chain[0], None),
        Some(Code::AlreadyExists)
    );
    assert_eq!(prepare(&snapshotter, &chain[1], Some(&chain[0])), None);
    // A name that is no chain ID, and a parent that is not there.
    assert_eq!(prepare(&snapshotter, "name", Some(&chain[0])), None);
    assert_eq!(
        prepare(&snapshotter, &chain[1], Some("no")),
        Some(Code::NotFound)
    );
    // Not its parent.
    assert_eq!(prepare(&snapshotter, &chain[0], Some(&chain[0])), None);
    assert_eq!(place.told.lock().unwrap().len(), 1);
    drop(snapshotter);
    // A layer that was translated otherwise would not mount.
    place.config.options = place.config.options.drop_estargz(true);
    place.config.root = place.path().join("other root");
    assert_eq!(prepare(&place.open(), &chain[0], None), None);
}

#[test]
fn snapshots_keep_layers_from_rm_and_prune() {
    let (place, (layers, chain)) = (Place::new(), two_layers());
    let image = place.unpack(&layers);
    let (snapshotter, store) = (place.open(), place.store());
    prepare(&snapshotter, &chain[0], None);
    prepare(&snapshotter, &chain[1], Some(&chain[0]));
    let removal = remove_image(&store, &image, now()).unwrap();
    assert!(removal.layers.is_empty());
    let owners: Vec<_> = removal.pinned.values().collect();
    assert_eq!(owners.len(), 2);
    assert!(owners[0].starts_with("snapshot sha256:"), "{owners:?}");
    assert!(prune(&store, now()).unwrap().layers.is_empty());
    assert_eq!(store.layers().unwrap().len(), 2);

    snapshotter.remove(&chain[1]).unwrap();
    assert_eq!(prune(&store, now()).unwrap().layers.len(), 1);
    assert!(
        snapshotter
            .view("look", Some(&chain[0]), labels([]))
            .is_ok()
    );
    snapshotter.remove("look").unwrap();
    snapshotter.remove(&chain[0]).unwrap();
    assert_eq!(prune(&store, now()).unwrap().layers.len(), 1);
    assert_eq!(place.pins(), 0);
    assert!(store.layers().unwrap().is_empty());
}

#[test]
fn pins_agree_with_the_database_after_a_start() {
    let (place, (layers, chain)) = (Place::new(), two_layers());
    place.unpack(&layers);
    let snapshotter = place.open();
    prepare(&snapshotter, &chain[0], None);
    drop(snapshotter);
    let pins = place.config.store.join("pins");
    let pin = fs::read_dir(&pins).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&pin).unwrap();
    // One of a request that was killed, one of somebody else, and one that is damaged.
    let name = pin.file_name().unwrap().to_str().unwrap();
    fs::write(pins.join(name.replace("-1.json", "-99.json")), &text).unwrap();
    fs::write(pins.join("snapshotter-0123456789abcdef-1.json"), &text).unwrap();
    fs::write(&pin, "damaged").unwrap();
    let damaged = prune(&place.store(), now()).unwrap_err();
    assert!(
        damaged.hint_text().unwrap().contains("when it starts"),
        "{damaged}"
    );
    drop(place.open());
    assert_eq!(fs::read_to_string(&pin).unwrap(), text);
    assert_eq!(place.pins(), 2);
}

#[test]
fn layers_that_are_gone_are_told_of() {
    let (place, (layers, chain)) = (Place::new(), two_layers());
    place.unpack(&layers);
    let snapshotter = place.open();
    prepare(&snapshotter, &chain[0], None);
    fs::remove_dir_all(place.config.store.join("layers/sha256")).unwrap();
    let failure = snapshotter
        .prepare("run", Some(&chain[0]), labels([]))
        .unwrap_err();
    assert_eq!(failure.code, Code::FailedPrecondition);
    assert!(failure.line().contains("lowerdir unpack"), "{failure}");
    // Nothing was made.
    assert_eq!(snapshotter.stat("run").unwrap_err().code, Code::NotFound);
    drop(snapshotter);
    let snapshotter = place.open();
    assert!(place.told.lock().unwrap()[0].contains("lost its layers"));
    snapshotter.remove(&chain[0]).unwrap();
}

/// containerd's namespaces have each their own snapshots of layers that were unpacked by containerd,
/// and one of those that the store had.
#[test]
fn a_chain_on_another_parent_has_another_name() {
    let (place, (layers, chain)) = (Place::new(), two_layers());
    let snapshotter = place.open();
    let mut parents = Vec::new();
    for namespace in ["one", "two"] {
        let (key, name) = (
            format!("{namespace}/1/key"),
            format!("{namespace}/2/{}", chain[0]),
        );
        assert_eq!(prepare(&snapshotter, &chain[0], None), None);
        snapshotter
            .remove(&format!("extract-1 {} None", chain[0]))
            .unwrap();
        snapshotter.prepare(&key, None, labels([])).unwrap();
        snapshotter.commit(&name, &key, labels([])).unwrap();
        parents.push(name);
    }
    place.unpack(&layers);
    for parent in &parents {
        assert_eq!(
            prepare(&snapshotter, &chain[1], Some(parent)),
            Some(Code::AlreadyExists)
        );
        let filter = format!("labels.\"{TARGET}\"=={},parent==\"{parent}\"", chain[1]);
        assert_eq!(snapshotter.list(&[filter]).unwrap().len(), 1);
    }
    assert_eq!(
        snapshotter.stat(&chain[1]).unwrap().parent.as_ref(),
        Some(&parents[0])
    );
    assert_eq!(place.pins(), 2);
    // Its layers are those of the store, down to the lowest.
    let mounts = snapshotter
        .prepare("run", Some(&chain[1]), labels([]))
        .unwrap();
    let lower = mounts[0]
        .options
        .iter()
        .find_map(|option| option.strip_prefix("lowerdir="));
    assert_eq!(lower.unwrap().matches("/layers/sha256/").count(), 2);
}

#[test]
fn many_layers_fit_one_page_of_options() {
    let place = Place::new();
    let layer = |number: usize| {
        let name = format!("file-{number}");
        LayerBuilder::new().file(name, 0o644, "").finish()
    };
    let layers: Vec<_> = (0..120).map(layer).collect();
    let chain = chain_ids(&diff_ids(&layers));
    place.unpack(&layers);
    let snapshotter = place.open();
    let mut parent = None;
    for chain_id in &chain {
        assert_eq!(
            prepare(&snapshotter, chain_id, parent),
            Some(Code::AlreadyExists)
        );
        parent = Some(chain_id.as_str());
    }
    let mounts = snapshotter.prepare("run", parent, labels([])).unwrap();
    let lower = mounts[0]
        .options
        .iter()
        .find_map(|option| option.strip_prefix("lowerdir="));
    let lower: Vec<_> = lower.unwrap().split(':').collect();
    assert_eq!(lower.len(), 120);
    // containerd goes to the directory that all names have in common.
    let short: usize = lower
        .iter()
        .map(|name| name.rsplit('/').next().unwrap().len() + 1)
        .sum();
    assert!(short < 1000, "{short}");
    assert!(fs::exists(format!("{}/file-119", lower[0])).unwrap());
    assert!(fs::exists(format!("{}/file-0", lower[119])).unwrap());
}
