//! Where a case is tried: a directory with a canary in it, and a store of its own for each case.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::oci::{self, Compression};
use crate::tarball::LayerBuilder;

const TIME: Duration = Duration::from_secs(10);
const MEMORY: u64 = 64 << 20;

/// How a case has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The image is refused: status 3.
    Refused,
    /// A limit is reached: status 4.
    Limit,
    /// It is unpacked: status 0.
    Unpacked,
    /// It depends on the file system or on who runs it.
    Either,
}

/// One image.
pub struct Case {
    name: String,
    /// Blobs as they are stored, the lowest first.
    layers: Vec<Vec<u8>>,
    compression: Compression,
    option: Option<&'static str>,
    end: End,
}

impl Case {
    pub fn new(name: impl Into<String>, end: End, layers: Vec<LayerBuilder>) -> Case {
        let layers = layers.into_iter().map(LayerBuilder::finish).collect();
        Case::of_bytes(name, end, layers)
    }

    pub fn of_bytes(name: impl Into<String>, end: End, layers: Vec<Vec<u8>>) -> Case {
        Case {
            name: name.into(),
            layers,
            compression: Compression::Plain,
            option: None,
            end,
        }
    }

    /// With an option more.
    pub fn with(mut self, option: &'static str) -> Case {
        self.option = Some(option);
        self
    }

    pub fn compressed(mut self, compression: Compression) -> Case {
        self.compression = compression;
        self
    }
}

pub struct Court {
    site: TempDir,
    canary: String,
}

impl Court {
    pub fn new() -> Court {
        let site = in_memory().unwrap_or_else(|| TempDir::new().expect("a temporary directory"));
        let canary = site.path().join("canary");
        fs::create_dir_all(canary.join("dir/deep")).expect("a directory");
        fs::write(canary.join("file"), "untouched").expect("a file");
        fs::write(canary.join("dir/file"), "untouched").expect("a file");
        fs::hard_link(canary.join("file"), canary.join("link")).expect("a link");
        symlink("file", canary.join("symlink")).expect("a link");
        fs::set_permissions(canary.join("file"), fs::Permissions::from_mode(0o640)).expect("ours");
        xattr::set(canary.join("file"), "user.canary", b"sings")
            .expect("a file system with xattrs");
        let canary = canary.to_str().expect("text").to_string();
        Court { site, canary }
    }

    /// Its absolute path.
    pub fn canary(&self) -> &str {
        &self.canary
    }

    /// Why a case failed.
    pub fn try_case(&self, case: &Case) -> Option<String> {
        let place = self.site.path().join("place");
        fs::create_dir(&place).expect("a new directory");
        let layers: Vec<_> = case
            .layers
            .iter()
            .map(|tar| (tar.clone(), case.compression))
            .collect();
        oci::write_layout(&place.join("image"), "latest", &layers);
        let before = Canary::look(Path::new(&self.canary));
        let verdict = self.unpack(case, &place);
        let after = Canary::look(Path::new(&self.canary));
        let verdict = verdict
            .and_then(|()| {
                (before == after)
                    .then_some(())
                    .ok_or("the canary changed".into())
            })
            .and_then(|()| self.nothing_is_left(&place));
        make_removable(&place);
        fs::remove_dir_all(&place).expect("it can be removed");
        verdict.err().map(|why| format!("{}: {why}", case.name))
    }

    fn unpack(&self, case: &Case, place: &Path) -> Result<(), String> {
        let is_root = rustix::process::geteuid().is_root();
        let started = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_lowerdir"))
            .args([
                "--store",
                "store",
                "unpack",
                "oci:image",
                "--sync=none",
                "-q",
                "-j1",
            ])
            .args((!is_root).then_some("--userxattr"))
            .args(case.option)
            .current_dir(place)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command is there");
        let mut memory = 0;
        let status = loop {
            memory = memory.max(memory_of(child.id()));
            match child.try_wait().expect("it is ours") {
                Some(status) => break status,
                None if started.elapsed() > TIME => {
                    child.kill().expect("it is ours");
                    child.wait().expect("it is ours");
                    return Err("it took over ten seconds".into());
                }
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        if memory > MEMORY {
            return Err(format!("it took {} MiB of memory", memory >> 20));
        }
        let mut stderr = String::new();
        let pipe = child.stderr.as_mut().expect("a pipe");
        std::io::Read::read_to_string(pipe, &mut stderr).expect("text");
        let expected = match case.end {
            End::Refused => &[3][..],
            End::Limit => &[4],
            End::Unpacked => &[0],
            End::Either => &[0, 1, 3, 4],
        };
        match status.code() {
            Some(code) if expected.contains(&code) => Ok(()),
            _ => Err(format!("{status}, not {:?}: {stderr}", case.end)),
        }
    }

    fn nothing_is_left(&self, place: &Path) -> Result<(), String> {
        for name in ["staging", "locks"] {
            let entries = fs::read_dir(place.join("store").join(name));
            if entries.is_ok_and(|mut entries| entries.next().is_some()) {
                return Err(format!("something is left in {name}"));
            }
        }
        Ok(())
    }
}

/// A disk would be measured as well, and some make files slowly after many were removed.
fn in_memory() -> Option<TempDir> {
    let site = TempDir::new_in("/dev/shm").ok()?;
    xattr::set(site.path(), "user.probe", b"1").ok()?;
    Some(site)
}

/// The most memory that a process has taken so far, in bytes; 0 if it is gone.
fn memory_of(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let mut lines = status.lines();
    let most = lines.find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = most.and_then(|most| most.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// All that can be seen of a tree, change times among it.
#[derive(PartialEq, Eq)]
struct Canary(BTreeMap<PathBuf, (Vec<i64>, Vec<u8>)>);

impl Canary {
    fn look(root: &Path) -> Canary {
        let mut seen = BTreeMap::new();
        let mut todo = vec![root.to_path_buf()];
        while let Some(path) = todo.pop() {
            let found = fs::symlink_metadata(&path).expect("it is there");
            let numbers = vec![
                found.mode().into(),
                found.uid().into(),
                found.gid().into(),
                found.nlink() as i64,
                found.size() as i64,
                found.mtime(),
                found.mtime_nsec(),
                found.ctime(),
                found.ctime_nsec(),
            ];
            let mut content = Vec::new();
            if found.is_file() {
                content = fs::read(&path).expect("it is readable");
            } else if found.is_dir() {
                let entries = fs::read_dir(&path).expect("it is readable");
                todo.extend(entries.map(|entry| entry.expect("an entry").path()));
            }
            seen.insert(path, (numbers, content));
        }
        Canary(seen)
    }
}

fn make_removable(directory: &Path) {
    let _ = fs::set_permissions(directory, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_removable(&entry.path());
        }
    }
}
