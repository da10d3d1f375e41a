//! Trees that are converted: there and back is the identity, a killed run leaves one form or the
//! other, and what a mount shows stays what it was.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::mount::mount_bind;

use crate::generate::Flavour;
use crate::property::{Image, Verdict, for_each_stack, stacks};
use crate::scratch::{self, Mounted, Run, Scratch};
use crate::tarball::{LayerBuilder, Meta};
use crate::walk::Walk;
use support::program;

const ACCEPTED: Flavour = Flavour {
    refused: 0,
    ..Flavour::ALL
};

/// The layer directories of an image, topmost first, and each with those below it; moved out of the
/// store, in which nothing is converted.
fn layers_of(image: &Image, jobs: usize) -> Result<Vec<PathBuf>, String> {
    let layers = image.unpack("store", jobs, &[]).done()?;
    let take_out = |(number, layer): (usize, &PathBuf)| {
        let store = layer.ancestors().nth(4).expect("a layer is in a store");
        let place = store.with_file_name(format!("layer{number}"));
        match std::fs::rename(layer, &place) {
            Ok(()) => Ok(place),
            Err(error) => Err(error.to_string()),
        }
    };
    layers.iter().enumerate().map(take_out).collect()
}

#[test]
fn to_the_form_of_images_and_back_is_the_identity() {
    for_each_stack(stacks() / 4, ACCEPTED.labelled(), |site, stack| {
        let image = Image::write(site, stack);
        if stack.expected().is_err() {
            return Ok(());
        }
        let layers = layers_of(&image, stack.jobs)?;
        for (number, layer) in layers.iter().enumerate() {
            let before = walk(layer);
            if !to_oci(layer)? {
                // A name too long for `.wh.`: then nothing is changed.
                same(&before, layer)?;
                continue;
            }
            no_whiteouts(layer)?;
            convert(layer, &[], &layers[number + 1..]).done()?;
            same(&before, layer)?;
        }
        Ok(())
    });
}

#[test]
fn to_another_dialect_and_back_is_the_identity() {
    for_each_stack(stacks() / 4, ACCEPTED.labelled(), |site, stack| {
        let image = Image::write(site, stack);
        let Ok(tree) = stack.expected() else {
            return Ok(());
        };
        let layers = layers_of(&image, stack.jobs)?;
        let before: Vec<Walk> = layers.iter().map(|layer| walk(layer)).collect();
        for (form, userxattr) in [
            ("user", true),
            ("trusted-xattr", false),
            ("user-xattr", true),
        ] {
            let there = [format!("--to={form}"), "--from=trusted".into()];
            let back = [format!("--from={form}"), "--to=trusted".into()];
            for layer in &layers {
                run(layer, &there).done()?;
            }
            let mounted = Mounted::stack(&layers, userxattr, site);
            image
                .shows(&mounted.map_err(|error| error.to_string())?, &tree)
                .map_err(|what| format!("{form}: {what}"))?;
            for (layer, before) in layers.iter().zip(&before) {
                run(layer, &back).done()?;
                same(before, layer).map_err(|what| format!("{form}: {what}"))?;
            }
        }
        Ok(())
    });
}

#[test]
fn a_killed_run_leaves_one_form_or_the_other() {
    for_each_stack(stacks() / 10, ACCEPTED.labelled(), |site, stack| {
        let image = Image::write(site, stack);
        if stack.expected().is_err() {
            return Ok(());
        }
        let layers = layers_of(&image, stack.jobs)?;
        for (number, layer) in layers.iter().enumerate() {
            let (before, below) = (walk(layer), &layers[number + 1..]);
            if !with_kills(layer, &["--from=trusted", "--to=oci"], &[])? {
                // A name too long for `.wh.`: then nothing is changed.
                same(&before, layer)?;
                continue;
            }
            no_whiteouts(layer)?;
            with_kills(layer, &[], below)?;
            same(&before, layer)?;
            // The next run removes what a killed one left beside it.
            convert(layer, &["--from=trusted", "--to=oci"], &[]).done()?;
            alone(layer)?;
            convert(layer, &[], below).done()?;
        }
        Ok(())
    });
}

/// Converts with many interruptions; false if it was refused.
fn with_kills(layer: &Path, options: &[&str], below: &[PathBuf]) -> Result<bool, String> {
    let before = walk(layer);
    for after in 0..6 {
        kill_after(layer, options, below, after)?;
        if same(&before, layer).is_err() {
            // It was done already, to the last name, else the way back would show it.
            return Ok(true);
        }
    }
    let run = convert(layer, options, below);
    match run.status {
        3 => Ok(false),
        _ => run.done().map(|_| true),
    }
}

/// Nothing lies beside a layer but what is beside each in a store.
fn alone(layer: &Path) -> Verdict {
    let names = std::fs::read_dir(layer.parent().expect("it is in a directory"));
    let names = names.map_err(|error| error.to_string())?;
    let names = names.map(|name| name.expect("a name").file_name());
    let left: Vec<_> = names
        .filter(|name| name.as_encoded_bytes().starts_with(b".lowerdir-"))
        .collect();
    match left.is_empty() {
        true => Ok(()),
        false => Err(format!("{left:?} is left")),
    }
}

/// Starts a conversion, and kills it after so many changes, or soon after: it tells of each right
/// before it makes it.
fn kill_after(
    layer: &Path,
    options: &[&str],
    below: &[PathBuf],
    after: usize,
) -> Result<(), String> {
    let mut command = program::lowerdir();
    command
        .arg("convert")
        .arg(layer)
        .arg("--verbose")
        .args(options);
    command.args(parents(options, below));
    let command = command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    // Before the first of them it looks at the tree, which changes nothing.
    for _ in 0..=after {
        lines.next();
    }
    child.kill().map_err(|error| error.to_string())?;
    child.wait().map(drop).map_err(|error| error.to_string())
}

fn parents<'a>(options: &[&str], below: &'a [PathBuf]) -> Vec<&'a OsStr> {
    match below {
        [] if options.contains(&"--to=oci") => Vec::new(),
        [] => vec!["--base".as_ref()],
        below => below
            .iter()
            .flat_map(|parent| [OsStr::new("--lower"), parent.as_ref()])
            .collect(),
    }
}

fn convert(layer: &Path, options: &[&str], below: &[PathBuf]) -> Run {
    let mut arguments = vec![OsStr::new("convert"), layer.as_ref()];
    arguments.extend(options.iter().map(OsStr::new));
    arguments.extend(parents(options, below));
    scratch::lowerdir(&arguments, None)
}

fn run(layer: &Path, options: &[String]) -> Run {
    let mut arguments = vec![OsStr::new("convert"), layer.as_ref()];
    arguments.extend(options.iter().map(OsStr::new));
    scratch::lowerdir(&arguments, None)
}

/// False if it was refused, as a long name is.
fn to_oci(layer: &Path) -> Result<bool, String> {
    let run = convert(layer, &["--from=trusted", "--to=oci"], &[]);
    match run.status {
        3 => Ok(false),
        _ => run.done().map(|_| true),
    }
}

fn walk(layer: &Path) -> Walk {
    Walk::new(layer, &BTreeSet::new())
}

fn same(before: &Walk, layer: &Path) -> Verdict {
    walk(layer).compare("after", "before", &before.listing)
}

fn no_whiteouts(layer: &Path) -> Verdict {
    let is_whiteout = |kind: &crate::tarball::Kind| *kind == crate::tarball::Kind::Char(0, 0);
    let listing = walk(layer).listing;
    match listing.values().any(|item| is_whiteout(&item.kind)) {
        true => Err("a whiteout is left".into()),
        false => Ok(()),
    }
}

/// Each call by which a conversion changes something, one after another, in both directions.
#[test]
fn a_run_killed_at_any_system_call_leaves_one_form_or_the_other() {
    if Command::new("strace").arg("--version").output().is_err() {
        return crate::skip("there is no strace: the Debian package has that name");
    }
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = scratch.site();
    let (layer, below) = rich_layer(site.path());
    let trusted = walk(&layer);
    convert(&layer, &["--to=oci"], &[])
        .done()
        .expect("it can be");
    let oci = walk(&layer);
    let below = std::slice::from_ref(&below);
    convert(&layer, &[], below).done().expect("and back");
    let mut kills = 0;
    for call in [
        "mkdirat",
        "linkat",
        "openat",
        "setxattr",
        "fsetxattr",
        "renameat2",
        "syncfs",
        "fsync",
        "unlinkat",
        "utimensat",
    ] {
        for number in 1.. {
            let there = killed_at(&layer, &["--to=oci"], &[], call, number, [&trusted, &oci]);
            let back = killed_at(&layer, &[], below, call, number, [&oci, &trusted]);
            same(&trusted, &layer).unwrap_or_else(|what| panic!("{call} {number}: {what}"));
            kills += u32::from(there) + u32::from(back);
            if !there && !back {
                // Nobody killed these: what was left before is gone.
                alone(&layer).unwrap_or_else(|what| panic!("{call} {number}: {what}"));
                break;
            }
        }
    }
    assert!(kills > 100, "only {kills} runs were killed");
}

/// A layer with every kind of mark, and the one below it.
fn rich_layer(site: &Path) -> (PathBuf, PathBuf) {
    let data = |value: &str| Meta::new(0o755).xattr("trusted.overlay.opaque", value);
    let base = LayerBuilder::new()
        .file("d/a", 0o644, "a")
        .file("d/b", 0o644, "b")
        .file("e/x", 0o644, "x")
        .file("f/x/y", 0o644, "y");
    let top = LayerBuilder::new()
        .dir("d", Meta::new(0o700).time(-5, 7))
        .whiteout("d/a")
        .whiteout("d/b")
        .dir("e", data("y"))
        .opaque("e")
        .file("e/new", data("x"), "new")
        .whiteout("f/x")
        .dir("f/x", Meta::new(0o711).time(77, 7))
        .dir("g", data("z"));
    let [base, top] = [("base", base), ("top", top)].map(|(name, layer)| {
        let blob = site.join(format!("{name}.tar"));
        std::fs::write(&blob, layer.finish()).expect("a blob");
        let directory = site.join(name);
        let below = site.join("base");
        let mut arguments = vec![
            OsStr::new("unpack-layer"),
            blob.as_ref(),
            directory.as_ref(),
        ];
        match name {
            "base" => arguments.push("--base".as_ref()),
            _ => arguments.extend([OsStr::new("--lower"), below.as_ref()]),
        }
        scratch::lowerdir(&arguments, None)
            .done()
            .expect("a good layer");
        directory
    });
    (top, base)
}

/// Converts from one form to the other, killed at one system call, and then once more if that was
/// before its end; tells whether it came to that.
fn killed_at(
    layer: &Path,
    options: &[&str],
    below: &[PathBuf],
    call: &str,
    number: u32,
    [old, new]: [&Walk; 2],
) -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "/dev/null", "-e"]);
    strace.arg(format!("inject={call}:signal=KILL:when={number}"));
    strace.arg(program::path()).arg("convert").arg(layer);
    strace
        .args(options)
        .args(parents(options, below))
        .arg("--quiet");
    let is_killed = !strace.status().expect("it was there").success();
    if same(old, layer).is_ok() {
        let run = convert(layer, options, below);
        assert_eq!(run.status, 0, "{}", run.complaint(call));
    }
    same(new, layer).unwrap_or_else(|what| panic!("{call} {number}: {what}"));
    is_killed
}

/// Each call fails in turn: the tree is what it was, and nothing lies beside it; only once the names
/// were exchanged, it is the new one.
#[test]
fn a_run_in_which_any_call_fails_leaves_a_whole_tree() {
    if Command::new("strace").arg("--version").output().is_err() {
        return crate::skip("there is no strace: the Debian package has that name");
    }
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = scratch.site();
    let (layer, below) = rich_layer(site.path());
    let old = walk(&layer);
    let mut failures = 0;
    for (call, error) in [
        ("mkdirat", "ENOSPC"),
        ("linkat", "EMLINK"),
        ("fsetxattr", "ENOSPC"),
        ("utimensat", "EIO"),
        ("syncfs", "EIO"),
        ("renameat2", "EINVAL"),
        ("fsync", "EIO"),
        ("unlinkat", "EPERM"),
    ] {
        for number in 1.. {
            let mut strace = Command::new("strace");
            strace.args(["-f", "-o", "/dev/null", "-e"]);
            strace.arg(format!("inject={call}:error={error}:when={number}"));
            strace.arg(program::path()).arg("convert");
            let status = strace.arg(&layer).args(["--to=oci", "--quiet"]).status();
            let code = status.expect("it was there").code();
            let is_old = same(&old, &layer).is_ok();
            if !is_old {
                let is_late = ["fsync", "unlinkat"].contains(&call);
                assert!(code == Some(0) || is_late, "{call} {number}: {code:?}");
                no_whiteouts(&layer).expect("it is whole");
                let back = convert(&layer, &[], std::slice::from_ref(&below));
                back.done().expect("and back");
                same(&old, &layer).unwrap_or_else(|what| panic!("{call} {number}: {what}"));
            } else {
                assert_eq!(code, Some(1), "{call} {number}");
                alone(&layer).unwrap_or_else(|what| panic!("{call} {number}: {what}"));
            }
            failures += u32::from(code != Some(0));
            if code == Some(0) {
                break;
            }
        }
    }
    assert!(failures > 20, "only {failures} calls failed");
}

/// A name more for each file would be too many for ext4, so such files are copied, as a group.
#[test]
fn a_file_of_very_many_names_stays_one() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = scratch.site();
    for count in [20_000, 33_000] {
        let tree = site.path().join(format!("tree{count}"));
        std::fs::create_dir(&tree).expect("a directory");
        std::fs::write(tree.join(".wh.gone"), "").expect("a marker");
        std::fs::write(tree.join("0"), "data").expect("a file");
        for number in 1..count {
            let name = tree.join(number.to_string());
            std::fs::hard_link(tree.join("0"), name).expect("a link");
        }
        convert(&tree, &[], &[]).done().expect("it is converted");
        let names = std::fs::metadata(tree.join("0")).expect("it is there");
        assert_eq!(names.nlink(), count);
        assert_eq!(std::fs::read(tree.join("0")).expect("a file"), b"data");
    }
}

/// What cannot be exchanged, or lies elsewhere, is named before anything is made.
#[test]
fn a_mount_or_an_immutable_file_is_refused() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = scratch.site();
    let (tree, other) = (site.path().join("tree"), site.path().join("other"));
    for directory in [&tree, &other, &tree.join("d")] {
        std::fs::create_dir(directory).expect("a directory");
    }
    std::fs::write(tree.join(".wh.x"), "").expect("a marker");
    std::fs::write(tree.join("f"), "").expect("a file");
    let refused = |words: &str| {
        let run = convert(&tree, &[], &[]);
        assert_eq!(run.status, 1, "{}", run.complaint(words));
        assert!(
            run.complaint("").contains(words),
            "{}",
            run.complaint(words)
        );
        assert!(tree.join(".wh.x").exists());
        alone(&tree).expect("nothing is left");
    };
    for (target, words) in [
        (tree.join("d"), "d: another file system is mounted there"),
        (tree.join("f"), "f: another file system is mounted there"),
        (tree.clone(), "is a mount point"),
    ] {
        let source = if target.is_dir() {
            &other
        } else {
            &tree.join(".wh.x")
        };
        if target == tree {
            std::fs::write(other.join(".wh.x"), "").expect("a marker");
        }
        mount_bind(source, &target).expect("a bind mount");
        let mounted = Mounted(target);
        refused(words);
        drop(mounted);
    }
    let chattr = |flag: &str| {
        let status = Command::new("chattr")
            .arg(flag)
            .arg(tree.join("f"))
            .status();
        status.is_ok_and(|status| status.success())
    };
    if chattr("+i") {
        refused("f: it is immutable");
        assert!(chattr("-i"));
    }
    convert(&tree, &[], &[]).done().expect("it is converted");
}
