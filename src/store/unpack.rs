//! `Unpack` and `UnpackLayer`: unpacking, as a user of the library asks for it.
//!
//! They only collect what the caller chose; [`super::pipeline`] does the work.

use std::path::{Path, PathBuf};

use crate::compress::codec::{Expected, Measured};
use crate::error::Result;
use crate::image::{Blob, Image};
use crate::limits::Limits;
use crate::progress::Progress;
use crate::unpack::{Options, Report};

use super::pipeline::{self, Parents, Run, Unpacked};
use super::stack::Stack;
use super::{Store, Sync};

/// An image that is about to be unpacked into a store: see [`Store::unpack`].
#[derive(Clone, Debug)]
#[must_use = "nothing is unpacked until `run` is called"]
pub struct Unpack<'a> {
    store: &'a Store,
    image: &'a Image,
    options: Options,
    run: Run<'a>,
}

impl Store {
    /// Unpacks every layer of an image that the store does not have: all of them or, on an error, none.
    /// Without further choices it does so as [`Options::default`] says, on all cores, and returns when
    /// the layers are on disk.
    ///
    /// ```
    /// use lowerdir::{Image, Options, Reference, Store};
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doc_image.in"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let place = tempfile::tempdir()?;
    /// # let archive = place.path().join("image.tar");
    /// # doc_image(&archive)?;
    /// # let directory = place.path().join("store");
    ///
    /// let image = Image::open(&Reference::parse(&archive)?)?;
    /// let store = Store::open(&directory)?;
    /// // Root needs no options: the default keeps owners and writes `trusted.overlay.*`.
    /// let options = Options::rootless(store.path())?;
    /// let layers = store.unpack(&image).options(options).jobs(2).layers()?;
    ///
    /// assert_eq!(layers.len(), 2);
    /// assert!(layers[0].path.join("etc/motd").exists());
    /// assert_eq!(layers[1].record.report.deletions, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn unpack<'a>(&'a self, image: &'a Image) -> Unpack<'a> {
        Unpack {
            store: self,
            image,
            options: Options::default(),
            run: Run::default(),
        }
    }
}

/// In an `impl<'a>` block: the choices that a builder hands on to its [`Run`].
macro_rules! run_setters {
    () => {
        /// Cores to use, at least 1: see [`Run::jobs`].
        pub fn jobs(mut self, jobs: usize) -> Self {
            self.run = self.run.jobs(jobs);
            self
        }

        /// When a layer counts as written.
        pub fn sync(mut self, sync: Sync) -> Self {
            self.run = self.run.sync(sync);
            self
        }

        /// Reports progress to this, and asks it whether to stop.
        pub fn progress(mut self, progress: &'a dyn Progress) -> Self {
            self.run = self.run.progress(progress);
            self
        }

        /// What one layer may cost.
        pub fn limits(mut self, limits: Limits) -> Self {
            self.run = self.run.limits(limits);
            self
        }
    };
}

impl<'a> Unpack<'a> {
    /// How layers are translated. A layer that is in the store already must have been unpacked with the
    /// same options.
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    run_setters!();

    /// Unpacks the image, and returns the stack of its layers.
    ///
    /// Errors: more layers than one mount can have, or a layer over a limit
    /// ([`Kind::Limit`](crate::Kind::Limit)); a layer that cannot be translated exactly
    /// ([`Kind::Refused`](crate::Kind::Refused)) or is not what the image promised
    /// ([`Kind::Mismatch`](crate::Kind::Mismatch)), with its number and path; a layer whose blob is
    /// missing; a store that can only be read; what the system says.
    pub fn run(self) -> Result<Stack> {
        let (store, options) = (self.store, self.options.clone());
        let layers = self.layers()?;
        let directories = layers.into_iter().rev().map(|layer| layer.path);
        Stack::in_store(directories.collect(), &options, store)
    }

    /// Unpacks the image, and returns what was done for each layer, the lowest first. Errors: as of
    /// [`run`](Unpack::run).
    pub fn layers(self) -> Result<Vec<Unpacked>> {
        pipeline::unpack_image(self.image, self.store, &self.options, self.run)
    }
}

/// One layer that is about to be unpacked into a directory: see [`unpack_layer`].
#[derive(Clone, Debug)]
#[must_use = "nothing is unpacked until `run` is called"]
pub struct UnpackLayer<'a> {
    blob: &'a Blob,
    target: PathBuf,
    expected: Expected,
    parents: Parents,
    options: Options,
    run: Run<'a>,
}

/// Unpacks one layer, without a store, into a directory that is absent or empty. The directory is made
/// under another name and renamed when it is complete; on an error nothing is left.
///
/// With the layers [below](UnpackLayer::parents) it, the result is the same as in a store. Without
/// them, the directory gets the form that is right over any layers. What looks like the archive of a
/// whole image is refused, unless a digest was [expected](UnpackLayer::expected).
///
/// ```
/// use lowerdir::{Blob, Options, unpack_layer};
/// # let place = tempfile::tempdir()?;
/// # let directory = place.path().join("layer");
/// # let mut archive = tar::Builder::new(Vec::new());
/// # let mut header = tar::Header::new_gnu();
/// # header.set_size(0);
/// # archive.append_data(&mut header, "etc/.wh.motd", std::io::empty())?;
/// # let response = std::io::Cursor::new(archive.into_inner()?);
///
/// // A file, a pipe, the body of a response.
/// let blob = Blob::from_reader(response)?;
/// let (report, measured) = unpack_layer(&blob, &directory)
///     .options(Options::rootless(place.path())?)
///     .run()?;
///
/// assert_eq!(report.deletions, 1);
/// println!("{}", measured.diff_id);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn unpack_layer(blob: &Blob, target: impl AsRef<Path>) -> UnpackLayer<'_> {
    UnpackLayer {
        blob,
        target: target.as_ref().into(),
        expected: Expected::default(),
        parents: Parents::Unknown,
        options: Options::default(),
        run: Run::default(),
    }
}

impl<'a> UnpackLayer<'a> {
    /// There are no layers below: it is the lowest of its image.
    pub fn lowest(mut self) -> Self {
        self.parents = Parents::Known(Vec::new());
        self
    }

    /// The layer directories below, topmost first, as far as they are known.
    pub fn parents(mut self, parents: impl Into<Parents>) -> Self {
        self.parents = parents.into();
        self
    }

    /// What the blob must turn out to be.
    pub fn expected(mut self, expected: Expected) -> Self {
        self.expected = expected;
        self
    }

    /// How the layer is translated.
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    run_setters!();

    /// Unpacks the layer, and returns what was done, and what the blob turned out to be. Errors: as of
    /// [`Unpack::run`]; a target in the way, or within a layer below.
    pub fn run(self) -> Result<(Report, Measured)> {
        pipeline::unpack_layer(
            self.blob,
            &self.expected,
            &self.target,
            &self.parents,
            &self.options,
            self.run,
        )
    }
}
