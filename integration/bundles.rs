//! Bundles that `runc` really runs: with the overlay in `config.json`, mounted before, and by what is
//! printed; read-only, with an upperdir and in memory. And what `umoci` makes of the same config.
//! Other runtimes are in `runtimes`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::engines::Runtime;
use crate::layout::{Layout, MANIFEST, named};
use crate::oci;
use crate::scratch::{Mounted, Run, Scratch};
use crate::tarball::LayerBuilder;
use support::program;

/// What all containers here do: tell who and where they are, and try to write.
const SCRIPT: &str = "echo $0 $(id -u):$(id -g) $PWD $HOME $NAME; ls -d /gone /kept /dev/null 2>/dev/null; \
                      cat /data/file; echo new > /srv/new; rm /kept && echo removed; \
                      echo x > /data/x && echo volume; stat -c %a:%u /data";

/// A busybox and its links.
pub fn busybox() -> LayerBuilder {
    let busybox = Command::new("sh")
        .args(["-c", "command -v busybox"])
        .output();
    let busybox = String::from_utf8(busybox.expect("sh").stdout).expect("UTF-8");
    let mut layer = LayerBuilder::new().dir("bin", 0o755).file(
        "bin/busybox",
        0o755,
        fs::read(busybox.trim()).expect("busybox"),
    );
    for name in ["sh", "ls", "cat", "id", "rm", "stat", "sleep", "mount"] {
        layer = layer.symlink(format!("bin/{name}"), "busybox");
    }
    layer
}

/// What a distribution's image has, and two layers on top of it.
pub fn layers() -> Vec<Vec<u8>> {
    let base = busybox()
        .file("kept", 0o644, "")
        .file("gone", 0o644, "")
        .dir("srv", 0o777)
        .file("data/file", 0o644, "hidden")
        .file("usr/lib/passwd", 0o644, "app:x:1000:1001::/srv:/bin/sh\n");
    let second = LayerBuilder::new()
        .whiteout("gone")
        .symlink("etc/passwd", "/usr/lib/passwd")
        .file("etc/group", 0o644, "app:x:1001:\n");
    let third = LayerBuilder::new().dir("data", crate::tarball::Meta::new(0o711).owner(1000, 1001));
    vec![base.finish(), second.finish(), third.finish()]
}

pub fn parameters() -> Value {
    json!({
        "Entrypoint": ["/bin/sh", "-c"], "Cmd": [SCRIPT, "arg"], "User": "app",
        "WorkingDir": "/srv", "Env": ["PATH=/bin", "NAME=value"], "Volumes": { "/data": {} },
        "Labels": { "org.opencontainers.image.title": "b" }, "StopSignal": "SIGINT", "ExposedPorts": { "80/tcp": {} },
    })
}

pub struct Shop {
    pub site: TempDir,
    image: String,
    _scratch: Scratch,
}

impl Shop {
    pub fn open(program: &str, layers: &[Vec<u8>], parameters: Value) -> Option<Shop> {
        if Command::new(program).arg("--version").output().is_err() {
            crate::skip(&format!("there is no {program}: see install-peers.sh"));
            return None;
        }
        let scratch = Scratch::new()?;
        let site = scratch.site();
        let layout = Layout::new(site.path().join("image"));
        let mut config = oci::config(&oci::diff_ids(layers));
        config["config"] = parameters;
        config["author"] = "somebody".into();
        config["created"] = "2020-01-01T00:00:00Z".into();
        let manifest = layout.manifest_with_config(layers, &config);
        layout.index(&[named(layout.document(MANIFEST, &manifest), "it")]);
        let image = format!("oci:{}:it", site.path().join("image").display());
        let shop = Shop {
            site,
            image,
            _scratch: scratch,
        };
        shop.lowerdir(&["unpack", &shop.image, "--sync=none"]);
        Some(shop)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.site.path().join(name)
    }

    pub fn lowerdir(&self, arguments: &[&str]) -> String {
        let mut command = program::lowerdir();
        command
            .arg("--store")
            .arg(self.path("store"))
            .arg("--quiet");
        let run = Run::of(command.args(arguments).stdin(Stdio::null()));
        run.text().unwrap_or_else(|complaint| panic!("{complaint}"))
    }

    /// Makes a bundle, and returns what is printed.
    pub fn bundle(&self, name: &str, options: &[&str]) -> String {
        let directory = self.path(name).display().to_string();
        let fixed = ["bundle", &self.image, &directory, "--sync=none"];
        self.lowerdir(&[&fixed[..], options].concat())
    }

    /// Where the layers are mounted, until this is dropped.
    pub fn rootfs(&self, name: &str) -> Mounted {
        Mounted(self.path(name).join("rootfs"))
    }

    /// What the container prints.
    fn run(&self, name: &str) -> Result<String, String> {
        run(&self.path("runc"), &self.path(name))
    }
}

/// What the container of a bundle prints.
pub fn run(state: &Path, bundle: &Path) -> Result<String, String> {
    run_by(&Runtime::installed("runc"), state, bundle)
}

/// The same, by another runtime.
pub fn run_by(runtime: &Runtime, state: &Path, bundle: &Path) -> Result<String, String> {
    let mut command = runtime.engines.command("timeout");
    command.args(["-s", "KILL", "60", runtime.program, "--root"]);
    command.arg(state);
    // The name is one for the whole machine: cgroups are made for it.
    let name = bundle.file_name().expect("a name").to_string_lossy();
    let name = format!("lowerdir-bundle-{name}-{}", std::process::id());
    let run = Run::of(
        command
            .args(["run", "--bundle"])
            .arg(bundle)
            .arg(name)
            .stdin(Stdio::null()),
    );
    run.text()
}

/// Runs a bundle that the product has no part in.
pub fn runc_works(site: &Path) -> bool {
    works(&Runtime::installed("runc"), site)
}

/// The same, by another runtime.
pub fn works(runtime: &Runtime, site: &Path) -> bool {
    let bundle = site.join("trial");
    let _ = fs::remove_dir_all(&bundle);
    fs::create_dir_all(bundle.join("rootfs/bin")).expect("a directory");
    let copy = Command::new("sh")
        .arg("-c")
        .arg("cp $(command -v busybox) \"$0\"")
        .arg(bundle.join("rootfs/bin/busybox"))
        .status();
    assert!(copy.expect("sh").success());
    let spec = Command::new("runc")
        .args(["spec", "--bundle"])
        .arg(&bundle)
        .status();
    assert!(spec.expect("runc").success());
    let file = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    config["process"]["terminal"] = false.into();
    config["process"]["args"] = json!(["/bin/busybox", "echo", "it works"]);
    config["root"]["readonly"] = false.into();
    fs::write(&file, config.to_string()).unwrap();
    match run_by(runtime, &site.join("state"), &bundle) {
        Ok(text) if text == "it works\n" => true,
        other => {
            let label = &runtime.label;
            crate::skip(&format!(
                "{label} cannot run what `runc spec` writes: {other:?}"
            ));
            false
        }
    }
}

pub const SEEN: &str = "arg 1000:1001 /srv /srv value\n/dev/null\n/kept\n";
pub const READ_ONLY: &str = "volume\n711:1000\n";

#[test]
fn runc_runs_bundles_read_only_and_with_changes_both_ways() {
    let Some(shop) = Shop::open("runc", &layers(), parameters()) else {
        return;
    };
    if !runc_works(shop.site.path()) {
        return;
    }
    let expected = format!("{SEEN}{READ_ONLY}");
    for overlay in ["config", "mounted"] {
        let option = format!("--overlay={overlay}");
        shop.bundle(overlay, &[&option]);
        let rootfs = Mounted(shop.path(overlay).join("rootfs"));
        assert_eq!(shop.run(overlay), Ok(expected.clone()), "{overlay}");
        drop(rootfs);

        let memory = format!("{overlay}-memory");
        shop.bundle(&memory, &[&option, "--tmpfs=10m"]);
        let rootfs = Mounted(shop.path(&memory).join("rootfs"));
        assert_eq!(shop.run(&memory), Ok(expected.clone()), "{memory}");
        drop(rootfs);

        let name = format!("{overlay}-changes");
        let [upper, work] = ["upper", "work"].map(|what| shop.path(&format!("{overlay}-{what}")));
        let (u, w) = (upper.to_str().unwrap(), work.to_str().unwrap());
        shop.bundle(&name, &[&option, "--upper", u, "--work", w]);
        let rootfs = Mounted(shop.path(&name).join("rootfs"));
        assert_eq!(shop.run(&name), Ok(expected.clone()), "{name}");
        drop(rootfs);
        assert_eq!(
            fs::read_to_string(upper.join("srv/new")).expect("it was written"),
            "new\n"
        );
        let mut names: Vec<_> = fs::read_dir(&upper)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["srv"], "no mount point is among the changes");
    }
}

/// Root in the container may do what root does in Docker's, but for what is read-only.
#[test]
fn root_changes_owners_and_removes_what_others_own() {
    let mut parameters = parameters();
    parameters["User"] = "".into();
    let Some(shop) = Shop::open("runc", &layers(), parameters) else {
        return;
    };
    if !runc_works(shop.site.path()) {
        return;
    }
    let (upper, work) = (shop.path("u"), shop.path("w"));
    let options = [
        "--upper",
        upper.to_str().unwrap(),
        "--work",
        work.to_str().unwrap(),
    ];
    let script =
        "busybox chown 5:6 /kept && rm -r /srv /data/* ; mount -t tmpfs x /bin || echo denied";
    shop.bundle("root", &[&options[..], &["--", script]].concat());
    let _rootfs = shop.rootfs("root");
    let printed = shop.run("root").expect("it runs");
    assert_eq!(printed, "denied\n");
    use std::os::unix::fs::MetadataExt;
    let kept = fs::symlink_metadata(upper.join("kept")).expect("it was copied up");
    assert_eq!((kept.uid(), kept.gid()), (5, 6));
    assert!(
        fs::symlink_metadata(upper.join("srv")).is_ok(),
        "a whiteout"
    );
}

#[test]
fn what_is_printed_mounts_what_runc_runs() {
    let Some(shop) = Shop::open("runc", &layers(), parameters()) else {
        return;
    };
    if !runc_works(shop.site.path()) {
        return;
    }
    let text = shop.bundle("cmd", &["--overlay=cmd"]);
    let mounted = Command::new("sh").args(["-c", &text]).status();
    assert!(mounted.expect("sh").success(), "{text}");
    let rootfs = Mounted(shop.path("cmd/rootfs"));
    assert_eq!(shop.run("cmd"), Ok(format!("{SEEN}{READ_ONLY}")));
    drop(rootfs);
    let unit = shop.bundle("unit", &["--overlay=systemd"]);
    let value = |key: &str| {
        let mut lines = unit.lines();
        lines
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .expect("the key")
    };
    let mut mount = Command::new("mount");
    mount.args([
        "-t",
        value("Type"),
        "-o",
        value("Options"),
        value("What"),
        value("Where"),
    ]);
    assert!(mount.status().expect("mount(8)").success(), "{unit}");
    let _rootfs = Mounted(shop.path("unit/rootfs"));
    assert_eq!(shop.run("unit"), Ok(format!("{SEEN}{READ_ONLY}")));
}

/// Sixty layers, whose names only fit as short ones.
#[test]
fn runc_runs_a_deep_stack() {
    let mut deep = layers();
    deep.extend((0..57).map(|n| {
        LayerBuilder::new()
            .file(format!("srv/f{n}"), 0o644, "")
            .finish()
    }));
    let Some(shop) = Shop::open("runc", &deep, parameters()) else {
        return;
    };
    if runc_works(shop.site.path()) {
        shop.bundle("deep", &["--", "ls /srv"]);
        let _rootfs = shop.rootfs("deep");
        let printed = shop.run("deep").expect("it runs");
        assert_eq!(printed.lines().count(), 57, "{printed}");
    }
}

#[test]
fn runc_runs_a_real_image() {
    let Some(folder) = std::env::var_os("LOWERDIR_IMAGES").map(PathBuf::from) else {
        eprintln!("skipped: LOWERDIR_IMAGES names no folder of images");
        return;
    };
    let Some(mut shop) = Shop::open("runc", &layers(), parameters()) else {
        return;
    };
    if !runc_works(shop.site.path()) {
        return;
    }
    shop.image = folder.join("alpine-311.tar.gz").display().to_string();
    shop.lowerdir(&["unpack", &shop.image, "--sync=none"]);
    shop.bundle(
        "alpine",
        &[
            "--tmpfs",
            "--",
            "sh",
            "-c",
            "cat /etc/alpine-release; touch /x; id -un",
        ],
    );
    let _rootfs = shop.rootfs("alpine");
    let printed = shop.run("alpine").expect("it runs");
    assert!(
        printed.starts_with("3.11") && printed.ends_with("\nroot\n"),
        "{printed}"
    );
}

/// What both make of a config is the same where image-spec `conversion.md` leaves no choice.
#[test]
fn umoci_says_the_same_of_the_config() {
    // umoci 0.4 has the kernel follow a link, out of the image.
    let passwd = LayerBuilder::new().file("etc/passwd", 0o644, "app:x:1000:1001::/srv:/bin/sh\n");
    let layers = [layers(), vec![passwd.finish()]].concat();
    let Some(shop) = Shop::open("umoci", &layers, parameters()) else {
        return;
    };
    let theirs = shop.path("theirs");
    let image = shop.image.trim_start_matches("oci:").to_string();
    let mut umoci = Command::new("umoci");
    let run = Run::of(umoci.args(["unpack", "--image", &image]).arg(&theirs));
    run.text().unwrap_or_else(|complaint| panic!("{complaint}"));
    shop.bundle("ours", &["--terminal"]);
    let _rootfs = shop.rootfs("ours");
    let read = |bundle: &Path| -> Value {
        serde_json::from_slice(&fs::read(bundle.join("config.json")).unwrap()).unwrap()
    };
    let (ours, theirs) = (read(&shop.path("ours")), read(&theirs));
    for pointer in [
        "/process/args",
        "/process/cwd",
        "/process/user",
        "/process/terminal",
        "/annotations",
    ] {
        assert_eq!(ours.pointer(pointer), theirs.pointer(pointer), "{pointer}");
    }
    let sorted = |config: &Value| {
        let variables = config["process"]["env"].as_array().unwrap().iter();
        let mut variables: Vec<String> = variables.map(Value::to_string).collect();
        variables.sort();
        variables
    };
    assert_eq!(sorted(&ours), sorted(&theirs));
    let volume = |config: &Value| {
        let mounts = config["mounts"].as_array().unwrap().iter();
        let mut found = mounts.filter(|mount| mount["destination"] == "/data");
        found.next().map(|mount| mount["type"].clone())
    };
    assert_eq!(
        (volume(&ours), volume(&ours)),
        (volume(&theirs), Some("tmpfs".into()))
    );
}
