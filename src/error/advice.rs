//! `Advice`: what helps, where that is an option or a verb of the program. The library says which
//! case it is; the command line puts it into words, and other programs may have words of their own.

/// What helps in a case that the options of a program can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Advice {
    /// Memory is short.
    FewerJobs,
    /// The store cannot be used.
    AnotherStore,
    /// An overlay mount takes no whiteout.
    WhiteoutsOnOverlay,
    /// An overlay mount takes no xattr of overlayfs.
    XattrsOnOverlay,
    /// No device node can be made, even by root.
    NoDeviceNodes,
    /// Root may not set an xattr.
    XattrsDenied,
    /// It takes root to unpack so.
    BeRoot,
    /// The user namespace lacks an owner.
    OwnerNotMapped,
    /// A tree on an overlay mount cannot get whiteouts.
    ConvertOnOverlay,
    /// It takes root to convert so.
    ConvertAsRoot,
    /// The layers lie on another file system.
    NoHardLink,
    /// The file system cannot share blocks.
    NoReflink,
    /// Only root may mount with other ids.
    IdmapAsRoot,
    /// Layers cannot be mounted with other ids.
    MapWhileUnpacking,
    /// A directory is no store.
    EmptyStore,
    /// The store can only be read.
    WritableStore,
    /// A layer in the store is damaged.
    Repair,
    /// The record of an image in the store is damaged.
    RewriteRecord,
    /// A mount is made of it.
    UnmountFirst,
    /// An empty archive is a layer where something says so.
    EmptyLayer,
    /// Layers are missing in the store.
    Unpack,
    /// There is no store yet.
    NoStore,
    /// An argument is no image.
    NeitherFileNorName,
    /// The same, but it looks like a name in a registry: the name.
    PerhapsInRegistry,
    /// The image is in a store that is only read.
    RemoveFromStore,
    /// No image has that name.
    ListImages,
    /// There are more layers than a mount can have.
    Flatten,
    /// An archive of an image is no layer.
    UnpackArchive,
    /// A layer is no image.
    UnpackLayer,
    /// A content store has digests only.
    DigestInStore,
    /// The image has one layer.
    OnlyLayer,
    /// systemd mounts layers with userxattr.
    UserXattrs,
    /// The image names no command.
    NameCommand,
    /// A rootless container has one user.
    RootlessIsRoot,
    /// The overlay has to be mounted from here.
    MountedOverlay,
    /// Only an overlay that is mounted from here can have other ids.
    NoOverlay,
    /// The layers have other ids than the image says.
    UnmappedStore,
    /// The same, for a rootless container.
    UnmappedStoreForRootless,
    /// The marks of the layers do not show to the caller.
    ReadMarks,
    /// A directory is an upperdir.
    PackUpper,
    /// An upperdir is in use.
    PackLive,
    /// A whiteout of so long a name can only be in an archive.
    PackInstead,
    /// What the layers below show has to be known, or that there are none.
    GiveParentsOrBase,
    /// No archive can have a name for two things.
    ReplacesDirectory,
    /// A tree has whiteouts of layers.
    IsLayerAlready,
    /// Only attributes are here.
    PackContent,
    /// A deletion of everything below.
    DeleteBelow,
    /// A hard link may lead to a layer below.
    LinkBelow,
    /// A directory was renamed by the mount.
    GiveAllLowers,
    /// What an upperdir has lies below.
    GiveLowersForContent,
    /// Other names may lie below.
    GiveLowers,
    /// A tree has whiteouts of layers, where overlayfs has others.
    ConvertMarkers,
    /// An upperdir remembers its id maps.
    RecordedIds,
    /// An id is in no range.
    MoreIdMaps,
    /// A user is in no range.
    MoreUidMaps,
    /// A group is in no range.
    MoreGidMaps,
    /// A layer has a device 0:0.
    SkipDeviceZero,
    /// A layer has xattrs of overlayfs.
    EscapeXattrs,
    /// A layer has xattrs of another system.
    LenientXattrs,
    /// Nothing can be changed in such a mount.
    UpperForOption,
    /// Layers with user.* xattrs limit what a mount can do.
    TrustedStore,
    /// One line cannot express the mount.
    PrintCommand,
    /// A printed mount has too long names.
    MountInstead,
    /// The upperdir, or what is around it, is in use.
    UpperInUse,
    /// An upperdir has marks of another sort.
    ConvertUpper,
    /// An upperdir has ids that are mapped.
    EmptyUpper,
    /// The upperdir was mounted with these id maps, and not with those of this mount.
    MountIdmapped,
    /// The upperdir was mounted on layers with these id maps.
    MountMapped,
    /// A layer was unpacked with other options or id maps: which of these.
    SameOptions,
    /// A limit was reached: its name.
    RaiseLimit,
    /// There is no image for this platform, but for these.
    ChoosePlatform,
}

impl Advice {
    /// The same with what it depends on.
    pub fn with(self, detail: impl Into<String>) -> Hint {
        Hint(Told::Advice(self, super::shown(detail)))
    }
}

/// What the user can do about an error: words, or a case for which a program has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint(pub(super) Told<String>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told<T> {
    Text(T),
    Advice(Advice, T),
}

impl From<&str> for Hint {
    fn from(text: &str) -> Hint {
        Hint(Told::Text(super::shown(text)))
    }
}

impl From<String> for Hint {
    fn from(text: String) -> Hint {
        Hint(Told::Text(super::shown(text)))
    }
}

impl From<Advice> for Hint {
    fn from(advice: Advice) -> Hint {
        advice.with("")
    }
}
