//! A small layer, cut at every byte and with every bit of its compressed forms turned: unpacked by
//! the library, since it is thousands of times, beside a canary.

use std::fs::{self, File};
use std::path::Path;

use lowerdir::Digest;
use lowerdir::image::Blob;
use lowerdir::image::Expected;
use lowerdir::options::{Dialect, Namespace};
use lowerdir::store::Sync;
use lowerdir::{Error, Kind, Options, Owners, Result, unpack_layer};

use support::directory::{in_memory, make_removable};

use crate::canary::Canary;
use crate::oci::Compression;
use crate::tarball::{LayerBuilder, Meta};

/// Something of most that a layer can have, in few bytes.
fn layer() -> Vec<u8> {
    LayerBuilder::new()
        .dir("d", 0o755)
        .file("d/f", Meta::new(0o644).xattr("user.k", "v"), [7; 600])
        .symlink("d/l", "/etc")
        .hardlink("h", "d/f")
        .whiteout("w")
        .opaque("d/o")
        .file("n".repeat(120), 0o644, "x")
        .finish()
}

/// What the image says of a blob: all that there is to say, or nothing.
fn promises(blob: &[u8], tar: &[u8]) -> [Expected; 2] {
    let all = Expected {
        blob: Some(Digest::of(blob)),
        size: Some(blob.len() as u64),
        diff_id: Some(Digest::of(tar)),
    };
    [all, Expected::default()]
}

/// Unpacks beside the canary, and removes what came of it.
fn unpack(site: &Path, blob: &[u8], expected: &Expected) -> Result<()> {
    let (file, target) = (site.join("blob"), site.join("work/layer"));
    fs::write(&file, blob).expect("room for a blob");
    let blob = Blob::from_file(File::open(&file).expect("just written"))?;
    let options = Options::default()
        .dialect(Dialect::default().namespace(Namespace::User))
        .owners(Owners::Caller);
    let unpack = unpack_layer(&blob, &target).expected(expected.clone());
    let done = unpack.lowest().options(options).sync(Sync::None).run();
    let left = fs::read_dir(site.join("work")).expect("ours").count();
    assert_eq!(left, usize::from(done.is_ok()), "something is left");
    if done.is_ok() {
        make_removable(&target);
        fs::remove_dir_all(&target).expect("it can be removed");
    }
    done.map(drop)
}

/// Tries every damage: with the digests it is never taken, without them it does no harm.
fn each(blob: &[u8], tar: &[u8], damages: impl Iterator<Item = (String, Vec<u8>)>) {
    let site = in_memory();
    let canary = site.path().join("canary");
    Canary::build(&canary);
    fs::create_dir(site.path().join("work")).expect("a directory");
    let before = Canary::look(&canary);
    let [all, nothing] = promises(blob, tar);
    unpack(site.path(), blob, &all).expect("it is whole");
    for (name, damaged) in damages {
        let error = unpack(site.path(), &damaged, &all).expect_err(&name);
        assert!(is_intended(&error), "{name}: {error}");
        if let Err(error) = unpack(site.path(), &damaged, &nothing) {
            assert!(is_intended(&error), "{name}: {error}");
        }
        assert!(
            Canary::look(&canary) == before,
            "{name}: the canary changed"
        );
    }
}

/// A turned bit may also name an xattr that the file system has not, before the digest is known.
fn is_intended(error: &Error) -> bool {
    let kinds = [Kind::Refused, Kind::Mismatch, Kind::Limit];
    let is_named = error.entry().is_some() && error.raw_os_error().is_some();
    kinds.contains(&error.kind()) || is_named
}

fn forms() -> [(&'static str, Vec<u8>); 3] {
    let tar = layer();
    [
        ("plain", Compression::Plain.compress(&tar)),
        ("gzip", Compression::Gzip.compress(&tar)),
        ("zstd", Compression::Zstd.compress(&tar)),
    ]
}

#[test]
fn a_layer_cut_at_any_byte_is_refused_and_does_no_harm() {
    for (form, blob) in forms() {
        let cuts = (0..blob.len()).map(|at| (format!("{form} cut at {at}"), blob[..at].to_vec()));
        each(&blob, &layer(), cuts);
    }
}

#[test]
fn a_layer_with_any_bit_turned_is_refused_and_does_no_harm() {
    for (form, blob) in &forms()[1..] {
        let turned = (0..blob.len() * 8).map(|bit| {
            let mut damaged = blob.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            (format!("{form} with bit {bit} turned"), damaged)
        });
        each(blob, &layer(), turned);
    }
}
