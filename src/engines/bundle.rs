//! [`write()`]: an OCI runtime bundle from an image in the store: a `config.json`, converted from the
//! image's config, and a `rootfs` on which the layers are mounted.
//!
//! ```text
//! DIR/                0700; 0711 if the container has a user namespace
//!   config.json       see `config`
//!   rootfs/           the mount point; with changes in memory it has `upper` and `work`, which are
//!                     copied onto the tmpfs
//!   mountpoints/      a lower directory above the image's layers, with the mount points and the working
//!                     directory that the image lacks, and nothing else
//!   with-rootfs       for Overlay::Script: see `script`
//! ```
//!
//! Called by the command line. It unpacks nothing: `store::pipeline` does. The bundle is built
//! under a temporary name and renamed; on an error nothing is left. Names in the image (users, volumes)
//! are looked up in the layers, inside the image's root (`inside`), never by the kernel.
//! Source: image-spec `conversion.md`; runtime-spec `bundle.md` and `config.md`.

mod annotations;
mod config;
mod execution;
mod inside;
mod mountpoints;
mod namespace;
mod options;
mod process;
mod script;
mod user;
mod volumes;

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::canonical;
use crate::error::{Error, Operation, Result};
use crate::fs::root::{self, Dir};
use crate::ids::IdMaps;
use crate::image::Image;
use crate::mount::{self, MountBuilder, MountOptions, Upper, Words};
use crate::path::EntryPath;
use crate::store::stack::Stack;
use crate::store::{AtomicDir, Store};
use crate::unpack::{Options, system};

use execution::Execution;
use inside::Inside;
use namespace::ContainerNamespace;

/// The mount point of the layers in the bundle.
pub const ROOTFS: &str = "rootfs";
pub use options::{BundleOptions, Overlay};
pub use script::NAME as SCRIPT;
const MOUNTPOINTS: &str = "mountpoints";

/// A finished bundle.
#[derive(Debug)]
#[non_exhaustive]
pub struct Bundle {
    /// Its absolute path.
    pub path: PathBuf,
    /// What mounts the layers.
    pub overlay: Overlay,
    /// The content of `config.json`.
    pub config: String,
    /// The stack that is, or will be, mounted on `rootfs`.
    pub stack: Stack,
    /// The command, line or unit that mounts it, if the user does.
    pub words: Option<Vec<u8>>,
    /// Labels of the image that did not become annotations.
    pub left_out: Vec<String>,
}

/// Writes a bundle into a directory that is absent or empty.
///
/// Errors: a layer is not in the store; the config breaks the specification, names a user that the image
/// does not have, or a volume where none may be ([`Kind::Refused`](crate::Kind::Refused)); the names of
/// the layers are too long for such a mount ([`Kind::Limit`](crate::Kind::Limit)); the form cannot
/// express the mount ([`Kind::NotFound`](crate::Kind::NotFound)); the system's.
///
/// ```
/// use lowerdir::engines::bundle::{Overlay, BundleOptions, write};
/// use lowerdir::store::Sync;
/// use lowerdir::{Image, Options, Reference, Store};
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doc_image.in"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let place = tempfile::tempdir()?;
/// # let archive = place.path().join("image.tar");
/// # doc_image(&archive)?;
/// # let directory = place.path().join("store");
/// # let options = Options::rootless(place.path())?;
///
/// let image = Image::open(&Reference::parse(&archive)?)?;
/// let store = Store::open(&directory)?;
/// store.unpack(&image).options(options).run()?;
/// let command = ["/bin/true".into()];
/// let wanted = BundleOptions::default()
///     .overlay(Overlay::InConfig)
///     .command(&command)
///     .sync(Sync::None);
/// let bundle = write(&image, &store, &place.path().join("bundle"), &wanted)?;
///
/// let config: serde_json::Value = serde_json::from_str(&bundle.config)?;
/// assert_eq!(config["process"]["args"][0], "/bin/true");
/// assert_eq!(config["mounts"][0]["type"], "overlay");
/// assert!(bundle.path.join("config.json").exists());
/// # Ok(())
/// # }
/// ```
pub fn write(
    image: &Image,
    store: &Store,
    target: &Path,
    wanted: &BundleOptions<'_>,
) -> Result<Bundle> {
    let execution = Execution::of(image)?;
    let layers = store.layers_of(image)?;
    let options = layers.last().map(|layer| layer.record.options.clone());
    let options = options.unwrap_or_default();
    let stack = store.stack_of(&layers)?;
    let inside = Inside::open(&layers, options.dialect)?;
    let namespace = ContainerNamespace::of(&options.ids, wanted)?;
    mount::check_places(target, wanted.upper)?;
    let path = absolute(target)?;
    let output = AtomicDir::new(&path, "bundle")?;
    let as_they_are = IdMaps::default();
    let making = Making {
        store,
        path: &path,
        wanted,
        execution: &execution,
        inside: &inside,
        namespace: namespace.as_ref(),
        shown: wanted.idmap.map_or(&as_they_are, mount::UserNamespace::ids),
        directory: output.directory()?,
        options: &options,
    };
    let bundle = making.fill(&stack);
    let bundle = bundle.map_err(|error| root::told(error, &making.directory))?;
    let mut made = mount::make_upper(wanted.upper, &stack, making.shown)?;
    output.sync(wanted.sync)?;
    let was_there = path.exists();
    output.publish(wanted.sync)?;
    if wanted.overlay == Overlay::Mounted
        && let Err(error) = mount_on(&path.join(ROOTFS), &bundle.stack, wanted)
    {
        take_back(&path, was_there);
        return Err(error);
    }
    made.keep();
    Ok(bundle)
}

fn mount_on(rootfs: &Path, stack: &Stack, wanted: &BundleOptions<'_>) -> Result<()> {
    let mut builder = MountBuilder::new(stack).upper(wanted.upper.clone());
    if let Some(namespace) = wanted.idmap {
        builder = builder.user_namespace(namespace);
    }
    builder.mount(rootfs).map(drop)
}

/// The absolute path of the bundle.
fn absolute(target: &Path) -> Result<PathBuf> {
    let looking = |error| Error::system(format!("looking at {}", target.display()), error);
    let target = std::path::absolute(target).map_err(looking)?;
    let Some((parent, name)) = target.parent().zip(target.file_name()) else {
        return Err(Error::conflict("the root directory cannot become a bundle"));
    };
    let parent = parent.canonicalize().map_err(|error| {
        Error::system(format!("opening {}", parent.display()), error).during(Operation::OpenTarget)
    })?;
    let path = parent.join(name);
    match path.to_str() {
        Some(_) => Ok(path),
        None => Err(Error::unsupported(format!(
            "{} is not UTF-8, as config.json must be",
            path.display()
        ))),
    }
}

/// Removes a bundle that could not be mounted.
fn take_back(path: &Path, was_there: bool) {
    // The error of the mount is the one to report.
    if let Ok(directory) = Dir::open(path) {
        let _ = directory.remove_children();
    }
    if !was_there {
        let _ = std::fs::remove_dir(path);
    }
}

struct Making<'a> {
    store: &'a Store,
    /// Its final path.
    path: &'a Path,
    wanted: &'a BundleOptions<'a>,
    execution: &'a Execution,
    inside: &'a Inside,
    namespace: Option<&'a ContainerNamespace>,
    /// The id maps of the mount.
    shown: &'a IdMaps,
    /// Its temporary directory.
    directory: Dir,
    options: &'a Options,
}

impl Making<'_> {
    fn fill(&self, image: &Stack) -> Result<Bundle> {
        let doing = |error| system("writing the bundle", error);
        let volumes = volumes::of(self.execution, self.inside, self.namespace)?;
        let process = process::of(self.execution, self.inside, self.wanted, self.namespace)?;
        let annotations = annotations::of(self.execution, self.wanted.annotations);
        self.directory.make_dir(ROOTFS.as_bytes()).map_err(doing)?;
        let mut mounts = config::mounts();
        mounts.extend(volumes);
        if let Some(namespace) = self.namespace {
            namespace.adapt(&mut mounts);
            // Root of the user namespace must be able to reach the root of the container.
            root::set_mode(&self.directory, 0o711).map_err(doing)?;
        }
        let cwd = process["cwd"].as_str().expect("it is text");
        let stack = match self.mountpoints(&mounts, cwd)? {
            true => image.with_top(self.path.join(MOUNTPOINTS))?,
            false => image.clone(),
        };
        let rootfs = self.path.join(ROOTFS);
        let command = |rootfs| self.words(&stack, rootfs, self.wanted.upper).command();
        let words = match self.wanted.overlay {
            Overlay::InConfig => {
                mounts.splice(0..0, self.overlay(&stack)?);
                None
            }
            Overlay::Mounted => None,
            Overlay::Script => {
                script::write(&self.directory, &command(rootfs)?, self.wanted.rootless)?;
                None
            }
            Overlay::Command => Some(command(rootfs)?),
            Overlay::Fstab => Some(self.words(&stack, rootfs, self.wanted.upper).fstab()?),
            Overlay::Unit => Some(self.words(&stack, rootfs, self.wanted.upper).systemd()?),
        };
        let read_only = *self.wanted.upper == Upper::None;
        let mut config = config::of(process, mounts, annotations.kept, read_only);
        if let Some(namespace) = self.namespace {
            namespace.add_to(&mut config["linux"]);
        }
        self.write_config(&config)?;
        Ok(Bundle {
            path: self.path.into(),
            overlay: self.wanted.overlay,
            config: config.to_string(),
            stack,
            words,
            left_out: annotations.left_out,
        })
    }

    /// Makes the mount points and the working directory that the image lacks, which a runtime could not
    /// make; false if it has all of them.
    fn mountpoints(&self, mounts: &[Value], cwd: &str) -> Result<bool> {
        let destinations = mounts
            .iter()
            .filter_map(|mount| mount["destination"].as_str());
        let lacking = mountpoints::lacking(destinations, cwd, self.inside)?;
        if lacking.is_empty() {
            return Ok(false);
        }
        let name = MOUNTPOINTS.as_bytes();
        let open = || {
            self.directory.make_dir(name)?;
            self.directory.open_beneath(&EntryPath::parse(name)?)
        };
        let directory = open().map_err(|error| system("making the mount points", error))?;
        let describe = |place: &EntryPath, directory: &Dir| {
            let (options, shown) = (self.options, self.shown);
            self.inside.describe(place, directory, options, shown)
        };
        mountpoints::make(&directory, &lacking, describe)?;
        Ok(true)
    }

    /// The mounts on `/`, which the runtime makes first.
    fn overlay(&self, stack: &Stack) -> Result<Vec<Value>> {
        let (tmpfs, upper) = match self.wanted.upper {
            Upper::Tmpfs { size } => {
                let upper = self.in_memory()?;
                (Some(config::tmpfs(size.as_deref())), upper)
            }
            upper => (None, upper.clone()),
        };
        let mount = self.words(stack, "/".into(), &upper).entry()?;
        Ok(tmpfs.into_iter().chain([mount]).collect())
    }

    fn words<'w>(&'w self, stack: &'w Stack, target: PathBuf, upper: &'w Upper) -> Words<'w> {
        Words {
            stack,
            target,
            upper,
            options: MountOptions::NONE,
            store: self.store,
        }
    }

    /// Makes the directories for changes in memory: with `tmpcopyup`, the runtime copies them onto the
    /// tmpfs.
    fn in_memory(&self) -> Result<Upper> {
        let doing = |error| system("making the directories for changes", error);
        let rootfs = EntryPath::parse(ROOTFS.as_bytes())?;
        let rootfs = self.directory.open_beneath(&rootfs).map_err(doing)?;
        for name in ["upper", "work"] {
            rootfs.make_dir(name.as_bytes()).map_err(doing)?;
        }
        let upper = rootfs.open_beneath(&EntryPath::parse(b"upper")?);
        self.inside.describe(
            &EntryPath::root(),
            &upper.map_err(doing)?,
            self.options,
            self.shown,
        )?;
        let inside = self.path.join(ROOTFS);
        Ok(Upper::Directories {
            upperdir: inside.join("upper"),
            workdir: inside.join("work"),
        })
    }

    fn write_config(&self, config: &Value) -> Result<()> {
        let write = || -> std::io::Result<()> {
            let mut file = self.directory.make_file(b"config.json")?;
            file.write_all(&canonical::pretty(config)?)
        };
        write().map_err(|error| system("writing config.json", error))
    }
}

/// An entry of `mounts`.
fn mount_of(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": kind, "source": source, "options": options })
}
