//! `mount(2)`: all layers in one string, which the kernel truncates silently after one page. A longer
//! stack is mounted by short names, from the directory that holds them.
//! Called by [`super::mount`] if the mount API is not available.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::store::Store;
use crate::store::stack::{self, PAGE, Stack};
use crate::threads::{died, start};

use super::options::MountOptions;
use super::{Directories, SOURCE, failed};

/// Mounts a stack on an absolute path.
pub fn mount(
    stack: &Stack,
    upper: Option<Directories<'_>>,
    mount_options: &MountOptions,
    target: &Path,
) -> Result<()> {
    let rest = options_after_lowerdir(stack, upper, mount_options)?;
    let whole = options(stack.lowerdir().as_bytes(), &rest);
    let read_only = match upper {
        Some(_) => MsFlags::empty(),
        None => MsFlags::MS_RDONLY,
    };
    let flags = read_only | mount_options.mount_flags();
    let call = |options: &[u8]| {
        nix::mount::mount(Some(SOURCE), target, Some("overlay"), flags, Some(options))
            .map_err(|errno| Errno::from_raw_os_error(errno as i32))
    };
    let mounted = match stack.stores() {
        _ if whole.len() < PAGE => call(&whole),
        [] => return Err(too_long()),
        stores => {
            let links = Store::open_all(stores)?.short_names(stack.directories())?;
            let names = links.names.join(":");
            let short = options(names.as_bytes(), &rest);
            if short.len() >= PAGE {
                return Err(too_long());
            }
            let directory = File::open(&links.directory)
                .map_err(|error| Error::system("opening the short names", error))?;
            in_directory(&directory, || call(&short))?
        }
    };
    mounted.map_err(|errno| {
        let error = failed(format!("mounting on {}", target.display()), errno);
        error.hint("the kernel's log (dmesg) may say more")
    })
}

fn options(lowerdir: &[u8], rest: &[u8]) -> Vec<u8> {
    [b"lowerdir=", lowerdir, rest].concat()
}

/// Paths are made absolute, because the mount may run in another working directory.
fn options_after_lowerdir(
    stack: &Stack,
    upper: Option<Directories<'_>>,
    mount_options: &MountOptions,
) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    if let Some(upper) = upper {
        for (key, path) in [("upperdir", upper.upperdir), ("workdir", upper.workdir)] {
            let path = path
                .canonicalize()
                .map_err(|error| Error::system(format!("opening {}", path.display()), error))?;
            text.extend_from_slice(format!(",{key}=").as_bytes());
            text.append(&mut stack::escaped(OsStr::new(&path)).into_vec());
        }
    }
    if stack.needs_userxattr() {
        text.extend_from_slice(b",userxattr");
    }
    text.extend_from_slice(mount_options.after_comma().as_bytes());
    Ok(text)
}

fn too_long() -> Error {
    Error::limit("the layers' names are longer than one page, the limit of mount(2)")
        .hint("Linux 6.7 mounts up to 500 layers; here, squash some of them, or use shorter paths")
}

/// Runs a function on a thread with a working directory of its own, which leaves that of the process
/// alone. Errors:
/// there is no thread for it.
fn in_directory(
    directory: &File,
    call: impl FnOnce() -> rustix::io::Result<()> + Send,
) -> Result<rustix::io::Result<()>> {
    std::thread::scope(|scope| {
        let thread = start(scope, "mount", || {
            nix::sched::unshare(CloneFlags::CLONE_FS)
                .map_err(|errno| Errno::from_raw_os_error(errno as i32))?;
            rustix::process::fchdir(directory)?;
            call()
        })?;
        thread.join().map_err(|_| died("mount"))
    })
}
