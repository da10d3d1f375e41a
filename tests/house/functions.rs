//! How long the functions of the product are. Files are not measured: an object that is cut into six
//! files is still one object.

use std::fs;
use std::path::Path;

/// A function above this needs a line in [`LONG`].
const LIMIT: usize = 60;

/// The functions that may be longer, and why: file, name, reason.
const LONG: &[(&str, &str, &str)] = &[
    (
        "src/cli/advice.rs",
        "words",
        "a table, which as a match lacks no row",
    ),
    (
        "src/repack/convert.rs",
        "convert",
        "checks, a new tree, an exchange: the order is what leaves one tree or the other",
    ),
    (
        "src/store/pipeline.rs",
        "unpack_missing",
        "the threads of a run and the channels between them, which live in one scope",
    ),
    (
        "src/store/verify/compare.rs",
        "compare",
        "a merge of two sorted lists, both of whose cursors every arm uses",
    ),
];

struct Function {
    file: String,
    name: String,
    lines: usize,
}

/// The name of the function that begins on a line, if one does.
fn name_on(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let is_declaration = before.split_whitespace().all(|word| {
        ["const", "async", "unsafe", "extern", "\"C\""].contains(&word) || word.starts_with("pub")
    });
    let end = after.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    (is_declaration && end > 0).then(|| &after[..end])
}

/// The functions of a text that rustfmt has formatted: each ends at the first `}` that stands as far to
/// the left as it begins.
fn functions(file: &str, text: &str) -> Vec<Function> {
    let lines: Vec<&str> = text.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let begins = lines.iter().enumerate();
    begins
        .filter_map(|(begin, line)| {
            let name = name_on(line)?;
            let ends = |at: &usize| lines[*at].ends_with(['{', ';', '}']);
            let head = (begin..lines.len()).find(ends)?;
            let end = match lines[head].ends_with('{') {
                true => (head..lines.len())
                    .find(|&at| lines[at].trim() == "}" && indent(lines[at]) == indent(line))?,
                false => head,
            };
            Some(Function {
                file: file.into(),
                name: name.into(),
                lines: end - begin + 1,
            })
        })
        .collect()
}

/// All of the product, without its unit tests, the longest first.
fn all() -> Vec<Function> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    crate::rust_files(&root.join("src"), &mut files);
    files.retain(|path| !path.ends_with("tests.rs"));
    let mut all: Vec<Function> = files
        .iter()
        .flat_map(|path| {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            functions(&name, &fs::read_to_string(path).unwrap())
        })
        .collect();
    all.sort_by_key(|function| std::cmp::Reverse(function.lines));
    all
}

#[test]
fn a_long_function_has_a_reason() {
    let all = all();
    let long: Vec<&Function> = all.iter().filter(|one| one.lines > LIMIT).collect();
    println!(
        "{} functions, median {} lines, longest {}, {} above {LIMIT}",
        all.len(),
        all[all.len() / 2].lines,
        all[0].lines,
        long.len()
    );
    assert!(all.len() > 1000, "only {} functions", all.len());
    for Function { file, name, lines } in &long {
        let is_listed = LONG.iter().any(|one| (one.0, one.1) == (file, name));
        assert!(is_listed, "{file}: {name} has {lines} lines");
    }
    for (file, name, _) in LONG {
        let is_long = long
            .iter()
            .any(|one| (&*one.file, &*one.name) == (*file, *name));
        assert!(is_long, "{file}: {name} is no longer long: strike it off");
    }
}

#[test]
fn the_measure_counts_from_the_name_to_the_brace() {
    let text = "\
impl A {
    pub(crate) const fn one(&self) -> u8 {
        if true {
            1
        } else {
            2
        }
    }

    fn declared(
        &self,
    );
    fn empty() {}
}
// A fn in prose.
";
    let measured: Vec<(String, usize)> = functions("", text)
        .into_iter()
        .map(|function| (function.name, function.lines))
        .collect();
    let expected = [("one", 7), ("declared", 3), ("empty", 1)];
    assert_eq!(measured, expected.map(|(name, lines)| (name.into(), lines)));
}
