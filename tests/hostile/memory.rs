//! Memory is bounded whatever the layer: 64 MiB for 100,000 entries, and 150 bytes for each one more;
//! 400 for a directory, whose attributes are kept until nothing is added to it any more.
//! `LOWERDIR_ENTRIES` says how many the large layers have (300,000).

use std::fs;

use support::directory::in_memory;

use crate::oci::{self, Compression};
use crate::tarball::LayerBuilder;
use crate::watched;

const FEW: u64 = 100_000;
const FEW_TAKE: u64 = 64 << 20;
const ONE_MORE_TAKES: u64 = 150;
const ONE_MORE_DIRECTORY_TAKES: u64 = 400;

type Add = fn(LayerBuilder, u64) -> LayerBuilder;

/// A directory holds a thousand, and names are as long as in images.
fn name(number: u64) -> String {
    format!("usr/share/d{}/entry-{number:07}", number / 1000)
}

const SORTS: [(&str, Add); 5] = [
    ("files", |layer, number| {
        layer.file(name(number), 0o644, "content")
    }),
    ("directories", |layer, number| {
        layer.dir(name(number), 0o755)
    }),
    ("implied directories", |layer, number| {
        layer.file(name(number / 2) + "/f", 0o644, "")
    }),
    ("hard links", |layer, number| match number {
        0 => layer.file("first", 0o644, "content"),
        _ => layer.hardlink(name(number), "first"),
    }),
    ("whiteouts", |layer, number| layer.whiteout(name(number))),
];

/// The most memory that unpacking so many entries of a sort took.
fn taken(add: Add, count: u64) -> u64 {
    let site = in_memory();
    let layer = (0..count).fold(LayerBuilder::new(), add).finish();
    oci::write_layout(
        &site.path().join("image"),
        "latest",
        &[(layer, Compression::Zstd)],
    );
    let run = watched::unpack(site.path(), None, 600).expect("it ends");
    assert!(run.status.success(), "{}", run.stderr);
    fs::remove_dir_all(site.path()).expect("it can be removed");
    run.memory
}

#[test]
fn memory_is_bounded_for_every_sort_of_entry() {
    let many = std::env::var("LOWERDIR_ENTRIES");
    let many = many.map_or(3 * FEW, |many| many.parse().expect("a number"));
    for (sort, add) in SORTS {
        let one_more = match sort.ends_with("directories") {
            true => ONE_MORE_DIRECTORY_TAKES,
            false => ONE_MORE_TAKES,
        };
        for count in [FEW, many] {
            let allowed = FEW_TAKE + (count - FEW) * one_more;
            let memory = taken(add, count);
            println!(
                "{count} {sort}: {:.1} MiB",
                memory as f64 / f64::from(1 << 20)
            );
            assert!(
                memory <= allowed,
                "{count} {sort} took {memory} bytes, not {allowed}"
            );
        }
    }
}
