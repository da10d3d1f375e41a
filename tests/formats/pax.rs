//! PAX records: any byte in a value, none beyond its length.

use std::collections::BTreeMap;

use lowerdir::Kind;
use lowerdir::meta::Time;
use proptest::prelude::*;

use crate::read::{error, one, read};
use crate::tarball::{LayerBuilder, Meta, header, padded, pax_header, pax_record};

fn file_after(blocks: impl AsRef<[u8]>) -> Vec<u8> {
    LayerBuilder::new()
        .raw(blocks)
        .file("name", 0o644, "body")
        .finish()
}

fn global(records: &[u8]) -> Vec<u8> {
    let block = header(b'g', b"g", b"", &Meta::new(0o644), records.len() as u64);
    [block.to_vec(), padded(records)].concat()
}

fn long(typeflag: u8, name: &[u8]) -> Vec<u8> {
    let block = header(
        typeflag,
        b"././@LongLink",
        b"",
        &Meta::new(0),
        name.len() as u64,
    );
    [block.to_vec(), padded(name)].concat()
}

#[test]
fn values_may_hold_any_byte() {
    let every: Vec<u8> = (0..=255).collect();
    for value in [&every[..], b"a=b", b"\n\n", b"", b"12 path=x\n"] {
        let archive = file_after(pax_header(&pax_record("SCHILY.xattr.user.k", value)));
        assert_eq!(*one(&archive).entry.meta.xattrs[0].value, *value);
    }
}

#[test]
fn damaged_records_are_refused() {
    for record in [
        &b"0 path=x\n"[..],
        b"5 path=x\n",
        b"99 path=x\n",
        b"99999999999999999999999 path=x\n",
        b"9 path=xy",
        b"path=x\n",
        b" 9 path=x\n",
        b"9 =pathx\n",
        b"9 pathxx\n",
        b"-9 path=x\n",
        b"+9 path=x\n",
        b"18446744073709551615 path=x\n",
        b"18446744073709551616 path=x\n",
        b"2 \n",
        b"1 ",
        b"9 path=x\n\0",
        b"9\npath=x\n",
        b"11 path=x\n9 path=x\n",
    ] {
        let shown = record.escape_ascii();
        assert_eq!(
            error(&file_after(pax_header(record))),
            Kind::Refused,
            "{shown}"
        );
    }
}

#[test]
fn a_global_header_holds_until_it_is_overridden() {
    let archive = LayerBuilder::new()
        .raw(global(
            &[pax_record("uid", "7"), pax_record("gid", "8")].concat(),
        ))
        .file("a", 0o644, "")
        .raw(pax_header(&pax_record("uid", "9")))
        .file("b", 0o644, "")
        .raw(global(&pax_record("gid", "")))
        .file("c", 0o644, "")
        .finish();
    let members = read(&archive).unwrap();
    let owners = members
        .iter()
        .map(|member| (member.entry.meta.uid, member.entry.meta.gid));
    assert_eq!(owners.collect::<Vec<_>>(), [(7, 8), (9, 8), (7, 0)]);
}

#[test]
fn an_empty_value_takes_a_key_back() {
    let records = [pax_record("path", "other"), pax_record("path", "")].concat();
    assert_eq!(
        one(&file_after(pax_header(&records))).entry.path.as_bytes(),
        b"name"
    );
}

#[test]
fn an_empty_value_takes_a_global_key_back_for_one_entry() {
    let archive = LayerBuilder::new()
        .raw(global(&pax_record("uid", "7")))
        .raw(pax_header(&pax_record("uid", "")))
        .file("a", Meta::new(0o644).owner(3, 0), "")
        .file("b", Meta::new(0o644).owner(3, 0), "")
        .finish();
    let members = read(&archive).unwrap();
    let owners = members.iter().map(|member| member.entry.meta.uid);
    assert_eq!(owners.collect::<Vec<_>>(), [3, 7]);
}

#[test]
fn records_override_the_header() {
    let records = [
        ("uid", "1001"),
        ("gid", "1002"),
        ("mtime", "3.25"),
        ("size", "2"),
        ("comment", "nobody reads this"),
    ];
    let records: Vec<u8> = records
        .iter()
        .flat_map(|(key, value)| pax_record(key, value))
        .collect();
    let member = one(&file_after(pax_header(&records)));
    let meta = member.entry.meta;
    assert_eq!((meta.uid, meta.gid), (1001, 1002));
    let (seconds, nanoseconds) = (3, 250_000_000);
    let time = Time {
        seconds,
        nanoseconds,
    };
    assert_eq!(meta.mtime, time);
    assert_eq!(member.content, b"bo");
}

#[test]
fn a_global_header_needs_no_entry() {
    let archive = LayerBuilder::new().raw(global(&pax_record("comment", "x")));
    assert!(read(&archive.finish()).unwrap().is_empty());
}

#[test]
fn xattrs_end_where_linux_ends() {
    let with = |name: &[u8], value: &[u8]| {
        let key = [b"SCHILY.xattr.", name].concat();
        file_after(pax_header(&pax_record(key, value)))
    };
    let long = [b"user.", &[b'n'; 250][..]].concat();
    let xattrs = one(&with(&long, &[0; 1 << 16])).entry.meta.xattrs;
    assert_eq!((xattrs[0].name.len(), xattrs[0].value.len()), (255, 65536));
    assert_eq!(error(&with(&[&long[..], b"n"].concat(), b"")), Kind::Limit);
    assert_eq!(error(&with(b"user.k", &[0; 65537])), Kind::Limit);
    assert_eq!(error(&with(b"", b"x")), Kind::Refused);
    assert_eq!(error(&with(b"user.a\0b", b"x")), Kind::Refused);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn xattrs_come_back_as_they_went_and_the_last_of_equal_names_wins(
        pairs in prop::collection::vec(("user[.][ab\n ]{1,2}", prop::collection::vec(any::<u8>(), 0..120)), 0..8)
    ) {
        let mut meta = Meta::new(0o644);
        for (name, value) in &pairs {
            meta = meta.xattr(name, value);
        }
        let expected: BTreeMap<_, _> = pairs.iter().cloned().collect();
        let archive = LayerBuilder::new().file("f", meta, "").finish();
        let xattrs = one(&archive).entry.meta.xattrs;
        prop_assert_eq!(xattrs.len(), expected.len());
        for (xattr, (name, value)) in xattrs.iter().zip(&expected) {
            prop_assert_eq!(&*xattr.name, name.as_bytes());
            prop_assert_eq!(&*xattr.value, &value[..]);
        }
    }
}

#[test]
fn a_global_size_is_not_that_of_an_extension() {
    let archive = LayerBuilder::new()
        .raw(global(&pax_record("size", "4")))
        .raw(pax_header(&pax_record("comment", "longer than four bytes")))
        .raw(long(b'L', b"long\0"))
        .raw(global(&pax_record("size", "")))
        .file("short", 0o644, "body")
        .file("next", 0o644, "")
        .finish();
    let names = read(&archive).unwrap();
    let names = names.iter().map(|member| member.entry.path.to_string());
    assert_eq!(names.collect::<Vec<_>>(), ["long", "next"]);
}

#[test]
fn an_archive_inside_a_file_stays_inside() {
    // CVE-2025-62518: to who believes the header's 0, the body is the archive that goes on.
    let inner = LayerBuilder::new().file("smuggled", 0o644, "x").finish();
    let archive = LayerBuilder::new()
        .raw(pax_header(&pax_record("size", inner.len().to_string())))
        .raw(header(b'0', b"inner.tar", b"", &Meta::new(0o644), 0))
        .raw(&inner)
        .file("next", 0o644, "")
        .finish();
    let members = read(&archive).unwrap();
    assert_eq!(members.len(), 2);
    assert_eq!(members[0].content, inner);
    assert_eq!(members[1].entry.path.as_bytes(), b"next");
}

#[test]
fn the_size_of_a_record_is_not_that_of_the_next_extension() {
    // CVE-2025-62518: a reader that takes it for the next header's loses its place.
    let archive = LayerBuilder::new()
        .raw(pax_header(&pax_record("size", "4")))
        .raw(long(b'L', b"long\0"))
        .raw(header(b'0', b"short", b"", &Meta::new(0o644), 0))
        .raw(padded(b"body"))
        .file("next", 0o644, "")
        .finish();
    let members = read(&archive).unwrap();
    assert_eq!(members[0].entry.path.as_bytes(), b"long");
    assert_eq!(members[0].content, b"body");
    assert_eq!(members[1].entry.path.as_bytes(), b"next");
}

#[test]
fn an_extension_without_an_entry_is_a_truncated_archive() {
    for block in [pax_header(&pax_record("path", "x")), long(b'L', b"x\0")] {
        assert_eq!(error(&block), Kind::Refused);
    }
}

#[test]
fn an_oversized_extension_is_a_limit() {
    for typeflag in [b'x', b'g', b'L', b'K'] {
        let block = header(typeflag, b"x", b"", &Meta::new(0), 1 << 31);
        assert_eq!(error(&block), Kind::Limit);
    }
}

#[test]
fn global_headers_do_not_pile_up_without_limit() {
    // Each is within the limit of one header; what they leave must be within one, too.
    let value = vec![b'v'; 1 << 19];
    let records = (0..200).map(|number| global(&pax_record(format!("k{number}"), &value)));
    let layer = records.fold(LayerBuilder::new(), LayerBuilder::raw);
    assert_eq!(error(&layer.finish()), Kind::Limit);
}
