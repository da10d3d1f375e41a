//! `Journal`: what the next run must know if this one is killed, in xattrs of the tree.

use std::io;

use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::meta::Time;
use crate::root::{self, Dir};

use super::Options;

/// How far a conversion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Xattrs of the image are set aside; no mark was touched.
    SetAside,
    /// Marks are rewritten.
    Marks,
    /// Xattrs of the image get their new names.
    TakeBack,
}

/// The journal of one conversion.
pub struct Journal {
    /// `trusted.lowerdir.`, or `user.lowerdir.`.
    prefix: &'static str,
    what: String,
    phase: Phase,
    resumed: bool,
}

const PREFIXES: [&str; 2] = ["trusted.lowerdir.", "user.lowerdir."];

impl Journal {
    /// Looks for an earlier run's. Errors: that one converted to something else.
    pub fn open(top: &Dir, options: &Options) -> Result<Journal> {
        let what = format!("{} to {}", options.from, options.to);
        let is_root = rustix::process::geteuid().is_root();
        let mut journal = Journal {
            prefix: PREFIXES[usize::from(!is_root)],
            what,
            phase: Phase::SetAside,
            resumed: false,
        };
        for prefix in PREFIXES {
            let found = top
                .short_xattr(b".", &format!("{prefix}convert"))
                .map_err(|error| Error::system("looking for an earlier run", error))?;
            if let Some(found) = found {
                journal.resume(prefix, &found)?;
                break;
            }
        }
        Ok(journal)
    }

    fn resume(&mut self, prefix: &'static str, found: &[u8]) -> Result<()> {
        let found = String::from_utf8_lossy(found);
        let (what, phase) = found.rsplit_once(": ").unwrap_or((&found, ""));
        if what != self.what {
            let what = what.escape_debug();
            return Err(Error::refused(format!(
                "an interrupted conversion, from {what}, was not finished"
            ))
            .hint("finish that one first: --from and --to as it says"));
        }
        self.prefix = prefix;
        self.resumed = true;
        self.phase = match phase {
            "marks" => Phase::Marks,
            "take back" => Phase::TakeBack,
            _ => Phase::SetAside,
        };
        Ok(())
    }

    /// Whether there was one.
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// How far it is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Writes down that a phase begins.
    pub fn enter(&mut self, top: &Dir, phase: Phase) -> Result<()> {
        self.phase = phase;
        let phase = match phase {
            Phase::SetAside => "set aside",
            Phase::Marks => "marks",
            Phase::TakeBack => "take back",
        };
        let text = format!("{}: {phase}", self.what);
        top.set_xattr(b".", self.name("convert").as_bytes(), text.as_bytes())
            .map_err(|error| {
                Error::system("writing down what is being done", error).hint(
                    "it needs a file system with xattrs, and without root one's own directory",
                )
            })
    }

    /// All is done.
    pub fn close(&self, top: &Dir) -> Result<()> {
        top.remove_xattr(b".", self.name("convert").as_bytes())
            .map_err(|error| Error::system("removing what was written down", error))
    }

    /// Writes down the time of a directory, before anything in it is changed; once.
    pub fn keep_time(&self, directory: &Dir) -> io::Result<()> {
        let name = self.name("mtime");
        if directory.short_xattr(b".", &name)?.is_some() {
            return Ok(());
        }
        let Time {
            seconds,
            nanoseconds,
        } = root::mtime(&directory.stat_self()?);
        let text = format!("{seconds} {nanoseconds}");
        directory.set_xattr(b".", name.as_bytes(), text.as_bytes())
    }

    /// Gives a directory its time back, if it was written down.
    pub fn restore_time(&self, directory: &Dir) -> io::Result<()> {
        let name = self.name("mtime");
        let Some(text) = directory.short_xattr(b".", &name)? else {
            return Ok(());
        };
        if let Some(time) = parse_time(&text) {
            root::set_times(directory, time)?;
        }
        directory.remove_xattr(b".", name.as_bytes())
    }

    fn name(&self, what: &str) -> String {
        format!("{}{what}", self.prefix)
    }
}

fn parse_time(text: &[u8]) -> Option<Time> {
    let (seconds, nanoseconds) = std::str::from_utf8(text).ok()?.split_once(' ')?;
    let nanoseconds = nanoseconds.parse().ok().filter(|n| *n < 1_000_000_000)?;
    Some(Time {
        seconds: seconds.parse().ok()?,
        nanoseconds,
    })
}

/// Whether a file system has no xattrs at all.
pub fn has_no_xattrs(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error())
}
