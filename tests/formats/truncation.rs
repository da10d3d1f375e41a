//! Where an archive ends, and where it must not.

use lowerdir::Kind;

use crate::read::{error, read};
use crate::tarball::{LayerBuilder, Meta};

/// Members of every sort, and where each begins.
fn sample() -> (Vec<u8>, Vec<usize>) {
    let steps: [fn(LayerBuilder) -> LayerBuilder; 5] = [
        |layer| layer.dir("d", 0o755),
        |layer| {
            layer.file(
                "d/f",
                Meta::new(0o644).xattr("user.k", "v").time(-1, 5),
                [7; 700],
            )
        },
        |layer| layer.symlink("d/s", "x".repeat(150)),
        |layer| layer.file("d/empty", 0o644, ""),
        |layer| layer.hardlink("d/h", "d/f"),
    ];
    let mut layer = LayerBuilder::new();
    let mut ends = vec![0];
    for (done, step) in steps.iter().enumerate() {
        layer = step(layer);
        let so_far = steps[..=done]
            .iter()
            .fold(LayerBuilder::new(), |layer, step| step(layer));
        ends.push(so_far.finish_without_end().len());
    }
    (layer.finish_without_end(), ends)
}

#[test]
fn a_missing_end_is_accepted_between_two_entries_and_nowhere_else() {
    let (archive, ends) = sample();
    for length in 0..=archive.len() {
        match ends.iter().position(|end| *end == length) {
            Some(members) => assert_eq!(read(&archive[..length]).unwrap().len(), members),
            None => assert_eq!(error(&archive[..length]), Kind::Refused, "{length} bytes"),
        }
    }
}

#[test]
fn nothing_counts_after_a_zero_block() {
    let (archive, _) = sample();
    let after = [&archive[..], &[0; 512], &archive].concat();
    assert_eq!(read(&after).unwrap().len(), 5);
    assert_eq!(
        read(&[&[0; 512][..], b"not even a block"].concat())
            .unwrap()
            .len(),
        0
    );
}

#[test]
fn an_unknown_type_is_refused() {
    for typeflag in [b'8', b'M', b'Q', 0xff] {
        let block = crate::tarball::header(typeflag, b"f", b"", &Meta::new(0), 0);
        assert_eq!(error(&block), Kind::Refused);
    }
}
