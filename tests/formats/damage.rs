//! Damaged blobs and archives: refused or noticed at every byte and bit, and never a panic.

use lowerdir::Digest;
use lowerdir::Kind;
use lowerdir::image::Expected;
use proptest::prelude::*;

use crate::blobs::{decode, gzip, promise, refusal, skippable, xz, zstd};
use crate::read::read;
use crate::tarball::{LayerBuilder, Meta, pax_header, pax_record, seal};

const CONTENT: &[u8] = b"content and content";

/// Each with the lengths at which it may be cut without its decoder's noticing: below its magic it
/// is plain, and between two of its parts it is a whole blob.
fn blobs() -> Vec<(Vec<u8>, Vec<usize>)> {
    let two = |one: &[u8], other: &[u8]| ([one, other].concat(), one.len());
    let part = [gzip(CONTENT), zstd(CONTENT), xz(CONTENT), skippable(b"toc")];
    let magic = [2, 4, 6, 4];
    let mut blobs = Vec::new();
    for (first, second) in [(0, 0), (1, 1), (1, 3), (3, 1), (2, 2)] {
        let (blob, between) = two(&part[first], &part[second]);
        let below_magic = 0..magic[first];
        blobs.push((blob, below_magic.chain([between]).collect()));
    }
    blobs
}

#[test]
fn a_decoder_notices_a_cut_at_every_byte() {
    for (blob, unnoticed) in blobs() {
        for length in (0..blob.len()).filter(|length| !unnoticed.contains(length)) {
            let kind = refusal(&blob[..length], Expected::default());
            assert_eq!(kind, Kind::Refused, "{length} bytes of {}", blob.len());
        }
    }
}

#[test]
fn the_digests_notice_every_cut() {
    for (blob, _) in blobs() {
        let diff = decode(&blob, Expected::default()).unwrap().0;
        for length in 0..blob.len() {
            let kind = refusal(&blob[..length], promise(&blob, &diff));
            assert!(matches!(kind, Kind::Refused | Kind::Mismatch), "{kind:?}");
        }
    }
}

#[test]
fn a_flipped_bit_never_passes_as_verified() {
    for (blob, _) in blobs() {
        let diff = decode(&blob, Expected::default()).unwrap().0;
        for bit in 0..blob.len() * 8 {
            let mut damaged = blob.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let kind = refusal(&damaged, promise(&blob, &diff));
            // A flipped bit may well ask for a larger window.
            assert!(
                matches!(kind, Kind::Refused | Kind::Mismatch | Kind::Limit),
                "bit {bit}"
            );
            // Some bits of a header say nothing about the content.
            let only_diff = Expected {
                diff_id: Some(Digest::of(&diff)),
                ..Expected::default()
            };
            if let Ok((bytes, _)) = decode(&damaged, only_diff) {
                assert_eq!(bytes, diff, "bit {bit}");
            }
        }
    }
}

/// An archive whose every block is worth damaging.
fn archive() -> Vec<u8> {
    let sparse = ["major=1", "minor=0", "name=s", "realsize=9"];
    let sparse = sparse.map(|record| record.split_once('=').unwrap());
    let sparse: Vec<u8> = sparse
        .iter()
        .flat_map(|(key, value)| pax_record(format!("GNU.sparse.{key}"), value))
        .collect();
    let mut stored = b"1\n5\n4\n".to_vec();
    stored.resize(512, 0);
    stored.extend(b"data");
    LayerBuilder::new()
        .dir("d", 0o755)
        .file("d/f", Meta::new(0o644).xattr("user.k", "v"), [7; 700])
        .raw(pax_header(&sparse))
        .file("GNUSparseFile.1/s", 0o644, stored)
        .symlink("l", "x".repeat(120))
        .hardlink("h", "d/f")
        .chardev("c", 0o600, (1, 3))
        .finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn no_damage_to_an_archive_makes_the_reader_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        repair in any::<bool>(),
    ) {
        let mut archive = archive();
        for (at, byte) in damage {
            let at = at.index(archive.len());
            archive[at] = byte;
            let block = at / 512 * 512;
            let block: &mut [u8; 512] = (&mut archive[block..block + 512]).try_into().unwrap();
            // With its sum repaired, a header gets past the first gate.
            if repair && &block[257..262] == b"ustar" {
                seal(block);
            }
        }
        if let Err(error) = read(&archive) {
            prop_assert!(matches!(error.kind(), Kind::Refused | Kind::Limit), "{error:?}");
        }
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(
        magic in 0usize..4,
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let magic = [&b"\x1f\x8b\x08"[..], b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b""][magic];
        let blob = [magic, &bytes].concat();
        if let Err(error) = decode(&blob, Expected::default()) {
            prop_assert!(matches!(error.kind(), Kind::Refused | Kind::Limit), "{error:?}");
        }
    }
}
