//! The images that are unpacked, the program, and what must hold of a store whatever happened.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::{Chance, Verdict};
use crate::oci::{Compression, write_layout};
use crate::tarball::{LayerBuilder, Meta};
use support::program;

/// Two images that share their lower layers.
pub struct Subject {
    directory: PathBuf,
}

impl Subject {
    /// Writes the images; `files` more of them make the upper layers larger.
    pub fn write(directory: &Path, files: usize) -> Subject {
        let directory = directory.join("images");
        for (name, layers) in [
            ("one", vec![base(), middle(), many("one", files)]),
            (
                "two",
                vec![base(), middle(), many("two", files), many("top", 3)],
            ),
        ] {
            let layers: Vec<_> = layers
                .into_iter()
                .map(|layer| (layer, Compression::Gzip))
                .collect();
            write_layout(&directory.join(name), "latest", &layers);
            for (number, (layer, compression)) in layers.iter().enumerate() {
                let path = directory.join(format!("{name}.{number}"));
                fs::write(path, compression.compress(layer)).expect("a blob");
            }
        }
        Subject { directory }
    }

    pub fn image(&self, name: &str) -> String {
        format!("oci:{}", self.directory.join(name).display())
    }

    /// The blob of a layer of an image.
    pub fn blob(&self, name: &str, layer: usize) -> String {
        let path = self.directory.join(format!("{name}.{layer}"));
        path.to_str().expect("a plain path").into()
    }
}

/// Every type of file, with all that a file can have.
fn base() -> Vec<u8> {
    let private = Meta::new(0o4750).owner(1000, 1001).time(1, 500);
    LayerBuilder::new()
        .dir("etc", Meta::new(0o755).time(5, 5))
        .file("etc/passwd", Meta::new(0o644).time(7, 7), "root")
        .file("etc/shadow", private.clone(), "secret")
        .file("etc/empty", Meta::new(0o600).xattr("user.mark", "1"), "")
        .hardlink("etc/again", "etc/passwd")
        .symlink("etc/link", "passwd")
        .dir("srv", Meta::new(0o2750).owner(3, 4))
        .file("srv/data", private, noise("srv/data", 100_000))
        .fifo("srv/pipe", 0o640)
        .chardev("srv/null", 0o666, (1, 3))
        .dir("srv/full", 0o755)
        .file("srv/full/a", 0o644, "a")
        .finish()
}

/// All that has to be settled: deletions, an opaque directory, a directory without an entry, and a
/// hard link to the layer below, for which the layer is unpacked a second time.
fn middle() -> Vec<u8> {
    LayerBuilder::new()
        .whiteout("etc/shadow")
        .opaque("srv/full")
        .file("srv/full/b", 0o600, noise("b", 5000))
        .hardlink("linked", "etc/passwd")
        .dir("new", Meta::new(0o700).xattr("trusted.mark", "2"))
        .symlink("new/link", "/etc")
        .finish()
}

fn many(name: &str, files: usize) -> Vec<u8> {
    let layer = LayerBuilder::new()
        .dir(name, 0o755)
        .whiteout("etc/empty")
        .file(format!("{name}/first"), 0o644, name);
    let add = |layer: LayerBuilder, number: usize| {
        let path = format!("{name}/{}/{number}", number % 10);
        let content = noise(&path, 100 + number % 50 * 500);
        layer.file(path, Meta::new(0o644).time(number as i64, 1), content)
    };
    (0..files).fold(layer, add).finish()
}

/// Bytes that are the same for the same name, and do not compress.
fn noise(name: &str, length: usize) -> Vec<u8> {
    let number = name.bytes().fold(length as u64, |sum, byte| {
        sum.wrapping_mul(31) + u64::from(byte)
    });
    let mut chance = Chance::new(number);
    (0..length).map(|_| chance.number() as u8).collect()
}

/// The program in a directory whose `store` is the store.
pub fn lowerdir<S: AsRef<str>>(place: &Path, words: &[S]) -> Command {
    let mut command = program::lowerdir();
    command
        .args(["--store", "store", "--progress=none", "-j1"])
        .args(words.iter().map(AsRef::as_ref))
        .current_dir(place)
        .stdin(Stdio::null())
        .env_remove("RUST_BACKTRACE")
        // With what cargo puts there, the loader makes many more calls.
        .env_remove("LD_LIBRARY_PATH");
    command
}

/// Runs a command to its end.
pub fn output(command: &mut Command) -> Output {
    let output = command.output();
    output.unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Runs a command that has to work.
pub fn works(mut command: Command) -> Verdict {
    let output = output(&mut command);
    match output.status.success() {
        true => Ok(()),
        false => Err(told(&command, &output)),
    }
}

/// A run, in full.
pub fn told(command: &Command, output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let stdout = String::from_utf8_lossy(&output.stdout);
    format!("{command:?}: {}\n{text}{stdout}", output.status)
}

/// What is said before the first run has made the store.
pub const NO_STORE: &str = "there is no store at";

/// Every layer that has its name is whole, and every image that is recorded has its layers. Where there is no store yet,
/// that holds too.
pub fn verifies(place: &Path) -> Verdict {
    let mut verify = lowerdir(place, &["verify", "--all"]);
    let run = output(&mut verify);
    let is_absent = String::from_utf8_lossy(&run.stderr).contains(NO_STORE);
    match run.status.success() || is_absent {
        true => Ok(()),
        false => Err(told(&verify, &run)),
    }
}

/// Nothing is left of any run.
pub fn is_clean(place: &Path) -> Verdict {
    let store = place.join("store");
    let left = |directory: &str| {
        let names = fs::read_dir(store.join(directory)).into_iter().flatten();
        let names = names.map(|entry| entry.expect("a name").file_name());
        names
            .map(|name| name.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
    };
    let mut names = [left("staging"), left("locks")].concat();
    names.extend(
        left("images")
            .into_iter()
            .filter(|name| name != "names.json" && !name.starts_with("sha256-")),
    );
    match names.is_empty() {
        true => Ok(()),
        false => Err(format!("left over in the store: {names:?}")),
    }
}

/// The store knows the image, and has its layers.
pub fn is_recorded(place: &Path, image: &str) -> Verdict {
    let mut verify = lowerdir(place, &["verify", image]);
    let run = output(&mut verify);
    let text = String::from_utf8_lossy(&run.stderr);
    match run.status.success() && text.contains("nothing was changed") {
        true => Ok(()),
        false => Err(told(&verify, &run)),
    }
}
