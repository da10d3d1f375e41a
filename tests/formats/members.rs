//! What a member is, by its type flag, and which members have data.

use lowerdir::Kind;
use lowerdir::internals::EntryKind;
use lowerdir::meta::Device;
use lowerdir::path::EntryPath;

use crate::read::{error, one, read};
use crate::tarball::{LayerBuilder, Meta, header, pax_header, pax_record, seal};

/// A member whose link field says `x`.
fn member(typeflag: u8, name: &[u8], size: u64) -> [u8; 512] {
    header(typeflag, name, b"x", &Meta::new(0o644), size)
}

#[test]
fn each_type_flag_makes_its_kind() {
    let device = Device { major: 0, minor: 0 };
    for (typeflag, kind) in [
        (b'1', EntryKind::HardLink(EntryPath::parse(b"x").unwrap())),
        (b'2', EntryKind::Symlink((*b"x").into())),
        (b'3', EntryKind::CharDevice(device)),
        (b'4', EntryKind::BlockDevice(device)),
        (b'5', EntryKind::Directory),
        (b'6', EntryKind::Fifo),
    ] {
        assert_eq!(one(&member(typeflag, b"f", 0)).entry.kind, kind);
    }
    for typeflag in [b'\0', b'0', b'7'] {
        let kind = one(&member(typeflag, b"f", 0)).entry.kind;
        assert!(matches!(kind, EntryKind::File(_)), "{typeflag}");
    }
}

#[test]
fn only_files_have_data_whatever_the_size_says() {
    for typeflag in b'1'..=b'6' {
        let sized = pax_header(&pax_record("size", "512"));
        for extension in [vec![], sized] {
            let archive = LayerBuilder::new()
                .raw(extension)
                .raw(member(typeflag, b"f", 512))
                .file("next", 0o644, "body")
                .finish();
            let members = read(&archive).unwrap();
            assert_eq!(members.len(), 2, "{}", char::from(typeflag));
            assert_eq!(members[1].content, b"body");
        }
    }
}

#[test]
fn a_trailing_slash_makes_a_directory_of_a_v7_file_only() {
    let mut v7 = member(b'\0', b"d/", 0);
    v7[257..265].fill(0);
    seal(&mut v7);
    assert_eq!(one(&v7).entry.kind, EntryKind::Directory);
    assert!(matches!(
        one(&member(b'0', b"d/", 0)).entry.kind,
        EntryKind::File(_)
    ));
    let long = LayerBuilder::new()
        .raw(pax_header(&pax_record("path", "d/")))
        .raw(member(b'\0', b"f", 0))
        .finish();
    assert_eq!(one(&long).entry.kind, EntryKind::Directory);
}

#[test]
fn the_mode_has_twelve_bits() {
    for (mode, expected) in [(0o100_644, 0o644), (0o7777, 0o7777), (0o177_777, 0o7777)] {
        let block = header(b'0', b"f", b"", &Meta::new(mode), 0);
        assert_eq!(one(&block).entry.meta.mode, expected);
    }
}

#[test]
fn names_and_links_may_fill_their_fields() {
    let (name, link) = ([b'n'; 100], [b'l'; 100]);
    let entry = one(&header(b'2', &name, &link, &Meta::new(0o777), 0)).entry;
    assert_eq!(entry.path.as_bytes(), name);
    assert_eq!(entry.kind, EntryKind::Symlink(link.into()));
}

#[test]
fn links_that_cannot_be_are_refused() {
    for (typeflag, link) in [
        (b'1', &b""[..]),
        (b'1', b"."),
        (b'1', b"../x"),
        (b'1', b"a/../x"),
        (b'2', b""),
    ] {
        let block = header(typeflag, b"f", link, &Meta::new(0o644), 0);
        let shown = link.escape_ascii();
        assert_eq!(error(&block), Kind::Refused, "{shown}");
    }
    for (typeflag, link) in [
        (b'1', b"a\0b".to_vec()),
        (b'2', b"a\0b".to_vec()),
        (b'2', vec![b'a'; 4096]),
    ] {
        let archive = LayerBuilder::new()
            .raw(pax_header(&pax_record("linkpath", &link)))
            .raw(member(typeflag, b"f", 0))
            .finish();
        assert_eq!(error(&archive), Kind::Refused);
    }
}

#[test]
fn s2_a_symlink_says_what_it_says() {
    for target in [&b"../../etc/passwd"[..], b"/", b"a//b/./", b"\xff\n", b" "] {
        let entry = one(&LayerBuilder::new().symlink("s", target).finish()).entry;
        assert_eq!(entry.kind, EntryKind::Symlink(target.into()));
    }
}

#[test]
fn a_volume_label_is_passed_over() {
    let archive = LayerBuilder::new()
        .raw(member(b'V', b"label", 0))
        .file("f", 0o644, "body")
        .finish();
    assert_eq!(one(&archive).content, b"body");
}

#[test]
fn an_unknown_type_is_refused() {
    for typeflag in [b'8', b'D', b'M', b'N', b'Q', 0xff] {
        assert_eq!(error(&member(typeflag, b"f", 0)), Kind::Refused);
    }
}
