//! `MountOption` and `MountOptions`: the options of a mount (`mount -o`) that users may set. Pure.
//!
//! Options that tune the mount are passed on. Those that name its layers or directories are refused,
//! because the image and the store decide them.
//! Source: mount(8), "FILESYSTEM-INDEPENDENT MOUNT OPTIONS"; kernel `Documentation/filesystems/overlayfs.rst`.

use std::fmt;
use std::str::FromStr;

use nix::mount::MsFlags;
use rustix::mount::MountAttrFlags;

use crate::error::{Advice, Error, Result};
use crate::store::stack::Stack;

use super::Upper;

/// One mount option, as in mount(8): `nosuid`, `index=on`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountOption(Word);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    /// A generic option: its index in [`FLAGS`].
    Flag(usize),
    /// An option of overlayfs, with its value if it takes one.
    Overlay(&'static str, Option<&'static str>),
}

/// A generic mount flag.
struct Flag {
    name: &'static str,
    /// The property that it sets; the last flag for a property wins.
    decides: &'static str,
    attributes: MountAttrFlags,
    flags: MsFlags,
}

const fn flag(
    name: &'static str,
    decides: &'static str,
    attributes: MountAttrFlags,
    flags: MsFlags,
) -> Flag {
    Flag {
        name,
        decides,
        attributes,
        flags,
    }
}

const NO_ATTRIBUTES: MountAttrFlags = MountAttrFlags::empty();
const NO_FLAGS: MsFlags = MsFlags::empty();
/// `MS_NOSYMFOLLOW` of Linux 5.10, for which nix has no name.
const NO_SYMFOLLOW: MsFlags = MsFlags::from_bits_retain(256);

const FLAGS: [Flag; 16] = [
    flag(
        "ro",
        "ro",
        MountAttrFlags::MOUNT_ATTR_RDONLY,
        MsFlags::MS_RDONLY,
    ),
    flag("rw", "ro", NO_ATTRIBUTES, NO_FLAGS),
    flag(
        "nosuid",
        "suid",
        MountAttrFlags::MOUNT_ATTR_NOSUID,
        MsFlags::MS_NOSUID,
    ),
    flag("suid", "suid", NO_ATTRIBUTES, NO_FLAGS),
    flag(
        "nodev",
        "dev",
        MountAttrFlags::MOUNT_ATTR_NODEV,
        MsFlags::MS_NODEV,
    ),
    flag("dev", "dev", NO_ATTRIBUTES, NO_FLAGS),
    flag(
        "noexec",
        "exec",
        MountAttrFlags::MOUNT_ATTR_NOEXEC,
        MsFlags::MS_NOEXEC,
    ),
    flag("exec", "exec", NO_ATTRIBUTES, NO_FLAGS),
    flag(
        "noatime",
        "atime",
        MountAttrFlags::MOUNT_ATTR_NOATIME,
        MsFlags::MS_NOATIME,
    ),
    flag("relatime", "atime", NO_ATTRIBUTES, MsFlags::MS_RELATIME),
    flag(
        "strictatime",
        "atime",
        MountAttrFlags::MOUNT_ATTR_STRICTATIME,
        MsFlags::MS_STRICTATIME,
    ),
    flag("atime", "atime", NO_ATTRIBUTES, NO_FLAGS),
    flag(
        "nodiratime",
        "diratime",
        MountAttrFlags::MOUNT_ATTR_NODIRATIME,
        MsFlags::MS_NODIRATIME,
    ),
    flag("diratime", "diratime", NO_ATTRIBUTES, NO_FLAGS),
    flag(
        "nosymfollow",
        "symfollow",
        MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW,
        NO_SYMFOLLOW,
    ),
    flag("symfollow", "symfollow", NO_ATTRIBUTES, NO_FLAGS),
];

/// Options of overlayfs, and their values.
const OVERLAY: [(&str, &[&str]); 8] = [
    ("volatile", &[]),
    ("index", &["on", "off"]),
    ("metacopy", &["on", "off"]),
    ("redirect_dir", &["on", "follow", "nofollow", "off"]),
    ("nfs_export", &["on", "off"]),
    ("uuid", &["auto", "on", "null", "off"]),
    ("xino", &["on", "auto", "off"]),
    ("verity", &["off", "on", "require"]),
];

/// Options of overlayfs that only apply to a mount with an upperdir.
const FOR_CHANGES: [&str; 2] = ["volatile", "index"];

/// Options that the image, the store or another command line option decides.
const DECIDED: [(&str, &str); 7] = [
    ("lowerdir", "the layers are those of the image"),
    ("lowerdir+", "the layers are those of the image"),
    ("datadir", "the layers are those of the image"),
    ("datadir+", "the layers are those of the image"),
    ("upperdir", "--upper names it"),
    ("workdir", "--work names it"),
    (
        "userxattr",
        "it is set as the layers in the store need it: see `unpack --userxattr`",
    ),
];

/// Pairs that the kernel refuses.
const CONFLICTS: [(&str, &str); 7] = [
    ("metacopy=on", "redirect_dir=off"),
    ("metacopy=on", "redirect_dir=follow"),
    ("metacopy=on", "redirect_dir=nofollow"),
    ("metacopy=on", "nfs_export=on"),
    ("index=off", "nfs_export=on"),
    ("metacopy=off", "verity=on"),
    ("metacopy=off", "verity=require"),
];

impl FromStr for MountOption {
    type Err = Error;

    /// Errors ([`Kind::Usage`](crate::Kind::Usage)): the option or value does not exist, or cannot
    /// be set by the user.
    fn from_str(text: &str) -> Result<MountOption> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        if let Some((_, why)) = DECIDED.iter().find(|(decided, _)| *decided == name) {
            return Err(Error::usage(format!("{name} cannot be set: {why}")));
        }
        if let Some(index) = FLAGS.iter().position(|flag| flag.name == text) {
            return Ok(MountOption(Word::Flag(index)));
        }
        let Some((name, values)) = OVERLAY.iter().find(|(known, _)| *known == name) else {
            return Err(unknown(name));
        };
        match value {
            None if values.is_empty() => Ok(MountOption(Word::Overlay(name, None))),
            None => Err(Error::usage(format!(
                "{name} takes a value: {}",
                values.join(", ")
            ))),
            Some(_) if values.is_empty() => Err(Error::usage(format!("{name} takes no value"))),
            Some(value) => match values.iter().find(|known| **known == value) {
                Some(value) => Ok(MountOption(Word::Overlay(name, Some(value)))),
                None => {
                    let text = format!("{name} takes {}, not {value:?}", values.join(", "));
                    Err(Error::usage(text))
                }
            },
        }
    }
}

fn unknown(name: &str) -> Error {
    let flags = FLAGS.iter().map(|flag| flag.name);
    let known = flags.chain(OVERLAY.iter().map(|(name, _)| *name));
    let nearest = known
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .filter(|(likeness, _)| *likeness > 0.8);
    let text = format!("there is no option {name:?} for these mounts");
    Error::usage(match nearest {
        Some((_, nearest)) => format!("{text}: did you mean {nearest}?"),
        None => format!("{text}: see the overlayfs options in `lowerdir help mount`"),
    })
}

impl fmt::Display for MountOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Word::Flag(index) => f.write_str(FLAGS[index].name),
            Word::Overlay(name, None) => f.write_str(name),
            Word::Overlay(name, Some(value)) => write!(f, "{name}={value}"),
        }
    }
}

impl MountOption {
    /// The property that it sets; the last option for a property wins.
    fn decides(&self) -> &'static str {
        match self.0 {
            Word::Flag(index) => FLAGS[index].decides,
            Word::Overlay(name, _) => name,
        }
    }
}

/// The options of one mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountOptions(Vec<MountOption>);

impl MountOptions {
    /// None at all.
    pub const NONE: &MountOptions = &MountOptions(Vec::new());

    /// From options in the order given: if two contradict each other, the later one wins. Errors
    /// ([`Kind::Usage`](crate::Kind::Usage)): the kernel does not allow two of them together.
    pub fn new(given: impl IntoIterator<Item = MountOption>) -> Result<MountOptions> {
        let mut options: Vec<MountOption> = Vec::new();
        for option in given {
            options.retain(|earlier| earlier.decides() != option.decides());
            options.push(option);
        }
        let options = MountOptions(options);
        for (one, other) in CONFLICTS {
            if options.has(one) && options.has(other) {
                let text = format!("overlayfs does not allow {one} together with {other}");
                return Err(Error::usage(text));
            }
        }
        Ok(options)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether nothing can be changed through a mount with these options.
    pub fn is_read_only(&self, upper: &Upper) -> bool {
        *upper == Upper::None || self.has("ro")
    }

    fn has(&self, text: &str) -> bool {
        self.0.iter().any(|option| option.to_string() == text)
    }

    /// Errors ([`Kind::Usage`](crate::Kind::Usage)): one of them does not apply to such a mount.
    pub fn check(&self, stack: &Stack, upper: &Upper) -> Result<()> {
        let refuse = |text: String, hint: Advice| Err(Error::usage(text).hint(hint));
        for option in &self.0 {
            let is_for_changes = FOR_CHANGES.contains(&option.decides()) || self.is_rw(option);
            if is_for_changes && *upper == Upper::None {
                let text = format!("the option {option} needs a mount that can be changed");
                return refuse(text, Advice::UpperForOption);
            }
            let text = option.to_string();
            let is_refused = text == "metacopy=on"
                || (option.decides() == "redirect_dir" && text != "redirect_dir=nofollow");
            if is_refused && stack.needs_userxattr() {
                let text = format!(
                    "overlayfs does not allow {option} with userxattr, which the layers need"
                );
                return refuse(text, Advice::TrustedStore);
            }
        }
        Ok(())
    }

    fn is_rw(&self, option: &MountOption) -> bool {
        option.to_string() == "rw"
    }

    fn flags(&self) -> impl Iterator<Item = &'static Flag> {
        self.0.iter().filter_map(|option| match option.0 {
            Word::Flag(index) => Some(&FLAGS[index]),
            Word::Overlay(..) => None,
        })
    }

    /// For `fsmount(2)`.
    pub(super) fn attributes(&self) -> MountAttrFlags {
        self.flags()
            .fold(NO_ATTRIBUTES, |all, flag| all | flag.attributes)
    }

    /// For `mount(2)`.
    pub(super) fn mount_flags(&self) -> MsFlags {
        self.flags().fold(NO_FLAGS, |all, flag| all | flag.flags)
    }

    /// For `mount(2)`, after other options.
    pub(super) fn after_comma(&self) -> String {
        let words = self.of_overlay().map(|(name, value)| match value {
            Some(value) => format!(",{name}={value}"),
            None => format!(",{name}"),
        });
        words.collect()
    }

    /// For `fsconfig(2)`.
    pub(super) fn of_overlay(&self) -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
        self.0.iter().filter_map(|option| match option.0 {
            Word::Overlay(name, value) => Some((name, value)),
            Word::Flag(_) => None,
        })
    }

    /// The generic flags in the words of mount(8), except `ro` and `rw`.
    pub(super) fn flag_words(&self) -> impl Iterator<Item = &'static str> {
        let flags = self.flags().filter(|flag| flag.decides != "ro");
        flags.map(|flag| flag.name)
    }
}
