//! A temporary directory to run the command in, and what a run brought.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use support::directory;
use support::program;
pub use support::program::Run;
use tempfile::TempDir;

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
        let mut command = program::lowerdir();
        command.args(arguments).current_dir(self.directory.path());
        Run::with_input(&mut command, input)
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
    pub fn names(&self, below: &Path) -> Vec<String> {
        directory::names(&self.directory.path().join(below))
    }

    /// How many layers the store has, when nothing else is left in it.
    pub fn layers_in_store(&self) -> usize {
        assert!(self.names(&self.store.join("staging")).is_empty());
        self.names(&self.store.join("layers/sha256")).len()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        directory::make_removable(self.directory.path());
    }
}
