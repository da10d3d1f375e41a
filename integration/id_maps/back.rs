//! The way back: what a container with other ids has changed becomes a layer with the image's ids, by the
//! maps that the upperdir remembers; and `flatten` with id maps is `unpack` with them.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{ACL, CAPABILITY, GIDS, NAMESPACE, Owners, Shop, UIDS, layers, owners, xattr_of};
use crate::namespace;
use crate::scratch::{Run, once_no_copy_is_left};
use crate::tarball::{LayerBuilder, Meta};
use support::program;

/// Where `mount` keeps what it mounted an upperdir with.
const RECORD: &str = "trusted.overlay.lowerdir.mounted";

/// New files, new owners, ACLs and capabilities, attributes alone, a directory that moves.
const CHANGES: &str = "cd \"$0\" && echo new > new && chown 5:6 new && setfacl -m u:77:r,g:78:w new && \
    setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 new && \
    mkdir d && setfacl -d -m u:79:rx d && chown 1:2 acl && chmod 0700 etc/linked && \
    ln -s nowhere link && chown -h 9:9 link && mv usr moved && rm -r emptied";

impl Shop {
    /// `--upper` and `--work` of a name.
    fn changes(&self, name: &str) -> [String; 2] {
        let option = |option: &str, kind: &str| {
            format!(
                "--{option}={}",
                self.path(&format!("{name}-{kind}")).display()
            )
        };
        [option("upper", "upper"), option("work", "work")]
    }

    /// The layer that `pack` makes of an upperdir, and what it says.
    fn pack(&self, name: &str, options: &[&str]) -> Result<(Vec<u8>, String), String> {
        let upper = self.path(&format!("{name}-upper")).display().to_string();
        let layer = self.path(&format!("{name}.tar"));
        let fixed = ["pack", &upper, "-o", layer.to_str().unwrap()];
        let same = ["--compression=none", "--clamp-mtime=0"];
        let mut command = program::lowerdir();
        command.args(fixed).args(same).args(options);
        let output = once_no_copy_is_left(|| command.output().unwrap());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.success() {
            true => Ok((fs::read(layer).unwrap(), text)),
            false => Err(text),
        }
    }

    fn mount_fails(&self, store: &str, options: &[&str]) -> String {
        let target = self.path("nowhere");
        fs::create_dir_all(&target).unwrap();
        let fixed = ["mount", &self.image, target.to_str().unwrap()];
        let run = self.try_lowerdir(store, &[&fixed[..], options].concat());
        let complaint = run.complaint("it has other ids");
        assert_eq!(run.status, 1, "{complaint}");
        complaint
    }
}

fn lowers(layers: &[PathBuf]) -> Vec<String> {
    let topmost_first = layers.iter().rev();
    topmost_first
        .map(|layer| format!("--lower={}", layer.display()))
        .collect()
}

#[test]
fn what_a_container_changes_is_packed_with_the_ids_of_the_image() {
    let Some(shop) = Shop::open(layers()) else {
        return;
    };
    let (plain, mapped) = (
        shop.unpack("plain", &[]),
        shop.unpack("mapped", &[UIDS, GIDS]),
    );
    let mut packed = Vec::new();
    for (name, store, below, options) in [
        ("without", "plain", &plain, &[][..]),
        ("idmapped", "plain", &plain, &["--idmap", UIDS, GIDS]),
        ("unpacked", "mapped", &mapped, &[]),
    ] {
        let changes = shop.changes(name);
        let changes = [&changes[0], &changes[1], "-oredirect_dir=on,metacopy=on"];
        let target = shop.mounted(store, &[options, &changes].concat());
        let changed = match name {
            "without" => Run::of(Command::new("sh").args(["-c", CHANGES]).arg(&target.0)).text(),
            _ => namespace::run(&NAMESPACE, CHANGES, &target.0),
        };
        match changed {
            Ok(_) => {}
            Err(why) if name != "without" && why.contains("uid_map") => return crate::skip(&why),
            Err(why) => panic!("{name}: {why}"),
        }
        drop(target);
        let upper = shop.path(&format!("{name}-upper"));
        let first = if name == "without" { 0 } else { 100_000 };
        assert_eq!(owners(&upper)[Path::new("acl")].0, first + 1, "{name}");
        let lowers = lowers(below);
        let lowers: Vec<&str> = lowers.iter().map(String::as_str).collect();
        let (layer, told) = shop
            .pack(name, &lowers)
            .unwrap_or_else(|text| panic!("{name}: {text}"));
        let maps = format!("the id maps of the mount: {UIDS} {GIDS}");
        assert_eq!(told.contains(&maps), name != "without", "{told}");
        // The same maps may be given.
        let given = [&lowers[..], if first == 0 { &[] } else { &[UIDS, GIDS] }].concat();
        assert_eq!(shop.pack(name, &given).unwrap().0, layer, "{name}");
        packed.push((name, layer));
    }
    let (_, expected) = &packed[0];
    for (name, layer) in &packed {
        assert!(layer == expected, "{name} is another layer");
    }
}

/// Of an upperdir that another program mounted, the user knows the maps.
#[test]
fn maps_may_be_given_where_none_are_remembered() {
    let Some(shop) = Shop::open(layers()) else {
        return;
    };
    let plain = shop.unpack("plain", &[]);
    let upper = shop.path("other-upper");
    fs::create_dir(&upper).unwrap();
    chown(&upper, Some(100_000), Some(300_000)).unwrap();
    fs::write(upper.join("file"), "").unwrap();
    xattr::set(upper.join("file"), "system.posix_acl_access", &mapped_acl()).unwrap();
    chown(upper.join("file"), Some(100_033), Some(300_034)).unwrap();
    xattr::set(
        upper.join("file"),
        "security.capability",
        &mapped_capability(),
    )
    .unwrap();
    let (layer, told) = shop
        .pack("other", &[UIDS, GIDS])
        .expect("all ids are mapped");
    assert!(!told.contains("the id maps of the mount"), "{told}");
    let top = shop.path("top");
    let archive = shop.path("other.tar");
    fs::write(&archive, layer).unwrap();
    let names = [&archive, &top].map(|path| path.to_str().unwrap().to_string());
    shop.lowerdir("plain", &["unpack-layer", &names[0], &names[1]]);
    assert_eq!(owners(&top)[Path::new("file")], (33, 34));
    assert_eq!(
        xattr_of(top.join("file"), "security.capability"),
        CAPABILITY
    );
    assert_eq!(xattr_of(top.join("file"), "system.posix_acl_access"), ACL);

    // Below a mount with --idmap, the layers have the image's own ids.
    xattr::set(upper.join("file"), "trusted.overlay.metacopy", b"").unwrap();
    fs::rename(upper.join("file"), upper.join("acl")).unwrap();
    fs::create_dir(upper.join("moved")).unwrap();
    chown(upper.join("moved"), Some(100_000), Some(300_000)).unwrap();
    xattr::set(upper.join("moved"), "trusted.overlay.redirect", b"usr").unwrap();
    let lowers = lowers(&plain);
    let lowers: Vec<&str> = lowers.iter().map(String::as_str).collect();
    let with =
        |options: &[&str]| shop.pack("other", &[&lowers[..], &[UIDS, GIDS], options].concat());
    let refusal = with(&[]).expect_err("the layers have no mapped ids");
    assert!(
        refusal.contains("moved/lib: no id map has the user 9 of the host"),
        "{refusal}"
    );
    with(&["--idmap"]).expect("they are as the image has them");
}

fn mapped_acl() -> Vec<u8> {
    let mut acl = ACL.to_vec();
    acl[16..20].copy_from_slice(&101_234u32.to_le_bytes());
    acl
}

fn mapped_capability() -> Vec<u8> {
    let mut capability = CAPABILITY.to_vec();
    capability[3] = 3;
    capability.extend(100_000u32.to_le_bytes());
    capability
}

#[test]
fn an_upperdir_is_mounted_and_packed_with_one_set_of_ids() {
    let Some(shop) = Shop::open(layers()) else {
        return;
    };
    shop.unpack("plain", &[]);
    shop.unpack("mapped", &[UIDS, GIDS]);
    let idmap = ["--idmap", UIDS, GIDS];
    let other = ["--idmap", "--uid-map=0:200000:65536", GIDS];
    for (name, store, own) in [
        ("without", "plain", &[][..]),
        ("idmapped", "plain", &idmap[..]),
        ("unpacked", "mapped", &[]),
    ] {
        let changes = shop.changes(name);
        let changes = [&*changes[0], &*changes[1]];
        let mount = |store: &str, options: &[&str]| {
            drop(shop.mounted(store, &[options, &changes[..]].concat()));
        };
        // An empty one has nothing that ids could mix with.
        mount("plain", &other);
        mount(store, own);
        fs::write(shop.path(&format!("{name}-upper/file")), "").unwrap();
        chown(
            shop.path(&format!("{name}-upper/file")),
            Some(100_000),
            Some(300_000),
        )
        .unwrap();
        let refused = |store: &str, options: &[&str]| {
            let complaint = shop.mount_fails(store, &[options, &changes[..]].concat());
            assert!(
                complaint.contains("mounted with other id maps"),
                "{complaint}"
            );
            assert!(complaint.contains("hint: "), "{complaint}");
        };
        refused("plain", &other);
        match name {
            "without" => {
                refused("plain", &idmap);
                refused("mapped", &[]);
            }
            _ => {
                refused("plain", &[]);
                refused("plain", &["--print=cmd"]);
                // These are the same ids.
                mount("plain", &idmap);
                mount("mapped", &[]);
            }
        }
        mount(store, own);
        let refusal = shop
            .pack(name, &["--uid-map=0:1:5"])
            .expect_err("other maps");
        assert!(
            refusal.contains("other id maps than those that are given"),
            "{refusal}"
        );
        let result = shop.pack(name, &[]);
        assert!(result.is_ok(), "{name}: {result:?}");
    }
}

#[test]
fn an_id_without_a_map_is_not_packed() {
    let Some(shop) = Shop::open(layers()) else {
        return;
    };
    shop.unpack("plain", &[]);
    let changes = shop.changes("it");
    let mapped = ["--idmap", UIDS, GIDS, &changes[0], &changes[1]];
    drop(shop.mounted("plain", &mapped));
    let file = shop.path("it-upper/d/file");
    fs::create_dir(file.parent().unwrap()).unwrap();
    chown(file.parent().unwrap(), Some(100_000), Some(300_000)).unwrap();
    fs::write(&file, "").unwrap();
    let acl = |id: u32| {
        let mut acl = ACL.to_vec();
        acl[16..20].copy_from_slice(&id.to_le_bytes());
        acl
    };
    for (owner, xattr, words) in [
        ((0, 300_000), None, "the user 0 of the host"),
        ((100_000, 99), None, "the group 99 of the host"),
        ((165_536, 300_000), None, "the user 165536 of the host"),
        (
            (100_000, 300_000),
            Some(("system.posix_acl_access", acl(7))),
            "the user of an ACL 7",
        ),
        (
            (100_000, 300_000),
            Some(("security.capability", CAPABILITY.to_vec())),
            "root of a capability, 0",
        ),
    ] {
        chown(&file, Some(owner.0), Some(owner.1)).unwrap();
        if let Some((name, value)) = &xattr {
            xattr::set(&file, name, value).unwrap();
        }
        let refusal = shop.pack("it", &[]).expect_err(words);
        assert!(
            refusal.contains("d/file: no id map has ") && refusal.contains(words),
            "{refusal}"
        );
        assert!(!shop.path("it.tar").exists());
        if let Some((name, _)) = &xattr {
            xattr::remove(&file, name).unwrap();
        }
    }
}

/// Neither a layer nor a container can write what an upperdir remembers, and it is in no layer.
#[test]
fn what_an_upperdir_remembers_cannot_be_forged() {
    let forged = br#"{"ids":{"uids":["0:7:1"],"gids":["0:7:1"]},"idmap":false}"#;
    let own_root = Meta::new(0o755)
        .xattr(RECORD, forged)
        .xattr("user.overlay.lowerdir.mounted", forged);
    let Some(shop) = Shop::open(vec![LayerBuilder::new().dir(".", own_root)]) else {
        return;
    };
    for (store, namespace, options) in [
        ("trusted", "trusted", &[][..]),
        ("user", "user", &["--userxattr"]),
    ] {
        shop.unpack(store, options);
        let changes = shop.changes(store);
        let target = shop.mounted(store, &[&changes[0], &changes[1]]);
        let name = format!("{namespace}.overlay.lowerdir.mounted");
        // Where the kernel takes it, it is escaped.
        let _ = xattr::set(&target.0, &name, b"forged by the container");
        fs::write(target.0.join("file"), "").unwrap();
        drop(target);
        let upper = shop.path(&format!("{store}-upper"));
        let record = String::from_utf8(xattr_of(upper, &name)).unwrap();
        assert_eq!(record, r#"{"ids":{"uids":[],"gids":[]},"idmap":false}"#);
        let (layer, told) = shop.pack(store, options).expect("the ids stay");
        assert!(!told.contains("the id maps of the mount"), "{told}");
        let holds = |text: &[u8]| layer.windows(text.len()).any(|part| part == text);
        assert!(!holds(record.as_bytes()), "it is in the layer");
    }
    // Of an upperdir that another program mounted, too.
    let upper = shop.path("foreign-upper");
    fs::create_dir(&upper).unwrap();
    xattr::set(&upper, "user.overlay.lowerdir.mounted", forged).unwrap();
    let refusal = shop
        .pack("foreign", &[])
        .expect_err("it may be a userxattr mount's");
    assert!(refusal.contains("mounted with userxattr"), "{refusal}");
}

#[test]
fn an_upperdir_is_mounted_and_packed_with_one_kind_of_marks() {
    let Some(shop) = Shop::open(layers()) else {
        return;
    };
    shop.unpack("trusted", &[]);
    shop.unpack("user", &["--userxattr"]);
    for (store, other, own, wrong) in [
        ("trusted", "user", &[][..], &["--userxattr"][..]),
        ("user", "trusted", &["--userxattr"], &[]),
    ] {
        let changes = shop.changes(store);
        let changes = [&*changes[0], &*changes[1]];
        let target = shop.mounted(store, &changes);
        fs::remove_dir_all(target.0.join("etc")).unwrap();
        fs::create_dir(target.0.join("etc")).unwrap();
        drop(target);
        let complaint = shop.mount_fails(other, &changes);
        assert!(
            complaint.contains("its deletions would not be seen"),
            "{complaint}"
        );
        let refusal = shop.pack(store, wrong).expect_err("its marks are others");
        assert!(
            refusal.contains("its deletions would not be seen"),
            "{refusal}"
        );
        shop.pack(store, own).expect("its marks are these");
        let upper = shop.path(&format!("{store}-upper")).display().to_string();
        shop.lowerdir(store, &["convert", &upper, "--from", store, "--to", other]);
        let record = format!("{other}.overlay.lowerdir.mounted");
        assert!(xattr::get(&upper, record).unwrap().is_some());
        let (converted, _) = shop.pack(store, wrong).expect("its marks were converted");
        let target = shop.mounted(other, &changes);
        assert_eq!(fs::read_dir(target.0.join("etc")).unwrap().count(), 0);
        assert!(!converted.is_empty());
    }
}

#[test]
fn flatten_maps_ids_as_unpack_does() {
    let Some(shop) = Shop::open(layers()) else {
        return;
    };
    shop.unpack("mapped", &[UIDS, GIDS]);
    let mounted = shop.mounted("mapped", &[]);
    let expected: Owners = owners(&mounted.0);
    let (tree, archive) = (shop.path("tree"), shop.path("archive.tar"));
    let maps = ["--sync=none", UIDS, GIDS];
    let flatten = ["flatten", &shop.image, tree.to_str().unwrap()];
    shop.lowerdir("mapped", &[&flatten[..], &maps].concat());
    let mut command = program::lowerdir();
    command
        .args(["flatten", &shop.image, "-", "--quiet"])
        .args(maps);
    command.stdout(fs::File::create(&archive).unwrap());
    assert!(command.status().unwrap().success());
    let layer = shop.path("layer");
    let names = [&archive, &layer].map(|path| path.to_str().unwrap().to_string());
    shop.lowerdir("mapped", &["unpack-layer", &names[0], &names[1], "--base"]);
    for directory in [&tree, &layer] {
        assert_eq!(owners(directory), expected);
        for (path, name) in [
            ("etc/linked", "security.capability"),
            ("acl", "system.posix_acl_access"),
        ] {
            let is = xattr_of(directory.join(path), name);
            assert_eq!(is, xattr_of(mounted.0.join(path), name), "{path}");
        }
    }
    let small = ["flatten", &shop.image, "small", "--uid-map=0:9:5"];
    let run = shop.try_lowerdir("mapped", &small);
    let complaint = run.complaint("it has an id too many");
    assert_eq!(run.status, 3, "{complaint}");
    assert!(
        complaint.contains(": no id map has the user "),
        "{complaint}"
    );
    let run = shop.try_lowerdir(
        "mapped",
        &[&flatten[..], &maps, &["--owners=caller"]].concat(),
    );
    assert!(run.complaint("").contains("takes no id maps"));
}
