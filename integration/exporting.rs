//! What Podman and Buildah make of an image that `export` put into an additional image store, which
//! they have on a read-only mount; and systemd of a mount stack.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountFlags, mount_bind, mount_remount};

use crate::crash::disk::{Disk, Mount};
use crate::engines::Engines;
use crate::oci::{Compression, sha256, write_layout};
use crate::producers::workshop::{Input, Workshop, lowerdir, worked};
use crate::scratch::{Mounted, Run, once_no_copy_is_left};
use crate::tarball::{LayerBuilder, Meta};
use crate::walk::Walk;
use support::program;

const PODMAN_RUN: &str = "podman run --rm --runtime runc --ulimit nofile=20000:20000 \
    --ulimit nproc=1000:1000 --network none";

/// A workshop whose Podman has an additional image store: `images`, mounted read-only on `media`.
struct Site {
    shop: Workshop,
    media: Mounted,
}

impl Site {
    fn open(programs: &[&str]) -> Option<Site> {
        let shop = Workshop::open(programs)?;
        let root = shop.path("");
        let media = Mounted::nothing(&root);
        let (root, shown) = (root.display(), media.0.display());
        let storage = format!(
            "[storage]\ndriver = 'overlay'\ngraphroot = '{root}graph'\nrunroot = '{root}run'\n\
             [storage.options]\nadditionalimagestores = ['{shown}']\n"
        );
        fs::write(shop.path("storage.conf"), storage).expect("a configuration");
        Some(Site { shop, media })
    }

    /// Mounts what was exported.
    fn mount(&self) {
        mount_bind(self.shop.path("images"), &self.media.0).expect("a bind mount");
        let flags = MountFlags::BIND | MountFlags::RDONLY;
        mount_remount(&self.media.0, flags, "").expect("a read-only mount");
        let written = fs::write(self.media.0.join("written"), "");
        assert!(written.is_err(), "the mount must be read-only");
    }

    fn text(&self, name: &str) -> String {
        self.shop.path(name).display().to_string()
    }

    /// Runs the product on the store of the site.
    fn lowerdir(&self, arguments: &[&str]) -> Vec<PathBuf> {
        let store = self.text("store");
        let arguments = [&["--store", &store][..], arguments].concat();
        worked(lowerdir(&arguments, Input::None))
    }

    /// An image of two layers with busybox in it, unpacked and exported.
    fn image(&self, compression: Compression, options: &[&str]) {
        let layers = layers().map(|layer| (layer, compression));
        write_layout(&self.shop.path("layout"), "busy:1", &layers);
        let image = format!("oci:{}:busy:1", self.text("layout"));
        self.lowerdir(&["unpack", "--sync=none", &image]);
        self.export(&image, options);
    }

    fn export(&self, image: &str, options: &[&str]) {
        let target = self.text("images");
        let fixed = ["export", "--format=containers-storage", image, &target];
        self.lowerdir(&[&fixed, options].concat());
    }

    fn sh(&self, script: &str) -> String {
        self.shop.run(&["sh", "-e", "-c", script])
    }

    /// The same with other engines.
    fn sh_with(&self, engines: &Engines, script: &str) -> String {
        let mut line = engines.words();
        line.extend(["sh", "-e", "-c", script].map(Into::into));
        self.shop.run(&line)
    }
}

fn layers() -> [Vec<u8>; 2] {
    let busybox = Command::new("sh")
        .args(["-c", "command -v busybox"])
        .output()
        .expect("a shell");
    let path = String::from_utf8(busybox.stdout).expect("a path");
    let busybox = fs::read(path.trim()).expect("it was looked for");
    let low = LayerBuilder::new()
        .dir("bin", 0o755)
        .file("bin/busybox", 0o755, busybox)
        .symlink("bin/sh", "busybox")
        .symlink("bin/ls", "busybox")
        .symlink("bin/cat", "busybox")
        .file("etc/passwd", 0o644, "root:x:0:0::/:/bin/sh\n")
        .file("srv/gone", 0o644, "gone")
        .file("srv/opaque/old", 0o644, "old");
    let high = LayerBuilder::new()
        .whiteout("srv/gone")
        .opaque("srv/opaque")
        .file("srv/opaque/new", 0o644, "new\n");
    [low.finish(), high.finish()]
}

/// The same by hard links, whose image has its manifest, and by symbolic links.
#[test]
fn podman_runs_an_exported_image_from_a_read_only_mount() {
    for (compression, options) in [
        (Compression::Gzip, &[][..]),
        (Compression::Plain, &["--link=symlink"]),
    ] {
        let Some(site) = Site::open(&["podman", "runc", "busybox"]) else {
            return;
        };
        site.image(compression, options);
        site.mount();
        let listed = site.sh("podman images --format '{{.Repository}}:{{.Tag}} {{.ReadOnly}}'");
        assert_eq!(listed, "localhost/busy:1 true");
        let listing = site.sh(&format!("{PODMAN_RUN} busy:1 ls -R /srv"));
        assert_eq!(listing, "/srv:\nopaque\n\n/srv/opaque:\nnew");
        let script = "echo written >> /srv/opaque/new; cat /srv/opaque/new";
        let text = site.sh(&format!("{PODMAN_RUN} localhost/busy:1 sh -c '{script}'"));
        assert_eq!(text, "new\nwritten");
    }
}

/// crun takes no hierarchy of cgroups beside those of version 1, and Podman 5 only version 2.
const USER_NAMESPACES: &str = "\
    [ $(stat -f -c %T /sys/fs/cgroup) = cgroup2fs ] || {
        umount -l /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup; }
    echo containers:200000:1000000 > $TMPDIR/ids
    { cat /etc/passwd; echo containers:x:65533:65533::/:/bin/false; } > $TMPDIR/passwd
    mount --bind $TMPDIR/passwd /etc/passwd
    mount --bind $TMPDIR/ids /etc/subuid; mount --bind $TMPDIR/ids /etc/subgid
    for options in --userns=auto '--uidmap 0:100000:65536'; do
        podman run --rm --runtime crun --cgroups=disabled --network none $options \
            --ulimit nofile=20000:20000 --ulimit nproc=1000:1000 busy:1 \
            sh -c 'busybox stat -c %u:%g:%a /srv /srv/opaque/new; ls /srv; echo x >> /srv/opaque/new
                   busybox awk \"{ print \\$2 }\" /proc/self/uid_map'
    done";

/// containers/storage mounts the directory above the layers with other ids, or chowns a copy of the
/// topmost layer where it may not: what the layers share with the store is left alone.
#[test]
fn podman_runs_containers_with_user_namespaces_and_changes_nothing_in_the_store() {
    for engines in [Some(Engines::installed()), Engines::of("sid")] {
        // A newer Podman would convert the database of an older one.
        let Some(site) = Site::open(&["podman", "crun", "busybox"]) else {
            return;
        };
        let Some(engines) = engines else { continue };
        // Root of the container goes through them to its root file system.
        for directory in site.shop.path("").ancestors().take(2) {
            let mode = fs::Permissions::from_mode(0o711);
            fs::set_permissions(directory, mode).expect("it is ours");
        }
        site.image(Compression::Gzip, &[]);
        site.mount();
        let seen = |host: &str| format!("0:0:755\n0:0:644\nopaque\n{host}");
        let expected = [seen("200000"), seen("100000")].join("\n");
        for variable in ["", "export _CONTAINERS_OVERLAY_DISABLE_IDMAP=yes\n"] {
            let script = format!("{variable}{USER_NAMESPACES}");
            assert_eq!(site.sh_with(&engines, &script), expected, "{engines:?}");
        }
        site.lowerdir(&["verify", "--all"]);
    }
}

/// link(2) does not work from one mount to another, also where both have one file system.
#[test]
fn where_no_hard_links_can_be_made_layers_are_links_or_copies() {
    let Some(site) = Site::open(&["podman", "runc", "busybox"]) else {
        return;
    };
    site.image(Compression::Gzip, &[]);
    let elsewhere = site.shop.path("elsewhere");
    fs::create_dir(&elsewhere).expect("a directory");
    mount_bind(&elsewhere, &elsewhere).expect("a bind mount");
    let elsewhere = Mounted(elsewhere);
    let image = format!("oci:{}:busy:1", site.text("layout"));
    let export = |name: &str, options: &[&str]| {
        let target = elsewhere.0.join(name);
        let mut command = program::lowerdir();
        command.arg("--store").arg(site.shop.path("store"));
        command.args(["export", "--format=containers-storage", &image]);
        let output = command
            .arg(&target)
            .args(options)
            .output()
            .expect("it starts");
        let layers = fs::read_dir(target.join("overlay")).map(|names| {
            let paths = names.map(|entry| entry.expect("a name").path().join("diff"));
            let mut paths: Vec<_> = paths
                .filter(|path| path.symlink_metadata().is_ok())
                .collect();
            paths.sort();
            paths
        });
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), stderr, layers.unwrap_or_default())
    };
    let (status, stderr, layers) = export("auto", &[]);
    assert!(
        status == Some(0) && stderr.contains("--link=copy"),
        "{stderr}"
    );
    assert!(layers.len() == 2 && layers.iter().all(|diff| diff.is_symlink()));
    let (status, stderr, _) = export("hard", &["--link=hardlink"]);
    assert!(
        status == Some(1) && stderr.contains("--link=copy"),
        "{stderr}"
    );
    let (status, stderr, copies) = export("copy", &["--link=copy"]);
    assert!(status == Some(0) && !stderr.contains("warning"), "{stderr}");
    assert!(copies.len() == 2 && copies.iter().all(|diff| !diff.is_symlink()));
    // The store may go then; the same tree is mounted.
    let output = once_no_copy_is_left(|| {
        let mut rm = program::lowerdir();
        rm.args(["--store", &site.text("store"), "rm", "busy:1"]);
        rm.output().expect("the program is there")
    });
    assert!(output.status.success(), "{output:?}");
    let images = elsewhere.0.join("copy");
    mount_bind(&images, &site.media.0).expect("a bind mount");
    let listing = site.sh(&format!("{PODMAN_RUN} busy:1 ls -R /srv"));
    assert_eq!(listing, "/srv:\nopaque\n\n/srv/opaque:\nnew");
}

/// systemd mounts with `userxattr`, whoever it is.
#[test]
fn systemd_mounts_an_exported_mount_stack_without_what_is_deleted() {
    let Some(site) = Site::open(&["busybox"]) else {
        return;
    };
    let Some(engines) = Engines::of("sid") else {
        return;
    };
    let layers = layers().map(|layer| (layer, Compression::Gzip));
    write_layout(&site.shop.path("layout"), "it", &layers);
    let image = format!("oci:{}:it", site.text("layout"));
    let target = site.text("it.mstack");
    for whiteout in ["device", "xattr"] {
        let store = site.text(whiteout);
        let run = |arguments: &[&str]| {
            worked(lowerdir(
                &[&["--store", &store], arguments].concat(),
                Input::None,
            ))
        };
        let form = format!("--whiteout={whiteout}");
        run(&["unpack", "--userxattr", &form, "--sync=none", &image]);
        run(&["export", "--format=mstack", &image, &target]);
        let script = format!(
            "mkdir -p $TMPDIR/m; systemd-mstack --mount {target} $TMPDIR/m >&2; cd $TMPDIR/m
             ls -R srv; ls etc"
        );
        let listing = site.sh_with(&engines, &script);
        assert_eq!(
            listing, "srv:\nopaque\n\nsrv/opaque:\nnew\npasswd",
            "{whiteout}"
        );
        fs::remove_dir_all(&target).expect("it was made");
    }
}

#[test]
fn podman_tells_what_an_exported_image_is() {
    let Some(site) = Site::open(&["podman", "busybox"]) else {
        return;
    };
    site.image(Compression::Gzip, &["--name=example.com/it:2"]);
    site.mount();
    // The top layer, against the one below.
    let changes = site.sh("podman image diff example.com/it:2 | sort");
    assert_eq!(
        changes,
        "A /srv/opaque/new\nC /srv\nD /srv/gone\nD /srv/opaque"
    );
    let format = "'{{.Digest}} {{.Id}} {{len .RootFS.Layers}}'";
    let told = site.sh(&format!("podman image inspect --format {format} it:2"));
    let (digest, rest) = told.split_once(' ').expect("three words");
    let blobs = site.shop.path("layout/blobs/sha256");
    let manifest = fs::read(blobs.join(digest.trim_start_matches("sha256:"))).expect("a blob");
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("a manifest");
    let config = manifest["config"]["digest"].as_str().expect("a digest");
    assert_eq!(rest, format!("{} 2", config.trim_start_matches("sha256:")));
    let by_digest = format!("podman image exists example.com/it@{digest}");
    site.sh(&by_digest);
}

#[test]
fn buildah_builds_on_an_exported_image_which_rm_then_leaves() {
    let Some(site) = Site::open(&["buildah", "busybox"]) else {
        return;
    };
    site.image(Compression::Gzip, &[]);
    site.mount();
    let lowerdir = program::path();
    let script = format!(
        "container=$(buildah from --quiet --pull-never busy:1)\n\
         root=$(buildah mount $container)\n\
         ls $root/srv $root/srv/opaque\n\
         echo more > $root/more\n\
         if {lowerdir} --store {store} rm busy:1 2>&1; then exit 1; fi\n\
         buildah commit --quiet --rm $container localhost/more >/dev/null\n\
         podman image tree localhost/more",
        store = site.text("store"),
    );
    let text = site.sh(&script);
    let (listing, rest) = text.split_once("lowerdir: layer ").expect("an error");
    assert!(
        listing.contains("new") && !listing.contains("gone"),
        "{text}"
    );
    assert!(rest.contains("is in use by the mount on"), "{text}");
    // What buildah computes of the same layers is what was exported: they are used again.
    let [low, high] = layers().map(sha256);
    let above = sha256(format!("{low}+{high}"));
    for id in [low, above] {
        assert!(text.contains(&id[..12]), "{id} is not in {text}");
    }
    // With the container gone, so is the mount.
    site.lowerdir(&["rm", "busy:1"]);
}

/// The layers have what makes a tar-split hard: a file that comes twice, one that is sparse, one
/// behind a symbolic link, a name that is no UTF-8, a deletion with content, and bytes at the end.
#[test]
fn podman_saves_and_pushes_an_exported_image_with_the_archives_that_it_was_made_from() {
    let Some(site) = Site::open(&["podman", "busybox"]) else {
        return;
    };
    let big = |byte: u8| {
        let mut content = vec![b'-'; 200_000];
        content[150_000] = byte;
        content
    };
    let low = LayerBuilder::new()
        .dir("usr", 0o755)
        .file("usr/plain", 0o644, big(b'a'))
        .file("usr/twice", 0o644, big(b'b'))
        .file("usr/twice", 0o644, big(b'c'))
        .file("usr/same", 0o644, "the same")
        .file("usr/same", 0o644, "the same")
        .file("usr/shrunk", 0o644, "first, and longer")
        .file("usr/shrunk", 0o644, "second")
        .hardlink("usr/link", "usr/plain")
        .symlink("lib", "usr")
        .file("lib/behind", 0o644, "behind a link")
        .file(b"usr/\xff", 0o644, "no text")
        .file("usr/gone", 0o644, "gone")
        .file("usr/empty", 0o644, "");
    let high = LayerBuilder::new()
        .file("usr/.wh.gone", 0o644, "a deletion is empty, as a rule")
        .file("usr/new", 0o644, "new");
    let mut low = low.finish();
    low.extend_from_slice(&[0; 10_240]);
    let layers = [low, high.finish()];
    let compressed = layers.clone().map(|layer| (layer, Compression::Gzip));
    write_layout(&site.shop.path("layout"), "it", &compressed);
    let image = format!("oci:{}:it", site.text("layout"));
    site.lowerdir(&["unpack", "--sync=none", &image]);
    // Added to layers that are there.
    site.export(&image, &[]);
    site.export(&image, &["--tar-split"]);
    site.mount();
    let (saved, pushed) = (site.text("saved"), site.text("pushed"));
    site.sh(&format!(
        "podman save --quiet --format oci-dir -o {saved} localhost/it\n\
         podman push --quiet localhost/it oci:{pushed}:it"
    ));
    let digests = layers.map(|layer| format!("sha256:{}", sha256(layer)));
    for copy in [format!("oci:{saved}"), format!("oci:{pushed}:it")] {
        let told = site.lowerdir(&["inspect", "--no-read", "--json", &copy]);
        let told = told[0].as_os_str().as_encoded_bytes();
        let told: serde_json::Value = serde_json::from_slice(told).expect("JSON");
        let diff_ids = told["layers"].as_array().expect("a list").iter();
        let diff_ids: Vec<&str> = diff_ids
            .filter_map(|layer| layer["diff_id"].as_str())
            .collect();
        assert_eq!(diff_ids, digests);
        // Every archive is read to its end, and compared with these.
        let store = tempfile::tempdir_in(site.shop.path("")).expect("a store");
        let store = store.path().to_str().expect("UTF-8");
        let unpack = ["--store", store, "unpack", "--sync=none", &copy];
        assert_eq!(worked(lowerdir(&unpack, Input::None)).len(), 2);
    }
}

/// On an XFS of its own, with all that a layer directory may hold.
#[test]
fn reflinks_make_layers_of_their_own_that_mount_as_the_same_tree() {
    let Some(site) = Site::open(&[]) else {
        return;
    };
    let disk = Disk::make(&site.shop.path(""), "xfs", "400M", &["-m", "reflink=1"]);
    let Some(disk) = Mount::of(&disk.file, &site.shop.path("xfs")) else {
        return;
    };
    let place = disk.place();
    let capability =
        b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    let time = |mode: u32| Meta::new(mode).owner(7, 8).time(1_600_000_000, 123_456_789);
    let low = LayerBuilder::new()
        .dir("d", time(0o2750).xattr("user.color", b"blue"))
        .file("d/big", time(0o640), vec![b'x'; 1 << 20])
        .hardlink("d/link", "d/big")
        .file(
            "d/ping",
            time(0o4755).xattr("security.capability", capability),
            "ping",
        )
        .file("d/gone", 0o644, "")
        .file("opaque/old", 0o644, "old")
        .symlink("d/nowhere", "nowhere")
        .fifo("d/pipe", 0o622)
        .chardev("d/null", 0o666, (1, 3));
    let high = LayerBuilder::new()
        .whiteout("d/gone")
        .opaque("opaque")
        .file("opaque/new", 0o644, "new");
    let layers = [low, high].map(|layer| (layer.finish(), Compression::Gzip));
    write_layout(&site.shop.path("layout"), "it", &layers);
    let image = format!("oci:{}:it", site.text("layout"));
    let (store, target) = (place.join("store"), place.join("images"));
    let (store, shown) = (store.display().to_string(), target.display().to_string());
    let run = |arguments: &[&str]| {
        let arguments = [&["--store", &store][..], arguments].concat();
        worked(lowerdir(&arguments, Input::None))
    };
    let stored = run(&["unpack", "--sync=none", &image]);
    run(&[
        "export",
        "--format=containers-storage",
        "--link=reflink",
        &image,
        &shown,
    ]);
    let list = fs::read(target.join("overlay-layers/layers.json")).expect("a list");
    let list: serde_json::Value = serde_json::from_slice(&list).expect("JSON");
    let diff = |number: usize| {
        let id = list[number]["id"].as_str().expect("an ID");
        target.join("overlay").join(id).join("diff")
    };
    let extents = Run::of(
        Command::new("filefrag")
            .arg("-v")
            .arg(diff(0).join("d/big")),
    );
    let extents = extents.text().expect("extents");
    assert!(extents.contains("shared"), "{extents}");
    // The layers of the store may go then.
    let tree = {
        let mounted = Mounted::stack(&stored, false, place).expect("an overlay mount");
        Walk::new(&mounted.0, &BTreeSet::new()).listing
    };
    assert!(tree.len() > 8);
    run(&["rm", "layout:it"]);
    let mounted = Mounted::stack(&[diff(1), diff(0)], false, place).expect("an overlay mount");
    let walk = Walk::new(&mounted.0, &BTreeSet::new());
    let verdict = walk.compare("the exported layers", "those of the store", &tree);
    verdict.unwrap_or_else(|difference| panic!("{difference}"));
}

/// All names below a directory, with what files hold and where links lead.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let kind = path.symlink_metadata().expect("it is there").file_type();
        let bytes = match kind {
            kind if kind.is_symlink() => {
                let target = fs::read_link(&path).expect("a link");
                target.into_os_string().into_encoded_bytes()
            }
            kind if kind.is_dir() => {
                all.extend(contents(&path));
                Vec::new()
            }
            kind if kind.is_file() => fs::read(&path).expect("a file"),
            // A deletion.
            _ => Vec::new(),
        };
        all.insert(path, bytes);
    }
    all
}

/// Two images with one lowest layer in the store: `busy:1`, exported to `images`, and `other`, whose
/// reference this is.
fn two_images(site: &Site) -> Option<String> {
    if Command::new("strace").arg("--version").output().is_err() {
        crate::skip("there is no strace: see install-peers.sh");
        return None;
    }
    site.image(Compression::Gzip, &[]);
    let top = LayerBuilder::new().file("other", 0o644, "other").finish();
    let [low, _] = layers();
    let other = [low, top].map(|layer| (layer, Compression::Plain));
    write_layout(&site.shop.path("other"), "other", &other);
    let image = format!("oci:{}:other", site.text("other"));
    site.lowerdir(&["unpack", "--sync=none", &image]);
    Some(image)
}

/// An export of which one call of a kind meets with something.
fn traced(site: &Site, image: &str, target: &str, inject: &str) -> Run {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "/dev/null", "-e"]);
    strace.arg(format!("inject={inject}"));
    strace.arg(program::path());
    strace.args(["--store", &site.text("store"), "export", "--quiet"]);
    strace.args(["--format=containers-storage", image, &site.text(target)]);
    Run::of(&mut strace)
}

#[test]
fn an_export_that_fails_at_any_rename_leaves_the_directory_as_it_was() {
    let Some(site) = Site::open(&["busybox"]) else {
        return;
    };
    let Some(image) = two_images(&site) else {
        return;
    };
    // One into a directory that is there, one into a new one.
    for target in ["images", "new"] {
        let path = site.shop.path(target);
        let before = (target == "images").then(|| contents(&path));
        let mut failures = 0;
        loop {
            let inject = format!("renameat2:error=EIO:when={}", failures + 1);
            let run = traced(&site, &image, target, &inject);
            if run.status == 0 {
                break;
            }
            assert_eq!(run.status, 1, "{}", run.complaint("an error"));
            failures += 1;
            match &before {
                Some(before) => assert_eq!(contents(&path), *before, "after {failures}"),
                None => assert!(!path.exists(), "after {failures}"),
            }
        }
        assert!(failures > 5, "{target}: {failures} renames");
        assert_ne!(Some(contents(&path)), before);
    }
}

#[test]
fn an_export_that_was_killed_at_any_rename_is_done_by_the_next_one() {
    let Some(site) = Site::open(&["busybox"]) else {
        return;
    };
    let Some(image) = two_images(&site) else {
        return;
    };
    let target = |name: &str| site.text(name);
    let whole = |name: &str| {
        let root = site.shop.path(name);
        let is_lock = |path: &Path| path.extension().is_some_and(|end| end == "lock");
        let all = contents(&root).into_iter();
        let all = all.filter(|(path, _)| !is_lock(path));
        let inside = |path: PathBuf| path.strip_prefix(&root).expect("it is inside").to_owned();
        all.map(|(path, bytes)| (inside(path), bytes)).collect()
    };
    site.lowerdir(&[
        "export",
        "--format=containers-storage",
        &image,
        &target("whole"),
    ]);
    let expected: BTreeMap<PathBuf, Vec<u8>> = whole("whole");
    let mut kills = 0;
    loop {
        let name = format!("killed-{kills}");
        let inject = format!("renameat2:signal=KILL:when={}", kills + 1);
        if traced(&site, &image, &name, &inject).status == 0 {
            break;
        }
        kills += 1;
        site.lowerdir(&[
            "export",
            "--format=containers-storage",
            &image,
            &target(&name),
        ]);
        assert_eq!(whole(&name), expected, "after {kills}");
    }
    assert!(kills > 5, "{kills} renames");
}
