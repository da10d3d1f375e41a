//! Archives and compression that lie about their size, or ask for what a small blob may not ask.

use crate::court::{Case, End};
use crate::oci::Compression;
use crate::tarball::{LayerBuilder, Meta, header, padded, pax_header, pax_record};

fn sparse_map(parts: u64) -> Vec<u8> {
    let lines: String = (0..parts)
        .map(|part| format!("{}\n0\n", part * 2))
        .collect();
    format!("{parts}\n{lines}").into_bytes()
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let inner = LayerBuilder::new().file("smuggled", 0o4755, "x").finish();
    for size in [
        "0",
        "1",
        "512",
        "18446744073709551615",
        "9223372036854775807",
        "-1",
        "x",
    ] {
        let layer = LayerBuilder::new()
            .raw(pax_header(&pax_record("size", size)))
            .raw(header(
                b'0',
                b"f",
                b"",
                &Meta::new(0o644),
                inner.len() as u64,
            ))
            .raw(padded(&inner));
        cases.push(Case::new(
            format!("a PAX size of {size}"),
            End::Either,
            vec![layer],
        ));
    }
    for typeflag in [b'x', b'g', b'L', b'K'] {
        let block = header(typeflag, b"x", b"", &Meta::new(0), 1 << 32);
        let name = format!("an extension of 4 GiB, type {}", char::from(typeflag));
        cases.push(Case::new(
            name,
            End::Limit,
            vec![LayerBuilder::new().raw(block)],
        ));
    }
    for parts in [1000, 1 << 21] {
        let map = sparse_map(parts);
        let records = ["major=1", "minor=0", "realsize=9000000"]
            .map(|record| record.split_once('=').unwrap())
            .map(|(key, value)| pax_record(format!("GNU.sparse.{key}"), value));
        let layer =
            LayerBuilder::new()
                .raw(pax_header(&records.concat()))
                .file("s", 0o644, padded(&map));
        let end = if parts == 1000 {
            End::Unpacked
        } else {
            End::Limit
        };
        cases.push(Case::new(
            format!("a sparse map of {parts} parts"),
            end,
            vec![layer],
        ));
    }
    let record = pax_record("SCHILY.xattr.user.k", vec![0; 1 << 17]);
    let layer = LayerBuilder::new()
        .raw(pax_header(&record))
        .file("f", 0o644, "");
    cases.push(Case::new("an xattr of 128 KiB", End::Limit, vec![layer]));
    for compression in [Compression::Gzip, Compression::Zstd] {
        let zeros = LayerBuilder::new().file("f", 0o644, vec![0; 3 << 20]);
        let name = format!("zeros as {compression:?}");
        cases.push(Case::new(name, End::Unpacked, vec![zeros]).compressed(compression));
    }
    cases.push(Case::of_bytes("a bomb", End::Limit, vec![bomb()]).with("--max-bytes=64M"));
    cases.push(
        Case::of_bytes("a bomb by its ratio", End::Limit, vec![bomb()]).with("--max-ratio=64"),
    );
    // A frame that asks for a window of 2 GiB, then ends.
    let window = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3, 1, 0, 0];
    cases.push(Case::of_bytes(
        "a zstd window of 2 GiB",
        End::Limit,
        vec![window],
    ));
    let many: LayerBuilder = (0..20_000).fold(LayerBuilder::new(), |layer, number| {
        layer.hardlink(format!("h{number}"), "f")
    });
    cases.push(Case::new(
        "20,000 links to nothing",
        End::Refused,
        vec![many],
    ));
    let same: LayerBuilder =
        (0..5_000).fold(LayerBuilder::new(), |layer, number| match number % 2 {
            0 => layer.file("d", 0o644, ""),
            _ => layer.file("d/f", 0o644, ""),
        });
    cases.push(Case::new(
        "5,000 changes of a file into a directory",
        End::Unpacked,
        vec![same],
    ));
    let whole = LayerBuilder::new()
        .dir("d", 0o755)
        .file("d/f", 0o644, [7; 700])
        .symlink("l", "d")
        .finish();
    for length in (1..whole.len()).step_by(97) {
        let name = format!("a layer cut at {length}");
        cases.push(Case::of_bytes(
            name,
            End::Either,
            vec![whole[..length].to_vec()],
        ));
    }
    cases
}

/// Some KiB that become 256 MiB, and say that they are a terabyte.
fn bomb() -> Vec<u8> {
    let head = header(b'0', b"bomb", b"", &Meta::new(0o644), 1 << 40);
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    std::io::Write::write_all(&mut encoder, &head).unwrap();
    let mut frame = encoder.finish().unwrap();
    let zeros = zstd::encode_all(&vec![0; 64 << 20][..], 1).unwrap();
    frame.extend(zeros.repeat(4));
    frame
}
