//! The public API is what it is meant to be: a list of names, and no type of a dependency.
//!
//! `make check` sees to the rest: with rustc's lint `unnameable_types`, every type of a public
//! signature is in this list.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::{rust_files, source};

/// Each public module, with its names. Whoever adds one promises to keep it.
const SURFACE: &str = "
lowerdir: Advice Blob Digest Error Hint Image Kind Limits Options Owners Parents Platform Progress Reference Result Run \
Silent Stack Store Sync Unpack UnpackLayer unpack_layer
engines:
engines::bundle: Bundle Overlay ROOTFS SCRIPT BundleOptions write
engines::export: Format export write_mstack
engines::export::containers_storage: Added Adding ImageName Link add
guide:
ids: IdMap IdMaps Range
image: Access Algorithm Blob BlobReader Choice Documents Expected Image Layer LayerBlob Measured Platform Reference \
Transport
meta: Device Meta Time Xattr
mount: Method MountBuilder MountOption MountOptions SOURCE Upper UserNamespace hold_user_namespace umount
options: DeviceZero Dialect ForeignXattrs Namespace Options OverlayXattrs Owners Whiteout
path: EntryPath display from_display
repack: Compression
repack::convert: Conversion Form ConvertOptions ConvertReport Tell convert
repack::layout: BlobWriter Copied History Layout NewLayer
repack::pack: Ids PackOptions pack
repack::read_back: read_back
repack::translate: TranslateOptions to_oci to_overlay
report: Occurrences Report Warning
rules:
snapshotter: Code Config Failure SnapshotKind Labels Log Mount Result Snapshot Snapshotter Usage
snapshotter::server: Socket serve
store: Discrepancy StoreLock ImageRecord Pin Record Removal Removing Store StoredLayer Sync Unpacked Verifier prune \
remove_image repair
tour:
view: Applied Body Change Extent FileShape Id ImageInode Item Name Part Side Source Stored ImageTree View Walk What compare
view::flatten: Edits RootMeta map_ids write_archive write_directory
";

type Surface = BTreeMap<String, BTreeSet<String>>;

/// What follows `pub` on lines without an indent, which is where this crate declares its items.
fn public_items(text: &str) -> Vec<(bool, String)> {
    let mut items = Vec::new();
    let mut is_hidden = false;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("#[doc(hidden)]") {
            is_hidden = true;
        }
        if line.starts_with('#') || line.starts_with("//") {
            continue;
        }
        if let Some(item) = line.strip_prefix("pub ") {
            let mut item = item.to_string();
            while item.starts_with("use ") && !item.ends_with(';') {
                item += lines.next().expect("a `use` ends");
            }
            items.push((is_hidden, item));
        }
        is_hidden = false;
    }
    items
}

/// The names that a `use` brings.
fn used(item: &str) -> impl Iterator<Item = String> {
    let list = item.split_once('{').map_or(item, |(_, list)| list);
    let list = list.trim_end_matches([';', '}', ' ']);
    let last = |path: &str| {
        let name = path.rsplit([':', ' ']).next().expect("there is always one");
        name.to_string()
    };
    let names = list
        .split(',')
        .map(str::trim)
        .filter(|path| !path.is_empty());
    names.map(last).collect::<Vec<_>>().into_iter()
}

fn name(item: &str) -> Option<(&str, &str)> {
    let item = item
        .strip_prefix("const fn ")
        .map_or(item, |rest| &item[item.len() - rest.len() - 3..]);
    let (keyword, rest) = item.split_once(' ')?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
    Some((keyword, &rest[..end.unwrap_or(rest.len())]))
}

/// Reads a module's items, and those of the public modules in it.
fn read(module: &str, file: &Path, surface: &mut Surface) {
    let text = fs::read_to_string(file).unwrap();
    let folder = match module {
        "lowerdir" => source(),
        _ => file.with_extension(""),
    };
    let mut names = BTreeSet::new();
    for (is_hidden, item) in public_items(&text) {
        if is_hidden {
            continue;
        }
        if let Some(list) = item.strip_prefix("use ") {
            names.extend(used(list));
            continue;
        }
        let (keyword, name) = name(&item).expect("a keyword and a name");
        if keyword != "mod" {
            names.insert(name.to_string());
            continue;
        }
        let inner = match module {
            "lowerdir" => name.to_string(),
            _ => format!("{module}::{name}"),
        };
        if item.ends_with(';') {
            read(&inner, &folder.join(format!("{name}.rs")), surface);
        } else {
            surface.insert(inner, inline(&text, name));
        }
    }
    surface.insert(module.to_string(), names);
}

/// The names of a module that is written out in its parent, which holds nothing but `use`.
fn inline(text: &str, module: &str) -> BTreeSet<String> {
    let start = format!("pub mod {module} {{");
    let body = text.split_once(&start).expect("it is there").1;
    let body = body.split_once('}').map(|(body, _)| body);
    match body {
        Some("") => BTreeSet::new(),
        _ => {
            let rest = text.split_once(&start).unwrap().1;
            let body = rest.split_once("\n}").expect("it ends").0;
            let body = body.replace('\n', " ");
            let items = body
                .split(';')
                .filter_map(|item| item.split_once("pub use "));
            items.flat_map(|(_, list)| used(list)).collect()
        }
    }
}

fn surface() -> Surface {
    let mut surface = Surface::new();
    read("lowerdir", &source().join("lib.rs"), &mut surface);
    surface
}

#[test]
fn the_public_names_are_those_that_are_meant() {
    let expected: Surface = SURFACE
        .lines()
        .filter_map(|line| {
            line.split_once(": ")
                .or(line.strip_suffix(':').map(|name| (name, "")))
        })
        .map(|(module, names)| {
            let names = names.split_whitespace().map(Into::into).collect();
            (module.to_string(), names)
        })
        .collect();
    let surface = surface();
    for (module, names) in &surface {
        assert_eq!(Some(names), expected.get(module), "{module}");
    }
    assert_eq!(surface.len(), expected.len(), "a module is gone");
}

/// The crates of `[dependencies]`, as `use` names them.
fn dependencies() -> BTreeSet<String> {
    let manifest = fs::read_to_string(source().with_file_name("Cargo.toml")).unwrap();
    let list = manifest.split("\n[dependencies]\n").nth(1).unwrap();
    let list = list.split("\n[").next().unwrap();
    let names = list.lines().filter(|line| !line.starts_with('#'));
    let names = names.filter_map(|line| line.split_once(" = "));
    names.map(|(name, _)| name.replace('-', "_")).collect()
}

/// The names that a file imports from a dependency.
fn imported(text: &str, dependencies: &BTreeSet<String>) -> BTreeSet<String> {
    let uses = text.split("\nuse ").skip(1);
    let uses = uses.filter_map(|rest| {
        rest.split_once(';')
            .map(|(item, _)| item.replace('\n', " "))
    });
    uses.filter(|item| dependencies.contains(item.split("::").next().unwrap()))
        .flat_map(|item| used(&item).collect::<Vec<_>>())
        .collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
}

/// The signatures of a file that a user of the library can see: of public functions in `impl` blocks
/// of public types, of public functions of the surface, and public fields of public types.
fn signatures(text: &str, public: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_public = false;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(header) = line.strip_prefix("impl") {
            let of = header.rsplit(" for ").next().expect("there is always one");
            is_public = words(of).any(|word| public.contains(word));
        } else if let Some(item) = line.strip_prefix("pub ") {
            is_public = name(item).is_some_and(|(_, name)| public.contains(name));
        }
        let item = line.trim_start();
        if !is_public || !item.starts_with("pub ") {
            continue;
        }
        let mut signature = item.to_string();
        while item.contains("fn ") && !signature.contains('{') && !signature.ends_with(';') {
            signature += lines.next().expect("a signature ends").trim();
        }
        found.push(signature);
    }
    found
}

/// Files with types that only share their name with a public one.
const NAMESAKES: &[&str] = &["engines/bundle/namespace.rs"];

#[test]
fn no_public_signature_has_a_type_of_a_dependency() {
    let dependencies = dependencies();
    assert!(dependencies.contains("serde_json"), "{dependencies:?}");
    let public: BTreeSet<String> = surface().into_values().flatten().collect();
    let mut files: Vec<PathBuf> = Vec::new();
    rust_files(&source(), &mut files);
    files.retain(|path| {
        let path = path.strip_prefix(source()).unwrap();
        !path.starts_with("cli") && !NAMESAKES.contains(&path.to_str().unwrap())
    });
    let (mut count, mut found) = (0, Vec::new());
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let imported = imported(&text, &dependencies);
        for signature in signatures(&text, &public) {
            count += 1;
            let names_one = dependencies.iter().any(|name| {
                let path = format!("{name}::");
                signature.split(&path).count() > 1 && !signature.contains(&format!("::{path}"))
            });
            if names_one || words(&signature).any(|word| imported.contains(word)) {
                found.push(format!("{}: {signature}", path.display()));
            }
        }
    }
    assert!(count > 300, "only {count} signatures");
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_guard_sees_what_is_public() {
    let text = "pub use a::{B, c as D};\npub(crate) use e::F;\n#[doc(hidden)]\npub mod g;\npub struct H {\n";
    let items = public_items(text);
    assert_eq!(items.len(), 3);
    assert_eq!(used("a::{B, c as D};").collect::<Vec<_>>(), ["B", "D"]);
    assert!(items[1].0, "it is hidden");
    let text =
        "use rustix::fs::Stat;\nimpl H {\n    pub fn i(\n        stat: Stat,\n    ) -> u8 {\n";
    let found = signatures(text, &BTreeSet::from(["H".to_string()]));
    assert_eq!(found, ["pub fn i(stat: Stat,) -> u8 {"]);
    let imported = imported(
        &format!("\n{text}"),
        &BTreeSet::from(["rustix".to_string()]),
    );
    assert_eq!(imported, BTreeSet::from(["Stat".to_string()]));
}
