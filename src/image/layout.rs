//! OCI image layouts: from `index.json` through nested indexes to one manifest and its layers.

use std::fmt;
use std::str::FromStr;

use crate::codec::Expected;
use crate::digest::Digest;
use crate::error::{Error, Result};

use super::blob::Source;
use super::json::{self, Config, Descriptor, Document, PlatformFields};
use super::{Image, Layer};

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// BuildKit marks the manifests that only describe another manifest.
const ATTESTATION: &str = "vnd.docker.reference.type";
/// Indexes in indexes are rare; one that contains itself has no digest.
const MAX_NESTING: usize = 4;

/// `OS/ARCHITECTURE[/VARIANT]`, as image-spec spells them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Platform {
    /// Of the machine that this runs on.
    pub fn host() -> Platform {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "x86" => "386",
            "aarch64" => "arm64",
            "powerpc64" => "ppc64le",
            "loongarch64" => "loong64",
            same => same,
        };
        Platform {
            os: "linux".into(),
            architecture: architecture.into(),
            variant: None,
        }
    }

    fn accepts(&self, fields: &PlatformFields) -> bool {
        let variant_fits = match &self.variant {
            Some(variant) => *variant == fields.variant,
            None => true,
        };
        self.os == fields.os && self.architecture == fields.architecture && variant_fits
    }
}

impl FromStr for Platform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Platform> {
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            [os, architecture] | [os, architecture, _] if !os.is_empty() => Ok(Platform {
                os: os.into(),
                architecture: architecture.into(),
                variant: parts.get(2).map(|variant| (*variant).into()),
            }),
            _ => Err(Error::not_found(format!("{text:?} is no platform"))
                .hint("a platform looks like linux/amd64 or linux/arm/v7")),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

/// Opens the image that a layout holds under a tag, or its only one.
pub fn open(source: &Source, tag: Option<&str>, platform: &Platform) -> Result<Image> {
    if !source.has("index.json") {
        return Err(Error::refused(
            "neither an OCI layout (no index.json) nor a Docker archive (no manifest.json)",
        )
        .hint("a single layer is unpacked by `lowerdir unpack-layer`"));
    }
    let bytes = source.get("index.json")?.document("index.json")?;
    let index: Document = json::parse(&bytes, "index.json")?;
    let named = with_tag(index.manifests, tag)?;
    let descriptor = choose(named, platform)?;
    let name = name_of(&descriptor);
    let (digest, manifest) = descend(source, descriptor, platform)?;
    let layers = layers(source, &manifest)?;
    Ok(Image {
        digest,
        name,
        layers,
    })
}

fn name_of(descriptor: &Descriptor) -> Option<String> {
    let annotations = &descriptor.annotations;
    let name = annotations.get(CONTAINERD_NAME);
    name.or_else(|| annotations.get(REF_NAME)).cloned()
}

fn with_tag(manifests: Vec<Descriptor>, tag: Option<&str>) -> Result<Vec<Descriptor>> {
    let Some(tag) = tag else {
        return Ok(manifests);
    };
    let names = list(manifests.iter().filter_map(name_of));
    let is_it = |descriptor: &Descriptor| {
        let has = |key| {
            descriptor
                .annotations
                .get(key)
                .is_some_and(|name| name == tag)
        };
        has(REF_NAME) || has(CONTAINERD_NAME)
    };
    let named: Vec<Descriptor> = manifests.into_iter().filter(is_it).collect();
    match named.is_empty() {
        true => Err(Error::not_found(format!("no image is tagged {tag}"))
            .hint(format!("there are: {names}"))),
        false => Ok(named),
    }
}

/// The one image that is meant: the only one there is, else the only one for the platform.
fn choose(mut manifests: Vec<Descriptor>, platform: &Platform) -> Result<Descriptor> {
    manifests.retain(|descriptor| !descriptor.annotations.contains_key(ATTESTATION));
    let names = list(manifests.iter().filter_map(name_of));
    let platforms = list(manifests.iter().filter_map(|descriptor| {
        let fields = descriptor.platform.as_ref()?;
        Some(
            format!("{}/{} {}", fields.os, fields.architecture, fields.variant)
                .trim()
                .into(),
        )
    }));
    if manifests.len() > 1 {
        manifests.retain(|descriptor| match &descriptor.platform {
            Some(fields) => platform.accepts(fields),
            None => true,
        });
    }
    match manifests.len() {
        1 => Ok(manifests.remove(0)),
        0 if platforms.is_empty() => Err(Error::not_found("there is no image in it")),
        0 => Err(
            Error::not_found(format!("there is no image for {platform}"))
                .hint(format!("--platform chooses one of: {platforms}")),
        ),
        _ => Err(
            Error::not_found("there are several images, and no tag says which")
                .hint(format!("add a tag to the reference; there are: {names}")),
        ),
    }
}

fn list(names: impl Iterator<Item = String>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// Goes through nested indexes to a manifest.
fn descend(
    source: &Source,
    mut descriptor: Descriptor,
    platform: &Platform,
) -> Result<(Digest, Document)> {
    for _ in 0..MAX_NESTING {
        let (digest, bytes) = descriptor.fetch(source, "the manifest")?;
        let document: Document = json::parse(&bytes, "the manifest")?;
        match (&document.config, document.manifests.is_empty()) {
            (Some(_), true) => return Ok((digest, document)),
            (None, false) if document.layers.is_empty() => {
                descriptor = choose(document.manifests, platform)?;
            }
            (None, true) => return Err(Error::refused("a manifest without a config")),
            _ => {
                return Err(Error::refused(
                    "a manifest that has both manifests and a config or layers",
                ));
            }
        }
    }
    Err(Error::refused("indexes nested too deeply"))
}

fn layers(source: &Source, manifest: &Document) -> Result<Vec<Layer>> {
    let config = manifest
        .config
        .as_ref()
        .expect("descend returns only those");
    let (_, bytes) = config.fetch(source, "the config")?;
    let config: Config = json::parse(&bytes, "the config")?;
    let diff_ids = config.rootfs.diff_ids;
    if diff_ids.len() != manifest.layers.len() {
        return Err(Error::refused(format!(
            "the manifest has {} layers, the config {} diff IDs",
            manifest.layers.len(),
            diff_ids.len()
        )));
    }
    manifest
        .layers
        .iter()
        .zip(&diff_ids)
        .enumerate()
        .map(|(index, (descriptor, diff_id))| {
            layer(source, index + 1, descriptor, diff_id).map_err(|error| {
                let digest = Digest::parse(&descriptor.digest).ok();
                let digest = digest.map_or_else(|| "?".into(), |digest| digest.short());
                error.in_layer(format!("{} ({digest})", index + 1))
            })
        })
        .collect()
}

fn layer(source: &Source, number: usize, descriptor: &Descriptor, diff_id: &str) -> Result<Layer> {
    let (digest, size) = descriptor.promise()?;
    let diff_id = Digest::parse(diff_id)?;
    let blob = source.blob(&digest).map_err(|error| {
        match descriptor.media_type.contains("nondistributable")
            || descriptor.media_type.contains("foreign")
        {
            true => error.hint("this layer is a foreign one, which images do not carry"),
            false => error.hint("the image is incomplete: fetch it again"),
        }
    })?;
    Ok(Layer {
        number,
        expected: Expected {
            blob: Some(digest),
            size: Some(size),
            diff_id: Some(diff_id.clone()),
        },
        diff_id,
        blob,
    })
}
