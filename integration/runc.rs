//! A container that `runc` runs on a mounted stack: what it lists is the image, without a trace of
//! what is deleted, and what it writes is in the upper directory.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::producers::workshop::{Input, Workshop, lowerdir, worked};
use crate::scratch::{Mounted, Run};

const SHELL: &str = "/bin/busybox";
/// Directories and files of the lowest layer that the layers above delete.
const DELETED: [&str; 4] = ["doomed-file", "doomed-tree", "doomed-deep", "doomed-child"];

#[test]
fn container_lists_the_image_and_writes_into_the_upper_directory() {
    let Some(shop) = Workshop::open(&["buildah", "runc", "busybox"]) else {
        return;
    };
    if let Err(why) = try_container(&shop) {
        return crate::skip(&format!("runc cannot run busybox here: {why}"));
    }
    let image = format!("{}:it", shop.reference("oci", "image"));
    build(&shop, &image);
    let mounted = mount(&shop, &image);
    let root = &mounted.0;

    // All but /proc, which changes while it is listed.
    let script = "busybox ls -la / && busybox ls -laR /bin /dev /srv";
    let listing = run(&shop, "listing", root, &["sh", "-c", script]).expect("listing");
    for kept in [
        "kept-file",
        "kept-link -> kept-file",
        "again",
        "new-child",
        "busybox",
    ] {
        assert!(listing.contains(kept), "{kept} is not in:\n{listing}");
    }
    for deleted in DELETED {
        assert!(!listing.contains(deleted), "{deleted} is in:\n{listing}");
    }
    assert!(
        !listing.contains('?'),
        "something cannot be told:\n{listing}"
    );

    let script = "set -e; echo written > /srv/again/new; echo more >> /srv/kept-file; \
                  busybox rm /srv/kept-link; busybox cat /srv/kept-file";
    let text = run(&shop, "writing", root, &["sh", "-c", script]).expect("writing");
    assert_eq!(text, "kept\nmore\n");
    let upper = shop.path("upper/srv");
    let read = |name: &str| fs::read_to_string(upper.join(name)).expect("it was written");
    assert_eq!(read("again/new"), "written\n");
    assert_eq!(read("kept-file"), "kept\nmore\n");
    let names = fs::read_dir(&upper).expect("srv was written to").count();
    assert_eq!(names, 3, "again, kept-file, and the deletion of kept-link");
    worked(lowerdir(
        &["umount", root.to_str().expect("UTF-8")],
        Input::None,
    ));
}

/// Runs a container on a directory that the product has no part in.
fn try_container(shop: &Workshop) -> Result<(), String> {
    let root = shop.path("plain");
    fill(&root);
    match run(shop, "trial", &root, &["echo", "it works"])?.as_str() {
        "it works\n" => Ok(()),
        other => Err(format!("it prints {other:?}")),
    }
}

/// Three layers; what the second deletes and makes again, the third deletes in part.
fn build(shop: &Workshop, image: &str) {
    let layers: [fn(&Path); 3] = [fill, delete, delete_more];
    let mut from = "scratch".to_owned();
    for (number, layer) in layers.iter().enumerate() {
        let container = shop.run(&["buildah", "from", "--quiet", "--pull-never", &from]);
        layer(Path::new(&shop.run(&["buildah", "mount", &container])));
        from = format!("example.com/box:{number}");
        shop.run(&["buildah", "commit", "--quiet", "--rm", &container, &from]);
    }
    shop.run(&["buildah", "push", "--quiet", &from, image]);
}

fn fill(root: &Path) {
    for directory in [
        "bin",
        "proc",
        "dev",
        "srv/doomed-tree/doomed-deep",
        "srv/again",
    ] {
        fs::create_dir_all(root.join(directory)).expect("a directory");
    }
    let path = Command::new("sh")
        .args(["-c", "command -v busybox"])
        .output();
    let path = String::from_utf8(path.expect("running sh").stdout).expect("UTF-8");
    fs::copy(path.trim(), root.join("bin/busybox")).expect("a copy of busybox");
    let srv = root.join("srv");
    fs::write(srv.join("doomed-file"), "doomed").expect("a file");
    fs::write(srv.join("kept-file"), "kept\n").expect("a file");
    fs::write(srv.join("again/doomed-child"), "doomed").expect("a file");
    symlink("kept-file", srv.join("kept-link")).expect("a link");
}

fn delete(root: &Path) {
    let srv = root.join("srv");
    fs::remove_file(srv.join("doomed-file")).expect("it was there");
    fs::remove_dir_all(srv.join("again")).expect("it was there");
    fs::create_dir(srv.join("again")).expect("a directory");
    fs::write(srv.join("again/new-child"), "new").expect("a file");
}

fn delete_more(root: &Path) {
    fs::remove_dir_all(root.join("srv/doomed-tree")).expect("it was there");
}

fn mount(shop: &Workshop, image: &str) -> Mounted {
    let [store, upper, work] = ["store", "upper", "work"].map(|name| shop.path(name));
    for directory in [&upper, &work] {
        fs::create_dir(directory).expect("a directory");
    }
    let [store, upper, work] = [&store, &upper, &work].map(|path| path.to_str().expect("UTF-8"));
    let unpack = ["--store", store, "unpack", "--sync=none", image];
    assert_eq!(worked(lowerdir(&unpack, Input::None)).len(), 3);
    let mounted = Mounted::nothing(&shop.path(""));
    let target = mounted.0.to_str().expect("UTF-8");
    let mount = ["--store", store, "mount", image, target];
    let options = ["--upper", upper, "--work", work];
    worked(lowerdir(&[&mount[..], &options].concat(), Input::None));
    mounted
}

/// What busybox prints in a container with this root directory.
fn run(shop: &Workshop, name: &str, root: &Path, command: &[&str]) -> Result<String, String> {
    let bundle = shop.path(&format!("bundle-{name}"));
    fs::create_dir(&bundle).expect("a bundle");
    let config = serde_json::to_vec(&config(root, command)).expect("JSON");
    fs::write(bundle.join("config.json"), config).expect("a configuration");
    let mut runc = Command::new("runc");
    runc.arg("--root")
        .arg(shop.path("runc"))
        .arg("run")
        .arg("--bundle")
        .arg(&bundle);
    // The name is one for the whole machine: cgroups are made for it.
    let run = Run::of(
        runc.arg(format!("lowerdir-{name}-{}", std::process::id()))
            .stdin(Stdio::null()),
    );
    run.text()
}

/// What `runc spec` writes, without all that a listing does not need: a process, `/proc` for runc
/// itself, namespaces, and no limits.
fn config(root: &Path, command: &[&str]) -> Value {
    let arguments: Vec<&str> = [SHELL].iter().chain(command).copied().collect();
    let namespaces = ["pid", "ipc", "uts", "mount", "network"].map(|kind| json!({ "type": kind }));
    let capabilities = ["CAP_DAC_OVERRIDE", "CAP_FOWNER"];
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": arguments,
            "env": ["PATH=/bin"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities,
                "effective": capabilities,
                "permitted": capabilities,
            },
            "noNewPrivileges": true,
        },
        "root": { "path": root, "readonly": false },
        "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
        "linux": { "resources": {}, "namespaces": namespaces },
    })
}
