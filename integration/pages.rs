//! The commands of README.md and of the pages in `docs`, run as they stand there, print what the page says they do.
//!
//! The commands of a page run one after another in a mount namespace of their own, where the default store is empty and
//! nothing that is mounted stays. `LOWERDIR_PAGE=docs/store.md` runs one page, and `SNAPSHOTS=overwrite` writes what was
//! printed into it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::sample;
use crate::scratch::Scratch;
use support::program;

/// A command, without its prompt, and the lines of the page with what follows it.
struct Example {
    command: String,
    output: String,
    lines: std::ops::Range<usize>,
}

/// The commands in blocks that are marked as a console.
fn examples(page: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut is_inside = false;
    for (number, line) in page.lines().enumerate() {
        match (line, line.strip_prefix("# ")) {
            ("```console", _) => is_inside = true,
            ("```", _) => is_inside = false,
            _ if !is_inside => {}
            (_, Some(command)) => examples.push(Example {
                command: command.into(),
                output: String::new(),
                lines: number + 1..number + 1,
            }),
            // `$` is the prompt of a clone, where `make` is run.
            (line, _) if line.starts_with("$ make") => {}
            (line, _) => {
                let example = examples.last_mut().expect("a command before its output");
                example.output += &format!("{line}\n");
                example.lines.end = number + 1;
            }
        }
    }
    examples
}

/// Without what differs from run to run: how long it took, and what runc says of a busy machine.
fn steady(text: &str) -> String {
    let line = |line: &str| match line.split_once(" in ").zip(line.split_once(" s: ")) {
        Some(((before, _), (_, after))) => format!("{before} in TIME s: {after}\n"),
        None if line.contains("level=warning msg=\"Failed to remove cgroup") => String::new(),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// Pages run one at a time: a mount of the same layers, in whatever namespace, keeps them in the store.
static ALONE: Mutex<()> = Mutex::new(());

/// What each command printed.
fn run(scratch: &Scratch, examples: &[Example]) -> Vec<String> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let site = scratch.site();
    sample::write(&site.path().join("sample.tar")).expect("the sample");
    let mut script = String::from("set -e\nmount -t tmpfs -o mode=0755 tmpfs /var/lib\nset +e\n");
    for (number, example) in examples.iter().enumerate() {
        script += &format!(
            "{{ {}\n}} > {number}.out 2>&1 < /dev/null\n",
            example.command
        );
    }
    // Some commands show what fails.
    script += "exit 0\n";
    fs::write(site.path().join("script"), script).expect("a script");
    let program = Path::new(program::path()).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "script"])
        .current_dir(site.path())
        .env("PATH", path)
        .env_remove("LOWERDIR_STORE")
        .status()
        .expect("unshare, of util-linux");
    assert!(status.success(), "{status}");
    let read = |number| {
        let output = fs::read(site.path().join(format!("{number}.out"))).expect("its output");
        String::from_utf8_lossy(&output).into_owned()
    };
    (0..examples.len()).map(read).collect()
}

/// The page with what was printed in the place of what it said.
fn rewritten(page: &str, examples: &[Example], outputs: &[String]) -> String {
    let mut lines: Vec<String> = page.lines().map(String::from).collect();
    for (example, output) in examples.iter().zip(outputs).rev() {
        if steady(output) != steady(&example.output) {
            let new = output.lines().map(String::from);
            lines.splice(example.lines.clone(), new);
        }
    }
    lines.join("\n") + "\n"
}

fn check(name: &str) {
    let wanted = std::env::var("LOWERDIR_PAGE");
    if wanted.is_ok_and(|wanted| wanted != name) {
        return;
    }
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let page = fs::read_to_string(&path).expect("a page");
    let examples = examples(&page);
    assert!(!examples.is_empty(), "{name} has no commands");
    let outputs = run(&scratch, &examples);
    if std::env::var("SNAPSHOTS").is_ok_and(|action| action == "overwrite") {
        fs::write(&path, rewritten(&page, &examples, &outputs)).expect("our own page");
        return;
    }
    for (example, output) in examples.iter().zip(&outputs) {
        let (line, command) = (example.lines.start, &example.command);
        assert_eq!(
            steady(output),
            steady(&example.output),
            "{name}:{line}: `{command}`"
        );
    }
}

#[test]
fn the_readme() {
    check("README.md");
}

#[test]
fn images() {
    check("docs/images.md");
}

#[test]
fn the_store() {
    check("docs/store.md");
}

#[test]
fn layers() {
    check("docs/layers.md");
}

#[test]
fn running() {
    check("docs/run.md");
}

#[test]
fn rootless() {
    check("docs/rootless.md");
}

#[test]
fn podman() {
    check("docs/podman.md");
}

/// A page with commands that no test runs would go stale.
#[test]
fn every_page_with_commands_has_a_test() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    for entry in fs::read_dir(docs).expect("the pages") {
        let path = entry.expect("a page").path();
        let text = fs::read_to_string(&path).expect("a page");
        let name = format!("docs/{}", path.file_name().unwrap().to_str().unwrap());
        let is_tested = include_str!("pages.rs").contains(&format!("check(\"{name}\")"));
        assert!(examples(&text).is_empty() || is_tested, "{name}");
    }
}
