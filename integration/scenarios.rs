//! After the mount: what a container does to an overlay mount of our layers ends as on a plain copy
//! of the tree, call by call with the same error, and shows the same tree then and when it is mounted
//! again; in each dialect. Where the kernel's overlayfs does otherwise, [`EXCEPTIONS`] says so.

mod calls;
mod table;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::mount::mount_bind;

use crate::generate::Flavour;
use crate::model::Listing;
use crate::oci::{Compression, write_layout};
use crate::packing::changes::change;
use crate::packing::mount;
use crate::property::{Image, Verdict, for_each_stack, stacks};
use crate::scratch::{self, Mounted, Scratch};
use crate::walk::Walk;

use table::{EXCEPTIONS, SCENARIOS, STACKS};

/// How marks are spelled, and what a mount with them may be told.
struct Dialect {
    name: &'static str,
    unpack: &'static [&'static str],
    mount: &'static [(&'static str, &'static str)],
}

/// Without the features by which overlayfs would come nearer to a plain file system: they are off by
/// default, and a mount with `userxattr` has none but the index.
const DIALECTS: [Dialect; 4] = [
    Dialect {
        name: "trusted",
        unpack: &[],
        mount: &[
            ("redirect_dir", "off"),
            ("index", "off"),
            ("metacopy", "off"),
        ],
    },
    Dialect {
        name: "trusted-xattr",
        unpack: &["--whiteout=xattr"],
        mount: &[
            ("redirect_dir", "off"),
            ("index", "off"),
            ("metacopy", "off"),
        ],
    },
    Dialect {
        name: "user",
        unpack: &["--userxattr"],
        mount: &[("userxattr", ""), ("index", "off")],
    },
    Dialect {
        name: "user-xattr",
        unpack: &["--userxattr", "--whiteout=xattr"],
        mount: &[("userxattr", ""), ("index", "off")],
    },
];

/// What was done, call by call, and what is there then.
struct Outcome {
    log: Vec<String>,
    trees: Vec<Walk>,
}

#[test]
fn a_mount_is_written_to_as_a_plain_copy_is() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    table::assert_is_whole();
    for (stack, layers) in STACKS {
        let site = scratch.site();
        let tars: Vec<(Vec<u8>, Compression)> = layers()
            .into_iter()
            .map(|layer| (layer.finish(), Compression::Plain))
            .collect();
        write_layout(&site.path().join("image"), "it", &tars);
        let image = format!("oci:{}:it", site.path().join("image").display());
        let cases: Vec<(&Dialect, Vec<PathBuf>)> = DIALECTS
            .iter()
            .map(|dialect| (dialect, unpacked(site.path(), &image, dialect)))
            .collect();
        let (next, faults) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(|| {
                    while let Some(scenario) = SCENARIOS.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let found = try_scenario(site.path(), &image, &cases, stack, scenario);
                        faults.lock().expect("nothing panics with it").extend(found);
                    }
                });
            }
        });
        let faults = faults.into_inner().expect("nothing panics with it");
        assert!(faults.is_empty(), "{stack}: {}", faults.join("\n"));
    }
}

fn unpacked(site: &Path, image: &str, dialect: &Dialect) -> Vec<PathBuf> {
    let store = site.join(dialect.name).display().to_string();
    let fixed = ["--store", &store, "unpack", "--sync=none", image];
    let arguments = [&fixed, dialect.unpack].concat();
    let arguments: Vec<_> = arguments.iter().map(std::ffi::OsStr::new).collect();
    scratch::lowerdir(&arguments, None)
        .done()
        .expect("a good image")
}

/// What is wrong with one scenario, in all dialects.
fn try_scenario(
    site: &Path,
    image: &str,
    cases: &[(&Dialect, Vec<PathBuf>)],
    stack: &str,
    (name, steps): &(&'static str, &'static str),
) -> Vec<String> {
    let place = tempfile::tempdir_in(site).expect("a directory");
    let plain = match on_a_copy(place.path(), image, steps) {
        Ok(outcome) => outcome,
        Err(what) => return vec![format!("{name}: {what}")],
    };
    let mut faults = Vec::new();
    for (dialect, layers) in cases {
        let place = tempfile::tempdir_in(site).expect("a directory");
        let verdict = on_a_mount(place.path(), layers, dialect, steps)
            .and_then(|mounted| compare(stack, name, dialect.name, &mounted, &plain));
        if let Err(what) = verdict {
            faults.push(format!("{name}, {}: {what}", dialect.name));
        }
    }
    faults
}

fn on_a_copy(place: &Path, image: &str, steps: &str) -> Result<Outcome, String> {
    let copy = place.join("copy");
    let shown = copy.display().to_string();
    let arguments = ["flatten", image, &shown, "--sync=none"].map(std::ffi::OsStr::new);
    scratch::lowerdir(&arguments, None).done()?;
    let start = now();
    let log = calls::all(&copy, steps);
    let mut outcome = Outcome {
        log,
        trees: vec![look(&copy)],
    };
    outcome.forget_times(start);
    Ok(outcome)
}

/// The tree is looked at twice: as the mount shows it, and as a later one does.
fn on_a_mount(
    place: &Path,
    layers: &[PathBuf],
    dialect: &Dialect,
    steps: &str,
) -> Result<Outcome, String> {
    let [upper, work] = ["upper", "work"].map(|name| place.join(name));
    for directory in [&upper, &work] {
        fs::create_dir(directory).expect("a directory");
    }
    copy_root(layers, &upper)?;
    let start = now();
    let mounted = || mounted(place, layers, &upper, &work, dialect.mount);
    let (log, first) = {
        let root = mounted()?;
        (calls::all(&root.0, steps), look(&root.0))
    };
    let again = mounted()?;
    let mut outcome = Outcome {
        log,
        trees: vec![first, look(&again.0)],
    };
    outcome.forget_times(start);
    Ok(outcome)
}

/// A process that another test is just starting keeps a mount that was there before for a moment;
/// with an index its upperdir can have no other one.
fn mounted(
    place: &Path,
    layers: &[PathBuf],
    upper: &Path,
    work: &Path,
    options: &[(&str, &str)],
) -> Result<Mounted, String> {
    let mut found = mount(place, layers, upper, work, options);
    for _ in 0..100 {
        match &found {
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {}
            _ => break,
        }
        thread::sleep(Duration::from_millis(10));
        found = mount(place, layers, upper, work, options);
    }
    found.map_err(|error| format!("mounting: {error}"))
}

/// The root of an upperdir is the root of the mount: it gets all that the image's root has.
fn copy_root(layers: &[PathBuf], upper: &Path) -> Result<(), String> {
    let top = layers.first().ok_or("no layers")?;
    let copy = || -> std::io::Result<()> {
        let found = fs::metadata(top)?;
        chown(upper, Some(found.uid()), Some(found.gid()))?;
        fs::set_permissions(upper, found.permissions())?;
        for name in xattr::list(top)? {
            let is_copied = !is_overlays(name.as_bytes());
            let value = xattr::get(top, &name)?.filter(|_| is_copied);
            if let Some(value) = value {
                xattr::set(upper, &name, &value)?;
            }
        }
        let times = fs::FileTimes::new().set_modified(found.modified()?);
        fs::File::open(upper)?.set_times(times)
    };
    copy().map_err(|error| format!("the root of the upperdir: {error}"))
}

fn is_overlays(name: &[u8]) -> bool {
    [&b"trusted.overlay."[..], b"user.overlay."]
        .iter()
        .any(|start| name.starts_with(start))
}

fn look(root: &Path) -> Walk {
    Walk::new(root, &BTreeSet::new())
}

/// In nanoseconds; tests write times of long ago.
fn now() -> i128 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    // The clock that file systems use is up to a tick behind.
    now.expect("after 1970").as_nanos() as i128 - 100_000_000
}

impl Outcome {
    /// When it was changed counts no more than that it was.
    fn forget_times(&mut self, start: i128) {
        for tree in &mut self.trees {
            for item in tree.listing.values_mut() {
                if item.mtime >= start {
                    item.mtime = i128::MAX;
                }
            }
        }
    }

    fn tree(&self) -> &Listing {
        &self.trees[0].listing
    }
}

fn compare(stack: &str, name: &str, dialect: &str, mounted: &Outcome, plain: &Outcome) -> Verdict {
    let is_meant = |exception: &&table::Exception| {
        exception.scenario == name
            && (exception.stack.is_empty() || exception.stack == stack)
            && (exception.dialects.is_empty() || exception.dialects.contains(&dialect))
    };
    let same = same(mounted, plain);
    match EXCEPTIONS.iter().find(is_meant) {
        None => same,
        Some(_) if same.is_ok() => Err("it is as on a plain copy: take off its exception".into()),
        Some(exception) if exception.call.is_empty() => Ok(()),
        Some(exception) => match mounted.log.iter().any(|call| call == exception.call) {
            true => Ok(()),
            false => Err(format!("not {}: {:?}", exception.call, mounted.log)),
        },
    }
}

fn same(mounted: &Outcome, plain: &Outcome) -> Verdict {
    if mounted.log != plain.log {
        let (here, there) = (&mounted.log, &plain.log);
        return Err(format!("the mount: {here:?}\n  a plain copy: {there:?}"));
    }
    for (tree, what) in mounted.trees.iter().zip(["the mount", "a later mount"]) {
        let compared = tree.compare(what, "a plain copy", plain.tree());
        compared.map_err(|what| format!("{what}\n  {:?}", plain.log))?;
    }
    Ok(())
}

/// Random changes to random images, in the dialect that has no limits: not with xattr whiteouts
/// (rule W8), nor with `userxattr`, which takes no `redirect_dir`. The index keeps hard links over a copy-up, and directories can be
/// renamed: what is left is what a plain copy does too.
#[test]
fn random_changes_to_a_mount_are_those_to_a_plain_copy() {
    const OPTIONS: [(&str, &str); 3] =
        [("redirect_dir", "on"), ("index", "on"), ("metacopy", "off")];
    let flavour = Flavour {
        refused: 0,
        ..Flavour::ALL
    };
    for_each_stack(stacks() / 4, flavour, |site, stack| {
        // What a directory was called before takes at most 256 bytes in the kernel
        // (OVL_REDIRECT_MAX); beyond that it cannot be renamed.
        let mut names = stack.layers.iter().flatten().map(|entry| &entry.name);
        if names.any(|name| name.len() > 60) || stack.expected().is_err() {
            return Ok(());
        }
        let image = Image::write(site, stack);
        let layers = image.unpack("store", stack.jobs, &[]).done()?;
        let seed = stack.layers.iter().flatten().count() as u64 * 31 + stack.jobs as u64;
        let copy = site.join("copy");
        let (reference, shown) = (image.reference("oci:"), copy.display().to_string());
        let flatten = ["flatten", &reference, &shown, "--sync=none"].map(std::ffi::OsStr::new);
        scratch::lowerdir(&flatten, None).done()?;
        let start = now();
        // A mount point cannot be removed, and neither can this one.
        mount_bind(&copy, &copy).map_err(|error| error.to_string())?;
        let copy = Mounted(copy);
        let mut plain = Outcome {
            log: change(&copy.0, seed),
            trees: vec![look(&copy.0)],
        };
        plain.forget_times(start);
        let [upper, work] = ["upper", "work"].map(|name| site.join(name));
        for directory in [&upper, &work] {
            fs::create_dir(directory).expect("a directory");
        }
        copy_root(&layers, &upper)?;
        let mounted = || mounted(site, &layers, &upper, &work, &OPTIONS);
        let (log, first) = {
            let root = mounted()?;
            (change(&root.0, seed), look(&root.0))
        };
        let again = mounted()?;
        let mut outcome = Outcome {
            log,
            trees: vec![first, look(&again.0)],
        };
        outcome.forget_times(start);
        // Its own overlay xattrs are not copied to the upperdir.
        for tree in outcome.trees.iter_mut().chain(&mut plain.trees) {
            let root = tree.listing.get_mut(&b""[..]).expect("it has a root");
            root.xattrs.retain(|name, _| !is_overlays(name));
        }
        same(&outcome, &plain)
    });
}
