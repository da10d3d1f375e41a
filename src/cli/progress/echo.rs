//! While bars are drawn, the terminal does not show that Ctrl-C was pressed: `^C` would move the cursor, and
//! what is cleared then would be the wrong line.

use std::io;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

/// Until it is dropped, control characters are not echoed.
pub struct NoEcho(Termios);

impl NoEcho {
    /// `None` where standard error is no terminal, or that of other processes.
    pub fn start() -> Option<NoEcho> {
        if !is_ours() {
            return None;
        }
        let before = tcgetattr(io::stderr()).ok()?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHOCTL);
        tcsetattr(io::stderr(), OptionalActions::Now, &quiet).ok()?;
        Some(NoEcho(before))
    }
}

impl Drop for NoEcho {
    fn drop(&mut self) {
        if is_ours() {
            // If this fails, the terminal is gone.
            let _ = tcsetattr(io::stderr(), OptionalActions::Now, &self.0);
        }
    }
}

/// A process in the background that changes its terminal is stopped.
fn is_ours() -> bool {
    tcgetpgrp(io::stderr()).is_ok_and(|group| group == rustix::process::getpgrp())
}
