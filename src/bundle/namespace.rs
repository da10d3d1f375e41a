//! The user namespace of a container, if it has one: for who is not root, with the caller's id alone;
//! for layers that were unpacked with id maps, with these.
//!
//! Source: runtime-spec `config-linux.md`, "User namespace mappings". What a namespace of one id lacks
//! is what `runc spec --rootless` leaves out.

use rustix::process::{getegid, geteuid};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::ids::{IdMap, IdMaps, Range};

use super::mount_of;
use super::user::User;

pub struct UserNamespace {
    ids: IdMaps,
    /// Whether there is only the caller in it.
    is_rootless: bool,
}

impl UserNamespace {
    /// `None`: the container's users are the host's.
    pub fn of(ids: &IdMaps, rootless: bool) -> Result<Option<UserNamespace>> {
        let caller = |host| {
            let (container, size) = (0, 1);
            IdMap::new(vec![Range {
                container,
                host,
                size,
            }])
        };
        let ids = match (ids.is_empty(), rootless) {
            (true, false) => return Ok(None),
            (false, false) => ids.clone(),
            (true, true) => IdMaps {
                uids: caller(geteuid().as_raw())?,
                gids: caller(getegid().as_raw())?,
            },
            (false, true) => {
                let text =
                    "the layers were unpacked with id maps, which --rootless has no right to use";
                return Err(Error::in_the_way(text).hint("unpack them into another --store"));
            }
        };
        let is_rootless = rootless;
        Ok(Some(UserNamespace { ids, is_rootless }))
    }

    /// Takes away from a user what the namespace does not have. Errors: the user itself.
    pub fn admit(&self, user: &mut User) -> Result<()> {
        let is_there =
            self.ids.uids.host(user.uid).is_some() && self.ids.gids.host(user.gid).is_some();
        if !is_there {
            let (uid, gid) = (user.uid, user.gid);
            let text =
                format!("the image runs as {uid}:{gid}, which the user namespace does not have");
            return Err(Error::in_the_way(text).hint(match self.is_rootless {
                true => "with --rootless, there is root alone",
                false => "unpack it with larger id maps",
            }));
        }
        if self.is_rootless {
            user.groups.clear();
        }
        user.groups.retain(|&gid| self.ids.gids.host(gid).is_some());
        Ok(())
    }

    /// Changes mounts that it may not make.
    pub fn adapt(&self, mounts: &mut Vec<Value>) {
        if !self.is_rootless {
            return;
        }
        // Neither cgroups nor a sysfs of a network of its own.
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

    /// The ids that the container has for those on disk.
    pub fn inside(&self, uid: u32, gid: u32) -> Option<(u32, u32)> {
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
