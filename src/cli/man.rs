//! `lowerdir man`: the manual pages, from what clap knows, the sections below, and `docs/`.

mod markdown;

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_mangen::Man as Page;
use roff::{Roff, bold, roman};

use super::outfile::{Inputs, OutFile};
use super::{Cli, output};
use crate::image::names::closest;

const EXAMPLES: &str = "\
Examples:
  lowerdir man | man -l -              lowerdir(1)
  lowerdir man mount | man -l -        lowerdir-mount(1)
  lowerdir man rules | man -l -        lowerdir-rules(7), the translation rules
  lowerdir man --dir /usr/share/man    write all pages, into man1 and man7";

/// A page of `docs/`, as it is read on GitHub.
struct Subject {
    name: &'static str,
    about: &'static str,
    text: &'static str,
}

/// The pages of section 7.
const SUBJECTS: [Subject; 11] = [
    Subject {
        name: "containerd",
        about: "layers of a store as containerd's snapshots",
        text: include_str!("../../docs/containerd.md"),
    },
    Subject {
        name: "images",
        about: "how to name an image, look into it, and write it in another form",
        text: include_str!("../../docs/images.md"),
    },
    Subject {
        name: "json",
        about: "what the verbs print with --json",
        text: include_str!("../../docs/json.md"),
    },
    Subject {
        name: "layers",
        about: "one layer at a time: unpack, pack, translate, convert",
        text: include_str!("../../docs/layers.md"),
    },
    Subject {
        name: "limits",
        about: "how much an image may ask for, and what each kernel adds",
        text: include_str!("../../docs/limits.md"),
    },
    Subject {
        name: "podman",
        about: "images for Podman, Buildah, CRI-O and systemd",
        text: include_str!("../../docs/podman.md"),
    },
    Subject {
        name: "reliability",
        about: "what a kill, a power cut, a full disk or a hostile image can do",
        text: include_str!("../../docs/reliability.md"),
    },
    Subject {
        name: "rootless",
        about: "unpack, mount and run an image as an ordinary user",
        text: include_str!("../../docs/rootless.md"),
    },
    Subject {
        name: "run",
        about: "mount an image, or make a bundle for runc and crun",
        text: include_str!("../../docs/run.md"),
    },
    Subject {
        name: "store",
        about: "where images live, how they are named, checked and removed",
        text: include_str!("../../docs/store.md"),
    },
    Subject {
        name: "rules",
        about: "what the entries of an image layer become in a layer directory",
        text: include_str!("../../docs/rules.md"),
    },
];

/// Print a manual page, or write all of them into a directory.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Man {
    /// A verb, or a subject such as `rules` [default: the page of the program]
    #[arg(value_name = "VERB", conflicts_with = "directory")]
    page: Option<String>,
    /// Write all pages into the directories man1 and man7 of this one
    #[arg(long = "dir", value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// A heading, and terms with their meanings.
type Section = (&'static str, &'static [(&'static str, &'static str)]);

/// Sections of lowerdir(1) that the help text does not have.
const SECTIONS: [Section; 3] = [
    (
        "EXIT STATUS",
        &[
            (
                "0",
                "Done. What was unpacked survives a power cut, unless --sync=none was given.",
            ),
            (
                "1",
                "Failed: the system returned an error, or something does not exist.",
            ),
            ("2", "The command line is wrong."),
            (
                "3",
                "The image was refused, because it breaks a rule or a digest does not match; or verify found changes.",
            ),
            ("4", "A limit was reached."),
        ],
    ),
    (
        "ENVIRONMENT",
        &[
            (
                "LOWERDIR_STORE",
                "The store, or several separated by colons, if --store is not given.",
            ),
            ("NO_COLOR", "If set and not empty, output has no colours."),
            (
                "TMPDIR",
                "Where an archive or a layer that comes through a pipe is copied to; /var/tmp if not set.",
            ),
        ],
    ),
    (
        "FILES",
        &[
            (
                "STORE/format",
                "The number of the store's format; a store with another number is refused.",
            ),
            (
                "STORE/layers/sha256/CHAIN-ID/fs",
                "A layer directory. If it exists, it is complete.",
            ),
            (
                "STORE/layers/sha256/CHAIN-ID/layer.json",
                "What the layer was unpacked from, and with which options.",
            ),
            (
                "STORE/layers/sha256/CHAIN-ID/tree.zst",
                "The listing that verify compares with: a JSON object for each name, compressed with zstd.",
            ),
            (
                "STORE/images/sha256-DIGITS/",
                "An unpacked image: image.json, which lists its layers, manifest.json and config.json.",
            ),
            ("STORE/images/names.json", "The names of the images."),
            (
                "STORE/pins/",
                "Layers that snapshots of lowerdir-snapshotter use: rm and prune leave them.",
            ),
            (
                "STORE/downloads/",
                "Blobs of a registry that are arriving, or that a run which ended left for the next; prune removes them.",
            ),
            ("STORE/l/", "Short names of layers, for mount(2)."),
            (
                "STORE/locks/",
                "Lock files: exclusive for processes that remove something, shared for those that use it.",
            ),
            (
                "STORE/staging/",
                "Unfinished layers; those of a killed process are removed when the store is next opened.",
            ),
        ],
    ),
];

pub fn run(verb: &Man) -> anyhow::Result<()> {
    let pages = pages()?;
    let Some(directory) = &verb.directory else {
        let wanted = match verb.page.as_deref() {
            None | Some("lowerdir") => "lowerdir".to_string(),
            Some(name) => format!("lowerdir-{}", name.trim_start_matches("lowerdir-")),
        };
        let page = pages.iter().find(|page| page.name == wanted);
        let page = page.ok_or_else(|| no_page(verb.page.as_deref().unwrap_or_default(), &pages))?;
        return show(&page.text);
    };
    crate::store::check_outside(directory, "the directory")?;
    for page in &pages {
        let section = directory.join(format!("man{}", page.section));
        fs::create_dir_all(&section).with_context(|| format!("making {}", section.display()))?;
        let path = section.join(format!("{}.{}", page.name, page.section));
        let mut out = OutFile::open(&path, &Inputs::default(), "name a directory")?;
        out.write_all(&page.text)?;
        out.keep()?;
    }
    Ok(())
}

/// Through man(1) on a terminal, if it is there.
fn show(page: &[u8]) -> anyhow::Result<()> {
    let viewer = std::io::stdout().is_terminal().then(|| {
        let mut man = Command::new("man");
        man.args(["-l", "-"]).stdin(Stdio::piped()).spawn()
    });
    let Some(Ok(mut viewer)) = viewer else {
        output::bytes(page)?;
        return Ok(());
    };
    let input = viewer.stdin.take();
    // A reader who leaves early has seen enough.
    let _ = input.map(|mut input| input.write_all(page));
    viewer.wait().context("waiting for man(1)")?;
    Ok(())
}

/// A manual page.
struct ManualPage {
    name: String,
    section: u8,
    text: Vec<u8>,
}

/// All pages: of the program, of each verb, of each subject.
fn pages() -> anyhow::Result<Vec<ManualPage>> {
    let mut command = Cli::command().disable_help_subcommand(true);
    // Fills in what subcommands inherit.
    command.build();
    let mut pages = vec![ManualPage {
        name: "lowerdir".into(),
        section: 1,
        text: page(&command, "lowerdir", &SECTIONS)?,
    }];
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let name = format!("lowerdir-{}", verb.get_name());
        let text = page(verb, &name, &[])?;
        let section = 1;
        pages.push(ManualPage {
            name,
            section,
            text,
        });
    }
    for subject in &SUBJECTS {
        let name = format!("lowerdir-{}", subject.name);
        let text = subject.page(&name)?;
        let section = 7;
        pages.push(ManualPage {
            name,
            section,
            text,
        });
    }
    Ok(pages)
}

fn no_page(name: &str, pages: &[ManualPage]) -> crate::Error {
    let shown = crate::path::display(name.as_bytes());
    let names = pages
        .iter()
        .filter_map(|page| page.name.strip_prefix("lowerdir-"));
    let names: Vec<&str> = names.collect();
    let of = |section: u8| {
        let pages = pages.iter().filter(|page| page.section == section);
        let names = pages.filter_map(|page| page.name.strip_prefix("lowerdir-"));
        names.collect::<Vec<_>>().join(", ")
    };
    let hint = match closest(name, names.iter().copied()) {
        Some(name) => format!("did you mean {name}?"),
        None if name.contains('/') => {
            format!("`lowerdir man --dir {shown}` writes all pages there")
        }
        None => format!("there are pages on the verbs, and on {}", of(7)),
    };
    crate::Error::usage(format!("there is no manual page on {shown}")).hint(hint)
}

impl Subject {
    fn page(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        let mut page = markdown::manual_page(name, self.about, self.text);
        page.control("SH", ["SEE ALSO"]);
        page.text([bold("lowerdir"), roman("(1)")]);
        let mut text = Vec::new();
        page.to_writer(&mut text)?;
        Ok(text)
    }
}

/// One page. The examples, which end the help text, get a section of their own.
fn page(command: &clap::Command, name: &str, sections: &[Section]) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    let version = concat!("lowerdir ", env!("CARGO_PKG_VERSION"));
    let page = Page::new(command.clone()).title(name).source(version);
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    if command.has_subcommands() {
        page.render_subcommands_section(&mut text)?;
    }
    let mut roff = Roff::new();
    for (heading, entries) in sections {
        roff.control("SH", [*heading]);
        for (term, meaning) in *entries {
            roff.control("TP", []);
            roff.text([bold(*term)]);
            roff.text([roman(*meaning)]);
        }
    }
    if let Some(help) = command.get_after_help() {
        examples(&help.to_string(), &mut roff);
    }
    roff.control("SH", ["SEE ALSO"]);
    roff.text(if sections.is_empty() {
        vec![
            bold("lowerdir"),
            roman("(1), "),
            bold("lowerdir-rules"),
            roman("(7)"),
        ]
    } else {
        let subjects = SUBJECTS.iter().flat_map(|subject| {
            let name = bold(format!("lowerdir-{}", subject.name));
            [name, roman("(7), ")]
        });
        let others = [bold("mount"), roman("(8), "), bold("runc"), roman("(8)")];
        subjects.chain(others).collect()
    });
    roff.to_writer(&mut text)?;
    Ok(text)
}

/// The indented lines of a help text, as they are.
fn examples(help: &str, roff: &mut Roff) {
    roff.control("SH", ["EXAMPLES"]);
    roff.control("nf", []);
    for line in help.lines().filter_map(|line| line.strip_prefix("  ")) {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
}
