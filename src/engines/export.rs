//! Exports an image for other programs, as a list of its merged tree or as a directory that refers to the
//! layers in the store.
//!
//! [`containers_storage`] and [`write_mstack`] refer to unpacked layers. A list has one line for each
//! path: [`Format::ComposefsDump`] is for `mkcomposefs --from-file`, which makes an EROFS image from it,
//! and [`Format::Mtree`] is for `bsdtar` and mtree(8). Like [`crate::view::flatten`], [`export`] takes a
//! [`ImageTree`] that was read from the blobs, and reads them once more for digests of the content. The same
//! tree gives the same bytes. `lowerdir export` calls all of them.

pub mod containers_storage;
mod dump;
mod duplicate;
mod mstack;
mod mtree;
pub(crate) mod verity;

use std::io::Write;

use crate::error::{Error, Result};
use crate::image::Image;
use crate::store::pipeline::Run;
use crate::view::ImageTree;

pub use mstack::write_mstack;

/// The formats of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// composefs-dump(5), with the content of small files and the fs-verity digests of larger ones.
    ComposefsDump,
    /// mtree(5), with SHA-256 digests. It has no xattrs.
    Mtree,
}

/// Lists a tree.
///
/// Errors: those of reading the blobs, and the system's.
///
/// ```
/// use lowerdir::engines::export::{Format, export};
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
/// let mut text = Vec::new();
/// export(&image, &view.tree, Format::ComposefsDump, Run::default(), &mut text)?;
///
/// let text = String::from_utf8(text)?;
/// assert_eq!(text.lines().last(), Some("/etc 0 40755 2 0 0 0 0.0 - - -"));
/// # Ok(())
/// # }
/// ```
pub fn export(
    image: &Image,
    tree: &ImageTree,
    format: Format,
    run: Run<'_>,
    out: &mut impl Write,
) -> Result<()> {
    let lines = match format {
        Format::ComposefsDump => dump::write(image, tree, run, out)?,
        Format::Mtree => mtree::write(image, tree, run, out)?,
    };
    lines
        .and_then(|()| out.flush())
        .map_err(|error| Error::system("writing the list", error))
}
