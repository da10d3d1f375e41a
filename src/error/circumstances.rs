//! What is known of a call that failed: what was being done, by whom, and where. Whoever makes an
//! error says it; the table of [`super::hint`] reads it.

/// What was being done, as far as that decides what helps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Operation {
    /// Anything else.
    #[default]
    Other,
    /// Making, writing or describing what an image holds.
    Create,
    /// Making a deletion as overlayfs has it.
    Whiteout,
    /// Setting an owner.
    SetOwner,
    /// Setting an xattr.
    SetXattr,
    /// Setting an xattr that is too large for the file system, on which there is room left.
    SetLargeXattr,
    /// Giving a finished directory its name.
    Publish,
    /// Opening or making a store.
    OpenStore,
    /// Writing a temporary file.
    Spool,
    /// Opening or writing an output.
    WriteOutput,
    /// Opening an image.
    OpenImage,
    /// Reading a directory of the user's.
    ReadTree,
    /// Converting a directory of the user's.
    Convert,
    /// Opening the directory to mount on.
    OpenTarget,
    /// Mounting.
    Mount,
    /// Unmounting.
    Unmount,
    /// Making a hard link to a layer's file.
    HardLink,
    /// Sharing a layer's blocks.
    Reflink,
    /// Mapping ids of a user namespace.
    MapIds,
    /// Mounting with other ids.
    IdmapMount,
    /// Starting a thread.
    StartThread,
}

/// What the caller may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Privilege {
    /// Nobody has looked.
    #[default]
    Unknown,
    /// Root of the whole system; in a container, some rights of root may be gone.
    Root,
    /// Root of a user namespace.
    RootOfNamespace,
    /// Somebody else.
    User,
}

/// The file system that was written to, as far as that decides what helps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileSystem {
    /// Nobody has looked, or it is one of which nothing is known here.
    #[default]
    Unknown,
    /// ext2, ext3, ext4
    Ext,
    /// xfs
    Xfs,
    /// btrfs
    Btrfs,
    /// tmpfs
    Tmpfs,
    /// overlayfs
    Overlay,
    /// NFS
    Nfs,
}

/// Who called, and where to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Of the caller.
    pub privilege: Privilege,
    /// Of what was written to.
    pub file_system: FileSystem,
}
