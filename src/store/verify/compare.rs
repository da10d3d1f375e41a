//! One layer and its listing, side by side, in the order of paths.

use std::cmp::Ordering;
use std::io;

use crate::error::Error;
use crate::path::EntryPath;
use crate::progress::Progress;
use crate::store::StoredLayer;
use crate::store::listing::{Reader, Walk};

use super::differences::differences;
use super::{Difference, found};

/// How layers are compared.
#[derive(Clone, Copy)]
pub struct Comparing<'a> {
    /// Without what files hold.
    pub quick: bool,
    /// Of the layer, as progress is told.
    pub number: usize,
    pub progress: &'a dyn Progress,
}

/// Why a comparison says nothing of paths.
pub enum Stop {
    /// The listing is damaged.
    Listing(String),
    /// Cancelled, or the system could not look.
    Failed(Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        let error = Error::reading("reading it", error);
        match found(error, Error::reason) {
            Ok(what) => Stop::Listing(what),
            Err(error) => Stop::Failed(error),
        }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

/// Every difference between a layer and its listing.
pub fn compare(
    stored: &StoredLayer,
    mut listing: Reader,
    how: Comparing<'_>,
) -> Result<Vec<Difference>, Stop> {
    let mut changes = Vec::new();
    let mut walk = match stored.directory.open_beneath(&EntryPath::root()) {
        Ok(directory) => Walk::of_disk(directory, stored.record.options.selinux),
        Err(error) => {
            let error = Error::system("opening the layer's directory", error);
            return Ok(vec![found(error, Difference::unreadable)?]);
        }
    };
    let (mut listed, mut next) = (listing.next_node()?, walk.next_name());
    loop {
        if how.progress.is_cancelled() {
            return Err(Error::cancelled().into());
        }
        let is = match &next {
            Ok(is) => is,
            Err(_) => {
                // What comes behind it is not known.
                let error = next.expect_err("just looked at");
                changes.push(found(error, Difference::unreadable)?);
                return Ok(changes);
            }
        };
        let order = match (&listed, is) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(was), Some(is)) => was.path.cmp(&is.path),
        };
        match (&listed, is) {
            (Some(was), _) if order == Ordering::Less => {
                changes.push(Difference::at(&was.path, "is missing"));
            }
            (_, Some(is)) if order == Ordering::Greater => {
                changes.push(Difference::at(&is.path, "was added"));
            }
            (Some(was), Some(is)) => {
                let differences = differences(was, is, &mut walk, how)?;
                changes.extend(
                    differences
                        .into_iter()
                        .map(|what| Difference::at(&is.path, what)),
                );
            }
            _ => {}
        }
        if order != Ordering::Less {
            next = walk.next_name();
        }
        if order != Ordering::Greater {
            listed = listing.next_node()?;
        }
    }
    if listing.digest().to_string() != stored.record.tree {
        let what = "it is not the listing that layer.json names";
        return Err(Stop::Listing(what.into()));
    }
    Ok(changes)
}
