//! Archives and compression that lie about their size, or ask for what a small blob may not ask.

use crate::court::{Case, End};
use crate::oci::Compression;
use crate::tarball::{LayerBuilder, Meta, header, padded, pax_header, pax_record, seal};

fn sparse_map(parts: u64) -> Vec<u8> {
    let lines: String = (0..parts)
        .map(|part| format!("{}\n0\n", part * 2))
        .collect();
    format!("{parts}\n{lines}").into_bytes()
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(sizes());
    for typeflag in [b'x', b'g', b'L', b'K'] {
        let block = header(typeflag, b"x", b"", &Meta::new(0), 1 << 32);
        let name = format!("an extension of 4 GiB, type {}", char::from(typeflag));
        cases.push(Case::new(
            name,
            End::Limit,
            vec![LayerBuilder::new().raw(block)],
        ));
    }
    for parts in [1000, 1 << 20, 1 << 21] {
        let map = sparse_map(parts);
        let records = ["major=1", "minor=0", "realsize=9000000"]
            .map(|record| record.split_once('=').unwrap())
            .map(|(key, value)| pax_record(format!("GNU.sparse.{key}"), value));
        let layer =
            LayerBuilder::new()
                .raw(pax_header(&records.concat()))
                .file("s", 0o644, padded(&map));
        let end = match parts > 1 << 20 {
            true => End::Limit,
            false => End::Unpacked,
        };
        cases.push(Case::new(
            format!("a sparse map of {parts} parts"),
            end,
            vec![layer],
        ));
    }
    cases.extend([1 << 20, 1 << 21].map(old_gnu_map));
    let many: Vec<u8> = (0..70_000)
        .flat_map(|number| pax_record(format!("k{number}"), "v"))
        .collect();
    let mut block = header(b'g', b"global", b"", &Meta::new(0), many.len() as u64).to_vec();
    block.extend(padded(&many));
    for (name, records) in [("", Vec::new()), (" with records", pax_record("uid", "1"))] {
        let layer = (0..10_000).fold(LayerBuilder::new().raw(&block), |layer, number| {
            let own = if records.is_empty() {
                Vec::new()
            } else {
                pax_header(&records)
            };
            layer.raw(own).file(format!("f{number}"), 0o644, "")
        });
        let name = format!("10,000 files{name} after 70,000 global records");
        cases.push(Case::new(name, End::Unpacked, vec![layer]));
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

/// Two sizes for one member (CVE-2025-62518): the record counts, and what the other one would show is
/// part of a file, or the other way round.
fn sizes() -> Vec<Case> {
    let inner = LayerBuilder::new()
        .file("smuggled", 0o4755, "x")
        .finish_without_end();
    let length = inner.len() as u64;
    let member = |record: &str, size: u64| {
        LayerBuilder::new()
            .raw(pax_header(&pax_record("size", record)))
            .raw(header(b'0', b"f", b"", &Meta::new(0o644), size))
            .raw(padded(&inner))
            .file("last", 0o644, "")
    };
    let mut cases = Vec::new();
    for size in [0, 1, 512, 1 << 32] {
        let name = format!("a header that says {size}, a record that says {length}");
        let case = Case::new(name, End::Unpacked, vec![member(&length.to_string(), size)]);
        cases.push(case.holding(&["f", "last"]));
    }
    let name = format!("a header that says {length}, a record that says 0");
    let case = Case::new(name, End::Unpacked, vec![member("0", length)]);
    cases.push(case.holding(&["f", "last", "smuggled"]));
    for record in [
        "1",
        "511",
        "18446744073709551615",
        "9223372036854775807",
        "-1",
        "x",
        " 0",
    ] {
        let name = format!("a header that says {length}, a record that says {record:?}");
        cases.push(Case::new(name, End::Refused, vec![member(record, length)]));
    }
    cases
}

/// A sparse file of so many empty parts, 21 in a block before the data.
fn old_gnu_map(parts: u64) -> Case {
    let mut block = header(b'S', b"s", b"", &Meta::new(0o644), 0);
    block[257..265].copy_from_slice(b"ustar  \0");
    let pair = |number: u64| format!("{:011o}\0{:011o}\0", number * 2, 0).into_bytes();
    block[386..482].copy_from_slice(&(0..4).flat_map(pair).collect::<Vec<u8>>());
    block[482] = 1;
    block[483..495].copy_from_slice(format!("{:011o}\0", parts * 2).as_bytes());
    seal(&mut block);
    let mut layer = LayerBuilder::new().raw(block);
    for first in (4..parts).step_by(21) {
        let mut more: Vec<u8> = (first..parts.min(first + 21)).flat_map(pair).collect();
        more.resize(512, 0);
        more[504] = u8::from(first + 21 < parts);
        layer = layer.raw(more);
    }
    let end = match parts > 1 << 20 {
        true => End::Limit,
        false => End::Unpacked,
    };
    Case::new(format!("an old GNU map of {parts} parts"), end, vec![layer])
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
