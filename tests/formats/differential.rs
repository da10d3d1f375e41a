//! What `tar::Builder` writes of ordinary entries, our reader and the crate's read alike.
//!
//! The intended differences, all left out of what is generated here:
//! - names: ours are cleaned, and refused where they have `..` or are too long (N1);
//! - PAX: newlines in values, equal keys, global headers, sparse files, sizes (see `tar_crate`);
//! - links, directories and devices have no data, whatever their size field says; the crate
//!   believes it;
//! - what is out of range for Linux is refused: owners, devices, times (M3);
//! - unknown types are refused; the crate hands them on;
//! - a truncated member is refused; the crate ends early, with success.

use std::io::Read;

use lowerdir::internals::EntryKind;
use proptest::prelude::*;

use crate::read::read;

/// An ordinary entry, as a seed of everything that is written and compared.
#[derive(Clone, Debug)]
struct Ordinary {
    name: String,
    target: String,
    sort: tar::EntryType,
    content: Vec<u8>,
    mode: u32,
    owner: (u32, u32),
    mtime: u64,
    device: (u32, u32),
    xattr: Option<Vec<u8>>,
    is_gnu: bool,
}

fn ordinary() -> impl Strategy<Value = Ordinary> {
    let name = "[a-z é]{1,40}(/[a-z.]{0,30}[a-z]){0,6}";
    let sort = prop::sample::select(vec![
        tar::EntryType::Regular,
        tar::EntryType::Regular,
        tar::EntryType::Continuous,
        tar::EntryType::Directory,
        tar::EntryType::Symlink,
        tar::EntryType::Link,
        tar::EntryType::Char,
        tar::EntryType::Block,
        tar::EntryType::Fifo,
    ]);
    // Newlines are where the crate is wrong.
    let value = prop::collection::vec(
        any::<u8>().prop_filter("newline", |byte| *byte != 10),
        1..40,
    );
    let texts = (
        name,
        name,
        sort,
        prop::collection::vec(any::<u8>(), 0..1500),
    );
    let numbers = (0u32..0o10000, 0u64..1 << 40, (0u32..4096, 0u32..1 << 20));
    let owner = (0u32..u32::MAX, 0u32..u32::MAX);
    (
        texts,
        numbers,
        owner,
        prop::option::of(value),
        any::<bool>(),
    )
        .prop_map(
            |((name, target, sort, content), (mode, mtime, device), owner, xattr, is_gnu)| {
                Ordinary {
                    name,
                    target,
                    sort,
                    content,
                    mode,
                    owner,
                    mtime,
                    device,
                    xattr,
                    is_gnu,
                }
            },
        )
}

fn append(builder: &mut tar::Builder<Vec<u8>>, entry: &Ordinary) {
    // The crate writes base-256 into any header, and long names as GNU does.
    let mut header = match entry.is_gnu {
        true => tar::Header::new_gnu(),
        false => tar::Header::new_ustar(),
    };
    header.set_entry_type(entry.sort);
    header.set_mode(entry.mode);
    header.set_uid(entry.owner.0.into());
    header.set_gid(entry.owner.1.into());
    header.set_mtime(entry.mtime);
    header.set_device_major(entry.device.0).unwrap();
    header.set_device_minor(entry.device.1).unwrap();
    header.set_size(0);
    if let Some(value) = &entry.xattr {
        let record = ("SCHILY.xattr.user.k", &value[..]);
        builder.append_pax_extensions([record]).unwrap();
    }
    let (name, target) = (&entry.name, &entry.target);
    let done = match entry.sort {
        tar::EntryType::Symlink | tar::EntryType::Link => {
            builder.append_link(&mut header, name, target)
        }
        tar::EntryType::Regular | tar::EntryType::Continuous => {
            header.set_size(entry.content.len() as u64);
            builder.append_data(&mut header, name, &entry.content[..])
        }
        _ => builder.append_data(&mut header, name, std::io::empty()),
    };
    done.unwrap();
}

/// One entry, as far as both readers tell.
#[derive(Debug, PartialEq)]
struct Seen {
    name: Vec<u8>,
    what: String,
    content: Vec<u8>,
    numbers: (u32, u64, u64, u64),
    xattr: Option<Vec<u8>>,
}

fn ours(archive: &[u8]) -> Vec<Seen> {
    let members = read(archive).unwrap().into_iter();
    members
        .map(|member| {
            let meta = member.entry.meta;
            let (seconds, none) = (meta.mtime.seconds, meta.mtime.nanoseconds);
            assert_eq!(none, 0, "nanoseconds that nobody wrote");
            Seen {
                name: member.entry.path.as_bytes().to_vec(),
                what: match member.entry.kind {
                    EntryKind::File(_) => "file".to_string(),
                    EntryKind::Directory => "directory".to_string(),
                    EntryKind::Symlink(to) => format!("symlink {}", to.escape_ascii()),
                    EntryKind::HardLink(to) => format!("link {}", to.as_bytes().escape_ascii()),
                    EntryKind::CharDevice(at) => format!("char {}:{}", at.major, at.minor),
                    EntryKind::BlockDevice(at) => format!("block {}:{}", at.major, at.minor),
                    EntryKind::Fifo => "fifo".to_string(),
                },
                content: member.content,
                numbers: (meta.mode, meta.uid.into(), meta.gid.into(), seconds as u64),
                xattr: meta.xattrs.first().map(|xattr| xattr.value.to_vec()),
            }
        })
        .collect()
}

fn theirs(archive: &[u8]) -> Vec<Seen> {
    let mut archive = tar::Archive::new(archive);
    archive
        .entries()
        .unwrap()
        .map(|entry| see(entry.unwrap()))
        .collect()
}

fn see(mut entry: tar::Entry<&[u8]>) -> Seen {
    let mut content = Vec::new();
    entry.read_to_end(&mut content).unwrap();
    let target = entry.link_name_bytes().unwrap_or_default().into_owned();
    let (target, header) = (target.escape_ascii(), entry.header().clone());
    let part = |part: std::io::Result<Option<u32>>| part.unwrap().unwrap();
    let device = || {
        let (major, minor) = (header.device_major(), header.device_minor());
        format!("{}:{}", part(major), part(minor))
    };
    let what = match header.entry_type() {
        tar::EntryType::Regular | tar::EntryType::Continuous => "file".to_string(),
        tar::EntryType::Directory => "directory".to_string(),
        tar::EntryType::Symlink => format!("symlink {target}"),
        tar::EntryType::Link => format!("link {target}"),
        tar::EntryType::Char => format!("char {}", device()),
        tar::EntryType::Block => format!("block {}", device()),
        other => format!("{other:?}").to_lowercase(),
    };
    let xattr = entry.pax_extensions().unwrap().map(|mut records| {
        let record = records.next().unwrap().unwrap();
        record.value_bytes().to_vec()
    });
    Seen {
        name: entry.path_bytes().into_owned(),
        what,
        content,
        numbers: (
            header.mode().unwrap(),
            header.uid().unwrap(),
            header.gid().unwrap(),
            header.mtime().unwrap(),
        ),
        xattr,
    }
}

proptest! {
    #[test]
    fn ordinary_archives_are_read_as_the_crate_reads_them(
        entries in prop::collection::vec(ordinary(), 0..8)
    ) {
        let mut builder = tar::Builder::new(Vec::new());
        for entry in &entries {
            append(&mut builder, entry);
        }
        let archive = builder.into_inner().unwrap();
        let seen = ours(&archive);
        prop_assert_eq!(seen.len(), entries.len());
        for (seen, entry) in seen.iter().zip(&entries) {
            prop_assert_eq!(&seen.name, entry.name.as_bytes());
        }
        prop_assert_eq!(seen, theirs(&archive));
    }
}
