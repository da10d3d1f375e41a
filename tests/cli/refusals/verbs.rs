//! Every verb that reads an image or a layer, and where it is run: a new directory with the input,
//! and with destinations that are there already.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::inputs::Input;
use crate::bench::Run;
use crate::layout::Layout;
use crate::touched::snapshot;
use support::program;

/// What a verb reads of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Index, manifest and config.
    Documents,
    /// Those, and every blob to its end.
    Layers,
    /// The blob of the bad layer, without its image.
    Blob,
    /// The documents, and then the layers of the store, which has none.
    Store,
}

pub struct Verb {
    pub name: &'static str,
    pub reads: Reads,
    /// `blob` is the bad layer, `oci:image` its image.
    arguments: &'static [&'static str],
    /// Whether the limits may be given.
    has_limits: bool,
}

impl Verb {
    /// Then it may make the store, whatever comes of it.
    pub fn unpacks(&self) -> bool {
        self.arguments[0] == "unpack"
    }

    /// What it has printed before it comes to the fault.
    pub fn may_have_printed(&self) -> bool {
        self.name == "translate - -"
    }
}

const fn verb(
    name: &'static str,
    reads: Reads,
    arguments: &'static [&'static str],
    has_limits: bool,
) -> Verb {
    Verb {
        name,
        reads,
        arguments,
        has_limits,
    }
}

use Reads::{Blob, Documents, Layers, Store};

const AS_ANYBODY: [&str; 3] = ["--owners=caller", "--userxattr", "--sync=none"];
const IMAGE: &str = "oci:image";

/// `pack`, `convert`, `rm`, `prune`, `umount` and `images` read neither.
pub const ALL: &[Verb] = &[
    verb(
        "unpack",
        Layers,
        &["unpack", IMAGE, AS_ANYBODY[0], AS_ANYBODY[1], AS_ANYBODY[2]],
        true,
    ),
    verb(
        "unpack -j1",
        Layers,
        &[
            "unpack",
            IMAGE,
            "-j1",
            AS_ANYBODY[0],
            AS_ANYBODY[1],
            AS_ANYBODY[2],
        ],
        true,
    ),
    verb("ls", Layers, &["ls", IMAGE], true),
    verb("ls --json", Layers, &["ls", IMAGE, "--json"], true),
    verb("ls PATH", Layers, &["ls", IMAGE, "etc"], true),
    verb("ls --layer", Layers, &["ls", IMAGE, "--layer=2"], true),
    verb("inspect", Layers, &["inspect", IMAGE], true),
    verb(
        "inspect --no-read",
        Documents,
        &["inspect", IMAGE, "--no-read"],
        false,
    ),
    verb("diff", Layers, &["diff", IMAGE, IMAGE], true),
    verb("diff --layer", Layers, &["diff", IMAGE, "--layer=2"], true),
    verb("diff good", Layers, &["diff", "oci:good", IMAGE], true),
    verb(
        "flatten DIR",
        Layers,
        &["flatten", IMAGE, "new", "--owners=caller", "--sync=none"],
        true,
    ),
    verb(
        "flatten EMPTY",
        Layers,
        &["flatten", IMAGE, "empty", "--owners=caller", "--sync=none"],
        true,
    ),
    verb("flatten -", Layers, &["flatten", IMAGE, "-"], true),
    verb(
        "flatten zstd",
        Layers,
        &["flatten", IMAGE, "-", "--compress=zstd"],
        true,
    ),
    verb(
        "flatten oci:",
        Layers,
        &["flatten", IMAGE, "oci:new:flat", "--sync=none"],
        true,
    ),
    verb(
        "flatten oci:good",
        Layers,
        &["flatten", IMAGE, "oci:good:it", "--sync=none"],
        true,
    ),
    verb(
        "export mtree",
        Layers,
        &["export", "--format=mtree", IMAGE],
        true,
    ),
    verb(
        "export composefs-dump",
        Layers,
        &["export", "--format=composefs-dump", IMAGE],
        true,
    ),
    verb(
        "export containers-storage",
        Store,
        &["export", "--format=containers-storage", IMAGE, "new"],
        false,
    ),
    verb(
        "export mstack",
        Store,
        &["export", "--format=mstack", IMAGE, "new.mstack"],
        false,
    ),
    verb("stack", Store, &["stack", IMAGE], false),
    verb("mount", Store, &["mount", IMAGE, "empty"], false),
    verb(
        "mount --print",
        Store,
        &["mount", IMAGE, "empty", "--print=fstab"],
        false,
    ),
    verb("bundle", Store, &["bundle", IMAGE, "new"], false),
    verb("verify", Store, &["verify", IMAGE], false),
    verb(
        "unpack-layer",
        Blob,
        &[
            "unpack-layer",
            "blob",
            "new",
            "--base",
            AS_ANYBODY[0],
            AS_ANYBODY[1],
            AS_ANYBODY[2],
        ],
        true,
    ),
    verb(
        "unpack-layer alone",
        Blob,
        &[
            "unpack-layer",
            "blob",
            "new",
            AS_ANYBODY[0],
            AS_ANYBODY[1],
            AS_ANYBODY[2],
        ],
        true,
    ),
    verb(
        "unpack-layer -",
        Blob,
        &[
            "unpack-layer",
            "-",
            "empty",
            "--parent=empty2",
            AS_ANYBODY[0],
            AS_ANYBODY[1],
            AS_ANYBODY[2],
        ],
        true,
    ),
    verb("translate", Blob, &["translate", "blob", "new"], true),
    verb("translate - -", Blob, &["translate"], true),
    verb("translate OLD", Blob, &["translate", "blob", "old"], true),
    verb(
        "translate --whiteout",
        Blob,
        &[
            "translate",
            "--whiteout=xattr",
            "--userxattr",
            "blob",
            "new",
        ],
        true,
    ),
];

/// A directory with an input.
pub struct Site(TempDir);

impl Site {
    pub fn new(input: &Input) -> Site {
        let site = Site(TempDir::new().expect("a temporary directory"));
        input.write(&Layout::new(site.path("image")));
        fs::write(site.path("blob"), &input.blob).expect("a blob");
        let good = Layout::new(site.path("good"));
        good.image(&good.manifest(&[super::inputs::base()]));
        for name in ["empty", "empty2", "tmp"] {
            fs::create_dir(site.path(name)).expect("a directory");
        }
        fs::write(site.path("old"), "not to be lost").expect("a file");
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn temporary(&self) -> PathBuf {
        self.path("tmp")
    }

    pub fn run(&self, verb: &Verb, options: &[&str]) -> Run {
        let mut command = program::lowerdir();
        command
            .args(["--store", "store"])
            .args(verb.arguments)
            .args(options.iter().filter(|_| verb.has_limits))
            .current_dir(self.0.path())
            .env("TMPDIR", self.temporary())
            .stdin(fs::File::open(self.path("blob")).expect("a file"));
        Run::of(&mut command)
    }

    /// All that is there beside the store, which has a look of its own.
    pub fn look(&self) -> BTreeMap<PathBuf, (u32, i64, i64, u64)> {
        let mut found = snapshot(self.0.path());
        let store = self.path("store");
        found.retain(|path, _| !path.starts_with(&store));
        found
    }

    pub fn has_store(&self) -> bool {
        self.path("store").exists()
    }

    /// No image, nothing half done, and at most the good layer.
    pub fn store_has_nothing_bad(&self) -> Result<(), String> {
        let store = self.path("store");
        for (directory, most) in [("images", 0), ("staging", 0), ("layers/sha256", 1)] {
            let count = count(&store.join(directory));
            if count > most {
                return Err(format!("the store has {count} in {directory}"));
            }
        }
        Ok(())
    }
}

fn count(directory: &Path) -> usize {
    fs::read_dir(directory).map_or(0, Iterator::count)
}
