//! Where the producers work: nothing of theirs is read from the machine, or left on it.
//!
//! Their storage, configuration and HOME are in the scratch directory. Some paths are compiled in,
//! as `/var/lib/containers/cache`; each program therefore runs in a mount namespace in which
//! `/run` and `/var/lib` are empty.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::model::Listing;
use crate::scratch::{Mounted, Run, Scratch};
use crate::walk::Walk;
use support::program;

const POLICY: &str = r#"{"default":[{"type":"insecureAcceptAnything"}]}"#;
const PRIVATE: &str =
    r#"mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/lib && exec "$0" "$@""#;

/// A scratch directory with a configuration for the producers.
pub struct Workshop {
    site: TempDir,
    // Dropped after what lies in it.
    _scratch: Scratch,
}

/// How an archive comes to the product.
#[derive(Clone, Copy)]
pub enum Input<'a> {
    None,
    File(&'a Path),
    Pipe(&'a Path),
}

impl Workshop {
    /// `None`, with a word why, where a program is missing or nothing can be mounted.
    pub fn open(programs: &[&str]) -> Option<Workshop> {
        for program in programs {
            if Command::new(program).arg("--version").output().is_err() {
                crate::skip(&format!("there is no {program}: see install-peers.sh"));
                return None;
            }
        }
        let scratch = Scratch::new()?;
        let site = scratch.site();
        let shop = Workshop {
            site,
            _scratch: scratch,
        };
        shop.configure();
        Some(shop)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.site.path().join(name)
    }

    /// `TRANSPORT:FILE`, as the producers and the product say it.
    pub fn reference(&self, transport: &str, file: &str) -> String {
        format!("{transport}:{}", self.path(file).display())
    }

    fn configure(&self) {
        let root = self.site.path().display();
        let files = [
            ("home/.config/containers/policy.json", POLICY.to_owned()),
            (
                "storage.conf",
                format!(
                    "[storage]\ndriver = 'vfs'\ngraphroot = '{root}/graph'\nrunroot = '{root}/run'\n"
                ),
            ),
            (
                "containers.conf",
                format!(
                    "[engine]\nevents_logger = 'none'\ncgroup_manager = 'cgroupfs'\n\
                     [network]\nnetwork_config_dir = '{root}/networks'\n"
                ),
            ),
        ];
        for (name, text) in files {
            let file = self.path(name);
            fs::create_dir_all(file.parent().expect("it has one")).expect("a directory");
            fs::write(file, text).expect("a configuration");
        }
        fs::create_dir(self.path("tmp")).expect("a directory");
    }

    /// Runs a producer, and gives what it prints; it must work.
    pub fn run(&self, line: &[impl AsRef<OsStr>]) -> String {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", PRIVATE]).args(line);
        for (name, file) in [
            ("HOME", "home"),
            ("TMPDIR", "tmp"),
            ("XDG_RUNTIME_DIR", "tmp"),
            ("CONTAINERS_CONF", "containers.conf"),
            ("CONTAINERS_STORAGE_CONF", "storage.conf"),
        ] {
            command.env(name, self.path(file));
        }
        let lines = Run::of(&mut command).done();
        let lines = lines.unwrap_or_else(|complaint| panic!("{complaint}"));
        let text: Vec<String> = lines
            .iter()
            .map(|line| line.display().to_string())
            .collect();
        text.join("\n")
    }

    /// Unpacks an image into a store of its own, and mounts it.
    pub fn mounted(&self, image: &str, input: Input) -> Stack {
        let store = tempfile::tempdir_in(self.site.path()).expect("a store");
        let target = Mounted::nothing(self.site.path());
        let store = store.keep().display().to_string();
        let on = target.0.display().to_string();
        let unpack = ["--store", &store, "unpack", "--sync=none", image];
        let layers = worked(lowerdir(&unpack, input));
        worked(lowerdir(&["--store", &store, "mount", image, &on], input));
        Stack { target, layers }
    }

    /// Unpacks and mounts an image, which must be this tree; returns its layer directories.
    pub fn mounts_as(
        &self,
        image: &str,
        input: Input,
        tree: &Listing,
        names: &BTreeSet<Vec<u8>>,
    ) -> Vec<PathBuf> {
        assert!(tree.len() > 10, "a tree of {} names", tree.len());
        let Stack { target, layers } = self.mounted(image, input);
        let walk = Walk::new(&target.0, names);
        let verdict = walk.compare(image, "what its producer shows", tree);
        verdict.unwrap_or_else(|difference| panic!("{difference}"));
        layers
    }
}

/// A mounted image, and its layer directories.
pub struct Stack {
    pub target: Mounted,
    pub layers: Vec<PathBuf>,
}

/// Runs the product.
pub fn lowerdir(arguments: &[&str], input: Input) -> Run {
    let mut command = program::lowerdir();
    command.args(arguments).arg("--quiet").stdin(Stdio::null());
    let mut writer: Option<Child> = None;
    match input {
        Input::None => {}
        Input::File(file) => {
            command.stdin(fs::File::open(file).expect("the archive"));
        }
        Input::Pipe(file) => {
            let cat = Command::new("cat").arg(file).stdout(Stdio::piped()).spawn();
            let cat = writer.insert(cat.expect("running cat"));
            command.stdin(cat.stdout.take().expect("it is piped"));
        }
    }
    let run = Run::of(&mut command);
    drop(command);
    if let Some(mut cat) = writer {
        cat.wait().expect("cat ends");
    }
    run
}

pub fn worked(run: Run) -> Vec<PathBuf> {
    run.done().unwrap_or_else(|complaint| panic!("{complaint}"))
}
