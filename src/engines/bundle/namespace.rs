//! The user namespace of a container, if it has one. For a runtime without root it has the caller's id
//! alone; for layers that were unpacked or are mounted with id maps, it has these maps.
//!
//! Source: runtime-spec `config-linux.md`, "User namespace mappings". A namespace with one id leaves out
//! what `runc spec --rootless` leaves out.

use rustix::process::{getegid, geteuid};
use serde_json::{Value, json};

use crate::error::{Advice, Error, Hint, Result};
use crate::ids::{IdMap, IdMaps, Range};

use super::mount_of;
use super::user::User;
use super::{BundleOptions, Overlay};

pub struct ContainerNamespace {
    ids: IdMaps,
    /// Whether the user who starts the runtime is the only one in it.
    is_rootless: bool,
    /// Whether the layers on disk have the host's ids.
    is_mapped: bool,
}

/// Maps root to the user who starts the runtime: the caller, or root of the user namespace that the script
/// creates for the mount.
fn alone(overlay: Overlay) -> Result<IdMaps> {
    let (uid, gid) = match overlay {
        Overlay::Script => (0, 0),
        _ => (geteuid().as_raw(), getegid().as_raw()),
    };
    let only = |host| {
        let (container, size) = (0, 1);
        IdMap::new(vec![Range {
            container,
            host,
            size,
        }])
    };
    Ok(IdMaps {
        uids: only(uid)?,
        gids: only(gid)?,
    })
}

impl ContainerNamespace {
    /// For layers that were unpacked with these maps; `None` if the container's users are the host's.
    /// Errors: the options contradict each other, or root of the namespace could not mount the layers.
    pub fn of(ids: &IdMaps, wanted: &BundleOptions<'_>) -> Result<Option<ContainerNamespace>> {
        let refuse = |text: &str, hint: Advice| Err(Error::conflict(text).hint(hint));
        let is_mapped = !ids.is_empty();
        let ids = match (is_mapped, wanted.idmap) {
            (false, None) if wanted.rootless => alone(wanted.overlay)?,
            (false, None) => return Ok(None),
            (true, _) if wanted.rootless => {
                let text = "the layers were unpacked with id maps, which --rootless cannot use";
                return refuse(text, Advice::UnmappedStoreForRootless);
            }
            (true, None) => ids.clone(),
            (true, Some(_)) => {
                let text = "the layers were unpacked with id maps: --idmap would map them twice";
                return refuse(text, Advice::UnmappedStore);
            }
            (false, Some(_)) if wanted.overlay != Overlay::Mounted => {
                let text = "--idmap works only with --overlay=mounted";
                return refuse(text, Advice::NoOverlay);
            }
            (false, Some(namespace)) => namespace.ids().clone(),
        };
        if is_mapped && wanted.overlay == Overlay::InConfig {
            let text = "root of the container's user namespace may not enter the store to mount it";
            return refuse(text, Advice::MountedOverlay);
        }
        Ok(Some(ContainerNamespace {
            ids,
            is_rootless: wanted.rootless,
            is_mapped,
        }))
    }

    /// Drops groups that the namespace does not have. Errors: it does not have the user or the main group.
    pub fn admit(&self, user: &mut User) -> Result<()> {
        let is_there =
            self.ids.uids.host(user.uid).is_some() && self.ids.gids.host(user.gid).is_some();
        if !is_there {
            let (uid, gid) = (user.uid, user.gid);
            let text =
                format!("the image runs as {uid}:{gid}, which the user namespace does not have");
            return Err(Error::conflict(text).hint(match self.is_rootless {
                true => Advice::RootlessIsRoot.into(),
                false => Hint::from("unpack it with larger id maps"),
            }));
        }
        if self.is_rootless {
            user.groups.clear();
        }
        user.groups.retain(|&gid| self.ids.gids.host(gid).is_some());
        Ok(())
    }

    /// Adapts mounts that the namespace may not make.
    pub fn adapt(&self, mounts: &mut Vec<Value>) {
        if !self.is_rootless {
            return;
        }
        // It may mount neither cgroups nor, without a network namespace, sysfs.
        mounts.retain(|mount| {
            !mount["destination"]
                .as_str()
                .is_some_and(|on| on.starts_with("/sys/"))
        });
        for mount in mounts {
            if mount["destination"] == "/sys" {
                let options = ["rbind", "nosuid", "noexec", "nodev", "ro"];
                *mount = mount_of("/sys", "none", "/sys", &options);
            }
            if let Some(options) = mount["options"].as_array_mut() {
                let names_an_id =
                    |option: &str| option.starts_with("gid=") || option.starts_with("uid=");
                options.retain(|option| !option.as_str().is_some_and(names_an_id));
            }
        }
    }

    /// The ids in the container for those on disk.
    pub fn inside(&self, uid: u32, gid: u32) -> Option<(u32, u32)> {
        if !self.is_mapped {
            return Some((uid, gid));
        }
        self.ids
            .uids
            .container(uid)
            .zip(self.ids.gids.container(gid))
    }

    /// Adds it to the member `linux` of `config.json`.
    pub fn add_to(&self, linux: &mut Value) {
        let mappings = |map: &IdMap| -> Value {
            let ranges = map.ranges().iter();
            let all = Range {
                container: 0,
                host: 0,
                size: u32::MAX,
            };
            let ranges: Vec<&Range> = match map.is_empty() {
                true => vec![&all],
                false => ranges.collect(),
            };
            let ranges = ranges.into_iter().map(|range| {
                json!({ "containerID": range.container, "hostID": range.host, "size": range.size })
            });
            ranges.collect()
        };
        linux["uidMappings"] = mappings(&self.ids.uids);
        linux["gidMappings"] = mappings(&self.ids.gids);
        let namespaces = linux["namespaces"].as_array_mut().expect("there are some");
        if self.is_rootless {
            namespaces.retain(|namespace| namespace["type"] != "network");
        }
        namespaces.push(json!({ "type": "user" }));
        if self.is_rootless {
            linux
                .as_object_mut()
                .expect("it is one")
                .remove("resources");
        }
    }
}
