//! Random changes to a mounted tree: what containers do, and what they rarely do. An operation
//! that the mount denies (a rename over a full directory, a link to a directory) changes nothing.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, makedev, mknodat, utimensat};

use crate::dice::Dice;

/// Names that are made beside those of the image.
pub const NAMES: [&[u8]; 6] = [b"a", b"b", b"c", b"new", b"x y", b"\xfe"];

/// Changes the tree, and tells what was done.
pub fn change(root: &Path, seed: u64) -> Vec<String> {
    let mut dice = Dice::new(seed);
    let mut log = Vec::new();
    for _ in 0..5 + dice.below(25) {
        let (path, other) = (pick(root, &mut dice), pick(root, &mut dice));
        let place = [&path, &other][dice.below(2) as usize];
        let new = parent_of(root, place).join(OsStr::from_bytes(dice.pick::<&[u8]>(&NAMES)));
        let (what, done) = one(&path, &new, &mut dice);
        let shown = |path: &Path| path.strip_prefix(root).unwrap().display().to_string();
        let (from, to) = (shown(&path), shown(&new));
        if done.is_ok() {
            log.push(format!("  {what} {from} -> {to}"));
        }
    }
    log
}

fn one(path: &Path, new: &Path, dice: &mut Dice) -> (&'static str, io::Result<()>) {
    match dice.below(17) {
        0 => ("remove", remove(path)),
        1 => (
            "remove and make a directory",
            remove(path).and_then(|()| fs::create_dir(path)),
        ),
        2 => (
            "remove and make a file",
            remove(path).and_then(|()| fs::write(path, b"again")),
        ),
        3 | 4 => ("rename", fs::rename(path, new)),
        5 => ("link", fs::hard_link(path, new)),
        6 => ("make a directory", fs::create_dir(new)),
        7 => ("write", write(new)),
        8 => ("append", append(path)),
        9 => ("make a sparse file", sparse(new)),
        10 => ("chmod", chmod(path, dice)),
        11 => ("chown", lchown(path, Some(7), Some(2_097_152))),
        12 => ("set an xattr", set_xattr(path, dice)),
        13 => ("make a symlink", symlink(OsStr::from_bytes(b"a/\xff"), new)),
        14 => ("make a fifo", node(new, FileType::Fifo)),
        15 => ("make a device", node(new, FileType::BlockDevice)),
        _ => ("set the time", set_time(path)),
    }
}

/// Any path of the tree, the root now and then.
fn pick(root: &Path, dice: &mut Dice) -> PathBuf {
    let mut found = vec![root.to_owned()];
    let mut todo = vec![root.to_owned()];
    while let Some(directory) = todo.pop() {
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            if is_directory(&path) {
                todo.push(path.clone());
            }
            found.push(path);
        }
    }
    dice.pick(&found).clone()
}

fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

fn parent_of(root: &Path, path: &Path) -> PathBuf {
    match is_directory(path) {
        true => path.to_owned(),
        false => path.parent().unwrap_or(root).to_owned(),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match is_directory(path) {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    }
}

fn is_file(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path)?.is_file() {
        true => Ok(()),
        false => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Opening a fifo would wait for ever, and a device is none of ours.
fn write(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => Err(io::ErrorKind::InvalidInput.into()),
        _ => fs::write(path, b"written"),
    }
}

fn append(path: &Path) -> io::Result<()> {
    is_file(path)?;
    File::options().append(true).open(path)?.write_all(b"more")
}

fn sparse(path: &Path) -> io::Result<()> {
    let file = File::create_new(path)?;
    file.write_all_at(b"data", 200_000)?;
    file.set_len(400_000)
}

fn chmod(path: &Path, dice: &mut Dice) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_symlink() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mode = *dice.pick(&[0o600, 0o755, 0o4711, 0o1777]);
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    chown(path, Some(0), None)
}

fn set_xattr(path: &Path, dice: &mut Dice) -> io::Result<()> {
    let names = [
        "user.n",
        "trusted.n",
        "trusted.overlay.opaque",
        "user.overlay.opaque",
    ];
    xattr::set(path, dice.pick(&names), b"v\n=\0")
}

fn node(path: &Path, kind: FileType) -> io::Result<()> {
    let mode = Mode::from_raw_mode(0o640);
    Ok(mknodat(CWD, path, kind, mode, makedev(8, 70_000))?)
}

fn set_time(path: &Path) -> io::Result<()> {
    let time = Timespec {
        tv_sec: -7,
        tv_nsec: 123_456_789,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
