//! How a test process starts, whatever started it: with the default action for every signal, the usual
//! umask and limits, an environment of which each variable is known, nothing on its standard input, and,
//! as root, with mounts that no other program sees. Its children, which inherit all of it, need not be told.
//!
//! Every test target calls [`start!`](crate::start!) (`tests/house` sees to it). A process of several threads
//! cannot change some of this for all of them, and no program can once it has read its environment: so
//! it happens before `main`, and ends with the process executing itself anew.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use rustix::process::{Resource, getrlimit, setrlimit};

/// Set in a process that has started like this, and in its children.
const STARTED: &str = "LOWERDIR_TEST_STARTED";

/// Variables that stay as they are: what finds programs and libraries, and what tests are asked for.
const KEPT: [&str; 3] = ["PATH", "LD_LIBRARY_PATH", "STRICT"];
/// The same of names that begin so: of cargo, its tools, and our own but one.
const KEPT_PREFIXES: [&str; 8] = [
    "CARGO",
    "RUST",
    "NEXTEST",
    "PROPTEST",
    "SNAPSHOTS",
    "LLVM_",
    "ASAN_",
    "LOWERDIR_",
];
/// Names a store, which no test wants to use.
const STORE: &str = "LOWERDIR_STORE";

/// Has the process of a test target start like this: `support::start!();`.
#[macro_export]
macro_rules! start {
    () => {
        $crate::ctor::declarative::ctor! {
            #[ctor(unsafe)]
            fn start() {
                let lowerdir = option_env!("CARGO_BIN_EXE_lowerdir");
                let snapshotter = option_env!("CARGO_BIN_EXE_lowerdir-snapshotter");
                $crate::program::set_paths(lowerdir, snapshotter);
                $crate::start::start();
            }
        }
    };
}

/// What [`start!`](crate::start!) calls before `main`.
pub fn start() {
    if std::env::var_os(STARTED).is_none() {
        let why = start_again();
        eprintln!("starting the tests: {why}");
        std::process::exit(1);
    }
}

/// Returns only if it cannot be done, and says why.
fn start_again() -> String {
    let done = (|| {
        stop_ignoring_signals()?;
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        set_limits();
        make_mounts_private()?;
        arguments()
    })();
    let mut arguments = match done {
        Ok(arguments) => arguments.into_iter(),
        Err(why) => return why,
    };
    let mut again = Command::new("/proc/self/exe");
    again.arg0(arguments.next().unwrap_or_default());
    again.args(arguments).stdin(Stdio::null());
    again.env_clear().envs(environment());
    again.exec().to_string()
}

/// `nohup`, and a shell that puts something into the background, have signals ignored, which lasts
/// for all that is started from there. One that is caught does not.
fn stop_ignoring_signals() -> Result<(), String> {
    let text = std::fs::read_to_string("/proc/self/status");
    let text = text.map_err(|error| format!("/proc/self/status: {error}"))?;
    let ignored = text.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let ignored = ignored.ok_or("/proc/self/status has no SigIgn")?;
    // Above are those of real time.
    for signal in (1..32).filter(|signal| ignored >> (signal - 1) & 1 == 1) {
        if !signal_hook::consts::FORBIDDEN.contains(&signal) {
            signal_hook::flag::register(signal, Arc::default())
                .map_err(|error| format!("signal {signal}: {error}"))?;
        }
    }
    Ok(())
}

/// As a login has them, as far as that is allowed: files of any size, and no core of what is killed.
fn set_limits() {
    for (resource, wanted) in [
        (Resource::Fsize, None),
        (Resource::Data, None),
        (Resource::As, None),
        (Resource::Nofile, Some(1024)),
        (Resource::Stack, Some(8 << 20)),
        (Resource::Core, Some(0)),
    ] {
        let mut limit = getrlimit(resource);
        limit.current = match (wanted, limit.maximum) {
            (Some(wanted), Some(maximum)) => Some(maximum.min(wanted)),
            (Some(wanted), None) => Some(wanted),
            (None, maximum) => maximum,
        };
        let _ = setrlimit(resource, limit);
    }
}

/// A mount namespace that another program makes is a copy of its own, and a file system that is mounted
/// in one is in use. Whoever may not do this mounts nothing either.
fn make_mounts_private() -> Result<(), String> {
    if unshare(CloneFlags::CLONE_NEWNS).is_err() {
        return Ok(());
    }
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    let nothing = None::<&Path>;
    mount(nothing, "/", nothing, private, nothing)
        .map_err(|errno| format!("making mounts private: {errno}"))
}

/// Those of this process; what the standard library knows of them before `main` depends on the libc.
fn arguments() -> Result<Vec<OsString>, String> {
    let bytes = std::fs::read("/proc/self/cmdline");
    let bytes = bytes.map_err(|error| format!("/proc/self/cmdline: {error}"))?;
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(&bytes);
    let arguments = bytes.split(|byte| *byte == 0);
    Ok(arguments
        .map(|one| OsString::from_vec(one.into()))
        .collect())
}

fn environment() -> BTreeMap<OsString, OsString> {
    let is_kept = |name: &OsString| {
        let begins = |prefix: &&str| name.as_bytes().starts_with(prefix.as_bytes());
        let is_ours = KEPT.iter().any(|kept| name == kept);
        name != STORE && (is_ours || KEPT_PREFIXES.iter().any(begins))
    };
    let mut kept: BTreeMap<_, _> = std::env::vars_os()
        .filter(|(name, _)| is_kept(name))
        .collect();
    let temporary = temporary_directory();
    // Cargo and rustup, which the benchmark's test runs, have their files there.
    let home = std::env::home_dir().filter(|home| home.is_absolute() && home.is_dir());
    for (name, value) in [
        (STARTED, "1".into()),
        ("LC_ALL", "C.UTF-8".into()),
        ("TZ", "UTC".into()),
        ("HOME", home.unwrap_or_else(|| temporary.clone()).into()),
        ("TMPDIR", temporary.into()),
    ] as [(&str, OsString); 5]
    {
        kept.insert(name.into(), value);
    }
    kept
}

/// The one that was chosen, if every program can be told its path, and others may pass through it.
fn temporary_directory() -> PathBuf {
    let is_plain = |path: &PathBuf| {
        let bytes = path.as_os_str().as_bytes();
        bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(byte))
    };
    let chosen = std::env::temp_dir().canonicalize().ok();
    chosen.filter(is_plain).unwrap_or_else(|| "/tmp".into())
}
