//! A path of an image with its inode, as a line of text or of JSON, for `ls` and `diff`.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::meta::{Device, Meta, Time, Xattr};
use crate::path::EntryPath;
use crate::view::{Body, ImageInode};

use super::json::Name;

/// The end of the year 9999, the last that RFC 3339 can express.
const LAST_SECOND: u64 = 253_402_300_799;

/// A path with its inode, as JSON. Members have the names that they have in the store's listings.
#[derive(Debug, Serialize)]
pub struct Row {
    #[serde(flatten)]
    pub path: Name,
    #[serde(rename = "type")]
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// Seconds since the epoch, a dot, nanoseconds counted forward.
    pub mtime: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    #[serde(flatten)]
    pub target: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The first path of the same inode, if this is not it.
    #[serde(flatten)]
    pub link: Option<Name>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub xattrs: Vec<XattrJson>,
    /// The layer that the entry comes from; `None` if no layer has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<u32>,
    /// Whether the directory hides its content in the layers below.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub opaque: bool,
}

/// An xattr as JSON. `from_entries` of jq turns a list of them into an object.
#[derive(Debug, Serialize)]
pub struct XattrJson {
    #[serde(flatten)]
    name: Name,
    #[serde(flatten)]
    value: Name,
}

impl From<&Xattr> for XattrJson {
    fn from(xattr: &Xattr) -> XattrJson {
        XattrJson {
            name: Name::new("name", &*xattr.name),
            value: Name::new("value", &*xattr.value),
        }
    }
}

impl Row {
    pub fn of(path: &EntryPath, inode: &ImageInode) -> Row {
        let Meta {
            mode,
            uid,
            gid,
            mtime,
            xattrs,
        } = &inode.meta;
        Row {
            path: Name::entry("path", path),
            kind: kind(&inode.body),
            mode: Some(format!("{mode:04o}")),
            uid: Some(*uid),
            gid: Some(*gid),
            mtime: seconds(*mtime),
            size: match &inode.body {
                Body::File(stored) => Some(stored.shape.size),
                _ => None,
            },
            target: match &inode.body {
                Body::Symlink(target) => Some(Name::new("target", &**target)),
                _ => None,
            },
            device: device(&inode.body).map(|device| format!("{}:{}", device.major, device.minor)),
            link: None,
            xattrs: xattrs.iter().map(XattrJson::from).collect(),
            layer: None,
            opaque: false,
        }
    }

    /// A name that a layer deletes.
    pub fn deleted(path: &EntryPath, layer: u32, time: Time) -> Row {
        Row {
            path: Name::entry("path", path),
            kind: "deleted",
            mode: None,
            uid: None,
            gid: None,
            mtime: seconds(time),
            size: None,
            target: None,
            device: None,
            link: None,
            xattrs: Vec::new(),
            layer: Some(layer),
            opaque: false,
        }
    }
}

/// The type, in one word.
pub fn kind(body: &Body) -> &'static str {
    match body {
        Body::Directory(_) => "directory",
        Body::File(_) => "file",
        Body::Symlink(_) => "symlink",
        Body::CharDevice(_) => "char",
        Body::BlockDevice(_) => "block",
        Body::Fifo => "fifo",
    }
}

/// The number of a device.
pub fn device(body: &Body) -> Option<Device> {
    match body {
        Body::CharDevice(device) | Body::BlockDevice(device) => Some(*device),
        _ => None,
    }
}

/// `drwxr-sr-x`, as `ls -l` prints it.
pub fn mode(inode: &ImageInode) -> String {
    let letter = match inode.body {
        Body::Directory(_) => 'd',
        Body::File(_) => '-',
        Body::Symlink(_) => 'l',
        Body::CharDevice(_) => 'c',
        Body::BlockDevice(_) => 'b',
        Body::Fifo => 'p',
    };
    let mode = inode.meta.mode;
    // The shift of each class, and the letters for setuid, setgid and sticky in place of `x`.
    let rights = [(6, 0o4000, "sS"), (3, 0o2000, "sS"), (0, 0o1000, "tT")];
    let of = |(shift, special, letters): (u32, u32, &str)| {
        let has = |bit: u32| mode >> shift & bit != 0;
        let (with_x, without) = letters.split_at(1);
        let x = match (mode & special != 0, has(1)) {
            (false, false) => "-",
            (false, true) => "x",
            (true, true) => with_x,
            (true, false) => without,
        };
        let (r, w) = (
            if has(4) { "r" } else { "-" },
            if has(2) { "w" } else { "-" },
        );
        [r, w, x].concat()
    };
    std::iter::once(letter.to_string())
        .chain(rights.map(of))
        .collect()
}

/// `2020-01-01 00:00:00`, perhaps with nanoseconds; seconds since the epoch if the date is out of range.
pub fn date(time: Time, nanoseconds: bool) -> String {
    let Some(seconds) = u64::try_from(time.seconds)
        .ok()
        .filter(|&seconds| seconds <= LAST_SECOND)
    else {
        return seconds(time);
    };
    let moment = SystemTime::UNIX_EPOCH + Duration::new(seconds, time.nanoseconds);
    let text = match nanoseconds {
        true => humantime::format_rfc3339_nanos(moment).to_string(),
        false => humantime::format_rfc3339_seconds(moment).to_string(),
    };
    text.trim_end_matches('Z').replace('T', " ")
}

fn seconds(time: Time) -> String {
    format!("{}.{:09}", time.seconds, time.nanoseconds)
}
