//! The commands of README.md, run as they stand there, print what it says they do.
//!
//! They run one after another in a mount namespace of their own, where the default store is empty
//! and nothing that is mounted stays.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::sample;
use crate::scratch::Scratch;
use support::program;

/// A command, without its prompt, and what follows it.
struct Example {
    command: String,
    output: String,
}

/// The commands in blocks that are marked as a console.
fn examples(readme: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        match (line, line.strip_prefix("# ")) {
            ("```console", _) => inside = true,
            ("```", _) => inside = false,
            _ if !inside => {}
            (_, Some(command)) => examples.push(Example {
                command: command.into(),
                output: String::new(),
            }),
            // `$` is the prompt of a clone, where `make` is run.
            (line, _) if line.starts_with("$ make") => {}
            (line, _) => {
                let example = examples.last_mut().expect("a command before its output");
                example.output += &format!("{line}\n");
            }
        }
    }
    examples
}

/// The time that something took is another one each time.
fn without_duration(text: &str) -> String {
    let line = |line: &str| match line.split_once(" in ").zip(line.split_once(" s: ")) {
        Some(((before, _), (_, after))) => format!("{before} in TIME s: {after}\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn every_command_prints_what_the_readme_says() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = scratch.site();
    sample::write(&site.path().join("sample.tar")).expect("the sample");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).expect("README.md");
    let examples = examples(&readme);
    assert!(
        examples.len() > 20,
        "only {} commands were found",
        examples.len()
    );

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
    for (number, example) in examples.iter().enumerate() {
        let output = fs::read(site.path().join(format!("{number}.out"))).expect("its output");
        let output = without_duration(&String::from_utf8_lossy(&output));
        let expected = without_duration(&example.output);
        assert_eq!(output, expected, "of `{}`", example.command);
    }
}
