//! A language of system calls: one call in a line or before a semicolon, each with its error.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, Mode, OFlags, RenameFlags, Timespec, Timestamps,
    fallocate, linkat, makedev, mknodat, openat, renameat_with, utimensat,
};

/// Makes the calls, and says of each what came of it.
pub fn all(root: &Path, steps: &str) -> Vec<String> {
    let calls = steps.split([';', '\n']).map(str::trim);
    let calls = calls.filter(|call| !call.is_empty());
    calls
        .map(|call| match one(root, call) {
            Ok(said) if said.is_empty() => format!("{call} = 0"),
            Ok(said) => format!("{call} = {said}"),
            Err(error) => format!("{call} = {}", errno(&error)),
        })
        .collect()
}

fn errno(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => format!("{:?}", nix::errno::Errno::from_raw(number)),
        None => error.to_string(),
    }
}

/// What a call says beside that it worked.
fn one(root: &Path, call: &str) -> io::Result<String> {
    let words: Vec<&str> = call.split_whitespace().collect();
    let path = |at: usize| root.join(words[at]);
    let at = |path: PathBuf| path;
    let done = match words[0] {
        "rename" => fs::rename(path(1), path(2)),
        "noreplace" => rename(&path(1), &path(2), RenameFlags::NOREPLACE),
        "exchange" => rename(&path(1), &path(2), RenameFlags::EXCHANGE),
        "leave-whiteout" => rename(&path(1), &path(2), RenameFlags::WHITEOUT),
        // As mv does it where a directory cannot be renamed.
        "move" => return moved(&path(1), &path(2)),
        "unlink" => fs::remove_file(path(1)),
        "rmdir" => fs::remove_dir(path(1)),
        "rmtree" => fs::remove_dir_all(path(1)),
        "mkdir" => fs::create_dir(path(1)),
        "create" => File::create_new(path(1)).and_then(|mut file| file.write_all(b"created")),
        "write" => fs::write(path(1), words[2]),
        "append" => append(&path(1), words[2]),
        "patch" => patch(&path(1), words[2]),
        "truncate" => truncate(&path(1), words[2]),
        "punch" => punch(&path(1)),
        "link" => fs::hard_link(path(1), path(2)),
        "symlink" => symlink(words[1], path(2)),
        "chmod" => chmod(&path(1), words[2]),
        "chown" => lchown(path(1), words[2].parse().ok(), words[3].parse().ok()),
        "setxattr" => xattr::set(path(1), words[2], words[3].as_bytes()),
        "rmxattr" => xattr::remove(path(1), words[2]),
        "utime" => utime(&path(1)),
        "mkfifo" => node(&path(1), FileType::Fifo, 0),
        "mknod" => node(&path(1), FileType::BlockDevice, makedev(8, 1)),
        "mknod-zero" => node(&path(1), FileType::CharacterDevice, 0),
        "tmpfile" => tmpfile(&path(1), &path(2)),
        "write-unlinked" => return write_unlinked(&path(1)),
        "read-before-write" => return read_before_write(&path(1)),
        "read" => return fs::read(at(path(1))).map(|bytes| bytes.escape_ascii().to_string()),
        "readlink" => return fs::read_link(path(1)).map(|to| to.display().to_string()),
        "list" => return list(&path(1)),
        "links" => return links(&path(1)),
        other => panic!("no call is named {other}"),
    };
    done.map(|()| String::new())
}

fn rename(from: &Path, to: &Path, flags: RenameFlags) -> io::Result<()> {
    Ok(renameat_with(CWD, from, CWD, to, flags)?)
}

fn moved(from: &Path, to: &Path) -> io::Result<String> {
    let mut mv = std::process::Command::new("mv");
    let output = mv.arg("-T").arg(from).arg(to).output()?;
    match output.status.success() {
        true => Ok(String::new()),
        false => Ok("refused".to_owned()),
    }
}

fn append(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::options().append(true).open(path)?;
    file.write_all(text.as_bytes())
}

/// Writes in the middle.
fn patch(path: &Path, text: &str) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    file.write_all_at(text.as_bytes(), 2)
}

fn truncate(path: &Path, size: &str) -> io::Result<()> {
    let size = size.parse().expect("a size");
    File::options().write(true).open(path)?.set_len(size)
}

fn punch(path: &Path) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(fallocate(&file, flags, 0, 4096)?)
}

fn chmod(path: &Path, mode: &str) -> io::Result<()> {
    let mode = u32::from_str_radix(mode, 8).expect("a mode");
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn utime(path: &Path) -> io::Result<()> {
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

fn node(path: &Path, kind: FileType, device: u64) -> io::Result<()> {
    Ok(mknodat(
        CWD,
        path,
        kind,
        Mode::from_raw_mode(0o640),
        device,
    )?)
}

/// A file without a name in a directory, which then gets one.
fn tmpfile(directory: &Path, name: &Path) -> io::Result<()> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat(CWD, directory, flags, Mode::from_raw_mode(0o640))?;
    let mut file = File::from(file);
    file.write_all(b"had no name")?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let path = CString::new(path).expect("no NUL");
    Ok(linkat(CWD, path, CWD, name, AtFlags::SYMLINK_FOLLOW)?)
}

/// What a file holds that is written to after its name is gone.
fn write_unlinked(path: &Path) -> io::Result<String> {
    let mut file = File::options().read(true).write(true).open(path)?;
    fs::remove_file(path)?;
    file.seek(SeekFrom::End(0))?;
    file.write_all(b" and more")?;
    file.seek(SeekFrom::Start(0))?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// What a descriptor reads that was opened before the file was written to by another.
fn read_before_write(path: &Path) -> io::Result<String> {
    let mut before = File::options().read(true).custom_flags(0).open(path)?;
    File::options()
        .append(true)
        .open(path)?
        .write_all(b" and more")?;
    let mut text = String::new();
    before.read_to_string(&mut text)?;
    Ok(text)
}

fn list(path: &Path) -> io::Result<String> {
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(path)? {
        names.push(entry?.file_name().as_bytes().escape_ascii().to_string());
    }
    names.sort();
    Ok(format!("[{}]", names.join(" ")))
}

fn links(path: &Path) -> io::Result<String> {
    use std::os::unix::fs::MetadataExt;
    Ok(fs::symlink_metadata(path)?.nlink().to_string())
}
