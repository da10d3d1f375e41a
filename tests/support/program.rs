//! Our programs as cargo built them, and what a run of one brought.
//!
//! Signals, the umask and limits are those of the test process, which sets them when it starts (see
//! [`start`](crate::start)); variables, the standard input and the locale are set here.

use std::ffi::OsStr;
use std::fmt;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// Where cargo put `lowerdir` and, with its feature, `lowerdir-snapshotter`.
static PATHS: OnceLock<[Option<&'static str>; 2]> = OnceLock::new();

/// Called by [`start!`](crate::start!) with what cargo says when it compiles a test target.
pub fn set_paths(lowerdir: Option<&'static str>, snapshotter: Option<&'static str>) {
    PATHS.get_or_init(|| [lowerdir, snapshotter]);
}

fn path_of(number: usize) -> &'static str {
    let paths = PATHS.get().expect("the target calls support::start!");
    paths[number].expect("cargo built the program for this target")
}

/// The path of `lowerdir`.
pub fn path() -> &'static str {
    path_of(0)
}

/// The path of `lowerdir-snapshotter`.
pub fn snapshotter_path() -> &'static str {
    path_of(1)
}

/// `lowerdir`.
pub fn lowerdir() -> Command {
    other(path())
}

/// `lowerdir-snapshotter`.
pub fn snapshotter() -> Command {
    other(snapshotter_path())
}

/// A script, whose `$0` is `lowerdir`.
pub fn shell(script: impl AsRef<OsStr>) -> Command {
    let mut command = other("sh");
    command.arg("-c").arg(script).arg(path());
    command
}

/// Any program that is going to run ours, with the same environment and nothing on its standard input.
/// There is no HOME, so that no test finds the store of the user who runs it.
pub fn other(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("TMPDIR", std::env::temp_dir())
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .stdin(Stdio::null());
    command
}

/// What a run printed, and how it ended.
pub struct Run {
    command: String,
    /// The exit status, or the number of the signal that ended it, negated.
    pub status: i32,
    /// With a U+FFFD for what is no text, as an archive is not.
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Run {
        let output = command.output();
        Run::ended(
            command,
            output.unwrap_or_else(|error| panic!("{command:?}: {error}")),
        )
    }

    /// The same with this on its standard input, which it need not read to the end.
    pub fn with_input(command: &mut Command, input: &[u8]) -> Run {
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let _ = child.stdin.take().expect("a pipe").write_all(input);
        Run::ended(command, child.wait_with_output().expect("it ends"))
    }

    /// A run that has ended. What our programs say on standard error is text.
    pub fn ended(command: &Command, output: Output) -> Run {
        let stderr = String::from_utf8(output.stderr);
        let stderr = stderr.unwrap_or_else(|error| {
            let is_ours = command.get_program() == path();
            assert!(!is_ours, "{command:?} said what is no text: {error}");
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        });
        let signal = output.status.signal();
        Run {
            command: format!("{command:?}"),
            status: output
                .status
                .code()
                .or(signal.map(|signal| -signal))
                .unwrap(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr,
        }
    }

    /// The lines on standard output of a run that ended well.
    pub fn lines(&self) -> Vec<&str> {
        assert_eq!(self.status, 0, "{self:?}");
        let is_text = !self.stdout.contains(char::REPLACEMENT_CHARACTER);
        assert!(is_text, "{self:?}");
        self.stdout.lines().collect()
    }

    /// Checks a run that failed with a status: nothing on standard output, and an error that has
    /// these words in one line.
    pub fn fails(&self, status: i32, words: &[&str]) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.stdout, "");
        let error = self.error();
        for word in words {
            assert!(error.contains(word), "no {word:?} in {error:?}");
        }
    }

    /// The error line, without the name of the program.
    pub fn error(&self) -> &str {
        let mut lines = self.stderr.lines();
        let error = lines.find_map(|line| line.strip_prefix("lowerdir: "));
        error.unwrap_or_else(|| panic!("no error in {self:?}"))
    }

    /// The hint, without `hint: `.
    pub fn hint(&self) -> &str {
        let mut lines = self.stderr.lines();
        let hint = lines.find_map(|line| line.strip_prefix("hint: "));
        hint.unwrap_or_else(|| panic!("no hint in {self:?}"))
    }

    /// The paths on standard output, if it worked.
    pub fn done(self) -> Result<Vec<PathBuf>, String> {
        let text = self.text()?;
        Ok(text.lines().map(PathBuf::from).collect())
    }

    /// The standard output, if it worked.
    pub fn text(self) -> Result<String, String> {
        match self.status {
            0 => Ok(self.stdout),
            _ => Err(self.complaint("it should have worked")),
        }
    }

    /// What was expected, what was run, and what came of it.
    pub fn complaint(&self, what: &str) -> String {
        format!("{what}: {self:?}")
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let ended = match self.status {
            status @ 0.. => format!("status {status}"),
            signal => format!("signal {}", -signal),
        };
        let Run {
            command,
            stdout,
            stderr,
            ..
        } = self;
        write!(f, "{command}\n{ended}\nstdout: {stdout}\nstderr: {stderr}")
    }
}
