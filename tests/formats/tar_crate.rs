//! Why the product assembles entries itself: what `tar` 0.4 makes of archives that ours reads
//! right. Where one of these fails because the crate has got better, rejoice and drop it.

use std::io::Read;

use crate::read::one;
use crate::tarball::{LayerBuilder, Meta, header, padded, pax_header, pax_record};

/// A capability whose permitted set has the bytes 0x0a 0x0a.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 10, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn with_records(records: &[Vec<u8>], name: &str, content: &[u8]) -> Vec<u8> {
    LayerBuilder::new()
        .raw(pax_header(&records.concat()))
        .file(name, 0o644, content)
        .finish()
}

/// What the crate says of the first entry's records.
fn records_by_the_crate(archive: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut archive = tar::Archive::new(archive);
    let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
    let Ok(Some(records)) = entry.pax_extensions() else {
        return Vec::new();
    };
    let good = records.filter_map(Result::ok);
    good.map(|record| (record.key_bytes().to_vec(), record.value_bytes().to_vec()))
        .collect()
}

#[test]
fn an_xattr_value_may_hold_newlines() {
    let record = pax_record("SCHILY.xattr.security.capability", CAPABILITY);
    let archive = with_records(&[record], "f", b"");
    let xattrs = one(&archive).entry.meta.xattrs;
    assert_eq!(&*xattrs[0].name, b"security.capability");
    assert_eq!(*xattrs[0].value, CAPABILITY);
    let theirs = records_by_the_crate(&archive);
    assert!(
        theirs.iter().all(|(_, value)| *value != CAPABILITY),
        "{theirs:?}"
    );
}

#[test]
fn a_value_cannot_forge_a_record() {
    let forged = [b"x\n".to_vec(), pax_record("path", "forged")].concat();
    let archive = with_records(&[pax_record("SCHILY.xattr.user.k", forged)], "honest", b"");
    assert_eq!(one(&archive).entry.path.as_bytes(), b"honest");
    let mut theirs = tar::Archive::new(&archive[..]);
    let entry = theirs.entries().unwrap().next().unwrap().unwrap();
    assert_eq!(&*entry.path_bytes(), b"forged");
}

#[test]
fn the_last_of_equal_keys_wins() {
    let archive = with_records(
        &[pax_record("path", "first"), pax_record("path", "last")],
        "f",
        b"",
    );
    assert_eq!(one(&archive).entry.path.as_bytes(), b"last");
    let mut theirs = tar::Archive::new(&archive[..]);
    let entry = theirs.entries().unwrap().next().unwrap().unwrap();
    assert_eq!(&*entry.path_bytes(), b"first");
}

#[test]
fn a_pax_sparse_file_has_its_holes() {
    let records = [
        pax_record("GNU.sparse.major", "1"),
        pax_record("GNU.sparse.minor", "0"),
        pax_record("GNU.sparse.name", "real"),
        pax_record("GNU.sparse.realsize", "8"),
    ];
    let stored = [padded(b"1\n6\n2\n"), b"ab".to_vec()].concat();
    let archive = with_records(&records, "GNUSparseFile.0/real", &stored);
    let member = one(&archive);
    assert_eq!(member.entry.path.as_bytes(), b"real");
    assert_eq!(member.content, b"\0\0\0\0\0\0ab");
    let mut theirs = tar::Archive::new(&archive[..]);
    let mut entry = theirs.entries().unwrap().next().unwrap().unwrap();
    let mut content = Vec::new();
    entry.read_to_end(&mut content).unwrap();
    assert_eq!(content, stored);
}

#[test]
fn a_truncated_body_is_no_short_file() {
    let block = header(b'0', b"f", b"", &Meta::new(0o644), 1000);
    let archive = [&block[..], &[7; 512]].concat();
    assert_eq!(crate::read::error(&archive), lowerdir::Kind::Refused);
    let mut theirs = tar::Archive::new(&archive[..]);
    let mut entry = theirs.entries().unwrap().next().unwrap().unwrap();
    let mut content = Vec::new();
    assert_eq!(entry.read_to_end(&mut content).ok(), Some(512));
}
