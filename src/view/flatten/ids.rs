//! A tree with the ids of the host in the place of the image's.

use crate::error::Result;
use crate::ids::IdMaps;
use crate::view::Tree;

/// Maps what each inode of a tree carries, once. Errors ([`Kind::Refused`](crate::Kind::Refused)): an id
/// that no range has, with the path that has it; the tree is of no use then.
pub fn map_ids(tree: &mut Tree, ids: &IdMaps) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    for item in tree.walk() {
        let mapped = ids.map(&mut item.inode.meta.clone());
        mapped.map_err(|error| error.at_entry(&item.path))?;
    }
    // No name leads to some inodes any more: whatever they carry does not count.
    tree.for_each_meta(|meta| drop(ids.map(meta)));
    Ok(())
}
