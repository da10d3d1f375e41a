//! The fs-verity digest of a file with holes is that of the file without them, however it is computed.

use lowerdir::internals::Verity;
use sha2::{Digest, Sha256};

const BLOCK: u64 = 4096;
/// Blocks below one digest of the second and the third level.
const WIDTH: u64 = 128;

/// Data and holes in turn, in bytes: as they are, and with zeros for the holes.
fn both(runs: &[(u64, u64)]) -> [[u8; 32]; 2] {
    let (mut skipping, mut writing) = (Verity::default(), Verity::default());
    let zeros = vec![0; 1 << 20];
    for &(data, hole) in runs {
        for verity in [&mut skipping, &mut writing] {
            verity.update(&vec![7; data as usize]);
        }
        skipping.skip(hole);
        let mut left = hole;
        while left > 0 {
            let now = left.min(zeros.len() as u64);
            writing.update(&zeros[..now as usize]);
            left -= now;
        }
        assert_eq!(skipping.size(), writing.size());
    }
    [skipping.finish(), writing.finish()]
}

#[test]
fn a_hole_is_zeros() {
    for blocks in [
        1,
        2,
        WIDTH - 1,
        WIDTH,
        WIDTH + 1,
        2 * WIDTH,
        WIDTH * WIDTH + 1,
    ] {
        for bytes in [blocks * BLOCK - 1, blocks * BLOCK, blocks * BLOCK + 1] {
            for runs in [
                &[(0, bytes)][..],
                &[(1, bytes)],
                &[(BLOCK, bytes), (1, 0)],
                &[(0, bytes), (0, bytes)],
                &[(WIDTH * BLOCK, bytes), (BLOCK, 0)],
            ] {
                // Some are enough for large ones.
                if blocks <= WIDTH * 2 || bytes % BLOCK == 0 && runs.len() == 1 {
                    let [skipped, written] = both(runs);
                    assert_eq!(skipped, written, "{runs:?}");
                }
            }
        }
    }
    let [skipped, written] = both(&[(5000, 300 * BLOCK), (4000, 1000 * BLOCK), (1, 99)]);
    assert_eq!(skipped, written);
}

#[test]
fn a_hole_of_any_size_takes_no_time() {
    // A file that fills each level of its tree.
    let mut root: [u8; 32] = Sha256::digest([0; BLOCK as usize]).into();
    let mut size = BLOCK;
    for _ in 0..5 {
        root = Sha256::digest(root.repeat(WIDTH as usize)).into();
        size *= WIDTH;
        let mut descriptor = [0; 256];
        descriptor[..3].copy_from_slice(&[1, 1, 12]);
        descriptor[8..16].copy_from_slice(&size.to_le_bytes());
        descriptor[16..48].copy_from_slice(&root);
        let mut verity = Verity::default();
        verity.skip(size);
        assert_eq!(
            verity.finish()[..],
            Sha256::digest(descriptor)[..],
            "{size}"
        );
    }
    let mut verity = Verity::default();
    verity.update(b"x");
    verity.skip(i64::MAX as u64 - 1);
    assert_eq!(verity.size(), i64::MAX as u64);
    verity.finish();
}
