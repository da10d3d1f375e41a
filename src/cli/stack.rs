//! `lowerdir stack IMAGE`

use std::path::Path;

use clap::Args;

use lowerdir::dialect::Dialect;
use lowerdir::pipeline;
use lowerdir::stack;
use lowerdir::store::Store;

use super::{Global, ImageArgs, print_paths};

/// Print what follows `lowerdir=` in an overlay mount of an unpacked image.
///
/// One line: the layer directories, topmost first, joined by colons, with colons, commas and
/// backslashes escaped. Below a single layer stands an empty directory, because overlayfs wants
/// two directories where there is no upperdir.
#[derive(Debug, Args)]
pub struct Stack {
    #[command(flatten)]
    image: ImageArgs,
}

pub fn run(verb: &Stack, global: &Global) -> anyhow::Result<()> {
    let stack = of_image(&verb.image, &global.open_store()?)?;
    let line = stack.lowerdir();
    if "lowerdir=".len() + line.len() >= stack::PAGE {
        global.note(
            "warning: the line is longer than one page, which mount(2) takes: \
             `lowerdir mount` has no such limit",
        );
    }
    if stack.needs_userxattr() {
        global.note("note: mount it with the option userxattr");
    }
    print_paths(std::iter::once(Path::new(&line)))?;
    Ok(())
}

/// The stack of an image that was unpacked before.
pub fn of_image(image: &ImageArgs, store: &Store) -> anyhow::Result<stack::Stack> {
    let layers = pipeline::stored_layers(&image.open()?, store)?;
    let top = layers.last();
    let dialect = top.map_or_else(Dialect::default, |layer| layer.record.options.dialect);
    let directories = layers.into_iter().rev().map(|layer| layer.path);
    let empty = store.empty_directories();
    Ok(stack::Stack::new(directories.collect(), empty, dialect)?)
}
