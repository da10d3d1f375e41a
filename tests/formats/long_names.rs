//! GNU long names and long link targets, alone and together.

use lowerdir::internals::EntryKind;
use lowerdir::path::EntryPath;

use crate::read::{one, read};
use crate::tarball::{LayerBuilder, Meta, header, padded, pax_header, pax_record};

/// The member that carries a long name (`L`) or a long link target (`K`).
fn long(typeflag: u8, name: &[u8]) -> Vec<u8> {
    let size = name.len() as u64;
    let block = header(typeflag, b"././@LongLink", b"", &Meta::new(0), size);
    [block.to_vec(), padded(name)].concat()
}

fn name() -> Vec<u8> {
    [&b"n".repeat(90)[..], b"/", &b"m".repeat(200)].concat()
}

fn target() -> Vec<u8> {
    [&b"t".repeat(250)[..], b"/x"].concat()
}

#[test]
fn each_stands_for_its_own_field() {
    for (extensions, path, link) in [
        (vec![b'L'], name(), b"target".to_vec()),
        (vec![b'K'], b"name".to_vec(), target()),
        (vec![b'L', b'K'], name(), target()),
        (vec![b'K', b'L'], name(), target()),
    ] {
        for end in [&b"\0"[..], b"", b"\0ignored"] {
            let mut layer = LayerBuilder::new();
            for typeflag in &extensions {
                let value = if *typeflag == b'L' { name() } else { target() };
                layer = layer.raw(long(*typeflag, &[&value, end].concat()));
            }
            let symlink = one(&layer.clone().symlink("name", "target").finish()).entry;
            assert_eq!(symlink.path.as_bytes(), path);
            assert_eq!(symlink.kind, EntryKind::Symlink(link.clone().into()));
            let hard_link = one(&layer.hardlink("name", "target").finish()).entry;
            let target = EntryPath::parse(&link).unwrap();
            assert_eq!(hard_link.path.as_bytes(), path);
            assert_eq!(hard_link.kind, EntryKind::HardLink(target));
        }
    }
}

#[test]
fn each_holds_for_one_entry_only() {
    let archive = LayerBuilder::new()
        .raw(long(b'L', b"long\0"))
        .raw(long(b'K', b"far\0"))
        .symlink("short", "near")
        .symlink("short", "near")
        .finish();
    let members = read(&archive).unwrap();
    assert_eq!(members[0].entry.path.as_bytes(), b"long");
    assert_eq!(members[0].entry.kind, EntryKind::Symlink((*b"far").into()));
    assert_eq!(members[1].entry.path.as_bytes(), b"short");
    assert_eq!(members[1].entry.kind, EntryKind::Symlink((*b"near").into()));
}

#[test]
fn the_last_of_two_wins() {
    let archive = LayerBuilder::new()
        .raw(long(b'L', b"first\0"))
        .raw(long(b'L', b"last\0"))
        .file("short", 0o644, "")
        .finish();
    assert_eq!(one(&archive).entry.path.as_bytes(), b"last");
}

#[test]
fn pax_beats_gnu_in_either_order() {
    let records = [pax_record("path", "pax"), pax_record("linkpath", "px")].concat();
    let gnu = [long(b'L', b"gnu\0"), long(b'K', b"gu\0")].concat();
    for extensions in [
        [gnu.clone(), pax_header(&records)].concat(),
        [pax_header(&records), gnu].concat(),
    ] {
        let archive = LayerBuilder::new()
            .raw(extensions)
            .symlink("short", "near")
            .finish();
        let entry = one(&archive).entry;
        assert_eq!(entry.path.as_bytes(), b"pax");
        assert_eq!(entry.kind, EntryKind::Symlink((*b"px").into()));
    }
}

#[test]
fn n1_a_long_name_is_cleaned_and_refused_like_a_short_one() {
    let with = |name: &[u8]| {
        let layer = LayerBuilder::new().raw(long(b'L', name));
        read(&layer.file("honest", 0o644, "").finish())
    };
    let members = with(b"/./a//b/\0").unwrap();
    assert_eq!(members[0].entry.path.as_bytes(), b"a/b");
    for name in [&b"../x\0"[..], b"a/../../x", b"..", &[b'n'; 256]] {
        let kind = with(name).map(|_| ()).unwrap_err().kind();
        assert_eq!(kind, lowerdir::Kind::Refused);
    }
    let deep = with(&b"d/".repeat(3000)).map(|_| ()).unwrap_err();
    assert_eq!(deep.kind(), lowerdir::Kind::Limit);
}
