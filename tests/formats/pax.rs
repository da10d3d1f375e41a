//! PAX records and GNU long names.

use lowerdir::Kind;
use lowerdir::archive::EntryKind;

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
fn gnu_long_names_and_links_are_whole() {
    let name = [&b"n".repeat(90)[..], b"/", &b"m".repeat(200)].concat();
    let link = [&b"t".repeat(250)[..], b"/x"].concat();
    for end in [&b"\0"[..], b""] {
        let archive = LayerBuilder::new()
            .raw(long(b'L', &[&name, end].concat()))
            .raw(long(b'K', &[&link, end].concat()))
            .symlink("cut", "cut")
            .finish();
        let entry = one(&archive).entry;
        assert_eq!(entry.path.as_bytes(), name);
        assert_eq!(entry.kind, EntryKind::Symlink(link.clone().into()));
    }
}

#[test]
fn a_pax_name_beats_a_gnu_name() {
    let blocks = [long(b'L', b"gnu\0"), pax_header(&pax_record("path", "pax"))].concat();
    assert_eq!(one(&file_after(blocks)).entry.path.as_bytes(), b"pax");
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
