//! Completion in the real shells: the names of the images in the store, beside what clap completes.

use std::fs;
use std::process::Command;

use crate::sample;
use crate::scratch::Scratch;
use support::program;

const NAMES: [&str; 2] = ["docker.io/me/app:1", "docker.io/me/app:2"];

/// What a shell prints, with the program in its PATH, a store with two names, and the script `script`.
fn printed(shell: &str, kind: &str, text: &str) -> Option<String> {
    let scratch = Scratch::new()?;
    let site = scratch.site();
    let path = |name: &str| site.path().join(name);
    sample::write(&path("sample.tar")).expect("the sample");
    let lowerdir = || {
        let mut command = program::lowerdir();
        command
            .current_dir(site.path())
            .env("LOWERDIR_STORE", path("store"));
        command
    };
    let names = NAMES.map(|name| format!("--name={name}"));
    let status = lowerdir()
        .args(["unpack", "sample.tar", "-q"])
        .args(names)
        .output();
    assert!(status.expect("it starts").status.success());
    let script = lowerdir()
        .args(["completions", kind])
        .output()
        .expect("it starts");
    fs::write(path("script"), script.stdout).expect("a script");
    fs::write(path("text"), text).expect("a text");
    let directory = std::path::Path::new(program::path()).parent().unwrap();
    let search = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap());
    let output = Command::new(shell)
        .args(match kind {
            "zsh" => &["-f", "text"][..],
            "fish" => &["--no-config", "text"],
            _ => &["--norc", "text"],
        })
        .current_dir(site.path())
        .env("PATH", search)
        .env("HOME", site.path())
        .env("LOWERDIR_STORE", path("store"))
        .output();
    let Ok(output) = output else {
        crate::skip(&format!("{shell} is not installed"));
        return None;
    };
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.is_empty(), "{told}");
    Some(String::from_utf8(output.stdout).expect("text"))
}

#[test]
fn bash_completes_what_follows_the_last_colon() {
    let complete = |words: &str, count: usize, line: &str, word: &str| {
        format!(
            ". ./script\nCOMP_WORDS=({words})\nCOMP_CWORD={count}\nCOMP_LINE='{line}'\nCOMP_POINT=${{#COMP_LINE}}\n\
             _lowerdir_and_names lowerdir '{word}' mount\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
        )
    };
    let text = complete(
        "lowerdir mount docker.io/m",
        2,
        "lowerdir mount docker.io/m",
        "docker.io/m",
    );
    let Some(printed_whole) = printed("bash", "bash", &text) else {
        return;
    };
    for name in NAMES {
        assert!(
            printed_whole.lines().any(|line| line == name),
            "{printed_whole}"
        );
    }
    let line = "lowerdir rm docker.io/me/app:";
    let text = complete("lowerdir rm docker.io/me/app :", 3, line, "");
    let after_colon = printed("bash", "bash", &text).expect("it ran before");
    assert!(after_colon.lines().any(|line| line == "2"), "{after_colon}");
    // What needs the blobs takes no names.
    let text = complete(
        "lowerdir ls docker.io/m",
        2,
        "lowerdir ls docker.io/m",
        "docker.io/m",
    );
    let of_ls = printed("bash", "bash", &text).expect("it ran before");
    assert!(!of_ls.contains("app"), "{of_ls}");
}

#[test]
fn fish_completes_names() {
    let text = "source script\ncomplete -C 'lowerdir verify docker.io/me/a'\n";
    if let Some(printed) = printed("fish", "fish", text) {
        assert_eq!(printed.lines().collect::<Vec<_>>(), NAMES);
    }
}

#[test]
fn zsh_completes_names() {
    // Completion itself needs a line editor: its two commands are replaced by what prints.
    let text = "compdef() { :; }\n_files() { :; }\ncompadd() { print -l ${(P)2}; }\n. ./script\n_lowerdir_names\n\
                grep -c _lowerdir_names script\n";
    if let Some(printed) = printed("zsh", "zsh", text) {
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!(lines[..2], NAMES, "{printed}");
        // Its definition, and an argument of each verb.
        let count: usize = lines[2].parse().expect("a number");
        assert!(count >= 9, "{printed}");
    }
}
