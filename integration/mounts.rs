//! Mounting by the command: stacks of every depth, names of any bytes, both ways to mount, what
//! `--print` prints, upperdirs, and `umount`.

mod depth;
mod devices;
mod in_use;
mod json;
mod options;
mod places;
mod print;
mod seccomp;
mod sharing;
mod umount;
mod upper;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use tempfile::TempDir;

use crate::oci::{self, Compression};
use crate::scratch::{Mounted, Scratch, once_no_copy_is_left};
use crate::tarball::LayerBuilder;
use seccomp::Kernel;

/// An image of some layers, unpacked into a store.
struct Unpacked {
    site: TempDir,
    store: PathBuf,
    image: OsString,
    layers: usize,
}

impl Unpacked {
    /// Each layer adds `f<number>`, adds `t<number>`, and deletes the `t` of the one below. A layer
    /// of one store is in no other one: a mount keeps a layer wherever it lies.
    fn new(scratch: &Scratch, store: &OsStr, layers: usize) -> Unpacked {
        let site = scratch.site();
        let store = site.path().join(store);
        let tars: Vec<(Vec<u8>, Compression)> = (0..layers)
            .map(|number| {
                let root = LayerBuilder::new().dir(".", 0o711);
                let mut layer =
                    root.file(format!("f{number}"), 0o644, store.as_os_str().as_bytes());
                if number > 0 {
                    layer = layer.whiteout(format!("t{}", number - 1));
                }
                layer.file(format!("t{number}"), 0o640, "text").finish()
            })
            .map(|tar| (tar, Compression::Plain))
            .collect();
        let directory = site.path().join("image");
        oci::write_layout(&directory, "latest", &tars);
        let mut image = OsString::from("oci:");
        image.push(directory);
        let unpacked = Unpacked {
            store,
            site,
            image,
            layers,
        };
        let image = unpacked.image.clone();
        let options = ["unpack".as_ref(), &*image, "--sync=none".as_ref()];
        let output = unpacked.run(Kernel::AsItIs, &options);
        assert!(output.status.success(), "{output:?}");
        unpacked
    }

    fn run(&self, kernel: Kernel, arguments: &[&OsStr]) -> Output {
        kernel.run(|command| {
            command.arg("--store").arg(&self.store).args(arguments);
        })
    }

    /// `lowerdir mount IMAGE TARGET` with these options.
    fn mount(&self, kernel: Kernel, target: &Path, options: &[&OsStr]) -> Output {
        let fixed = ["mount".as_ref(), &*self.image, target.as_os_str()];
        self.run(kernel, &[&fixed[..], options].concat())
    }

    /// The same, where it has to work.
    fn mounted(&self, kernel: Kernel, options: &[&OsStr]) -> Mounted {
        let target = Mounted::nothing(self.site.path());
        let output = once_no_copy_is_left(|| self.mount(kernel, &target.0, options));
        assert!(output.status.success(), "{kernel:?}: {output:?}");
        target
    }

    /// Looks at every name: all that there should be, and none that cannot be looked at.
    fn is_at(&self, target: &Path) {
        let mut expected: BTreeSet<String> = (0..self.layers).map(|n| format!("f{n}")).collect();
        expected.insert(format!("t{}", self.layers - 1));
        let mut seen = BTreeSet::new();
        for entry in fs::read_dir(target).expect("it can be listed") {
            let entry = entry.expect("it can be listed");
            fs::symlink_metadata(entry.path()).expect("no name is a ghost");
            seen.insert(entry.file_name().into_string().expect("text"));
        }
        assert_eq!(seen, expected);
        let mode = fs::metadata(target).expect("the root").permissions();
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&mode) & 0o7777,
            0o711
        );
    }
}

/// An upperdir and a workdir that are not there yet.
struct Changes {
    upper: PathBuf,
    work: PathBuf,
}

impl Changes {
    fn new(upper: PathBuf, work: PathBuf) -> Changes {
        Changes { upper, work }
    }

    fn options(&self) -> [&OsStr; 4] {
        let (upper, work) = (self.upper.as_os_str(), self.work.as_os_str());
        [os("--upper"), upper, os("--work"), work]
    }
}

/// A mount that must not be made: what is said, and that nothing is mounted.
fn refused(image: &Unpacked, kernel: Kernel, options: &[&OsStr]) -> String {
    let target = Mounted::nothing(image.site.path());
    let output = image.mount(kernel, &target.0, options);
    let text = stderr(&output);
    assert_eq!(
        output.status.code(),
        Some(1),
        "{kernel:?} {options:?}: {text}"
    );
    assert!(text.contains("hint: "), "{text}");
    assert_eq!(mounts_on(&target.0), [], "{text}");
    text
}

fn os(text: &str) -> &OsStr {
    text.as_ref()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What is mounted on a directory, the lowest first: file system and source.
fn mounts_on(target: &Path) -> Vec<(String, String)> {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("the mount table");
    let target = target.to_str().expect("text");
    let of_line = |line: &str| {
        let (own, rest) = line.split_once(" - ")?;
        let mut rest = rest.split(' ');
        let on_target = own.split(' ').nth(4)? == target;
        on_target.then_some((rest.next()?.to_string(), rest.next()?.to_string()))
    };
    table.lines().filter_map(of_line).collect()
}
