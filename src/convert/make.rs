//! Marks in the making: under a name that no layer may have, then renamed.

use std::io;

use rustix::fs::FileType;

use crate::dialect::{Dialect, Whiteout};
use crate::meta::{Device, Time};
use crate::root::Dir;

use super::journal::has_no_xattrs;

/// What is being made has this name until it is complete; aufs keeps its own such names, which no
/// layer may have (rule W6).
pub const UNFINISHED: &[u8] = b".wh..wh.lowerdir";

/// Makes an empty file `.wh.NAME`.
pub fn marker(directory: &Dir, name: &[u8], time: Time) -> io::Result<()> {
    directory.remove_tree(UNFINISHED)?;
    directory.make_file(UNFINISHED)?;
    finish(directory, 0, time)?;
    directory.rename(UNFINISHED, name, true)
}

/// Makes a whiteout as overlayfs has it, in the place of any other form of it.
pub fn node(directory: &Dir, name: &[u8], dialect: Dialect, time: Time) -> io::Result<()> {
    directory.remove_tree(UNFINISHED)?;
    match dialect.whiteout {
        Whiteout::Device => {
            directory.make_node(UNFINISHED, FileType::CharacterDevice, Device::WHITEOUT)?;
        }
        Whiteout::Xattr => {
            directory.make_file(UNFINISHED)?;
        }
    }
    let meta = dialect.whiteout_meta(time);
    for xattr in &meta.xattrs {
        directory.set_xattr(UNFINISHED, &xattr.name, &xattr.value)?;
    }
    finish(directory, meta.mode, meta.mtime)?;
    directory.rename(UNFINISHED, name, true)
}

/// Rule W7: nothing of the directory that it is made in.
fn finish(directory: &Dir, mode: u32, time: Time) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        directory.set_owner(UNFINISHED, 0, 0)?;
    }
    match directory.remove_xattr(UNFINISHED, b"system.posix_acl_access") {
        Err(error) if !has_no_xattrs(&error) => return Err(error),
        _ => {}
    }
    directory.set_mode(UNFINISHED, mode)?;
    directory.set_times(UNFINISHED, time)
}
