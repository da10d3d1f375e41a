//! A program that gets no more threads than the system is told to grant it (`ulimit -u`): its processes
//! are counted by themselves, as those of a user that nobody else is, or of a user namespace.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program;

/// A copy of a program, in a directory that its user owns.
pub struct Granted {
    program: PathBuf,
    /// Of its own if the tests run as root, whom no limit binds.
    user: Option<u32>,
}

impl Granted {
    /// Copies a program into a directory of the test's, and gives that away. `None`, with the reason,
    /// where its processes cannot be counted.
    pub fn new(program: impl AsRef<Path>, directory: &Path) -> Option<Granted> {
        let copy = directory.join("program");
        fs::copy(program, &copy).expect("the program is there");
        let is_root = fs::metadata(&copy).expect("it is there").uid() == 0;
        let granted = Granted {
            program: copy,
            user: is_root.then(|| 1_000_000 + std::process::id()),
        };
        granted.give_away(directory);
        let probe = granted.command(0).arg("--version").output();
        if probe.is_ok_and(|probe| probe.status.success()) {
            return Some(granted);
        }
        crate::skip::skip("the threads of a process cannot be limited: no user namespaces");
        None
    }

    /// Makes all that is in a directory the program's.
    pub fn give_away(&self, directory: &Path) {
        if let Some(user) = self.user {
            let owner = format!("{user}:{user}");
            let mut command = Command::new("chown");
            let done = command.args(["-R", &owner]).arg(directory).status();
            assert!(done.expect("it is there").success());
        }
    }

    /// The program, with no more than so many threads besides its first.
    pub fn command(&self, threads: usize) -> Command {
        let mut words: Vec<String> = match self.user {
            Some(user) => vec![
                "setpriv".into(),
                format!("--reuid={user}"),
                format!("--regid={user}"),
                "--clear-groups".into(),
            ],
            None => vec!["unshare".into(), "--map-root-user".into()],
        };
        words.extend(["prlimit".into(), format!("--nproc={}", threads + 1)]);
        let mut command = program::other(&words[0]);
        command.args(&words[1..]).arg(&self.program);
        command
    }
}
