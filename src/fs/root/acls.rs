//! The ACLs that a directory gets from the one around it when it is made.

use std::io;

use rustix::io::Errno;

use super::Dir;

impl Dir {
    /// Removes them: they are not the image's, and would go on to everything made in it.
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
