//! The ids in a POSIX ACL, as `system.posix_acl_*` has it.
//!
//! Source: the kernel's `include/uapi/linux/posix_acl_xattr.h`: a version, then for each entry a tag, its
//! permissions and an id, all little-endian.

use crate::error::Result;

use super::{IdMaps, Side};

const VERSION: [u8; 4] = 2u32.to_le_bytes();
const ENTRY: usize = 8;
const USER: u16 = 0x02;
const GROUP: u16 = 0x08;

/// The value with the ids of users and groups mapped; `None` if this is no ACL, which the kernel refuses.
pub(super) fn map(value: &[u8], maps: &IdMaps, to: Side) -> Result<Option<Vec<u8>>> {
    let Some(entries) = value.strip_prefix(&VERSION) else {
        return Ok(None);
    };
    if entries.len() % ENTRY != 0 {
        return Ok(None);
    }
    let mut mapped = VERSION.to_vec();
    for entry in entries.as_chunks::<ENTRY>().0 {
        let [tag_low, tag_high, _, _, id @ ..] = *entry;
        let id = u32::from_le_bytes(id);
        let id = match u16::from_le_bytes([tag_low, tag_high]) {
            USER => maps.uids.need(id, "user of an ACL", to)?,
            GROUP => maps.gids.need(id, "group of an ACL", to)?,
            // The owner, the owning group, the mask and others have no id of their own.
            _ => id,
        };
        mapped.extend_from_slice(&entry[..4]);
        mapped.extend_from_slice(&id.to_le_bytes());
    }
    Ok(Some(mapped))
}
