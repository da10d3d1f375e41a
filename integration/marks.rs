//! The one reader of marks on disk, and the kernel: a deletion is written for exactly those names of hand-made
//! layers that a mount of them shows, and what a mount does not show as a tree is refused.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use support::program;

use crate::scratch::{Mounted, Scratch};
use crate::tarball::LayerBuilder;

const NAMESPACES: [&str; 2] = ["trusted", "user"];
/// Each is a file below.
const FILES: [&str; 10] = [
    "untouched",
    "device",
    "file",
    "full",
    "other",
    "x/device",
    "x/xattr",
    "x/full",
    "x/other",
    "x/untouched",
];
/// Each is a directory with a file in it below, and a directory above.
const DIRECTORIES: [&str; 5] = ["plain", "opaque", "twice", "empty", "foreign"];

struct Site {
    scratch: tempfile::TempDir,
    namespace: &'static str,
}

impl Site {
    fn new(scratch: &Scratch, namespace: &'static str) -> Site {
        let scratch = scratch.site();
        for name in ["below/x", "upper/x"] {
            fs::create_dir_all(scratch.path().join(name)).unwrap();
        }
        for name in FILES {
            fs::write(scratch.path().join("below").join(name), "below").unwrap();
        }
        for name in DIRECTORIES {
            fs::create_dir(scratch.path().join("below").join(name)).unwrap();
            fs::create_dir(scratch.path().join("upper").join(name)).unwrap();
            fs::write(scratch.path().join("below").join(name).join("f"), "below").unwrap();
        }
        Site { scratch, namespace }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.scratch.path().join(path)
    }

    fn file(&self, name: &str, content: &str) -> &Site {
        fs::write(self.path("upper").join(name), content).unwrap();
        self
    }

    fn device(&self, name: &str) {
        let (path, kind) = (self.path("upper").join(name), FileType::CharacterDevice);
        mknodat(CWD, path, kind, Mode::empty(), 0).unwrap();
    }

    fn mark(&self, name: &str, mark: &str, value: &str) -> &Site {
        self.mark_of(self.namespace, name, mark, value)
    }

    fn mark_of(&self, namespace: &str, name: &str, mark: &str, value: &str) -> &Site {
        let xattr = format!("{namespace}.overlay.{mark}");
        xattr::set(self.path("upper").join(name), xattr, value.as_bytes()).unwrap();
        self
    }

    fn mount(&self) -> Mounted {
        let layers = ["upper", "below"].map(|name| self.path(name));
        let userxattr = self.namespace == "user";
        Mounted::stack(&layers, userxattr, self.scratch.path()).expect("a mount")
    }

    /// Unpacks a layer over both that deletes these names.
    fn delete<'a>(&self, names: impl Iterator<Item = &'a str>) -> program::Run {
        let layer = names.fold(LayerBuilder::new(), |layer, name| layer.whiteout(name));
        fs::write(self.path("blob"), layer.finish()).unwrap();
        let _ = fs::remove_dir_all(self.path("new"));
        let mut command = program::lowerdir();
        command.current_dir(self.scratch.path()).args([
            "unpack-layer",
            "blob",
            "new",
            "--sync=none",
            "--lower",
            "upper",
            "--lower",
            "below",
        ]);
        if self.namespace == "user" {
            command.arg("--userxattr");
        }
        program::Run::of(&mut command)
    }
}

fn names() -> impl Iterator<Item = String> {
    let below = DIRECTORIES.iter().map(|name| format!("{name}/f"));
    FILES.iter().map(|name| name.to_string()).chain(below)
}

fn is_whiteout(path: &Path) -> bool {
    let found = fs::symlink_metadata(path);
    found.is_ok_and(|found| found.file_type().is_char_device())
}

#[test]
fn a_deletion_is_written_for_what_the_kernel_shows() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    for namespace in NAMESPACES {
        let other = NAMESPACES
            .into_iter()
            .find(|&other| other != namespace)
            .unwrap();
        let site = Site::new(&scratch, namespace);
        site.device("device");
        site.device("x/device");
        site.mark("x", "opaque", "x");
        site.file("file", "");
        site.file("x/xattr", "").mark("x/xattr", "whiteout", "");
        site.file("full", "full").mark("full", "whiteout", "");
        site.file("x/full", "full").mark("x/full", "whiteout", "y");
        site.file("other", "")
            .mark_of(other, "other", "whiteout", "");
        site.file("x/other", "")
            .mark_of(other, "x/other", "whiteout", "");
        site.mark("opaque", "opaque", "y")
            .mark("twice", "opaque", "yy");
        site.mark("empty", "opaque", "")
            .mark_of(other, "foreign", "opaque", "y");

        let mounted = site.mount();
        let shows = |name: &String| mounted.0.join(name).symlink_metadata().is_ok();
        let shown: BTreeSet<String> = names().filter(shows).collect();
        let expected = names()
            .filter(|name| !["device", "x/device", "x/xattr", "opaque/f"].contains(&name.as_str()));
        assert_eq!(shown, expected.collect(), "the kernel");
        drop(mounted);

        let names: Vec<String> = names().collect();
        site.delete(names.iter().map(String::as_str)).lines();
        let is_deleted = |name: &String| is_whiteout(&site.path("new").join(name));
        let deleted: BTreeSet<String> = names.into_iter().filter(is_deleted).collect();
        assert_eq!(deleted, shown, "{namespace}");
    }
}

/// The kernel lists the name, and says that it is not there.
#[test]
fn an_xattr_whiteout_without_its_directory_s_mark_is_a_ghost_and_refused() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    for namespace in NAMESPACES {
        let site = Site::new(&scratch, namespace);
        site.file("x/xattr", "").mark("x/xattr", "whiteout", "");
        let mounted = site.mount();
        let mut listed = fs::read_dir(mounted.0.join("x")).unwrap();
        assert!(listed.any(|entry| entry.unwrap().file_name() == "xattr"));
        assert!(mounted.0.join("x/xattr").symlink_metadata().is_err());
        drop(mounted);
        let xattr = format!("x/xattr: xattr {namespace}.overlay.whiteout");
        site.delete(["x/xattr"].into_iter())
            .fails(3, &["layer upper: ", &xattr]);
    }
}

/// With its usual parameters the kernel lets nobody in.
#[test]
fn a_layer_that_refers_to_those_below_it_is_refused() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let is_on = |name: &str| {
        let value = fs::read_to_string(format!("/sys/module/overlay/parameters/{name}"));
        value.is_ok_and(|value| value.trim() == "Y")
    };
    let follows = ["redirect_dir", "redirect_always_follow", "metacopy"]
        .into_iter()
        .any(is_on);
    for namespace in NAMESPACES {
        let site = Site::new(&scratch, namespace);
        site.mark("plain", "redirect", "/opaque");
        site.file("file", "").mark("file", "metacopy", "");
        if namespace == "user" || !follows {
            let mounted = site.mount();
            assert!(fs::read_dir(mounted.0.join("plain")).is_err());
            assert!(fs::metadata(mounted.0.join("file")).is_err());
        }
        let xattr = format!("plain: xattr {namespace}.overlay.redirect");
        let run = site.delete(["plain/f"].into_iter());
        run.fails(3, &["layer upper: ", &xattr]);
        assert!(run.hint().contains("lowerdir pack"), "{run:?}");
        // That it is there, is true whatever it holds.
        site.delete(["file"].into_iter()).lines();
    }
}
