//! The part of an image's config that says how to run it, as far as a bundle needs it.
//!
//! Source: image-spec `config.md`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Map, Value};

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
    /// Errors: the config cannot be read, or is not for Linux.
    pub fn of(image: &Image) -> Result<Execution> {
        let config = config_value(&image.documents.config)?;
        let read: Execution = serde_json::from_value(config.clone()).map_err(|error| {
            let why = field_at_fault(&config).unwrap_or_else(|| error.to_string());
            Error::refused(format!("the config cannot be read: {why}"))
        })?;
        match &*read.os {
            "" | "linux" => Ok(read),
            other => Err(Error::refused(format!(
                "the image is for {}, not for linux",
                crate::path::display(other.as_bytes())
            ))),
        }
    }
}

/// The member with the wrong type, and the error, because serde does not name the member.
fn field_at_fault(config: &Value) -> Option<String> {
    let members = config.as_object()?;
    let parameters = members.get("config").and_then(Value::as_object);
    parameters
        .and_then(|members| bad_member::<Parameters>(members, "config."))
        .or_else(|| bad_member::<Execution>(members, ""))
}

/// The first member that cannot be read on its own.
fn bad_member<T: DeserializeOwned>(members: &Map<String, Value>, path: &str) -> Option<String> {
    members.iter().find_map(|(name, value)| {
        let alone = Map::from_iter([(name.clone(), value.clone())]);
        let error = serde_json::from_value::<T>(alone.into()).err()?;
        Some(format!("{path}{name}: {error}"))
    })
}
