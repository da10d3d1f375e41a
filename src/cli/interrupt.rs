//! Ctrl-C, SIGTERM and SIGHUP: the first one stops the work and cleans up, the second one kills.
//! Signals that were ignored at the start, by `nohup` or a shell's `&`, stay ignored.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;

static RECEIVED: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// Installs the handlers, once. Until then a signal kills at once, which is right while there is nothing
/// to clean up.
pub fn listen() -> io::Result<()> {
    if RECEIVED.get().is_some() {
        return Ok(());
    }
    let received = RECEIVED.get_or_init(Arc::default);
    let ignored = ignored()?;
    let is_ignored = |signal: &i32| ignored & (1 << (signal - 1)) != 0;
    let heard = [SIGINT, SIGTERM, SIGHUP];
    for signal in heard.into_iter().filter(|signal| !is_ignored(signal)) {
        let again = Arc::new(AtomicBool::new(false));
        // In this order: the second signal finds the flag that the first one set.
        flag::register_conditional_default(signal, Arc::clone(&again))?;
        flag::register(signal, again)?;
        let number = signal.try_into().expect("signals are small");
        flag::register_usize(signal, Arc::clone(received), number)?;
    }
    Ok(())
}

/// The ignored signals, one bit each (`proc_pid_status(5)`, "SigIgn").
fn ignored() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    Ok(mask.unwrap_or_default())
}

/// Ignores SIGXFSZ: writing beyond `ulimit -f` becomes an error of write(2) instead of killing the
/// process.
pub fn survive_file_limits() -> io::Result<()> {
    flag::register(SIGXFSZ, Arc::default()).map(drop)
}

/// The signal that came, if one did.
pub fn received() -> Option<i32> {
    let number = RECEIVED.get()?.load(Ordering::Relaxed);
    (number != 0).then(|| i32::try_from(number).expect("signals are small"))
}

/// Ends the process by the signal, so that its parent sees the true cause.
pub fn die(signal: i32) {
    // If this fails, the process ends with its exit status instead.
    let _ = signal_hook::low_level::emulate_default_handler(signal);
}
