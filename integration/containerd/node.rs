//! A node: containerd, the snapshotter and a registry, on scratch directories, in a mount namespace
//! with a `/run` of its own and a PID namespace. When its first process dies, all of it does.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use support::program;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(300);
/// Says its number, and becomes the program, which writes to a log.
const SERVICE: &str = r#"log=$1; shift; echo $$; exec "$@" >>"$log" 2>&1"#;
/// How containerd names the snapshotter.
pub const NAME: &str = "lowerdir";

/// One machine of a cluster, as far as it matters here.
pub struct Node {
    directory: TempDir,
    /// The first process of the namespaces, by its number outside them, and who started it.
    first: String,
    anchor: Child,
    pub port: u16,
}

/// A program in the namespaces.
pub struct Service {
    child: Child,
    /// Its number inside.
    number: String,
    _stdout: BufReader<ChildStdout>,
}

impl Node {
    /// A node on which nothing runs yet; `None`, with a word why, where there can be none.
    pub fn new() -> Option<Node> {
        for program in [
            "containerd",
            "ctr",
            "runc",
            "docker-registry",
            "skopeo",
            "curl",
            "busybox",
        ] {
            let found = Command::new("sh")
                .args(["-c", &format!("command -v {program}")])
                .output();
            if !found.is_ok_and(|found| found.status.success()) {
                crate::skip(&format!("there is no {program}: see install-peers.sh"));
                return None;
            }
        }
        let directory = TempDir::new().expect("a temporary directory");
        let first = "mount -t tmpfs tmpfs /run && echo ready && exec sleep infinity";
        let mut anchor = Command::new("unshare")
            .args([
                "--mount",
                "--pid",
                "--fork",
                "--mount-proc",
                "--kill-child",
                "sh",
                "-c",
                first,
            ])
            .stdout(Stdio::piped())
            .spawn()
            .expect("running unshare");
        let mut line = String::new();
        let stdout = anchor.stdout.take().expect("it is piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("reading a line");
        if line != "ready\n" {
            let _ = anchor.wait();
            crate::skip("namespaces and mounts need root");
            return None;
        }
        let children = format!("/proc/{0}/task/{0}/children", anchor.id());
        let first = fs::read_to_string(children).expect("the children of unshare");
        let node = Node {
            directory,
            first: first.trim().into(),
            anchor,
            port: free_port(),
        };
        node.configure();
        Some(node)
    }

    /// The same with everything running.
    pub fn started() -> Option<(Node, Service, Service)> {
        let node = Node::new()?;
        let (snapshotter, containerd) = (node.snapshotter(&[]), node.containerd());
        Some((node, snapshotter, containerd))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn configure(&self) {
        let (root, port) = (self.directory.path().display(), self.port);
        let config = format!(
            r#"version = 2
root = "{root}/containerd"
state = "/run/containerd-state"
[grpc]
  address = "/run/containerd.sock"
[proxy_plugins.{NAME}]
  type = "snapshot"
  address = "/run/snapshotter.sock"
[plugins."io.containerd.grpc.v1.cri"]
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    conf_dir = "/run/cni"
    bin_dir = "/run/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{NAME}"
    disable_snapshot_annotations = false
"#
        );
        fs::write(self.path("config.toml"), config).expect("a configuration");
        let registry = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {root}/registry\n\
             http:\n  addr: 127.0.0.1:{port}\n"
        );
        fs::write(self.path("registry.yml"), registry).expect("a configuration");
    }

    pub fn snapshotter(&self, more: &[&str]) -> Service {
        let [root, store] = ["snapshotter", "store"].map(|name| self.path(name));
        let mut command = vec![
            program::snapshotter_path(),
            "--socket",
            "/run/snapshotter.sock",
        ];
        command.extend(["--root", text(&root), "--store", text(&store)]);
        command.extend(more);
        let service = self.start("snapshotter.log", &command);
        self.wait_for("/run/snapshotter.sock");
        service
    }

    pub fn containerd(&self) -> Service {
        let config = self.path("config.toml");
        let service = self.start("containerd.log", &["containerd", "--config", text(&config)]);
        self.wait_for("/run/containerd.sock");
        service
    }

    pub fn registry(&self) -> Service {
        let config = self.path("registry.yml");
        let service = self.start("registry.log", &["docker-registry", "serve", text(&config)]);
        self.wait(
            &|| TcpStream::connect(("127.0.0.1", self.port)).is_ok(),
            "the registry",
        );
        service
    }

    fn start(&self, log: &str, command: &[&str]) -> Service {
        let log = self.path(log);
        let mut child = self
            .inside("sh")
            .args(["-c", SERVICE, "sh", text(&log)])
            .args(command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("running nsenter");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut number = String::new();
        stdout.read_line(&mut number).expect("reading a line");
        Service {
            child,
            number: number.trim().into(),
            _stdout: stdout,
        }
    }

    /// A command in the namespaces.
    pub fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--pid", "--target", &self.first, "--", program]);
        command
    }

    /// Ends a program, by a signal.
    pub fn kill(&self, mut service: Service, signal: &str) {
        self.signal(&service, signal);
        service.child.wait().expect("it ends");
    }

    pub fn signal(&self, service: &Service, signal: &str) {
        let kill = format!("kill -{signal} {}", service.number);
        done(self.inside("sh").args(["-c", &kill]));
    }

    /// What `ctr` prints; it must work.
    pub fn ctr(&self, line: &[&str]) -> String {
        done(
            self.inside("ctr")
                .args(["--address", "/run/containerd.sock"])
                .args(line),
        )
    }

    /// Has containerd fetch the blobs of an image, and not unpack them.
    pub fn fetch(&self, image: &str) {
        let line = ["--namespace", "k8s.io", "content", "fetch", "--plain-http"];
        self.ctr(&[&line[..], &[image]].concat());
    }

    /// What `ctr` says if it does not work.
    pub fn try_ctr(&self, line: &[&str]) -> Result<(), String> {
        let mut ctr = self.inside("ctr");
        ctr.args(["--address", "/run/containerd.sock"]).args(line);
        let output = ctr.output().expect("running nsenter");
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// What the product prints; it must work.
    pub fn lowerdir(&self, line: &[&str]) -> String {
        let mut command = self.inside(program::path());
        done(
            command
                .arg("--store")
                .arg(self.path("store"))
                .args(line)
                .arg("--quiet"),
        )
    }

    /// Has containerd remove what nothing refers to any more.
    pub fn collect(&self) {
        self.ctr(&["leases", "create", "--id", "collect"]);
        self.ctr(&["leases", "delete", "--sync", "collect"]);
    }

    /// The names of the snapshots in a namespace of containerd.
    pub fn snapshots(&self, namespace: &str) -> Vec<String> {
        let list = self.ctr(&[
            "--namespace",
            namespace,
            "snapshots",
            "--snapshotter",
            NAME,
            "list",
        ]);
        let lines = list.lines().skip(1);
        lines
            .filter_map(|line| Some(line.split_whitespace().next()?.to_string()))
            .collect()
    }

    /// How many snapshots have a directory of their own.
    pub fn directories(&self) -> usize {
        count(&self.path("snapshotter/snapshots"))
    }

    /// How many snapshots keep layers in the store.
    pub fn pins(&self) -> usize {
        count(&self.path("store/pins"))
    }

    /// Waits until containerd has found a snapshotter that was started again.
    pub fn wait_for_snapshots(&self) {
        let probe = ["snapshots", "--snapshotter", NAME, "prepare", "probe"];
        let is_there = || self.try_ctr(&probe).is_ok();
        self.wait(&is_there, "containerd to connect again");
        self.ctr(&["snapshots", "--snapshotter", NAME, "remove", "probe"]);
        self.collect();
    }

    fn wait_for(&self, socket: &str) {
        let seen = format!("/proc/{}/root{socket}", self.first);
        self.wait(&|| UnixStream::connect(&seen).is_ok(), socket);
    }

    /// Waits for something to come about; tells of the logs if it does not.
    pub fn wait(&self, is_so: &dyn Fn() -> bool, what: &str) {
        let start = Instant::now();
        while !is_so() {
            assert!(
                start.elapsed() < PATIENCE,
                "waiting for {what}:\n{}",
                self.logs()
            );
            sleep(Duration::from_millis(50));
        }
    }

    pub fn logs(&self) -> String {
        let log = |name: &str| fs::read_to_string(self.path(name)).unwrap_or_default();
        ["snapshotter.log", "containerd.log"].map(log).join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.anchor.kill();
        let _ = self.anchor.wait();
        // The namespaces' processes are dying: until they have, they are in the directories.
        for _ in 0..100 {
            match fs::exists(format!("/proc/{}", self.first)) {
                Ok(true) => sleep(Duration::from_millis(20)),
                _ => break,
            }
        }
    }
}

/// Runs a command that must work, and gives what it prints.
pub fn done(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("running a command");
    let said = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?}: {status}: {said}");
    String::from_utf8(stdout).expect("UTF-8")
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn count(directory: &Path) -> usize {
    fs::read_dir(directory).map_or(0, Iterator::count)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}
