//! What an entry costs in the parts of the engine that wait for no disk: `cargo bench --bench micro`.
//!
//! Every benchmark handles a thousand entries: an entry costs a thousandth of what is printed.

use std::path::Path;
use std::sync::Arc;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use lowerdir::internals::Archive;
use lowerdir::internals::Below;
use lowerdir::internals::Chunks;
use lowerdir::internals::Dir;
use lowerdir::internals::MergedView;
use lowerdir::internals::ThreadBudget;
use lowerdir::internals::settle;
use lowerdir::internals::{Pending, unpack};
use lowerdir::options::{Dialect, Namespace};
use lowerdir::path::EntryPath;
use lowerdir::{Limits, Options, Owners};
use tempfile::TempDir;

use support::tarball::{LayerBuilder, Meta};

const ENTRIES: usize = 1000;
const FILES_IN_DIRECTORY: usize = 20;
/// How many layers a lookup goes through.
const DEPTH: usize = 12;

fn main() {
    divan::main();
}

#[divan::bench]
fn parse(bencher: Bencher) {
    parses(bencher, |path| {
        LayerBuilder::new().file(path, Meta::new(0o644), "contents")
    });
}

/// With a PAX header before each entry.
#[divan::bench]
fn parse_pax(bencher: Bencher) {
    let meta = Meta::new(0o644).time(1, 5).xattr("user.a", "1");
    parses(bencher, |path| {
        LayerBuilder::new().file(path, meta.clone(), "contents")
    });
}

/// In the lowest of twelve layers.
#[divan::bench]
fn lookup(bencher: Bencher) {
    let site = in_memory();
    let layers = (0..DEPTH).map(|index| match index {
        0 => unpacked(&site, "0", &files()).0,
        _ => unpacked(&site, &index.to_string(), &directories()).0,
    });
    let mut layers: Vec<Arc<Dir>> = layers.map(Arc::new).collect();
    layers.reverse();
    let paths: Vec<EntryPath> = paths().map(|path| entry_path(&path)).collect();
    bencher.counter(ItemsCount::new(ENTRIES)).bench_local(|| {
        let view = MergedView::of_layers(layers.clone(), options().dialect.namespace);
        for path in &paths {
            black_box(view.see_path(path).expect("it can be read"));
        }
    });
}

/// A layer that deletes what is below, in directories that it implies.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn settle_deletions(bencher: Bencher) {
    let layer = paths().fold(LayerBuilder::new(), |layer, path| layer.whiteout(path));
    settles(bencher, &files(), &layer.finish());
}

/// A layer of directories over the same ones.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn settle_directories(bencher: Bencher) {
    let layer = paths().fold(LayerBuilder::new(), |layer, path| layer.dir(path, 0o755));
    let layer = layer.finish();
    settles(bencher, &layer, &layer);
}

fn parses(bencher: Bencher, entry: impl Fn(String) -> LayerBuilder) {
    let entries = paths().map(|path| entry(path).finish_without_end());
    let layer: Vec<u8> = entries.flatten().collect();
    bencher.counter(ItemsCount::new(ENTRIES)).bench(|| {
        let mut archive = Archive::new(layer.as_slice());
        while let Some(entry) = archive.next_entry().expect("it is well formed") {
            black_box(entry);
        }
    });
}

fn settles(bencher: Bencher, lower: &[u8], layer: &[u8]) {
    let site = in_memory();
    let (lower, _) = unpacked(&site, "lower", lower);
    let (lower, mut count) = (Arc::new(lower), 0);
    bencher
        .counter(ItemsCount::new(ENTRIES))
        .with_inputs(|| {
            count += 1;
            unpacked(&site, &count.to_string(), layer)
        })
        .bench_local_values(|(directory, pending)| {
            let view = MergedView::of_layers([lower.clone()], options().dialect.namespace);
            let below = Below::new(Some(view), &pending.markers, true).expect("it can be read");
            settle(directory, pending, &below, &options(), &Limits::default())
                .expect("it can be written")
        });
}

fn paths() -> impl Iterator<Item = String> {
    (0..ENTRIES).map(|index| {
        let directory = index / FILES_IN_DIRECTORY;
        format!("usr/share/directory-{directory}/file-{index}")
    })
}

fn entry_path(path: &str) -> EntryPath {
    EntryPath::parse(path.as_bytes()).expect("a good name")
}

fn files() -> Vec<u8> {
    let layer = paths().fold(LayerBuilder::new(), |layer, path| {
        layer.file(path, 0o644, "")
    });
    layer.finish()
}

fn directories() -> Vec<u8> {
    let parents = paths().step_by(FILES_IN_DIRECTORY);
    let parents = parents.map(|path| path.rsplit_once('/').expect("a directory").0.to_string());
    let layer = parents.fold(LayerBuilder::new(), |layer, path| layer.dir(path, 0o755));
    layer.finish()
}

/// A temporary directory, in memory where the system has a place for that.
fn in_memory() -> TempDir {
    let site = tempfile::tempdir_in("/dev/shm").or_else(|_| TempDir::new());
    site.expect("a temporary directory")
}

/// The layer in a directory of its own, and what is left to settle.
fn unpacked(site: &TempDir, name: &str, layer: &[u8]) -> (Dir, Pending) {
    let directory = site.path().join(name);
    std::fs::create_dir(&directory).expect("a new directory");
    let open = |path: &Path| Dir::open(path).expect("it was just made");
    let (options, limits) = (options(), Limits::default());
    let (layer, alone) = (Chunks::of_reader(layer), ThreadBudget::new(1));
    let pending = unpack(
        layer,
        open(&directory),
        &options,
        &limits,
        None,
        &alone.share(),
    );
    let pending = pending.expect("a good layer");
    (open(&directory), pending)
}

/// What needs no privilege.
fn options() -> Options {
    Options::default()
        .dialect(Dialect::default().namespace(Namespace::User))
        .owners(Owners::Caller)
}
