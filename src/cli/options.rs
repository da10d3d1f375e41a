//! Options that several verbs share: how layers are translated, and when a result counts as done.

use clap::{Args, ValueEnum};

use crate::dialect::{Dialect, Namespace, Whiteout};
use crate::ids::{IdMap, IdMaps, Range};
use crate::layer::options::{DeviceZero, ForeignXattrs, Options, OverlayXattrs, Owners};
use crate::store::{Staging, Sync};
use crate::{Error, Result};

#[derive(Debug, Args)]
pub struct TranslationArgs {
    /// Choose what works without root or in a user namespace: --userxattr, whiteouts as devices if the
    /// kernel allows them here, otherwise as xattrs, and the image's owners if the namespace maps them
    #[arg(long, help_heading = "Translation", conflicts_with_all = ["userxattr", "whiteout"])]
    rootless: bool,
    /// Write user.overlay.* xattrs, for mounts with `userxattr`; needs no privilege
    #[arg(long, help_heading = "Translation")]
    userxattr: bool,
    /// How to write deletions; `xattr` needs no device nodes, but Linux 6.7 to mount
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        default_value = "device",
        help_heading = "Translation"
    )]
    whiteout: WhiteoutArg,
    /// What becomes of overlayfs's own xattrs in a layer
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        default_value = "escape",
        help_heading = "Translation"
    )]
    overlay_xattrs: OverlayXattrsArg,
    /// What becomes of 0:0 character devices in a layer, which overlayfs reads as deletions
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        default_value = "refuse",
        help_heading = "Translation"
    )]
    device_zero: DeviceZeroArg,
    /// Whether a parent directory that is a symbolic link in a lower layer is followed, or masked
    /// by a directory
    #[arg(
        long,
        value_enum,
        value_name = "YES|NO",
        default_value = "yes",
        help_heading = "Translation"
    )]
    keep_dirlinks: YesNo,
    /// Leave out the bookkeeping files of eStargz
    #[arg(long, help_heading = "Translation")]
    drop_estargz: bool,
    /// Keep SELinux labels (security.selinux xattrs)
    #[arg(long, help_heading = "Translation")]
    selinux: bool,
    /// What becomes of xattrs that belong to another system or file system
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        default_value = "lenient",
        help_heading = "Translation"
    )]
    xattrs: ForeignXattrsArg,
    /// Owner of the unpacked files: the image's, or the caller [default: image for root]
    #[arg(long, value_enum, value_name = "OWNER", help_heading = "Translation")]
    owners: Option<OwnersArg>,
    #[command(flatten)]
    ids: IdArgs,
}

/// Id maps: the host's ids for those of the image.
#[derive(Debug, Args)]
pub struct IdArgs {
    /// SIZE users, from CONTAINER on in the image, become those from HOST on; others are refused. May
    /// be given many times [default: no change]
    #[arg(long, value_name = "CONTAINER:HOST:SIZE", help_heading = "Translation")]
    uid_map: Vec<Range>,
    /// The same for groups
    #[arg(long, value_name = "CONTAINER:HOST:SIZE", help_heading = "Translation")]
    gid_map: Vec<Range>,
}

impl IdArgs {
    /// The maps. Errors: they overlap.
    pub fn maps(&self) -> Result<IdMaps> {
        id_maps(&self.uid_map, &self.gid_map)
    }
}

/// The maps that a command line names. Errors: they overlap.
pub fn id_maps(uids: &[Range], gids: &[Range]) -> Result<IdMaps> {
    Ok(IdMaps {
        uids: IdMap::new(uids.to_vec())?,
        gids: IdMap::new(gids.to_vec())?,
    })
}

/// How to read layers, for verbs that do not unpack them.
#[derive(Debug, Args)]
pub struct ViewArgs {
    /// What becomes of overlayfs's own xattrs in a layer
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        default_value = "escape",
        help_heading = "Reading"
    )]
    overlay_xattrs: OverlayXattrsArg,
    /// What becomes of 0:0 character devices in a layer, which overlayfs reads as deletions
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        default_value = "refuse",
        help_heading = "Reading"
    )]
    device_zero: DeviceZeroArg,
    /// Whether a parent directory that is a symbolic link in a lower layer is followed, or masked
    /// by a directory
    #[arg(
        long,
        value_enum,
        value_name = "YES|NO",
        default_value = "yes",
        help_heading = "Reading"
    )]
    keep_dirlinks: YesNo,
    /// Leave out the bookkeeping files of eStargz
    #[arg(long, help_heading = "Reading")]
    drop_estargz: bool,
    /// Keep SELinux labels (security.selinux xattrs)
    #[arg(long, help_heading = "Reading")]
    selinux: bool,
    /// What becomes of xattrs that belong to another system or file system
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        default_value = "lenient",
        help_heading = "Reading"
    )]
    xattrs: ForeignXattrsArg,
}

#[derive(Debug, Args)]
pub struct SyncArgs {
    /// Whether to wait until the result is on disk
    #[arg(long, value_enum, value_name = "WHEN", default_value = "fs")]
    sync: SyncArg,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum WhiteoutArg {
    Device,
    Xattr,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OverlayXattrsArg {
    /// Keep them as data; Linux 6.7 shows them under their own names
    Escape,
    /// Leave them out
    Drop,
    /// Refuse the layer
    Refuse,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ForeignXattrsArg {
    /// Leave them out, with a warning
    Lenient,
    /// Refuse the layer
    Strict,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DeviceZeroArg {
    Refuse,
    Skip,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum YesNo {
    Yes,
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OwnersArg {
    Image,
    Caller,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SyncArg {
    /// Wait for the file system: what is done survives a power cut
    Fs,
    /// Do not wait
    None,
}

impl TranslationArgs {
    fn dialect(&self) -> Dialect {
        Dialect {
            whiteout: match self.whiteout {
                WhiteoutArg::Device => Whiteout::Device,
                WhiteoutArg::Xattr => Whiteout::Xattr,
            },
            namespace: match self.userxattr {
                true => Namespace::User,
                false => Namespace::Trusted,
            },
        }
    }

    /// With --rootless, probes in a staging directory what the kernel allows.
    pub fn options(&self, staging: impl FnOnce() -> Result<Staging>) -> Result<Options> {
        let (dialect, usual) = match self.rootless {
            true => {
                let found = Options::rootless_in(staging()?.directory())?;
                (found.dialect, found.owners)
            }
            false => (self.dialect(), owners(None)),
        };
        let ids = self.ids.maps()?;
        let owners = owners_with(self.owners, &ids, usual)?;
        Ok(Options {
            dialect,
            overlay_xattrs: self.overlay_xattrs.into(),
            device_zero: self.device_zero.into(),
            keep_dirlinks: self.keep_dirlinks == YesNo::Yes,
            drop_estargz: self.drop_estargz,
            selinux: self.selinux,
            foreign_xattrs: self.xattrs.into(),
            owners,
            ids,
        })
    }
}

impl ViewArgs {
    pub fn options(&self) -> Options {
        Options {
            overlay_xattrs: self.overlay_xattrs.into(),
            device_zero: self.device_zero.into(),
            keep_dirlinks: self.keep_dirlinks == YesNo::Yes,
            drop_estargz: self.drop_estargz,
            selinux: self.selinux,
            foreign_xattrs: self.xattrs.into(),
            ..Options::default()
        }
    }
}

impl From<OverlayXattrsArg> for OverlayXattrs {
    fn from(argument: OverlayXattrsArg) -> OverlayXattrs {
        match argument {
            OverlayXattrsArg::Escape => OverlayXattrs::Escape,
            OverlayXattrsArg::Drop => OverlayXattrs::Drop,
            OverlayXattrsArg::Refuse => OverlayXattrs::Refuse,
        }
    }
}

impl From<ForeignXattrsArg> for ForeignXattrs {
    fn from(argument: ForeignXattrsArg) -> ForeignXattrs {
        match argument {
            ForeignXattrsArg::Lenient => ForeignXattrs::Lenient,
            ForeignXattrsArg::Strict => ForeignXattrs::Strict,
        }
    }
}

impl From<DeviceZeroArg> for DeviceZero {
    fn from(argument: DeviceZeroArg) -> DeviceZero {
        match argument {
            DeviceZeroArg::Refuse => DeviceZero::Refuse,
            DeviceZeroArg::Skip => DeviceZero::Skip,
        }
    }
}

/// Owner of the files in a tree on disk.
#[derive(Debug, Args)]
pub struct OwnersArgs {
    /// Owner of the files: the image's, or the caller [default: image for root]
    #[arg(long, value_enum, value_name = "OWNER")]
    owners: Option<OwnersArg>,
}

impl OwnersArgs {
    /// Errors: with id maps, the files cannot be the caller's.
    pub fn owners(&self, ids: &IdMaps) -> Result<Owners> {
        owners_with(self.owners, ids, owners(None))
    }
}

fn owners_with(argument: Option<OwnersArg>, ids: &IdMaps, usual: Owners) -> Result<Owners> {
    match argument {
        Some(OwnersArg::Caller) if !ids.is_empty() => {
            let text = "--owners=caller takes no id maps: the caller owns every file";
            Err(Error::usage(text))
        }
        None if !ids.is_empty() => Ok(Owners::Image),
        None => Ok(usual),
        chosen => Ok(owners(chosen)),
    }
}

fn owners(argument: Option<OwnersArg>) -> Owners {
    match argument {
        Some(OwnersArg::Image) => Owners::Image,
        Some(OwnersArg::Caller) => Owners::Caller,
        None if rustix::process::geteuid().is_root() => Owners::Image,
        None => Owners::Caller,
    }
}

impl SyncArgs {
    pub fn sync(&self) -> Sync {
        match self.sync {
            SyncArg::Fs => Sync::Fs,
            SyncArg::None => Sync::None,
        }
    }
}
