//! `lowerdir man`: the manual pages, from what clap knows, the sections below, and `docs/`.

mod markdown;

use std::fs;
use std::io::Write;
use std::path::PathBuf;

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

/// The translation rules, as they are read on GitHub and in rustdoc.
const RULES: &str = include_str!("../../docs/rules.md");

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
const SECTIONS: [Section; 4] = [
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
    (
        "JSON",
        &[
            (
                "unpack",
                "digest (of the manifest), name and platform (or null), seconds, and layers, lowest first: diff_id, chain_id, digest and size (of the blob), directory, was_there, entries, bytes, deletions, opaque, and warnings: for each name of a warning count, and first, a path.",
            ),
            (
                "unpack-layer",
                "directory, diff_id, digest, size, and from entries to warnings as for unpack.",
            ),
            (
                "stack",
                "lowerdir (the line printed without --json), directories (topmost first), userxattr and fits_one_page (true or false).",
            ),
            (
                "mount",
                "target, lowerdirs (their number), read_only, idmapped, and method: fsopen or mount.",
            ),
            ("umount", "target."),
            (
                "bundle",
                "directory, rootfs, read_only, lowerdirs (their number), mount (what is printed without --json, or null), script (the path of with-rootfs, or null), left_out (labels that do not become annotations), and config: the content of config.json.",
            ),
            (
                "images",
                "A line for each image: digest, names, platform and created (or null), layers (chain IDs, lowest first), bytes (total size of their files), complete (whether all layers are there), and store (the directory of the store that lists it).",
            ),
            (
                "verify",
                "A line for each change: layer (its number and digest, or its digest alone), chain_id, store (the directory of its store), path (null if the change concerns the layer as a whole) and change. For a damaged image record, image (a digest) instead of layer and chain_id.",
            ),
            (
                "tag",
                "digest, names (all of them), and moved: name and from (the digest of the image that had it).",
            ),
            (
                "rm, prune",
                "A line for each image: image (the digest of the removed image, or null), name (taken away from an image that stays, or null), layers (chain IDs), bytes (total size of their files), mounted and pinned (chain IDs of layers kept for a mount, or for a snapshot of lowerdir-snapshotter) and dry_run.",
            ),
            (
                "pack",
                "digest and size (of the blob), diff_id, manifest (its digest, with --append), entries, bytes, deletions, opaque, and warnings as for unpack. Nothing with -o -, when the layer is on standard output.",
            ),
            (
                "translate",
                "entries, bytes, deletions, opaque, and warnings as for unpack; only if OUT is a file.",
            ),
            (
                "convert",
                "directory, from, to, dry_run (true or false), deletions, opaque, needless (marks that hid nothing), xattrs (inodes with renamed xattrs), and other_marks (marks of the other xattr namespace, which are data).",
            ),
            (
                "ls",
                "One object for each path: path, type (file, directory, symlink, char, block, fifo or deleted), mode (octal), uid, gid, mtime (seconds, a dot, nanoseconds counted forward), size (of a file), target (of a symbolic link), device (major:minor), link (the first path of the same inode, if this is not it), xattrs, layer (the layer that the entry comes from, from 1 at the bottom; absent if no layer has one), and opaque (present if true).",
            ),
            (
                "diff",
                "One object for each path that differs: path, change (created, changed or deleted), parts (of a changed path: type, mode, owner, time, size, content, target, device, xattrs, links), before and after (each as in ls, without layer, link and opaque, or null).",
            ),
            (
                "inspect",
                "digest, name and platform (or null), layers, lowest first: layer (from 1), digest, diff_id, chain_id, media_type, size, directory (in the store, or null), entries, bytes, deletions and opaque (absent if not known); history: layer (or null), created, created_by, author, comment, empty_layer; manifest and config, with known members under the names of image-spec.",
            ),
            (
                "flatten",
                "target, entries, bytes, and digest (of the manifest) and diff_id of a new image, otherwise null. Nothing if the archive goes to standard output.",
            ),
            (
                "export",
                "With --format=containers-storage: directory, id (of the image there), digest (of its manifest), names, layers (their IDs there, lowest first) and new_layers (how many were added). With --format=mstack: directory and layers (directories, lowest first). composefs-dump and mtree are printed as they are.",
            ),
            (
                "Lines on standard error",
                "With --progress=json, or with --json if standard error is not a terminal, each line is an object with the member event: begin (layer, from 1 at the bottom; bytes, of its blob), read (layer; bytes so far), end (layer, report), was-there (layer), wait (for another process; layer, absent for the whole store), verified (layer, from 1 in the order of comparison; changes, a number), sync, note (message), warning (message), and error (status, kind, message, layer, entry, hint). A kind is refused, mismatch, limit, usage, not-found, conflict, unsupported, network, system, cancelled or internal.",
            ),
            (
                "Paths",
                "Each byte of a path that is not printable UTF-8 is written as \\xff, and a backslash as two. The layer of an error, and in verify, is a string: its number and the beginning of its digest. Later versions may add members.",
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
        output::bytes(&page.text)?;
        return Ok(());
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
    pages.push(ManualPage {
        name: "lowerdir-rules".into(),
        section: 7,
        text: rules()?,
    });
    Ok(pages)
}

fn no_page(name: &str, pages: &[ManualPage]) -> crate::Error {
    let shown = crate::path::display(name.as_bytes());
    let names = pages
        .iter()
        .filter_map(|page| page.name.strip_prefix("lowerdir-"));
    let names: Vec<&str> = names.collect();
    let hint = match closest(name, names.iter().copied()) {
        Some(name) => format!("did you mean {name}?"),
        None if name.contains('/') => {
            format!("`lowerdir man --dir {shown}` writes all pages there")
        }
        None => format!("there are pages on {}", names.join(", ")),
    };
    crate::Error::usage(format!("there is no manual page on {shown}")).hint(hint)
}

/// lowerdir-rules(7).
fn rules() -> anyhow::Result<Vec<u8>> {
    let summary = "what the entries of an image layer become in a layer directory";
    let mut page = markdown::manual_page("lowerdir-rules", summary, RULES);
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("lowerdir"), roman("(1)")]);
    let mut text = Vec::new();
    page.to_writer(&mut text)?;
    Ok(text)
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
        vec![
            bold("lowerdir-rules"),
            roman("(7), "),
            bold("mount"),
            roman("(8), "),
            bold("runc"),
            roman("(8)"),
        ]
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
