//! Directories for changes belong to one mount: a second one is refused, however and wherever the first
//! was made, and the first one stays as it is.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use rustix::mount::{FsOpenFlags, fsconfig_create, fsconfig_set_string, fsopen};

use super::in_use::Elsewhere;
use super::seccomp::Kernel;
use super::{Changes, Unpacked, os, refused, stderr};
use crate::scratch::{Mounted, Scratch, once_no_copy_is_left};
use support::program;

/// Names that mount tables, overlayfs or shells escape.
const NAMES: [&str; 4] = ["plain", "a b,c", "back\\slash:colon", "line\nend\ttab#="];

/// Whether files can be written, removed and renamed: what a second mount breaks.
fn works(target: &Path) {
    let (one, other) = (target.join("new"), target.join("renamed"));
    fs::write(&one, "text").expect("it takes changes");
    fs::rename(&one, &other).expect("it takes changes");
    fs::remove_file(&other).expect("it takes changes");
    fs::remove_file(target.join("f0")).expect("it takes changes");
    fs::write(target.join("f0"), "").expect("it takes changes");
}

#[test]
fn a_second_mount_of_an_upperdir_or_workdir_is_refused() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    for name in NAMES {
        for kernel in [Kernel::AsItIs, Kernel::WithoutFsopen] {
            let place = tempfile::tempdir_in(image.site.path()).unwrap();
            let place = place.path().join(name);
            fs::create_dir(&place).unwrap();
            let [upper, work] = ["upper", "work"].map(|name| place.join(name));
            let [other, elsewhere] = ["other", "elsewhere"].map(|name| place.join(name));
            let first = Changes::new(upper.clone(), work.clone());
            let target = image.mounted(kernel, &first.options());
            let on = format!("of the overlay mount on {}", target.0.display());
            for (changes, words) in [
                (first, "the upperdir "),
                (
                    Changes::new(upper.clone(), other.clone()),
                    "is the upperdir ",
                ),
                (Changes::new(other.clone(), work.clone()), "is the workdir "),
                (Changes::new(work.clone(), other.clone()), "is the workdir "),
                (
                    Changes::new(upper.join("in"), other.clone()),
                    "is inside the upperdir ",
                ),
                (Changes::new(place.clone(), elsewhere.clone()), "has --work"),
            ] {
                let text = refused(&image, kernel, &changes.options());
                assert!(text.contains(words), "{text}");
                assert!(text.contains(&on) || words == "has --work", "{text}");
                for path in [&other, &elsewhere, &upper.join("in")] {
                    assert!(!path.exists(), "{path:?} was left behind: {text}");
                }
            }
            works(&target.0);
        }
    }
}

#[test]
fn an_upperdir_that_holds_one_of_another_mount_is_refused() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    let site = image.site.path();
    let first = Changes::new(site.join("box/upper"), site.join("box/work"));
    fs::create_dir(site.join("box")).unwrap();
    let _target = image.mounted(Kernel::AsItIs, &first.options());
    let second = Changes::new(site.join("box"), site.join("other"));
    let text = refused(&image, Kernel::AsItIs, &second.options());
    assert!(
        text.contains("is around the upperdir of the overlay mount on"),
        "{text}"
    );
}

#[test]
fn a_layer_of_another_mount_takes_no_changes() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    let site = image.site.path();
    let layer = site.join("layer:1");
    fs::create_dir(&layer).unwrap();
    let _mounted = Mounted::stack(std::slice::from_ref(&layer), false, site).unwrap();
    let changes = Changes::new(layer, site.join("work"));
    let text = refused(&image, Kernel::AsItIs, &changes.options());
    assert!(
        text.contains("is a layer of the overlay mount on"),
        "{text}"
    );
    // In a layer of some mount is what lies in a directory that a sandbox has below it.
    let inside = Changes::new(site.join("layer:1/upper"), site.join("layer:1/work"));
    let target = image.mounted(Kernel::AsItIs, &inside.options());
    works(&target.0);
}

#[test]
fn a_mount_elsewhere_has_its_directories_for_itself() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 1);
    let overlay = "mount -t overlay -o lowerdir=$LOWEST";
    let scripts = [
        "mkdir -p t; $PROGRAM mount $IMAGE t --upper up --work wo; echo ready; cat".into(),
        // By another program, and by names that are relative to where it was.
        format!("mkdir -p up wo t; {overlay},upperdir=up,workdir=wo overlay t; echo ready; cat"),
        // By a process that sees other names than everybody else.
        format!(
            "mkdir -p up wo t jail hidden; mount --bind . hidden; mount -t tmpfs none jail; \
             mkdir jail/in; mount --bind hidden jail/in; cd jail/in; \
             {overlay},upperdir=$PWD/up,workdir=$PWD/wo overlay t; echo ready; cat"
        ),
        // In a chroot.
        format!(
            "mkdir -p up wo t jail; {overlay},upperdir=$PWD/up,workdir=$PWD/wo overlay t; \
             mount --rbind / jail; exec 3<&0; cat <&3 & echo ready; exec chroot jail cat <&3"
        ),
    ];
    for script in scripts {
        let elsewhere = Elsewhere::run(&image, &script);
        let changes = Changes::new(
            image.site.path().join("up"),
            image.site.path().join("other"),
        );
        let text = refused(&image, Kernel::AsItIs, &changes.options());
        assert!(
            text.contains("the upperdir of the overlay mount on")
                && text.contains(", in the mount namespace of process "),
            "{script}: {text}"
        );
        elsewhere.end();
        for name in ["up", "wo", "other"] {
            let _ = fs::remove_dir_all(image.site.path().join(name));
        }
    }
}

/// What counts is the directory, not what it is called there.
#[test]
fn another_directory_of_the_same_name_elsewhere_does_not_count() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 1);
    let script = "mkdir -p box other/up other/wo t; mount --bind other box; \
                  mount -t overlay -o lowerdir=$LOWEST,upperdir=$PWD/box/up,workdir=$PWD/box/wo o t; \
                  echo ready; cat";
    let elsewhere = Elsewhere::run(&image, script);
    let place = image.site.path();
    let changes = Changes::new(place.join("box/up"), place.join("box/wo"));
    fs::create_dir(&changes.upper).unwrap();
    works(&image.mounted(Kernel::AsItIs, &changes.options()).0);
    // The one that is in use has another name here.
    let used = Changes::new(place.join("other/up"), place.join("other/work"));
    let text = refused(&image, Kernel::AsItIs, &used.options());
    assert!(
        text.contains("--upper") && text.contains("overlay mount"),
        "{text}"
    );
    elsewhere.end();
}

/// Nothing shows a mount that is on no directory, but the kernel knows what is in use.
#[test]
fn a_mount_that_no_table_shows_has_its_directories_for_itself() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 1);
    let [layer, upper, work] = ["layer", "unseen", "w"].map(|name| image.site.path().join(name));
    for directory in [&layer, &upper, &work] {
        fs::create_dir(directory).unwrap();
    }
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    for (key, value) in [
        ("lowerdir", &layer),
        ("upperdir", &upper),
        ("workdir", &work),
    ] {
        fsconfig_set_string(&overlay, key, value).unwrap();
    }
    fsconfig_create(&overlay).unwrap();
    let changes = Changes::new(upper, image.site.path().join("other"));
    let text = refused(&image, Kernel::AsItIs, &changes.options());
    assert!(
        text.contains("in use by an overlay mount that no mount table shows"),
        "{text}"
    );
    drop(overlay);
    let target = image.mounted(Kernel::AsItIs, &changes.options());
    works(&target.0);
}

#[test]
fn of_mounts_that_are_made_at_once_one_is() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    for round in 0..5 {
        let [upper, work] = ["u", "w"].map(|name| image.site.path().join(format!("{name}{round}")));
        let targets = [(); 4].map(|()| Mounted::nothing(image.site.path()));
        let start = |target: &Mounted| {
            let mut command = program::lowerdir();
            command
                .arg("--store")
                .arg(&image.store)
                .arg("mount")
                .arg(&image.image);
            command
                .arg(&target.0)
                .arg("--upper")
                .arg(&upper)
                .arg("--work")
                .arg(&work);
            command
                .stderr(std::process::Stdio::piped())
                .spawn()
                .expect("it starts")
        };
        let started: Vec<_> = targets.iter().map(start).collect();
        let ended = started
            .into_iter()
            .map(|child| child.wait_with_output().expect("it ends"));
        let ended: Vec<_> = ended.collect();
        let made = ended
            .iter()
            .filter(|output| output.status.success())
            .count();
        assert_eq!(made, 1, "{ended:?}");
        for output in ended.iter().filter(|output| !output.status.success()) {
            let text = stderr(output);
            assert!(
                text.contains("of the overlay mount on") || text.contains("being mounted"),
                "{text}"
            );
        }
    }
}

#[test]
fn a_bundle_takes_no_upperdir_that_is_in_use() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    let site = image.site.path();
    let changes = Changes::new(site.join("u"), site.join("w"));
    let _target = image.mounted(Kernel::AsItIs, &changes.options());
    for overlay in ["--overlay=config", "--overlay=mounted", "--overlay=cmd"] {
        let bundle = site.join("bundle");
        let fixed = [os("bundle"), &image.image, bundle.as_os_str(), os(overlay)];
        let command = [os("--sync=none"), os("--"), os("/bin/true")];
        let arguments = [&fixed[..], &changes.options()[..], &command].concat();
        let output = image.run(Kernel::AsItIs, &arguments);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{overlay}: {text}");
        assert!(
            text.contains("is the upperdir of the overlay mount on"),
            "{overlay}: {text}"
        );
        assert!(!bundle.exists(), "{overlay}");
    }
}

/// The verb on a directory, while the image is mounted with changes; what it says.
fn on(image: &Unpacked, arguments: &[&OsStr]) -> (Option<i32>, String) {
    let output = once_no_copy_is_left(|| image.run(Kernel::AsItIs, arguments));
    (output.status.code(), stderr(&output))
}

#[test]
fn what_a_mount_is_made_of_is_not_converted() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    let site = image.site.path();
    let changes = Changes::new(site.join("u"), site.join("w"));
    // A layer of a store is never converted.
    let layers = ["high", "low"].map(|name| site.join(name));
    for layer in &layers {
        fs::create_dir(layer).unwrap();
    }
    let _stack = Mounted::stack(&layers, false, site).unwrap();
    let layer = &layers[1];
    for kernel in [Kernel::AsItIs, Kernel::WithoutFsopen] {
        let target = image.mounted(kernel, &changes.options());
        for (directory, part) in [
            (&changes.upper, "it is the upperdir "),
            (&changes.work, "it is the workdir "),
            (layer, "it is a layer "),
        ] {
            let forms = [os("--from=trusted"), os("--to=user")];
            let convert = [os("convert"), directory.as_os_str(), forms[0], forms[1]];
            let (code, text) = on(&image, &convert);
            assert_eq!(code, Some(1), "{text}");
            assert!(
                text.contains(part) && text.contains("hint: unmount it first"),
                "{text}"
            );
            let (code, text) = on(&image, &[&convert[..], &[os("--dry-run")]].concat());
            assert_eq!(code, Some(0), "only looking is fine: {text}");
        }
        works(&target.0);
    }
}

#[test]
fn what_is_mounted_elsewhere_is_not_converted() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = scratch.site();
    let place = |name: &str| site.path().join(name);
    fs::create_dir_all(place("tree/d")).unwrap();
    fs::create_dir(place("there")).unwrap();
    fs::write(place("tree/.wh.x"), "").unwrap();
    let convert = || {
        let mut command = program::lowerdir();
        command.arg("convert").arg(place("tree"));
        command.output().unwrap()
    };
    for inner in ["tree", "tree/d"] {
        rustix::mount::mount_bind(place(inner), place("there")).unwrap();
        let mounted = Mounted(place("there"));
        let output = convert();
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{inner}: {text}");
        assert!(
            text.contains("is mounted on ") && text.contains("there too"),
            "{text}"
        );
        assert!(place("tree/.wh.x").exists());
        drop(mounted);
    }
    let output = once_no_copy_is_left(convert);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn an_upperdir_that_can_be_changed_is_not_packed() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    let site = image.site.path();
    let changes = Changes::new(site.join("u"), site.join("w"));
    let layer = site.join("layer.tar");
    let pack = [
        os("pack"),
        changes.upper.as_os_str(),
        os("-o"),
        layer.as_os_str(),
    ];
    for kernel in [Kernel::AsItIs, Kernel::WithoutFsopen] {
        let target = image.mounted(kernel, &changes.options());
        fs::write(target.0.join("new"), "text").unwrap();
        let (code, text) = on(&image, &pack);
        assert_eq!(code, Some(1), "{text}");
        let expected = format!(
            "it is the upperdir of the overlay mount on {}",
            target.0.display()
        );
        assert!(
            text.contains(&expected) && text.contains("--live"),
            "{text}"
        );
        assert!(!layer.exists());
        let (code, text) = on(&image, &[&pack[..], &[os("--live")]].concat());
        assert_eq!(code, Some(0), "{text}");
        fs::remove_file(&layer).unwrap();
        for how in ["remount,bind,ro", "remount,ro"] {
            let remount = Command::new("mount")
                .args(["-o", how])
                .arg(&target.0)
                .output();
            let remount = remount.expect("mount, of util-linux");
            assert!(remount.status.success(), "{remount:?}");
            let (code, text) = on(&image, &pack);
            assert_eq!(code, Some(0), "{how}: {text}");
            fs::remove_file(&layer).unwrap();
        }
    }
}

#[test]
fn long_names_are_told_apart() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 1);
    let long = image.site.path().join(OsStr::from_bytes(&[b'l'; 250]));
    for name in ["one", "two"] {
        fs::create_dir_all(long.join(name)).unwrap();
    }
    let changes = |name: &str| Changes::new(long.join(name).join("u"), long.join(name).join("w"));
    let (one, two) = (changes("one"), changes("two"));
    let target = image.mounted(Kernel::AsItIs, &one.options());
    let text = refused(&image, Kernel::AsItIs, &one.options());
    assert!(
        text.contains("the upperdir of the overlay mount on"),
        "{text}"
    );
    works(&image.mounted(Kernel::AsItIs, &two.options()).0);
    works(&target.0);
}
