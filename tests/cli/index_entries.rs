//! Which entry of an index is the image (rule T2): what tools put beside images, one name on
//! several digests, images that are listed and not there.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::bench::{Bench, Run};
use crate::layout::{CONFIG, INDEX, LAYER, Layout, MANIFEST, named, on};
use crate::oci;
use crate::tarball::LayerBuilder;

const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
const SOCI: &str = "application/vnd.amazon.soci.index.v2+json";

fn layer(name: &str) -> Vec<u8> {
    LayerBuilder::new().file(name, 0o644, name).finish()
}

/// The descriptor of an image with one layer, which holds a file of this name.
fn image(layout: &Layout, name: &str) -> Value {
    layout.document(MANIFEST, &layout.manifest(&[layer(name)]))
}

/// The same for another machine, which only the config says.
fn image_for(layout: &Layout, name: &str, architecture: &str) -> Value {
    let layers = [layer(name)];
    let mut config = oci::config(&oci::diff_ids(&layers));
    config["architecture"] = architecture.into();
    layout.document(MANIFEST, &layout.manifest_with_config(&layers, &config))
}

fn here(descriptor: Value) -> Value {
    let config = oci::config(&[]);
    let architecture = config["architecture"].as_str().unwrap().to_string();
    on(descriptor, "linux", &architecture, None)
}

fn annotated(mut descriptor: Value, key: &str, value: &str) -> Value {
    descriptor["annotations"][key] = value.into();
    descriptor
}

/// A manifest of something else than an image.
fn artifact(layout: &Layout, config_type: &str, artifact_type: Option<&str>) -> Value {
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": layout.blob(config_type, b"{}"),
        "layers": [layout.blob("application/octet-stream", b"data")],
    });
    if let Some(artifact_type) = artifact_type {
        manifest["artifactType"] = artifact_type.into();
    }
    layout.document(MANIFEST, &manifest)
}

fn digest(descriptor: &Value) -> &str {
    descriptor["digest"].as_str().unwrap()
}

fn short(descriptor: &Value) -> &str {
    &digest(descriptor)[..19]
}

/// The names in the root of the image's topmost layer.
fn top(bench: &Bench, run: &Run) -> Vec<String> {
    bench.names(Path::new(run.lines()[0]))
}

fn bench() -> (Bench, Layout) {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    (bench, layout)
}

/// What the descriptor alone tells: `soci convert`, `cosign save`, BuildKit.
#[test]
fn t2_what_stands_beside_an_image_is_no_image() {
    let (bench, layout) = bench();
    let mut soci = here(artifact(&layout, SOCI, Some(SOCI)));
    soci["artifactType"] = SOCI.into();
    let signature = artifact(&layout, CONFIG, None);
    let kind = "dev.cosignproject.cosign/sigs";
    let tag = format!("sha256-{}.sig", "0".repeat(64));
    let attestation = artifact(&layout, CONFIG, None);
    let others = [
        soci,
        annotated(signature.clone(), "kind", kind),
        named(signature.clone(), &tag),
        named(signature, &format!("example.com/app:{tag}")),
        annotated(
            attestation,
            "vnd.docker.reference.type",
            "attestation-manifest",
        ),
        layout.blob("application/vnd.buildkit.cacheconfig.v0", b"cache"),
        layout.blob(LAYER, &layer("of the cache")),
    ];
    let plain = annotated(
        image(&layout, "f"),
        "kind",
        "dev.cosignproject.cosign/image",
    );
    for beside in others {
        // In whatever order.
        for both in [[&plain, &beside], [&beside, &plain]] {
            layout.index(&both.map(Value::clone));
            assert_eq!(top(&bench, &bench.unpack("oci:image")), ["f"], "{beside}");
        }
        let index = json!({ "schemaVersion": 2, "manifests": [here(plain.clone()), beside] });
        layout.index(&[named(layout.document(INDEX, &index), "v1")]);
        assert_eq!(
            top(&bench, &bench.unpack("oci:image:v1")),
            ["f"],
            "{beside}"
        );
    }
}

/// Only their manifests tell: their descriptors are those of images.
#[test]
fn t2_an_artifact_that_looks_like_an_image_is_found_out_by_its_manifest() {
    let (bench, layout) = bench();
    let cache = artifact(&layout, "application/vnd.buildkit.cacheconfig.v0", None);
    let chart = artifact(&layout, CONFIG, Some("application/vnd.example.chart"));
    for other in [cache, chart] {
        layout.index(&[other.clone(), image(&layout, "f")]);
        assert_eq!(top(&bench, &bench.unpack("oci:image")), ["f"]);
        // On the same platform as well.
        layout.index(&[here(other), here(image(&layout, "f"))]);
        assert_eq!(top(&bench, &bench.unpack("oci:image")), ["f"]);
    }
}

#[test]
fn t2_an_index_without_an_image_is_refused_with_what_it_has() {
    let (bench, layout) = bench();
    let mut soci = artifact(&layout, SOCI, Some(SOCI));
    soci["artifactType"] = SOCI.into();
    let blob = layout.blob(LAYER, &layer("f"));
    layout.index(&[soci.clone(), blob.clone()]);
    let run = bench.unpack("oci:image");
    run.fails(
        3,
        &["no image in it", SOCI, short(&soci), LAYER, short(&blob)],
    );

    let chart = artifact(&layout, "application/vnd.cncf.helm.config.v1+json", None);
    for descriptor in [chart.clone(), named(chart.clone(), "v1")] {
        layout.index(&[descriptor]);
        bench
            .unpack("oci:image")
            .fails(3, &["helm.config.v1+json", "not an image"]);
    }
    bench
        .unpack(&format!("oci:image@{}", digest(&chart)))
        .fails(3, &["helm.config.v1+json", "not an image"]);
    layout.index(&[]);
    bench.unpack("oci:image").fails(1, &["no image in it"]);
    // Many of them do not make a long error.
    let blobs = (0..50).map(|number| layout.blob(LAYER, &[number]));
    layout.index(&blobs.collect::<Vec<_>>());
    let run = bench.unpack("oci:image");
    run.fails(3, &["and 45 more"]);
}

/// Docker 1.10 called its configs so; in an OCI manifest it is the type of anything.
#[test]
fn an_octet_stream_is_a_config_in_a_manifest_of_schema_2() {
    let (bench, layout) = bench();
    let mut manifest = layout.manifest(&[layer("f")]);
    manifest["config"]["mediaType"] = "application/octet-stream".into();
    layout.image(&manifest);
    let run = bench.unpack("oci:image");
    run.fails(3, &["config of type application/octet-stream"]);
    manifest["mediaType"] = DOCKER.into();
    layout.index(&[layout.document(DOCKER, &manifest)]);
    assert_eq!(top(&bench, &bench.unpack("oci:image")), ["f"]);
    let by_digest = format!("oci:image@{}", digest(&layout.document(DOCKER, &manifest)));
    assert_eq!(top(&bench, &bench.unpack(&by_digest)), ["f"]);
}

#[test]
fn t2_features_of_the_system_that_we_lack_make_another_platform() {
    let (bench, layout) = bench();
    let with = |descriptor: Value, features: Value| {
        let mut descriptor = here(descriptor);
        descriptor["platform"]["os.features"] = features;
        descriptor
    };
    let (plain, erofs) = (image(&layout, "plain"), image(&layout, "erofs"));
    let erofs = with(erofs, json!(["erofs"]));
    for both in [[&plain, &erofs], [&erofs, &plain]] {
        layout.index(&both.map(|descriptor| match descriptor == &plain {
            true => here(plain.clone()),
            false => erofs.clone(),
        }));
        assert_eq!(top(&bench, &bench.unpack("oci:image")), ["plain"]);
    }
    let own = oci::config(&[])["architecture"]
        .as_str()
        .unwrap()
        .to_string();
    let asked = format!("linux(+erofs)/{own}");
    let run = bench.unpack_with("oci:image", &["--platform", &asked]);
    assert_eq!(top(&bench, &run), ["erofs"]);
    // Alone, it is not taken for what it is not.
    layout.index(&[erofs]);
    let run = bench.unpack("oci:image");
    run.fails(1, &[&format!("no image for linux/{own}")]);
    assert!(run.hint().contains(&asked), "{run:?}");
    // An empty list asks for nothing.
    layout.index(&[with(plain, json!([]))]);
    assert_eq!(top(&bench, &bench.unpack("oci:image")), ["plain"]);
}

#[test]
fn versions_of_windows_are_told_apart() {
    let (bench, layout) = bench();
    let windows = |name: &str, version: &str| {
        let mut descriptor = on(image(&layout, name), "windows", "amd64", None);
        descriptor["platform"]["os.version"] = version.into();
        descriptor["platform"]["os.features"] = json!(["win32k"]);
        descriptor
    };
    let (old, new) = (
        windows("old", "10.0.17763.1"),
        windows("new", "10.0.20348.2"),
    );
    layout.index(&[old.clone(), new.clone()]);
    let run = bench.unpack_with("oci:image", &["--platform=windows/amd64"]);
    run.fails(1, &["several images"]);
    for descriptor in [&old, &new] {
        assert!(run.hint().contains(digest(descriptor)), "{run:?}");
    }
    let option = "--platform=windows(10.0.17763)/amd64";
    assert_eq!(
        top(&bench, &bench.unpack_with("oci:image", &[option])),
        ["old"]
    );
}

#[test]
fn t2_an_exact_platform_comes_before_an_entry_that_does_not_say() {
    let (bench, layout) = bench();
    let silent = image_for(&layout, "silent", "s390x");
    for both in [
        [here(image(&layout, "here")), silent.clone()],
        [silent, here(image(&layout, "here"))],
    ] {
        layout.index(&both);
        assert_eq!(top(&bench, &bench.unpack("oci:image")), ["here"]);
        let run = bench.unpack_with("oci:image", &["--platform=s390x"]);
        assert_eq!(top(&bench, &run), ["silent"]);
    }
}

#[test]
fn where_no_entry_says_its_platform_the_configs_do() {
    let (bench, layout) = bench();
    let own = oci::config(&[])["architecture"]
        .as_str()
        .unwrap()
        .to_string();
    let (foreign, host) = (
        image_for(&layout, "s390x", "s390x"),
        image_for(&layout, "host", &own),
    );
    for name in [None, Some("v1")] {
        let both = [foreign.clone(), host.clone()];
        layout.index(&both.map(|entry| match name {
            Some(name) => named(entry, name),
            None => entry,
        }));
        let reference = name.map_or("oci:image".into(), |name| format!("oci:image:{name}"));
        assert_eq!(top(&bench, &bench.unpack(&reference)), ["host"]);
        let run = bench.unpack_with(&reference, &["--platform=s390x"]);
        assert_eq!(top(&bench, &run), ["s390x"]);
        let run = bench.unpack_with(&reference, &["--platform=riscv64"]);
        run.fails(1, &["no image for linux/riscv64"]);
        assert!(run.hint().contains("linux/s390x (sha256:"), "{run:?}");
    }
}

#[test]
fn one_name_on_two_digests_is_answered_with_references_that_work() {
    let (bench, layout) = bench();
    let (one, two) = (image(&layout, "one"), image(&layout, "two"));
    layout.index(&[named(one.clone(), "v1"), named(two.clone(), "v1")]);
    for reference in ["oci:image", "oci:image:v1"] {
        let run = bench.unpack(reference);
        run.fails(1, &["2 different images", "v1"]);
        for (descriptor, name) in [(&one, "one"), (&two, "two")] {
            let at = format!("@{}", digest(descriptor));
            assert!(run.hint().contains(&at), "{run:?}");
            let run = bench.unpack(&format!("{reference}{at}"));
            assert_eq!(top(&bench, &run), [name]);
        }
    }
}

/// As a registry that converts gives it: the same config under two forms of manifest.
#[test]
fn one_image_under_two_manifests_is_one_image() {
    let (bench, layout) = bench();
    let mut manifest = layout.manifest(&[layer("f")]);
    let one = layout.document(MANIFEST, &manifest);
    manifest["mediaType"] = DOCKER.into();
    let two = layout.document(DOCKER, &manifest);
    layout.index(&[named(one, "v1"), named(two, "v1")]);
    assert_eq!(top(&bench, &bench.unpack("oci:image:v1")), ["f"]);
}

#[test]
fn the_same_entry_apart_in_a_list_is_one_entry() {
    let (bench, layout) = bench();
    let (one, two) = (image(&layout, "one"), image(&layout, "two"));
    let windows = on(two, "windows", "amd64", None);
    layout.index(&[here(one.clone()), windows, here(one)]);
    assert_eq!(top(&bench, &bench.unpack("oci:image")), ["one"]);
}

#[test]
fn a_name_and_a_digest_are_both_checked() {
    let (bench, layout) = bench();
    let (one, two) = (image(&layout, "one"), image(&layout, "two"));
    let index = json!({ "schemaVersion": 2, "manifests": [here(two.clone())] });
    let index = layout.document(INDEX, &index);
    layout.index(&[named(one.clone(), "a"), named(index.clone(), "b")]);
    for (name, descriptor, file) in [("a", &one, "one"), ("b", &index, "two"), ("b", &two, "two")] {
        let reference = format!("oci:image:{name}@{}", digest(descriptor));
        assert_eq!(
            top(&bench, &bench.unpack(&reference)),
            [file],
            "{reference}"
        );
    }
    let wrong = format!("oci:image:a@{}", digest(&two));
    let run = bench.unpack(&wrong);
    run.fails(1, &["a is ", digest(&one), digest(&two)]);
    let run = bench.unpack(&format!("oci:image:c@{}", digest(&one)));
    run.fails(1, &["no image is named c"]);
    let run = bench.unpack("oci:image:a@sha256:12");
    run.fails(2, &["sha256:12"]);
}

#[test]
fn a_number_chooses_as_skopeo_has_it() {
    let (bench, layout) = bench();
    let blob = layout.blob(LAYER, &layer("f"));
    layout.index(&[image(&layout, "one"), image(&layout, "two"), blob]);
    for (reference, name) in [
        ("oci:image:@0", "one"),
        ("image:@1", "two"),
        ("image@1", "two"),
    ] {
        assert_eq!(top(&bench, &bench.unpack(reference)), [name], "{reference}");
    }
    bench
        .unpack("oci:image:@2")
        .fails(3, &["not an image", LAYER]);
    let run = bench.unpack("oci:image:@3");
    run.fails(1, &["no image @3"]);
    assert!(run.hint().contains("@0 to @2"), "{run:?}");
    let too_large = format!("oci:image:@{}", "9".repeat(40));
    bench
        .unpack(&too_large)
        .fails(2, &["neither a digest nor a number"]);
}

/// As `docker save` and `ctr image export` write an image of which one platform was pulled.
#[test]
fn an_image_that_is_listed_and_not_there_is_told_with_those_that_are() {
    let (bench, layout) = bench();
    let (own, other) = (image(&layout, "own"), image_for(&layout, "other", "s390x"));
    let other = on(other, "linux", "s390x", None);
    let index = json!({ "schemaVersion": 2, "manifests": [here(own.clone()), other] });
    let index = named(layout.document(INDEX, &index), "v1");
    let manifest: Value = serde_json::from_slice(&fs::read(layout.file(&own)).unwrap()).unwrap();
    for (gone, part) in [(&own, "manifest"), (&manifest["config"], "config")] {
        layout.index(std::slice::from_ref(&index));
        let kept = fs::read(layout.file(gone)).unwrap();
        fs::remove_file(layout.file(gone)).unwrap();
        let run = bench.unpack("oci:image:v1");
        run.fails(1, &[short(&own), &format!("its {part} is not there")]);
        assert!(run.hint().contains("--platform"), "{run:?}");
        assert!(run.hint().contains("linux/s390x"), "{run:?}");
        assert!(!run.hint().contains(short(&own)), "{run:?}");
        let run = bench.unpack_with("oci:image:v1", &["--platform=linux/s390x"]);
        assert_eq!(top(&bench, &run), ["other"]);
        fs::write(layout.file(gone), kept).unwrap();
    }
    fs::remove_file(layout.file(&own)).unwrap();
    layout.index(&[named(own, "v1")]);
    let run = bench.unpack("oci:image:v1");
    run.fails(1, &["its manifest is not there"]);
    assert!(run.hint().contains("fetch it again"), "{run:?}");
}

/// Whoever is asked to choose by such an error must find an image behind it.
#[test]
fn layers_are_never_offered_as_images() {
    let (bench, layout) = bench();
    let blob = layout.blob(LAYER, &layer("f"));
    let (one, two) = (image(&layout, "one"), image(&layout, "two"));
    layout.index(&[one, blob.clone(), two]);
    let run = bench.unpack("oci:image");
    run.fails(1, &["several images"]);
    assert!(!run.hint().contains(digest(&blob)), "{run:?}");
    let run = bench.unpack("oci:image:v1");
    run.fails(1, &["no image is named v1"]);
}

#[test]
fn an_error_lists_no_more_than_a_person_reads() {
    let (bench, layout) = bench();
    let config = layout.manifest(&[layer("f")]);
    let entries = (0..1000).map(|number| {
        let mut manifest = config.clone();
        manifest["annotations"] = json!({ "number": number.to_string() });
        manifest["config"]["digest"] = format!("sha256:{number:064x}").into();
        layout.document(MANIFEST, &manifest)
    });
    layout.index(&entries.collect::<Vec<_>>());
    let run = bench.unpack("oci:image");
    run.fails(1, &["several images"]);
    assert!(run.hint().ends_with(" and 970 more"), "{run:?}");
}

/// A large index costs no more than the manifests that it leads to.
#[test]
fn an_index_of_many_equal_entries_is_read_once() {
    let (bench, layout) = bench();
    let entries: Vec<Value> = vec![image(&layout, "f"); 10_000];
    layout.index(&entries);
    assert_eq!(top(&bench, &bench.unpack("oci:image")), ["f"]);
}
