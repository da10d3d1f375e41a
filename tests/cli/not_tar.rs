//! T1: a layer that is no tar archive is refused by every verb, by its media type or by its content,
//! and nothing is left behind.

use serde_json::{Value, json};

use crate::bench::{Bench, Run};
use crate::layout::{CONFIG, Layout, MANIFEST};
use crate::oci::{self, Compression};
use crate::tarball::LayerBuilder;

/// Every verb that takes an image and reads or trusts its layers. IMAGE stands for its name.
const VERBS: &[&str] = &[
    "unpack IMAGE --userxattr --owners=caller --sync=none",
    "flatten IMAGE new --owners=caller",
    "flatten IMAGE -",
    "flatten IMAGE oci:new:tag",
    "ls IMAGE",
    "ls IMAGE --layer 2",
    "diff IMAGE IMAGE",
    "diff IMAGE --layer 2",
    "inspect IMAGE",
    "export IMAGE --format mtree",
    "export IMAGE --format composefs-dump",
    "export IMAGE new --format containers-storage --name x",
    "export IMAGE new --format containers-storage --name x --tar-split",
    "export IMAGE new.mstack --format mstack",
    "stack IMAGE",
    "mount IMAGE target",
    "mount IMAGE target --print=cmd",
    "bundle IMAGE new",
    "verify IMAGE",
    "verify --repair IMAGE",
];
/// Every verb that takes one layer. `-` is standard input.
const LAYER_VERBS: &[&str] = &[
    "unpack-layer BLOB new --base --userxattr --owners=caller",
    "unpack-layer BLOB new --userxattr --owners=caller",
    "unpack-layer - new --base --userxattr --owners=caller",
    "translate BLOB new",
    "translate --to oci BLOB new",
    "translate - -",
];

fn low() -> Vec<u8> {
    LayerBuilder::new().file("low", 0o644, "low").finish()
}

/// A layout whose second layer is this blob.
fn image(bench: &Bench, name: &str, media_type: Option<&str>, blob: &[u8], diff: &[u8]) {
    let layout = Layout::new(bench.path(name));
    let mut second = layout.blob("", blob);
    match media_type {
        Some(media_type) => second["mediaType"] = json!(media_type),
        None => drop(second.as_object_mut().unwrap().remove("mediaType")),
    }
    let first = layout.blob(crate::layout::LAYER, &low());
    let config = oci::config(&oci::diff_ids([&low(), &diff.to_vec()]));
    layout.image(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": layout.document(CONFIG, &config),
        "layers": [first, second],
    }));
}

/// Runs a verb, and checks that it left nothing but a store without layers.
fn refused(bench: &Bench, verb: &str, name: &str, input: &[u8]) -> Run {
    let before = bench.names(".".as_ref());
    let store = bench.store().to_str().unwrap();
    let words = verb.split(' ').map(|word| match word {
        "IMAGE" => format!("oci:{name}"),
        "BLOB" => name.to_string(),
        word => word.to_string(),
    });
    let words: Vec<String> = ["--store".into(), store.into()]
        .into_iter()
        .chain(words)
        .collect();
    let run = bench.run_with_input(&words, input);
    assert_eq!(run.status, 3, "{verb}: {run:?}");
    let is_new = |left: &String| !before.contains(left) && left != "store";
    let left: Vec<String> = bench.names(".".as_ref());
    assert_eq!(left.into_iter().find(is_new), None, "{verb}");
    run
}

fn erofs() -> Vec<u8> {
    [&[0; 1024][..], b"\xe2\xe1\xf5\xe0", &[0; 3068]].concat()
}

#[test]
fn t1_a_media_type_that_is_no_tar_archive_is_named_by_every_verb() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("target")).unwrap();
    let name = "application/vnd.erofs.layer.v1";
    image(&bench, "image", Some(name), &erofs(), &erofs());
    for verb in VERBS {
        let run = refused(&bench, verb, "image", b"");
        let words = format!("a layer of type {name}, which is not a tar archive");
        run.fails(3, &["layer 2 (sha256:", &words]);
    }
}

/// Also where a layer of these digests is in the store, under whatever name it got there.
#[test]
fn t1_a_stored_layer_is_not_trusted_against_its_media_type() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("target")).unwrap();
    let tar = LayerBuilder::new().file("f", 0o644, "").finish();
    image(&bench, "good", Some(crate::layout::LAYER), &tar, &tar);
    image(&bench, "bad", Some("application/vnd.x"), &tar, &tar);
    bench.unpack("oci:good").lines();
    for verb in VERBS {
        refused(&bench, verb, "bad", b"").fails(3, &["application/vnd.x"]);
    }
    assert_eq!(bench.layers_in_store(), 2);
    bench.on_store(&["verify", "oci:good"]).lines();
}

#[test]
fn t1_without_a_media_type_the_content_is_judged_by_every_verb() {
    let superblock = [&[0; 1080][..], b"\x53\xef", &[0; 7000]].concat();
    let iso = [&[0; 0x8000][..], b"\x01CD001\x01", &[0; 3000]].concat();
    let text = b"{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\"}]}".to_vec();
    let bench = Bench::new();
    std::fs::create_dir(bench.path("target")).unwrap();
    for (number, (content, words)) in [
        (erofs(), "it is an EROFS image"),
        (superblock, "it is an ext2, ext3 or ext4 image"),
        (iso, "it is an ISO 9660 image"),
        (text, "it is a JSON document"),
        ([&[0; 512][..], b"?"].concat(), "other bytes at 512"),
        (vec![b'9'; 4000], "or its first header is damaged"),
    ]
    .into_iter()
    .enumerate()
    {
        for compression in [Compression::Plain, Compression::Gzip, Compression::Zstd] {
            let blob = compression.compress(&content);
            let name = format!("{number}{compression:?}");
            let media_type = match number {
                0 => None,
                1 => Some("application/octet-stream"),
                _ => Some(compression.media_type()),
            };
            image(&bench, &name, media_type, &blob, &content);
            // Those that read, and not those that find nothing in the store.
            for verb in &VERBS[..11] {
                refused(&bench, verb, &name, b"").fails(3, &["layer 2 (sha256:", words]);
            }
            let file = format!("{name}.blob");
            bench.write(&file, &blob);
            for verb in LAYER_VERBS {
                refused(&bench, verb, &file, &blob).fails(3, &[words]);
            }
            if number > 1 {
                break;
            }
        }
    }
}

fn inspected(bench: &Bench, name: &str) -> Value {
    let image = format!("oci:{name}");
    let run = bench.run(&["inspect", &image, "--no-read", "--json"]);
    serde_json::from_str(run.lines()[0]).expect("an object")
}

#[test]
fn inspect_tells_what_the_documents_say_where_it_reads_nothing() {
    let bench = Bench::new();
    let name = "application/vnd.erofs.layer.v1";
    image(&bench, "image", Some(name), &erofs(), &erofs());
    let layer = &inspected(&bench, "image")["layers"][1];
    assert_eq!(layer["media_type"], name);
    assert_eq!(layer["size"], 4096);
}

#[test]
fn t1_media_types_of_tar_archives_are_read() {
    let tar = LayerBuilder::new().file("f", 0o644, "").finish();
    for (media_type, is_read) in [
        ("application/vnd.oci.image.layer.v1.tar", true),
        ("application/vnd.oci.image.layer.v1.tar+gzip", true),
        ("application/vnd.oci.image.layer.v1.tar+zstd", true),
        ("application/vnd.oci.image.layer.v1.tar.gzip", true),
        ("APPLICATION/vnd.OCI.image.layer.v1.tar+gzip; x=y", true),
        (
            "application/vnd.oci.image.layer.nondistributable.v1.tar",
            true,
        ),
        (
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            true,
        ),
        (
            "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
            true,
        ),
        ("application/vnd.docker.image.rootfs.diff.tar", true),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", true),
        ("application/vnd.docker.image.rootfs.diff.tar.zstd", true),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar", true),
        (
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            true,
        ),
        (
            "application/vnd.docker.container.image.rootfs.diff+x-gtar",
            true,
        ),
        (
            "application/vnd.oci.image.serialization.rootfs.tar.gzip",
            true,
        ),
        ("application/octet-stream", true),
        ("application/x-tar", true),
        ("application/gzip", true),
        ("", true),
        ("application/vnd.oci.image.layer.v1.erofs", false),
        ("application/vnd.erofs.layer.v1", false),
        (
            "application/vnd.stacker.image.layer.squashfs+zstd+verity",
            false,
        ),
        ("application/vnd.oci.image.layer.nydus.blob.v1", false),
        ("application/vnd.wasm.content.layer.v1+wasm", false),
        (
            "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
            false,
        ),
        ("application/vnd.oci.empty.v1+json", false),
        ("application/vnd.in-toto+json", false),
        ("application/vnd.cncf.helm.chart.content.v1.tar+gzip", false),
        ("application/json", false),
        ("text/html", false),
        ("tar", false),
        ("\u{1b}[31m", false),
    ] {
        let bench = Bench::new();
        image(&bench, "image", Some(media_type), &tar, &tar);
        let run = bench.unpack("oci:image");
        match is_read {
            true => assert_eq!(run.status, 0, "{media_type}: {run:?}"),
            false => run.fails(3, &["layer 2 ("]),
        }
        assert!(!run.stderr.contains('\u{1b}'), "{run:?}");
    }
}

#[test]
fn t1_an_encrypted_layer_is_called_one() {
    for media_type in [
        "application/vnd.oci.image.layer.v1.tar+encrypted",
        "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
        "application/vnd.docker.image.rootfs.diff.tar.gzip+enc",
    ] {
        let bench = Bench::new();
        image(&bench, "image", Some(media_type), &[7; 3000], &[7; 3000]);
        let run = bench.unpack("oci:image");
        run.fails(3, &["an encrypted layer", media_type]);
        assert!(run.hint().contains("skopeo copy --decryption-key"));
    }
}

/// Its type is what counts: whether the blob is there comes after.
#[test]
fn t1_a_layer_that_is_not_there_is_refused_by_its_type() {
    let bench = Bench::new();
    let name = "application/vnd.erofs.layer.v1";
    image(&bench, "image", Some(name), &erofs(), &erofs());
    std::fs::remove_file(bench.path("image/blobs/sha256").join(oci::sha256(erofs()))).unwrap();
    bench.unpack("oci:image").fails(3, &[name]);
}

#[test]
fn t1_zeros_alone_are_an_empty_layer() {
    for length in [0, 512, 1024, 10_240, 1 << 20] {
        let zeros = vec![0; length];
        for compression in [Compression::Plain, Compression::Gzip, Compression::Zstd] {
            let bench = Bench::new();
            let (blob, media_type) = (compression.compress(&zeros), compression.media_type());
            image(&bench, "image", Some(media_type), &blob, &zeros);
            let run = bench.unpack("oci:image");
            assert!(bench.names(run.lines()[0].as_ref()).is_empty());
            bench.run(&["ls", "oci:image"]).lines();
        }
    }
}

/// No bytes at all may be all that a download left that failed.
#[test]
fn t1_an_empty_input_is_a_layer_only_if_a_digest_says_so() {
    let bench = Bench::new();
    for (name, blob) in [
        ("nothing", vec![]),
        ("nothing.gz", Compression::Gzip.compress(b"")),
    ] {
        bench.write(name, &blob);
        for verb in LAYER_VERBS {
            refused(&bench, verb, name, &blob).fails(3, &["it is empty"]);
        }
        let digest = format!("--digest=sha256:{}", oci::sha256(&blob));
        let diff_id = format!("--diff-id=sha256:{}", oci::sha256(b""));
        for (number, promise) in [digest, diff_id].iter().enumerate() {
            let out = format!("{name}-{number}");
            let options = ["--base", "--userxattr", "--owners=caller", promise];
            let run = bench.run(&[&["unpack-layer", name, &out], &options[..]].concat());
            assert_eq!(run.status, 0, "{run:?}");
            assert!(bench.names(out.as_ref()).is_empty());
        }
    }
}

/// Docker reads whole archives that bzip2 compressed; here the hint has the command that does it.
#[test]
fn a_bzip2_archive_is_refused_with_the_command_to_type() {
    let bench = Bench::new();
    bench.write("image.tar.bz2", b"BZh91AY&SY\0\0\0\0");
    for verb in ["unpack", "ls", "inspect"] {
        let run = bench.run(&[verb, "image.tar.bz2"]);
        run.fails(3, &["image.tar.bz2", "bzip2"]);
        assert!(run.hint().contains("`bzip2 -dc FILE | lowerdir VERB -"));
    }
}

#[test]
fn an_image_archive_that_is_none_is_named() {
    let bench = Bench::new();
    for (name, content, words) in [
        ("image.zip", b"PK\x03\x04....".to_vec(), "a zip archive"),
        ("image.erofs", erofs(), "an EROFS image"),
        ("image.json", b"{\"a\":1}".to_vec(), "a JSON document"),
    ] {
        for compression in [Compression::Plain, Compression::Gzip] {
            let blob = compression.compress(&content);
            bench.write(name, &blob);
            bench.unpack(name).fails(3, &[name, words]);
            let run = bench.run_with_input(&["ls", "-"], &blob);
            run.fails(3, &[words]);
        }
    }
}
