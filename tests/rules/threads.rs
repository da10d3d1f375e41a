//! One thread and several make the same directories and the same listings, and the listings are
//! true. The layers are large enough to be read and written on threads of their own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use lowerdir::store::Sync;
use lowerdir::store::Verifier;
use lowerdir::{Image, Kind, Progress, Reference, Result, Silent, Store};
use proptest::prelude::*;
use proptest::sample::Index;
use support::dice::noise;

use crate::layer_dir::describe;
use crate::oci::{self, Compression};
use crate::place::{Place, unprivileged};
use crate::tarball::{Entry, LayerBuilder, layer};

/// From nothing to several chunks: one ends with a chunk, its neighbours just before and behind.
const SIZES: [usize; 8] = [0, 1, 700, 9_000, 100_000, 262_144, 300_000, 700_000];
/// More than what is read on one thread, also compressed.
const FIRST: usize = 200_000;

/// Few names, so that they meet while a writer is still busy with them.
fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "d"]), 1..4)
        .prop_map(|names| names.join("/"))
}

#[derive(Clone, Debug)]
enum Step {
    File(String, u64, usize, bool),
    Directory(String, bool),
    Symlink(String, String),
    HardLink(String, Index),
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop::sample::select(SIZES.to_vec());
    let xattr = || prop::bool::weighted(0.2);
    prop_oneof![
        12 => (path(), any::<u64>(), size, xattr())
            .prop_map(|(path, seed, size, xattr)| Step::File(path, seed, size, xattr)),
        2 => (path(), xattr()).prop_map(|(path, xattr)| Step::Directory(path, xattr)),
        1 => (path(), path()).prop_map(|(path, target)| Step::Symlink(path, target)),
        3 => (path(), any::<Index>()).prop_map(|(path, target)| Step::HardLink(path, target)),
    ]
}

fn layer_of(steps: Vec<Step>) -> LayerBuilder {
    let mut layer = layer().add(Entry::file("first", noise(1, FIRST)));
    let mut files = vec!["first".to_string()];
    for (number, step) in steps.into_iter().enumerate() {
        let with = |entry: Entry, xattr: bool| match xattr {
            true => entry.xattr("user.number", number.to_string()),
            false => entry,
        };
        layer = layer.add(match step {
            Step::File(path, seed, size, xattr) => {
                let mode = [0o644, 0o600, 0o4755, 0o777][number % 4];
                files.push(path.clone());
                let entry = Entry::file(path, noise(seed, size)).mode(mode);
                with(entry.mtime(number as i64 - 3, 123_456_789), xattr)
            }
            Step::Directory(path, xattr) => with(Entry::dir(path).mode(0o2750), xattr),
            Step::Symlink(path, target) => Entry::symlink(path, format!("/{target}")),
            Step::HardLink(path, target) => Entry::hardlink(path, target.get(&files).clone()),
        });
    }
    layer
}

/// What a run makes, or says.
type Outcome = std::result::Result<Vec<(String, Vec<String>)>, String>;

fn unpack(image: &Path, store: &Path, jobs: usize) -> Outcome {
    let unpack = || -> Result<_> {
        let image = Image::open(&Reference::parse(image)?)?;
        let store = Store::open(store)?;
        let unpack = store.unpack(&image).options(unprivileged());
        let done = unpack.jobs(jobs).sync(Sync::None).layers()?;
        let verifier = Verifier::new(&store, false, &Silent)?;
        for (number, chain_id) in image.chain_ids().iter().enumerate() {
            assert_eq!(verifier.layer(number, "", chain_id)?, []);
        }
        Ok(done
            .into_iter()
            .map(|layer| (layer.record.tree, describe(&layer.path)))
            .collect())
    };
    unpack().map_err(|error| format!("{:?}: {error}", error.kind()))
}

fn write_image(path: &Path, layers: &[LayerBuilder]) {
    let kinds = [Compression::Plain, Compression::Gzip, Compression::Zstd];
    let layers: Vec<_> = layers
        .iter()
        .zip(kinds)
        .map(|(layer, kind)| (layer.clone().finish(), kind))
        .collect();
    oci::write_layout(path, "latest", &layers);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn any_number_of_threads_makes_the_same(
        layers in prop::collection::vec(prop::collection::vec(step(), 1..20), 1..3)
    ) {
        let place = Place::new();
        let image = place.path().join("image");
        let layers: Vec<LayerBuilder> = layers.into_iter().map(layer_of).collect();
        write_image(&image, &layers);
        let one = unpack(&image, &place.path().join("one"), 1);
        let four = unpack(&image, &place.path().join("four"), 4);
        prop_assert_eq!(one, four);
    }
}

/// Needs a second group; who has none sees what every other test sees.
#[test]
fn a_store_that_gives_its_group_away_is_listed_as_it_is() {
    let place = Place::new();
    let image = place.path().join("image");
    write_image(&image, &[layer().file("f", 0o644, "content")]);
    let store = place.path().join("store");
    fs::create_dir(&store).unwrap();
    if chown(&store, None, Some(12_345)).is_ok() {
        fs::set_permissions(&store, fs::Permissions::from_mode(0o2700)).unwrap();
    }
    unpack(&image, &store, 1).expect("it is unpacked");
}

/// Panics when it hears of a byte: on a thread of the run.
struct Panics;

impl Progress for Panics {
    fn read(&self, _: usize, _: u64) {
        panic!("as the test wants");
    }
}

#[test]
fn a_thread_that_panics_is_no_fault_of_the_image() {
    let place = Place::new();
    let image = place.path().join("image");
    let file = || layer().add(Entry::file("f", noise(1, 700_000)));
    write_image(&image, &[file(), file().file("g", 0o644, "g"), file()]);
    for jobs in [1, 2, 8] {
        let opened = Image::open(&Reference::parse(&image).unwrap()).unwrap();
        let store = Store::open(place.path().join(format!("store{jobs}"))).unwrap();
        let unpack = store.unpack(&opened).options(unprivileged());
        let error = unpack.jobs(jobs).progress(&Panics).run().unwrap_err();
        assert_eq!(error.kind(), Kind::Internal, "{error:?}");
        assert!(store.layers().unwrap().is_empty());
    }
}
