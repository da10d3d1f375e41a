//! The umask of a thread, so that a file gets its mode when it is created.

use nix::sched::CloneFlags;
use rustix::fs::Mode;

/// Gives the calling thread its own umask, 0, and with it its own current directory. Only for a thread that
/// ends with its work. False if the system denies it: then the mode must be set after the file is created.
pub fn clear_umask() -> bool {
    // Otherwise this would set the umask of the whole process.
    let is_own = nix::sched::unshare(CloneFlags::CLONE_FS).is_ok();
    if is_own {
        rustix::process::umask(Mode::empty());
    }
    is_own
}
