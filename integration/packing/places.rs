//! What lies in an upperdir, or on its file system, and is no part of the layer (rule X2).

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use rustix::mount::mount_bind;

use crate::crash::disk::{Disk, Mount};
use crate::scratch::{self, Mounted, Run, Scratch};

/// `u:5:rwx` beside 0755, as `setfacl` encodes it.
const ACL: &[u8] = b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x02\0\x07\0\x05\0\0\0\x04\0\x05\0\
\xff\xff\xff\xff\x10\0\x07\0\xff\xff\xff\xff\x20\0\x05\0\xff\xff\xff\xff";

fn pack(upper: &Path, layer: &Path) -> Run {
    let words: [&OsStr; 5] = [
        "pack".as_ref(),
        upper.as_ref(),
        "--compression=none".as_ref(),
        "-o".as_ref(),
        layer.as_ref(),
    ];
    scratch::lowerdir(&words, None)
}

/// xfs lists an ACL twice, and sets properties of its own.
#[test]
fn an_acl_on_xfs_comes_once() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = scratch.site();
    let disk = Disk::make(site.path(), "xfs", "400M", &[]);
    let Some(mounted) = Mount::of(&disk.file, &site.path().join("fs")) else {
        return;
    };
    let upper = mounted.place().join("upper");
    fs::create_dir_all(upper.join("d")).expect("a directory");
    for acl in ["system.posix_acl_access", "system.posix_acl_default"] {
        xattr::set(upper.join("d"), acl, ACL).expect("xfs has ACLs");
    }
    fs::write(upper.join("d/.wh.x"), "").expect("a marker");
    let convert = |words: &[&str]| {
        let mut all = vec![OsStr::new("convert"), upper.as_ref()];
        all.extend(words.iter().map(OsStr::new));
        scratch::lowerdir(&all, None)
            .done()
            .expect("it can be converted")
    };
    convert(&[]);
    let layer = site.path().join("layer");
    pack(&upper, &layer).done().expect("a layer");
    let bytes = fs::read(&layer).expect("it was made");
    let has = |words: &[u8]| bytes.windows(words.len()).any(|window| window == words);
    assert!(has(b"SCHILY.xattr.system.posix_acl_access="));
    assert!(has(b"SCHILY.xattr.system.posix_acl_default="));
    assert!(has(b"d/.wh.x"));
    assert!(!has(b"SGI_ACL"));
    convert(&["--to=oci"]);
    for acl in ["system.posix_acl_access", "system.posix_acl_default"] {
        let value = xattr::get(upper.join("d"), acl).expect("xattrs");
        assert_eq!(value.as_deref(), Some(ACL));
    }
    // What is made in such a directory takes nothing of it (rule W7).
    let marker = xattr::list(upper.join("d/.wh.x")).expect("xattrs");
    assert_eq!(marker.count(), 0);
    mounted.unmount().expect("nobody uses it");
}

/// Properties of btrfs are no part of a tree.
#[test]
fn a_property_of_btrfs_stays_there() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = scratch.site();
    if std::process::Command::new("mkfs.btrfs")
        .arg("--version")
        .output()
        .is_err()
    {
        return crate::skip("there is no mkfs.btrfs: the Debian package is btrfs-progs");
    }
    let disk = site.path().join("btrfs.disk");
    let file = fs::File::create(&disk).expect("a file");
    file.set_len(200 << 20).expect("a sparse file");
    let made = std::process::Command::new("mkfs.btrfs")
        .arg("-q")
        .arg(&disk)
        .status();
    assert!(made.expect("it was there").success());
    let Some(mounted) = Mount::of(&disk, &site.path().join("fs")) else {
        return;
    };
    let upper = mounted.place().join("upper");
    fs::create_dir(&upper).expect("a directory");
    fs::write(upper.join("f"), "f").expect("a file");
    xattr::set(upper.join("f"), "btrfs.compression", b"zstd").expect("btrfs has it");
    let layer = site.path().join("layer");
    pack(&upper, &layer).done().expect("a layer");
    let bytes = fs::read(&layer).expect("it was made");
    assert!(!bytes.windows(6).any(|window| window == b"btrfs."));
    mounted.unmount().expect("nobody uses it");
}

/// An overlay mount shows what is under a mount, and so does its layer: none is made of the other.
#[test]
fn a_mount_in_an_upperdir_is_refused_by_name() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = scratch.site();
    let (upper, other) = (site.path().join("upper"), site.path().join("other"));
    for directory in [&upper.join("d/in"), &other] {
        fs::create_dir_all(directory).expect("a directory");
    }
    fs::write(other.join("host"), "not of the layer").expect("a file");
    fs::write(upper.join("d/f"), "").expect("a file");
    let layer = site.path().join("layer");
    for (source, target) in [(other.clone(), "d/in"), (other.join("host"), "d/f")] {
        mount_bind(source, upper.join(target)).expect("a bind mount");
        let mounted = Mounted(upper.join(target));
        let run = pack(&upper, &layer);
        let text = run.complaint("");
        assert_eq!(run.status, 1, "{text}");
        let words = format!("{target}: another file system is mounted there");
        assert!(text.contains(&words), "{text}");
        assert!(!layer.exists());
        drop(mounted);
    }
    pack(&upper, &layer).done().expect("a layer");
}

/// With `index=on` a file that was changed by one name is changed by all, and the upperdir has the one.
#[test]
fn a_file_with_other_names_below_is_packed_with_all_of_them_or_not_at_all() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = scratch.site();
    let place = |name: &str| site.path().join(name);
    for name in ["low", "upper", "work", "tree"] {
        fs::create_dir(place(name)).expect("a directory");
    }
    fs::write(place("low/a"), "old").expect("a file");
    fs::hard_link(place("low/a"), place("low/b")).expect("a link");
    let options = format!(
        "index=on,lowerdir={},upperdir={},workdir={}",
        place("low").display(),
        place("upper").display(),
        place("work").display()
    );
    let change = |script: &str| {
        let script =
            format!("mount -t overlay overlay -o {options} tree && {script} && umount tree");
        let mut sh = std::process::Command::new("sh");
        let done = sh.args(["-c", &script]).current_dir(site.path()).status();
        assert!(done.expect("a shell").success(), "{script}");
    };
    let low = place("low");
    let packs = |with_lower: bool| {
        let (upper, layer) = (place("upper"), place("layer"));
        let mut words: Vec<&OsStr> = vec!["pack".as_ref(), upper.as_ref()];
        if with_lower {
            words.extend([OsStr::new("--lower"), low.as_ref()]);
        }
        words.extend(["-o".as_ref(), layer.as_os_str()]);
        let run = scratch::lowerdir(&words, None);
        let made = layer.exists();
        let _ = fs::remove_file(&layer);
        (run.status, made)
    };
    change("echo new > tree/a && test \"$(cat tree/b)\" = new");
    for with_lower in [true, false] {
        assert_eq!(packs(with_lower), (3, false));
    }
    // As the hint says.
    change("touch -h tree/b");
    assert_eq!(packs(true), (0, true));
}
