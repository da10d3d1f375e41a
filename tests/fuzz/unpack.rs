//! `unpack`: one or two layers, of whatever bytes, unpacked into a store beside a canary.
//!
//! The dialect is `user.overlay.*` and the files are the caller's, so it needs no privilege; with
//! privilege, less is in the way of harm. Whatever the layers are: the canary does not change,
//! nothing stays in staging, an error has a kind that the image can be blamed for. What was unpacked
//! verifies, has the same tree digests when it is unpacked by more threads, and each layer by itself
//! is taken or refused without harm.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use lowerdir::Digest;
use lowerdir::image::{Blob, Image, Reference};
use lowerdir::options::{Dialect, Namespace};
use lowerdir::store::Verifier;
use lowerdir::store::{Store, Sync, Unpacked};
use lowerdir::{Error, Kind, Limits, Options, Owners, Silent, unpack_layer};
use rustix::io::Errno;
use tempfile::TempDir;

use crate::almost;
use support::directory::{in_memory, make_removable};

use crate::canary::Canary;
use crate::dice::Dice;
use crate::generate::{Flavour, Stack};
use crate::oci::{Compression, write_layout};

/// The canary, made once; each input has a directory of its own beside it.
static SITE: LazyLock<TempDir> = LazyLock::new(|| {
    let site = in_memory();
    Canary::build(&site.path().join("canary"));
    site
});

/// The first byte chooses where the layers come from.
pub fn check(data: &[u8]) {
    let Some((form, rest)) = data.split_first() else {
        return;
    };
    let layers = layers(form % 8, rest);
    let canary = SITE.path().join("canary");
    let before = Canary::look(&canary);
    let work = TempDir::new_in(SITE.path()).expect("a directory");
    let verdict = std::panic::catch_unwind(|| try_layers(work.path(), &layers));
    make_removable(work.path());
    drop(work);
    assert!(Canary::look(&canary) == before, "the canary changed");
    if let Err(panic) = verdict {
        std::panic::resume_unwind(panic);
    }
}

fn layers(form: u8, rest: &[u8]) -> Vec<Vec<u8>> {
    let mut dice = Dice::of_bytes(rest);
    match form {
        0 => vec![almost::archive(&mut dice).bytes],
        1..4 => vec![
            almost::archive(&mut dice).bytes,
            almost::archive(&mut dice).bytes,
        ],
        4 | 5 => {
            let stack = Stack::thrown(&mut dice, Flavour::ALL);
            let mut layers: Vec<_> = stack.tars().into_iter().map(|(tar, _)| tar).collect();
            layers.truncate(2);
            layers.push(almost::archive(&mut dice).bytes);
            layers
        }
        _ => {
            let mut bytes = rest.to_vec();
            almost::repair(&mut bytes);
            // The first two bytes say where the second layer begins.
            let at = usize::from(dice.byte()) * 512;
            let second = bytes.split_off(bytes.len().min(at));
            vec![bytes, second]
        }
    }
}

pub fn options() -> Options {
    Options::default()
        .dialect(Dialect::default().namespace(Namespace::User))
        .owners(Owners::Caller)
}

pub fn limits() -> Limits {
    Limits::default().bytes(64 << 20)
}

fn try_layers(work: &Path, layers: &[Vec<u8>]) {
    let blobs: Vec<_> = layers
        .iter()
        .map(|layer| (layer.clone(), Compression::Plain))
        .collect();
    write_layout(&work.join("image"), "it", &blobs);
    let reference = format!("oci:{}:it", work.join("image").display());
    let reference = Reference::parse(reference).expect("a reference");
    let image = Image::open(&reference).expect("an image of these layers");
    let one = unpack(work, "one", &image, 1);
    let two = unpack(work, "two", &image, 2);
    match (&one, &two) {
        (Ok(one), Ok(two)) => {
            let digests = |layers: &[Unpacked]| -> Vec<String> {
                layers
                    .iter()
                    .map(|layer| layer.record.tree.clone())
                    .collect()
            };
            assert_eq!(digests(one), digests(two), "by one thread, and by two");
        }
        (Err(one), Err(two)) => assert_eq!(one.to_string(), two.to_string()),
        _ => panic!("by one thread {}, by two {}", one.is_ok(), two.is_ok()),
    }
    for (number, layer) in layers.iter().enumerate() {
        let file = work.join(format!("blob{number}"));
        fs::write(&file, layer).expect("room for a blob");
        alone(work, number, &file);
    }
}

fn unpack(work: &Path, name: &str, image: &Image, jobs: usize) -> lowerdir::Result<Vec<Unpacked>> {
    let store = Store::open(work.join(name)).expect("a store");
    let unpack = store.unpack(image).options(options()).limits(limits());
    let unpacked = unpack.jobs(jobs).sync(Sync::None).layers();
    for place in ["staging", "locks"] {
        let left = fs::read_dir(work.join(name).join(place)).map_or(0, Iterator::count);
        assert_eq!(left, 0, "something is left in {place}");
    }
    match &unpacked {
        Ok(layers) => {
            let verifier = Verifier::new(&store, &Silent).expect("nobody else has it");
            for layer in layers {
                let chain_id = Digest::parse(&layer.record.chain_id).expect("a digest");
                let changes = verifier.layer(0, "", &chain_id).expect("it is readable");
                assert!(changes.is_empty(), "{changes:?}");
            }
        }
        Err(error) => blames_the_image(error),
    }
    unpacked
}

/// One layer of which nobody says what is below it.
fn alone(work: &Path, number: usize, file: &Path) {
    let blob = Blob::from_file(fs::File::open(file).expect("just written"));
    let blob = blob.expect("it is a file");
    let target = work.join(format!("alone{number}"));
    let before = fs::read_dir(work).expect("ours").count();
    let unpack = unpack_layer(&blob, &target).options(options());
    let done = unpack.limits(limits()).jobs(1).sync(Sync::None).run();
    let after = fs::read_dir(work).expect("ours").count();
    match done {
        Ok(_) => assert_eq!(after, before + 1, "the layer, and nothing else"),
        Err(error) => {
            assert_eq!(after, before, "something is left of a refused layer");
            blames_the_image(&error);
        }
    }
}

/// The image's fault, or what a file system says of a name or an xattr that it cannot hold; and
/// without privilege, what the image forbids the owner of its root is forbidden to us.
fn blames_the_image(error: &Error) {
    let is_forbidden = error.raw_os_error() == Some(Errno::ACCESS.raw_os_error())
        && !rustix::process::geteuid().is_root();
    let is_intended = match error.kind() {
        Kind::Refused | Kind::Limit => true,
        _ => is_forbidden || error.entry().is_some() && error.raw_os_error().is_some(),
    };
    let cause = std::error::Error::source(error);
    assert!(is_intended, "{error}: {cause:?}");
}
