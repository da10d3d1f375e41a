//! M1 to M3: what an inode gets, in which order, and what is out of range.

use std::os::unix::fs::MetadataExt;

use lowerdir::Kind;

use crate::place::Place;
use crate::tarball::{Entry, LayerBuilder, Meta, header, layer, pax_header, pax_record, seal};

#[test]
fn m1_all_twelve_mode_bits_are_kept() {
    let place = Place::new();
    let modes = [0o000, 0o4755, 0o2711, 0o1644, 0o7777, 0o640];
    let with_files = modes.iter().fold(layer(), |layer, &mode| {
        layer.add(Entry::file(format!("f{mode:o}"), "x").mode(mode))
    });
    let with_dirs = modes.iter().fold(with_files, |layer, &mode| {
        layer.add(Entry::dir(format!("d{mode:o}")).mode(mode))
    });
    let top = place.stack([with_dirs]);
    for mode in modes {
        assert_eq!(top.mode(format!("f{mode:o}")), mode);
        assert_eq!(top.mode(format!("d{mode:o}")), mode);
    }
}

#[test]
fn m1_bits_above_the_mode_are_left_out() {
    let place = Place::new();
    let top = place.stack([layer().add(Entry::file("f", "").mode(0o100_644))]);
    assert_eq!(top.mode("f"), 0o644);
}

#[test]
fn m1_what_comes_into_a_directory_does_not_change_its_time() {
    let place = Place::new();
    let top = place.stack([layer()
        .add(Entry::dir("./").mtime(10, 1))
        .add(Entry::dir("d").mtime(20, 2))
        .add(Entry::dir("d/e").mtime(30, 3))
        .file("d/e/f", 0o644, "x")
        .symlink("d/s", "e")
        .hardlink("d/g", "d/e/f")]);
    assert_eq!(top.mtime("."), (10, 1));
    assert_eq!(top.mtime("d"), (20, 2));
    assert_eq!(top.mtime("d/e"), (30, 3));
}

#[test]
fn m1_a_whiteout_does_not_change_the_time_of_its_directory() {
    let place = Place::new();
    let top = place.stack([
        layer().file("d/f", 0o644, "").file("g", 0o644, ""),
        layer()
            .add(Entry::dir("d").mtime(20, 2))
            .add(Entry::dir("./").mtime(10, 1))
            .whiteout("d/f")
            .whiteout("g"),
    ]);
    assert_eq!((top.mtime("."), top.mtime("d")), ((10, 1), (20, 2)));
}

#[test]
fn m1_a_second_pass_does_not_change_times_or_modes() {
    let place = Place::new();
    let top = place.stack([
        layer().file("f", 0o644, ""),
        layer()
            .add(Entry::dir("d").mode(0o500).mtime(20, 2))
            .hardlink("d/g", "f")
            .add(Entry::dir("./").mtime(10, 1)),
    ]);
    assert_eq!((top.mtime("."), top.mtime("d")), ((10, 1), (20, 2)));
    assert_eq!(top.mode("d"), 0o500);
}

#[test]
fn m1_files_come_into_directories_that_nobody_may_write() {
    let place = Place::new();
    let top = place.stack([layer()
        .add(Entry::dir("d").mode(0o555))
        .add(Entry::dir("d/e").mode(0o111))
        .file("d/e/f", 0o644, "x")]);
    assert_eq!((top.mode("d"), top.mode("d/e")), (0o555, 0o111));
    assert_eq!(top.read("d/e/f"), b"x");
}

#[test]
fn m1_a_default_acl_does_not_get_onto_the_children() {
    // Version 2; user::rwx group::r-x other::r-x, as `setfacl -d` writes it.
    let acl: &[u8] = &[
        2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 4, 0, 5, 0, 255, 255, 255, 255, 32, 0, 0, 0,
        255, 255, 255, 255,
    ];
    let name = "system.posix_acl_default";
    let place = Place::new();
    let top = place.stack([layer()
        .add(Entry::dir("d").xattr(name, acl))
        .add(Entry::file("d/f", "").mode(0o666))
        .add(Entry::dir("d/e").mode(0o777))
        .file("d/e/g", 0o644, "")]);
    assert_eq!(top.xattr("d", name).unwrap(), acl);
    for child in ["d/f", "d/e", "d/e/g"] {
        assert!(top.xattrs(child).is_empty(), "{child}");
    }
    assert_eq!((top.mode("d/f"), top.mode("d/e")), (0o666, 0o777));
}

#[test]
fn m2_times_are_kept_to_the_nanosecond_also_before_the_epoch() {
    let times = [
        (0, 0),
        (0, 1),
        (1, 999_999_999),
        (-1, 0),
        (-1, 999_999_999),
        (-1_000_000, 1),
        (2_147_483_648, 5),
        (4_294_967_296, 0),
    ];
    for (seconds, nanoseconds) in times {
        let place = Place::new();
        let entries = [
            Entry::file("f", "x"),
            Entry::dir("d"),
            Entry::symlink("s", "f"),
            Entry::fifo("p"),
        ];
        let all = entries.into_iter().fold(layer(), |layer, entry| {
            layer.add(entry.mtime(seconds, nanoseconds))
        });
        let top = place.stack([all]);
        for name in ["f", "d", "s", "p"] {
            assert_eq!(top.mtime(name), (seconds, nanoseconds.into()), "{name}");
        }
    }
}

#[test]
fn m2_the_atime_equals_the_mtime() {
    let place = Place::new();
    let top = place.stack([layer()
        .add(Entry::file("f", "x").mtime(-5, 6))
        .add(Entry::dir("d").mtime(7, 8))
        .add(Entry::symlink("s", "f").mtime(9, 10))]);
    for (name, time) in [("f", (-5, 6)), ("d", (7, 8)), ("s", (9, 10))] {
        let found = top.get(name);
        assert_eq!((found.atime(), found.atime_nsec()), time, "{name}");
    }
}

#[test]
fn m2_more_digits_than_nanoseconds_are_cut() {
    let place = Place::new();
    let records = pax_record("mtime", "12.3456789019999");
    let archive = LayerBuilder::new()
        .raw(pax_header(&records))
        .file("f", 0o644, "");
    let top = place.bottom_tar(&archive.finish());
    assert_eq!(top.mtime("f"), (12, 345_678_901));
}

fn refused_with(records: &[u8]) {
    let archive = LayerBuilder::new()
        .raw(pax_header(records))
        .file("f", 0o644, "");
    refused_tar(&archive.finish());
}

fn refused_tar(tar: &[u8]) {
    let place = Place::new();
    let error = place.try_unpack_tar("0", tar, lowerdir::Parents::Known(Vec::new()));
    let error = error.err().expect("a value out of range");
    assert_eq!(error.kind(), Kind::Refused, "{error}");
    assert_eq!(error.entry(), Some("f"));
    assert!(place.names().is_empty());
}

#[test]
fn m3_owners_over_4294967294_are_refused() {
    for value in ["4294967295", "4294967296", "18446744073709551616", "-1"] {
        refused_with(&pax_record("uid", value));
        refused_with(&pax_record("gid", value));
    }
    let place = Place::new();
    let top = place.stack([layer().add(Entry::file("f", "").owner(4_294_967_294, 4_294_967_294))]);
    assert!(top.has("f"));
}

#[test]
fn m3_owners_in_base_256_are_refused_too() {
    let mut block = header(b'0', b"f", b"", &Meta::new(0o644), 0);
    block[108..116].copy_from_slice(&[0x80, 0, 0, 1, 0, 0, 0, 0]);
    seal(&mut block);
    refused_tar(&LayerBuilder::new().raw(block).finish());
}

#[test]
fn m3_device_numbers_that_linux_has_not_are_refused() {
    for (major, minor) in [(4096, 0), (1, 0x10_0000)] {
        let archive = LayerBuilder::new().chardev("f", 0o600, (major, minor));
        refused_tar(&archive.finish());
        let archive = LayerBuilder::new().blockdev("f", 0o600, (major, minor));
        refused_tar(&archive.finish());
    }
}

#[test]
fn m3_sizes_that_overflow_are_refused() {
    for size in [
        "9223372036854775807",
        "18446744073709551615",
        "99999999999999999999",
    ] {
        refused_with(&pax_record("size", size));
    }
}

#[test]
fn m3_times_that_overflow_are_refused() {
    for time in ["9223372036854775808", "-99999999999999999999", "1e9", "now"] {
        refused_with(&pax_record("mtime", time));
    }
}
