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

/// The name by which GitHub links to a heading.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|&letter| letter.is_alphanumeric() || " -_".contains(letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter })
        .collect()
}

fn pages() -> Vec<PathBuf> {
    let top = ["README.md", "CHANGELOG.md", ".github/SECURITY.md"];
    let mut pages: Vec<PathBuf> = top.map(|name| project().join(name)).into();
    for entry in fs::read_dir(project().join("docs")).unwrap() {
        pages.push(entry.unwrap().path());
    }
    pages
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let mut count = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&text)
            .into_iter()
            .filter(|link| !link.starts_with("https://"))
        {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file.is_empty() {
                true => page.clone(),
                false => plain(&page.with_file_name(file)),
            };
            let shown = format!("{} links to {link}", page.display());
            assert!(target.exists(), "{shown}, which is not there");
            if !heading.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                assert!(
                    headings.any(|line| anchor(line) == heading),
                    "{shown}: no such heading"
                );
            }
            count += 1;
        }
    }
    assert!(count > 20, "only {count} links were found");
}

/// rustdoc shows these, and has no other page.
#[test]
fn pages_of_the_library_link_to_no_other() {
    for name in ["rules", "library", "internals"] {
        let text = fs::read_to_string(project().join(format!("docs/{name}.md"))).unwrap();
        let mut links = links(&text).into_iter();
        let link = links.find(|link| !link.starts_with("https://") && !link.starts_with('#'));
        assert_eq!(link, None, "{name}");
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
