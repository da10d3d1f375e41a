//! Where the directories of a layer are in the layers below. Pure but for what [`Lower`] does.

use crate::error::Result;

use super::below::{Below, PlaceId};
use super::lower::Lower;
use super::tree::Tree;

/// The place of each directory that the layer ever had, by its number: `None` where the layers below
/// have no directory, and no marker stands.
///
/// Errors: the system's.
pub fn places<L: Lower>(tree: &Tree, below: &Below<L>) -> Result<Vec<Option<PlaceId>>> {
    let mut places: Vec<Option<PlaceId>> = Vec::new();
    for (directory, node) in tree.directories_ever() {
        let place = if directory == Tree::ROOT {
            Some(Below::<L>::ROOT)
        } else if let Some(parent) = places[node.parent.index()] {
            below.place(parent, &node.name)?
        } else {
            None
        };
        places.push(place);
    }
    Ok(places)
}
