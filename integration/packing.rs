//! The way back: what a container changes through a real overlay mount, packed as a layer and
//! applied again, is the tree that the mount showed.

pub mod changes;
mod places;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};

use crate::generate::{Flavour, Stack};
use crate::model::Listing;
use crate::oci::Compression;
use crate::property::{Image, Verdict, for_each_stack, stacks};
use crate::scratch::{self, Mounted};
use crate::walk::Walk;

use changes::change;

/// An overlay mount with an upperdir, and how it is packed.
#[derive(Clone, Copy)]
struct Mode {
    /// Options of the mount beyond its directories.
    mount: &'static [(&'static str, &'static str)],
    /// How the image was unpacked.
    unpack: &'static [&'static str],
    /// Whether the layers below are known to `pack`.
    lowers: bool,
    image: Flavour,
}

const PLAIN: [(&str, &str); 2] = [("redirect_dir", "off"), ("metacopy", "off")];

/// What random images must not hold here: refusals have tests of their own.
const ACCEPTED: Flavour = Flavour {
    refused: 0,
    ..Flavour::ALL
};

#[test]
fn a_packed_upperdir_is_the_tree_that_the_mount_showed() {
    round_trip(Mode {
        mount: &PLAIN,
        unpack: &[],
        lowers: true,
        image: ACCEPTED,
    });
}

#[test]
fn so_it_is_when_nobody_knows_the_layers_below() {
    round_trip(Mode {
        mount: &PLAIN,
        unpack: &[],
        lowers: false,
        // A mark in a directory that takes the place of a symlink acts, by rule O1, where the
        // symlink leads: only who knows the layers below can avoid it.
        image: Flavour {
            symlinks: false,
            ..ACCEPTED
        },
    });
}

#[test]
fn so_it_is_with_renamed_directories_and_files_of_attributes_only() {
    round_trip(Mode {
        mount: &[("redirect_dir", "on"), ("metacopy", "on")],
        unpack: &[],
        lowers: true,
        image: ACCEPTED,
    });
}

#[test]
fn so_it_is_with_userxattr_and_xattr_whiteouts_below() {
    round_trip(Mode {
        mount: &[("userxattr", "")],
        unpack: &["--userxattr", "--whiteout=xattr"],
        lowers: true,
        image: ACCEPTED,
    });
}

fn round_trip(mode: Mode) {
    for_each_stack(stacks() / 4, mode.image.labelled(), |site, stack| {
        let image = Image::write(site, stack);
        if stack.expected().is_err() {
            return Ok(());
        }
        let layers = image.unpack("store", stack.jobs, mode.unpack).done()?;
        let changed = Changed::make(site, &layers, mode, stack)?;
        let layer = changed.pack(&layers, "layer.tar.gz")?;
        same_bytes(&layer, &changed.pack(&layers, "again.tar.gz")?)?;

        let top = site.join("packed");
        let mut arguments = vec![OsStr::new("unpack-layer"), layer.as_ref(), top.as_ref()];
        let options = mode.unpack.iter().chain(stack.options());
        arguments.extend(options.map(OsStr::new));
        let parents = layers.iter();
        arguments.extend(parents.flat_map(|layer| [OsStr::new("--lower"), layer.as_ref()]));
        scratch::lowerdir(&arguments, None).done()?;

        let stacked: Vec<PathBuf> = [vec![top], layers].concat();
        let mounted = Mounted::stack(&stacked, changed.userxattr(), site);
        let mounted = mounted.map_err(|error| error.to_string())?;
        let mut walk = Walk::new(&mounted.0, &changed.names);
        let mut expected = changed.tree.clone();
        if changed.may_have_moved() {
            // A layer cannot link what it moves to what stays below.
            forget_links(&mut walk.listing);
            forget_links(&mut expected);
        }
        let verdict = walk.compare("the packed layer", "the mount", &expected);
        verdict.map_err(|what| format!("{what}\nchanges:\n{}", changed.log.join("\n")))
    });
}

/// An upperdir that has been written to.
struct Changed {
    upper: PathBuf,
    mode: Mode,
    /// What every verb that reads the image has to be given.
    options: &'static [&'static str],
    /// What the mount showed at last.
    tree: Listing,
    names: BTreeSet<Vec<u8>>,
    log: Vec<String>,
}

impl Changed {
    fn make(site: &Path, layers: &[PathBuf], mode: Mode, stack: &Stack) -> Result<Changed, String> {
        let [upper, work] = ["upper", "work"].map(|name| site.join(name));
        for directory in [&upper, &work] {
            fs::create_dir(directory).expect("a directory");
        }
        let mount = || {
            let mounted = mount(site, layers, &upper, &work, mode.mount);
            mounted.map_err(|error| format!("mounting with an upperdir: {error}"))
        };
        let log = change(&mount()?.0, seed_of(stack));
        // A mount that has copied something up may show it under two numbers.
        let mounted = mount()?;
        let names = changes::NAMES.iter().map(|name| name.to_vec()).collect();
        let tree = Walk::new(&mounted.0, &names).listing;
        Ok(Changed {
            upper,
            mode,
            options: stack.options(),
            tree,
            names,
            log,
        })
    }

    fn pack(&self, layers: &[PathBuf], name: &str) -> Result<PathBuf, String> {
        let layer = self.upper.with_file_name(name);
        let mut arguments = vec![OsStr::new("pack"), self.upper.as_ref()];
        arguments.extend([OsStr::new("-o"), layer.as_ref()]);
        if self.userxattr() {
            arguments.push("--userxattr".as_ref());
        }
        arguments.extend(self.options.iter().map(OsStr::new));
        let lowers = layers.iter().filter(|_| self.mode.lowers);
        arguments.extend(lowers.flat_map(|layer| [OsStr::new("--lower"), layer.as_ref()]));
        let run = scratch::lowerdir(&arguments, None);
        let told = run.text();
        told.map_err(|what| format!("{what}\nchanges:\n{}", self.log.join("\n")))?;
        Ok(layer)
    }

    fn userxattr(&self) -> bool {
        self.mode.mount.contains(&("userxattr", ""))
    }

    fn may_have_moved(&self) -> bool {
        self.mode.mount.contains(&("redirect_dir", "on"))
    }
}

pub fn mount(
    site: &Path,
    layers: &[PathBuf],
    upper: &Path,
    work: &Path,
    options: &[(&str, &str)],
) -> io::Result<Mounted> {
    let (bottom, target) = (tempfile::tempdir_in(site)?.keep(), Mounted::nothing(site));
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for layer in layers.iter().chain([&bottom]) {
        fsconfig_set_string(&overlay, "lowerdir+", layer)?;
    }
    fsconfig_set_string(&overlay, "upperdir", upper)?;
    fsconfig_set_string(&overlay, "workdir", work)?;
    for (name, value) in options {
        match *value {
            "" => fsconfig_set_flag(&overlay, *name)?,
            value => fsconfig_set_string(&overlay, *name, value)?,
        }
    }
    fsconfig_create(&overlay)?;
    let tree = fsmount(
        &overlay,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(&tree, "", CWD, &target.0, flags)?;
    Ok(target)
}

fn same_bytes(one: &Path, other: &Path) -> Verdict {
    let [one, other] = [one, other].map(|path| fs::read(path).expect("it was written"));
    match one == other {
        true => Ok(()),
        false => Err("two runs give different layers".into()),
    }
}

fn forget_links(listing: &mut Listing) {
    for item in listing.values_mut() {
        item.links = None;
    }
}

/// The changes go with what shrinking leaves alone for long, so that a smaller stack has the same.
fn seed_of(stack: &Stack) -> u64 {
    let digit = |seed, compression: &Compression| seed * 3 + *compression as u64;
    let seed = stack.compression.iter().fold(1, digit);
    seed * 4 + stack.jobs as u64
}
