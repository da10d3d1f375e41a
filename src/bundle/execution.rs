//! What an image's config says of how to run it, as far as a bundle needs it.
//!
//! Source: image-spec `config.md`. `null` stands for an absent member, as writers of Go programs leave
//! it.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use crate::error::{Error, Result};
use crate::image::Image;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Execution {
    #[serde(deserialize_with = "null_is_absent")]
    pub os: String,
    #[serde(deserialize_with = "null_is_absent")]
    pub architecture: String,
    #[serde(deserialize_with = "null_is_absent")]
    pub variant: String,
    #[serde(rename = "os.version", deserialize_with = "null_is_absent")]
    pub os_version: String,
    #[serde(rename = "os.features", deserialize_with = "null_is_absent")]
    pub os_features: Vec<String>,
    #[serde(deserialize_with = "null_is_absent")]
    pub author: String,
    #[serde(deserialize_with = "null_is_absent")]
    pub created: String,
    #[serde(deserialize_with = "null_is_absent")]
    pub config: Parameters,
}

/// Its member `config`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Parameters {
    #[serde(deserialize_with = "null_is_absent")]
    pub user: String,
    #[serde(deserialize_with = "null_is_absent")]
    pub exposed_ports: BTreeMap<String, IgnoredAny>,
    #[serde(deserialize_with = "null_is_absent")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "null_is_absent")]
    pub entrypoint: Vec<String>,
    #[serde(deserialize_with = "null_is_absent")]
    pub cmd: Vec<String>,
    #[serde(deserialize_with = "null_is_absent")]
    pub volumes: BTreeMap<String, IgnoredAny>,
    #[serde(deserialize_with = "null_is_absent")]
    pub working_dir: String,
    #[serde(deserialize_with = "null_is_absent")]
    pub labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_is_absent")]
    pub stop_signal: String,
}

fn null_is_absent<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> std::result::Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Execution {
    /// Errors: it cannot be read, or is for something else than Linux.
    pub fn of(image: &Image) -> Result<Execution> {
        let read: Execution = serde_json::from_slice(&image.documents.config)
            .map_err(|error| Error::refused(format!("the config cannot be read: {error}")))?;
        match &*read.os {
            "" | "linux" => Ok(read),
            other => Err(Error::refused(format!(
                "the image is for {}, not for linux",
                crate::path::display(other.as_bytes())
            ))),
        }
    }
}
