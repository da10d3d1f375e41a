//! Directories for changes that overlayfs cannot use, or whose content it would destroy, are refused before
//! anything is made.

use std::fs;
use std::path::Path;

use super::seccomp::Kernel;
use super::{Changes, Unpacked, os, refused, stderr};
use crate::scratch::{Mounted, Scratch, once_no_copy_is_left};

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory)
        .expect("a directory")
        .next()
        .is_none()
}

#[test]
fn both_directories_lie_on_one_file_system_side_by_side() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    let site = image.site.path();
    let tmpfs = Mounted::nothing(site);
    rustix::mount::mount(
        "none",
        &tmpfs.0,
        "tmpfs",
        rustix::mount::MountFlags::empty(),
        c"",
    )
    .unwrap();
    fs::create_dir(site.join("bound")).unwrap();
    let bound = Mounted(site.join("bound"));
    rustix::mount::mount_bind(site, &bound.0).unwrap();
    fs::create_dir(site.join("there")).unwrap();
    for (upper, work, words) in [
        (
            "u",
            tmpfs.0.join("w"),
            "is on another file system than --upper",
        ),
        (
            "u",
            bound.0.join("w"),
            "is under another mount than --upper",
        ),
        ("u", site.join("u"), "are the same directory"),
        ("there", site.join("there"), "are the same directory"),
        ("there", site.join("there/w"), "has --work"),
        ("there/u", site.join("there"), "is inside --work"),
        (
            "there/u",
            site.join("there/../there/u"),
            "are the same directory",
        ),
    ] {
        let changes = Changes::new(site.join(upper), work.clone());
        let text = refused(&image, Kernel::AsItIs, &changes.options());
        assert!(text.contains(words), "{upper} {work:?}: {text}");
        assert!(text.contains("side by side"), "{text}");
        assert!(
            is_empty(&tmpfs.0) && is_empty(&site.join("there")),
            "{text}"
        );
        assert!(
            !site.join("u").exists() && !site.join("w").exists(),
            "{text}"
        );
    }
}

#[test]
fn a_file_system_that_takes_no_changes_is_named() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    let overlay = image.mounted(Kernel::AsItIs, &[os("--tmpfs")]);
    let read_only = image.mounted(Kernel::AsItIs, &[]);
    for (mounted, words) in [
        (&overlay, "not supported as upperdir"),
        (&read_only, "supported as upperdir"),
    ] {
        for kernel in [Kernel::AsItIs, Kernel::WithoutLowerdirPlus] {
            let changes = Changes::new(mounted.0.join("u"), mounted.0.join("w"));
            let text = match kernel {
                Kernel::AsItIs => refused(&image, kernel, &changes.options()),
                // Without fsconfig(2) the kernel does not say why.
                _ => {
                    let target = Mounted::nothing(image.site.path());
                    stderr(&image.mount(kernel, &target.0, &changes.options()))
                }
            };
            assert!(kernel != Kernel::AsItIs || text.contains(words), "{text}");
            assert!(!mounted.0.join("u").exists() && !mounted.0.join("w").exists());
        }
    }
}

/// The kernel mounts it, and then no directory of a layer can be removed.
#[test]
fn a_file_system_without_xattrs_takes_no_changes() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    let ramfs = Mounted::nothing(image.site.path());
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("none", &ramfs.0, "ramfs", flags, c"").unwrap();
    let changes = Changes::new(ramfs.0.join("u"), ramfs.0.join("w"));
    for kernel in [Kernel::AsItIs, Kernel::WithoutFsopen] {
        let text = refused(&image, kernel, &changes.options());
        assert!(text.contains("keeps no xattrs"), "{text}");
        assert!(is_empty(&ramfs.0));
    }
}

#[test]
fn an_upperdir_is_in_no_layer_and_around_none() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    let json = image.run(Kernel::AsItIs, &[os("stack"), &image.image, os("--json")]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let layer = Path::new(json["directories"][0].as_str().unwrap());
    let above = layer.parent().unwrap();
    for (upper, work) in [
        (layer.to_path_buf(), above.join("w")),
        (layer.join("u"), layer.join("w")),
        (above.to_path_buf(), above.join("../w")),
        (image.site.path().join("u"), layer.join("w")),
    ] {
        let text = refused(&image, Kernel::AsItIs, &Changes::new(upper, work).options());
        assert!(text.contains("layer") || text.contains("store"), "{text}");
    }
    assert!(!layer.join("u").exists() && !layer.join("w").exists());
}

#[test]
fn a_mount_point_is_not_in_what_is_mounted_on_it() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    let target = Mounted::nothing(image.site.path());
    let inside = target.0.join("target");
    fs::create_dir(&inside).unwrap();
    for on in [&inside, &target.0] {
        for names in [["--upper", "--work"], ["--work", "--upper"]] {
            let other = image.site.path().join("other");
            let options = [
                os(names[0]),
                target.0.as_os_str(),
                os(names[1]),
                other.as_os_str(),
            ];
            let output = image.mount(Kernel::AsItIs, on, &options);
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            assert!(stderr(&output).contains("the mount point"), "{output:?}");
            assert!(!other.exists());
        }
    }
    // Below the mount point they are hidden, and work.
    let changes = Changes::new(target.0.join("u"), target.0.join("w"));
    let output = image.mount(Kernel::AsItIs, &target.0, &changes.options());
    assert!(output.status.success(), "{output:?}");
    image.is_at(&target.0);
}

#[test]
fn what_is_in_a_workdir_is_not_removed() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    let site = image.site.path();
    for precious in [
        "w/thesis",
        "w/work/thesis",
        "w/index/thesis",
        "w/work/deep/er/thesis",
        "w/work",
    ] {
        let file = site.join(precious);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "text").unwrap();
        for kernel in [Kernel::AsItIs, Kernel::WithoutFsopen] {
            let changes = Changes::new(site.join("u"), site.join("w"));
            let text = refused(&image, kernel, &changes.options());
            assert!(text.contains("which overlayfs did not make"), "{text}");
            assert_eq!(fs::read(&file).unwrap(), b"text", "{precious}");
            assert!(!site.join("u").exists());
        }
        fs::remove_dir_all(site.join("w")).unwrap();
    }
}

#[test]
fn what_overlayfs_left_in_a_workdir_is_no_obstacle() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    let changes = Changes::new(image.site.path().join("u"), image.site.path().join("w"));
    // What a crash leaves.
    fs::create_dir_all(changes.work.join("work/#1f")).unwrap();
    for options in [&[][..], &[os("-oindex=on")], &[os("-oindex=on")], &[]] {
        let target = image.mounted(Kernel::AsItIs, &[&changes.options()[..], options].concat());
        fs::write(target.0.join("f0"), "changed").unwrap();
        fs::hard_link(target.0.join("f0"), target.0.join("link")).unwrap();
        fs::remove_file(target.0.join("link")).unwrap();
    }
}

#[test]
fn after_a_volatile_mount_it_is_said_what_to_do() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    let changes = Changes::new(image.site.path().join("u"), image.site.path().join("w"));
    let options = [&changes.options()[..], &[os("-ovolatile")]].concat();
    for kernel in [
        Kernel::AsItIs,
        Kernel::WithoutFsopen,
        Kernel::WithoutLowerdirPlus,
    ] {
        drop(image.mounted(kernel, &options));
        let target = Mounted::nothing(image.site.path());
        let mount = || image.mount(kernel, &target.0, &changes.options());
        let output = once_no_copy_is_left(mount);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let text = stderr(&output);
        let mark = changes.work.join("work/incompat");
        assert!(text.contains("`volatile`"), "{text}");
        assert!(
            text.contains(&format!("remove the directory {}", mark.display())),
            "{text}"
        );
        fs::remove_dir_all(&mark).unwrap();
        image.is_at(&image.mounted(kernel, &changes.options()).0);
    }
}

/// Overlayfs has made its own directory in the workdir before it finds that the layers lie too deep.
#[test]
fn a_mount_that_fails_leaves_no_directories() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    let site = image.site.path();
    let (one, other) = (scratch.site(), scratch.site());
    let once = Mounted::stack(&[site.to_path_buf()], false, one.path()).unwrap();
    let twice = Mounted::stack(std::slice::from_ref(&once.0), false, other.path()).unwrap();
    let store = twice.0.join("store");
    let changes = Changes::new(site.join("u"), site.join("w"));
    for kernel in [Kernel::AsItIs, Kernel::WithoutFsopen] {
        for is_there in [false, true] {
            if is_there {
                fs::create_dir(&changes.work).unwrap();
            }
            let target = Mounted::nothing(site);
            let fixed = [os("mount"), &image.image, target.0.as_os_str()];
            let store = [os("--store"), store.as_os_str()];
            let arguments = [&fixed[..], &changes.options()[..]].concat();
            let output = kernel.run(|command| {
                command.args(store).args(arguments);
            });
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            assert!(stderr(&output).contains("dmesg"), "{output:?}");
            assert!(!changes.upper.exists(), "{output:?}");
            assert_eq!(changes.work.exists(), is_there, "{output:?}");
            if is_there {
                assert!(is_empty(&changes.work), "{output:?}");
                fs::remove_dir(&changes.work).unwrap();
            }
        }
    }
}
