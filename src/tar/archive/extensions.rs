//! The extension headers of an entry: PAX records, GNU long names. Pure.

use super::pax::Pax;

/// The extension headers that come before the header of a member.
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
