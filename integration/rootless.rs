//! Without root: `--rootless` as nobody, in a user namespace of one id and of many, and what `runc` runs
//! there.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::bundles;
use crate::engines::{Engines, runtimes};
use crate::layout::Layout;
use crate::namespace::{self, Root};
use crate::oci;
use crate::scratch::{Mounted, Run, Scratch};
use crate::tarball::{LayerBuilder, Meta};
use support::program;

const NOBODY: u32 = 65534;

fn layers() -> Vec<Vec<u8>> {
    let base = bundles::busybox()
        .dir("etc", 0o755)
        .file("etc/gone", 0o644, "")
        .file("etc/shadow", Meta::new(0o640).owner(0, 42), "")
        .dir("emptied", Meta::new(0o700).owner(5, 6))
        .file("emptied/old", 0o644, "");
    let second = LayerBuilder::new()
        .whiteout("etc/gone")
        .opaque("emptied")
        .file("emptied/new", 0o600, "");
    vec![base.finish(), second.finish()]
}

struct Shop {
    site: TempDir,
    _scratch: Scratch,
}

impl Shop {
    /// A place that belongs to somebody else.
    fn of(owner: u32) -> Option<Shop> {
        let scratch = Scratch::new()?;
        let site = scratch.site();
        let layers = layers();
        let layout = Layout::new(site.path().join("image"));
        let mut config = oci::config(&oci::diff_ids(&layers));
        config["config"] = json!({ "Env": ["PATH=/bin"], "Cmd": ["/bin/sh"] });
        layout.image(&layout.manifest_with_config(&layers, &config));
        for directory in site.path().ancestors().take(2) {
            fs::set_permissions(directory, fs::Permissions::from_mode(0o711)).expect("it is ours");
        }
        chown(site.path(), Some(owner), Some(owner)).expect("it is ours");
        Some(Shop {
            site,
            _scratch: scratch,
        })
    }

    /// Runs a script there as nobody.
    fn nobody(&self, before: &[&str], script: &str) -> Result<String, String> {
        self.nobody_with(&Engines::installed(), before, script)
    }

    fn nobody_with(
        &self,
        engines: &Engines,
        before: &[&str],
        script: &str,
    ) -> Result<String, String> {
        let mut command = engines.command("setpriv");
        command
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .args(before);
        command
            .args(["sh", "-ec", script, program::path()])
            .current_dir(self.site.path());
        command
            .env("HOME", self.site.path())
            .env("XDG_RUNTIME_DIR", self.site.path());
        command.env("LOWERDIR_STORE", self.path("store"));
        Run::of(command.stdin(Stdio::null())).text()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.site.path().join(name)
    }
}

const UNSHARE: [&str; 4] = ["unshare", "--user", "--map-root-user", "--mount"];

/// Some systems deny it to who is not root, whatever is installed: that is no failure.
fn may_unshare(shop: &Shop) -> bool {
    let tried = shop.nobody(&UNSHARE, "mount -t tmpfs tmpfs image");
    if let Err(why) = &tried {
        eprintln!("skipped: nobody may not mount in a user namespace: {why}");
    }
    tried.is_ok()
}

/// The same tree as ever, changed, packed, verified: the namespace has one id.
#[test]
fn root_of_a_namespace_of_one_id_unpacks_and_mounts() {
    let Some(shop) = Shop::of(NOBODY) else { return };
    if !may_unshare(&shop) {
        return;
    }
    let script = "$0 unpack oci:image --rootless -q > layers; mkdir m
                  $0 mount oci:image m --upper u --work w; ls m/etc; ls -A m/emptied
                  rm -r m/emptied; mkdir m/emptied; touch m/etc/new; ls -A m/emptied
                  $0 umount m; $0 verify --all -q
                  $0 pack u --userxattr -q -o changes.tar > /dev/null
                  tar tf changes.tar | grep -v '/$'";
    let printed = shop
        .nobody(&UNSHARE, script)
        .unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(printed, "shadow\nnew\nemptied/.wh..wh..opq\netc/new\n");
    let top = fs::read_to_string(shop.path("layers")).expect("it was printed");
    let top = Path::new(top.lines().next().expect("two layers"));
    let whiteout = fs::symlink_metadata(top.join("etc/gone")).expect("a whiteout");
    assert_eq!((whiteout.rdev(), whiteout.uid()), (0, NOBODY));
    let opaque = xattr::get(top.join("emptied"), "user.overlay.opaque").expect("it can be read");
    assert_eq!(opaque.as_deref(), Some(&b"y"[..]));
}

/// With ids to choose from, the files have the image's owners.
#[test]
fn root_of_a_namespace_of_many_ids_keeps_the_owners() {
    let root = Root {
        uid: 100_000,
        gid: 100_000,
    };
    let Some(shop) = Shop::of(root.uid) else {
        return;
    };
    let script = "cd \"$0\" && export LOWERDIR_STORE=$PWD/store && mkdir m && \
                  $PROGRAM unpack oci:image --rootless -q > layers && \
                  unshare --mount sh -c '$PROGRAM mount oci:image m && stat -c %u:%g m m/etc/shadow m/emptied'";
    let script = format!("export PROGRAM={}; {script}", program::path());
    match namespace::run(&root, &script, shop.site.path()) {
        Ok(printed) => assert_eq!(printed, "0:0\n0:42\n5:6\n"),
        Err(why) => return crate::skip(&format!("no user namespace of many ids: {why}")),
    }
    let top = fs::read_to_string(shop.path("layers")).expect("it was printed");
    let base = Path::new(top.lines().last().expect("two layers")).join("etc/shadow");
    let shadow = fs::metadata(base).expect("it is there");
    assert_eq!((shadow.uid(), shadow.gid()), (100_000, 100_042));
}

/// The script of the bundle makes the mount, and each runtime a user namespace of its own in that one.
#[test]
fn every_runtime_starts_bundles_of_nobody_without_root() {
    let Some(shop) = Shop::of(NOBODY) else { return };
    if Command::new("runc").arg("--version").output().is_err() {
        return crate::skip("there is no runc: see install-peers.sh");
    }
    if !may_unshare(&shop) {
        return;
    }
    if !may_run_runc(&shop) {
        return;
    }
    let mut runtimes = runtimes();
    runtimes.retain(|runtime| {
        let trial = format!(
            "cd trial; {} --root ../state run lowerdir-trial-$$",
            runtime.program
        );
        let tried = shop.nobody_with(&runtime.engines, &[], &trial);
        if let Err(why) = &tried {
            crate::skip(&format!(
                "{} runs nothing without root: {why}",
                runtime.label
            ));
        }
        tried.is_ok()
    });
    let script = "touch /new 2>/dev/null && echo written; ls /etc; id -u; ls -A /emptied";
    let seen = "shadow\n0\nnew\n";
    for (name, options, expected) in [
        ("ro", "", seen.to_owned()),
        ("memory", "--tmpfs=10m", format!("written\n{seen}")),
        ("upper", "--upper u --work w", format!("written\n{seen}")),
    ] {
        let make = format!(
            "$0 unpack oci:image --rootless -q > /dev/null
             $0 bundle oci:image {name} --rootless -q {options} -- /bin/sh -c '{script}'"
        );
        assert_eq!(shop.nobody(&[], &make), Ok(String::new()), "{name}");
        for runtime in &runtimes {
            let run = format!(
                "{name}/with-rootfs {} --root state run --bundle {name} lowerdir-{name}-$$",
                runtime.program
            );
            let printed = shop.nobody_with(&runtime.engines, &[], &run);
            assert_eq!(printed.as_ref(), Ok(&expected), "{}: {name}", runtime.label);
        }
    }
    // Where a runtime takes the overlay of a config.json, it needs no script.
    let config = format!(
        "$0 bundle oci:image config --rootless --overlay=config -q -- /bin/sh -c '{script}'
         runc --root state run --bundle config lowerdir-config-$$"
    );
    assert_eq!(shop.nobody(&[], &config), Ok(seen.into()));
    assert_eq!(
        fs::metadata(shop.path("u/new"))
            .expect("it was written")
            .uid(),
        NOBODY
    );
}

/// Root runs a container in a user namespace: of layers that were mapped for it, and of others through a
/// mount with its ids.
#[test]
fn runc_runs_bundles_with_user_namespaces() {
    let Some(shop) = Shop::of(0) else { return };
    if !bundles::runc_works(shop.site.path()) {
        return;
    }
    let maps = ["--uid-map=0:100000:65536", "--gid-map=0:100000:65536"];
    let idmap = [&["--idmap"], &maps[..]].concat();
    let denied_idmap = [&["--overlay=config"], &idmap[..]].concat();
    for (name, unpack, bundle, denied) in [
        ("mapped", &maps[..], &[][..], &["--overlay=config"][..]),
        ("idmap", &[], &idmap[..], &denied_idmap[..]),
    ] {
        let lowerdir = |arguments: &[&str]| {
            let mut command = program::lowerdir();
            command
                .arg("--quiet")
                .arg("--store")
                .arg(shop.path(&format!("{name}-store")));
            command.args(arguments).current_dir(shop.site.path());
            Run::of(command.stdin(Stdio::null()))
        };
        let unpacked = lowerdir(&[&["unpack", "oci:image"], unpack].concat());
        unpacked.text().expect("it unpacks");
        let refused = lowerdir(&[&["bundle", "oci:image", name], denied].concat());
        let complaint = refused.complaint("the runtime cannot mount it");
        assert!(complaint.contains("--overlay=mounted"), "{complaint}");
        assert!(!shop.path(name).exists());

        let (upper, work) = (format!("{name}-upper"), format!("{name}-work"));
        let fixed = ["bundle", "oci:image", name];
        let changes = ["--upper", &upper, "--work", &work];
        let command = ["--", "/bin/sh", "-c", WITH_IDS];
        let made = lowerdir(&[&fixed[..], &changes, bundle, &command].concat());
        made.text().expect("it is made");
        let _mounted = Mounted(shop.path(name).join("rootfs"));
        let printed = bundles::run(&shop.path("runc"), &shop.path(name)).expect("it runs");
        let words: Vec<&str> = printed.split_whitespace().collect();
        let seen = ["0:0", "0:42", "0:0", "7:7", "0", "100000", "65536"];
        assert_eq!(words, seen, "{name}");
        let new = fs::metadata(shop.path(&upper).join("etc/new")).expect("it was written");
        assert_eq!((new.uid(), new.gid()), (100_000, 100_000), "{name}");
    }
}

/// What it prints has the ids of the container, also of a mount point that the image lacks.
const WITH_IDS: &str = "echo new > /etc/new; busybox chown 7:7 /etc; \
                        busybox stat -c %u:%g / /etc/shadow /dev /etc; busybox head -1 /proc/self/uid_map";

/// Whether runc runs what it writes itself for who is not root, in a directory `trial` that stays.
fn may_run_runc(shop: &Shop) -> bool {
    let trial = "mkdir -p trial/rootfs/bin && cp $(command -v busybox) trial/rootfs/bin/busybox && cd trial && \
                 runc spec --rootless && sed -i 's/\"terminal\": true/\"terminal\": false/; s/\"sh\"/\"busybox\"/; \
                 s/\"readonly\": true/\"readonly\": false/' config.json && \
                 runc --root ../runc run lowerdir-trial-$$";
    if let Err(why) = shop.nobody(&[], trial) {
        eprintln!("skipped: runc cannot run what `runc spec --rootless` writes: {why}");
        return false;
    }
    true
}

/// Word for word, with no store but the user's own.
#[test]
fn the_recipe_of_the_readme_works_for_nobody() {
    let Some(shop) = Shop::of(NOBODY) else { return };
    if !may_unshare(&shop) || !may_run_runc(&shop) {
        return;
    }
    let readme = include_str!("../README.md");
    let blocks = readme.split("```sh\n").skip(1);
    let mut blocks = blocks.filter_map(|rest| rest.split("```").next());
    let recipe = blocks
        .find(|block| block.contains("unpack --rootless"))
        .expect("a recipe");
    // The script ends with the status of the container.
    let script = format!(
        "unset LOWERDIR_STORE; PATH=\"$(dirname \"$0\"):$PATH\"; tar -C image -cf alpine.tar .\n{recipe}"
    );
    shop.nobody(&[], &script)
        .unwrap_or_else(|why| panic!("{why}"));
    let store = shop.path(".local/share/lowerdir/images");
    assert!(store.is_dir(), "{store:?}");
}
