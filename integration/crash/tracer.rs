//! `strace`, which ends a run or lets a call of it fail at a position of our choice.
//!
//! Never with `--seccomp-bpf`: strace 6.1 then injects nothing, and says nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::subject::output;

/// The calls that change something, or without which nothing can be changed.
const CALLS: &str = "openat,openat2,mkdir,mkdirat,mknodat,symlink,symlinkat,linkat,unlink,unlinkat,rmdir,rename,renameat,\
    renameat2,write,pwrite64,writev,copy_file_range,ioctl,ftruncate,fallocate,fchown,fchownat,chmod,fchmod,fchmodat,\
    utimensat,setxattr,lsetxattr,fsetxattr,fremovexattr,flock,fsync,fdatasync,syncfs";

/// The `nth` call of this name, of the first thread that comes to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub call: String,
    pub nth: usize,
    /// Whether all threads are counted, each for itself, or the first thread only.
    pub threads: bool,
    /// Whether it changes something by itself.
    pub changes: bool,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = if self.threads {
            "of a thread"
        } else {
            "of the first thread"
        };
        write!(f, "{} {} {whose}", self.call, self.nth)
    }
}

/// Where in a run something can go wrong: every call of the first thread; of the others, each that
/// can be told by its number.
#[derive(Debug)]
pub struct Positions {
    pub all: Vec<Position>,
    /// How many calls of other threads have the number of an earlier call of the first.
    pub out_of_reach: usize,
}

/// Runs a command undisturbed, and lists its calls.
pub fn positions(command: &Command, log: &Path) -> Positions {
    positions_of(command, log, CALLS)
}

/// The same, of other calls.
pub fn positions_of(command: &Command, log: &Path, calls: &str) -> Positions {
    let mut traced = wrapped(command, true, log, &[format!("trace={calls}")]);
    let run = output(&mut traced);
    assert!(run.status.success(), "{traced:?}: {run:?}");
    let text = fs::read_to_string(log).expect("what strace wrote");
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let (mut first, mut all, mut out_of_reach) = (None, Vec::new(), 0);
    for line in text.lines() {
        let Some((thread, call, rest)) = started_call(line) else {
            continue;
        };
        let first = *first.get_or_insert(thread);
        let count = counts.entry((thread, call)).or_default();
        *count += 1;
        let nth = *count;
        let is_first = thread == first;
        let masked = !is_first && counts.get(&(first, call)).is_some_and(|&main| main >= nth);
        if is_of_the_loader(call, rest) {
            continue;
        }
        if masked {
            out_of_reach += 1;
            continue;
        }
        all.push(Position {
            call: call.into(),
            nth,
            threads: !is_first,
            changes: !call.starts_with("openat") || rest.contains("O_CREAT"),
        });
    }
    all.sort();
    all.dedup();
    Positions { all, out_of_reach }
}

/// `12 openat(3, "a", O_RDONLY) = 4`; the second half of a call that another one interrupted does
/// not count again.
fn started_call(line: &str) -> Option<(&str, &str, &str)> {
    let (thread, rest) = line.split_once(' ')?;
    let (call, rest) = rest.trim_start().split_once('(')?;
    let is_name = call
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then_some((thread, call, rest))
}

/// Before the program itself runs, and where it asks about the machine.
fn is_of_the_loader(call: &str, rest: &str) -> bool {
    let places = ["\"/lib", "\"/usr/lib", "\"/etc/ld", "\"/proc", "\"/sys"];
    call == "openat" && places.iter().any(|place| rest.contains(place))
}

/// The command, with a fault (`signal=SIGKILL`, `error=EIO`) at one position.
pub fn disturbed(command: &Command, position: &Position, fault: &str, log: &Path) -> Command {
    let Position { call, nth, .. } = position;
    let inject = format!("inject={call}:{fault}:when={nth}");
    wrapped(
        command,
        position.threads,
        log,
        &[format!("trace={call}"), inject],
    )
}

/// The command, with some calls that are not what they seem, each time.
pub fn sabotaged(command: &Command, fault: &str, log: &Path) -> Command {
    let calls = fault.split(':').next().expect("the calls come first");
    let faults = [format!("trace={calls}"), format!("inject={fault}")];
    wrapped(command, true, log, &faults)
}

fn wrapped(command: &Command, threads: bool, log: &Path, expressions: &[String]) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-e", "signal=none", "-o"]).arg(log);
    if threads {
        strace.arg("-f");
    }
    for expression in expressions {
        strace.args(["-e", expression]);
    }
    strace
        .arg("--")
        .arg(command.get_program())
        .args(command.get_args());
    strace.current_dir(command.get_current_dir().expect("it was chosen"));
    strace.stdin(Stdio::null()).env_remove("LD_LIBRARY_PATH");
    strace
}

/// Whether strace can do what is asked of it.
pub fn is_able() -> bool {
    let run = Command::new("strace")
        .args([
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "inject=syncfs:error=EIO",
            "true",
        ])
        .output();
    match run {
        Ok(run) if run.status.success() => true,
        other => {
            crate::skip(&format!("strace cannot trace here: {other:?}"));
            false
        }
    }
}
