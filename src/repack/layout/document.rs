//! The documents of an image, as they change by one more layer. Nothing is written here.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::compress::encoder::Compression;
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};
use crate::image::{Blob, config_value, manifest_value};

use super::{NewLayer, REF_NAME};

const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// The last second that RFC 3339 can say.
const YEAR_9999: u64 = 253_402_300_799;

/// Where a layer comes from, for the config's history.
#[derive(Clone, Debug)]
pub struct History {
    /// When, in seconds since the epoch.
    pub created: u64,
    /// By what command.
    pub created_by: String,
    /// A remark; none if empty.
    pub comment: String,
}

impl History {
    fn time(&self) -> String {
        let seconds = Duration::from_secs(self.created.min(YEAR_9999));
        humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + seconds).to_string()
    }

    fn entry(&self) -> Value {
        let mut entry = json!({ "created": self.time(), "created_by": self.created_by });
        if !self.comment.is_empty() {
            entry["comment"] = json!(self.comment);
        }
        entry
    }
}

/// Adds a layer to a manifest and its config.
pub fn append(
    manifest: &mut Value,
    config: &mut Value,
    layer: &NewLayer,
    history: &History,
) -> Result<()> {
    let media_type = manifest["mediaType"].as_str().unwrap_or_default();
    let of_docker = media_type.starts_with("application/vnd.docker.");
    let layers = array(manifest, "layers")?;
    layers.push(descriptor(layer.compression, of_docker, layer));
    let number = layers.len();

    if !config["rootfs"].is_object() {
        return Err(Error::refused("the config lists no layers"));
    }
    let diff_ids = array(&mut config["rootfs"], "diff_ids")?;
    diff_ids.push(json!(layer.measured.diff_id.to_string()));
    if diff_ids.len() != number {
        return Err(Error::refused(format!(
            "the manifest has {} layers, the config {} diff IDs",
            number - 1,
            diff_ids.len() - 1
        )));
    }
    fill_history(config, number - 1)?;
    array(config, "history")?.push(history.entry());
    config["created"] = json!(history.time());
    Ok(())
}

/// Gives each of so many layers an entry in the history: an image may have none, or fewer, and those
/// who pair them with layers refuse that. Each gets a time: Docker 25 (moby issue 47729) and umoci
/// crash on an entry without one.
fn fill_history(config: &mut Value, layers: usize) -> Result<()> {
    let created = config["created"].as_str().filter(|text| is_time(text));
    let created = created.unwrap_or("1970-01-01T00:00:00Z").to_owned();
    let past = array(config, "history")?;
    if past.iter().any(|entry| !entry.is_object()) {
        return Err(Error::refused("an entry of the history is no JSON object"));
    }
    let with_layer = |entry: &&Value| entry["empty_layer"] != json!(true);
    for _ in past.iter().filter(with_layer).count()..layers {
        past.push(
            json!({ "created_by": "unknown", "comment": "the image says nothing of this layer" }),
        );
    }
    for entry in past.iter_mut().filter(|entry| entry["created"].is_null()) {
        entry["created"] = json!(created);
    }
    Ok(())
}

/// Whether a text is a time as RFC 3339 writes it, in whatever zone.
fn is_time(text: &str) -> bool {
    let zone = text.len().checked_sub("+00:00".len());
    let utc = zone
        .and_then(|at| text.split_at_checked(at))
        .filter(|(_, zone)| zone.starts_with(['+', '-']) && zone.as_bytes()[3] == b':');
    let text = utc.map_or(text.to_owned(), |(time, _)| format!("{time}Z"));
    humantime::parse_rfc3339(&text).is_ok()
}

/// What a config says that its image runs on, as a descriptor says it; `None` without an operating
/// system and an architecture.
pub fn platform(config: &Value) -> Option<Value> {
    let says = |name: &str| config.get(name).filter(|value| value.as_str() != Some(""));
    let mut platform = json!({ "os": says("os")?, "architecture": says("architecture")? });
    for name in ["os.version", "os.features", "variant"] {
        if let Some(value) = says(name).filter(|value| !value.is_null()) {
            platform[name] = value.clone();
        }
    }
    Some(platform)
}

fn descriptor(compression: Compression, of_docker: bool, layer: &NewLayer) -> Value {
    json!({
        "mediaType": compression.media_type(of_docker),
        "digest": layer.measured.blob.to_string(),
        "size": layer.measured.size,
    })
}

/// Makes a descriptor stand for another document.
pub fn redirect(descriptor: &mut Value, (digest, size): &(Digest, u64)) {
    descriptor["digest"] = json!(digest.to_string());
    descriptor["size"] = json!(size);
    if let Some(members) = descriptor.as_object_mut() {
        // A copy of the old one.
        members.remove("data");
    }
}

/// Whether a document, or what its descriptor stands for, lists manifests rather than layers.
pub fn is_index(document: &Value) -> bool {
    let media_type = document["mediaType"].as_str().unwrap_or_default();
    let is_list = ["image.index.v1+json", "manifest.list.v2+json"]
        .iter()
        .any(|end| media_type.ends_with(end));
    is_list || document.get("manifests").is_some()
}

/// A list in a document, which may be absent or `null`.
pub fn array<'a>(document: &'a mut Value, name: &str) -> Result<&'a mut Vec<Value>> {
    let members = document
        .as_object_mut()
        .ok_or_else(|| Error::refused("a document that is no JSON object"))?;
    let value = members.entry(name).or_insert(Value::Null);
    if value.is_null() {
        *value = json!([]);
    }
    value
        .as_array_mut()
        .ok_or_else(|| Error::refused(format!("{name} is no list")))
}

/// The names of an image.
pub fn names_of(descriptor: &Value) -> impl Iterator<Item = String> + '_ {
    let annotations = &descriptor["annotations"];
    [REF_NAME, CONTAINERD_NAME]
        .into_iter()
        .filter_map(|key| Some(annotations[key].as_str()?.to_string()))
}

/// Reads a manifest or an index, and compares it with its digest.
pub fn manifest(path: &Path, digest: Option<&Digest>, what: &str) -> Result<Value> {
    manifest_value(&read(path, digest, what)?, what)
}

/// The same for a config.
pub fn config(path: &Path, digest: &Digest) -> Result<Value> {
    config_value(&read(path, Some(digest), "the config")?)
}

fn read(path: &Path, digest: Option<&Digest>, what: &str) -> Result<Vec<u8>> {
    let opening = |error| Error::system(format!("opening {what}"), error);
    let bytes = Blob::from_file(File::open(path).map_err(opening)?)?.document(what)?;
    if let Some(digest) = digest {
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.update(&bytes);
        let is = hasher.finish();
        if is != *digest {
            let text = format!("{what} has the digest {is}, not {digest}");
            return Err(Error::mismatch(text));
        }
    }
    Ok(bytes)
}
