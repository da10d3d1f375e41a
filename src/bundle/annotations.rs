//! The annotations of a bundle: what the image's config says, and its labels, which win (image-spec
//! `conversion.md`, "Annotations").

use std::collections::BTreeMap;

use super::execution::Execution;

/// Runtimes take orders from these: runc gives properties to systemd, crun and Kata Containers run or
/// choose programs of the host. An image has no say in that.
const ORDERS: [&str; 3] = ["org.systemd.property.", "run.oci.", "io.katacontainers."];

pub struct Annotations {
    pub kept: BTreeMap<String, String>,
    /// The keys of the others.
    pub left_out: Vec<String>,
}

pub fn of(execution: &Execution) -> Annotations {
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
        .map(|(name, value)| (format!("org.opencontainers.image.{name}"), value))
        .collect();
    let mut left_out = Vec::new();
    for (key, value) in &parameters.labels {
        match ORDERS.iter().any(|prefix| key.starts_with(prefix)) {
            true => left_out.push(key.clone()),
            // The runtime-spec wants keys that are not empty.
            false if key.is_empty() => left_out.push(key.clone()),
            false => drop(kept.insert(key.clone(), value.clone())),
        }
    }
    Annotations { kept, left_out }
}
