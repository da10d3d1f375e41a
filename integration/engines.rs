//! Engines of other suites of Debian, beside those of this system. `install-engines.sh` fetched them;
//! each runs with its own `/usr` on top of the system's, in a mount namespace, and sees all other paths
//! as they are.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::Command;

/// crun takes no hierarchy beside those of version 1; runc needs none.
const ENTER: &str = "[ -z \"$0\" ] || mount -t overlay overlay -o \"lowerdir=$0/usr:/usr\" /usr
     ! mountpoint -q /sys/fs/cgroup/unified || umount -l /sys/fs/cgroup/unified
     exec \"$@\"";

const INSTALLED: &str = "this system";

/// The engines of a suite.
#[derive(Clone, Debug)]
pub struct Engines {
    /// Empty for this system.
    root: PathBuf,
}

impl Engines {
    /// Those of this system.
    pub fn installed() -> Engines {
        Engines {
            root: PathBuf::new(),
        }
    }

    /// Those that were fetched of a suite. `None`, with a word why, if there are none.
    pub fn of(suite: &str) -> Option<Engines> {
        let all = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/engines");
        // It is written last.
        if !all.join(format!("{suite}.packages")).exists() {
            crate::skip(&format!(
                "there are no engines of {suite}: see install-engines.sh"
            ));
            return None;
        }
        Some(Engines {
            root: all.join(suite),
        })
    }

    /// What comes before a command that is to have them.
    pub fn words(&self) -> Vec<OsString> {
        let mut words = ["unshare", "--mount", "sh", "-ec", ENTER]
            .map(OsString::from)
            .to_vec();
        words.push(self.root.clone().into());
        words
    }

    /// A command that has them.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let words = self.words();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(program);
        command
    }
}

/// An OCI runtime.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// Where it comes from, and its name.
    pub label: String,
    pub engines: Engines,
    pub program: &'static str,
}

impl Runtime {
    /// One of this system.
    pub fn installed(program: &'static str) -> Runtime {
        Runtime {
            label: format!("{program} of {INSTALLED}"),
            engines: Engines::installed(),
            program,
        }
    }
}

/// runc from 1.1 on and crun from 1.8 on, as far as they are there.
pub fn runtimes() -> Vec<Runtime> {
    let suites = [
        (INSTALLED, &["runc", "crun"][..]),
        ("trixie", &["runc", "crun"]),
        ("sid", &["runc", "crun"]),
        ("experimental", &["runc"]),
    ];
    let mut found = Vec::new();
    for (suite, programs) in suites {
        let engines = match suite {
            INSTALLED => Some(Engines::installed()),
            suite => Engines::of(suite),
        };
        for &program in programs {
            found.extend(engines.clone().map(|engines| Runtime {
                label: format!("{program} of {suite}"),
                engines,
                program,
            }));
        }
    }
    found
}
