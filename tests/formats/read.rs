//! Reading a whole archive by the product, for the other tests to look at.

use std::io::Read;

use lowerdir::internals::{Archive, Entry, EntryKind};

/// More holes than this are not filled: a few bytes can claim any size.
const FILLED_MAX: u64 = 64 << 20;

/// An entry, and its content with the holes filled; of a file over 64 MiB, the stored parts.
pub struct Member {
    pub entry: Entry,
    pub content: Vec<u8>,
}

/// All entries of an archive, or the first error.
pub fn read(archive: &[u8]) -> lowerdir::Result<Vec<Member>> {
    let mut archive = Archive::new(archive);
    let mut members = Vec::new();
    while let Some(entry) = archive.next_entry()? {
        let mut stored = Vec::new();
        let reading = |error| lowerdir::Error::reading("reading the data", error);
        archive.data().read_to_end(&mut stored).map_err(reading)?;
        let content = match &entry.kind {
            EntryKind::File(shape) => match &shape.extents {
                None => stored,
                Some(_) if shape.size > FILLED_MAX => stored,
                Some(extents) => {
                    let mut content = vec![0; shape.size as usize];
                    let mut rest = &stored[..];
                    for extent in extents {
                        let (start, length) = (extent.offset as usize, extent.length as usize);
                        content[start..start + length].copy_from_slice(&rest[..length]);
                        rest = &rest[length..];
                    }
                    assert!(rest.is_empty(), "stored bytes that belong nowhere");
                    content
                }
            },
            _ => Vec::new(),
        };
        members.push(Member { entry, content });
    }
    Ok(members)
}

/// The only entry of an archive.
pub fn one(archive: &[u8]) -> Member {
    let mut members = read(archive).expect("a good archive");
    assert_eq!(members.len(), 1);
    members.remove(0)
}

/// The kind of error that an archive gets.
pub fn error(archive: &[u8]) -> lowerdir::Kind {
    match read(archive) {
        Err(error) => error.kind(),
        Ok(members) => panic!("{} entries of a bad archive", members.len()),
    }
}
