//! `EntryPath`: a name from an archive as clean relative bytes, or refused (rule N1).
//!
//! Every name that reaches a system call goes through this. Pure: it does no IO, and knows nothing of the
//! disk; `layer` resolves symbolic links.

mod trail;

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use crate::error::{Error, Result};

pub use crate::escape::{display, from_display};
pub(crate) use trail::Trail;

/// The longest component in Linux, in bytes (`NAME_MAX`).
pub(crate) const NAME_MAX: usize = 255;
/// The longest path of one system call, in bytes, without its NUL (`PATH_MAX` - 1).
pub(crate) const PATH_MAX: usize = 4095;

/// A path inside a layer: relative, without `.`, `..`, empty components or NUL; the root is empty.
///
/// Ordered by component, so that a directory comes right before everything below it.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct EntryPath(Box<[u8]>);

impl EntryPath {
    /// The layer's own directory.
    pub fn root() -> EntryPath {
        EntryPath::default()
    }

    /// Cleans a name as an archive spells it. Errors: `..`, NUL, a component over 255 bytes
    /// ([`Kind::Refused`](crate::Kind::Refused)), over 4095 bytes in all
    /// ([`Kind::Limit`](crate::Kind::Limit)).
    pub fn parse(raw: &[u8]) -> Result<EntryPath> {
        let refuse = |why: &str| Err(Error::refused(why).at_entry(display(raw)));
        let mut clean = Vec::with_capacity(raw.len());
        for component in raw.split(|&byte| byte == b'/') {
            match component {
                b"" | b"." => continue,
                b".." => return refuse("the name has a component `..`"),
                _ if component.contains(&0) => return refuse("the name has a NUL byte"),
                _ if component.len() > NAME_MAX && !is_whiteout_of_a_name(component) => {
                    return refuse("the name has a component of over 255 bytes");
                }
                _ => {}
            }
            if !clean.is_empty() {
                clean.push(b'/');
            }
            clean.extend_from_slice(component);
        }
        EntryPath(clean.into()).within_limit()
    }

    fn within_limit(self) -> Result<EntryPath> {
        EntryPath::check_length(self.0.len(), || self.clone())?;
        Ok(self)
    }

    /// Refuses a path that is too long for a system call.
    pub(crate) fn check_length(bytes: usize, path: impl FnOnce() -> EntryPath) -> Result<()> {
        if bytes <= PATH_MAX {
            return Ok(());
        }
        let start = display(&path().0[..60]).to_string();
        Err(Error::limit("the path is longer than 4095 bytes")
            .at_entry(start + "…")
            .hint("Linux supports no longer paths, so the layer cannot be unpacked"))
    }

    /// A path of clean components, whose length the caller has checked.
    pub(crate) fn from_components<'a>(components: impl Iterator<Item = &'a [u8]>) -> EntryPath {
        let mut path = Vec::new();
        for component in components {
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(component);
        }
        EntryPath(path.into())
    }

    /// This path without its last components; the root if it has no more than that.
    pub(crate) fn without_last(&self, components: usize) -> EntryPath {
        let mut end = self.0.len();
        for _ in 0..components {
            let slash = self.0[..end].iter().rposition(|&byte| byte == b'/');
            end = slash.unwrap_or(0);
        }
        EntryPath(self.0[..end].into())
    }

    /// This path with one more component, which must be clean itself.
    pub fn join(&self, name: &[u8]) -> Result<EntryPath> {
        debug_assert!(!name.is_empty() && !name.contains(&b'/') && name != b".." && name != b".");
        if self.is_root() {
            return Ok(EntryPath(name.into()));
        }
        EntryPath([&self.0, &b"/"[..], name].concat().into()).within_limit()
    }

    /// The bytes, without a leading slash; empty for the root.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the layer's own directory.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory and the last component; `None` for the root.
    pub fn split(&self) -> Option<(EntryPath, &[u8])> {
        if self.is_root() {
            return None;
        }
        Some(match self.0.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (EntryPath(self.0[..slash].into()), &self.0[slash + 1..]),
            None => (EntryPath::root(), &self.0),
        })
    }

    /// The last component; empty for the root.
    pub fn name(&self) -> &[u8] {
        let slash = self.0.iter().rposition(|&byte| byte == b'/');
        &self.0[slash.map_or(0, |slash| slash + 1)..]
    }

    /// The bytes of the directory that holds this path.
    pub fn parent_bytes(&self) -> &[u8] {
        let slash = self.0.iter().rposition(|&byte| byte == b'/');
        &self.0[..slash.unwrap_or(0)]
    }

    /// The directory that holds this path; `None` for the root.
    pub fn parent(&self) -> Option<EntryPath> {
        self.split().map(|(parent, _)| parent)
    }

    /// The components from the root down.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0
            .split(|&byte| byte == b'/')
            .filter(|component| !component.is_empty())
    }

    /// The directories above this path, the nearest first, the root last.
    pub fn ancestors(&self) -> impl Iterator<Item = EntryPath> {
        std::iter::successors(self.parent(), EntryPath::parent)
    }

    /// Whether this path is strictly below `directory`.
    pub fn is_below(&self, directory: &EntryPath) -> bool {
        match self.0.strip_prefix(directory.as_bytes()) {
            Some(rest) if directory.is_root() => !rest.is_empty(),
            Some(rest) => rest.first() == Some(&b'/'),
            None => false,
        }
    }

    /// For system calls, relative to the layer's directory: the root is `.`.
    pub fn as_os_str(&self) -> &OsStr {
        match self.is_root() {
            true => OsStr::new("."),
            false => OsStr::from_bytes(&self.0),
        }
    }
}

/// A 255-byte name has a 259-byte whiteout (rule W6), which is never written as such.
fn is_whiteout_of_a_name(component: &[u8]) -> bool {
    component.starts_with(b".wh.") && component.len() <= NAME_MAX + 4
}

impl Ord for EntryPath {
    fn cmp(&self, other: &EntryPath) -> Ordering {
        // Paths of one directory begin alike: that is passed over many bytes at a time.
        let (mut one, mut two) = (&self.0[..], &other.0[..]);
        while let (Some((head, rest)), Some((other_head, other_rest))) =
            (one.split_first_chunk::<32>(), two.split_first_chunk::<32>())
            && head == other_head
        {
            (one, two) = (rest, other_rest);
        }
        // A slash sorts before every byte that a name may hold.
        let key = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
        one.iter().map(key).cmp(two.iter().map(key))
    }
}

impl PartialOrd for EntryPath {
    fn partial_cmp(&self, other: &EntryPath) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_root() {
            true => f.write_str("."),
            false => display(&self.0).fmt(f),
        }
    }
}

impl fmt::Debug for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
