//! The lists of layers and images, as JSON. Members and records of other programs are preserved.

use serde_json::{Map, Value, json};

use crate::digest::Digest;
use crate::store::Record;

use super::documents::{Documents, plain_size};

/// The ID that containers/image gives a layer: the digits of its diff ID at the bottom, and above that a
/// digest of the parent's ID and the diff ID.
pub fn layer_id(parent: Option<&String>, diff_id: &Digest) -> String {
    match parent {
        None => diff_id.hex().into(),
        Some(parent) => Digest::of(format!("{parent}+{}", diff_id.hex()).as_bytes())
            .hex()
            .into(),
    }
}

/// Adds a layer to the list, or replaces the one with its ID. `size` is that of its archive, if it was
/// read.
pub fn add_layer(
    list: &mut Vec<Value>,
    id: &str,
    parent: Option<&String>,
    record: &Record,
    size: Option<u64>,
    created: &str,
) {
    let mut layer = json!({
        "id": id,
        "created": created,
        "compressed-diff-digest": record.blob,
        "compressed-size": record.size,
        "diff-digest": record.diff_id,
        "diff-size": size.unwrap_or_else(|| plain_size(record)),
    });
    if let Some(parent) = parent {
        layer["parent"] = json!(parent);
    }
    replace(list, layer);
}

/// Adds an image to the list, and returns its names: old and new ones. Other images lose the new names,
/// because readers refuse a list in which two images share a name.
pub fn add_image(
    list: &mut Vec<Value>,
    names: Vec<String>,
    documents: &Documents,
    top: Option<&String>,
) -> Vec<String> {
    for image in list.iter_mut().filter(|image| image["id"] != *documents.id) {
        take_names(image, &names);
    }
    let known = list.iter().find(|image| image["id"] == *documents.id);
    let mut all = known.map_or_else(Vec::new, |image| texts(&image["names"]));
    all.extend(names);
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|name| seen.insert(name.clone()));
    let mut image = json!({
        "id": documents.id,
        "digest": documents.digest,
        "names": all,
        "metadata": "{}",
        "big-data-names": documents.all.iter().map(|document| &document.key).collect::<Vec<_>>(),
        "big-data-sizes": documents.map(|document| json!(document.bytes.len())),
        "big-data-digests": documents.map(|document| json!(document.digest)),
        "created": documents.created,
    });
    if let Some(top) = top {
        image["layer"] = json!(top);
    }
    if let Some(history) = known.and_then(|image| image.get("names-history")) {
        image["names-history"] = history.clone();
    }
    replace(list, image);
    all
}

/// Removes names from an image, and adds them to its history of names.
fn take_names(image: &mut Value, names: &[String]) {
    let (lost, kept): (Vec<String>, Vec<String>) = texts(&image["names"])
        .into_iter()
        .partition(|name| names.contains(name));
    if lost.is_empty() {
        return;
    }
    let mut history = lost;
    let before = texts(&image["names-history"]);
    let before = before.into_iter().filter(|name| !history.contains(name));
    let before: Vec<String> = before.collect();
    history.extend(before);
    image["names"] = json!(kept);
    image["names-history"] = json!(history);
}

fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(|text| Some(text.as_str()?.to_string()))
        .collect()
}

fn replace(list: &mut Vec<Value>, record: Value) {
    match list.iter_mut().find(|known| known["id"] == record["id"]) {
        Some(known) => *known = record,
        None => list.push(record),
    }
}

impl Documents {
    fn map(&self, value: impl Fn(&super::documents::Document) -> Value) -> Map<String, Value> {
        let all = self.all.iter();
        all.map(|document| (document.key.clone(), value(document)))
            .collect()
    }
}
