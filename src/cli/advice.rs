//! The words for each [`Advice`] of the library: which option or verb helps.

use std::borrow::Cow;

use crate::error::{Advice, Error};

/// What the user can do about an error.
pub fn hint(error: &Error) -> Option<Cow<'_, str>> {
    match error.advice() {
        Some((advice, detail)) => Some(words(advice).replace("{}", detail).into()),
        None => error.hint_text().map(Cow::Borrowed),
    }
}

/// `{}` stands for what the advice depends on.
fn words(advice: Advice) -> &'static str {
    match advice {
        Advice::FewerJobs => "free some memory, or use fewer jobs: -j 1",
        Advice::AnotherStore => "choose another directory with --store DIR or LOWERDIR_STORE",
        Advice::WhiteoutsOnOverlay => {
            "no whiteout can be made on an overlay mount: use --whiteout=xattr, which needs Linux 6.7 to mount, or a directory on a volume"
        }
        Advice::XattrsOnOverlay => {
            "an overlay mount holds xattrs of overlayfs only since Linux 6.7, and in a container root may lack CAP_SYS_ADMIN for them: use a directory on a volume, or --rootless"
        }
        Advice::NoDeviceNodes => {
            "this file system or sandbox takes no device nodes: use --whiteout=xattr, which needs Linux 6.7 to mount"
        }
        Advice::XattrsDenied => {
            "a container or a security module restricts root: CAP_SYS_ADMIN is needed here, or --rootless"
        }
        Advice::BeRoot => "run it as root; with --rootless, unpack and unpack-layer need no root",
        Advice::OwnerNotMapped => "this user namespace does not map the id: try --owners=caller",
        Advice::ConvertOnOverlay => {
            "no whiteout can be made on an overlay mount: --to trusted-xattr or user-xattr makes none"
        }
        Advice::ConvertAsRoot => "run it as root; without, --to user may do",
        Advice::NoHardLink => "hard links need the file system of --store: try --link=copy",
        Advice::NoReflink => "both must be on one xfs or btrfs: try --link=copy",
        Advice::IdmapAsRoot => {
            "only root of the whole system may do this: with --uid-map, unpack gives a copy other ids"
        }
        Advice::MapWhileUnpacking => "with --uid-map, unpack gives a copy other ids",
        Advice::EmptyStore => "use --store DIR with a directory that is absent or empty",
        Advice::WritableStore => "add a store that can be written to, with another --store DIR",
        Advice::Repair => "`lowerdir verify --repair IMAGE` unpacks it again",
        Advice::RewriteRecord => "`lowerdir unpack IMAGE` rewrites it, `lowerdir rm` removes it",
        Advice::UnmountFirst => "unmount it first: see `lowerdir umount`",
        Advice::EmptyLayer => "with --digest or --diff-id, an empty layer is accepted",
        Advice::Unpack => "`lowerdir unpack` puts it there",
        Advice::NoStore => {
            "`lowerdir unpack IMAGE` makes one; --store or LOWERDIR_STORE chooses another"
        }
        Advice::NeitherFileNorName => {
            "`lowerdir images` lists what the store has; docker://NAME is an image in a registry"
        }
        Advice::PerhapsInRegistry => {
            "`lowerdir images` lists what the store has; docker://{} would be an image in a registry"
        }
        Advice::RemoveFromStore => "use --store with that directory alone, if you may write to it",
        Advice::ListImages => "`lowerdir images` lists them",
        Advice::Flatten => "`lowerdir flatten IMAGE oci:DIR:TAG` makes an image of one layer of it",
        Advice::UnpackArchive => "use `lowerdir unpack`, which unpacks each of its layers",
        Advice::UnpackLayer => "use `lowerdir unpack-layer` for a single layer",
        Advice::DigestInStore => {
            "with --blobs, IMAGE is a digest; `ctr images ls` lists containerd's"
        }
        Advice::OnlyLayer => "the image has one layer: --layer 1",
        Advice::UserXattrs => {
            "unpack the image again: lowerdir --store DIR unpack --userxattr IMAGE"
        }
        Advice::NameCommand => "name one: lowerdir bundle IMAGE DIR -- COMMAND",
        Advice::RootlessIsRoot => "with --rootless, the only user is root",
        Advice::MountedOverlay => "use --overlay=mounted",
        Advice::NoOverlay => "leave out --overlay",
        Advice::UnmappedStore => "use a --store without id maps",
        Advice::UnmappedStoreForRootless => "unpack them into another --store",
        Advice::ReadMarks => {
            "run it as root; without, --userxattr (`convert`: --from user) reads a directory that has user.overlay.* xattrs, or no marks"
        }
        Advice::PackUpper => "`lowerdir pack` with --lower makes a layer of such a directory",
        Advice::PackLive => {
            "unmount it, or remount it read-only; with --live it is packed as it is"
        }
        Advice::PackInstead => "`lowerdir pack` writes it into an archive",
        Advice::GiveParentsOrBase => {
            "give each layer below with --lower, or say with --base that there is none"
        }
        Advice::ReplacesDirectory => {
            "readers of tar archives refuse that; `lowerdir unpack-layer` does it"
        }
        Advice::IsLayerAlready => "is this a layer already? `--to overlay` is the other way",
        Advice::PackContent => "`lowerdir pack` with --lower takes its content from below",
        Advice::DeleteBelow => {
            "`lowerdir unpack-layer` with --lower deletes what the layers below have"
        }
        Advice::LinkBelow => {
            "a file of a layer below is found by `lowerdir unpack-layer` with --lower"
        }
        Advice::GiveAllLowers => {
            "give with --lower each directory that was below when it was mounted"
        }
        Advice::GiveLowersForContent => {
            "give each directory below with --lower: its content is there"
        }
        Advice::GiveLowers => "give each directory below with --lower",
        Advice::ConvertMarkers => {
            "if it is meant as one, `lowerdir convert` turns it into overlayfs's own"
        }
        Advice::RecordedIds => {
            "leave --uid-map and --gid-map out: it remembers what it was mounted with"
        }
        Advice::MoreIdMaps => "--uid-map and --gid-map may be given several times",
        Advice::MoreUidMaps => "--uid-map may be given several times",
        Advice::MoreGidMaps => "--gid-map may be given several times",
        Advice::SkipDeviceZero => "--device-zero=skip leaves it out",
        Advice::EscapeXattrs => "--overlay-xattrs=escape keeps it as data",
        Advice::LenientXattrs => "without --xattrs=strict it is left out",
        Advice::UpperForOption => "use --upper and --work, or --tmpfs",
        Advice::TrustedStore => {
            "unpack the image without --userxattr or --rootless into another --store"
        }
        Advice::PrintCommand => "use --print=cmd",
        Advice::MountInstead => "`lowerdir mount` has no such limit on Linux 6.7 and later",
        Advice::UpperInUse => "unmount it first, or give this mount --upper and --work of its own",
        Advice::ConvertUpper => {
            "use an empty --upper, or convert this one: `lowerdir help convert`"
        }
        Advice::EmptyUpper => "mount it without id maps, or use an empty --upper",
        Advice::MountIdmapped => "mount it with --idmap {}, or use an empty --upper",
        Advice::MountMapped => "mount it with layers of {}, or use an empty --upper",
        Advice::SameOptions => "use another --store, or the same {}",
        Advice::RaiseLimit => "--max-{} raises the limit, if you trust the image",
        Advice::ChoosePlatform => "--platform chooses one; there is: {}",
    }
}

#[cfg(test)]
mod tests;
