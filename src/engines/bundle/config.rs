//! `config.json` apart from the process: what every container has, whatever the image.
//!
//! Source: runtime-spec `config.md` and `config-linux.md`. The file systems, masked paths and
//! namespaces are those that `runc spec` proposes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{ROOTFS, mount_of};

const MASKED: [&str; 10] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// The file systems that a Linux process expects: runtime-spec `config-linux.md`, "Default
/// Filesystems".
pub fn mounts() -> Vec<Value> {
    let safe = ["nosuid", "noexec", "nodev"];
    let with = |more: &[&'static str]| [&safe[..], more].concat();
    vec![
        mount_of("/proc", "proc", "proc", &safe),
        mount_of(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount_of(
            "/dev/pts",
            "devpts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        mount_of(
            "/dev/shm",
            "tmpfs",
            "shm",
            &with(&["mode=1777", "size=65536k"]),
        ),
        mount_of("/dev/mqueue", "mqueue", "mqueue", &safe),
        mount_of("/sys", "sysfs", "sysfs", &with(&["ro"])),
        mount_of(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &with(&["relatime", "ro"]),
        ),
    ]
}

/// The tmpfs for changes, with the directories for them copied from the bundle. `tmpcopyup` is an option
/// of runc and crun.
pub fn tmpfs(size: Option<&str>) -> Value {
    let size = size.map(|size| format!("size={size}"));
    let options = ["mode=0755"]
        .into_iter()
        .chain(size.as_deref())
        .chain(["tmpcopyup"]);
    mount_of("/", "tmpfs", "lowerdir-tmpfs", &options.collect::<Vec<_>>())
}

pub fn of(
    process: Value,
    mounts: Vec<Value>,
    annotations: BTreeMap<String, String>,
    read_only: bool,
) -> Value {
    let namespaces = ["pid", "network", "ipc", "uts", "mount"];
    json!({
        // Nothing here needs a newer version, and systemd-nspawn accepts no other.
        "ociVersion": "1.0.0",
        "process": process,
        "root": { "path": ROOTFS, "readonly": read_only },
        "mounts": mounts,
        "annotations": annotations,
        "linux": {
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": namespaces.map(|kind| json!({ "type": kind })),
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        },
    })
}
