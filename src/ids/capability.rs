//! The root user of file capabilities: root of another user namespace does not get them.
//!
//! Source: the kernel's `include/uapi/linux/capability.h`, `struct vfs_ns_cap_data`, and
//! `security/commoncap.c`. Version 2 means the first user namespace's root, version 3 has its id at the
//! end. What a container was to have as its root's must become version 3.

use crate::error::Result;

use super::{IdMaps, Side};

const REVISIONS: u32 = 0xff00_0000;
const V2: (u32, usize) = (0x0200_0000, 20);
const V3: (u32, usize) = (0x0300_0000, 24);

/// The value for the mapped root; `None` if this is neither version, or stays as it is.
pub(super) fn map(value: &[u8], maps: &IdMaps, to: Side) -> Result<Option<Vec<u8>>> {
    let Some((magic, rest)) = value.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let magic = u32::from_le_bytes(*magic);
    let (sets, root) = match (magic & REVISIONS, value.len()) {
        V2 => (rest, 0),
        V3 => match rest.split_last_chunk::<4>() {
            Some((sets, root)) => (sets, u32::from_le_bytes(*root)),
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    let flags = magic & !REVISIONS;
    Ok(Some(
        match maps
            .uids
            .need(root, "user that is root of a capability,", to)?
        {
            // The kernel shows it so.
            0 => [&(V2.0 | flags).to_le_bytes(), sets].concat(),
            root => [&(V3.0 | flags).to_le_bytes()[..], sets, &root.to_le_bytes()].concat(),
        },
    ))
}
