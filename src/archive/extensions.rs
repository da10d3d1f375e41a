//! What stands before an entry's own header: PAX records, GNU long names. Pure.

use crate::error::{Error, Result};

use super::pax::Pax;

/// The most that one extension header (PAX, GNU long name) may hold, in bytes: it is read into
/// memory before anything can be known about it.
const MAX_EXTENSION: u64 = 1 << 20;

/// The extension headers that were read before a member's own.
#[derive(Default)]
pub struct Extensions {
    pub pax: Option<Pax>,
    pub long_name: Option<Vec<u8>>,
    pub long_link: Option<Vec<u8>>,
}

impl Extensions {
    pub fn is_empty(&self) -> bool {
        self.pax.is_none() && self.long_name.is_none() && self.long_link.is_none()
    }
}

/// Whether a header of so many bytes may be read into memory.
pub fn check_size(size: u64) -> Result<()> {
    if size > MAX_EXTENSION {
        let what = format!("an extension header of {size} bytes; the limit is {MAX_EXTENSION}");
        return Err(Error::limit(what));
    }
    Ok(())
}
