//! Real images, made by others: what is mounted equals what `apply.py` says, path by path.
//!
//! `apply.py` is a model of its own: python, in memory, nothing of the product. Each image is
//! unpacked twice, by one thread and by four, into two stores; both mounts are compared with the
//! model, and the layer directories of the two with each other. The images are not part of the
//! project: LOWERDIR_IMAGES names their directory, and where there is none the tests are skipped.

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use support::program;
use tempfile::TempDir;

/// Makes one test for each image, and the list of them.
macro_rules! images {
    ($($test:ident: $file:literal as $transport:literal;)*) => {
        const IMAGES: &[&str] = &[$($file),*];
        $(
            #[test]
            fn $test() {
                if let Some(folder) = folder() {
                    let image = folder.join($file);
                    let explicit = format!("{}:{}", $transport, image.display());
                    mounts_as_the_model_says(&image, None, &image.display().to_string(), &explicit);
                }
            }
        )*
    };
}

images! {
    gzip_around_an_old_docker_archive_is_read: "alpine-311.tar.gz" as "docker-archive";
    image_without_layers_mounts_as_an_empty_root: "cl-buildkit-docker.tar" as "docker-archive";
    deletions_in_fourteen_layers_are_applied: "dive-test-docker-image.tar" as "docker-archive";
    oci_archive_with_an_estargz_layer_is_read: "dive-test-oci-estargz-image.tar" as "oci-archive";
    oci_archive_with_a_gzip_layer_is_read: "dive-test-oci-gzip-image.tar" as "oci-archive";
    oci_archive_with_a_plain_layer_is_read: "dive-test-oci-uncompressed-image.tar" as "oci-archive";
    // Its `index.json` lists nothing: the image is in `manifest.json` alone.
    archive_with_both_layouts_is_read: "ggcr-hello-world-v25.tar" as "docker-archive";
    whiteouts_across_layers_are_applied: "ggcr-whiteout_image.tar" as "docker-archive";
}

const TWO_IMAGES: &str = "cl-docker-two-images.tar.xz";
const TWO_NAMES: [&str; 2] = [
    "example.com/empty:latest",
    "example.com/empty/but:different",
];
const BARE_LAYER: &str = "nydus-all-entry-type.tar";

#[test]
fn every_image_in_the_folder_has_a_test() {
    let Some(folder) = folder() else { return };
    let there: BTreeSet<String> = fs::read_dir(folder)
        .expect("the folder of images")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| name.contains(".tar"))
        .collect();
    let tested = IMAGES.iter().chain(&[TWO_IMAGES, BARE_LAYER]);
    let tested: BTreeSet<String> = tested.map(|name| (*name).to_owned()).collect();
    assert_eq!(there, tested);
}

#[test]
fn archive_of_two_images_is_refused_without_a_name_and_the_names_are_listed() {
    let Some(folder) = folder() else { return };
    let stores = Stores::new();
    let image = format!("docker-archive:{}", folder.join(TWO_IMAGES).display());
    let output = lowerdir(&[
        "--store",
        &stores.path("one"),
        "unpack",
        "--sync=none",
        &image,
    ]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(1 | 3)), "{output:?}");
    for name in TWO_NAMES {
        assert!(stderr.contains(name), "{name} is not in: {stderr}");
    }
}

#[test]
fn archive_of_two_images_gives_each_by_its_name() {
    let Some(folder) = folder() else { return };
    let archive = folder.join(TWO_IMAGES);
    for name in TWO_NAMES {
        let image = format!("docker-archive:{}:{name}", archive.display());
        mounts_as_the_model_says(&archive, Some(name), &image, &image);
    }
}

#[test]
fn bare_layer_mounts_as_the_model_says() {
    let Some(folder) = folder() else { return };
    let (blob, site) = (folder.join(BARE_LAYER), Stores::new());
    let blob = blob.to_str().expect("UTF-8");
    let model = apply(&["--layer", blob]);
    let empty = site.path("empty");
    fs::create_dir(&empty).expect("an empty directory");
    for (name, jobs) in [("one", "-j1"), ("four", "-j4")] {
        let directory = site.path(name);
        done(lowerdir(&[
            jobs,
            "unpack-layer",
            "--base",
            blob,
            &directory,
        ]));
        let view = Mounted(site.target());
        let options = CString::new(format!("lowerdir={directory}:{empty}")).expect("no NUL");
        mount("overlay", &view.0, "overlay", MountFlags::RDONLY, &*options)
            .expect("mounting the layer over an empty directory");
        same(
            &walk(&view.0),
            &model,
            &format!("the mount of {jobs} and the model"),
        );
    }
    let raw = ["one", "four"].map(|name| walk(Path::new(&site.path(name))));
    same(&raw[0], &raw[1], "the layer directories of -j1 and -j4");
}

/// Unpacks and mounts an image twice, under two spellings of its name, and compares it all.
fn mounts_as_the_model_says(file: &Path, reference: Option<&str>, bare: &str, explicit: &str) {
    let stores = Stores::new();
    let file = file.to_str().expect("UTF-8");
    let arguments: Vec<&str> = [file].into_iter().chain(reference).collect();
    let model = apply(&arguments);
    let mut raw = Vec::new();
    for (name, jobs, image) in [("one", "-j1", bare), ("four", "-j4", explicit)] {
        let store = stores.path(name);
        let layers = done(lowerdir(&[
            "--store",
            &store,
            jobs,
            "unpack",
            "--sync=none",
            image,
        ]));
        let layers: Vec<String> = layers.lines().map(|layer| walk(Path::new(layer))).collect();
        raw.push(layers);
        let view = listing_of_mount(&stores, &store, image);
        same(&view, &model, &format!("the mount of {jobs} and the model"));
    }
    let (one, four) = (&raw[0], &raw[1]);
    assert_eq!(one.len(), four.len(), "the number of layers of -j1 and -j4");
    for (number, (one, four)) in one.iter().zip(four).enumerate() {
        same(
            one,
            four,
            &format!("layer directory {number} from the top of -j1 and -j4"),
        );
    }
}

fn listing_of_mount(stores: &Stores, store: &str, image: &str) -> String {
    let view = Mounted(stores.target());
    let target = view.0.to_str().expect("UTF-8");
    done(lowerdir(&["--store", store, "mount", image, target]));
    let listing = walk(&view.0);
    done(lowerdir(&["umount", target]));
    let left = fs::read_dir(&view.0).expect("the mount point").count();
    assert_eq!(left, 0, "umount leaves an empty mount point");
    listing
}

/// Two stores and mount points in one temporary directory.
struct Stores(TempDir);

impl Stores {
    fn new() -> Stores {
        Stores(tempfile::tempdir().expect("a temporary directory"))
    }

    fn path(&self, name: &str) -> String {
        let path = self.0.path().join(name);
        path.to_str().expect("UTF-8").to_owned()
    }

    fn target(&self) -> PathBuf {
        let target = tempfile::tempdir_in(self.0.path()).expect("a mount point");
        target.keep()
    }
}

/// A mount point that is not left mounted when a test fails.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// Where the images are, or why the test is skipped.
///
/// A public clone has none of them, so that STRICT=1 alone does not make this an error; CI, which
/// sets CI=true, is expected to have fetched them.
fn folder() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/images");
    let folder = std::env::var_os("LOWERDIR_IMAGES").map_or(beside, PathBuf::from);
    let is = |name: &str, value: &str| std::env::var_os(name).is_some_and(|is| is == value);
    if !folder.is_dir() {
        let message = format!(
            "skipped: no images in {} (they are not part of a public clone; LOWERDIR_IMAGES names \
             another directory)",
            folder.display()
        );
        assert!(!(is("STRICT", "1") && is("CI", "true")), "{message}");
        eprintln!("{message}");
        return None;
    }
    if Command::new("python3").arg("--version").output().is_err() {
        let message = "skipped: the model needs python3";
        assert!(!is("STRICT", "1"), "{message}");
        eprintln!("{message}");
        return None;
    }
    Some(folder)
}

fn lowerdir(arguments: &[&str]) -> Output {
    let mut command = program::lowerdir();
    command.args(arguments).output().expect("running lowerdir")
}

fn walk(directory: &Path) -> String {
    apply(&[OsStr::new("--walk"), directory.as_os_str()])
}

fn apply(arguments: &[impl AsRef<OsStr>]) -> String {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/apply.py");
    let mut command = Command::new("python3");
    done(
        command
            .arg(program)
            .args(arguments)
            .output()
            .expect("running python3"),
    )
}

/// The standard output of what must have worked.
fn done(output: Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stderr}", output.status);
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Compares two listings and shows the lines that only one of them has.
fn same(left: &str, right: &str, what: &str) {
    let (l, r): (BTreeSet<&str>, BTreeSet<&str>) =
        (left.lines().collect(), right.lines().collect());
    let gone = r.difference(&l).map(|line| format!("\n- {line}"));
    let extra = l.difference(&r).map(|line| format!("\n+ {line}"));
    let differences: Vec<String> = gone.chain(extra).take(20).collect();
    assert!(left == right, "{what} differ:{}", differences.concat());
}
