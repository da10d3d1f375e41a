//! File systems in files, mounted through loop devices.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::subject::output;

/// A file with a file system in it.
pub struct Disk {
    pub file: PathBuf,
}

impl Disk {
    /// Sparse, in a directory.
    pub fn make(directory: &Path, kind: &str, size: &str, options: &[&str]) -> Disk {
        let file = directory.join(format!("{kind}.disk"));
        run("truncate", &["-s", size, text(&file)]).expect("a sparse file");
        format(&file, kind, options);
        Disk { file }
    }
}

/// Makes a file system.
pub fn format(file: &Path, kind: &str, options: &[&str]) {
    let quiet = if kind == "xfs" { "-qf" } else { "-qF" };
    let words = [&[quiet][..], options, &[text(file)]].concat();
    run(&format!("mkfs.{kind}"), &words).expect("a file system");
}

/// A mounted one; unmounted when it goes out of scope.
pub struct Mount {
    file: PathBuf,
    target: PathBuf,
}

impl Mount {
    /// `None`, with a word why, where there are no loop devices.
    pub fn of(file: &Path, target: &Path) -> Option<Mount> {
        fs::create_dir_all(target).expect("a mount point");
        // Copies of one xfs are mounted side by side.
        let mut magic = [0; 4];
        let read = File::open(file).and_then(|mut file| file.read_exact(&mut magic));
        let is_xfs = read.is_ok() && magic == *b"XFSB";
        let options = if is_xfs { "loop,nouuid" } else { "loop" };
        match run("mount", &["-o", options, text(file), text(target)]) {
            Ok(()) => Some(Mount {
                file: file.into(),
                target: target.into(),
            }),
            Err(why) => {
                crate::skip(&format!("loop devices: {why}"));
                None
            }
        }
    }

    /// Where it is mounted.
    pub fn place(&self) -> &Path {
        &self.target
    }

    /// Cuts its power: nothing reaches the disk any more. `flush` lets the journal, which is no
    /// content of files, reach it first.
    pub fn cut(&self, flush: bool) {
        let shutdown = if flush { "shutdown -f" } else { "shutdown" };
        run("xfs_io", &["-x", "-c", shutdown, text(&self.target)]).expect("a shutdown");
    }

    /// Unmounts it, and says whether that worked. A process that another thread is about to start
    /// may have a file of it open for a moment.
    pub fn unmount(self) -> Result<(), String> {
        patiently(|| match run("umount", &[text(&self.target)]) {
            Err(why) if why.contains("busy") => None,
            other => Some(other),
        })?;
        // Whoever has a mount namespace of his own, as a container, may have a copy of the mount: what
        // is mounted again meanwhile is the same file system, without power.
        patiently(|| match loop_devices(&self.file) {
            Ok(devices) if !devices.is_empty() => None,
            other => Some(other.map(drop)),
        })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Once it is unmounted, this does nothing.
        let _ = run("umount", &["-q", "-l", text(&self.target)]);
    }
}

/// Tries until there is a result, for minutes: a machine may be busy.
fn patiently(attempt: impl Fn() -> Option<Result<(), String>>) -> Result<(), String> {
    for _ in 0..9000 {
        if let Some(result) = attempt() {
            return result;
        }
        thread::sleep(Duration::from_millis(20));
    }
    Err("somebody uses the file system and does not let go".into())
}

/// The loop devices that a file is behind, as `losetup` lists them.
fn loop_devices(file: &Path) -> Result<String, String> {
    let mut command = Command::new("losetup");
    let run = output(command.args(["--noheadings", "--list", "--associated", text(file)]));
    match run.status.success() {
        true => Ok(String::from_utf8_lossy(&run.stdout).trim().into()),
        false => Err(format!(
            "{command:?}: {}",
            String::from_utf8_lossy(&run.stderr)
        )),
    }
}

/// Runs a program that has to work.
pub fn run(program: &str, words: &[&str]) -> Result<(), String> {
    let mut command = Command::new(program);
    let run = output(command.args(words));
    match run.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{command:?}: {}",
            String::from_utf8_lossy(&run.stderr)
        )),
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}
