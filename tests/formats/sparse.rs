//! The four forms in which GNU tar stores files with holes.

use lowerdir::Kind;
use lowerdir::internals::EntryKind;
use proptest::prelude::*;

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

/// A member of type `S`, with as many continuation blocks as its map needs.
pub fn old_gnu(pairs: &[(u64, u64)], size: u64, stored: &[u8]) -> Vec<u8> {
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
    [archive, padded(stored)].concat()
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

/// Go takes the block that follows for more of the map, GNU tar for data.
#[test]
fn an_old_gnu_map_does_not_go_on_after_its_end() {
    for map in [&[][..], &[(1, 0), (5, 0)], &[(1, 0); 3]] {
        let mut archive = old_gnu(map, 12, b"");
        archive[482] = 1;
        seal((&mut archive[..512]).try_into().unwrap());
        archive.extend([0; 1024]);
        assert_eq!(error(&archive), Kind::Refused, "{map:?}");
    }
    let pairs: Vec<(u64, u64)> = (0..20).map(|number| (number * 10, 0)).collect();
    let mut archive = [old_gnu(&pairs, 600, b""), vec![0; 1024]].concat();
    assert_eq!(one(&archive).content, vec![0; 600]);
    archive[512 + 504] = 1;
    assert_eq!(error(&archive), Kind::Refused);
}

/// star has the same type, and another layout.
#[test]
fn an_old_sparse_file_has_the_magic_of_gnu() {
    for magic in [b"ustar\x0000", &[0; 8]] {
        let mut archive = old_gnu(&[(0, 5)], 5, b"abcde");
        archive[257..265].copy_from_slice(magic);
        seal((&mut archive[..512]).try_into().unwrap());
        assert_eq!(error(&archive), Kind::Refused);
    }
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
    // The map may end where a block does, and a number may go on in the next.
    for filler in 500..512 {
        let map = [vec![b'0'; filler], b"1\n9\n3\n".to_vec()].concat();
        let kind = error(&pax_1_0("12", &map, b"abc"));
        assert_eq!(kind, Kind::Refused, "a number of {filler} digits");
    }
    let parts = (0..200).map(|part| (part * 10, 1));
    let parts: Vec<(u64, u64)> = parts.collect();
    let member = one(&pax_1_0_of(&parts, 2000, &[b'x'; 200]));
    assert_eq!(
        member.content.iter().filter(|byte| **byte == b'x').count(),
        200
    );
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
fn maps_are_checked_in_every_form() {
    let shown = |extents: &[(u64, u64)], size| format!("{extents:?} of {size}");
    for (extents, size) in [
        (&[(7, 3), (2, 2)][..], 12), // out of order
        (&[(2, 3), (4, 2)], 12),     // overlapping
        (&[(2, 2), (7, 3)], 9),      // past the end
        (&[(2, 2)], 12),             // too little
        (&[(0, 6)], 12),             // too much
        (&[(13, 0), (2, 5)], 12),    // an empty part past the end
    ] {
        for form in FORMS {
            let kind = error(&form(extents, size, b"abcde"));
            assert_eq!(kind, Kind::Refused, "{}", shown(extents, size));
        }
    }
}

#[test]
fn a_map_of_a_million_parts_is_a_limit() {
    let map = [&b"1048577\n"[..], &b"0\n0\n".repeat(1_048_577)].concat();
    assert_eq!(error(&pax_1_0("0", &map, b"")), Kind::Limit);
}

#[test]
fn a_map_that_ends_early_is_refused() {
    for map in [&b""[..], b"3", b"3\n1\n", b"2\n0\n5\n"] {
        assert_eq!(error(&pax_1_0("12", map, b"")), Kind::Refused);
    }
}

#[test]
fn a_sparse_file_needs_its_real_size() {
    let records = [("GNU.sparse.map", "0,5")];
    assert_eq!(error(&pax(&records, b"abcde")), Kind::Refused);
    let records = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0")];
    let stored = [padded(b"1\n0\n5\n"), b"abcde".to_vec()].concat();
    assert_eq!(error(&pax(&records, &stored)), Kind::Refused);
}

/// An archive of the file `f`: its extents, its size, its stored bytes.
type Form = fn(&[(u64, u64)], u64, &[u8]) -> Vec<u8>;

const FORMS: [Form; 4] = [old_gnu_archive, pax_0_0_of, pax_0_1_of, pax_1_0_of];

fn old_gnu_archive(extents: &[(u64, u64)], size: u64, stored: &[u8]) -> Vec<u8> {
    [old_gnu(extents, size, stored), vec![0; 1024]].concat()
}

fn pax_0_0_of(extents: &[(u64, u64)], size: u64, stored: &[u8]) -> Vec<u8> {
    let mut records = vec![
        ("GNU.sparse.size", size.to_string()),
        ("GNU.sparse.numblocks", extents.len().to_string()),
    ];
    for (offset, length) in extents {
        records.push(("GNU.sparse.offset", offset.to_string()));
        records.push(("GNU.sparse.numbytes", length.to_string()));
    }
    records.push(("path", "f".to_string()));
    pax(&borrowed(&records), stored)
}

fn pax_0_1_of(extents: &[(u64, u64)], size: u64, stored: &[u8]) -> Vec<u8> {
    let map = extents.iter().flat_map(|(offset, length)| [offset, length]);
    let map: Vec<String> = map.map(u64::to_string).collect();
    let records = [
        ("GNU.sparse.size", size.to_string()),
        ("GNU.sparse.numblocks", extents.len().to_string()),
        ("GNU.sparse.map", map.join(",")),
        ("GNU.sparse.name", "f".to_string()),
    ];
    pax(&borrowed(&records), stored)
}

fn pax_1_0_of(extents: &[(u64, u64)], size: u64, stored: &[u8]) -> Vec<u8> {
    let map: String = extents
        .iter()
        .map(|(offset, length)| format!("{offset}\n{length}\n"))
        .collect();
    let map = format!("{}\n{map}", extents.len());
    pax_1_0(&size.to_string(), map.as_bytes(), stored)
}

fn borrowed<'a>(records: &'a [(&'a str, String)]) -> Vec<(&'a str, &'a str)> {
    let pairs = records.iter();
    pairs.map(|(key, value)| (*key, value.as_str())).collect()
}

proptest! {
    #[test]
    fn every_form_says_the_same(
        gaps in prop::collection::vec((1u64..2000, 1u64..700), 1..60),
        tail in 0u64..2000,
    ) {
        let (mut extents, mut content) = (Vec::new(), Vec::new());
        for (number, (hole, length)) in gaps.iter().enumerate() {
            content.resize(content.len() + *hole as usize, 0);
            extents.push((content.len() as u64, *length));
            content.resize(content.len() + *length as usize, number as u8 + 1);
        }
        let stored: Vec<u8> = content.iter().copied().filter(|byte| *byte != 0).collect();
        content.resize(content.len() + tail as usize, 0);
        let size = content.len() as u64;
        for form in FORMS {
            let member = one(&form(&extents, size, &stored));
            let EntryKind::File(shape) = &member.entry.kind else {
                panic!("no file");
            };
            let read = shape.extents.as_ref().expect("a sparse file");
            let read: Vec<_> = read.iter().map(|part| (part.offset, part.length)).collect();
            prop_assert_eq!(&read, &extents);
            prop_assert_eq!(shape.size, size);
            prop_assert_eq!(&member.content, &content);
            prop_assert_eq!(member.entry.path.as_bytes(), b"f");
        }
    }
}

/// A hole of any size takes a few bytes, so all of them together count.
#[test]
fn holes_count_against_the_limit_of_bytes() {
    let archive = |sizes: &[u64]| {
        let files = sizes.iter().map(|size| old_gnu(&[(0, 1)], *size, b"x"));
        files.collect::<Vec<_>>().concat()
    };
    let limits = lowerdir::Limits::default().bytes(1 << 20);
    let last = |bytes: &[u8]| {
        let mut archive = lowerdir::internals::Archive::with_limits(bytes, limits);
        while archive.next_entry()?.is_some() {}
        Ok(())
    };
    last(&archive(&[1 << 20])).unwrap();
    last(&archive(&[1 << 19, 1 << 19])).unwrap();
    for sizes in [&[(1 << 20) + 1][..], &[1 << 20, 1], &[1 << 32]] {
        let error: lowerdir::Error = last(&archive(sizes)).unwrap_err();
        assert_eq!(error.kind(), Kind::Limit);
        assert_eq!(
            error.advice(),
            Some((lowerdir::Advice::RaiseLimit, "bytes"))
        );
    }
}
