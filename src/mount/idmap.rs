//! Id-mapped mounts: one unpacked copy of the layers serves every user namespace. In a private mount
//! namespace, the store is mounted over itself with id maps, and the overlay uses the layers through that
//! mount. Called by [`super::mount_idmapped`].
//!
//! The kernel takes the maps from a user namespace, which only a single-threaded process can create. So
//! a helper process that runs [`hold_user_namespace`], and nothing else, keeps it alive.
//! Source: `mount_setattr(2)`, "ID-mapped mounts"; `user_namespaces(7)`. Overlayfs supports such layers
//! since Linux 5.19.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::error::{Error, Operation, Result};
use crate::ids::{IdMap, IdMaps};
use crate::threads::{died, start};

/// A user namespace that holds the id maps of mounts.
#[derive(Debug)]
pub struct UserNamespace {
    file: File,
    ids: IdMaps,
}

impl UserNamespace {
    /// Creates one with these maps. The program must run [`hold_user_namespace`].
    ///
    /// Errors: it cannot be started, or may not create user namespaces; there are too many maps, or the
    /// caller may not map these ids.
    pub fn new(ids: &IdMaps, holder: Command) -> Result<UserNamespace> {
        let doing = |error| Error::system("making a user namespace", error);
        let holder = Holder::start(holder).map_err(doing)?;
        let process = PathBuf::from(format!("/proc/{}", holder.0.id()));
        for (file, map) in [("uid_map", &ids.uids), ("gid_map", &ids.gids)] {
            // The kernel wants the whole map in one write(2).
            std::fs::write(process.join(file), lines(map)).map_err(|error| {
                Error::system(format!("writing {file} of a user namespace"), error)
                    .during(Operation::MapIds)
            })?;
        }
        let file = File::open(process.join("ns/user")).map_err(doing)?;
        let ids = ids.clone();
        Ok(UserNamespace { file, ids })
    }

    /// The maps.
    pub fn ids(&self) -> &IdMaps {
        &self.ids
    }
}

/// A map in the kernel's format; ids that do not change are mapped to themselves.
fn lines(map: &IdMap) -> String {
    if map.is_empty() {
        return format!("0 0 {}\n", u32::MAX);
    }
    let lines = map.ranges().iter();
    let lines = lines.map(|range| format!("{} {} {}\n", range.container, range.host, range.size));
    lines.collect()
}

/// The helper process, which exits when its input is closed.
struct Holder(Child);

impl Holder {
    fn start(mut program: Command) -> io::Result<Holder> {
        let piped = program.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = Holder(piped.spawn()?);
        let mut said = [0];
        let stdout = holder.0.stdout.as_mut().expect("it is piped");
        match stdout.read(&mut said)? {
            1 => Ok(holder),
            // It exited without a namespace.
            _ => Err(Errno::PERM.into()),
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// The helper process: enters a new user namespace, reports it on standard output, and waits until its
/// input is closed. Errors: the process has several threads, or may not create one.
pub fn hold_user_namespace() -> Result<()> {
    let doing = |error| Error::system("making a user namespace", error);
    nix::sched::unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| doing(errno.into()))?;
    let mut stdout = io::stdout().lock();
    let said = stdout.write_all(b"\n").and_then(|()| stdout.flush());
    said.and_then(|()| io::copy(&mut io::stdin().lock(), &mut io::sink()))
        .map_err(doing)?;
    Ok(())
}

/// Runs a function with stores mounted over themselves with mapped ids, in a mount namespace that only
/// its thread is in. In any other mount namespace, root of the user namespace could enter a store and
/// change layers.
pub fn in_mapped_stores<T: Send>(
    stores: &[&Path],
    namespace: &UserNamespace,
    call: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = start(scope, "mount", || {
            be_alone()?;
            for store in stores {
                cover(store, namespace)?;
            }
            call()
        })?;
        thread.join().map_err(|_| died("mount"))?
    })
}

fn failed(doing: String) -> impl FnOnce(Errno) -> Error {
    move |errno| super::failed(doing, errno)
}

/// Moves the calling thread into a mount namespace of its own.
fn be_alone() -> Result<()> {
    let own = failed("making a mount namespace".into());
    nix::sched::unshare(CloneFlags::CLONE_NEWNS)
        .and_then(|()| {
            // Its mounts must not propagate.
            let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            nix::mount::mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
        })
        .map_err(|errno| own(Errno::from_raw_os_error(errno as i32)))
}

fn cover(store: &Path, namespace: &UserNamespace) -> Result<()> {
    let place = store.display();
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree =
        open_tree(CWD, store, flags).map_err(failed(format!("opening {place} to mount it")))?;
    composefs_ioctls::mount::mount_setattr_idmap(&tree, &namespace.file).map_err(cannot_map)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(&tree, "", CWD, store, flags).map_err(failed(format!("mounting on {place}")))
}

fn cannot_map(error: io::Error) -> Error {
    Error::system("mounting the store with other ids", error).during(Operation::IdmapMount)
}
