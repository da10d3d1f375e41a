//! The four forms in which GNU tar stores files with holes.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::process::Command;

use lowerdir::Kind;

use crate::read::{error, one};
use crate::tarball::{LayerBuilder, Meta, header, padded, pax_header, pax_record, seal};

const CONTENT: &[u8] = b"\0\0ab\0\0\0cde\0\0";

fn pax(records: &[(&str, &str)], stored: &[u8]) -> Vec<u8> {
    let records: Vec<u8> = records
        .iter()
        .flat_map(|(key, value)| pax_record(key, value))
        .collect();
    LayerBuilder::new()
        .raw(pax_header(&records))
        .file("GNUSparseFile.1/f", 0o644, stored)
        .finish()
}

fn old_gnu(pairs: &[(u64, u64)], size: u64, stored: &[u8]) -> Vec<u8> {
    let mut block = header(b'S', b"f", b"", &Meta::new(0o644), stored.len() as u64);
    let put = |table: &mut [u8], pairs: &[(u64, u64)]| {
        for (slot, (offset, length)) in table.chunks_exact_mut(24).zip(pairs) {
            slot.copy_from_slice(format!("{offset:011o}\0{length:011o}\0").as_bytes());
        }
    };
    block[257..265].copy_from_slice(b"ustar  \0");
    let (first, rest) = pairs.split_at(pairs.len().min(4));
    put(&mut block[386..482], first);
    block[482] = u8::from(!rest.is_empty());
    block[483..495].copy_from_slice(format!("{size:011o}\0").as_bytes());
    seal(&mut block);
    let mut archive = block.to_vec();
    let mut chunks = rest.chunks(21).peekable();
    while let Some(chunk) = chunks.next() {
        let mut block = [0; 512];
        put(&mut block[..504], chunk);
        block[504] = u8::from(chunks.peek().is_some());
        archive.extend(block);
    }
    [archive, padded(stored), vec![0; 1024]].concat()
}

#[test]
fn old_gnu_maps_may_go_on_for_blocks() {
    assert_eq!(
        one(&old_gnu(&[(2, 2), (7, 3), (12, 0)], 12, b"abcde")).content,
        CONTENT
    );
    let pairs: Vec<(u64, u64)> = (0..60).map(|number| (number * 10, 1)).collect();
    let member = one(&old_gnu(&pairs, 600, &[b'x'; 60]));
    let expected: Vec<u8> = (0..600)
        .map(|at| if at % 10 == 0 { b'x' } else { 0 })
        .collect();
    assert_eq!(member.content, expected);
}

#[test]
fn pax_0_0_repeats_its_keys() {
    let records = [
        ("GNU.sparse.size", "12"),
        ("GNU.sparse.numblocks", "2"),
        ("GNU.sparse.offset", "2"),
        ("GNU.sparse.numbytes", "2"),
        ("GNU.sparse.offset", "7"),
        ("GNU.sparse.numbytes", "3"),
    ];
    assert_eq!(one(&pax(&records, b"abcde")).content, CONTENT);
}

#[test]
fn pax_0_1_has_one_map() {
    let records = [
        ("GNU.sparse.size", "12"),
        ("GNU.sparse.map", "2,2,7,3"),
        ("GNU.sparse.name", "f"),
    ];
    let member = one(&pax(&records, b"abcde"));
    assert_eq!(member.content, CONTENT);
    assert_eq!(member.entry.path.as_bytes(), b"f");
}

#[test]
fn pax_1_0_has_its_map_in_the_data() {
    assert_eq!(
        one(&pax_1_0("12", b"2\n2\n2\n7\n3\n", b"abcde")).content,
        CONTENT
    );
    assert_eq!(one(&pax_1_0("3", b"0\n", b"")).content, b"\0\0\0");
}

fn pax_1_0(size: &str, map: &[u8], stored: &[u8]) -> Vec<u8> {
    let records = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "f"),
        ("GNU.sparse.realsize", size),
    ];
    pax(&records, &[padded(map), stored.to_vec()].concat())
}

#[test]
fn maps_that_do_not_fit_are_refused() {
    for (size, map) in [
        ("12", &b"2\n7\n3\n2\n2\n"[..]),
        ("12", b"2\n2\n3\n4\n2\n"),
        ("9", b"2\n2\n2\n7\n3\n"),
        ("12", b"1\n2\n2\n"),
        ("12", b"1\n0\n6\n"),
        ("12", b"2\n0\n18446744073709551615\n0\n6\n"),
        ("12", b"x\n"),
        ("12", b"-1\n"),
        ("12", b"99999999999999999999999999\n"),
        ("99999999999999999999", b"1\n0\n5\n"),
        ("18446744073709551615", b"1\n0\n5\n"),
    ] {
        let shown = map.escape_ascii();
        assert_eq!(
            error(&pax_1_0(size, map, b"abcde")),
            Kind::Refused,
            "{shown}"
        );
    }
    let records = [("GNU.sparse.size", "12"), ("GNU.sparse.map", "2,2,7")];
    assert_eq!(error(&pax(&records, b"abcde")), Kind::Refused);
    let records = [("GNU.sparse.size", "12"), ("GNU.sparse.numbytes", "2")];
    assert_eq!(error(&pax(&records, b"abcde")), Kind::Refused);
}

#[test]
fn what_gnu_tar_writes_is_read_whole() {
    let place = tempfile::tempdir().unwrap();
    let mut file = File::create(place.path().join("f")).unwrap();
    for part in 0..40u64 {
        file.seek(SeekFrom::Start(part * 100_000)).unwrap();
        file.write_all(&[part as u8 + 1; 5000]).unwrap();
    }
    file.set_len(5_000_000).unwrap();
    let content = std::fs::read(place.path().join("f")).unwrap();
    for format in [
        &["--format=gnu"][..],
        &["--format=posix", "--sparse-version=0.0"],
        &["--format=posix", "--sparse-version=0.1"],
        &["--format=posix", "--sparse-version=1.0"],
    ] {
        let tar = Command::new("tar")
            .args(["-c", "--sparse"])
            .args(format)
            .arg("f")
            .current_dir(&place)
            .output();
        let tar = tar.expect("GNU tar").stdout;
        let member = one(&tar);
        assert!(member.content == content, "{format:?}");
        assert_eq!(member.entry.path.as_bytes(), b"f");
    }
}
