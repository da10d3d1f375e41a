//! `docs/rules.md` is true: it defines every rule that is cited, each is implemented where the page
//! says, and each has a test named after it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::rust_files;

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The text of every Rust file in some folders.
fn texts(folders: &[&str]) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    for folder in folders {
        rust_files(&project(folder), &mut files);
    }
    files
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

/// What `docs/rules.md` says of each rule: the text below a heading such as `### W3`.
fn definitions() -> BTreeMap<String, String> {
    let page = fs::read_to_string(project("docs/rules.md")).unwrap();
    let definitions: BTreeMap<String, String> = page
        .split("\n### ")
        .skip(1)
        .map(|section| section.split_once('\n').unwrap())
        .map(|(rule, text)| (rule.to_string(), text.to_string()))
        .collect();
    for rule in ["T1", "N5", "W8", "O3", "I2", "H3", "M3", "X3", "S3"] {
        assert!(definitions.contains_key(rule), "{rule} is not defined");
    }
    definitions
}

/// The rules that a text cites, such as `W3`.
fn cited(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| {
            let mut bytes = word.bytes();
            let family = bytes
                .next()
                .is_some_and(|byte| b"TNWOIHMXS".contains(&byte));
            family && matches!(word.len(), 2 | 3) && bytes.all(|byte| byte.is_ascii_digit())
        })
        .collect()
}

#[test]
fn every_rule_that_is_cited_is_defined() {
    let defined = definitions();
    for (path, text) in texts(&["src", "tests", "integration"]) {
        for rule in cited(&text) {
            assert!(
                defined.contains_key(rule),
                "{} cites {rule}, which docs/rules.md does not define",
                path.display()
            );
        }
    }
    for (citing, text) in &defined {
        for rule in cited(text) {
            assert!(defined.contains_key(rule), "{citing} cites {rule}");
        }
    }
}

/// The first sentence is the rule; the example says what goes in, what comes out, and why.
#[test]
fn every_rule_has_one_example_in_one_form() {
    for (rule, text) in definitions() {
        assert!(text.trim_start().starts_with("**"), "{rule}: {text}");
        let labels: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("- ")?.split_once(": "))
            .map(|(label, _)| label)
            .collect();
        assert_eq!(labels, ["Layer", "Result", "Why", "Code"], "{rule}");
    }
}

/// The files of a module such as `src/layer`: `src/layer.rs` and the files of `src/layer/`.
fn files_of(module: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let (file, folder) = (project(&format!("{module}.rs")), project(module));
    if file.is_file() {
        files.push(file);
    }
    if folder.is_dir() {
        rust_files(&folder, &mut files);
    }
    files
}

#[test]
fn every_rule_is_implemented_where_the_page_says() {
    for (rule, text) in definitions() {
        let code = text
            .lines()
            .find_map(|line| line.strip_prefix("- Code: "))
            .unwrap();
        for module in code.split(", ").map(|module| module.trim_matches('`')) {
            let files = files_of(module);
            assert!(!files.is_empty(), "{rule}: there is no {module}");
            let cites = |path: &PathBuf| cited(&fs::read_to_string(path).unwrap()).contains(&*rule);
            assert!(files.iter().any(cites), "{rule}: {module} never cites it");
        }
    }
}

/// The names of the test functions in a text.
fn test_names(text: &str) -> impl Iterator<Item = &str> {
    let functions = text.split("#[test]\n").skip(1);
    functions.filter_map(|rest| rest.trim_start().strip_prefix("fn ")?.split('(').next())
}

#[test]
fn every_rule_has_a_test_named_after_it() {
    let texts = texts(&["tests", "integration"]);
    let names: Vec<&str> = texts
        .iter()
        .flat_map(|(_, text)| test_names(text))
        .collect();
    for rule in definitions().keys() {
        let prefix = format!("{}_", rule.to_lowercase());
        let is_named = names.iter().any(|name| name.starts_with(&prefix));
        assert!(is_named, "no test is named {prefix}...");
    }
}

/// Readers have `docs/` and the sources, and no design notes or trackers of ours.
#[test]
fn comments_cite_only_what_readers_have() {
    let mut texts = texts(&["src", "tests", "integration"]);
    for page in ["README.md", "docs/rules.md", "CHANGELOG.md"] {
        texts.push((project(page), fs::read_to_string(project(page)).unwrap()));
    }
    let own = project("tests/house/rules.rs");
    for (path, text) in texts.iter().filter(|(path, _)| *path != own) {
        for word in text.split(|c: char| !c.is_alphanumeric()) {
            let is_ours = ["DESIGN", "STYLE"].contains(&word);
            assert!(!is_ours, "{} cites {word}", path.display());
        }
    }
}
