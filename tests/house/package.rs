//! What crates.io and docs.rs get of the project is complete, and its links lead somewhere there.

use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::{rust_files, source};

fn project() -> PathBuf {
    source().parent().unwrap().into()
}

/// What `exclude` in Cargo.toml keeps out of the package.
fn excluded() -> Vec<String> {
    let manifest = fs::read_to_string(project().join("Cargo.toml")).unwrap();
    let list = manifest.split("\nexclude = [").nth(1).unwrap();
    let list = list.split(']').next().unwrap();
    let names = list.split('"').skip(1).step_by(2);
    names
        .map(|name| name.trim_start_matches('/').into())
        .collect()
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    rust_files(&source(), &mut files);
    let read = |path: PathBuf| (path.clone(), fs::read_to_string(path).unwrap());
    files.into_iter().map(read).collect()
}

/// The string literals behind `include!`, `include_str!` and the like on one line.
fn includes(line: &str) -> Option<&str> {
    let rest = line.split_once("include")?.1;
    let rest = rest.split_once("!(")?.1;
    // `concat!(env!("CARGO_MANIFEST_DIR"), "/src/name")`
    rest.split('"')
        .skip(1)
        .step_by(2)
        .find(|text| *text != "CARGO_MANIFEST_DIR")
}

/// A path without `..`, in which no link is followed.
fn plain(path: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => assert!(parts.pop()),
            part => parts.push(part),
        }
    }
    parts
}

#[test]
fn every_file_that_the_source_includes_is_packaged() {
    let excluded = excluded();
    assert!(excluded.contains(&"tests".to_string()), "{excluded:?}");
    let mut count = 0;
    for (path, text) in sources() {
        for name in text.lines().filter_map(includes) {
            let included = match name.strip_prefix('/') {
                Some(name) => project().join(name),
                None => plain(&path.with_file_name(name)),
            };
            let shown = format!("{} includes {}", path.display(), included.display());
            assert!(included.is_file(), "{shown}, which is not there");
            let inside = included.strip_prefix(project()).unwrap();
            let is_out = excluded.iter().any(|name| inside.starts_with(name));
            assert!(!is_out, "{shown}, which is not packaged");
            count += 1;
        }
    }
    assert!(count > 5, "only {count} files are included");
}

/// Where the links of a text lead, in the two forms of Markdown: `](target)` and `[name]: target`.
fn links(text: &str) -> Vec<&str> {
    let inline = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let definitions = text.lines().filter_map(|line| {
        let line = line.trim_start_matches(['/', '!', ' ']);
        let (_, target) = line.strip_prefix('[')?.split_once("]: ")?;
        // What goes on behind it is a sentence.
        (!target.contains(' ')).then_some(target)
    });
    inline.chain(definitions).collect()
}

/// Cargo.toml names no repository that crates.io could complete a relative link with.
#[test]
fn no_page_links_to_a_file_of_the_repository() {
    let mut pages = vec![project().join("README.md"), project().join("CHANGELOG.md")];
    for entry in fs::read_dir(project().join("docs")).unwrap() {
        pages.push(entry.unwrap().path());
    }
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&text) {
            let is_whole = link.starts_with("https://") || link.starts_with('#');
            assert!(is_whole, "{} links to {link}", page.display());
        }
    }
}

#[test]
fn no_comment_links_to_a_file_of_the_repository() {
    for (path, text) in sources() {
        let comments = text
            .lines()
            .filter(|line| line.trim_start().starts_with("//"));
        for line in comments {
            for link in links(line) {
                // An item: `crate::Kind::Limit`, `mod@store`, `write()`, `#structfield.jobs`.
                let is_item = !link.contains(['/', ' ']) && !link.ends_with(".md");
                let is_whole = link.starts_with("https://") || is_item;
                assert!(is_whole, "{} links to {link}", path.display());
            }
        }
    }
}

#[test]
fn the_guards_see_links_and_includes() {
    let text = "[a](docs/x.md), [b]\n\n[b]: docs/y.md\n";
    assert_eq!(links(text), ["docs/x.md", "docs/y.md"]);
    assert_eq!(
        includes("#[doc = include_str!(\"../a.md\")]"),
        Some("../a.md")
    );
    let line = "/// # include!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/src/a.in\"));";
    assert_eq!(includes(line), Some("/src/a.in"));
}
