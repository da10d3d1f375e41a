//! The command, unpacking an image, with an eye on its work and its memory.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use support::program;

/// Whoever has not ended after this waits for something that will not come.
const PATIENCE: Duration = Duration::from_secs(600);

/// How a run ended.
pub struct Watched {
    pub status: ExitStatus,
    pub stderr: String,
    /// The most that it took, in bytes.
    pub memory: u64,
}

/// Unpacks the layout `image` of a directory into its `store`. `work` is in seconds of processor
/// time, since a busy machine takes longer for it: more of it is a death by signal.
pub fn unpack(place: &Path, option: Option<&str>, work: u64) -> Result<Watched, String> {
    let is_root = rustix::process::geteuid().is_root();
    let mut child = program::lowerdir()
        .args(["--store", "store", "unpack", "oci:image"])
        .args(["--sync=none", "-q", "-j1"])
        .args((!is_root).then_some("--userxattr"))
        .args(option)
        .current_dir(place)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command is there");
    let limit = Rlimit {
        current: Some(work),
        maximum: Some(work),
    };
    let id = Pid::from_child(&child);
    prlimit(Some(id), Resource::Cpu, limit).expect("it is ours");
    let (started, mut memory) = (Instant::now(), 0);
    let status = loop {
        memory = memory.max(memory_of(child.id()));
        match child.try_wait().expect("it is ours") {
            Some(status) => break status,
            None if started.elapsed() > PATIENCE => {
                child.kill().expect("it is ours");
                child.wait().expect("it is ours");
                return Err("it waits for something".into());
            }
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    let mut stderr = String::new();
    let pipe = child.stderr.as_mut().expect("a pipe");
    pipe.read_to_string(&mut stderr).expect("text");
    Ok(Watched {
        status,
        stderr,
        memory,
    })
}

/// The most memory that a process has taken so far, in bytes; 0 if it is gone. What wait4(2) says
/// counts the memory of the process that started it, too.
fn memory_of(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let mut lines = status.lines();
    let most = lines.find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = most.and_then(|most| most.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}
