//! The house keeps its order: who may import whom, how a module opens, what is forbidden.

support::start!();

mod functions;
mod package;
mod rules;
mod surface;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every folder and file at the top of the library, from the ground up: each may import only what
/// comes before it. Floor 0 is pure; the tour in `docs/internals.md` says what each is for.
const ORDER: &[(&str, u8)] = &[
    ("setters", 0),
    ("escape", 0),
    ("error", 0),
    ("path", 0),
    ("meta", 0),
    ("ids", 0),
    ("dialect", 0),
    ("digest", 0),
    ("content", 0),
    ("canonical", 0),
    ("limits", 0),
    ("chunk", 0),
    ("threads", 0),
    ("magic", 0),
    ("copy", 0),
    ("tar", 1),
    ("compress", 1),
    ("layer", 0),
    ("progress", 1),
    ("fs", 1),
    ("overlay", 1),
    ("registry", 1),
    ("image", 1),
    ("unpack", 2),
    ("store", 2),
    ("mount", 2),
    ("view", 2),
    ("repack", 2),
    ("engines", 2),
    ("snapshotter", 2),
    ("cli", 3),
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every file of the library with the name of its top module and its text.
fn modules() -> Vec<(String, PathBuf, String)> {
    let mut files = Vec::new();
    rust_files(&source(), &mut files);
    let name = |path: &Path| {
        let first = path.strip_prefix(source()).unwrap().iter().next().unwrap();
        let first = first.to_str().unwrap();
        first.strip_suffix(".rs").unwrap_or(first).to_string()
    };
    files
        .into_iter()
        .map(|path| (name(&path), fs::read_to_string(&path).unwrap(), path))
        .map(|(name, text, path)| (name, path, text))
        .filter(|(name, ..)| !["lib", "main", "bin", "internals"].contains(&name.as_str()))
        .collect()
}

/// The modules of this crate that a text names, in `use` lines and in paths.
fn imports(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            rest[..end.unwrap_or(rest.len())].to_string()
        })
        .collect()
}

#[test]
fn imports_point_only_downwards() {
    let rank = |module: &str| ORDER.iter().position(|(name, _)| *name == module);
    // The command line is at the top: it may import anything, also by the short names of the root.
    for (module, path, text) in modules().into_iter().filter(|(name, ..)| name != "cli") {
        let own = rank(&module).unwrap_or_else(|| panic!("{module} has no place in the house"));
        for import in imports(&text) {
            let other = rank(&import)
                .unwrap_or_else(|| panic!("{} imports crate::{import}", path.display()));
            assert!(
                other <= own,
                "{} imports crate::{import}, which stands above it",
                path.display()
            );
        }
    }
}

#[test]
fn the_guard_sees_an_upward_import() {
    assert_eq!(
        imports("use crate::store::Store;\nfn f() { crate::mount::umount() }\n// crate::no"),
        BTreeSet::from(["mount".to_string(), "store".to_string()])
    );
}

#[test]
fn every_module_of_the_house_is_there() {
    let here: BTreeSet<String> = modules().into_iter().map(|(name, ..)| name).collect();
    let listed = ORDER.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(here, listed);
}

/// The table in `docs/internals.md` that says what each folder holds.
#[test]
fn the_tour_lists_the_folders_in_their_order() {
    let text = fs::read_to_string(source().join("../docs/internals.md")).unwrap();
    let rows = text
        .lines()
        .skip_while(|line| !line.starts_with("|---"))
        .skip(1)
        .map_while(|line| line.strip_prefix("| "));
    let toured: Vec<String> = rows
        .flat_map(|row| row.split(" | ").next().unwrap().split(", "))
        .map(|name| name.trim_matches(['[', ']', '`']).to_string())
        .collect();
    let order: Vec<&str> = ORDER.iter().map(|(name, _)| *name).collect();
    assert_eq!(toured, order);
}

#[test]
fn the_ground_floor_does_no_io() {
    for (module, path, text) in modules() {
        let is_ground = ORDER.contains(&(module.as_str(), 0));
        let does_io = [
            "std::fs",
            "rustix::",
            "nix::mount",
            "xattr::set",
            "std::process",
        ];
        for word in does_io.into_iter().filter(|_| is_ground) {
            assert!(!text.contains(word), "{} names {word}", path.display());
        }
    }
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let mut files = Vec::new();
    for directory in ["src", "tests", "integration"] {
        rust_files(&source().with_file_name(directory), &mut files);
    }
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{}", path.display());
    }
}

/// The roots of all test targets: what cargo finds in `tests/`, and what the manifest names elsewhere.
fn test_targets() -> Vec<PathBuf> {
    let root = source().with_file_name("");
    let folders = fs::read_dir(root.join("tests")).unwrap();
    let found = folders.map(|folder| folder.unwrap().path().join("main.rs"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let named = manifest.split("[[test]]").skip(1).filter_map(|target| {
        let target = target.split("\n[").next().unwrap();
        let path = target.split("path = \"").nth(1)?;
        Some(root.join(path.split('"').next().unwrap()))
    });
    found.filter(|path| path.exists()).chain(named).collect()
}

/// A test that was started by `nohup`, in the background, or with another umask, gives the same result.
#[test]
fn start_is_part_of_every_test_target() {
    let targets = test_targets();
    for path in &targets {
        let text = fs::read_to_string(path).unwrap();
        let has_it = text.contains("\nsupport::start!();\n");
        assert!(has_it, "{} lacks support::start!()", path.display());
    }
    assert!(targets.len() >= 9, "{targets:?}");
}

/// A file that no module names is compiled by nobody, and its tests pass for ever.
#[test]
fn every_test_file_is_part_of_a_target() {
    let mut files = Vec::new();
    for directory in ["src", "tests", "integration"] {
        rust_files(&source().with_file_name(directory), &mut files);
    }
    let roots = [
        "main.rs",
        "lib.rs",
        "demo.rs",
        "micro.rs",
        "phases.rs",
        "documents.rs",
    ];
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let places = text.lines().filter(|line| line.starts_with("#[path"));
        assert_eq!(places.count(), 0, "{} has a #[path]", path.display());
        let name = path.file_name().unwrap().to_str().unwrap();
        let folder = path.parent().unwrap();
        let is_program = folder.ends_with("bin") || folder.ends_with("targets");
        if roots.contains(&name) || is_program {
            continue;
        }
        let declaration = format!("mod {};", name.trim_end_matches(".rs"));
        let parents = roots.map(|root| folder.join(root));
        let is_declared = parents
            .iter()
            .chain([&folder.with_extension("rs")])
            .filter_map(|parent| fs::read_to_string(parent).ok())
            .any(|text| text.contains(&declaration));
        assert!(is_declared, "no module declares {}", path.display());
    }
}

/// One place sets the environment, the locale and the standard input of our programs.
#[test]
fn tests_run_the_programs_by_the_one_runner() {
    let mut files = Vec::new();
    for directory in ["tests", "integration"] {
        rust_files(&source().with_file_name(directory), &mut files);
    }
    let variable = ["CARGO", "BIN", "EXE"].join("_");
    files.retain(|path| fs::read_to_string(path).unwrap().contains(&variable));
    assert_eq!(files.len(), 1, "{files:?}");
    assert!(files[0].ends_with("support/start.rs"), "{files:?}");
}

/// What a test process has ignored or closed, or finds in its environment, when it runs.
#[test]
fn start_leaves_nothing_of_what_was_before() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // The runtime of Rust ignores SIGPIPE, and has children not do so.
    let ignored = u64::from_str_radix(ignored.unwrap().trim(), 16).unwrap();
    let sigpipe = 1 << (13 - 1);
    assert_eq!(ignored & !sigpipe & 0x7fff_ffff, 0, "{ignored:x}");
    assert!(status.contains("Umask:\t0022"), "{status}");
    let stdin = fs::read_link("/proc/self/fd/0").unwrap();
    assert_eq!(stdin, Path::new("/dev/null"));
    for name in [
        "LOWERDIR_STORE",
        "SOURCE_DATE_EPOCH",
        "NO_COLOR",
        "COLUMNS",
        "TERM",
        "LANG",
    ] {
        assert_eq!(std::env::var_os(name), None, "{name}");
    }
    let temporary = std::env::temp_dir();
    assert!(
        temporary.is_absolute() && temporary.is_dir(),
        "{temporary:?}"
    );
}

#[test]
fn nothing_is_unsafe() {
    for file in ["lib.rs", "main.rs", "bin/lowerdir-snapshotter.rs"] {
        let text = fs::read_to_string(source().join(file)).unwrap();
        assert!(text.contains("#![forbid(unsafe_code)]"), "{file}");
    }
}
