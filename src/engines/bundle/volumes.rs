//! `Config.Volumes`: an empty tmpfs for each, with the owner and mode that the directory has in the image.
//!
//! The image decides where they are, so some are refused, even through a symbolic link: a volume on `/`
//! would hide the image, and one in `/proc`, `/sys` or `/dev` would hide what protects the host. A working
//! directory there is refused too, because it could be a descriptor of the runtime.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::path::{EntryPath, display};

use super::execution::Execution;
use super::inside::{Inside, Lookup};
use super::mount_of;
use super::namespace::ContainerNamespace;

/// Directories that the runtime mounts; an image may use nothing in them.
const KEPT: [&[u8]; 3] = [b"proc", b"sys", b"dev"];
const OPTIONS: [&str; 5] = ["rw", "nosuid", "nodev", "noexec", "relatime"];

/// The mounts, parents before children.
pub fn of(
    execution: &Execution,
    inside: &Inside,
    namespace: Option<&ContainerNamespace>,
) -> Result<Vec<Value>> {
    let mut paths = Vec::new();
    for volume in execution.config.volumes.keys() {
        let path = EntryPath::parse(volume.as_bytes()).map_err(|error| {
            let volume = display(volume.as_bytes());
            Error::refused(format!("a volume: {}", error.reason())).at_entry(volume)
        })?;
        paths.push(path);
    }
    paths.sort();
    paths.dedup();
    let volumes = paths.iter();
    volumes
        .map(|path| volume(path, inside, namespace))
        .collect()
}

/// Whether a path in the image is covered by the mounts of every container.
pub fn is_the_runtimes(place: &EntryPath) -> bool {
    let first = place.components().next();
    first.is_some_and(|first| KEPT.contains(&first))
}

fn volume(
    path: &EntryPath,
    inside: &Inside,
    namespace: Option<&ContainerNamespace>,
) -> Result<Value> {
    let refuse = |why: &str| Err(Error::refused(why).at_entry(path));
    let place = match inside.find(path)? {
        Lookup::Directory(place) | Lookup::Absent(place) => place,
        Lookup::Leaf(..) => return refuse("a volume in the place of a file"),
    };
    if place == EntryPath::root() {
        return refuse("a volume in the place of the root");
    }
    if is_the_runtimes(&place) {
        return refuse("a volume in a directory that is the runtime's");
    }
    let mut options: Vec<String> = OPTIONS.map(String::from).into();
    if let Some(meta) = inside.attributes(&place)? {
        options.push(format!("mode={:04o}", meta.mode));
        let ids = match namespace {
            Some(namespace) => namespace.inside(meta.uid, meta.gid),
            None => Some((meta.uid, meta.gid)),
        };
        if let Some((uid, gid)) = ids {
            options.push(format!("uid={uid}"));
            options.push(format!("gid={gid}"));
        }
    } else {
        options.push("mode=0755".into());
    }
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let destination = std::str::from_utf8(path.as_bytes()).expect("it was JSON");
    Ok(mount_of(
        &format!("/{destination}"),
        "tmpfs",
        "tmpfs",
        &options,
    ))
}
