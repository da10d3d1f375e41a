//! PAX records: any byte in a value, none beyond its length.

use std::collections::BTreeMap;

use lowerdir::Kind;
use lowerdir::internals::Archive;
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

/// Go's archive/tar hands a global header on as a member of its own, which containerd, Docker and
/// containers/storage skip.
#[test]
fn global_headers_are_skipped() {
    let everything = [
        ("path", "elsewhere"),
        ("linkpath", "elsewhere"),
        ("size", "2"),
        ("uid", "7"),
        ("gid", "8"),
        ("mtime", "9"),
        ("SCHILY.xattr.user.k", "v"),
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "elsewhere"),
        ("GNU.sparse.realsize", "1000"),
    ];
    let everything = everything
        .map(|(key, value)| pax_record(key, value))
        .concat();
    let members = |layer: LayerBuilder| {
        let layer = layer
            .file("f", 0o644, "body")
            .raw(pax_header(&pax_record("uid", "9")))
            .file("g", 0o644, "")
            .symlink("s", "target");
        let members = read(&layer.finish()).unwrap().into_iter();
        members
            .map(|member| (format!("{:?}", member.entry), member.content))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        members(LayerBuilder::new().raw(global(&everything))),
        members(LayerBuilder::new())
    );
}

/// In Go, whatever was said of a next member is said of the global header.
#[test]
fn a_global_header_takes_what_stands_before_it() {
    let archive = LayerBuilder::new()
        .raw(pax_header(&pax_record("path", "elsewhere")))
        .raw(long(b'L', b"elsewhere\0"))
        .raw(global(&pax_record("comment", "x")))
        .file("f", 0o644, "")
        .finish();
    assert_eq!(one(&archive).entry.path.as_bytes(), b"f");
    assert_eq!(overruled(&archive), [true]);
}

/// For each entry, whether it is one that a global header would have changed.
fn overruled(archive: &[u8]) -> Vec<bool> {
    let mut archive = Archive::new(archive);
    let mut overruled = Vec::new();
    while archive.next_entry().unwrap().is_some() {
        overruled.push(archive.is_overruled());
    }
    overruled
}

#[test]
fn it_is_known_which_entries_a_global_header_would_change() {
    for (key, value, changes) in [
        ("comment", "a commit of git", false),
        ("charset", "ISO-IR 10646 2000 UTF-8", false),
        ("path", "", false),
        ("path", "x", true),
        ("linkpath", "x", true),
        ("size", "1", true),
        ("uid", "1", true),
        ("gid", "1", true),
        ("uname", "x", true),
        ("gname", "x", true),
        ("mtime", "1", true),
        ("SCHILY.xattr.user.k", "", true),
        ("GNU.sparse.name", "x", true),
        ("GNU.sparse.offset", "1", true),
    ] {
        let archive = LayerBuilder::new()
            .file("a", 0o644, "")
            .raw(global(&pax_record(key, value)))
            .file("b", 0o644, "")
            .file("c", 0o644, "");
        let expected = [false, changes, changes];
        assert_eq!(overruled(&archive.finish()), expected, "{key}={value}");
    }
}

#[test]
fn a_damaged_global_header_is_refused() {
    let archive = LayerBuilder::new().raw(global(b"99 path=x\n"));
    assert_eq!(error(&archive.file("f", 0o644, "").finish()), Kind::Refused);
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
fn a_global_size_is_that_of_nothing() {
    let archive = LayerBuilder::new()
        .raw(global(&pax_record("size", "4")))
        .raw(pax_header(&pax_record("comment", "longer than four bytes")))
        .raw(long(b'L', b"long\0"))
        .file("short", 0o644, "body and more")
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
fn global_headers_do_not_pile_up() {
    // Each is within the limit of one header; nothing is kept of them.
    let value = vec![b'v'; 1 << 19];
    let records = (0..200).map(|number| global(&pax_record(format!("k{number}"), &value)));
    let layer = records.fold(LayerBuilder::new(), LayerBuilder::raw);
    assert_eq!(read(&layer.file("f", 0o644, "").finish()).unwrap().len(), 1);
}
