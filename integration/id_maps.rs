//! Id maps: an image unpacked for a user namespace is what the image is, seen from inside it.

mod back;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::generate::Flavour;
use crate::namespace::{self, Root};
use crate::oci::{self, Compression};
use crate::property::{Image, for_each_stack, stacks};
use crate::scratch::{self, Mounted, Run, Scratch};
use crate::tarball::{LayerBuilder, Meta};
use support::program;

/// `cap_dac_override,cap_fowner=ep`.
const CAPABILITY: [u8; 20] = [
    1, 0, 0, 2, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];
/// user::rwx user:1234:rwx group::r-x mask::rwx other::---
const ACL: [u8; 44] = [
    2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 7, 0, 0xd2, 4, 0, 0, 4, 0, 5, 0, 255, 255,
    255, 255, 16, 0, 7, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
];
const UIDS: &str = "--uid-map=0:100000:65536";
const GIDS: &str = "--gid-map=0:300000:65536";
const NAMESPACE: Root = Root {
    uid: 100_000,
    gid: 300_000,
};
/// All that there is in a directory.
const LOOK: &str = "cd \"$0\" && find . -printf '%p %y %U:%G %m %l\\n' | sort && \
                    getfattr --absolute-names -d -m - -e hex -R .";

struct Shop {
    site: TempDir,
    image: String,
    _scratch: Scratch,
}

/// Whatever the translation makes of its own: implied directories, whiteouts, an opaque directory, a
/// file that is copied up for a hard link, a second pass for a link to a directory.
fn layers() -> Vec<LayerBuilder> {
    let base = LayerBuilder::new()
        .dir("etc", Meta::new(0o755).owner(0, 0))
        .file("etc/gone", 0o644, "")
        .file(
            "etc/linked",
            Meta::new(0o640)
                .owner(33, 34)
                .xattr("security.capability", CAPABILITY),
            "x",
        )
        .file(
            "acl",
            Meta::new(0o770)
                .owner(1, 2)
                .xattr("system.posix_acl_access", ACL),
            "",
        )
        .file(
            "implied/twice/file",
            Meta::new(0o4755).owner(5, 6),
            "setuid",
        )
        .dir("emptied", Meta::new(0o755).owner(7, 8))
        .file("emptied/old", 0o644, "")
        .dir("usr/lib", Meta::new(0o711).owner(9, 10))
        .symlink("lib", "usr/lib")
        .fifo("pipe", Meta::new(0o600).owner(11, 12));
    let second = LayerBuilder::new()
        .whiteout("etc/gone")
        .hardlink("again", "etc/linked")
        .opaque("emptied")
        .file("emptied/new", Meta::new(0o644).owner(65535, 65535), "")
        .file("lib/through-a-link", Meta::new(0o644).owner(13, 14), "")
        .file("implied/twice/other", 0o644, "")
        .file("brand/new/file", 0o644, "");
    vec![base, second]
}

impl Shop {
    fn open(layers: Vec<LayerBuilder>) -> Option<Shop> {
        let scratch = Scratch::new()?;
        let site = scratch.site();
        let layers = layers
            .into_iter()
            .map(|layer| (layer.finish(), Compression::Plain));
        let layout = site.path().join("image");
        oci::write_layout(&layout, "latest", &layers.collect::<Vec<_>>());
        let image = format!("oci:{}", layout.display());
        Some(Shop {
            site,
            image,
            _scratch: scratch,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.site.path().join(name)
    }

    fn try_lowerdir(&self, store: &str, arguments: &[&str]) -> Run {
        let mut command = program::lowerdir();
        command.arg("--store").arg(self.path(store)).args(arguments);
        scratch::once_free(command.stdin(Stdio::null()))
    }

    fn lowerdir(&self, store: &str, arguments: &[&str]) -> String {
        let run = self.try_lowerdir(store, arguments).text();
        run.unwrap_or_else(|complaint| panic!("{complaint}"))
    }

    /// Mounted where whoever is somebody else gets to.
    fn mounted(&self, store: &str, options: &[&str]) -> Mounted {
        for directory in self.site.path().ancestors().take(2) {
            let mode = fs::Permissions::from_mode(0o711);
            fs::set_permissions(directory, mode).expect("it is ours");
        }
        let target = Mounted::nothing(self.site.path());
        fs::set_permissions(&target.0, fs::Permissions::from_mode(0o755)).expect("it is ours");
        let on = target.0.to_str().expect("UTF-8");
        self.lowerdir(store, &[&["mount", &self.image, on], options].concat());
        target
    }

    /// The layer directories, the lowest first.
    fn unpack(&self, store: &str, options: &[&str]) -> Vec<PathBuf> {
        let fixed = ["unpack", &self.image, "--sync=none"];
        let printed = self.lowerdir(store, &[&fixed[..], options].concat());
        printed.lines().rev().map(PathBuf::from).collect()
    }
}

type Owners = BTreeMap<PathBuf, (u32, u32)>;

/// The owner of each path in a directory, that one among them.
fn owners(top: &Path) -> Owners {
    let mut found = Owners::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(path) = todo.pop() {
        let metadata = fs::symlink_metadata(top.join(&path)).expect("it is there");
        if metadata.is_dir() {
            let names = fs::read_dir(top.join(&path)).expect("a directory");
            todo.extend(names.map(|name| path.join(name.expect("a name").file_name())));
        }
        found.insert(path, (metadata.uid(), metadata.gid()));
    }
    found
}

fn xattr_of(path: PathBuf, name: &str) -> Vec<u8> {
    xattr::get(&path, name)
        .expect("it can be read")
        .unwrap_or_else(|| panic!("{path:?} has {name}"))
}

#[test]
fn every_inode_of_every_layer_is_mapped_once() {
    let Some(shop) = Shop::open(layers()) else {
        return;
    };
    let plain = shop.unpack("plain", &[]);
    let mapped = shop.unpack("mapped", &[UIDS, GIDS]);
    let shift = |(path, (uid, gid))| (path, (uid + 100_000, gid + 300_000));
    for (plain, mapped) in plain.iter().zip(&mapped) {
        let expected: Owners = owners(plain).into_iter().map(shift).collect();
        assert!(expected.len() > 8);
        assert_eq!(owners(mapped), expected);
    }
    // The whiteout, what was copied up, what was implied.
    let top = owners(&mapped[1]);
    for (path, owner) in [
        ("etc/gone", (100_000, 300_000)),
        ("again", (100_033, 300_034)),
        ("etc/linked", (100_033, 300_034)),
        ("brand/new", (100_000, 300_000)),
        ("usr/lib", (100_009, 300_010)),
        ("emptied/new", (165_535, 365_535)),
    ] {
        assert_eq!(top[Path::new(path)], owner, "{path}");
    }
    // Version 3, with the mapped root: also of what was copied up.
    let mut capability = CAPABILITY.to_vec();
    capability[3] = 3;
    capability.extend(100_000u32.to_le_bytes());
    for (layer, path) in [(0, "etc/linked"), (1, "again")] {
        assert_eq!(
            xattr_of(mapped[layer].join(path), "security.capability"),
            capability
        );
    }
    let mut acl = ACL;
    acl[16..20].copy_from_slice(&101_234u32.to_le_bytes());
    assert_eq!(
        xattr_of(mapped[0].join("acl"), "system.posix_acl_access"),
        acl
    );
    let mode = fs::metadata(mapped[0].join("implied/twice/file"))
        .unwrap()
        .mode();
    assert_eq!(mode & 0o7777, 0o4755, "the owner was set before the mode");
}

/// The lower half of all ids becomes the upper one, and the upper one the lower.
const SWAP: [&str; 4] = [
    "--uid-map=0:2147483647:2147483648",
    "--uid-map=2147483648:0:2147483647",
    "--gid-map=0:2147483647:2147483648",
    "--gid-map=2147483648:0:2147483647",
];

#[test]
fn random_images_are_mapped_once() {
    let swapped = |id: u32| match id.checked_sub(1 << 31) {
        Some(upper) => upper,
        None => id + ((1 << 31) - 1),
    };
    for_each_stack(stacks() / 8, Flavour::ALL, |site, stack| {
        let image = Image::write(site, stack);
        if stack.expected().is_err() {
            return Ok(());
        }
        let plain = image.unpack("plain", stack.jobs, &[]).done()?;
        let mapped = image.unpack("mapped", stack.jobs, &SWAP).done()?;
        for (plain, mapped) in plain.iter().zip(&mapped) {
            let shift = |(path, (uid, gid))| (path, (swapped(uid), swapped(gid)));
            let expected: Owners = owners(plain).into_iter().map(shift).collect();
            let is = owners(mapped);
            if is != expected {
                return Err(format!("{is:?}\nshould be\n{expected:?}"));
            }
        }
        Ok(())
    });
}

#[test]
fn a_store_tells_maps_apart_and_verify_and_repair_know_them() {
    let Some(shop) = Shop::open(layers()) else {
        return;
    };
    let mapped = shop.unpack("store", &[UIDS, GIDS]);
    assert_eq!(shop.unpack("store", &[UIDS, GIDS]), mapped);
    for options in [&[][..], &[UIDS], &["--uid-map=0:200000:65536", GIDS]] {
        let fixed = ["unpack", &shop.image, "--sync=none"];
        let run = shop.try_lowerdir("store", &[&fixed[..], options].concat());
        let complaint = run.complaint("other maps");
        assert_eq!(run.status, 1, "{complaint}");
        assert!(
            complaint.contains("layer 1") && complaint.contains("other id maps"),
            "{complaint}"
        );
    }
    shop.lowerdir("store", &["verify", "--all"]);
    let images = shop.lowerdir("store", &["images", "--json"]);
    assert!(images.contains("\"complete\":true"), "{images}");

    std::os::unix::fs::chown(mapped[1].join("brand/new"), Some(0), Some(0)).expect("root may");
    let run = shop.try_lowerdir("store", &["verify", &shop.image]);
    assert_eq!(run.status, 3);
    shop.lowerdir("store", &["verify", "--repair", &shop.image]);
    assert_eq!(
        owners(&mapped[1])[Path::new("brand/new")],
        (100_000, 300_000)
    );
    shop.lowerdir("store", &["verify", "--all"]);
}

#[test]
fn an_id_without_a_map_is_refused_with_its_entry_and_nothing_stays() {
    let acl = LayerBuilder::new().file(
        "acl",
        Meta::new(0o770).xattr("system.posix_acl_access", ACL),
        "",
    );
    let owner = LayerBuilder::new().file("d/owned", Meta::new(0o644).owner(1000, 3), "");
    let group = LayerBuilder::new().dir("d", Meta::new(0o755).owner(3, 1000));
    let root = LayerBuilder::new().dir(".", Meta::new(0o755).owner(1000, 0));
    let implied = LayerBuilder::new().file("d/f", Meta::new(0o644).owner(5, 5), "");
    for (layer, maps, words) in [
        (
            owner,
            ["--uid-map=0:9:1000", "--gid-map=0:9:1000"],
            ["d/owned: ", "user 1000"],
        ),
        (
            group,
            ["--uid-map=0:9:1000", "--gid-map=0:9:1000"],
            ["d: ", "group 1000"],
        ),
        (
            root,
            ["--uid-map=0:9:1000", "--gid-map=0:9:1000"],
            [".: ", "user 1000"],
        ),
        (
            acl,
            ["--uid-map=0:9:1000", "--gid-map=0:9:1000"],
            ["acl: ", "user of an ACL 1234"],
        ),
        (
            implied,
            ["--uid-map=5:9:1", "--gid-map=5:9:1"],
            ["d: ", "user 0"],
        ),
    ] {
        let Some(shop) = Shop::open(vec![layer]) else {
            return;
        };
        let fixed = ["unpack", &shop.image, "--sync=none"];
        let run = shop.try_lowerdir("store", &[&fixed[..], &maps].concat());
        let complaint = run.complaint("it has an id too many");
        assert_eq!(run.status, 3, "{complaint}");
        for word in words {
            assert!(complaint.contains(word), "no {word:?} in {complaint}");
        }
        assert_eq!(shop.lowerdir("store", &["images"]).lines().count(), 0);
    }
}

/// `find` and `getfattr` look from inside: owners, modes, ACLs and capabilities are the image's.
#[test]
fn inside_the_namespace_the_image_is_as_it_is_outside() {
    let Some(shop) = Shop::open(layers()) else {
        return;
    };
    let mounted = |store: &str, options: &[&str]| {
        shop.unpack(store, options);
        shop.mounted(store, &[])
    };
    let (plain, mapped) = (mounted("plain", &[]), mounted("mapped", &[UIDS, GIDS]));
    let outside = Run::of(Command::new("sh").args(["-c", LOOK]).arg(&plain.0));
    let outside = outside.text().expect("find and getfattr");
    assert!(outside.contains("./etc/linked f 33:34 640"), "{outside}");
    assert!(outside.contains("security.capability="), "{outside}");
    assert!(outside.contains("system.posix_acl_access="), "{outside}");
    match namespace::run(&NAMESPACE, LOOK, &mapped.0) {
        Ok(inside) => assert_eq!(inside, outside),
        Err(why) => crate::skip(&format!("no user namespace with these maps: {why}")),
    }
}

/// One unpacked copy serves two namespaces and the host at once, and stays as it is.
#[test]
fn an_idmapped_mount_shows_one_copy_to_each_namespace_as_the_image() {
    let Some(shop) = Shop::open(layers()) else {
        return;
    };
    let layers = shop.unpack("store", &[]);
    let before: Vec<Owners> = layers.iter().map(|layer| owners(layer)).collect();
    let plain = shop.mounted("store", &[]);
    let outside = Run::of(Command::new("sh").args(["-c", LOOK]).arg(&plain.0));
    let outside = outside.text().expect("find and getfattr");
    drop(plain);
    for first in [100_000, 700_000] {
        let (uids, gids) = (format!("0:{first}:65536"), format!("0:{}:65536", first + 9));
        let maps = ["--idmap", "--uid-map", &uids, "--gid-map", &gids];
        let mapped = shop.mounted("store", &maps);
        assert_eq!(mounts_on(&mapped.0), 1, "the overlay alone");
        let removing = shop.try_lowerdir("store", &["rm", "--dry-run", "image:latest"]);
        let complaint = removing.complaint("a mount needs it");
        assert!(complaint.contains("in use"), "{complaint}");
        let root = Root {
            uid: first,
            gid: first + 9,
        };
        match namespace::run(&root, LOOK, &mapped.0) {
            Ok(inside) => assert_eq!(inside, outside),
            Err(why) => return crate::skip(&format!("no user namespace with these maps: {why}")),
        }
        shop.lowerdir("store", &["umount", mapped.0.to_str().unwrap()]);
        assert_eq!(mounts_on(&mapped.0), 0);
    }
    assert_eq!(
        layers.iter().map(|layer| owners(layer)).collect::<Vec<_>>(),
        before
    );
}

/// So it is where the layers are in a store behind another one.
#[test]
fn an_idmapped_mount_of_several_stores_shows_all_layers_as_the_image() {
    let Some(shop) = Shop::open(layers()) else {
        return;
    };
    shop.unpack("behind", &[]);
    let plain = shop.mounted("behind", &[]);
    let outside = Run::of(Command::new("sh").args(["-c", LOOK]).arg(&plain.0));
    let outside = outside.text().expect("find and getfattr");
    let [first, behind] =
        ["first", "behind"].map(|name| format!("--store={}", shop.path(name).display()));
    for options in [&[][..], &["--tmpfs"]] {
        let all = [&[&first, &behind, "--idmap", UIDS, GIDS][..], options].concat();
        let mapped = shop.mounted("first", &all);
        match namespace::run(&NAMESPACE, LOOK, &mapped.0) {
            Ok(inside) => assert_eq!(inside, outside),
            Err(why) => return crate::skip(&format!("no user namespace with these maps: {why}")),
        }
    }
}

fn mounts_on(target: &Path) -> usize {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("the mount table");
    let on = |line: &&str| line.split(' ').nth(4) == target.to_str();
    table.lines().filter(on).count()
}

#[test]
fn changes_in_an_idmapped_mount_have_the_ids_that_are_shown() {
    let Some(shop) = Shop::open(layers()) else {
        return;
    };
    shop.unpack("store", &[]);
    let [upper, work] = ["upper", "work"].map(|name| shop.path(name));
    let (u, w) = (upper.to_str().unwrap(), work.to_str().unwrap());
    let maps = [
        "--idmap",
        "--uid-map=0:100000:65536",
        "--gid-map=0:300000:65536",
    ];
    for options in [&["--upper", u, "--work", w][..], &["--tmpfs"]] {
        let mapped = shop.mounted("store", &[&maps[..], options].concat());
        let script = "cd \"$0\" && touch new && chown 5:6 etc/linked && rm etc/../acl && stat -c %u:%g . new etc/linked";
        match namespace::run(&NAMESPACE, script, &mapped.0) {
            Ok(text) => assert_eq!(text, "0:0\n0:0\n5:6\n"),
            Err(why) => return crate::skip(&format!("no user namespace with these maps: {why}")),
        }
        assert_eq!(mounts_on(&mapped.0), 1);
        shop.lowerdir("store", &["umount", mapped.0.to_str().unwrap()]);
    }
    let changed = owners(&upper);
    for (path, owner) in [
        ("", (100_000, 300_000)),
        ("new", (100_000, 300_000)),
        ("etc/linked", (100_005, 300_006)),
    ] {
        assert_eq!(changed[Path::new(path)], owner, "{path}");
    }
    shop.lowerdir("store", &["verify", "--all"]);
}

#[test]
fn an_idmapped_mount_that_cannot_be_leaves_no_mount() {
    let Some(shop) = Shop::open(layers()) else {
        return;
    };
    shop.unpack("mapped", &[UIDS, GIDS]);
    shop.unpack("plain", &[]);
    let target = Mounted::nothing(shop.site.path());
    let on = target.0.to_str().unwrap();
    let no_work = shop.path("no/work").display().to_string();
    let upper = shop.path("u").display().to_string();
    let maps = ["--idmap", "--uid-map=0:100000:65536"];
    for (store, options, words) in [
        ("mapped", &[][..], "map them twice"),
        ("plain", &["--upper", &upper, "--work", &no_work], "no/work"),
    ] {
        let fixed = ["mount", &*shop.image, on];
        let run = shop.try_lowerdir(store, &[&fixed[..], &maps, options].concat());
        let complaint = run.complaint("it cannot be");
        assert_eq!(run.status, 1, "{complaint}");
        assert!(complaint.contains(words), "{complaint}");
        assert_eq!(mounts_on(&target.0), 0, "{words}");
    }
}
