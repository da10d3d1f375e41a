//! Names: cleaned or refused (rule N1), ordered by component, and what markers they spell (W6).

use lowerdir::internals::Marker;
use lowerdir::path::EntryPath;
use proptest::prelude::*;

use crate::read::one;
use crate::tarball::{LayerBuilder, Meta, header, seal};

fn path(name: &[u8]) -> EntryPath {
    EntryPath::parse(name).expect("a good name")
}

proptest! {
    #[test]
    fn n1_a_name_is_clean_or_refused(name in "[a./\u{0}-]{0,12}") {
        match EntryPath::parse(name.as_bytes()) {
            Err(_) => prop_assert!(name.contains('\0') || name.split('/').any(|part| part == "..")),
            Ok(path) => {
                let wanted = name.split('/').filter(|part| !["", "."].contains(part));
                let wanted: Vec<&[u8]> = wanted.map(str::as_bytes).collect();
                prop_assert_eq!(path.components().collect::<Vec<_>>(), wanted);
                prop_assert_eq!(EntryPath::parse(path.as_bytes()).unwrap(), path);
            }
        }
    }

    #[test]
    fn names_are_ordered_by_component(a in "[ab!-]{1,3}(/[ab!-]{1,3}){0,3}", b in "[ab!-]{1,3}(/[ab!-]{1,3}){0,3}") {
        let (a, b) = (path(a.as_bytes()), path(b.as_bytes()));
        let by_component = a.components().cmp(b.components());
        prop_assert_eq!(a.cmp(&b), by_component);
        prop_assert_eq!(a.is_below(&b), a.ancestors().any(|above| above == b));
    }
}

#[test]
fn n1_lengths_end_where_linux_ends() {
    assert!(EntryPath::parse(&[b'n'; 255]).is_ok());
    assert!(EntryPath::parse(&[b'n'; 256]).is_err());
    assert!(EntryPath::parse(&[b".wh.", &[b'n'; 255][..]].concat()).is_ok());
    assert!(EntryPath::parse(&[b".wh.", &[b'n'; 256][..]].concat()).is_err());
    assert!(EntryPath::parse(&b"a/".repeat(2048)).is_ok());
    assert_eq!(
        EntryPath::parse(&b"a/".repeat(2049)).unwrap_err().kind(),
        lowerdir::Kind::Limit
    );
}

#[test]
fn w6_markers() {
    for (name, marker) in [
        (&b"a"[..], Marker::None),
        (b".whx", Marker::None),
        (b"", Marker::None),
        (b".wh.a", Marker::Remove(path(b"a"))),
        (b"d/.wh.\xff", Marker::Remove(path(b"d/\xff"))),
        (b"d/.wh..x", Marker::Remove(path(b"d/.x"))),
        (b"d/.wh...x", Marker::Remove(path(b"d/..x"))),
        (b".wh..wh..opq", Marker::Opaque(EntryPath::root())),
        (b"d/.wh..wh..opq", Marker::Opaque(path(b"d"))),
        (b".wh..wh.plnk", Marker::Reserved),
        (b".wh..wh.plnk/1.2", Marker::Reserved),
    ] {
        assert_eq!(Marker::of(&path(name)).unwrap(), marker);
    }
    for name in [
        &b".wh."[..],
        b"d/.wh..",
        b".wh...",
        b".wh.a/b",
        b".wh..wh..opq/b",
    ] {
        assert!(Marker::of(&path(name)).is_err(), "{}", name.escape_ascii());
    }
}

#[test]
fn a_ustar_name_has_a_prefix() {
    let mut block = header(b'0', b"name", b"", &Meta::new(0o644), 0);
    block[345..351].copy_from_slice(b"prefix");
    seal(&mut block);
    assert_eq!(one(&block).entry.path.as_bytes(), b"prefix/name");
    // star keeps times where the prefix of others ends.
    block[476..488].copy_from_slice(b"14200000000\0");
    block[508..512].copy_from_slice(b"tar\0");
    seal(&mut block);
    assert_eq!(one(&block).entry.path.as_bytes(), b"prefix/name");
    // In GNU headers the field has other uses: two times.
    block[345..357].copy_from_slice(b"14200000000\0");
    block[257..265].copy_from_slice(b"ustar  \0");
    seal(&mut block);
    assert_eq!(one(&block).entry.path.as_bytes(), b"name");
}

#[test]
fn a_prefix_and_a_name_may_fill_their_fields() {
    let (prefix, name) = ([b'p'; 155], [b'n'; 100]);
    let mut block = header(b'0', &name, b"", &Meta::new(0o644), 0);
    block[345..500].copy_from_slice(&prefix);
    seal(&mut block);
    let whole = [&prefix[..], b"/", &name].concat();
    assert_eq!(one(&block).entry.path.as_bytes(), whole);
    // star has 131 bytes of it.
    block[476..500].fill(0);
    block[476..488].copy_from_slice(b"14200000000\0");
    block[508..512].copy_from_slice(b"tar\0");
    seal(&mut block);
    let whole = [&prefix[..131], b"/", &name].concat();
    assert_eq!(one(&block).entry.path.as_bytes(), whole);
}

#[test]
fn a_prefix_counts_whatever_the_version_says() {
    // GNU tar, Go and Python look at the magic alone.
    for version in [b"00", b"\0\0", b"  "] {
        let mut block = header(b'0', b"name", b"", &Meta::new(0o644), 0);
        block[263..265].copy_from_slice(version);
        block[345..351].copy_from_slice(b"prefix");
        seal(&mut block);
        assert_eq!(one(&block).entry.path.as_bytes(), b"prefix/name");
    }
}

#[test]
fn a_v7_header_has_no_prefix() {
    let mut block = header(b'0', b"name", b"", &Meta::new(0o644), 0);
    block[257..265].fill(0);
    block[345..351].copy_from_slice(b"prefix");
    seal(&mut block);
    assert_eq!(one(&block).entry.path.as_bytes(), b"name");
}

#[test]
fn only_a_directory_may_be_the_root() {
    for name in ["./", ".", "/", "././"] {
        assert!(
            one(&LayerBuilder::new().dir(name, 0o755).finish())
                .entry
                .path
                .is_root()
        );
        let file = LayerBuilder::new().file(name, 0o644, "").finish();
        assert_eq!(crate::read::error(&file), lowerdir::Kind::Refused);
    }
}

/// A header with GNU's magic, a text where it has two times, and a name.
fn of_go_17(prefix: &[u8]) -> [u8; 512] {
    let mut block = header(b'0', b"name", b"", &Meta::new(0o644), 0);
    block[257..265].copy_from_slice(b"ustar  \0");
    block[345..345 + prefix.len()].copy_from_slice(prefix);
    seal(&mut block);
    block
}

/// Go before 1.8 wrote a prefix into GNU headers; Go and Python read it (golang issue 21005).
#[test]
fn a_prefix_in_a_gnu_header_is_read_as_go_reads_it() {
    let long = [b'd'; 155];
    for (prefix, path) in [
        (&b"dir"[..], &b"dir/name"[..]),
        (b"dir/sub", b"dir/sub/name"),
        (&long, &[&long[..], b"/name"].concat()),
        // Two times, as GNU tar writes them with --incremental, or one, or none.
        (b"13773744211\x0013773744212\0", b"name"),
        (b"13773744211\0", b"name"),
        (b"", b"name"),
        (b" 13773744211", b"name"),
        (b"\x80\0\0\0\0\0\0\0\x5f\0\0\0", b"name"),
        // What may be either is a time.
        (b"1234", b"name"),
        // No times, and no ASCII.
        (b"d\xc3\xa9r", b"name"),
        // A time that overflows is none, and no text.
        (b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"name"),
        // The second time is a text: the prefix is longer than the first.
        (b"00000000000/sub", b"00000000000/sub/name"),
    ] {
        let entry = one(&of_go_17(prefix)).entry;
        let shown = prefix.escape_ascii();
        assert_eq!(entry.path.as_bytes(), path, "{shown}");
    }
}
