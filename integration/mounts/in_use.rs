//! What a mount is made of is neither removed nor repaired, however and wherever it was mounted;
//! once it is down, it is.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use super::seccomp::Kernel;
use super::{Unpacked, os, stderr};
use crate::scratch::Scratch;
use support::program;

impl Unpacked {
    pub(super) fn verb(&self, arguments: &[&OsStr]) -> Output {
        self.run(Kernel::AsItIs, arguments)
    }

    fn digest(&self) -> OsString {
        let images = fs::read_dir(self.store.join("images")).expect("the images");
        let names = images.map(|entry| entry.expect("an entry").file_name());
        let mut names = names.filter(|name| name != "names.json");
        let name = names.next().expect("there is one");
        name.to_str().expect("text").replace('-', ":").into()
    }

    fn layers_in_store(&self) -> usize {
        let layers = fs::read_dir(self.store.join("layers/sha256"));
        layers.expect("the layers").count()
    }

    /// The directory of the lowest layer.
    fn lowest(&self) -> std::path::PathBuf {
        let json = self.verb(&[os("stack"), &self.image, os("--json")]);
        let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
        let directories = json["directories"].as_array().expect("a list");
        let lowest = &directories[self.layers - 1];
        lowest.as_str().expect("text").into()
    }

    /// Neither `rm` nor `prune` nor `verify --repair` takes anything away.
    fn is_kept(&self, place: &str) {
        let digest = self.digest();
        for arguments in [&[os("rm"), &digest][..], &[os("rm"), os("-n"), &digest]] {
            let output = self.verb(arguments);
            let text = stderr(&output);
            assert_eq!(output.status.code(), Some(1), "{place}: {text}");
            assert!(
                text.contains("is in use by the mount on"),
                "{place}: {text}"
            );
            assert!(text.contains("hint: unmount it first"), "{place}: {text}");
        }
        let record = self.store.join("images");
        let name = digest.to_str().expect("text").replace(':', "-");
        let (record, aside) = (record.join(&name), self.site.path().join("aside"));
        fs::rename(&record, &aside).expect("the record");
        let output = self.verb(&[os("prune")]);
        assert!(output.status.success(), "{place}: {output:?}");
        assert!(
            stderr(&output).contains("stays: it is in use by"),
            "{place}: {output:?}"
        );
        fs::rename(&aside, &record).expect("the record");
        assert_eq!(self.layers_in_store(), self.layers, "{place}");
    }

    /// A verb that is to find nothing mounted. Other tests make mount namespaces, which begin with
    /// a copy of all mounts: as long as they last, ours is up in them.
    fn verb_when_unmounted(&self, arguments: &[&OsStr]) -> Output {
        for _ in 0..600 {
            let output = self.verb(arguments);
            if !stderr(&output).contains("in use by the mount on") {
                return output;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{arguments:?}: it is mounted somewhere for ever");
    }

    fn goes(&self, place: &str) {
        let output = self.verb_when_unmounted(&[os("rm"), &self.digest()]);
        assert!(output.status.success(), "{place}: {output:?}");
        assert_eq!(self.layers_in_store(), 0, "{place}");
        let output = self.verb(&[os("unpack"), &self.image, os("--sync=none")]);
        assert!(output.status.success(), "{place}: {output:?}");
    }
}

#[test]
fn a_mounted_image_stays_however_it_was_mounted() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let long = [b'l'; 250];
    // Few layers by their paths, many by short names, a long path by descriptors.
    for (store, layers) in [
        (os("store"), 3),
        (os("store"), 130),
        (OsStr::from_bytes(&long), 2),
    ] {
        let image = Unpacked::new(&scratch, store, layers);
        for kernel in [
            Kernel::AsItIs,
            Kernel::WithoutFsopen,
            Kernel::WithoutLowerdirPlus,
        ] {
            let place = format!("{layers} layers, {kernel:?}");
            for options in [&[][..], &[os("--tmpfs")]] {
                let target = image.mounted(kernel, options);
                image.is_kept(&place);
                if options.is_empty() {
                    image.is_at(&target.0);
                }
                let output = image.verb(&[os("umount"), target.0.as_os_str()]);
                assert!(output.status.success(), "{place}: {output:?}");
            }
            image.goes(&place);
        }
    }
}

/// A shell that has mounted something where nobody else sees it, until its input ends.
pub struct Elsewhere {
    shell: Child,
}

impl Elsewhere {
    pub fn run(image: &Unpacked, script: &str) -> Elsewhere {
        let mut shell = Command::new("unshare")
            .args([
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-e",
                "-c",
                script,
            ])
            .env("PROGRAM", program::path())
            .env("LOWERDIR_STORE", &image.store)
            .env("IMAGE", &image.image)
            .env("LOWEST", image.lowest())
            .current_dir(image.site.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare, of util-linux");
        let mut ready = String::new();
        let stdout = shell.stdout.as_mut().expect("a pipe");
        BufReader::new(stdout)
            .read_line(&mut ready)
            .expect("a line");
        assert_eq!(ready, "ready\n");
        Elsewhere { shell }
    }

    pub fn end(mut self) {
        drop(self.shell.stdin.take());
        let mut rest = String::new();
        let stdout = self.shell.stdout.as_mut().expect("a pipe");
        stdout.read_to_string(&mut rest).expect("text");
        self.shell.wait().expect("it ends");
    }
}

#[test]
fn an_image_that_is_mounted_elsewhere_stays() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let mount = "mkdir -p target && $PROGRAM mount $IMAGE target";
    let scripts = [
        format!("{mount}; echo ready; cat"),
        // By others, and with spaces where it is mounted.
        "mkdir -p 'a b'; mount -t overlay -o lowerdir=$LOWEST:/usr overlay 'a b'; echo ready; cat"
            .into(),
        // A layer by itself.
        "mkdir -p target; mount --bind $LOWEST target; echo ready; cat".into(),
        // The first process of the namespace sees nothing of it, since it is in a chroot.
        format!(
            "{mount}; mkdir -p jail; mount --bind / jail; exec 3<&0; cat <&3 & echo ready; exec chroot jail cat <&3"
        ),
    ];
    let image = Unpacked::new(&scratch, os("store"), 1);
    for script in scripts {
        let elsewhere = Elsewhere::run(&image, &script);
        image.is_kept(&script);
        elsewhere.end();
        image.goes(&script);
    }
}

#[test]
fn the_error_says_where_it_is_mounted() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 1);
    let script = "mkdir -p 'a b'; $PROGRAM mount $IMAGE 'a b'; echo ready; cat";
    let elsewhere = Elsewhere::run(&image, script);
    let output = image.verb(&[os("rm"), &image.digest()]);
    let place = image.site.path().join("a b");
    let expected = format!("is in use by the mount on {}\n", place.display());
    assert!(stderr(&output).contains(&expected), "{output:?}");
    elsewhere.end();
}

#[test]
fn another_image_can_be_removed_meanwhile() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    let one = image.digest();
    let target = image.mounted(Kernel::AsItIs, &[]);
    // One layer less: both need the lowest one.
    let other = Unpacked::new(&scratch, image.store.as_os_str(), 1);
    let other = fs::read_dir(other.store.join("images"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "names.json")
        .map(|name| name.replace('-', ":"))
        .find(|digest| **digest != *one.to_str().unwrap())
        .unwrap();
    let output = image.verb(&[os("rm"), os(&other)]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(image.layers_in_store(), 2);
    image.is_at(&target.0);
}

#[test]
fn a_mounted_layer_is_not_repaired() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    let target = image.mounted(Kernel::AsItIs, &[]);
    let damaged = image.lowest().join("f0");
    let good = fs::read(&damaged).unwrap();
    fs::write(&damaged, "changed").unwrap();
    let repair = [
        os("verify"),
        &*image.image,
        os("--repair"),
        os("--sync=none"),
    ];
    let output = image.verb(&repair);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = stderr(&output);
    assert!(
        text.contains("layer 1 (sha256:") && text.contains("in use by the mount on"),
        "{text}"
    );
    assert_eq!(fs::read(&damaged).unwrap(), b"changed");
    assert!(
        image
            .verb(&[os("umount"), target.0.as_os_str()])
            .status
            .success()
    );
    let output = image.verb_when_unmounted(&repair);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read(&damaged).unwrap(), good);
    image.is_at(&image.mounted(Kernel::AsItIs, &[]).0);
}

/// From the archive to the last trace: two empty directories are all that it is made of.
#[test]
fn an_image_without_layers_has_a_whole_life() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 0);
    for kernel in [Kernel::AsItIs, Kernel::WithoutFsopen] {
        for options in [&[][..], &[os("--tmpfs")]] {
            let target = image.mounted(kernel, options);
            assert_eq!(fs::read_dir(&target.0).unwrap().count(), 0);
            let output = image.verb(&[os("umount"), target.0.as_os_str()]);
            assert!(output.status.success(), "{output:?}");
        }
    }
    for arguments in [
        &[os("stack"), &*image.image][..],
        &[os("verify"), &*image.image],
        &[os("images")],
        &[os("rm"), &image.digest()],
        &[os("prune")],
    ] {
        let output = image.verb(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
    let left = fs::read_dir(image.store.join("images")).expect("a directory");
    let left: Vec<_> = left
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(left, ["names.json"]);
    assert!(is_empty(&image.store.join("staging")));
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).expect("a directory").count() == 0
}
