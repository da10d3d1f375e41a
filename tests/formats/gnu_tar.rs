//! Archives as GNU tar writes them, sparse files above all: read like the files they were made of.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use lowerdir::internals::EntryKind;
use lowerdir::view::Extent;

use crate::read::{one, read};

const SPARSE: [&[&str]; 4] = [
    &["--sparse", "--format=gnu"],
    &["--sparse", "--format=posix", "--sparse-version=0.0"],
    &["--sparse", "--format=posix", "--sparse-version=0.1"],
    &["--sparse", "--format=posix", "--sparse-version=1.0"],
];

/// What `tar -c` writes of some files in a directory.
fn tar(directory: &Path, options: &[&str], names: &[&str]) -> Vec<u8> {
    let output = Command::new("tar")
        .arg("-c")
        .args(options)
        .args(names)
        .current_dir(directory)
        .output()
        .expect("GNU tar, which every Debian has");
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// Where some bytes of a file are, and how many.
type Part = (u64, usize);

/// A file with some parts written, and as large as it says.
fn file(path: &Path, parts: &[Part], size: u64) {
    let file = File::create(path).unwrap();
    for (number, (offset, length)) in parts.iter().enumerate() {
        let content = vec![number as u8 + 1; *length];
        file.write_all_at(&content, *offset).unwrap();
    }
    file.set_len(size).unwrap();
}

#[test]
fn sparse_files_are_read_whole() {
    let place = tempfile::tempdir().unwrap();
    let many: Vec<Part> = (0..60).map(|part| (part * 100_000, 5000)).collect();
    let long = "n".repeat(150);
    let files: [(&str, &[Part], u64); 7] = [
        ("many", &many, 6_000_000),
        ("one hole", &[], 1_000_000),
        ("hole first", &[(500_000, 4096)], 504_096),
        ("hole last", &[(0, 4096)], 500_000),
        ("odd", &[(0, 1), (300_001, 777)], 300_778),
        ("no hole", &[(0, 10_000)], 10_000),
        (&long, &[(200_000, 10)], 400_000),
    ];
    for (name, parts, size) in &files {
        file(&place.path().join(name), parts, *size);
    }
    let names = files.map(|(name, ..)| name);
    for options in SPARSE {
        let members = read(&tar(place.path(), options, &names)).unwrap();
        assert_eq!(members.len(), files.len());
        for (member, name) in members.iter().zip(names) {
            let content = std::fs::read(place.path().join(name)).unwrap();
            assert_eq!(member.entry.path.as_bytes(), name.as_bytes());
            assert!(member.content == content, "{name} by {options:?}");
        }
        let sparse = members.iter().filter(|member| match &member.entry.kind {
            EntryKind::File(shape) => shape.extents.is_some(),
            _ => false,
        });
        assert_eq!(sparse.count(), 6, "{options:?}");
    }
}

#[test]
fn a_sparse_file_may_be_larger_than_octal_can_say() {
    let place = tempfile::tempdir().unwrap();
    let (offset, size) = (9 << 30, (9 << 30) + 4096);
    file(&place.path().join("f"), &[(offset, 4096)], size);
    for options in SPARSE {
        let member = one(&tar(place.path(), options, &["f"]));
        assert_eq!(member.content, [1; 4096]);
        let EntryKind::File(shape) = member.entry.kind else {
            panic!("no file");
        };
        assert_eq!(shape.size, size);
        let stored = shape.extents.unwrap();
        let stored: Vec<&Extent> = stored.iter().filter(|part| part.length > 0).collect();
        let length = 4096;
        assert_eq!(stored, [&Extent { offset, length }], "{options:?}");
    }
}

#[test]
fn every_format_that_can_hold_a_file_says_the_same() {
    let place = tempfile::tempdir().unwrap();
    let deep = [&"d".repeat(60)[..], &"e".repeat(60), "file"].join("/");
    let file_path = place.path().join(&deep);
    std::fs::create_dir_all(file_path.parent().unwrap()).unwrap();
    let mut file = File::create(&file_path).unwrap();
    file.write_all(b"content").unwrap();
    std::os::unix::fs::symlink("t".repeat(90), place.path().join("link")).unwrap();
    // ustar has no room for a long target of a link.
    std::fs::write(place.path().join("file"), "x").unwrap();
    std::fs::hard_link(place.path().join("file"), place.path().join("name")).unwrap();
    for format in ["ustar", "gnu", "oldgnu", "posix"] {
        let format = format!("--format={format}");
        let options = [&format, "--owner=:7", "--group=:8", "--mtime=@123"];
        let archive = tar(place.path(), &options, &[&deep, "link", "file", "name"]);
        let members = read(&archive).unwrap();
        let entries: Vec<_> = members.iter().map(|member| &member.entry).collect();
        assert_eq!(entries[0].path.as_bytes(), deep.as_bytes(), "{format}");
        assert_eq!(members[0].content, b"content", "{format}");
        let target = "t".repeat(90).into_bytes();
        assert_eq!(entries[1].kind, EntryKind::Symlink(target.into()));
        assert_eq!(
            entries[3].kind,
            EntryKind::HardLink(entries[2].path.clone())
        );
        for entry in entries {
            let meta = &entry.meta;
            let seen = (meta.uid, meta.gid, meta.mtime.seconds);
            assert_eq!(seen, (7, 8, 123), "{format}");
        }
    }
}
