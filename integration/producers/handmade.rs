//! The archives of producers that Debian does not have, written as they write them: Docker before
//! and since version 25, BuildKit, and kaniko with the rest of go-containerregistry.
//!
//! What an archive must mount as, the model says. One layer is in the image twice, as layers that
//! change nothing are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::{Value, json};

use crate::model::Model;
use crate::oci::{Compression, chain_ids, config, diff_ids, sha256};
use crate::tarball::{Entry, Kind, LayerBuilder, Meta};

use super::workshop::{Input, Workshop, lowerdir};

const NAME: &str = "example.com/it:v1";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

#[test]
fn archive_of_kaniko_mounts_as_the_model_says() {
    reads_as_the_model_says(kaniko, &["docker-archive"]);
}

#[test]
fn archive_of_docker_24_mounts_as_the_model_says() {
    reads_as_the_model_says(docker_24, &["docker-archive"]);
}

#[test]
fn archive_of_docker_25_mounts_as_the_model_says() {
    reads_as_the_model_says(docker_25, &["docker-archive", "oci-archive"]);
}

#[test]
fn docker_archive_of_buildkit_mounts_as_the_model_says() {
    reads_as_the_model_says(buildkit_docker, &["docker-archive", "oci-archive"]);
}

#[test]
fn oci_archive_of_buildkit_with_an_attestation_mounts_as_the_model_says() {
    reads_as_the_model_says(buildkit_oci, &["oci-archive"]);
}

#[test]
fn config_of_kaniko_that_is_not_what_its_name_says_is_a_mismatch() {
    let Some(shop) = Workshop::open(&[]) else {
        return;
    };
    let layers: Vec<Vec<u8>> = layers().iter().map(|layer| tar(layer)).collect();
    let name = format!("sha256:{}", sha256("another config"));
    let file = shop.path("archive.tar");
    fs::write(&file, go_containerregistry(&layers, Some(name))).expect("an archive");
    let store = shop.path("store").display().to_string();
    let file = file.display().to_string();
    let run = lowerdir(&["--store", &store, "unpack", &file], Input::None);
    assert_eq!(run.status, 3, "{}", run.complaint("its config is another"));
}

/// Reads one archive under all its names, from a file and from a pipe.
fn reads_as_the_model_says(write: fn(&[Vec<u8>]) -> Vec<u8>, transports: &[&str]) {
    let Some(shop) = Workshop::open(&[]) else {
        return;
    };
    let entries = layers();
    let (mut model, mut names) = (Model::new(), BTreeSet::new());
    for layer in &entries {
        model.apply(layer).expect("the model takes it");
        let components = layer
            .iter()
            .flat_map(|entry| entry.name.split(|&b| b == b'/'));
        names.extend(components.map(<[u8]>::to_vec));
    }
    let tree = model.listing();
    let layers: Vec<Vec<u8>> = entries.iter().map(|layer| tar(layer)).collect();
    let file = shop.path("archive.tar");
    fs::write(&file, write(&layers)).expect("an archive");
    let path = file.display();
    let mut references = vec![format!("{path}")];
    for transport in transports {
        references.push(format!("{transport}:{path}"));
        references.push(format!("{transport}:{path}:{NAME}"));
    }
    for reference in references {
        let found = shop.mounts_as(&reference, Input::None, &tree, &names);
        assert_eq!(found.len(), layers.len(), "{reference}");
    }
    shop.mounts_as("-", Input::Pipe(&file), &tree, &names);
}

/// The layers of the image: the third is a copy of the second.
fn layers() -> Vec<Vec<Entry>> {
    let owned = Meta::new(0o2770).owner(1000, 1001).time(5000, 0);
    let bottom = vec![
        entry("etc", Kind::Dir, 0o755),
        entry("etc/passwd", file("root"), 0o644),
        entry("etc/shadow", file("secret"), 0o600),
        entry("opt", Kind::Dir, 0o755),
        entry("opt/again", Kind::Dir, 0o755),
        entry("opt/again/one", file("one"), 0o644),
        entry("usr", Kind::Dir, 0o755),
        entry("usr/bin", Kind::Dir, 0o755),
        entry("usr/bin/su", file("su"), 0o4755),
        entry(
            "usr/bin/sudo",
            Kind::Hardlink(b"usr/bin/su".to_vec()),
            0o4755,
        ),
        entry("usr/link", Kind::Symlink(b"../etc".to_vec()), 0o777),
        entry("srv", Kind::Dir, owned),
        entry("srv/big", file(&"many bytes ".repeat(20_000)), 0o644),
    ];
    let repeated = vec![
        entry("etc", Kind::Dir, 0o755),
        entry("etc/.wh.shadow", file(""), 0o644),
        entry("etc/added", file("added"), 0o644),
    ];
    let top = vec![
        entry("opt/again", Kind::Dir, 0o700),
        entry("opt/again/.wh..wh..opq", file(""), 0o644),
        entry("opt/again/two", file("two"), 0o644),
        entry("srv/new", file("new"), 0o644),
        entry("usr/.wh.link", file(""), 0o644),
    ];
    vec![bottom, repeated.clone(), repeated, top]
}

fn entry(name: &str, kind: Kind, meta: impl Into<Meta>) -> Entry {
    let (name, meta) = (name.as_bytes().to_vec(), meta.into());
    Entry { name, kind, meta }
}

fn file(content: &str) -> Kind {
    Kind::File(content.as_bytes().to_vec())
}

fn tar(layer: &[Entry]) -> Vec<u8> {
    let builder = layer.iter().fold(LayerBuilder::new(), LayerBuilder::entry);
    builder.finish()
}

/// `crane pull` and `kaniko --tar-path`: the config is named by its digest, layers are compressed
/// and named by the digest of that, each written once; `manifest.json` comes last.
fn kaniko(layers: &[Vec<u8>]) -> Vec<u8> {
    go_containerregistry(layers, None)
}

fn go_containerregistry(layers: &[Vec<u8>], config_name: Option<String>) -> Vec<u8> {
    let config = bytes(&config(&diff_ids(layers)));
    let config_name = config_name.unwrap_or_else(|| format!("sha256:{}", sha256(&config)));
    let mut archive = LayerBuilder::new().file(&config_name, 0o644, config);
    let mut names: Vec<String> = Vec::new();
    for layer in layers {
        let blob = Compression::Gzip.compress(layer);
        let name = format!("{}.tar.gz", sha256(&blob));
        if !names.contains(&name) {
            archive = archive.file(&name, 0o644, blob);
        }
        names.push(name);
    }
    let manifest = json!([{ "Config": config_name, "RepoTags": [NAME], "Layers": names }]);
    archive
        .file("manifest.json", 0o644, bytes(&manifest))
        .finish()
}

/// `docker save` before version 25: a directory for each layer, in the order of their names; a
/// layer whose tar is there already is a symbolic link to it.
fn docker_24(layers: &[Vec<u8>]) -> Vec<u8> {
    let diff_ids = diff_ids(layers);
    let ids = chain_ids(&diff_ids);
    let ids: Vec<String> = ids
        .iter()
        .map(|chain| chain.replace("sha256:", ""))
        .collect();
    let mut directories = BTreeMap::new();
    for (number, id) in ids.iter().enumerate() {
        let parent = number.checked_sub(1).map(|below| &ids[below]);
        let first = diff_ids.iter().position(|other| *other == diff_ids[number]);
        let first = first
            .filter(|&first| first != number)
            .map(|first| &ids[first]);
        directories.insert(id, (parent, first, &layers[number]));
    }
    let mut archive = LayerBuilder::new();
    for (id, (parent, first, layer)) in directories {
        let mut about = json!({ "id": id, "created": "1970-01-01T00:00:00Z" });
        if let Some(parent) = parent {
            about["parent"] = json!(parent);
        }
        archive = archive
            .dir(format!("{id}/"), 0o755)
            .file(format!("{id}/VERSION"), 0o644, "1.0")
            .file(format!("{id}/json"), 0o644, bytes(&about));
        let name = format!("{id}/layer.tar");
        archive = match first {
            Some(first) => archive.symlink(name, format!("../{first}/layer.tar")),
            None => archive.file(name, 0o644, layer),
        };
    }
    let config = bytes(&config(&diff_ids));
    let config_name = format!("{}.json", sha256(&config));
    let names: Vec<String> = ids.iter().map(|id| format!("{id}/layer.tar")).collect();
    let manifest = json!([{ "Config": config_name, "RepoTags": [NAME], "Layers": names }]);
    archive
        .file(config_name, 0o644, config)
        .file("manifest.json", 0o644, bytes(&manifest))
        .file(
            "repositories",
            0o644,
            bytes(&json!({ "example.com/it": { "v1": ids.last() } })),
        )
        .finish()
}

/// `docker save` since version 25: one file that is an OCI layout and a Docker archive.
fn docker_25(layers: &[Vec<u8>]) -> Vec<u8> {
    let mut blobs = Blobs::default();
    let (descriptor, mut manifest) = blobs.image(layers, Compression::Plain);
    manifest[0]["LayerSources"] = json!({});
    let top = manifest[0]["Layers"]
        .as_array()
        .and_then(|layers| layers.last());
    let repositories = json!({ "example.com/it": { "v1": top } });
    let index = index(&[named(descriptor)]);
    blobs.archive(&[
        ("index.json", bytes(&index)),
        ("manifest.json", bytes(&manifest)),
        ("oci-layout", layout()),
        ("repositories", bytes(&repositories)),
    ])
}

/// `buildctl build --output type=docker`: the same two in one, with compressed layers.
fn buildkit_docker(layers: &[Vec<u8>]) -> Vec<u8> {
    let mut blobs = Blobs::default();
    let (descriptor, manifest) = blobs.image(layers, Compression::Gzip);
    let index = index(&[named(descriptor)]);
    blobs.archive(&[
        ("index.json", bytes(&index)),
        ("manifest.json", bytes(&manifest)),
        ("oci-layout", layout()),
    ])
}

/// `buildctl build --output type=oci`: the image and its provenance in an index of their own.
fn buildkit_oci(layers: &[Vec<u8>]) -> Vec<u8> {
    let mut blobs = Blobs::default();
    let (mut image, _) = blobs.image(layers, Compression::Zstd);
    let architecture = &config(&[])["architecture"];
    image["platform"] = json!({ "architecture": architecture, "os": "linux" });
    let statement = bytes(&json!({ "_type": "https://in-toto.io/Statement/v0.1" }));
    let about = json!({
        "architecture": "unknown",
        "os": "unknown",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids([&statement]) },
    });
    let mut layer = blobs.add("application/vnd.in-toto+json", statement);
    layer["annotations"] =
        json!({ "in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2" });
    let about = blobs.add(CONFIG, bytes(&about));
    let mut attestation = blobs.add(MANIFEST, bytes(&manifest(about, &[layer])));
    attestation["annotations"] = json!({
        "vnd.docker.reference.digest": image["digest"],
        "vnd.docker.reference.type": "attestation-manifest",
    });
    attestation["platform"] = json!({ "architecture": "unknown", "os": "unknown" });
    let nested = blobs.add(INDEX, bytes(&index(&[image, attestation])));
    let index = index(&[named(nested)]);
    blobs.archive(&[("index.json", bytes(&index)), ("oci-layout", layout())])
}

/// What lies in `blobs/sha256`, by its name there.
#[derive(Default)]
struct Blobs(BTreeMap<String, Vec<u8>>);

impl Blobs {
    fn add(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let (hex, size) = (sha256(&bytes), bytes.len());
        self.0.insert(hex.clone(), bytes);
        json!({ "mediaType": media_type, "digest": format!("sha256:{hex}"), "size": size })
    }

    /// The descriptor of an image, and what `manifest.json` says of it.
    fn image(&mut self, layers: &[Vec<u8>], compression: Compression) -> (Value, Value) {
        let about = self.add(CONFIG, bytes(&config(&diff_ids(layers))));
        let layers: Vec<Value> = layers
            .iter()
            .map(|layer| self.add(compression.media_type(), compression.compress(layer)))
            .collect();
        let path = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().expect("a digest");
            format!("blobs/{}", digest.replace(':', "/"))
        };
        let paths: Vec<String> = layers.iter().map(path).collect();
        let saved = json!([{ "Config": path(&about), "RepoTags": [NAME], "Layers": paths }]);
        (self.add(MANIFEST, bytes(&manifest(about, &layers))), saved)
    }

    /// The blobs, then the documents beside them.
    fn archive(self, documents: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut archive = LayerBuilder::new()
            .dir("blobs/", 0o755)
            .dir("blobs/sha256/", 0o755);
        for (hex, blob) in self.0 {
            archive = archive.file(format!("blobs/sha256/{hex}"), 0o444, blob);
        }
        for (name, document) in documents {
            archive = archive.file(name, 0o444, document);
        }
        archive.finish()
    }
}

fn manifest(config: Value, layers: &[Value]) -> Value {
    json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers })
}

fn index(manifests: &[Value]) -> Value {
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests })
}

fn layout() -> Vec<u8> {
    bytes(&json!({ "imageLayoutVersion": "1.0.0" }))
}

/// As containerd names images: the tag for others, the whole name for itself.
fn named(mut descriptor: Value) -> Value {
    descriptor["annotations"] = json!({
        "io.containerd.image.name": NAME,
        "org.opencontainers.image.ref.name": "v1",
    });
    descriptor
}

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("JSON of strings and numbers")
}
