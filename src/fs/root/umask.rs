//! The umask of a thread, so that a file gets its mode when it is made.

use nix::sched::CloneFlags;
use rustix::fs::Mode;

/// Gives the calling thread a umask of its own, which is 0, and with it a current directory of its
/// own. Only for a thread that ends with the work it was made for. False if the system denies it:
/// then a mode must be set after the file is made.
pub fn clear_umask() -> bool {
    // Without this the umask would be that of the whole process.
    let is_own = nix::sched::unshare(CloneFlags::CLONE_FS).is_ok();
    if is_own {
        rustix::process::umask(Mode::empty());
    }
    is_own
}
