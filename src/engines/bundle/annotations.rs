//! The annotations of a bundle: from the image's config, then from its labels, which win (image-spec
//! `conversion.md`, "Annotations"), then from the caller.
//!
//! Runtimes act on annotations: runc passes properties to systemd, crun and Kata Containers run or choose
//! programs of the host, and more will follow. An image must not control that, so only the labels that
//! the image specification defines become annotations. The caller adds others.

use std::collections::BTreeMap;

use super::execution::Execution;

/// image-spec `annotations.md`, "Pre-Defined Annotation Keys".
const DESCRIPTIVE: &str = "org.opencontainers.image.";

pub struct Annotations {
    pub kept: BTreeMap<String, String>,
    /// The keys of labels that did not become annotations.
    pub left_out: Vec<String>,
}

pub fn of(execution: &Execution, added: &[(String, String)]) -> Annotations {
    let parameters = &execution.config;
    let ports: Vec<&str> = parameters
        .exposed_ports
        .keys()
        .map(String::as_str)
        .collect();
    let implied = [
        ("os", execution.os.clone()),
        ("architecture", execution.architecture.clone()),
        ("variant", execution.variant.clone()),
        ("os.version", execution.os_version.clone()),
        ("os.features", execution.os_features.join(",")),
        ("author", execution.author.clone()),
        ("created", execution.created.clone()),
        ("stopSignal", parameters.stop_signal.clone()),
        ("exposedPorts", ports.join(",")),
    ];
    let implied = implied.into_iter().filter(|(_, value)| !value.is_empty());
    let mut kept: BTreeMap<String, String> = implied
        .map(|(name, value)| (format!("{DESCRIPTIVE}{name}"), value))
        .collect();
    let mut left_out = Vec::new();
    for (key, value) in &parameters.labels {
        match key.starts_with(DESCRIPTIVE) {
            true => drop(kept.insert(key.clone(), value.clone())),
            false => left_out.push(key.clone()),
        }
    }
    kept.extend(added.iter().cloned());
    left_out.retain(|key| !kept.contains_key(key));
    Annotations { kept, left_out }
}
