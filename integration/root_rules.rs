//! The translation rules that only root can see: owners, devices, capabilities, `trusted.*`.
//!
//! The names are those of the rules, as in `tests/rules`, which has all the rest.

use std::fs::{self, Metadata};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use lowerdir::image::Blob;
use lowerdir::report::Warning;
use lowerdir::store::Sync;
use lowerdir::unpack_layer;
use tempfile::TempDir;

use crate::scratch::{Mounted, Scratch};
use crate::tarball::{LayerBuilder, Meta};

/// `cap_dac_override,cap_fowner=ep`: it has a byte 0x0a, at which some readers split records.
const CAPABILITY: [u8; 20] = [
    1, 0, 0, 2, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];
/// user::rwx user:1234:rwx group::r-x mask::rwx other::---
const ACL: [u8; 44] = [
    2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 7, 0, 0xd2, 4, 0, 0, 4, 0, 5, 0, 255, 255,
    255, 255, 16, 0, 7, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
];

/// Layers that were unpacked over each other by root, the lowest first.
struct Unpacked {
    layers: Vec<PathBuf>,
    warnings: Vec<Warning>,
    site: TempDir,
    // Unmounted after all in it is gone.
    _scratch: Scratch,
}

/// `None` where this cannot be tried, which was said then.
fn unpack<const N: usize>(layers: [LayerBuilder; N]) -> Option<Unpacked> {
    let scratch = Scratch::new()?;
    let mut unpacked = Unpacked {
        layers: Vec::new(),
        warnings: Vec::new(),
        site: scratch.site(),
        _scratch: scratch,
    };
    for (number, layer) in layers.into_iter().enumerate() {
        let target = unpacked.site.path().join(number.to_string());
        unpacked.add(layer, target);
    }
    Some(unpacked)
}

impl Unpacked {
    fn add(&mut self, layer: LayerBuilder, target: PathBuf) {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(&layer.finish()).expect("room for a layer");
        let blob = Blob::from_file(file).expect("it is a file");
        let parents: Vec<PathBuf> = self.layers.iter().rev().cloned().collect();
        let unpack = unpack_layer(&blob, &target).parents(parents);
        let (report, _) = unpack.sync(Sync::None).run().expect("the layer is good");
        self.warnings = report.warnings.into_keys().collect();
        self.layers.push(target);
    }

    fn top(&self) -> &Path {
        self.layers.last().expect("at least one layer")
    }

    fn get(&self, name: &str) -> Metadata {
        let found = fs::symlink_metadata(self.top().join(name));
        found.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn owner(&self, name: &str) -> (u32, u32) {
        let found = self.get(name);
        (found.uid(), found.gid())
    }

    fn mode(&self, name: &str) -> u32 {
        self.get(name).mode() & 0o7777
    }

    fn xattr(&self, name: &str, xattr: &str) -> Option<Vec<u8>> {
        xattr::get(self.top().join(name), xattr).expect("root reads every xattr")
    }

    /// The names of all xattrs, sorted.
    fn xattrs(&self, name: &str) -> Vec<String> {
        let names = xattr::list(self.top().join(name)).expect("xattrs can be listed");
        let mut names: Vec<String> = names
            .map(|name| name.to_string_lossy().into_owned())
            .filter(|name| name != "security.selinux")
            .collect();
        names.sort();
        names
    }

    fn mount(&self) -> Mounted {
        let layers: Vec<PathBuf> = self.layers.iter().rev().cloned().collect();
        Mounted::stack(&layers, false, self.site.path()).expect("it can be mounted")
    }
}

fn owned(mode: u32) -> Meta {
    Meta::new(mode).owner(1000, 2000)
}

#[test]
fn m1_every_type_gets_its_owner_and_keeps_its_mode() {
    let layer = LayerBuilder::new()
        .dir("./", owned(0o2751))
        .dir("d", owned(0o6755))
        .file("f", owned(0o6755), "x")
        .fifo("p", owned(0o4640))
        .chardev("c", owned(0o4666), (1, 3))
        .blockdev("b", owned(0o2660), (7, 0))
        .file(
            "most",
            Meta::new(0o4755).owner(4_294_967_294, 4_294_967_294),
            "",
        );
    let Some(top) = unpack([layer]) else { return };
    let expected = [
        (".", 0o2751),
        ("d", 0o6755),
        ("f", 0o6755),
        ("p", 0o4640),
        ("c", 0o4666),
        ("b", 0o2660),
    ];
    for (name, mode) in expected {
        assert_eq!(
            (top.owner(name), top.mode(name)),
            ((1000, 2000), mode),
            "{name}"
        );
    }
    assert_eq!(top.owner("most"), (4_294_967_294, 4_294_967_294));
    assert_eq!(top.mode("most"), 0o4755);
}

#[test]
fn m1_a_symlink_has_an_owner_and_its_target_keeps_its_own() {
    let link = crate::tarball::Entry {
        name: b"s".into(),
        kind: crate::tarball::Kind::Symlink(b"f".into()),
        meta: owned(0o777).time(5, 6),
    };
    let layer = LayerBuilder::new().file("f", 0o600, "x").entry(&link);
    let Some(top) = unpack([layer]) else { return };
    assert_eq!((top.owner("s"), top.owner("f")), ((1000, 2000), (0, 0)));
    let times = (top.get("s").mtime(), top.get("f").mtime());
    assert_eq!(times, (5, crate::tarball::TIME));
    assert_eq!(top.mode("f"), 0o600);
}

/// A chown takes setuid and capabilities away, a chmod the group's part of an ACL.
#[test]
fn m1_the_owner_comes_before_capabilities_and_setuid() {
    let meta = owned(0o4770)
        .xattr("security.capability", CAPABILITY)
        .xattr("system.posix_acl_access", ACL)
        .time(7, 8);
    let layer = LayerBuilder::new().file("f", meta, "content");
    let Some(top) = unpack([layer]) else { return };
    assert_eq!(top.owner("f"), (1000, 2000));
    assert_eq!(top.mode("f"), 0o4770);
    assert_eq!(top.xattr("f", "security.capability").unwrap(), CAPABILITY);
    assert_eq!(top.xattr("f", "system.posix_acl_access").unwrap(), ACL);
    assert_eq!((top.get("f").mtime(), top.get("f").mtime_nsec()), (7, 8));
}

#[test]
fn m1_a_default_acl_is_on_its_directory_and_never_on_the_children() {
    let meta = Meta::new(0o755).xattr("system.posix_acl_default", ACL);
    let layer = LayerBuilder::new()
        .dir("d", meta)
        .file("d/f", 0o666, "")
        .dir("d/e", 0o777)
        .file("d/implied/g", 0o644, "")
        .fifo("d/p", 0o666)
        .chardev("d/c", 0o666, (1, 3));
    let whiteout = LayerBuilder::new().whiteout("d/f").hardlink("d/h", "d/e/i");
    let below = LayerBuilder::new().file("d/e/i", 0o666, "");
    let Some(top) = unpack([below, layer, whiteout]) else {
        return;
    };
    assert_eq!(top.xattr("d", "system.posix_acl_default").unwrap(), ACL);
    for name in ["d/f", "d/h", "d/e", "d/e/i"] {
        assert!(
            top.xattrs(name).is_empty(),
            "{name}: {:?}",
            top.xattrs(name)
        );
    }
    assert_eq!((top.mode("d/f"), top.mode("d/h")), (0, 0o666));
    let middle = &top.layers[1].join("d");
    for (name, mode) in [
        ("f", 0o666),
        ("e", 0o777),
        ("implied", 0o755),
        ("implied/g", 0o644),
        ("p", 0o666),
        ("c", 0o666),
    ] {
        let path = middle.join(name);
        let found = fs::symlink_metadata(&path).expect("it was made");
        assert_eq!(found.mode() & 0o7777, mode, "{name}");
        assert_eq!(xattr::list(&path).unwrap().count(), 0, "{name}");
    }
}

#[test]
fn h1_the_owner_in_a_link_entry_does_not_clear_the_capability() {
    let link = crate::tarball::Entry {
        name: b"g".into(),
        kind: crate::tarball::Kind::Hardlink(b"f".into()),
        meta: owned(0o600),
    };
    let meta = Meta::new(0o4755).xattr("security.capability", CAPABILITY);
    let layer = LayerBuilder::new().file("f", meta, "x").entry(&link);
    let Some(top) = unpack([layer]) else { return };
    assert_eq!(top.xattr("g", "security.capability").unwrap(), CAPABILITY);
    assert_eq!((top.owner("g"), top.mode("g")), ((0, 0), 0o4755));
}

#[test]
fn h2_a_lower_file_is_copied_up_with_owner_setuid_capability_and_trusted_xattrs() {
    let meta = owned(0o6755)
        .xattr("security.capability", CAPABILITY)
        .xattr("trusted.a", "b")
        .xattr("trusted.overlay.mine", "data");
    let below = LayerBuilder::new().file("f", meta, "x");
    let Some(top) = unpack([below, LayerBuilder::new().hardlink("g", "f")]) else {
        return;
    };
    assert_eq!((top.owner("g"), top.mode("g")), ((1000, 2000), 0o6755));
    assert_eq!(top.xattr("g", "security.capability").unwrap(), CAPABILITY);
    assert_eq!(top.xattr("g", "trusted.a").unwrap(), b"b");
    let own = top.xattr("g", "trusted.overlay.overlay.mine");
    assert_eq!(own.unwrap(), b"data");
    assert_eq!(top.get("g").ino(), top.get("f").ino());
}

#[test]
fn h2_a_lower_device_is_copied_up() {
    let below = LayerBuilder::new().chardev("c", owned(0o620), (5, 1));
    let Some(top) = unpack([below, LayerBuilder::new().hardlink("g", "c")]) else {
        return;
    };
    assert!(top.get("g").file_type().is_char_device());
    assert_eq!(top.get("g").rdev(), rustix::fs::makedev(5, 1));
    assert_eq!((top.owner("g"), top.mode("g")), ((1000, 2000), 0o620));
}

#[test]
fn i1_owner_and_acls_come_from_below() {
    let meta = owned(0o2770)
        .xattr("system.posix_acl_access", ACL)
        .xattr("system.posix_acl_default", ACL)
        .xattr("trusted.a", "b");
    let below = LayerBuilder::new().dir("./", owned(0o755)).dir("d", meta);
    let Some(top) = unpack([below, LayerBuilder::new().file("d/f", 0o644, "")]) else {
        return;
    };
    assert_eq!((top.owner("d"), top.mode("d")), ((1000, 2000), 0o2770));
    assert_eq!(top.xattr("d", "system.posix_acl_access").unwrap(), ACL);
    assert_eq!(top.xattr("d", "system.posix_acl_default").unwrap(), ACL);
    assert_eq!(top.xattr("d", "trusted.a").unwrap(), b"b");
    assert_eq!(top.owner("."), (1000, 2000));
    assert!(top.xattrs("d/f").is_empty());
}

#[test]
fn i2_with_nothing_below_it_belongs_to_root() {
    let layer = LayerBuilder::new().file("d/f", owned(0o644), "");
    let Some(top) = unpack([layer]) else { return };
    assert_eq!((top.owner("d"), top.owner(".")), ((0, 0), (0, 0)));
}

#[test]
fn w7_a_whiteout_belongs_to_root_whatever_its_entry_says() {
    let meta = owned(0o4777).time(9, 0).xattr("trusted.a", "b");
    let upper = LayerBuilder::new().file(".wh.f", meta, "content");
    let below = LayerBuilder::new().file("f", owned(0o644), "");
    let Some(top) = unpack([below, upper]) else {
        return;
    };
    let found = top.get("f");
    assert!(found.file_type().is_char_device() && found.rdev() == 0);
    assert_eq!((top.owner("f"), top.mode("f")), ((0, 0), 0));
    assert_eq!(found.mtime(), 9);
    assert!(top.xattrs("f").is_empty());
}

#[test]
fn o1_the_mark_of_an_ordinary_mount_is_a_trusted_xattr() {
    let upper = LayerBuilder::new().dir("d", owned(0o555)).opaque("d");
    let below = LayerBuilder::new().file("d/f", 0o644, "");
    let Some(top) = unpack([below, upper]) else {
        return;
    };
    assert_eq!(top.xattrs("d"), ["trusted.overlay.opaque"]);
    assert_eq!(top.xattr("d", "trusted.overlay.opaque").unwrap(), b"y");
}

#[test]
fn x1_trusted_overlay_xattrs_are_escaped_and_the_mount_shows_them() {
    let meta = Meta::new(0o755)
        .xattr("trusted.overlay.opaque", "y")
        .xattr("trusted.overlay.redirect", "/elsewhere");
    let below = LayerBuilder::new()
        .file("d/f", 0o644, "below")
        .file("elsewhere/g", 0o644, "");
    let Some(top) = unpack([below, LayerBuilder::new().dir("d", meta)]) else {
        return;
    };
    let escaped = [
        "trusted.overlay.overlay.opaque",
        "trusted.overlay.overlay.redirect",
    ];
    assert_eq!(top.xattrs("d"), escaped);
    let mounted = top.mount();
    let shown = |name| xattr::get(mounted.0.join("d"), name).unwrap().unwrap();
    assert_eq!(shown("trusted.overlay.opaque"), b"y");
    assert_eq!(shown("trusted.overlay.redirect"), b"/elsewhere");
    assert_eq!(fs::read(mounted.0.join("d/f")).unwrap(), b"below");
}

/// They are no orders in a mount without `userxattr`.
#[test]
fn x1_user_overlay_xattrs_are_left_alone_in_the_other_dialect() {
    let meta = Meta::new(0o755).xattr("user.overlay.opaque", "y");
    let below = LayerBuilder::new().file("d/f", 0o644, "");
    let Some(top) = unpack([below, LayerBuilder::new().dir("d", meta)]) else {
        return;
    };
    assert_eq!(top.xattrs("d"), ["user.overlay.opaque"]);
    let mounted = top.mount();
    assert!(mounted.0.join("d/f").exists());
    let shown = xattr::get(mounted.0.join("d"), "user.overlay.opaque");
    assert_eq!(shown.unwrap().unwrap(), b"y");
}

#[test]
fn x2_trusted_and_security_xattrs_are_kept_on_every_type_that_may_have_them() {
    let meta = |mode| {
        Meta::new(mode)
            .xattr("trusted.a", b"\0\n\xff")
            .xattr("security.other", "s")
    };
    let link = crate::tarball::Entry {
        name: b"s".into(),
        kind: crate::tarball::Kind::Symlink(b"nowhere".into()),
        meta: meta(0o777),
    };
    let layer = LayerBuilder::new()
        .file("f", meta(0o644), "")
        .dir("d", meta(0o755))
        .fifo("p", meta(0o644))
        .chardev("c", meta(0o644), (1, 3))
        .entry(&link);
    let Some(top) = unpack([layer]) else { return };
    for name in ["f", "d", "p", "c", "s"] {
        assert_eq!(top.xattr(name, "trusted.a").unwrap(), b"\0\n\xff", "{name}");
        assert_eq!(top.xattr(name, "security.other").unwrap(), b"s", "{name}");
    }
    assert!(top.warnings.is_empty());
}

#[test]
fn x2_user_xattrs_of_devices_are_left_out_with_a_warning() {
    let meta = Meta::new(0o600).xattr("user.a", "b");
    let layer = LayerBuilder::new().blockdev("b", meta, (7, 1));
    let Some(top) = unpack([layer]) else { return };
    assert!(top.xattrs("b").is_empty());
    assert_eq!(top.warnings, [Warning::XattrNotKept]);
}

#[test]
fn x3_the_mark_and_an_xattr_of_the_layer_that_looks_like_it_stand_side_by_side() {
    let meta = Meta::new(0o755).xattr("trusted.overlay.opaque", "n");
    let upper = LayerBuilder::new().dir("d", meta).opaque("d");
    let below = LayerBuilder::new().file("d/f", 0o644, "");
    let Some(top) = unpack([below, upper]) else {
        return;
    };
    assert_eq!(top.xattr("d", "trusted.overlay.opaque").unwrap(), b"y");
    let own = top.xattr("d", "trusted.overlay.overlay.opaque");
    assert_eq!(own.unwrap(), b"n");
    assert!(!top.mount().0.join("d/f").exists());
}

#[test]
fn s1_devices_are_made_as_they_are() {
    let layer = LayerBuilder::new()
        .chardev("null", Meta::new(0o666).time(3, 4), (1, 3))
        .blockdev("zero", 0o600, (0, 0))
        .chardev("last", 0o600, (4095, 1_048_575));
    let Some(top) = unpack([layer]) else { return };
    assert!(top.get("null").file_type().is_char_device());
    assert_eq!(top.get("null").rdev(), rustix::fs::makedev(1, 3));
    assert_eq!((top.get("null").mtime(), top.mode("null")), (3, 0o666));
    assert!(top.get("zero").file_type().is_block_device());
    assert_eq!(top.get("last").rdev(), rustix::fs::makedev(4095, 1_048_575));
    assert!(top.mount().0.join("zero").symlink_metadata().is_ok());
}

#[test]
fn m2_times_of_devices_and_whiteouts_are_kept_before_the_epoch() {
    let below = LayerBuilder::new().file("f", 0o644, "");
    let meta = |mode| Meta::new(mode).time(-2, 1);
    let upper = LayerBuilder::new()
        .chardev("c", meta(0o600), (1, 3))
        .file(".wh.f", meta(0), "");
    let Some(top) = unpack([below, upper]) else {
        return;
    };
    for name in ["c", "f"] {
        let found = top.get(name);
        assert_eq!((found.mtime(), found.mtime_nsec()), (-2, 1), "{name}");
        assert_eq!((found.atime(), found.atime_nsec()), (-2, 1), "{name}");
    }
}
