//! The ACLs that a new directory inherits from its parent.

use std::io;

use rustix::io::Errno;

use super::Dir;

impl Dir {
    /// Removes them: they are not the image's, and everything created inside would inherit them.
    pub fn remove_acls(&self) -> io::Result<()> {
        for acl in ["system.posix_acl_default", "system.posix_acl_access"] {
            match rustix::fs::fremovexattr(self, acl) {
                Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}
