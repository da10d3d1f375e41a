//! Comparing the layers of a store with what was written down when they were unpacked, and
//! unpacking the damaged ones again.
//!
//! The command line's `verify` calls it. It reads every file, unless it is asked to be quick, and
//! writes nothing; [`repair`] replaces whole layers, and touches no file of one.

mod compare;
mod differences;

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::digest::{Digest, chain_id};
use crate::error::{Advice, Error, Result};
use crate::image::Image;
use crate::path::EntryPath;
use crate::progress::Progress;
use crate::store::gc::InUse;
use crate::store::listing::Reader;
use crate::store::pipeline::{Run, Unpacked, unpack_missing};
use crate::store::{Record, Store, StoreLock};
use crate::unpack::Options;

use compare::{Comparing, Stop, compare};

/// What is wrong with a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Discrepancy {
    /// The store that has it, of several.
    pub store: PathBuf,
    /// The path in the layer, escaped; `None` if it is about the layer as a whole.
    pub path: Option<String>,
    /// What is not as it was: `mode is 0600, was 0644`.
    pub what: String,
}

/// A [`Discrepancy`] of the layer of some store.
struct Difference {
    path: Option<String>,
    what: String,
}

impl Difference {
    fn of_layer(what: impl Into<String>) -> Difference {
        let (path, what) = (None, what.into());
        Difference { path, what }
    }

    fn at(path: &EntryPath, what: impl Into<String>) -> Difference {
        let (path, what) = (Some(path.to_string()), what.into());
        Difference { path, what }
    }

    /// Of a layer that cannot be read.
    fn of_error(error: &Error) -> Difference {
        Difference::of_layer(error.reason())
    }

    /// Where something cannot be read.
    fn unreadable(error: &Error) -> Difference {
        let (path, what) = (error.entry().map(String::from), error.reason());
        Difference { path, what }
    }

    fn in_store(self, store: &Store) -> Discrepancy {
        let Difference { path, what } = self;
        let store = store.path().into();
        Discrepancy { store, path, what }
    }
}

/// What an error says of a layer. Errors: it says nothing of it, because the system could not look.
fn found<T>(error: Error, say: impl FnOnce(&Error) -> T) -> Result<T> {
    match error.is_system_fault() {
        true => Err(error),
        false => Ok(say(&error)),
    }
}

/// Looks at layers of a store, from which nothing is removed meanwhile.
///
/// ```
/// use lowerdir::store::Verifier;
/// use lowerdir::{Image, Options, Reference, Silent, Store};
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doc_image.in"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let place = tempfile::tempdir()?;
/// # let archive = place.path().join("image.tar");
/// # doc_image(&archive)?;
/// # let directory = place.path().join("store");
/// # let options = Options::rootless(place.path())?;
/// # let image = Image::open(&Reference::parse(&archive)?)?;
/// # let store = Store::open(&directory)?;
/// # let layers = store.unpack(&image).options(options).layers()?;
///
/// let lowest = &image.chain_ids()[0];
/// let verifier = Verifier::new(&store, &Silent)?;
/// assert!(verifier.layer(0, "1", lowest)?.is_empty());
///
/// std::fs::remove_file(layers[0].path.join("etc/motd"))?;
/// let changes = verifier.layer(0, "1", lowest)?;
/// let motd = changes.iter().find(|change| change.path.as_deref() == Some("etc/motd"));
/// assert_eq!(motd.map(|change| &*change.what), Some("is missing"));
/// # Ok(())
/// # }
/// ```
pub struct Verifier<'a> {
    store: &'a Store,
    quick: bool,
    progress: &'a dyn Progress,
    _lock: StoreLock,
}

impl<'a> Verifier<'a> {
    /// Compares everything. Waits for a removal in progress. Errors: cancelled.
    pub fn new(store: &'a Store, progress: &'a dyn Progress) -> Result<Verifier<'a>> {
        Verifier::start(store, false, progress)
    }

    /// Compares everything but the content of files. Errors: as of [`Verifier::new`].
    pub fn quick(store: &'a Store, progress: &'a dyn Progress) -> Result<Verifier<'a>> {
        Verifier::start(store, true, progress)
    }

    fn start(store: &'a Store, quick: bool, progress: &'a dyn Progress) -> Result<Verifier<'a>> {
        // Without root, looking may mean changing modes, which no other process should see.
        let hold = match rustix::process::geteuid().is_root() {
            true => store.lock_shared(progress)?,
            false => store.lock_all_exclusive(progress)?,
        };
        Ok(Verifier {
            store,
            quick,
            progress,
            _lock: hold,
        })
    }

    /// Compares a layer with its record and its listing, in each store that has it, and returns
    /// every difference, in the order of paths. The number and the label are those that progress is
    /// told.
    ///
    /// Errors: cancelled; the system could not look, which proves no damage. What is damaged, or not
    /// there, is a difference.
    pub fn layer(&self, number: usize, label: &str, chain_id: &Digest) -> Result<Vec<Discrepancy>> {
        let (mut changes, mut is_there) = (Vec::new(), false);
        for store in self.store.each() {
            if let Some(differences) = self.compare(store, number, label, chain_id)? {
                is_there = true;
                let of_store = |difference: Difference| difference.in_store(store);
                changes.extend(differences.into_iter().map(of_store));
            }
        }
        if !is_there {
            changes.push(Difference::of_layer("not in the store").in_store(self.store));
        }
        if self.progress.is_cancelled() {
            return Err(Error::cancelled());
        }
        self.progress.verified(number, label, changes.len());
        Ok(changes)
    }

    /// `None` if a store does not have the layer.
    fn compare(
        &self,
        store: &Store,
        number: usize,
        label: &str,
        chain_id: &Digest,
    ) -> Result<Option<Vec<Difference>>> {
        let stored = match store.own_layer(chain_id) {
            Ok(Some(stored)) => stored,
            Ok(None) => return Ok(None),
            Err(error) => return Ok(Some(vec![found(error, Difference::of_error)?])),
        };
        if let Some(what) = contradiction(&stored.record, chain_id) {
            let difference = Difference::of_layer(format!("layer.json: {what}"));
            return Ok(Some(vec![difference]));
        }
        if !self.quick {
            self.progress
                .begins(number, label, stored.record.report.bytes);
        }
        let how = Comparing {
            quick: self.quick,
            number,
            progress: self.progress,
        };
        let listing = store.listing(chain_id).and_then(Reader::new);
        let compared = listing
            .map_err(Stop::from)
            .and_then(|listing| compare(&stored, listing, how));
        match compared {
            Ok(differences) => Ok(Some(differences)),
            Err(Stop::Listing(what)) => {
                let difference = Difference::of_layer(format!("tree.zst: {what}"));
                Ok(Some(vec![difference]))
            }
            Err(Stop::Failed(error)) => Err(store.told(error.in_layer(label))),
        }
    }
}

/// What is wrong with a record by itself.
fn contradiction(record: &Record, wanted: &Digest) -> Option<String> {
    let digests = || -> Result<Digest> {
        let parent = record.parent.as_deref().map(Digest::parse).transpose()?;
        Ok(chain_id(parent.as_ref(), &Digest::parse(&record.diff_id)?))
    };
    match digests() {
        Err(error) => Some(error.to_string()),
        Ok(computed) if computed != *wanted || record.chain_id != wanted.to_string() => {
            Some(format!("it is of layer {}", record.chain_id))
        }
        Ok(_) => None,
    }
}

/// Unpacks the `damaged` layers of an image again (counted from 0), and puts them in the place of
/// those that are there, once all are verified and on disk. Stores that are only read stay as they
/// are.
///
/// Errors: as of [`Unpack::run`](crate::Unpack::run); a damaged layer is part of a mount, which would lose it.
///
/// ```
/// # use std::collections::BTreeSet;
/// use lowerdir::store::repair;
/// use lowerdir::{Image, Options, Reference, Run, Store};
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doc_image.in"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let place = tempfile::tempdir()?;
/// # let archive = place.path().join("image.tar");
/// # doc_image(&archive)?;
/// # let directory = place.path().join("store");
/// # let options = Options::rootless(place.path())?;
/// # let image = Image::open(&Reference::parse(&archive)?)?;
/// # let store = Store::open(&directory)?;
/// # let layers = store.unpack(&image).options(options).layers()?;
///
/// std::fs::remove_file(layers[0].path.join("etc/motd"))?;
/// repair(&image, &store, &BTreeSet::from([0]), Run::default())?;
/// assert!(layers[0].path.join("etc/motd").exists());
/// # Ok(())
/// # }
/// ```
pub fn repair(
    image: &Image,
    store: &Store,
    damaged: &BTreeSet<usize>,
    run: Run<'_>,
) -> Result<Vec<Unpacked>> {
    store.check_writable()?;
    let alone = store.lock_exclusive(run.progress)?;
    let chain = image.chain_ids();
    let in_use = InUse::now(store)?;
    for &index in damaged {
        if let Some(mount) = in_use.of(&chain[index]) {
            let text = format!("it is in use by {mount}, which would lose it");
            return Err(Error::conflict(text)
                .in_layer(image.layers[index].label())
                .hint(Advice::UnmountFirst));
        }
    }
    let options = options_of(&chain, store)?;
    unpack_missing(image, store, &options, run, damaged, &alone).map_err(|error| store.told(error))
}

/// All layers of a chain are translated with the same options: any of them that can be read tells,
/// and so does any image that has them.
fn options_of(chain: &[Digest], store: &Store) -> Result<Options> {
    for layer in chain {
        match store.layer(layer) {
            Ok(Some(stored)) => return Ok(stored.record.options),
            Ok(None) => {}
            Err(error) => found(error, |_| ())?,
        }
    }
    for digest in store.image_digests()? {
        match store.image(&digest) {
            Ok(image) if image.layers.iter().any(|layer| chain.contains(layer)) => {
                return Ok(image.options);
            }
            Ok(_) => {}
            Err(error) => found(error, |_| ())?,
        }
    }
    Ok(Options::default())
}
