//! `lowerdir unpack IMAGE`

use clap::Args;

use lowerdir::pipeline;

use super::options::{TranslationArgs, warn};
use super::{Global, ImageArgs, print_paths};

/// Unpack every layer of an image into the store, and print the layer directories.
///
/// The directories are printed topmost first, one a line. Layers that are in the store already are
/// not read again. Every blob is verified: its digest, its size, its diff ID.
#[derive(Debug, Args)]
pub struct Unpack {
    #[command(flatten)]
    image: ImageArgs,
    #[command(flatten)]
    translation: TranslationArgs,
}

pub fn run(verb: &Unpack, global: &Global) -> anyhow::Result<()> {
    let image = verb.image.open()?;
    let store = global.open_store()?;
    let options = verb.translation.options();
    let sync = verb.translation.sync();
    let layers = pipeline::unpack_image(&image, &store, &options, global.jobs(), sync)?;
    for (layer, unpacked) in image.layers.iter().zip(&layers) {
        let (label, report) = (layer.label(), &unpacked.record.report);
        match unpacked.was_there {
            true => global.note(&format!("layer {label}: was there")),
            false => global.note(&format!(
                "layer {label}: {} entries, {} bytes, {} deletions, {} opaque directories",
                report.entries, report.bytes, report.deletions, report.opaque
            )),
        }
        warn(global, &format!("layer {label}: "), report);
    }
    print_paths(layers.iter().rev().map(|layer| layer.path.as_path()))?;
    Ok(())
}
