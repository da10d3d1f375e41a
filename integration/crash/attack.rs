//! An attacker who changes the staging directory under the hands of the one who unpacks.
//!
//! LOWERDIR_ROUNDS is how many runs are attacked (20).

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::snapshot::Snapshot;
use super::subject::{lowerdir, output, told};
use super::{Chance, tracer, wanted};
use crate::oci::{Compression, write_layout};
use crate::scratch::Scratch;
use crate::tarball::{LayerBuilder, Meta};

#[test]
fn an_attacker_in_the_staging_directory_reaches_nothing_outside() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = scratch.site();
    let court = Court::new(site.path());
    let (mut swaps, mut done) = (0, 0);
    let runs = wanted("LOWERDIR_ROUNDS", 20);
    let slow = "mknodat,mkdirat,openat,symlinkat:delay_exit=300";
    for run in 0..runs {
        // Every other run is slowed down after each call that makes something.
        let fault = (run % 2 == 1 && tracer::is_able()).then_some(slow);
        let (swapped, is_done) = court.attack(fault).expect("nothing outside is touched");
        swaps += swapped;
        done += usize::from(is_done);
    }
    println!("{swaps} swaps in {runs} runs, of which {done} ended as if nobody had been there");
    assert!(swaps > runs, "the attacker was too slow: {swaps}");
}

/// Much of each type of file, in few directories.
fn attacked_image(place: &Path) -> String {
    let made = (0..60).fold(LayerBuilder::new(), |layer, number| {
        let path = |kind: &str| format!("{}/{kind}{number}", number % 3);
        let meta = Meta::new(0o4755).owner(7, 7).xattr("trusted.a", "b");
        layer
            .fifo(path("pipe"), meta.clone())
            .chardev(path("null"), meta.clone(), (1, 3))
            .file(path("data"), meta.clone(), "data")
            .dir(path("new"), meta)
            .symlink(path("link"), "/")
    });
    let changed = (0..60).fold(LayerBuilder::new(), |layer, number| {
        let path = |kind: &str| format!("{}/{kind}{number}", number % 3);
        layer
            .whiteout(path("data"))
            .opaque(path("new"))
            .hardlink(path("again"), path("null"))
    });
    let layers = [made, changed].map(|layer| (layer.finish(), Compression::Gzip));
    let layout = place.join("attacked");
    write_layout(&layout, "it", &layers);
    format!("oci:{}", layout.display())
}

/// A canary, with a store that is being attacked beside it.
pub struct Court {
    place: PathBuf,
    image: String,
    canary: PathBuf,
    before: Snapshot,
}

impl Court {
    pub fn new(place: &Path) -> Court {
        let canary = place.join("canary/fs");
        for directory in [
            "", "0", "1", "2", "3", "etc", "srv", "srv/full", "new", "one",
        ] {
            fs::create_dir_all(canary.join(directory)).expect("a directory");
            for name in ["file", "pipe", "null", "data", "first"] {
                fs::write(canary.join(directory).join(name), "canary").expect("a file");
            }
        }
        Court {
            place: place.into(),
            image: attacked_image(place),
            before: Snapshot::of(&place.join("canary")),
            canary,
        }
    }

    /// Unpacks under attack. How many swaps were made, and whether the run ended well nevertheless.
    pub fn attack(&self, fault: Option<&str>) -> Result<(usize, bool), String> {
        let store = self.place.join("store");
        let _ = fs::remove_dir_all(&store);
        let mut command = lowerdir(&self.place, &["unpack", "--sync=none", &self.image]);
        if let Some(fault) = fault {
            command = tracer::sabotaged(&command, fault, &self.place.join("trace"));
        }
        let (stop, swaps) = (AtomicBool::new(false), AtomicUsize::new(0));
        let run = thread::scope(|scope| {
            let attacker = Attacker {
                links: self.place.join("links"),
                canary: &self.canary,
                swaps: &swaps,
                stop: &stop,
            };
            scope.spawn(move || attacker.swap_all(&store.join("staging")));
            let run = output(&mut command);
            stop.store(true, Ordering::Relaxed);
            run
        });
        Snapshot::of(&self.place.join("canary")).same(&self.before)?;
        match run.status.code() {
            Some(code @ (0 | 1 | 3)) => Ok((swaps.load(Ordering::Relaxed), code == 0)),
            _ => Err(told(&command, &run)),
        }
    }
}

/// Puts symbolic links to a canary in the place of directories and files, and back again.
struct Attacker<'a> {
    links: PathBuf,
    canary: &'a Path,
    swaps: &'a AtomicUsize,
    stop: &'a AtomicBool,
}

impl Attacker<'_> {
    fn swap_all(&self, staging: &Path) {
        let mut chance = Chance::new(0);
        fs::create_dir_all(&self.links).expect("a directory");
        while !self.stop.load(Ordering::Relaxed) {
            self.swap_below(staging, 0, &mut chance);
        }
    }

    fn swap_below(&self, directory: &Path, depth: usize, chance: &mut Chance) {
        let Ok(entries) = fs::read_dir(directory) else {
            return;
        };
        for entry in entries.flatten() {
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if depth >= 2 {
                self.swap(&entry.path(), chance);
            }
            if is_directory {
                self.swap_below(&entry.path(), depth + 1, chance);
            }
        }
    }

    /// There for a moment, then back.
    fn swap(&self, path: &Path, chance: &mut Chance) {
        let link = self.links.join("link");
        let _ = fs::remove_file(&link);
        let name = path.file_name().expect("it has a name");
        let target = [self.canary.join(name), self.canary.join("file")];
        let target = target
            .iter()
            .find(|target| target.exists())
            .expect("a canary");
        if std::os::unix::fs::symlink(target, &link).is_err() {
            return;
        }
        let swap = || {
            let path = CString::new(path.as_os_str().as_bytes()).expect("a path");
            renameat_with(CWD, &*link, CWD, &*path, RenameFlags::EXCHANGE)
        };
        if swap().is_ok() {
            self.swaps.fetch_add(1, Ordering::Relaxed);
            let moment = chance.within(Duration::from_micros(600));
            thread::sleep(moment);
            let _ = swap();
        }
        // What was swapped last may be a tree of the layer.
        let _ = fs::remove_dir_all(&link);
    }
}
