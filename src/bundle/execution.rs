//! What an image's config says of how to run it, as far as a bundle needs it.
//!
//! Source: image-spec `config.md`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::{Error, Result};
use crate::image::{Image, config_value, null_is_empty};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Execution {
    #[serde(deserialize_with = "null_is_empty")]
    pub os: String,
    #[serde(deserialize_with = "null_is_empty")]
    pub architecture: String,
    #[serde(deserialize_with = "null_is_empty")]
    pub variant: String,
    #[serde(rename = "os.version", deserialize_with = "null_is_empty")]
    pub os_version: String,
    #[serde(rename = "os.features", deserialize_with = "null_is_empty")]
    pub os_features: Vec<String>,
    #[serde(deserialize_with = "null_is_empty")]
    pub author: String,
    #[serde(deserialize_with = "null_is_empty")]
    pub created: String,
    #[serde(deserialize_with = "null_is_empty")]
    pub config: Parameters,
}

/// Its member `config`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Parameters {
    #[serde(deserialize_with = "null_is_empty")]
    pub user: String,
    #[serde(deserialize_with = "null_is_empty")]
    pub exposed_ports: BTreeMap<String, IgnoredAny>,
    #[serde(deserialize_with = "null_is_empty")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "null_is_empty")]
    pub entrypoint: Vec<String>,
    #[serde(deserialize_with = "null_is_empty")]
    pub cmd: Vec<String>,
    #[serde(deserialize_with = "null_is_empty")]
    pub volumes: BTreeMap<String, IgnoredAny>,
    #[serde(deserialize_with = "null_is_empty")]
    pub working_dir: String,
    #[serde(deserialize_with = "null_is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_is_empty")]
    pub stop_signal: String,
}

impl Execution {
    /// Errors: it cannot be read, or is for something else than Linux.
    pub fn of(image: &Image) -> Result<Execution> {
        let config = config_value(&image.documents.config)?;
        let read: Execution = serde_json::from_value(config)
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
