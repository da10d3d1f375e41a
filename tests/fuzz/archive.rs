//! `archive`: our reader beside that of `tar-core`, entry by entry.
//!
//! Both see the same bytes. As long as both accept, they must agree on where each member's data
//! begins and how long it is, and on everything that it is said to be: two readers that disagree
//! about a size see two different archives (CVE-2025-62518). What the generator made without a lie
//! must be accepted.
//!
//! The intended differences:
//! - Ours refuses more: names (N1), owners, devices and sizes out of range (M3), unknown types, a
//!   damaged PAX record (theirs may end the records there), a sparse map that does not fit its file.
//! - Ours ends at one zero block, and theirs at two.
//! - Only files have data here, whatever the size field of others says; theirs leaves that to its
//!   caller, who here does the same.
//! - Sparse records on what is no file are passed over here; theirs takes data for a map.
//! - A name or number in the header that a PAX record replaces is not looked at here; theirs parses
//!   it all the same. So it is with the device numbers of what is no device.
//! - Theirs refuses a second extension header of one sort before one member, over 16 extension
//!   headers, keys that are not UTF-8, numbers with spaces in odd places, and times before 1970;
//!   ours takes the last header, any key
//!   and any time, and of equal keys looks at the last only.
//! - An empty PAX value takes a key back here; theirs takes it as it is.
//! - Global headers are skipped here, with what stands before them, and handed to the caller there:
//!   what follows one is not compared.
//! - Extension headers (`x`, `L`, `K`, `S`) count here whatever the magic; theirs wants one that
//!   knows them. `X` is `x` here. Volume labels are passed over.
//! - The prefix field counts here by the magic alone, not to its end for star, and in a GNU header
//!   where it holds no times, as for Go.
//! - NULs before the digits of a number are passed over here, as by Go; for theirs they end it.
//! - Theirs wraps base-256 numbers over 64 bits, reads negative ones as large, and counts a PAX size
//!   once more behind the map of a sparse file of format 1.0: what has those is not compared.

use std::collections::BTreeMap;
use std::io::Read;

use lowerdir::internals::{Archive, Entry, EntryKind};
use lowerdir::path::EntryPath;
use lowerdir::{Error, Kind};
use tar_core::parse::{Limits, ParseError, ParseEvent, ParsedEntry, Parser};
use tar_core::{EntryType, SparseEntry};

use crate::almost;
use crate::dice::Dice;

const BLOCK: u64 = 512;

/// The first byte chooses between bytes as they are, with their checksums repaired, and the
/// generator.
pub fn check(data: &[u8]) {
    let Some((form, rest)) = data.split_first() else {
        return;
    };
    let (bytes, is_honest) = match form % 4 {
        0 | 1 => {
            let almost = almost::archive(&mut Dice::of_bytes(rest));
            (almost.bytes, almost.is_honest)
        }
        2 => {
            let mut bytes = rest.to_vec();
            almost::repair(&mut bytes);
            (bytes, false)
        }
        _ => (rest.to_vec(), false),
    };
    let ours = Ours::read(&bytes[..]);
    if let Some(error) = &ours.error {
        assert!(!is_honest, "an honest archive is refused: {error}");
        let kind = error.kind();
        assert!(matches!(kind, Kind::Refused | Kind::Limit), "{error}");
    }
    in_small_pieces(&bytes, &ours);
    compare(&bytes, &ours);
}

/// An entry, and where its stored bytes are.
struct Member {
    entry: Entry,
    position: u64,
    stored: u64,
}

/// What our reader makes of an archive, up to its end or its first error.
struct Ours {
    members: Vec<Member>,
    error: Option<Error>,
}

impl Ours {
    fn read(reader: impl Read) -> Ours {
        let mut archive = Archive::new(reader);
        let mut members = Vec::new();
        let error = loop {
            match archive.next_entry() {
                Ok(Some(entry)) => members.push(Member {
                    entry,
                    position: archive.position(),
                    stored: archive.stored(),
                }),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        Ours { members, error }
    }
}

/// Gives one byte, then two, then one ...
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.1 = self.1 % 7 + 1;
        let most = buffer.len().min(self.1);
        self.0.read(&mut buffer[..most])
    }
}

/// What a reader gives at once must not matter.
fn in_small_pieces(bytes: &[u8], whole: &Ours) {
    let pieces = Ours::read(Pieces(bytes, 0));
    let told = |ours: &Ours| ours.error.as_ref().map(Error::to_string);
    assert_eq!(told(&pieces), told(whole), "in pieces, and as a whole");
    assert_eq!(pieces.members.len(), whole.members.len());
}

fn compare(bytes: &[u8], ours: &Ours) {
    let limits = Limits {
        max_sparse_entries: 1 << 20,
        ..Limits::default()
    };
    let mut parser = Parser::new(limits);
    parser.set_allow_empty_path(true);
    let mut at = 0;
    let mut members = ours.members.iter();
    while let Some(rest) = bytes.get(at..) {
        let headers = match Headers::before(rest) {
            // Ours ends here, or the two may differ from here on.
            Some(headers) if headers.are_comparable => headers,
            _ => return,
        };
        let (consumed, entry, sparse) = match parser.parse(rest) {
            Ok(ParseEvent::Entry { consumed, entry }) => (consumed, entry, None),
            Ok(ParseEvent::SparseEntry {
                consumed,
                entry,
                sparse_map,
                real_size,
            }) => (consumed, entry, Some((sparse_map, real_size))),
            Ok(_) => return,
            Err(error) => return may_refuse(&error, members.next(), &headers),
        };
        let Some(member) = members.next() else {
            assert!(ours.error.is_some(), "a member that ours does not see");
            return;
        };
        if headers.is_sparse_1_0 && !is_file(member) {
            return;
        }
        let position = (at + consumed) as u64;
        assert_eq!(
            member.position, position,
            "where the data of {:?} is",
            member.entry.path
        );
        agree(member, &entry, sparse.as_ref(), &headers);
        let data = match member.entry.kind {
            EntryKind::File(_) => member.stored.next_multiple_of(BLOCK),
            _ => 0,
        };
        at = position.saturating_add(data) as usize;
    }
}

/// The headers of one member, extensions among them, as far as they decide what can be compared.
struct Headers<'a> {
    are_comparable: bool,
    has_prefix: bool,
    has_empty_value: bool,
    has_size: bool,
    is_sparse_1_0: bool,
    /// The last PAX records.
    records: &'a [u8],
}

impl<'a> Headers<'a> {
    /// Looks at what stands at the start of some bytes; `None` where no member does.
    fn before(bytes: &'a [u8]) -> Option<Headers<'a>> {
        let mut headers = Headers {
            are_comparable: true,
            has_prefix: false,
            has_empty_value: false,
            has_size: false,
            is_sparse_1_0: false,
            records: b"",
        };
        let mut at = 0;
        loop {
            let block = bytes.get(at..at + BLOCK as usize)?;
            if block.iter().all(|&byte| byte == 0) {
                return None;
            }
            let wide = [
                100..108,
                108..116,
                116..124,
                124..136,
                136..148,
                329..337,
                337..345,
            ];
            headers.are_comparable &= !wide.into_iter().any(|field| is_read_apart(&block[field]));
            headers.has_prefix = block[345] != 0;
            let (typeflag, knows) = (block[156], &block[257..262] == b"ustar");
            match typeflag {
                b'x' | b'L' | b'K' if knows => {}
                b'S' if knows => return Some(headers),
                b'x' | b'L' | b'K' | b'S' | b'X' | b'g' | b'V' => headers.are_comparable = false,
                _ => {
                    headers.are_comparable &= !(headers.has_size && headers.is_sparse_1_0);
                    return Some(headers);
                }
            }
            if !headers.are_comparable {
                return Some(headers);
            }
            let size = octal(&block[124..136]);
            let data = bytes.get(at + 512..at + 512 + size)?;
            headers.has_size |= count(data, b" size=") > 0;
            headers.is_sparse_1_0 |= count(data, b"GNU.sparse.major=1") > 0;
            headers.has_empty_value |= count(data, b"=\n") > 0;
            if typeflag == b'x' {
                headers.records = data;
            }
            // Theirs keeps what follows the first NUL of a long name.
            headers.are_comparable &=
                typeflag == b'x' || data.iter().position(|&byte| byte == 0) == size.checked_sub(1);
            at += 512 + size.next_multiple_of(BLOCK as usize);
        }
    }
}

/// Whether a number begins with NULs, is negative in base 256, or has more than the last eight bytes
/// hold there.
fn is_read_apart(field: &[u8]) -> bool {
    let high = &field[1..field.len().saturating_sub(8).max(1)];
    let first_counts = field[0] & 0x40 != 0 || !high.is_empty() && field[0] != 0x80;
    let is_over = first_counts || high.iter().any(|&byte| byte != 0);
    let text = field.trim_ascii_start();
    let is_text_after_nul = text.first() == Some(&0) && text.iter().any(|&byte| byte != 0);
    field[0] & 0x80 != 0 && is_over || is_text_after_nul
}

fn count(data: &[u8], what: &[u8]) -> usize {
    let windows = data.windows(what.len());
    windows.filter(|window| *window == what).count()
}

/// A size as any writer spells it; of an odd one, more than there is.
fn octal(field: &[u8]) -> usize {
    let text = std::str::from_utf8(field).unwrap_or_default();
    let digits = text.trim_matches(['\0', ' ']);
    usize::from_str_radix(digits, 8).map_or(1 << 40, |size| size.min(1 << 40))
}

/// What theirs refuses and ours takes has to be on the list.
fn may_refuse(error: &ParseError, member: Option<&Member>, headers: &Headers) {
    let Some(member) = member else { return };
    let is_intended = match error {
        ParseError::Header(_)
        | ParseError::DuplicateGnuLongName
        | ParseError::DuplicateGnuLongLink
        | ParseError::DuplicatePaxHeader
        | ParseError::TooManyPendingEntries { .. }
        | ParseError::MetadataTooLarge { .. }
        | ParseError::InvalidUtf8(_)
        | ParseError::OrphanedMetadata => true,
        ParseError::Pax(error) => !error.to_string().contains("alformed"),
        ParseError::InvalidPaxValue { key, .. } => {
            let is_repeated = count(headers.records, format!(" {key}=").as_bytes()) > 1;
            is_repeated || headers.has_empty_value || *key == "mtime" || !is_file(member)
        }
        ParseError::InvalidPaxSparseMap(_) => headers.has_empty_value || !is_file(member),
        ParseError::InvalidSize(_) => headers.has_size || !is_file(member),
        _ => false,
    };
    assert!(
        is_intended,
        "only theirs refuses {:?}: {error}",
        member.entry
    );
}

fn is_file(member: &Member) -> bool {
    matches!(member.entry.kind, EntryKind::File(_))
}

fn agree(
    member: &Member,
    theirs: &ParsedEntry,
    sparse: Option<&(Vec<SparseEntry>, u64)>,
    headers: &Headers,
) {
    let Entry { path, kind, meta } = &member.entry;
    if headers.has_empty_value {
        return;
    }
    if !headers.has_prefix {
        let name = EntryPath::parse(&theirs.path).expect("ours took it");
        assert_eq!(*path, name);
    }
    let owner = (u64::from(meta.uid), u64::from(meta.gid));
    assert_eq!(owner, (theirs.uid, theirs.gid), "the owner of {path}");
    assert_eq!(meta.mode, theirs.mode & 0o7777, "the mode of {path}");
    if meta.mtime.seconds >= 0 {
        assert_eq!(
            meta.mtime.seconds as u64, theirs.mtime,
            "the time of {path}"
        );
    }
    let mut xattrs = BTreeMap::new();
    for (name, value) in &theirs.xattrs {
        xattrs.insert(name.to_vec(), value.to_vec());
    }
    let own = meta.xattrs.iter();
    let own: BTreeMap<_, _> = own
        .map(|xattr| (xattr.name.to_vec(), xattr.value.to_vec()))
        .collect();
    assert_eq!(own, xattrs, "the xattrs of {path}");
    let target = theirs.link_target.as_deref().unwrap_or_default();
    let device = (theirs.dev_major.unwrap_or(0), theirs.dev_minor.unwrap_or(0));
    let type_is = |expected: &[EntryType]| expected.contains(&theirs.entry_type);
    let agrees = match kind {
        EntryKind::Directory => type_is(&[EntryType::Directory, EntryType::Regular]),
        EntryKind::Symlink(to) => type_is(&[EntryType::Symlink]) && **to == *target,
        EntryKind::HardLink(to) => {
            let target = EntryPath::parse(target).expect("ours took it");
            type_is(&[EntryType::Link]) && *to == target
        }
        EntryKind::CharDevice(own) => {
            type_is(&[EntryType::Char]) && (own.major, own.minor) == device
        }
        EntryKind::BlockDevice(own) => {
            type_is(&[EntryType::Block]) && (own.major, own.minor) == device
        }
        EntryKind::Fifo => type_is(&[EntryType::Fifo]),
        EntryKind::File(shape) => {
            assert_eq!(member.stored, theirs.size, "the stored size of {path}");
            let own = shape.extents.as_ref().map(|extents| {
                let pairs = extents.iter().map(|extent| (extent.offset, extent.length));
                (pairs.collect::<Vec<_>>(), shape.size)
            });
            let other = sparse.map(|(map, size)| {
                let pairs = map.iter().map(|extent| (extent.offset, extent.length));
                (pairs.collect::<Vec<_>>(), *size)
            });
            own == other
        }
    };
    assert!(
        agrees,
        "{:?} is for them {theirs:?} {sparse:?}",
        member.entry
    );
}
