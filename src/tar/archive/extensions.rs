//! What stands before an entry's own header: PAX records, GNU long names. Pure.

use super::pax::Pax;

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
