//! `Ids`: which ids an upperdir has on disk, and which of the image they stand for.

use std::path::Path;

use crate::error::{Advice, Error, Hint, Result};
use crate::fs::root::Dir;
use crate::ids::IdMaps;
use crate::meta::Meta;
use crate::overlay::overlays::UpperRecord;

use super::PackOptions;

/// The maps back to the ids of the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// Of what is in the upperdir.
    pub upper: IdMaps,
    /// Of what is in the directories below.
    pub lower: IdMaps,
    /// Whether the upperdir itself says so, which [`MountBuilder`](crate::mount::MountBuilder) wrote into it.
    pub is_recorded: bool,
}

impl Ids {
    /// Those with which an upperdir will be packed. Errors: the options contradict what it was mounted
    /// with.
    pub fn of(upper: &Path, options: &PackOptions) -> Result<Ids> {
        Ids::of_directory(&super::open(upper)?, options)
    }

    pub(super) fn of_directory(upper: &Dir, options: &PackOptions) -> Result<Ids> {
        let recorded = UpperRecord::read_or_refuse(upper, options.namespace);
        let hint = "give --userxattr for such a mount, and no other; an xattr that is not from a mount goes \
                    with `setfattr -x`";
        let recorded = recorded.map_err(|error| error.hint(hint))?;
        let given = UpperRecord {
            ids: options.ids.clone(),
            is_idmapped: options.is_idmapped,
        };
        let is_contradicted =
            |record: &UpperRecord| !given.ids.is_empty() && record.ids != given.ids;
        if recorded.as_ref().is_some_and(is_contradicted) {
            let text = "it was mounted with other id maps than those that are given";
            return Err(Error::conflict(text).hint(Advice::RecordedIds));
        }
        let is_recorded = recorded.is_some();
        let record = recorded.unwrap_or(given);
        Ok(Ids {
            lower: match record.is_idmapped {
                true => IdMaps::default(),
                false => record.ids.clone(),
            },
            upper: record.ids,
            is_recorded,
        })
    }

    pub(super) fn map_upper(&self, meta: &mut Meta) -> Result<()> {
        self.back(&self.upper, meta)
    }

    pub(super) fn map_lower(&self, meta: &mut Meta) -> Result<()> {
        self.back(&self.lower, meta)
    }

    fn back(&self, maps: &IdMaps, meta: &mut Meta) -> Result<()> {
        maps.map_back(meta).map_err(|error| {
            error.hint(match self.is_recorded {
                true => Hint::from(
                    "no one in the container has it: give the file an owner that the maps have",
                ),
                false => Advice::MoreIdMaps.into(),
            })
        })
    }
}
