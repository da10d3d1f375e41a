//! The property that the product is for: a mounted stack is the image, whatever the image.
//!
//! LOWERDIR_STACKS says how many random images (2000), LOWERDIR_SEED=N replays one. A failure is
//! shrunk, and shown as the entries of its layers and the paths that differ.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use crate::generate::{Flavour, Stack};
use crate::model::Listing;
use crate::oci::{chain_ids, diff_ids, write_layout};
use crate::scratch::{self, Mounted, Run, Scratch};
use crate::walk::Walk;

/// What is wrong, if something is.
pub type Verdict = Result<(), String>;

/// What one test does with one image in a directory of its own.
pub trait Check: Fn(&Path, &Stack) -> Verdict + Sync {}
impl<F: Fn(&Path, &Stack) -> Verdict + Sync> Check for F {}

#[test]
fn mounted_stack_equals_sequential_application() {
    for_each_stack(stacks(), Flavour::ALL.labelled(), |site, stack| {
        let image = Image::write(site, stack);
        let run = image.unpack("store", stack.jobs, &[]);
        match stack.expected() {
            Ok(tree) => {
                run.done()?;
                image.mounted_is("store", &tree)
            }
            Err((layer, _)) => image.refused_leaves_nothing("store", &run, layer),
        }
    });
}

#[test]
fn layers_unpacked_one_by_one_equal_the_image_unpacked_at_once() {
    for_each_stack(stacks() / 4, Flavour::ALL.labelled(), |site, stack| {
        let image = Image::write(site, stack);
        let expected = stack.expected();
        let accepted = expected
            .as_ref()
            .map_or_else(|refused| refused.0, |_| stack.layers.len());
        let mut layers: Vec<PathBuf> = Vec::new();
        for number in 0..accepted {
            let directory = site.join(format!("layer {number}"));
            image.unpack_layer(number, &directory, &layers).done()?;
            layers.insert(0, directory);
        }
        let Ok(tree) = expected else {
            let directory = site.join("refused");
            let run = image.unpack_layer(accepted, &directory, &layers);
            return refused(&run, &directory);
        };
        let at_once = image.unpack("store", stack.jobs, &[]).done()?;
        same_directories(&layers, &at_once)?;
        let mounted = Mounted::stack(&layers, false, site).map_err(|error| error.to_string())?;
        image.shows(&mounted, &tree)
    });
}

#[test]
fn layer_directories_do_not_depend_on_threads_or_runs() {
    for_each_stack(stacks() / 4, Flavour::ALL.labelled(), |site, stack| {
        let image = Image::write(site, stack);
        if stack.expected().is_err() {
            return Ok(());
        }
        let first = image.unpack("first", 1, &[]).done()?;
        same_directories(&image.unpack("second", 1, &[]).done()?, &first)?;
        same_directories(&image.unpack("third", 4, &[]).done()?, &first)
    });
}

#[test]
fn every_dialect_mounts_as_the_same_tree() {
    for_each_stack(stacks() / 4, Flavour::ALL.labelled(), |site, stack| {
        let image = Image::write(site, stack);
        let Ok(tree) = stack.expected() else {
            return Ok(());
        };
        for (store, options) in [
            ("user", &["--userxattr"][..]),
            ("xattr", &["--whiteout=xattr"]),
            ("both", &["--userxattr", "--whiteout=xattr"]),
        ] {
            let layers = image.unpack(store, stack.jobs, options).done()?;
            let userxattr = options.contains(&"--userxattr");
            let mounted = Mounted::stack(&layers, userxattr, site);
            let mounted = mounted.map_err(|error| error.to_string())?;
            let verdict = image.shows(&mounted, &tree);
            let verdict = verdict.and_then(|()| image.mounted_is(store, &tree));
            verdict.map_err(|what| format!("{options:?}: {what}"))?;
        }
        Ok(())
    });
}

/// An image on disk.
pub struct Image<'a> {
    site: &'a Path,
    layout: PathBuf,
    chain_ids: Vec<String>,
    /// How it is to be read.
    options: &'static [&'static str],
    /// What may be looked up anywhere.
    names: BTreeSet<Vec<u8>>,
}

impl Image<'_> {
    pub fn write<'a>(site: &'a Path, stack: &'a Stack) -> Image<'a> {
        let (layout, tars) = (site.join("image"), stack.tars());
        write_layout(&layout, "it", &tars);
        for (number, (tar, compression)) in tars.iter().enumerate() {
            let blob = site.join(format!("blob {number}"));
            fs::write(blob, compression.compress(tar)).expect("a blob");
        }
        Image {
            site,
            layout,
            options: stack.options(),
            chain_ids: chain_ids(&diff_ids(tars.iter().map(|(tar, _)| tar))),
            names: names(stack),
        }
    }

    /// What every verb that reads it has to be given.
    pub fn options(&self) -> &'static [&'static str] {
        self.options
    }

    /// As umoci and the product name it.
    pub fn reference(&self, transport: &str) -> String {
        format!("{transport}{}:it", self.layout.display())
    }

    pub fn unpack(&self, store: &str, jobs: usize, options: &[&str]) -> Run {
        let (store, jobs) = (self.site.join(store), jobs.to_string());
        let image = self.reference("oci:");
        let verb = ["--store".as_ref(), store.as_os_str(), "unpack".as_ref()];
        let fixed = ["-j", &jobs, "--sync=none", &image].map(OsStr::new);
        let options = self.options.iter().chain(options).map(OsStr::new);
        let arguments: Vec<&OsStr> = verb.into_iter().chain(fixed).chain(options).collect();
        scratch::lowerdir(&arguments, None)
    }

    /// Every other layer comes from the standard input.
    fn unpack_layer(&self, number: usize, directory: &Path, parents: &[PathBuf]) -> Run {
        let blob = self.site.join(format!("blob {number}"));
        let stdin = (number % 2 == 1).then_some(blob.as_path());
        let source = stdin.map_or(blob.as_os_str(), |_| OsStr::new("-"));
        let mut arguments = vec!["unpack-layer".as_ref(), source, directory.as_os_str()];
        arguments.push("--sync=none".as_ref());
        arguments.extend(self.options.iter().map(OsStr::new));
        match parents {
            [] => arguments.push("--base".as_ref()),
            _ => arguments.extend(
                parents
                    .iter()
                    .flat_map(|parent| [OsStr::new("--lower"), parent.as_os_str()]),
            ),
        }
        scratch::lowerdir(&arguments, stdin)
    }

    /// Mounts an unpacked image by the product, looks at it, and takes it down.
    pub fn mounted_is(&self, store: &str, tree: &Listing) -> Verdict {
        let (store, image) = (self.site.join(store), self.reference("oci:"));
        let mounted = Mounted::nothing(self.site);
        let target = mounted.0.as_os_str();
        let verb = ["--store".as_ref(), store.as_os_str(), "mount".as_ref()];
        scratch::lowerdir(&[&verb[..], &[image.as_ref(), target]].concat(), None).done()?;
        self.shows(&mounted, tree)?;
        umount(target)?;
        match is_empty(&mounted.0) {
            true => Ok(()),
            false => Err("umount leaves something mounted".to_owned()),
        }
    }

    /// Whether a mount is the tree.
    pub fn shows(&self, mounted: &Mounted, tree: &Listing) -> Verdict {
        Walk::new(&mounted.0, &self.names).compare("the mount", "the model", tree)
    }

    /// What is right once a layer was refused: nothing half done, and nothing of it or above.
    fn refused_leaves_nothing(&self, store: &str, run: &Run, layer: usize) -> Verdict {
        let store = self.site.join(store);
        refused(run, &store.join("staging"))?;
        let mut kept = Vec::new();
        for chain_id in &self.chain_ids[layer..] {
            let directory = store.join("layers").join(chain_id.replace(':', "/"));
            kept.extend(directory.exists().then_some(directory));
        }
        match kept.is_empty() {
            true => Ok(()),
            false => Err(run.complaint(&format!("layers of a refused image: {kept:?}"))),
        }
    }
}

/// A process that another test is just starting holds all descriptors of this one until its
/// `execve`, those in the mount among them: the mount may be busy for a moment.
fn umount(target: &OsStr) -> Verdict {
    let mut run = scratch::lowerdir(&["umount".as_ref(), target], None);
    for _ in 0..100 {
        if !run.complaint("").contains("busy") {
            break;
        }
        thread::sleep(Duration::from_millis(10));
        run = scratch::lowerdir(&["umount".as_ref(), target], None);
    }
    run.done().map(drop)
}

/// Runs a check for many images on all cores; a failure is shrunk and told in full.
pub fn for_each_stack(count: u64, flavour: Flavour, check: impl Check) {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let seeds = number_from("LOWERDIR_SEED").map_or(0..count, |seed| seed..seed + 1);
    eprintln!("{} random stacks", seeds.end - seeds.start);
    let (seeds, failure) = (Mutex::new(seeds), Mutex::new(None));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(seed) = next(&seeds) {
                    let stack = Stack::generate(seed, flavour);
                    if let Err(verdict) = judge(&scratch, &stack, &check) {
                        // One failure is enough.
                        *seeds.lock().expect("no check holds it") = 0..0;
                        let found = Some((seed, stack, verdict));
                        *failure.lock().expect("no check holds it") = found;
                    }
                }
            });
        }
    });
    let failure = failure.into_inner().expect("the threads are done");
    if let Some((seed, stack, verdict)) = failure {
        fail(&scratch, seed, stack, &verdict, check);
    }
}

/// The lock is held no longer than it takes to get a seed.
fn next(seeds: &Mutex<std::ops::Range<u64>>) -> Option<u64> {
    seeds.lock().expect("no check holds it").next()
}

fn fail(scratch: &Scratch, seed: u64, stack: Stack, first: &str, check: impl Check) -> ! {
    eprintln!("LOWERDIR_SEED={seed} fails; shrinking it\n{first}");
    let stack = stack.shrink(|smaller| judge(scratch, smaller, &check).is_err());
    let verdict = judge(scratch, &stack, &check);
    let verdict = verdict
        .err()
        .unwrap_or_else(|| "it works now and then".to_owned());
    panic!("LOWERDIR_SEED={seed}\n{stack}\n{verdict}");
}

fn judge(scratch: &Scratch, stack: &Stack, check: &impl Check) -> Verdict {
    let site = scratch.site();
    // A panic is no reason to leave the seed untold.
    let verdict = catch_unwind(AssertUnwindSafe(|| check(site.path(), stack)));
    verdict.unwrap_or_else(|_| Err("the test panicked".to_owned()))
}

fn refused(run: &Run, must_be_empty: &Path) -> Verdict {
    if !matches!(run.status, 3 | 4) {
        return Err(run.complaint("the model refuses it"));
    }
    match is_empty(must_be_empty) {
        true => Ok(()),
        false => Err(run.complaint(&format!("{} is not empty", must_be_empty.display()))),
    }
}

/// Whether nothing is there, or a directory with nothing in it.
fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).map_or(true, |mut entries| entries.next().is_none())
}

/// Layer directories as they are on disk, marks and all, topmost first.
fn same_directories(these: &[PathBuf], those: &[PathBuf]) -> Verdict {
    if these.len() != those.len() {
        return Err(format!("{} layers are not {}", these.len(), those.len()));
    }
    for (this, that) in these.iter().zip(those) {
        let [walk, other] = [this, that].map(|path| Walk::new(path, &BTreeSet::new()));
        let (this, that) = (this.display().to_string(), that.display().to_string());
        walk.compare(&this, &that, &other.listing)?;
    }
    Ok(())
}

/// Every component that the stack spells, and what its whiteouts name.
fn names(stack: &Stack) -> BTreeSet<Vec<u8>> {
    let entries = stack.layers.iter().flatten();
    let components = entries.flat_map(|entry| entry.name.split(|&byte| byte == b'/'));
    components
        .flat_map(|name| [name, name.strip_prefix(b".wh.").unwrap_or(name)])
        .filter(|name| !matches!(*name, b"" | b"." | b"..") && name.len() <= 255)
        .map(<[u8]>::to_vec)
        .collect()
}

/// How many random images a test is to try.
pub fn stacks() -> u64 {
    number_from("LOWERDIR_STACKS").unwrap_or(2000)
}

fn number_from(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{variable} is no number")),
    )
}
