//! Where an archive ends, and where it must not.

use lowerdir::Kind;

use crate::read::{error, read};
use crate::sparse::old_gnu;
use crate::tarball::{LayerBuilder, Meta, header, padded, pax_header, pax_record};

/// A member with everything that has to be read before it.
type Step = fn(LayerBuilder) -> LayerBuilder;

/// Members of every sort.
const STEPS: [Step; 8] = [
    |layer| layer.dir("d", 0o755),
    |layer| {
        let meta = Meta::new(0o644).xattr("user.k", "v").time(-1, 5);
        layer.file("d/f", meta, [7; 700])
    },
    |layer| layer.symlink("d/s", "x".repeat(150)),
    |layer| layer.file("d/empty", 0o644, ""),
    |layer| layer.hardlink("d/h", "d/f"),
    |layer| {
        let long = header(b'L', b"././@LongLink", b"", &Meta::new(0), 5);
        let layer = layer.raw(long).raw(padded(b"long\0"));
        layer.file("d/l", 0o644, [7; 512])
    },
    |layer| {
        layer.raw(old_gnu(
            &[(9, 1), (19, 1), (29, 1), (39, 1), (49, 1)],
            60,
            b"12345",
        ))
    },
    |layer| {
        let records = ["major=1", "minor=0", "realsize=9"];
        let records = records.map(|record| record.split_once('=').unwrap());
        let records = records.map(|(key, value)| pax_record(format!("GNU.sparse.{key}"), value));
        let stored = [padded(b"1\n5\n4\n"), b"data".to_vec()].concat();
        let layer = layer.raw(pax_header(&records.concat()));
        layer.file("d/sparse", 0o644, stored)
    },
];

/// All of them, and where each begins; the last number is where the archive ends.
fn sample() -> (Vec<u8>, Vec<usize>) {
    let first = |count: usize| {
        let steps = STEPS[..count].iter();
        let layer = steps.fold(LayerBuilder::new(), |layer, step| step(layer));
        layer.finish_without_end()
    };
    let ends = (0..=STEPS.len()).map(|count| first(count).len());
    (first(STEPS.len()), ends.collect())
}

/// Where some members' content ends before their padding: the step, and the bytes of content.
const UNPADDED: [(usize, usize); 3] = [(1, 700), (6, 5), (7, 516)];

#[test]
fn a_missing_end_is_accepted_between_two_entries_and_nowhere_else() {
    let (archive, ends) = sample();
    // umoci 0.4 leaves out the last padding.
    let unpadded = |length| {
        let end = |(step, content): &(usize, usize)| ends[step + 1] - (512 - content % 512);
        let member = UNPADDED.iter().find(|member| end(member) == length);
        member.map(|(step, _)| step + 1)
    };
    for length in 0..=archive.len() {
        let between = ends.iter().position(|end| *end == length);
        match between.or_else(|| unpadded(length)) {
            Some(members) => assert_eq!(read(&archive[..length]).unwrap().len(), members),
            None => assert_eq!(error(&archive[..length]), Kind::Refused, "{length} bytes"),
        }
    }
}

#[test]
fn a_zero_block_that_is_cut_is_no_end() {
    let (archive, _) = sample();
    for length in 1..1024 {
        let cut = [&archive[..], &vec![0; length]].concat();
        match length < 512 {
            true => assert_eq!(error(&cut), Kind::Refused, "{length} zeros"),
            false => assert_eq!(read(&cut).unwrap().len(), STEPS.len()),
        }
    }
}

#[test]
fn nothing_counts_after_a_zero_block() {
    let (archive, _) = sample();
    let after = [&archive[..], &[0; 512], &archive].concat();
    assert_eq!(read(&after).unwrap().len(), STEPS.len());
    // But an archive that begins with it is none (rule T1).
    let first = [&[0; 512][..], b"not even a block"].concat();
    assert_eq!(error(&first), Kind::Refused);
}
