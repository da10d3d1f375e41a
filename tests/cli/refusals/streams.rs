//! Damaged compression, what is no archive, and archives whose blocks are wrong.

use std::io::Write;

use super::inputs::Input;
use crate::oci::Compression;
use crate::tarball::{BLOCK, LayerBuilder, Meta, header, padded, pax_header, pax_record, seal};

pub fn inputs() -> Vec<Input> {
    let mut inputs = gzip();
    inputs.extend(others());
    inputs.extend(no_archives());
    inputs.extend(types());
    inputs.extend(blocks());
    inputs.extend(extensions());
    inputs.extend(limits());
    inputs
}

/// That deflate cannot make small: noise.
fn large() -> Vec<u8> {
    let content: Vec<u8> = (0..50_000_u32).map(|n| ((n * n) >> 7) as u8).collect();
    LayerBuilder::new().file("etc/f", 0o644, content).finish()
}

fn stream(
    name: &'static str,
    words: &'static [&'static str],
    compression: Compression,
    change: impl FnOnce(&mut Vec<u8>),
) -> Input {
    let tar = large();
    let mut blob = compression.compress(&tar);
    change(&mut blob);
    Input::stream(name, words, tar, blob)
}

fn gzip() -> Vec<Input> {
    let gzip = |name, change: fn(&mut Vec<u8>)| stream(name, &[], Compression::Gzip, change);
    vec![
        gzip("gzip cut in the middle", |blob| {
            blob.truncate(blob.len() / 2)
        }),
        gzip("gzip without its trailer", |blob| {
            blob.truncate(blob.len() - 8)
        }),
        gzip("gzip without its last byte", |blob| {
            blob.truncate(blob.len() - 1)
        }),
        gzip("gzip with another CRC", |blob| {
            let at = blob.len() - 8;
            blob[at] ^= 1;
        }),
        gzip("gzip with another length", |blob| {
            let at = blob.len() - 1;
            blob[at] ^= 1;
        }),
        gzip("gzip with a flipped bit", |blob| {
            let at = blob.len() / 2;
            blob[at] ^= 1;
        }),
        gzip("gzip with a reserved block type", |blob| blob[10] |= 0b110),
        gzip("garbage behind gzip", |blob| blob.extend(b"garbage")),
    ]
}

fn others() -> Vec<Input> {
    let tar = large();
    let zstd = || {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
        encoder.include_checksum(true).expect("an option");
        encoder.write_all(&large()).expect("memory takes it");
        encoder.finish().expect("memory takes it")
    };
    let xz = || {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
        encoder.write_all(&large()).expect("memory takes it");
        encoder.finish().expect("memory takes it")
    };
    let changed = |name, mut blob: Vec<u8>, change: fn(&mut Vec<u8>)| {
        change(&mut blob);
        Input::stream(name, &[], tar.clone(), blob)
    };
    vec![
        changed("zstd cut in the middle", zstd(), |blob| {
            blob.truncate(blob.len() / 2)
        }),
        changed("zstd without its checksum", zstd(), |blob| {
            blob.truncate(blob.len() - 4)
        }),
        changed("zstd with another checksum", zstd(), |blob| {
            let at = blob.len() - 1;
            blob[at] ^= 1;
        }),
        changed("garbage behind zstd", zstd(), |blob| {
            blob.extend(b"garbage")
        }),
        changed("xz cut in the middle", xz(), |blob| {
            blob.truncate(blob.len() / 2)
        }),
        changed("xz without its last byte", xz(), |blob| {
            blob.truncate(blob.len() - 1)
        }),
        changed("xz with a flipped bit", xz(), |blob| {
            let at = blob.len() / 2;
            blob[at] ^= 1;
        }),
        changed("garbage behind xz", xz(), |blob| blob.extend(b"garbage")),
    ]
}

/// A file system image: two blocks of zeros, and what stands behind them.
fn behind_zeros(offset: usize, magic: &[u8]) -> Vec<u8> {
    let mut image = vec![0; 8192];
    image[offset..offset + magic.len()].copy_from_slice(magic);
    image
}

fn no_archives() -> Vec<Input> {
    let erofs = behind_zeros(1024, &0xe0f5_e1e2_u32.to_le_bytes());
    let ext4 = behind_zeros(1024 + 56, &[0x53, 0xef]);
    let filled = |magic: &[u8]| {
        let mut bytes = magic.to_vec();
        bytes.extend((0..4096_u32).map(|n| ((n * 7) >> 2) as u8));
        bytes
    };
    let zstd = Compression::Zstd.compress(&erofs);
    vec![
        Input::layer("EROFS", 3, &[], erofs.clone()),
        Input::layer("ext4", 3, &[], ext4),
        Input::stream("EROFS in zstd", &[], erofs, zstd),
        Input::layer("text", 3, &[], b"these are no blocks ".repeat(99)),
        Input::layer("squashfs", 3, &[], filled(b"hsqs")),
        Input::layer("a zip archive", 3, &[], filled(b"PK\x03\x04")),
        Input::layer("7z", 3, &[], filled(b"7z\xbc\xaf\x27\x1c")),
        Input::layer("bzip2", 3, &[], filled(b"BZh9")),
        Input::layer("lz4", 3, &[], filled(&[0x04, 0x22, 0x4d, 0x18])),
        Input::layer("a few bytes", 3, &[], b"x".to_vec()),
    ]
}

/// A good archive by a type that says that it is none.
fn types() -> Vec<Input> {
    let typed = |name, media_type: &'static &'static str| {
        let words = std::slice::from_ref(media_type);
        Input::image(name, 3, words, |_, _| {}).of_type(media_type)
    };
    vec![
        typed(
            "type of an encrypted layer",
            &"application/vnd.oci.image.layer.v1.tar+encrypted",
        ),
        typed("type of EROFS", &"application/vnd.erofs.layer.v1"),
        typed(
            "type of squashfs",
            &"application/vnd.sylabs.sif.layer.v1.sif",
        ),
        typed(
            "type of nydus",
            &"application/vnd.oci.image.layer.nydus.blob.v1",
        ),
        typed("type of wasm", &"application/wasm"),
        typed("type of nothing known", &"application/vnd.example.thing"),
    ]
}

fn blocks() -> Vec<Input> {
    let file = |meta: Meta| header(b'0', b"etc/f", b"", &meta, 5);
    let good = || LayerBuilder::new().file("etc/good", 0o644, "good");
    let with = |block: [u8; BLOCK]| good().raw(block).raw(padded(b"bytes")).finish();
    let sealed = |change: fn(&mut [u8; BLOCK])| {
        let mut block = file(Meta::new(0o644));
        change(&mut block);
        seal(&mut block);
        with(block)
    };
    let unsealed = {
        let mut block = file(Meta::new(0o644));
        block[0] ^= 1;
        with(block)
    };
    let large = {
        let start = header(b'0', b"etc/f", b"", &Meta::new(0o644), 4096);
        good().raw(start).raw([b'x'; 1000]).finish_without_end()
    };
    let cut = {
        let mut tar = good().finish_without_end();
        tar.extend(&file(Meta::new(0o644))[..300]);
        tar
    };
    let size = |value: u64| {
        let mut block = file(Meta::new(0o644));
        block[124..136].fill(0);
        block[128..136].copy_from_slice(&value.to_be_bytes());
        block[124] = 0x80;
        seal(&mut block);
        with(block)
    };
    let owner = |uid| {
        good()
            .file("etc/f", Meta::new(0o644).owner(uid, 0), "")
            .finish()
    };
    let device = |major: u64| {
        let mut block = header(b'3', b"etc/dev", b"", &Meta::new(0o600), 0);
        block[329..337].copy_from_slice(&(major | 1 << 63).to_be_bytes());
        seal(&mut block);
        good().raw(block).finish()
    };
    vec![
        Input::layer("a bad checksum", 3, &[], unsealed),
        Input::layer("cut inside a header", 3, &[], cut),
        Input::layer("cut inside data", 3, &["etc/f"], large),
        Input::layer(
            "a size that is no number",
            3,
            &[],
            sealed(|block| {
                block[124..136].copy_from_slice(b"99999999999\0");
            }),
        ),
        Input::layer("a size that overflows", 3, &[], size(u64::MAX)),
        Input::layer("a size over what follows", 3, &[], size(1 << 40)),
        Input::layer(
            "a mode that is no number",
            3,
            &[],
            sealed(|block| {
                block[100..108].copy_from_slice(b"rwxr-xr-");
            }),
        ),
        Input::layer(
            "an entry of an unknown type",
            3,
            &[],
            sealed(|block| block[156] = b'@'),
        ),
        Input::layer("a user over 32 bits", 3, &["etc/f"], owner(1 << 32)),
        Input::layer(
            "the user that is none",
            3,
            &["etc/f"],
            owner(u64::from(u32::MAX)),
        ),
        Input::layer("a device over 12 bits", 3, &["etc/dev"], device(1 << 12)),
    ]
}

fn extensions() -> Vec<Input> {
    let before = |records: Vec<u8>| {
        let layer = LayerBuilder::new().raw(pax_header(&records));
        layer.file("etc/f", 0o644, "bytes").finish()
    };
    let record = |key: &str, value: &str| before(pax_record(key, value));
    let sparse = |map: &str| {
        let records = [
            pax_record("GNU.sparse.size", "9"),
            pax_record("GNU.sparse.map", map),
        ];
        before(records.concat())
    };
    let long_name = header(b'L', b"././@LongLink", b"", &Meta::new(0), 300);
    let long = LayerBuilder::new().raw(long_name).raw(padded(&[b'n'; 300]));
    vec![
        Input::layer(
            "a PAX length that is no number",
            3,
            &[],
            before(b"x uid=1\n".to_vec()),
        ),
        Input::layer(
            "a PAX length that is too long",
            3,
            &[],
            before(b"99 uid=1\n".to_vec()),
        ),
        Input::layer(
            "a PAX record without a line end",
            3,
            &[],
            before(b"8 uid=12".to_vec()),
        ),
        Input::layer("a PAX size that is no number", 3, &[], record("size", "x")),
        Input::layer(
            "a PAX user that is no number",
            3,
            &[],
            record("uid", "root"),
        ),
        Input::layer(
            "a PAX time that is no number",
            3,
            &[],
            record("mtime", "yesterday"),
        ),
        Input::layer("a PAX path with a NUL", 3, &[], record("path", "etc/a\0b")),
        Input::layer("a sparse map past its file", 3, &[], sparse("8,5")),
        Input::layer("a sparse map out of order", 3, &[], sparse("4,2,1,3")),
        Input::layer("a sparse map of odd length", 3, &[], sparse("4,2,7")),
        Input::layer("a long name for nothing", 3, &[], long.finish()),
    ]
}

fn limits() -> Vec<Input> {
    let files = (0..9).fold(LayerBuilder::new(), |layer, number| {
        layer.file(format!("etc/{number}"), 0o644, "")
    });
    let extension = {
        let block = header(b'x', b"PaxHeaders/0", b"", &Meta::new(0), 2 << 20);
        LayerBuilder::new().raw(block).raw(vec![b'x'; 2 << 20])
    };
    let xattr = Meta::new(0o644).xattr("user.a", vec![0; (1 << 16) + 1]);
    let deep = |count| vec!["d"; count].join("/");
    let bomb = LayerBuilder::new()
        .file("etc/f", 0o644, vec![0; 8 << 20])
        .finish();
    let bomb = (bomb.clone(), Compression::Gzip.compress(&bomb));
    let limit = |name, layer: LayerBuilder| Input::layer(name, 4, &[], layer.finish());
    let window = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3, 1, 0, 0];
    let mut bomb = Input::stream("too many bytes", &[], bomb.0, bomb.1).with(&["--max-bytes=1M"]);
    bomb.status = 4;
    let mut window = Input::stream("a window of 2 GiB", &[], Vec::new(), window);
    window.status = 4;
    vec![
        limit("too many entries", files).with(&["--max-entries=3"]),
        limit("a PAX header of 2 MiB", extension),
        limit(
            "an xattr over 64 KiB",
            LayerBuilder::new().file("etc/f", xattr, ""),
        ),
        limit(
            "a path over 4095 bytes",
            LayerBuilder::new().dir(vec!["d".repeat(100); 41].join("/"), 0o755),
        ),
        limit(
            "a path of 1001 components",
            LayerBuilder::new().dir(deep(1001), 0o755),
        ),
        limit(
            "a path over --max-depth",
            LayerBuilder::new().dir(deep(9), 0o755),
        )
        .with(&["--max-depth=8"]),
        bomb,
        window,
        Input::layer("too many parts of a file", 4, &[], many_parts()).with(&["--max-extents=3"]),
    ]
}

fn many_parts() -> Vec<u8> {
    let map: Vec<String> = (0..9)
        .flat_map(|number| [number * 2, 1])
        .map(|n: u32| n.to_string())
        .collect();
    let records = [
        pax_record("GNU.sparse.size", "20"),
        pax_record("GNU.sparse.map", map.join(",")),
    ];
    let layer = LayerBuilder::new().raw(pax_header(&records.concat()));
    layer.file("etc/f", 0o644, "123456789").finish()
}
