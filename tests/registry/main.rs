//! `docker://`: what the program makes of a registry that fails in many ways. The registry is a thread of the test.

support::start!();

mod logins;
mod place;
mod proxied;
mod server;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use support::dice::Dice;
use support::oci::{Compression, sha256, write_layout};
use support::program::{Run, lowerdir};
use support::tarball::LayerBuilder;

use server::{Fault, Server};

/// The size of the file in the upper layer, which does not compress.
const BIG: usize = 1 << 20;

const UNPACK: [&str; 5] = [
    "unpack",
    "--owners=caller",
    "--userxattr",
    "--whiteout=xattr",
    "IMAGE",
];

struct Bench {
    directory: tempfile::TempDir,
    server: Server,
    big: Vec<u8>,
}

impl Bench {
    /// An image of two layers in a registry with a fault.
    fn new(fault: Fault) -> Bench {
        let upper = |big: &[u8]| vec![LayerBuilder::new().file("big", 0o644, big).finish()];
        Bench::with(fault, BIG, Compression::Gzip, upper)
    }

    /// With so many bytes that do not compress, and these layers above the lowest.
    fn with(
        fault: Fault,
        size: usize,
        compression: Compression,
        upper: impl Fn(&[u8]) -> Vec<Vec<u8>>,
    ) -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let mut state = 1u64;
        let big: Vec<u8> = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        })
        .take(size)
        .collect();
        let lower = LayerBuilder::new().file("motd", 0o644, "hello").finish();
        let layout = directory.path().join("layout");
        let mut layers = vec![(lower, Compression::Gzip)];
        layers.extend(upper(&big).into_iter().map(|layer| (layer, compression)));
        let digest = write_layout(&layout, "1", &layers);
        let server = Server::start(&layout, digest, fault);
        Bench {
            directory,
            server,
            big,
        }
    }

    fn run(&self, verb: &[&str]) -> Run {
        Run::of(&mut self.command(verb))
    }

    /// `IMAGE` stands for the image.
    fn command(&self, verb: &[&str]) -> std::process::Command {
        let mut command = lowerdir();
        command
            .arg("--store")
            .arg(self.directory.path().join("store"));
        command.env(
            "REGISTRY_AUTH_FILE",
            self.directory.path().join("auth.json"),
        );
        command.env("TMPDIR", self.directory.path());
        let image = self.image();
        command.args(verb.iter().map(|word| match *word {
            "IMAGE" => &image,
            word => word,
        }));
        command
    }

    /// Starts it, silently.
    fn spawn(&self, verb: &[&str]) -> Child {
        let mut command = self.command(verb);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn image(&self) -> String {
        format!("docker://{}/app:1", self.server.host())
    }

    fn unpack(&self) -> Run {
        self.run(&UNPACK)
    }

    fn check(&self, run: &Run) {
        let lines = run.lines();
        assert_eq!(fs::read(Path::new(lines[0]).join("big")).unwrap(), self.big);
        assert_eq!(
            fs::read(Path::new(lines[1]).join("motd")).unwrap(),
            b"hello"
        );
    }

    /// How often the large blob was asked for.
    fn requests(&self) -> usize {
        self.server.requests(&self.server.big)
    }

    fn login(&self, user: &str, password: &str) {
        let auth = STANDARD.encode(format!("{user}:{password}"));
        let host = self.server.host();
        let text = format!(r#"{{"auths":{{"{host}":{{"auth":"{auth}"}}}}}}"#);
        fs::write(self.directory.path().join("auth.json"), text).unwrap();
    }
}

#[test]
fn an_image_is_fetched_once() {
    let bench = Bench::new(Fault::None);
    bench.check(&bench.unpack());
    assert_eq!(bench.requests(), 1);
    bench.check(&bench.unpack());
    assert_eq!(bench.requests(), 1, "the store has it");
    let name = format!("{}/app:1", bench.server.host());
    assert!(bench.run(&["images"]).stdout.contains(&name));
    let stack = bench.run(&["stack", &bench.image()]);
    assert_eq!(stack.lines().len(), 1, "{stack:?}");
    let listed = bench.run(&["ls", &bench.image()]);
    assert!(listed.stdout.contains("motd"), "{listed:?}");
}

/// Each fault is survived, with so many requests for the large blob.
#[test]
fn what_breaks_off_is_resumed() {
    for (fault, requests) in [
        (Fault::CutEach(300_000), 4),
        (Fault::CutOnceWithoutRange(300_000), 2),
        (Fault::WrongRangeOnce(300_000), 3),
        (Fault::UnsatisfiedOnce(300_000), 3),
        (Fault::ResetOnce(300_000), 2),
        (
            Fault::Busy {
                status: 503,
                times: 2,
            },
            3,
        ),
        (
            Fault::Busy {
                status: 429,
                times: 1,
            },
            2,
        ),
        (Fault::FlippedOnce, 2),
        (Fault::TooLong, 1),
    ] {
        let bench = Bench::new(fault);
        let run = bench.unpack();
        assert_eq!(run.status, 0, "{fault:?}: {run:?}");
        bench.check(&run);
        assert_eq!(bench.requests(), requests, "{fault:?}");
        let sent = bench.server.ranges(&bench.server.big);
        if matches!(fault, Fault::CutEach(_)) {
            assert!(sent[1..].iter().all(Option::is_some), "{sent:?}");
        }
    }
}

#[test]
fn what_cannot_be_had_is_told_as_what_it_is() {
    for (fault, status, words) in [
        (Fault::Flipped, 3, &["sent a blob with the digest"][..]),
        (Fault::Refused(403), 1, &["/blobs/sha256:", "answered 403"]),
        (Fault::Refused(404), 1, &["/blobs/sha256:", "answered 404"]),
        (Fault::Short, 1, &["/blobs/sha256:", "at byte ", "5 times"]),
        (Fault::Encoded, 1, &["Content-Encoding"]),
        (Fault::Patient, 1, &["answered 429"]),
        (Fault::Loop, 1, &["too many redirects"]),
        (Fault::Headers, 1, &["/blobs/sha256:", "header"]),
        (Fault::Downgrade, 1, &["/blobs/sha256:"]),
    ] {
        let bench = Bench::new(fault);
        let run = bench.unpack();
        run.fails(status, words);
        assert!(!run.stderr.contains("damaged"), "{fault:?}: {run:?}");
        let layers = bench.directory.path().join("store/layers/sha256");
        assert_eq!(
            fs::read_dir(layers).map_or(0, Iterator::count),
            0,
            "{fault:?}"
        );
    }
}

/// The unfinished file of the large blob in the store.
fn download(bench: &Bench) -> std::path::PathBuf {
    let name = bench.server.big.replace(':', "-");
    bench.directory.path().join("store/downloads").join(name)
}

/// Waits until another process has fetched so much.
fn wait_for(file: &Path, bytes: u64) {
    wait_until(|| fs::metadata(file).map_or(0, |found| found.len()) >= bytes);
}

fn wait_until(is: impl Fn() -> bool) {
    while !is() {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_killed_run_leaves_what_it_has_for_the_next() {
    let bench = Bench::new(Fault::SilentOnce(600_000));
    let mut child = bench.spawn(&UNPACK);
    wait_for(&download(&bench), 500_000);
    child.kill().unwrap();
    child.wait().unwrap();
    let there = fs::metadata(download(&bench)).unwrap().len();
    let dry = bench.run(&["prune", "-n"]);
    assert!(dry.stderr.contains("unfinished download"), "{dry:?}");
    let run = bench.unpack();
    bench.check(&run);
    let ranges = bench.server.ranges(&bench.server.big);
    assert_eq!(ranges, [None, Some(there as usize)]);
    assert!(!download(&bench).exists(), "the layer has it");
}

#[test]
fn verbs_that_look_fetch_a_flipped_blob_again_and_keep_nothing() {
    for verb in ["ls", "inspect"] {
        let bench = Bench::new(Fault::FlippedOnce);
        let run = bench.run(&[verb, "IMAGE"]);
        assert_eq!((run.status, bench.requests()), (0, 2), "{run:?}");
        let left = fs::read_dir(bench.directory.path()).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["layout"], "no store, no file");
    }
}

#[test]
fn what_a_killed_run_left_is_checked() {
    let bench = Bench::new(Fault::None);
    bench.run(&["ls", &bench.image()]);
    let before = bench.requests();
    fs::create_dir_all(bench.directory.path().join("store")).unwrap();
    bench.unpack();
    bench.run(&["rm", &format!("{}/app:1", bench.server.host())]);
    fs::write(download(&bench), vec![7; 400_000]).unwrap();
    let run = bench.unpack();
    bench.check(&run);
    let ranges = bench.server.ranges(&bench.server.big);
    assert_eq!(ranges[before + 1..], [Some(400_000), None], "{run:?}");
    fs::write(download(&bench), "rest").unwrap();
    let pruned = bench.run(&["prune"]);
    assert!(
        pruned.stderr.contains("1 unfinished download"),
        "{pruned:?}"
    );
    assert!(!download(&bench).exists());
}

#[test]
fn layers_with_one_blob_share_its_transfer() {
    let layers = |big: &[u8]| {
        let upper = LayerBuilder::new().file("big", 0o644, big).finish();
        let between = LayerBuilder::new().file("motd", 0o600, "").finish();
        vec![upper.clone(), between, upper]
    };
    let bench = Bench::with(Fault::FlippedOnce, BIG, Compression::Gzip, layers);
    let run = bench.unpack();
    assert_eq!((run.status, run.lines().len()), (0, 4), "{run:?}");
    assert_eq!(
        bench.requests(),
        2,
        "once, and once more for its flipped bit"
    );
    for layer in [0, 2] {
        let big = Path::new(run.lines()[layer]).join("big");
        assert!(fs::read(big).unwrap() == bench.big);
    }
    assert!(!download(&bench).exists());
}

#[test]
fn a_large_blob_comes_through_several_connections() {
    const SIZE: usize = 100 << 20;
    for fault in [Fault::None, Fault::CutEach(20 << 20)] {
        let layers = |big: &[u8]| vec![LayerBuilder::new().file("big", 0o644, big).finish()];
        let bench = Bench::with(fault, SIZE, Compression::Plain, layers);
        let run = bench.unpack();
        assert_eq!(run.status, 0, "{run:?}");
        assert!(fs::read(Path::new(run.lines()[0]).join("big")).unwrap() == bench.big);
        let ranges = bench.server.ranges(&bench.server.big);
        let mut starts: Vec<usize> = ranges.iter().map(|start| start.unwrap_or(0)).collect();
        assert!(starts.len() >= 5, "{starts:?}");
        starts.sort_unstable();
        starts.dedup();
        assert_eq!(starts.len(), ranges.len(), "nothing is asked for twice");
    }
}

#[test]
fn a_pull_copies_byte_for_byte_and_goes_on_where_it_was_killed() {
    let bench = Bench::new(Fault::SilentOnce(600_000));
    let target = format!("oci:{}:new", bench.path("copy").display());
    let pull = ["pull", "IMAGE", &target];
    let mut child = bench.spawn(&pull);
    let name = bench.server.big.replace(':', "-");
    let arriving = bench.path("copy/.lowerdir-arriving").join(name);
    wait_for(&arriving, 500_000);
    // The little one is copied before.
    wait_until(|| fs::read_dir(bench.path("copy/blobs/sha256")).is_ok_and(|it| it.count() > 0));
    child.kill().unwrap();
    child.wait().unwrap();
    let there = fs::metadata(&arriving).unwrap().len() as usize;
    let listed = bench.run(&["ls", &format!("oci:{}", bench.path("copy").display())]);
    assert_eq!(listed.status, 1, "there is no image in it yet: {listed:?}");

    let run = bench.run(&[&pull[..], &["--json"]].concat());
    assert_eq!(run.status, 0, "{run:?}");
    assert!(
        run.stdout.contains("\"new_blobs\":1,"),
        "the little one was there: {run:?}"
    );
    assert_eq!(bench.server.ranges(&bench.server.big), [None, Some(there)]);
    for entry in fs::read_dir(bench.path("layout/blobs/sha256")).unwrap() {
        let entry = entry.unwrap();
        let copy = bench.path("copy/blobs/sha256").join(entry.file_name());
        assert!(
            fs::read(entry.path()).unwrap() == fs::read(&copy).unwrap(),
            "{copy:?}"
        );
    }
    assert!(!bench.path("copy/.lowerdir-arriving").exists());
    let same = bench.run(&["diff", "IMAGE", &target]);
    assert_eq!((same.status, &*same.stdout), (0, ""), "{same:?}");

    // From one layout to another; and nothing is read twice.
    let other = format!("oci:{}:other", bench.path("other").display());
    for blobs in [2, 0] {
        let run = bench.run(&["pull", &target, &other, "--json"]);
        assert!(
            run.stdout.contains(&format!("\"new_blobs\":{blobs},")),
            "{run:?}"
        );
    }
    // A blob that is not what its name says is fetched again.
    let big = bench.path("copy/blobs/sha256").join(&bench.server.big[7..]);
    fs::write(&big, "damaged").unwrap();
    let run = bench.run(&[&pull[..], &["--json"]].concat());
    assert!(run.stdout.contains("\"new_blobs\":1,"), "{run:?}");
    assert!(fs::metadata(&big).unwrap().len() > 600_000);
}

#[test]
fn a_pull_of_what_differs_from_its_digest_names_nothing() {
    for (fault, status) in [(Fault::Flipped, 3), (Fault::Refused(404), 1)] {
        let bench = Bench::new(fault);
        let target = format!("oci:{}:new", bench.path("copy").display());
        let run = bench.run(&["pull", "IMAGE", &target]);
        assert_eq!(run.status, status, "{run:?}");
        let big = bench.path("copy/blobs/sha256").join(&bench.server.big[7..]);
        assert!(!big.exists());
        let index = fs::read_to_string(bench.path("copy/index.json")).unwrap();
        assert!(!index.contains("sha256:"), "{index}");
    }
}

/// Whatever the network does, and however often the program is killed: the image is the image, and little is fetched twice.
#[test]
fn a_pull_ends() {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        // They mostly wait.
        for _ in 0..8 {
            scope.spawn(|| {
                while let seed @ 0..40 = next.fetch_add(1, Ordering::Relaxed) {
                    ends(seed);
                }
            });
        }
    });
}

fn ends(seed: u64) {
    let bench = Bench::new(Fault::Random(seed));
    let mut dice = Dice::new(seed);
    let mut verb = UNPACK.to_vec();
    verb.push("--stall-timeout=1");
    let kills = dice.below(3) as usize;
    for _ in 0..kills {
        let mut child = bench.spawn(&verb);
        std::thread::sleep(Duration::from_millis(dice.below(400)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let run = bench.run(&verb);
    assert_eq!(run.status, 0, "seed {seed}: {run:?}");
    bench.check(&run);
    let (sent, again) = bench.server.traffic();
    // A connection that is given up has bytes on their way.
    let requests = bench.requests();
    let most = 1_200_000 + again + kills * 1_200_000 + requests * 300_000;
    assert!(sent <= most, "seed {seed}: {sent}, {again}, {requests}");
}

#[test]
fn a_silent_connection_is_given_up_and_an_interrupt_is_obeyed() {
    let bench = Bench::new(Fault::SilentOnce(600_000));
    let mut verb = UNPACK.to_vec();
    verb.push("--stall-timeout=1");
    bench.check(&bench.run(&verb));
    assert_eq!(bench.requests(), 2);
    let bench = Bench::new(Fault::SilentOnce(600_000));
    let mut child = bench.spawn(&UNPACK);
    wait_for(&download(&bench), 500_000);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    // Long before the connection counts as lost.
    assert_eq!(child.wait().unwrap().signal(), Some(2));
    assert_eq!(bench.requests(), 1);
    assert!(download(&bench).exists(), "the next run goes on with it");
}

#[test]
fn a_lost_connection_is_told() {
    let bench = Bench::new(Fault::CutEach(600_000));
    let mut verb = UNPACK.to_vec();
    verb.push("--progress=json");
    let run = Run::of(&mut bench.command(&verb));
    assert!(run.stderr.contains("\"event\":\"arrived\""), "{run:?}");
    assert!(run.stderr.contains("\"event\":\"retry\""), "{run:?}");
    let host = bench.server.host();
    let text = format!("{host}: the connection was closed, after 0.6 of 1.1 MB: trying again");
    assert!(run.stderr.contains(&text), "{run:?}");
}

#[test]
fn documents_are_checked() {
    let bench = Bench::new(Fault::None);
    let host = bench.server.host();
    let missing = format!("docker://{host}/app:2");
    bench
        .run(&["ls", &missing])
        .fails(1, &["manifests/2: no such image"]);
    let by_digest = format!("docker://{host}/app@sha256:{}", sha256("other"));
    bench.run(&["ls", &by_digest]).fails(1, &["no such image"]);
    bench
        .run(&["ls", "docker://App"])
        .fails(2, &["not the name of an image"]);
    let bench = Bench::new(Fault::Html);
    bench
        .run(&["ls", &bench.image()])
        .fails(3, &["the manifest"]);
    let bench = Bench::new(Fault::HugeManifest);
    bench
        .run(&["ls", &bench.image()])
        .fails(4, &["the manifest has over 4194304 bytes"]);
}

/// A credential helper, in a directory that is first in PATH.
fn helper(bench: &Bench, script: &str) -> String {
    let directory = bench.path("bin");
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join("docker-credential-it");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let host = bench.server.host();
    let text = format!(r#"{{"credHelpers":{{"{host}":"it"}}}}"#);
    fs::write(bench.path("auth.json"), text).unwrap();
    let before = std::env::var("PATH").unwrap();
    format!("{}:{before}", directory.display())
}

#[test]
fn helpers_are_asked_and_what_goes_wrong_with_one_names_it() {
    let good = r#"read host; test "$1" = get || exit 1
        echo "{\"ServerURL\":\"$host\",\"Username\":\"user\",\"Secret\":\"hunter2\"}""#;
    let token = good
        .replace("user", "<token>")
        .replace("hunter2", "identity");
    for (fault, script, words) in [
        (Fault::Basic, good, None),
        (Fault::Bearer, good, None),
        (Fault::Bearer, &token, None),
        (
            Fault::Basic,
            "echo hunter2 not JSON",
            Some("did not answer with"),
        ),
        (
            Fault::Basic,
            "echo hunter2; exit 1",
            Some("docker-credential-it failed"),
        ),
        (
            Fault::Basic,
            "echo credentials not found in native keychain; exit 1",
            Some("answered 401"),
        ),
    ] {
        let bench = Bench::new(fault);
        let path = helper(&bench, script);
        let run = Run::of(bench.command(&UNPACK).env("PATH", path));
        match words {
            None => bench.check(&run),
            Some(words) => run.fails(1, &[words]),
        }
        assert!(!run.stderr.contains("hunter2"), "{run:?}");
    }
    let bench = Bench::new(Fault::Basic);
    helper(&bench, "");
    fs::remove_dir_all(bench.path("bin")).unwrap();
    let missing = "docker-credential-it is not in PATH";
    bench.unpack().fails(1, &["auth.json", missing]);
}

#[test]
fn a_token_that_ends_in_the_middle_is_renewed() {
    let bench = Bench::new(Fault::ShortTokens(300_000));
    bench.login("user", "hunter2");
    bench.check(&bench.unpack());
}

#[test]
fn a_login_does_not_follow_a_redirect_to_another_host() {
    let bench = Bench::new(Fault::Elsewhere);
    bench.login("user", "hunter2");
    bench.check(&bench.unpack());
    // Asked for without a login first, then with one, which leads there.
    let asked = |start: &str| bench.server.paths(start).len();
    assert_eq!((asked("/v2/app/blobs/"), asked("/elsewhere/")), (3, 1));
}

#[test]
fn a_layer_is_translated_while_it_arrives() {
    let upper = |big: &[u8]| {
        let layer = LayerBuilder::new().whiteout("motd").file("big", 0o644, big);
        vec![layer.finish()]
    };
    for (fault, status) in [(Fault::CutEach(300_000), 0), (Fault::Flipped, 3)] {
        let bench = Bench::with(fault, BIG, Compression::Gzip, upper);
        let out = bench.path("out.tar");
        let run = bench.run(&["translate", "--layer=2", "IMAGE", out.to_str().unwrap()]);
        assert_eq!((run.status, out.exists()), (status, status == 0), "{run:?}");
        if status != 0 {
            run.fails(3, &["sent a blob with the digest"]);
            continue;
        }
        let back = bench.path("back.tar");
        let words = [
            "translate",
            "--to=oci",
            out.to_str().unwrap(),
            back.to_str().unwrap(),
        ];
        assert_eq!(bench.run(&words).status, 0);
        let back = fs::read(back).unwrap();
        let has = |bytes: &[u8]| back.windows(bytes.len()).any(|window| window == bytes);
        assert!(has(b".wh.motd") && has(&bench.big[..1000]));
    }
    let bench = Bench::new(Fault::None);
    bench
        .run(&["translate", "IMAGE"])
        .fails(2, &["choose one with --layer"]);
    bench
        .run(&["translate", "--layer=9", "IMAGE"])
        .fails(1, &["there is no layer 9"]);
    bench
        .run(&["translate", "--layer=1", "file"])
        .fails(2, &["--layer is for an image in a registry"]);
}

/// Of an image with other layers below, say: this test is the other process.
#[test]
fn what_another_process_fetches_is_read_from_its_file() {
    let bench = Bench::new(Fault::None);
    bench.unpack();
    bench.run(&["rm", &format!("{}/app:1", bench.server.host())]);
    let before = bench.requests();
    let blob = bench
        .path("layout/blobs/sha256")
        .join(&bench.server.big[7..]);
    let blob = fs::read(blob).unwrap();
    let mut other = fs::File::create(download(&bench)).unwrap();
    rustix::fs::flock(&other, rustix::fs::FlockOperation::LockExclusive).unwrap();
    other.write_all(&blob[..400_000]).unwrap();
    let mut verb = UNPACK.to_vec();
    verb.push("--progress=json");
    let mut command = bench.command(&verb);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(told.any(|line| line.unwrap().contains("another process is fetching it")));
    other.write_all(&blob[400_000..]).unwrap();
    fs::remove_file(download(&bench)).unwrap();
    drop(other);
    let rest: Vec<String> = told.map(Result::unwrap).collect();
    assert!(child.wait().unwrap().success(), "{rest:?}");
    assert_eq!(bench.requests(), before, "{rest:?}");
    bench.check(&bench.unpack());
}

#[test]
fn two_processes_share_a_transfer() {
    let bench = Bench::new(Fault::SilentOnce(600_000));
    let mut verb = UNPACK.to_vec();
    verb.push("--stall-timeout=2");
    let mut first = bench.spawn(&verb);
    wait_for(&download(&bench), 500_000);
    let run = bench.run(&verb);
    assert!(first.wait().unwrap().success());
    bench.check(&run);
    assert_eq!(bench.requests(), 2);
}

#[test]
fn logins_are_found_and_never_shown() {
    for fault in [Fault::Basic, Fault::Bearer] {
        let bench = Bench::new(fault);
        let run = bench.unpack();
        run.fails(1, &["401"]);
        bench.login("user", "wrong-hunter2");
        let run = bench.unpack();
        run.fails(1, &["401"]);
        let encoded = STANDARD.encode("user:wrong-hunter2");
        for secret in ["wrong-hunter2", &encoded] {
            assert!(!run.stderr.contains(secret), "{run:?}");
        }
        bench.login("user", "hunter2");
        bench.check(&bench.unpack());
    }
}
