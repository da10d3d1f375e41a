//! The rows of the table: a good layer, and one above it or a document that is bad.

use serde_json::Value;

use super::{documents, names, streams};
use crate::layout::{LAYER, Layout};
use crate::oci;
use crate::tarball::LayerBuilder;

/// Who can notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Who reads the layer.
    Layer,
    /// Who reads the layer and knows what the image says of it.
    Image,
    /// Who takes the layer for an archive, be it read or unpacked before: its type says that it is none.
    Type,
    /// Who reads the documents of the image.
    Documents,
}

/// Changes a good image, whose manifest is not stored yet.
pub type Change = fn(&Layout, &mut Value);

/// One row.
pub struct Input {
    pub name: &'static str,
    pub seen: Seen,
    pub status: i32,
    /// What the error says.
    pub words: &'static [&'static str],
    /// For verbs that read layers.
    pub options: &'static [&'static str],
    /// The second layer, as it is stored.
    pub blob: Vec<u8>,
    /// Its diff ID is that of these bytes.
    tar: Vec<u8>,
    media_type: &'static str,
    change: Option<Change>,
    /// What happens to the files of the layout at last.
    after: Option<fn(&Layout, &Value)>,
}

impl Input {
    /// A bad layer; its diff ID is that of its blob.
    pub fn layer(
        name: &'static str,
        status: i32,
        words: &'static [&'static str],
        blob: Vec<u8>,
    ) -> Input {
        Input {
            name,
            seen: Seen::Layer,
            status,
            words,
            options: &[],
            tar: blob.clone(),
            blob,
            media_type: LAYER,
            change: None,
            after: None,
        }
    }

    /// A bad stream around this archive.
    pub fn stream(
        name: &'static str,
        words: &'static [&'static str],
        tar: Vec<u8>,
        blob: Vec<u8>,
    ) -> Input {
        let gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
        let zstd = "application/vnd.oci.image.layer.v1.tar+zstd";
        let media_type = match blob.get(..4) {
            Some([0x1f, 0x8b, ..]) => gzip,
            Some([0x28, 0xb5, 0x2f, 0xfd]) => zstd,
            _ => LAYER,
        };
        Input {
            tar,
            media_type,
            ..Input::layer(name, 3, words, blob)
        }
    }

    /// A good layer of which the image says something else.
    pub fn image(
        name: &'static str,
        status: i32,
        words: &'static [&'static str],
        change: Change,
    ) -> Input {
        Input {
            seen: Seen::Image,
            change: Some(change),
            ..Input::layer(name, status, words, good())
        }
    }

    /// Good layers, and a bad document.
    pub fn document(
        name: &'static str,
        status: i32,
        words: &'static [&'static str],
        change: Change,
    ) -> Input {
        Input {
            seen: Seen::Documents,
            ..Input::image(name, status, words, change)
        }
    }

    pub fn with(mut self, options: &'static [&'static str]) -> Input {
        self.options = options;
        self
    }

    pub fn of_type(mut self, media_type: &'static str) -> Input {
        self.media_type = media_type;
        self.seen = Seen::Type;
        self
    }

    /// Changes the files once all are written; the value is the manifest.
    pub fn after(mut self, after: fn(&Layout, &Value)) -> Input {
        self.after = Some(after);
        self
    }

    pub fn write(&self, layout: &Layout) {
        let base = base();
        let config = oci::config(&oci::diff_ids([&base, &self.tar]));
        let mut manifest = layout.manifest_with_config(&[base], &config);
        let descriptor = layout.blob(self.media_type, &self.blob);
        let layers = manifest["layers"].as_array_mut().expect("a list");
        layers.push(descriptor);
        if let Some(change) = self.change {
            change(layout, &mut manifest);
        }
        layout.image(&manifest);
        if let Some(after) = self.after {
            after(layout, &manifest);
        }
    }
}

/// The layer below.
pub fn base() -> Vec<u8> {
    LayerBuilder::new()
        .dir("etc", 0o755)
        .file("etc/motd", 0o644, "below")
        .finish()
}

/// A second layer that nothing is wrong with.
pub fn good() -> Vec<u8> {
    LayerBuilder::new()
        .dir("etc", 0o755)
        .file("etc/file", 0o644, "above".repeat(400))
        .finish()
}

pub fn all() -> Vec<Input> {
    let mut all = streams::inputs();
    all.extend(names::inputs());
    all.extend(documents::inputs());
    all
}
