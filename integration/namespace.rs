//! A user namespace whose maps root writes, as a runtime does: no `/etc/subuid` is needed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::scratch::Run;

/// Who is root in the namespace: 65536 users and groups of the host, from these on.
pub struct Root {
    pub uid: u32,
    pub gid: u32,
}

/// It is there as long as a process is in it, which waits for its input to end.
struct Namespace(Child);

impl Namespace {
    fn new(root: &Root) -> Result<Namespace, String> {
        let mut holder = Command::new("unshare")
            .args(["--user", "sh", "-c", "echo ready; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let stdout = holder.stdout.take().expect("it is piped");
        let namespace = Namespace(holder);
        let mut line = String::new();
        let ready = BufReader::new(stdout).read_line(&mut line);
        ready.map_err(|error| error.to_string())?;
        for (file, first) in [("uid_map", root.uid), ("gid_map", root.gid)] {
            let path = format!("/proc/{}/{file}", namespace.0.id());
            fs::write(&path, format!("0 {first} 65536\n"))
                .map_err(|error| format!("{path}: {error}"))?;
        }
        Ok(namespace)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// What a script prints as root of a namespace, with `$0` set. Errors: what went wrong, in words.
pub fn run(root: &Root, script: &str, argument: &Path) -> Result<String, String> {
    let namespace = Namespace::new(root)?;
    let mut command = Command::new("nsenter");
    command.arg("--target").arg(namespace.0.id().to_string());
    command.args([
        "--user", "--setuid", "0", "--setgid", "0", "sh", "-c", script,
    ]);
    Run::of(command.arg(argument).stdin(Stdio::null())).text()
}
