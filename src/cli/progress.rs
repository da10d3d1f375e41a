//! Progress: bars on a terminal, lines elsewhere, JSON lines for programs. Each is a
//! [`crate::Progress`]; [`Shown`] adds Ctrl-C to it.

mod bars;
mod echo;
mod events;
mod lines;

use crate::Progress;
use crate::image::Image;
use crate::layer::report::Report;
use crate::progress::Silent;

use super::console::{ConsoleArgs, Show};
use super::{interrupt, summary};

/// What is known of the work before it begins.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// How many layers there are.
    pub layers: usize,
    /// The size of each blob in bytes, where it is known.
    pub sizes: Vec<u64>,
}

impl Expected {
    /// The layers of an image, all of which may have to be read.
    pub fn image(image: &Image) -> Expected {
        let sizes = image
            .layers
            .iter()
            .map(|layer| layer.blob.size().unwrap_or(0));
        Expected {
            layers: image.layers.len(),
            sizes: sizes.collect(),
        }
    }

    /// So many layers of unknown size.
    pub fn layers(layers: usize) -> Expected {
        Expected {
            layers,
            sizes: Vec::new(),
        }
    }

    /// No layers: only waits are shown.
    pub fn nothing() -> Expected {
        Expected::default()
    }
}

/// The progress of one run.
pub struct Shown(Box<dyn Progress>);

impl Shown {
    /// Starts to show progress, and to listen for Ctrl-C.
    pub fn start(console: &ConsoleArgs, expected: &Expected) -> std::io::Result<Shown> {
        interrupt::listen()?;
        Ok(Shown(match console.show() {
            Show::Bars => Box::new(bars::Bars::new(expected, console.verbose)),
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

    fn goes_on(&self) {
        self.0.goes_on();
    }

    fn begins(&self, layer: usize, label: &str, bytes: u64) {
        self.0.begins(layer, label, bytes);
    }

    fn read(&self, layer: usize, bytes: u64) {
        self.0.read(layer, bytes);
    }

    fn arrived(&self, layer: usize, bytes: u64) {
        self.0.arrived(layer, bytes);
    }

    fn retries(&self, layer: usize, text: &str) {
        self.0.retries(layer, text);
    }

    fn ends(&self, layer: usize, label: &str, report: &Report) {
        self.0.ends(layer, label, report);
    }

    fn copied(&self, layer: usize, label: &str, bytes: u64) {
        self.0.copied(layer, label, bytes);
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
