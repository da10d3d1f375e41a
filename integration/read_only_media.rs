//! A store on a read-only medium: a bind mount, SquashFS, EROFS. All that reads works on it, nothing
//! is written to it, and what has to write says so.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountFlags, mount_bind, mount_remount};
use tempfile::TempDir;

use crate::oci::{Compression, write_layout};
use crate::scratch::{Mounted, Run, Scratch};
use crate::tarball::{LayerBuilder, Meta};
use crate::touched::snapshot;
use crate::walk::Walk;
use support::program;

const BIND_READ_ONLY: MountFlags = MountFlags::BIND.union(MountFlags::RDONLY);

/// A store `made` with the image `one`; `two` has the same lowest layer.
struct Site {
    directory: TempDir,
    _scratch: Scratch,
}

impl Site {
    fn new() -> Option<Site> {
        let scratch = Scratch::new()?;
        let site = Site {
            directory: scratch.site(),
            _scratch: scratch,
        };
        for name in ["one", "two"] {
            let layers = [base(), top(name)].map(|layer| (layer, Compression::Gzip));
            write_layout(&site.path(name), "latest", &layers);
        }
        site.run(&["made"], &["unpack", "--sync=none", &site.image("one")])
            .expect("it can be written to");
        Some(site)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn image(&self, name: &str) -> String {
        format!("oci:{}", self.path(name).display())
    }

    /// Runs the product on these stores.
    fn run(&self, stores: &[&str], arguments: &[&str]) -> Result<Vec<PathBuf>, String> {
        let mut command = program::lowerdir();
        for store in stores {
            command.arg("--store").arg(self.path(store));
        }
        Run::of(command.arg("--quiet").args(arguments)).done()
    }

    /// Mounts `made` on `media`, by a bind mount.
    fn bind(&self) -> Mounted {
        let media = self.path("media");
        fs::create_dir(&media).expect("a mount point");
        mount_bind(self.path("made"), &media).expect("a bind mount");
        let mounted = Mounted(media);
        mount_remount(&mounted.0, BIND_READ_ONLY, "").expect("a read-only mount");
        mounted
    }

    /// Makes an image of `made` and mounts it on `media`. `None`, with a word why, where that cannot be.
    fn image_of_store(&self, kind: &str) -> Option<Mounted> {
        let (made, image, media) = (self.path("made"), self.path("image"), self.path("media"));
        let mut make = match kind {
            "squashfs" => Command::new("mksquashfs"),
            _ => Command::new("mkfs.erofs"),
        };
        match kind {
            "squashfs" => make.arg(&made).arg(&image).args(["-quiet", "-no-progress"]),
            _ => make.arg(&image).arg(&made),
        };
        let Ok(output) = make.output() else {
            crate::skip(&format!(
                "there is nothing that makes {kind}: see install-peers.sh"
            ));
            return None;
        };
        assert!(output.status.success(), "{output:?}");
        fs::create_dir(&media).expect("a mount point");
        let mut mount = Command::new("mount");
        mount.args(["-t", kind, "-o", "loop,ro"]);
        match Run::of(mount.arg(&image).arg(&media)).done() {
            Ok(_) => Some(Mounted(media)),
            Err(complaint) => {
                crate::skip(&format!("{kind} cannot be mounted: {complaint}"));
                None
            }
        }
    }

    /// Everything that reads the store on `media`.
    fn read_all(&self) {
        let (one, target) = (self.image("one"), Mounted::nothing(self.directory.path()));
        let on = target.0.display().to_string();
        let media = fs::canonicalize(self.path("media")).expect("it is there");
        let reads = |arguments: &[&str]| {
            let lines = self.run(&["media"], arguments);
            lines.unwrap_or_else(|complaint| panic!("{complaint}"))
        };
        let layers = reads(&["unpack", &one]);
        assert!(layers.len() == 2 && layers.iter().all(|layer| layer.starts_with(&media)));
        assert_eq!(reads(&["stack", &one]).len(), 1);
        assert_eq!(reads(&["images"]).len(), 2);
        for verify in [&["verify", "--all"][..], &["verify", "one"]] {
            assert_eq!(reads(verify), Vec::<PathBuf>::new());
        }
        let inspected = reads(&["inspect", "--no-read", &one]);
        let is_there = |line: &&PathBuf| line.to_string_lossy().contains(&*media.to_string_lossy());
        assert_eq!(inspected.iter().filter(is_there).count(), 2);
        reads(&["mount", &one, &on, "--print=fstab"]);
        let exported = self.path("exported").display().to_string();
        reads(&["export", "--format=containers-storage", &one, &exported]);

        // The same as what the blobs say.
        let flat = self.path("flat").display().to_string();
        reads(&["flatten", "--sync=none", &one, &flat]);
        let tree = Walk::new(Path::new(&flat), &BTreeSet::new()).listing;
        assert!(tree.len() > 5);
        for options in [&[][..], &["--tmpfs"]] {
            reads(&[&["mount", &one, &on][..], options].concat());
            let walk = Walk::new(&target.0, &BTreeSet::new());
            let verdict = walk.compare("a store on a medium", "flatten", &tree);
            verdict.unwrap_or_else(|difference| panic!("{difference}"));
            reads(&["umount", &on]);
        }
    }

    /// Everything that would have to write there.
    fn write_nothing(&self) {
        for arguments in [
            &["unpack", &self.image("two")][..],
            &["rm", "one"],
            &["prune"],
            &["prune", "-n"],
        ] {
            let complaint = self
                .run(&["media"], arguments)
                .expect_err("it cannot be written to");
            assert!(complaint.contains("media can only be read"), "{complaint}");
            assert!(complaint.contains("another --store DIR"), "{complaint}");
        }
        // With one that can be written to, only what is missing is unpacked.
        for stores in [["media", "local"], ["local", "media"]] {
            let layers = self.run(&stores, &["unpack", "--sync=none", &self.image("two")]);
            let layers = layers.expect("it is written to the other");
            let is_on = |layer: &PathBuf, store: &str| {
                layer.starts_with(fs::canonicalize(self.path(store)).expect("it is there"))
            };
            assert!(
                is_on(&layers[0], "local") && is_on(&layers[1], "media"),
                "{layers:?}"
            );
            assert_eq!(self.run(&stores, &["verify", "--all"]), Ok(vec![]));
        }
        let on = Mounted::nothing(self.directory.path());
        let target = on.0.display().to_string();
        let mount = ["mount", &self.image("two"), &target];
        self.run(&["media", "local"], &mount)
            .expect("it is mounted");
        assert_eq!(
            fs::read_to_string(on.0.join("etc/name")).expect("a file"),
            "two"
        );
        assert!(on.0.join("base/kept").is_file() && !on.0.join("base/gone").exists());
        self.run(&[], &["umount", &target]).expect("it is ours");
    }
}

fn base() -> Vec<u8> {
    let time = |mode: u32| Meta::new(mode).time(1_600_000_000, 0);
    LayerBuilder::new()
        .dir("base", time(0o750).owner(1000, 1000))
        .file("base/kept", time(0o4755).owner(1000, 70_000), "kept")
        .hardlink("base/link", "base/kept")
        .file("base/gone", 0o644, "gone")
        .file("opaque/old", 0o644, "old")
        .symlink("base/nowhere", "nowhere")
        .fifo("base/pipe", 0o600)
        .finish()
}

fn top(name: &str) -> Vec<u8> {
    LayerBuilder::new()
        .whiteout("base/gone")
        .opaque("opaque")
        .file("opaque/new", 0o644, "new")
        .file("etc/name", 0o644, name)
        .finish()
}

#[test]
fn a_store_on_a_read_only_mount_is_read_and_never_written_to() {
    let Some(site) = Site::new() else {
        return;
    };
    let _media = site.bind();
    let before = snapshot(&site.path("made"));
    site.read_all();
    site.write_nothing();
    assert_eq!(snapshot(&site.path("made")), before);
}

#[test]
fn a_store_in_an_image_of_squashfs_or_erofs_is_read() {
    for kind in ["squashfs", "erofs"] {
        let Some(site) = Site::new() else {
            return;
        };
        let Some(_media) = site.image_of_store(kind) else {
            return;
        };
        site.read_all();
        site.write_nothing();
    }
}

/// Where it is not sure that others cannot use what is in it, it is refused.
#[test]
fn a_read_only_store_is_entered_by_others_only_where_nothing_is_setuid() {
    let Some(site) = Site::new() else {
        return;
    };
    let media = site.bind();
    let images = || site.run(&["media"], &["images"]);
    let allow = |mode: u32| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(site.path("made"), mode).expect("it can be changed there");
    };
    allow(0o755);
    let complaint = images().expect_err("setuid files would be of use");
    assert!(complaint.contains("other users may enter"), "{complaint}");
    let flags = BIND_READ_ONLY | MountFlags::NOSUID;
    mount_remount(&media.0, flags, "").expect("a mount without setuid files");
    assert_eq!(images().map(|lines| lines.len()), Ok(2));
    allow(0o775);
    let complaint = images().expect_err("others may write by another way");
    assert!(complaint.contains("other users may write"), "{complaint}");
    allow(0o700);
    std::os::unix::fs::chown(site.path("made"), Some(1000), None).expect("root may");
    let complaint = images().expect_err("its owner may write by another way");
    assert!(complaint.contains("belongs to another user"), "{complaint}");
}

#[test]
fn a_read_only_mount_without_a_store_is_told_so() {
    let Some(site) = Site::new() else {
        return;
    };
    fs::rename(site.path("made/layers"), site.path("elsewhere")).expect("it is there");
    let _media = site.bind();
    let complaint = site
        .run(&["media"], &["images"])
        .expect_err("there is none");
    assert!(complaint.contains("media is not a store"), "{complaint}");
}
