//! Progress: bars on a terminal, lines elsewhere, JSON lines for programs. Each is a
//! [`crate::Progress`]; [`Shown`] adds Ctrl-C to it.

mod bars;
mod events;
mod lines;

use crate::Progress;
use crate::layer::report::Report;
use crate::progress::Silent;

use super::console::{ConsoleArgs, Show};
use super::{interrupt, summary};

/// The progress of one run.
pub struct Shown(Box<dyn Progress>);

impl Shown {
    /// Starts to show progress, and to listen for Ctrl-C.
    pub fn start(console: &ConsoleArgs, layers: usize) -> std::io::Result<Shown> {
        interrupt::listen()?;
        Ok(Shown(match console.show() {
            Show::Bars => Box::new(bars::Bars::new(layers, console.verbose)),
            Show::Lines => Box::<lines::Lines>::default(),
            Show::Json => Box::<events::Events>::default(),
            Show::Nothing => Box::new(Silent),
        }))
    }
}

impl Progress for Shown {
    fn was_there(&self, layer: usize, label: &str) {
        self.0.was_there(layer, label);
    }

    fn waits(&self, layer: usize, label: &str) {
        self.0.waits(layer, label);
    }

    fn waits_for_store(&self) {
        self.0.waits_for_store();
    }

    fn begins(&self, layer: usize, label: &str, bytes: u64) {
        self.0.begins(layer, label, bytes);
    }

    fn read(&self, layer: usize, bytes: u64) {
        self.0.read(layer, bytes);
    }

    fn ends(&self, layer: usize, label: &str, report: &Report) {
        self.0.ends(layer, label, report);
    }

    fn verified(&self, layer: usize, label: &str, changes: usize) {
        self.0.verified(layer, label, changes);
    }

    fn syncs(&self) {
        self.0.syncs();
    }

    fn is_cancelled(&self) -> bool {
        interrupt::received().is_some()
    }
}

/// `layer 2 (sha256:ab12…): 512 entries, 7.40 MiB`
fn done(label: &str, report: &Report) -> String {
    format!("layer {label}: {}", summary::counts(report))
}

/// `layer 2 (sha256:ab12…): 1 change`
fn compared(label: &str, changes: usize) -> String {
    match changes {
        0 => format!("layer {label}: unchanged"),
        _ => format!(
            "layer {label}: {}",
            summary::count(changes as u64, "change", "changes")
        ),
    }
}

/// A single layer has no label.
fn named(label: &str) -> String {
    match label.is_empty() {
        true => "the layer".into(),
        false => format!("layer {label}"),
    }
}
