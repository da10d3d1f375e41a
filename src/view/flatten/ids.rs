//! Maps the image's ids in a tree to the host's.

use crate::error::Result;
use crate::ids::IdMaps;
use crate::view::ImageTree;

/// Maps the ids of each inode of a tree, once. Errors ([`Kind::Refused`](crate::Kind::Refused)): an id that
/// is in no range, with its path; the tree is then invalid.
pub fn map_ids(tree: &mut ImageTree, ids: &IdMaps) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    for item in tree.walk() {
        let mapped = ids.map(&mut item.inode.meta.clone());
        mapped.map_err(|error| error.at_entry(&item.path))?;
    }
    // Inodes without a name do not count.
    tree.for_each_meta(|meta| drop(ids.map(meta)));
    Ok(())
}
