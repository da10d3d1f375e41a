//! `View`: the tree of an image, computed from its blobs alone. Nothing is unpacked or mounted, and no
//! privilege is needed.
//!
//! `lowerdir ls`, `diff` and `inspect` show it, and everything that writes an image as one tree starts from
//! it. It follows the same translation rules as unpacking, but applies the layers one after another to one
//! tree, as the image specification describes. It reads blobs and never writes.
//!
//! A layer is applied in three steps:
//!
//! 1. the directory of every marker is looked up in the tree of the layers below, but not through a
//!    symbolic link that the layer replaces with a directory entry;
//! 2. everything that the markers delete is removed at once (rules W1, O1);
//! 3. the other entries are added, in archive order.
//!
//! The content of a layer's own directory is recorded on the way: each name has the number of the last
//! layer that needed it, and each layer its deletions and opaque directories.
//!
//! The tree has an inode for each path, but no content: `contents` reads the blobs again for that.

mod apply;
mod changes;
mod contents;
mod edit;
pub mod flatten;
mod read;
mod tree;
mod walk;

use crate::error::{Advice, Error, Hint, Result};
use crate::image::{Image, Layer};
use crate::store::pipeline::Run;
use crate::unpack::Options;

pub use crate::tar::archive::{Extent, FileShape};
pub use apply::Applied;
pub use changes::{Change, Part, Side, What, compare};
pub(crate) use contents::{contents, file_ids, parts, read_parts};
pub use tree::{Body, Id, ImageInode, ImageTree, Name, Source, Stored};
pub use walk::{Item, Walk};

/// An image as one tree.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct View {
    /// The merged tree of the layers.
    pub tree: ImageTree,
    /// The effect of each layer, lowest first.
    pub layers: Vec<Applied>,
}

impl View {
    /// Reads all layers of an image, several at once, each to the last byte of its blob, and
    /// verifies them.
    ///
    /// Errors: everything for which [`Unpack`](crate::Unpack) refuses a layer, but for
    /// what a file system cannot hold.
    ///
    /// ```
    /// use lowerdir::path::EntryPath;
    /// use lowerdir::view::View;
    /// use lowerdir::{Image, Options, Reference, Run};
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doc_image.in"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let place = tempfile::tempdir()?;
    /// # let archive = place.path().join("image.tar");
    /// # doc_image(&archive)?;
    ///
    /// let image = Image::open(&Reference::parse(&archive)?)?;
    /// let view = View::read(&image, &Options::default(), Run::default())?;
    ///
    /// let names = view.tree.walk().map(|item| item.path.to_string());
    /// assert_eq!(names.collect::<Vec<_>>(), [".", "etc"]);
    /// let motd = EntryPath::parse(b"etc/motd")?;
    /// assert!(view.layers[1].deleted.contains_key(&motd));
    /// # Ok(())
    /// # }
    /// ```
    pub fn read(image: &Image, options: &Options, run: Run<'_>) -> Result<View> {
        let mut view = View::default();
        view.add(&image.layers, options, run)?;
        Ok(view)
    }

    /// Reads a layer, counted from 1 at the bottom, and those below it. Errors: also, there is no
    /// such layer ([`Kind::NotFound`](crate::Kind::NotFound)).
    pub fn of_layer(image: &Image, number: usize, options: &Options, run: Run<'_>) -> Result<View> {
        check_number(image, number)?;
        let mut view = View::default();
        view.add(&image.layers[..number], options, run)?;
        Ok(view)
    }

    /// Two views: without the layer, and with it.
    pub fn before_and_after(
        image: &Image,
        number: usize,
        options: &Options,
        run: Run<'_>,
    ) -> Result<(View, View)> {
        check_number(image, number)?;
        let mut before = View::default();
        before.add(&image.layers[..number - 1], options, run)?;
        let mut after = before.clone();
        after.add(&image.layers[number - 1..number], options, run)?;
        Ok((before, after))
    }

    /// Applies more layers.
    fn add(&mut self, layers: &[Layer], options: &Options, run: Run<'_>) -> Result<()> {
        read::each_layer(layers, options, run, |layer, said| {
            let applied = apply::apply(
                &mut self.tree,
                layer.number as u32,
                said,
                options,
                &run.limits,
            )
            .map_err(|error| error.in_layer(layer.label()))?;
            self.layers.push(applied);
            Ok(())
        })
    }
}

/// Errors: an image has no layer of that number, counted from 1 at the bottom ([`Kind::NotFound`](crate::Kind::NotFound)).
pub(crate) fn check_number(image: &Image, number: usize) -> Result<()> {
    let count = image.layers.len();
    if (1..=count).contains(&number) {
        return Ok(());
    }
    let error = Error::not_found(format!("there is no layer {number}"));
    Err(error.hint(match count {
        0 => Hint::from("the image has no layers"),
        1 => Advice::OnlyLayer.into(),
        _ => format!("the image has layers 1 to {count}, counted from the bottom").into(),
    }))
}
