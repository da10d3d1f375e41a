//! Plain lines: one for each finished layer, and now and then one for a layer that takes long.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::HumanBytes;

use crate::Progress;
use crate::layer::report::Report;

use super::{compared, done, named};
use crate::cli::console::line;

/// The time between two lines about a layer.
const SILENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
pub struct Lines(Mutex<BTreeMap<usize, Layer>>);

struct Layer {
    label: String,
    bytes: u64,
    read: u64,
    /// From a registry.
    arrived: u64,
    told: Instant,
}

impl Progress for Lines {
    fn was_there(&self, _: usize, label: &str) {
        line(format_args!("{}: already present", named(label)));
    }

    fn waits(&self, _: usize, label: &str) {
        line(format_args!(
            "{}: waiting for another process",
            named(label)
        ));
    }

    fn waits_for_store(&self) {
        line(format_args!(
            "waiting for another process that uses the store"
        ));
    }

    fn begins(&self, layer: usize, label: &str, bytes: u64) {
        let begun = Layer {
            label: label.into(),
            bytes,
            read: 0,
            arrived: 0,
            told: Instant::now(),
        };
        let mut layers = self.0.lock().expect("no panic while it is locked");
        layers.insert(layer, begun);
    }

    fn read(&self, layer: usize, bytes: u64) {
        let mut layers = self.0.lock().expect("no panic while it is locked");
        let Some(layer) = layers.get_mut(&layer) else {
            return;
        };
        layer.read += bytes;
        if layer.told.elapsed() >= SILENCE {
            layer.told = Instant::now();
            let (name, read) = (named(&layer.label), HumanBytes(layer.read));
            let all = HumanBytes(layer.bytes);
            match layer.arrived {
                0 => line(format_args!("{name}: {read} of {all} read")),
                arrived => {
                    let arrived = HumanBytes(arrived);
                    line(format_args!(
                        "{name}: {arrived} of {all} arrived, {read} read"
                    ));
                }
            }
        }
    }

    fn arrived(&self, layer: usize, bytes: u64) {
        let mut layers = self.0.lock().expect("no panic while it is locked");
        if let Some(layer) = layers.get_mut(&layer) {
            layer.arrived = bytes;
        }
    }

    fn retries(&self, layer: usize, text: &str) {
        line(format_args!("layer {}: {text}", layer + 1));
    }

    fn ends(&self, _: usize, label: &str, report: &Report) {
        // For a single layer, the summary says the same.
        if !label.is_empty() {
            line(format_args!("{}", done(label, report)));
        }
    }

    fn copied(&self, _: usize, label: &str, bytes: u64) {
        line(format_args!(
            "{}: {} copied",
            named(label),
            HumanBytes(bytes)
        ));
    }

    fn verified(&self, _: usize, label: &str, changes: usize) {
        line(format_args!("{}", compared(label, changes)));
    }
}
