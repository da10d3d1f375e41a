//! `lowerdir stack IMAGE`

use std::os::unix::ffi::OsStrExt;

use clap::Args;
use serde::Serialize;

use crate::store::stack;

use super::json::{Name, Names};
use super::{Global, ImageArgs, output};

const EXAMPLES: &str = "\
Examples:
  export LIBMOUNT_FORCE_MOUNT2=always
  mount -t overlay overlay -o lowerdir=$(lowerdir stack alpine.tar) /mnt
  mount -t overlay overlay -o lowerdir=$(lowerdir stack alpine.tar),upperdir=u,workdir=w /mnt
  lowerdir stack --json alpine.tar | jq -r '.directories[]'

Without the variable, mount(8) of util-linux 2.39 and later accepts at most 255 bytes of lowerdir=.";

/// Print the value of `lowerdir=` for an overlay mount.
///
/// One line: the layer directories, topmost first, joined by colons, with colons, commas and
/// backslashes escaped. A single layer gets an empty directory below it, because overlayfs needs two
/// lower directories if there is no upperdir.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Stack {
    #[command(flatten)]
    image: ImageArgs,
}

/// The result as JSON.
#[derive(Serialize)]
struct StackJson {
    #[serde(flatten)]
    lowerdir: Name,
    /// Topmost first.
    #[serde(flatten)]
    directories: Names,
    userxattr: bool,
    fits_one_page: bool,
}

pub fn run(verb: &Stack, global: &Global) -> anyhow::Result<()> {
    let (store, image) = verb.image.open_with_store(global)?;
    verb.image.note_platform(&image, global);
    let stack = store.stack(&image)?;
    let line = stack.lowerdir();
    let fits_one_page = "lowerdir=".len() + line.len() < stack::PAGE;
    if !fits_one_page {
        global.console.warning(
            "the line is longer than one page, the limit of mount(2): use `lowerdir mount`",
        );
    }
    if global.console.json {
        let directories = stack.directories().iter();
        output::json(&StackJson {
            lowerdir: Name::path("lowerdir", line.as_ref()),
            directories: Names::paths("directories", directories.map(|path| &**path)),
            userxattr: stack.needs_userxattr(),
            fits_one_page,
        })?;
        return Ok(());
    }
    if stack.needs_userxattr() {
        global
            .console
            .note("note: mount it with the option userxattr");
    }
    output::lines(std::iter::once(line.as_bytes()))?;
    Ok(())
}
