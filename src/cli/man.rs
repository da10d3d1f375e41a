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

const EXAMPLES: &str = "\
Examples:
  lowerdir man | man -l -                   read lowerdir(1)
  lowerdir man pages                        write lowerdir.1, a page for each verb, and
                                            lowerdir-rules.7, the translation rules
  man -l pages/lowerdir-rules.7             read lowerdir-rules(7)";

/// The translation rules, as they are read on GitHub and in rustdoc.
const RULES: &str = include_str!("../../docs/rules.md");

/// Print the manual page, or write all pages into a directory.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Man {
    /// Where to write lowerdir.1, lowerdir-unpack.1 and so on, and lowerdir-rules.7
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// A heading, and terms with what they mean.
type Section = (&'static str, &'static [(&'static str, &'static str)]);

/// What lowerdir(1) has beyond its help text.
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
                "Failed: the system said no, or something is not there.",
            ),
            ("2", "The command line makes no sense."),
            (
                "3",
                "The image was refused: it breaks a rule, or a digest does not match. Or verify found that something was changed.",
            ),
            ("4", "A limit was reached."),
        ],
    ),
    (
        "ENVIRONMENT",
        &[
            (
                "LOWERDIR_STORE",
                "The store, or several with colons between them, where --store is not given.",
            ),
            (
                "NO_COLOR",
                "If it is set and not empty, nothing is coloured.",
            ),
            (
                "TMPDIR",
                "Where an archive or a layer is copied that comes through a pipe; /var/tmp if it is not set.",
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
                "A layer directory, complete if it is there.",
            ),
            (
                "STORE/layers/sha256/CHAIN-ID/layer.json",
                "What it was made from, and how.",
            ),
            (
                "STORE/layers/sha256/CHAIN-ID/tree.zst",
                "What it holds, for verify: a JSON object for each name, compressed with zstd.",
            ),
            (
                "STORE/images/sha256-DIGITS.json",
                "An image that was unpacked, and its layers.",
            ),
            (
                "STORE/pins/",
                "What the snapshots of lowerdir-snapshotter need: layers that rm and prune leave.",
            ),
            ("STORE/l/", "Short names of layers, for mount(2)."),
            (
                "STORE/locks/",
                "Locked by those who remove something, and shared by those who need it.",
            ),
            (
                "STORE/staging/",
                "Layers in the making; what a killed process left goes when the store is opened next.",
            ),
        ],
    ),
    (
        "JSON",
        &[
            (
                "unpack",
                "digest (of the manifest), name and platform (or null), seconds, and layers, the lowest first: diff_id, chain_id, digest and size (of the blob), directory, was_there, entries, bytes, deletions, opaque, and warnings, where each name has count and first, a path.",
            ),
            (
                "unpack-layer",
                "directory, diff_id, digest, size, and from entries to warnings the same.",
            ),
            (
                "stack",
                "lowerdir (the line that is printed without --json), directories, topmost first, userxattr and fits_one_page, both true or false.",
            ),
            (
                "mount",
                "target, lowerdirs (their number), read_only, idmapped, and method: fsopen or mount.",
            ),
            ("umount", "target."),
            (
                "bundle",
                "directory, rootfs, read_only, lowerdirs (their number), mount (what is printed without --json, or null), script (the path of with-rootfs, or null), left_out (labels that do not become annotations), and config: what config.json says.",
            ),
            (
                "images",
                "A line for each image: digest, names, layers (chain IDs, the lowest first), bytes (of what their files hold), complete: whether all of them are there, and store, the directory of the one that knows it.",
            ),
            (
                "verify",
                "A line for each change: layer (its number and digest, or its digest alone), chain_id, store (the directory of the one that it is in), path (or null, where it is about the layer as a whole) and change. Of a damaged record of an image, image (a digest) in the place of layer and chain_id.",
            ),
            (
                "rm, prune",
                "image (the digest of the one that was removed, or null), layers (chain IDs), bytes (of what their files held), mounted and pinned (chain IDs of those that stay for a mount, or for a snapshot of lowerdir-snapshotter) and dry_run.",
            ),
            (
                "pack",
                "digest and size (of the blob), diff_id, manifest (its digest, with --append), entries, bytes, deletions, opaque, and warnings as for unpack. With -o - it goes nowhere: the layer is on standard output.",
            ),
            (
                "translate",
                "entries, bytes, deletions, opaque, and warnings as for unpack; only if OUT is a file.",
            ),
            (
                "convert",
                "directory, from, to, dry_run (true or false), deletions, opaque, needless (marks that hid nothing), xattrs (inodes with renamed ones), and other_marks (marks of the other xattr namespace, which are data).",
            ),
            (
                "ls",
                "One object for each path: path, type (file, directory, symlink, char, block, fifo or deleted), mode (octal), uid, gid, mtime (seconds, a dot, nanoseconds counted forward), size of a file, target of a symbolic link, device (major:minor), link (the first path of the same inode, if this is not it), xattrs, layer (whose entry it is, from 1 at the bottom; absent where no layer has one), and opaque, where it is true.",
            ),
            (
                "diff",
                "One object for each path that differs: path, change (created, changed or deleted), parts (of a changed one: type, mode, owner, time, size, content, target, device, xattrs, links), before and after, each as ls has it without layer, link and opaque, or null.",
            ),
            (
                "inspect",
                "digest, name and platform (or null), layers, the lowest first: layer (from 1), digest, diff_id, chain_id, media_type, size, directory (in the store, or null), entries, bytes, deletions and opaque (absent where nothing is known of them); history: layer (or null), created, created_by, author, comment, empty_layer; manifest and config, with the members that are known under the names of image-spec.",
            ),
            (
                "flatten",
                "target, entries, bytes, and of a new image digest (of its manifest) and diff_id, else null. Nothing where the archive goes to standard output.",
            ),
            (
                "export",
                "With --format=containers-storage directory, id (of the image there), digest (of its manifest), names, layers (their IDs there, the lowest first) and new_layers (how many were made). With --format=mstack directory and layers (directories, the lowest first). A list is a list.",
            ),
            (
                "Lines on standard error",
                "With --progress=json, or --json where standard error is no terminal, each line is an object with the member event: begin (layer, from 1 at the bottom; bytes, of its blob), read (layer; bytes so far), end (layer, report), was-there (layer), wait (layer, unless it is for the whole store; for another process), verified (layer, from 1 in the order of comparison; changes, a number), sync, note (message), warning (message), and error (status, kind, message, layer, entry, hint). A kind is refused, mismatch, limit, not-found, system or cancelled.",
            ),
            (
                "Paths",
                "What is not printable UTF-8 in a path has \\xff in the place of each such byte, and a backslash is two. The layer of an error, and of verify, is a text: its number and the beginning of its digest. Members may be added in later versions.",
            ),
        ],
    ),
];

pub fn run(verb: &Man) -> anyhow::Result<()> {
    let mut command = Cli::command().disable_help_subcommand(true);
    // It fills in what subcommands inherit.
    command.build();
    let Some(directory) = &verb.directory else {
        output::bytes(&page(&command, "lowerdir", &SECTIONS)?)?;
        return Ok(());
    };
    crate::store::check_outside(directory, "the directory")?;
    fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    let write = |name: &str, text: &[u8]| {
        let path = directory.join(name);
        let mut out = OutFile::open(&path, &Inputs::default(), "name a directory")?;
        out.write_all(text)?;
        out.keep()
    };
    write("lowerdir.1", &page(&command, "lowerdir", &SECTIONS)?)?;
    for verb in command.get_subcommands() {
        let name = format!("lowerdir-{}", verb.get_name());
        write(&format!("{name}.1"), &page(verb, &name, &[])?)?;
    }
    write("lowerdir-rules.7", &rules()?)
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
