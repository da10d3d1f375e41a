//! A temporary directory to run the command in, and what a run brought.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// What a run printed, and how it ended.
#[derive(Debug)]
pub struct Run {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

pub struct Bench {
    directory: TempDir,
    store: PathBuf,
}

impl Bench {
    pub fn new() -> Bench {
        Bench::with_store("store")
    }

    pub fn with_store(name: &str) -> Bench {
        let directory = TempDir::new().expect("a temporary directory");
        let store = directory.path().join(name);
        Bench { directory, store }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("a file");
        path
    }

    pub fn store(&self) -> &Path {
        &self.store
    }

    /// Runs the command with these arguments and nothing else, in the temporary directory.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Run {
        self.run_with_input(arguments, b"")
    }

    pub fn run_with_input<S: AsRef<OsStr>>(&self, arguments: &[S], input: &[u8]) -> Run {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lowerdir"))
            .args(arguments)
            .current_dir(self.directory.path())
            // What the tester's own environment says of stores and colours is not ours.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command is there");
        // Who is done with its input may close the pipe.
        let _ = child.stdin.take().expect("a pipe").write_all(input);
        let output = child.wait_with_output().expect("it ends");
        Run {
            status: output.status.code().expect("it was not killed"),
            stdout: String::from_utf8(output.stdout).expect("text"),
            stderr: String::from_utf8(output.stderr).expect("text"),
        }
    }

    /// `unpack` of an image in the temporary directory into the bench's store, as anybody may.
    pub fn unpack(&self, image: &str) -> Run {
        self.unpack_with(image, &[])
    }

    pub fn unpack_with(&self, image: &str, options: &[&str]) -> Run {
        let store = self.store.to_str().expect("text");
        let mut arguments = vec!["--store", store, "unpack", image];
        arguments.extend(["--userxattr", "--owners=caller", "--sync=none"]);
        arguments.extend(options);
        self.run(&arguments)
    }

    pub fn stack(&self, image: &str) -> Run {
        let store = self.store.to_str().expect("text");
        self.run(&["--store", store, "stack", image])
    }

    /// A verb on the bench's store.
    pub fn on_store(&self, arguments: &[&str]) -> Run {
        let store = self.store.to_str().expect("text");
        self.run(&[&["--store", store][..], arguments].concat())
    }

    /// The directory of a layer of an unpacked image, from 0 at the bottom, with its record.
    pub fn layer(&self, image: &str, number: usize) -> PathBuf {
        let run = self.unpack(image);
        let mut directories: Vec<&str> = run.lines();
        directories.reverse();
        let layer = Path::new(directories[number]).parent();
        layer.expect("it is in one").into()
    }

    /// The names in a directory below the temporary one, sorted.
    pub fn names(&self, directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path().join(directory));
        let mut names: Vec<String> = entries
            .expect("a directory")
            .map(|entry| entry.expect("an entry").file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// How many layers the store has, when nothing else is left in it.
    pub fn layers_in_store(&self) -> usize {
        assert!(self.names(&self.store.join("staging")).is_empty());
        self.names(&self.store.join("layers/sha256")).len()
    }
}

impl Run {
    /// The lines on standard output of a run that ended well.
    pub fn lines(&self) -> Vec<&str> {
        assert_eq!(self.status, 0, "{self:?}");
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

    pub fn error(&self) -> &str {
        let mut lines = self.stderr.lines();
        let error = lines.find_map(|line| line.strip_prefix("lowerdir: "));
        error.unwrap_or_else(|| panic!("no error in {self:?}"))
    }

    pub fn hint(&self) -> &str {
        let mut lines = self.stderr.lines();
        let hint = lines.find_map(|line| line.strip_prefix("hint: "));
        hint.unwrap_or_else(|| panic!("no hint in {self:?}"))
    }
}

/// Layers may hold directories that their owner cannot write in.
impl Drop for Bench {
    fn drop(&mut self) {
        make_removable(self.directory.path());
    }
}

fn make_removable(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            let _ = fs::set_permissions(&path, fs::Permissions::from_mode(0o700));
            make_removable(&path);
        }
    }
}
