//! JSON lines on standard error; the manual page documents them.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Progress;
use crate::layer::report::Report;

use crate::cli::console::event;
use crate::cli::json::ReportJson;

/// How often a layer reports how much is read.
const PERIOD: Duration = Duration::from_millis(250);

#[derive(Default)]
pub struct Events(Mutex<BTreeMap<usize, Known>>);

/// Of a layer: bytes, and when they were last told.
#[derive(Default)]
struct Known {
    read: u64,
    told: Option<Instant>,
    arrived: u64,
    told_arrived: Option<Instant>,
}

impl Progress for Events {
    fn was_there(&self, layer: usize, _: &str) {
        event(&json!({ "event": "was-there", "layer": layer + 1 }));
    }

    fn waits(&self, layer: usize, _: &str) {
        event(&json!({ "event": "wait", "layer": layer + 1 }));
    }

    fn waits_for_store(&self) {
        event(&json!({ "event": "wait" }));
    }

    fn begins(&self, layer: usize, _: &str, bytes: u64) {
        event(&json!({ "event": "begin", "layer": layer + 1, "bytes": bytes }));
    }

    fn read(&self, layer: usize, bytes: u64) {
        let mut layers = self.0.lock().expect("no panic while it is locked");
        let known = layers.entry(layer).or_default();
        known.read += bytes;
        if known.told.is_none_or(|told| told.elapsed() >= PERIOD) {
            known.told = Some(Instant::now());
            event(&json!({ "event": "read", "layer": layer + 1, "bytes": known.read }));
        }
    }

    fn arrived(&self, layer: usize, bytes: u64) {
        let mut layers = self.0.lock().expect("no panic while it is locked");
        let known = layers.entry(layer).or_default();
        let is_due = known
            .told_arrived
            .is_none_or(|told| told.elapsed() >= PERIOD);
        if bytes > known.arrived && is_due {
            (known.arrived, known.told_arrived) = (bytes, Some(Instant::now()));
            event(&json!({ "event": "arrived", "layer": layer + 1, "bytes": bytes }));
        }
    }

    fn retries(&self, layer: usize, text: &str) {
        event(&json!({ "event": "retry", "layer": layer + 1, "message": text }));
    }

    fn ends(&self, layer: usize, _: &str, report: &Report) {
        event(&json!({ "event": "end", "layer": layer + 1, "report": ReportJson::from(report) }));
    }

    fn copied(&self, layer: usize, _: &str, bytes: u64) {
        event(&json!({ "event": "copied", "layer": layer + 1, "bytes": bytes }));
    }

    fn verified(&self, layer: usize, _: &str, changes: usize) {
        event(&json!({ "event": "verified", "layer": layer + 1, "changes": changes }));
    }

    fn syncs(&self) {
        event(&json!({ "event": "sync" }));
    }
}
