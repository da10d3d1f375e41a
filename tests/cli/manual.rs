//! The manual pages that `lowerdir man` writes.

use std::fs;
use std::path::Path;

use crate::bench::Bench;

fn pages() -> Bench {
    let bench = Bench::new();
    assert_eq!(bench.run(&["man", "--dir", "pages"]).status, 0);
    bench
}

#[test]
fn every_verb_has_a_page_that_leads_to_the_others() {
    let bench = pages();
    let names = bench.names(Path::new("pages/man1"));
    for name in ["lowerdir.1", "lowerdir-unpack.1", "lowerdir-man.1"] {
        assert!(names.contains(&name.to_string()), "{names:?}");
    }
    for name in names.iter().filter(|name| name.ends_with(".1")) {
        let page = fs::read_to_string(bench.path("pages/man1").join(name)).unwrap();
        assert!(page.contains("\\fBlowerdir\\-rules\\fR(7)"), "{name}");
    }
}

#[test]
fn the_translation_rules_are_a_page_of_section_7() {
    let bench = pages();
    let page = fs::read_to_string(bench.path("pages/man7/lowerdir-rules.7")).unwrap();
    assert!(page.contains(".TH lowerdir-rules 7 "), "{page}");
    let rules = include_str!("../../docs/rules.md");
    let rules: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .collect();
    assert!(rules.len() > 30, "{rules:?}");
    for rule in rules {
        assert!(page.contains(&format!("\n.SS {rule}\n")), "{rule}");
    }
    for markup in ["**", "`", "](", "\n#", "\n- "] {
        assert!(!page.contains(markup), "{markup:?} is left in {page}");
    }
}
