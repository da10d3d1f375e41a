//! The mount tables of all mount namespaces, and their lines. Called by [`super`], and by
//! [`crate::store::gc`], which looks for the layers of a store in them.
//!
//! Source: `proc_pid_mountinfo(5)`; the kernel's `fs/overlayfs/params.c` for what an overlay mount shows.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// The mounts that a thread sees.
#[derive(Debug)]
pub struct Table {
    /// The thread's directory in `/proc`.
    pub thread: PathBuf,
    text: Vec<u8>,
}

/// A line of a table. Its fields have `\040` for a space, and the like.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The device of the file system, `MAJOR:MINOR`.
    pub device: &'a [u8],
    /// What of the file system is mounted.
    pub root: &'a [u8],
    /// Where.
    pub target: &'a [u8],
    /// The options of the mount, not of the file system.
    pub attributes: &'a [u8],
    /// The type of the file system.
    pub file_system: &'a [u8],
    /// The options of the file system.
    pub options: &'a [u8],
}

impl Table {
    /// Whether it is that of this process.
    pub fn is_own(&self) -> bool {
        self.thread == Path::new(OWN)
    }

    /// That of this process.
    pub fn own() -> io::Result<Table> {
        read(PathBuf::from(OWN))
    }

    /// The device of the file system that an absolute path lies in, and its place there.
    pub fn locate(&self, path: &Path) -> Option<(&[u8], PathBuf)> {
        let target = |line: &Line<'_>| PathBuf::from(OsString::from_vec(unescaped(line.target)));
        // Of mounts that cover each other the last one counts.
        let around = self
            .lines()
            .filter(|line| path.starts_with(target(line)))
            .max_by_key(|line| line.target.len())?;
        let root = PathBuf::from(OsString::from_vec(unescaped(around.root)));
        let inner = path.strip_prefix(target(&around)).ok()?;
        Some((around.device, root.join(inner)))
    }

    /// Its lines.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.text
            .split(|byte| *byte == b'\n')
            .filter_map(Line::parse)
    }
}

impl Line<'_> {
    fn parse(line: &[u8]) -> Option<Line<'_>> {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let separator = fields.iter().position(|field| *field == b"-")?;
        Some(Line {
            device: fields.get(2)?,
            root: fields.get(3)?,
            target: fields.get(4)?,
            attributes: fields.get(5)?,
            file_system: fields.get(separator + 1)?,
            options: fields.get(separator + 3).copied().unwrap_or_default(),
        })
    }
}

const OWN: &str = "/proc/self";

/// The tables of all mount namespaces, each once, this process's first. A process in a chroot sees only
/// what is mounted below it: its table counts apart.
pub fn tables() -> io::Result<Vec<Table>> {
    let mut seen = HashSet::from([view(Path::new(OWN))?]);
    let mut tables = vec![Table::own()?];
    for process in std::fs::read_dir("/proc")? {
        let process = process?;
        if !process.file_name().as_encoded_bytes()[0].is_ascii_digit() {
            continue;
        }
        // A thread may be in a namespace of its own.
        let threads = there(std::fs::read_dir(process.path().join("task")))?;
        for thread in threads.into_iter().flatten() {
            let Some(thread) = there(thread)? else {
                continue;
            };
            let Some(view) = there(view(&thread.path()))? else {
                continue;
            };
            if !seen.contains(&view)
                && let Some(table) = there(read(thread.path()))?
            {
                seen.insert(view);
                tables.push(table);
            }
        }
    }
    Ok(tables)
}

/// `None` for a thread that is gone by now, and for one of another user, which only root may ask about.
/// Errors: any other, for which a mount could be overlooked.
fn there<T>(asked: io::Result<T>) -> io::Result<Option<T>> {
    match asked {
        Ok(told) => Ok(Some(told)),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::SRCH | Errno::ACCESS | Errno::PERM | Errno::INVAL) => {
                Ok(None)
            }
            _ => Err(error),
        },
    }
}

fn read(thread: PathBuf) -> io::Result<Table> {
    let text = std::fs::read(thread.join("mountinfo"))?;
    Ok(Table { thread, text })
}

/// What decides which mounts a thread sees: its mount namespace, and its root in that.
fn view(thread: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let namespace = std::fs::read_link(thread.join("ns/mnt"))?;
    Ok((namespace, std::fs::read_link(thread.join("root"))?))
}

/// A field as it is, without the table's escapes.
pub fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| byte == b'\\');
        let escaped = digits.and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        bytes.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() {
            &after[3..]
        } else {
            after
        };
    }
    bytes
}
