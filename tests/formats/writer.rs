//! The writer: what it writes, the reader reads back, whatever it is; the same bytes each time.

use std::io::Write;

use lowerdir::Kind;
use lowerdir::internals::{Archive, Entry, EntryKind};
use lowerdir::internals::{Writer, stored};
use lowerdir::meta::{Device, Meta, Time, Xattr};
use lowerdir::path::EntryPath;
use lowerdir::view::{Extent, FileShape};
use proptest::prelude::*;

use crate::read::read;

fn path(name: &[u8]) -> EntryPath {
    EntryPath::parse(name).unwrap()
}

/// Long enough to need a prefix or a record now and then, and of any bytes.
fn any_path() -> impl Strategy<Value = EntryPath> {
    let byte = prop_oneof![4 => b'a'..=b'c', 1 => any::<u8>()];
    let name = prop_oneof![
        8 => prop::collection::vec(byte.clone(), 1..12),
        2 => prop::collection::vec(byte, 60..256),
    ];
    prop::collection::vec(name, 1..5)
        .prop_filter_map("no name", |names| EntryPath::parse(&names.join(&b'/')).ok())
        .prop_filter("the root", |path| !path.is_root())
}

/// A size, and parts of it in order; the last is an empty one where the file ends in a hole.
fn any_shape() -> impl Strategy<Value = FileShape> {
    let sparse = (
        prop::collection::vec((0..3000u64, 1..700u64), 0..40),
        0..3000u64,
    );
    let sparse = sparse.prop_map(|(parts, rest)| {
        let (mut extents, mut end) = (Vec::new(), 0);
        for (hole, length) in parts {
            let offset = end + hole;
            extents.push(Extent { offset, length });
            end = offset + length;
        }
        let (size, length) = (end + rest, 0);
        if rest > 0 {
            let offset = size;
            extents.push(Extent { offset, length });
        }
        let extents = Some(extents);
        FileShape { size, extents }
    });
    let dense = prop_oneof![Just(0), 1..1500u64, Just(512)];
    let dense = dense.prop_map(|size| FileShape {
        size,
        extents: None,
    });
    prop_oneof![dense, sparse]
}

fn any_kind() -> impl Strategy<Value = EntryKind> {
    let target = prop::collection::vec(1..=255u8, 1..300);
    let device = (0..=0xfffu32, 0..=0xf_ffffu32);
    let device = device.prop_map(|(major, minor)| Device { major, minor });
    prop_oneof![
        Just(EntryKind::Directory),
        any_shape().prop_map(EntryKind::File),
        target.prop_map(|target| EntryKind::Symlink(target.into())),
        any_path().prop_map(EntryKind::HardLink),
        device.clone().prop_map(EntryKind::CharDevice),
        device.prop_map(EntryKind::BlockDevice),
        Just(EntryKind::Fifo),
    ]
}

fn any_meta() -> impl Strategy<Value = Meta> {
    let id = prop_oneof![
        0..70_000u32,
        0..u32::MAX,
        Just(0o777_7777),
        Just(0o1000_0000)
    ];
    let seconds = prop_oneof![
        any::<i64>(),
        -5..5i64,
        0o777_7777_7777..=0o1000_0000_0000i64
    ];
    let nanoseconds = prop_oneof![Just(0), 0..1_000_000_000u32];
    // Its least value has no positive counterpart, which our reader does not need.
    let time = (seconds.prop_map(|s| s.max(-i64::MAX)), nanoseconds);
    let name = prop::collection::vec(prop_oneof![b'a'..=b'e', 128..=255u8], 1..200);
    let value = prop::collection::vec(any::<u8>(), 0..120);
    let xattrs = prop::collection::btree_map(name, value, 0..4);
    (0..0o10000u32, id.clone(), id, time, xattrs).prop_map(
        |(mode, uid, gid, (seconds, nanoseconds), xattrs)| {
            let xattrs = xattrs.into_iter().map(|(name, value)| Xattr {
                name: [b"user.", &name[..]].concat().into(),
                value: value.into(),
            });
            Meta {
                mode,
                uid,
                gid,
                mtime: Time {
                    seconds,
                    nanoseconds,
                },
                xattrs: xattrs.collect(),
            }
        },
    )
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let entry = (any_path(), any_kind(), any_meta());
    let root = any_meta().prop_map(|meta| (EntryPath::root(), EntryKind::Directory, meta));
    prop_oneof![20 => entry, 1 => root].prop_map(|(path, kind, meta)| Entry { path, kind, meta })
}

/// An archive of entries, whose files are filled with bytes that tell where they belong.
fn write(entries: &[Entry]) -> lowerdir::Result<Vec<u8>> {
    let mut writer = Writer::new(Vec::new());
    for entry in entries {
        writer.entry(entry)?;
        if let EntryKind::File(shape) = &entry.kind {
            let bytes: Vec<u8> = (0..stored(shape)).map(|at| at as u8 | 1).collect();
            writer.write_all(&bytes).expect("that many were announced");
        }
    }
    writer.finish()
}

/// What a file holds that [`write`] wrote.
fn content(shape: &FileShape) -> Vec<u8> {
    let mut bytes = (0..stored(shape)).map(|at| at as u8 | 1);
    let mut content = vec![0; shape.size as usize];
    let whole = [Extent {
        offset: 0,
        length: shape.size,
    }];
    for Extent { offset, length } in shape.extents.as_deref().unwrap_or(&whole) {
        let part = &mut content[*offset as usize..][..*length as usize];
        part.fill_with(|| bytes.next().expect("that many are stored"));
    }
    content
}

/// GNU tar begins each part at a block, other readers where the last one ended.
fn fills_blocks(shape: &FileShape) -> bool {
    let extents = shape.extents.as_deref().unwrap_or_default();
    let is_whole =
        |part: &Extent| part.length.is_multiple_of(512) || part.offset + part.length == shape.size;
    extents.iter().all(is_whole)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn the_reader_reads_what_the_writer_wrote(
        entries in prop::collection::vec(any_entry(), 0..12),
    ) {
        let archive = write(&entries).unwrap();
        prop_assert_eq!(&archive, &write(&entries).unwrap());
        prop_assert_eq!(archive.len() % 512, 0);
        let members = read(&archive).unwrap();
        prop_assert_eq!(members.len(), entries.len());
        for (member, entry) in members.iter().zip(&entries) {
            prop_assert_eq!(&member.entry.path, &entry.path);
            prop_assert_eq!(&member.entry.meta, &entry.meta);
            if let (EntryKind::File(found), EntryKind::File(shape)) = (&member.entry.kind, &entry.kind) {
                prop_assert!(fills_blocks(found), "{:?}", found);
                prop_assert_eq!(found.extents.is_some(), shape.extents.is_some());
                prop_assert_eq!(&member.content, &content(shape));
            } else {
                prop_assert_eq!(&member.entry.kind, &entry.kind);
            }
            if let EntryKind::File(shape) = &entry.kind {
                prop_assert_eq!(member.content.len() as u64, shape.size);
                let holes = member.content.iter().filter(|&&byte| byte == 0).count();
                prop_assert_eq!(holes as u64, shape.size - stored(shape));
            }
        }
    }
}

fn file(size: u64) -> Entry {
    Entry {
        path: path(b"d/f"),
        kind: EntryKind::File(FileShape {
            size,
            extents: None,
        }),
        meta: Meta::default(),
    }
}

#[test]
fn a_size_over_eight_gibibytes_has_a_record() {
    let mut headers = Vec::new();
    let mut writer = Writer::new(&mut headers);
    writer.entry(&file(0o1000_0000_0000)).unwrap();
    drop(writer);
    let mut archive = Archive::new(&headers[..]);
    let entry = archive.next_entry().unwrap().unwrap();
    assert_eq!(entry.kind, file(0o1000_0000_0000).kind);
    assert_eq!(archive.stored(), 0o1000_0000_0000);
}

#[test]
fn a_file_that_shrinks_or_grows_is_noticed() {
    let mut writer = Writer::new(Vec::new());
    writer.entry(&file(2)).unwrap();
    writer.write_all(b"1").unwrap();
    let error = writer.entry(&file(0)).unwrap_err();
    assert_eq!(error.to_string(), "d/f: 1 bytes of its data are missing");

    let mut writer = Writer::new(Vec::new());
    writer.entry(&file(2)).unwrap();
    let error = writer.write_all(b"123").unwrap_err();
    assert_eq!(error.to_string(), "d/f: it has more bytes than its size");
}

#[test]
fn what_no_archive_can_hold_is_refused() {
    let with = |kind, meta| {
        let path = path(b"x");
        let kind: EntryKind = kind;
        write(&[Entry { path, kind, meta }]).map_err(|error| error.kind())
    };
    let xattr = |name: &[u8]| Meta {
        xattrs: vec![Xattr {
            name: name.into(),
            value: Box::default(),
        }],
        ..Meta::default()
    };
    let owner = |uid| Meta {
        uid,
        ..Meta::default()
    };
    let device = |major, minor| EntryKind::CharDevice(Device { major, minor });
    let sparse = |size, parts: &[(u64, u64)]| {
        let extents = parts
            .iter()
            .map(|&(offset, length)| Extent { offset, length });
        let extents = Some(extents.collect());
        EntryKind::File(FileShape { size, extents })
    };
    for (kind, meta) in [
        (EntryKind::Fifo, xattr(b"user.a=b")),
        (EntryKind::Fifo, xattr(b"user.\0")),
        (EntryKind::Fifo, xattr(b"")),
        (EntryKind::Fifo, owner(u32::MAX)),
        (device(0x1000, 0), Meta::default()),
        (device(0, 0x10_0000), Meta::default()),
        (sparse(9, &[(4, 2), (5, 2)]), Meta::default()),
        (sparse(9, &[(8, 2)]), Meta::default()),
        (sparse(9, &[(8, u64::MAX)]), Meta::default()),
    ] {
        assert_eq!(with(kind, meta), Err(Kind::Refused));
    }
}
