//! The program `lowerdir-snapshotter`: a proxy plugin for containerd that runs until SIGTERM.

#![forbid(unsafe_code)]

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser};
use roff::{Roff, bold, roman};
use rustix::process::{Resource, getrlimit, setrlimit};

use lowerdir::Options;
use lowerdir::options::ForeignXattrs;
use lowerdir::options::{Dialect, Namespace};
use lowerdir::snapshotter::server::{Socket, serve};
use lowerdir::snapshotter::{Config, Failure, Snapshotter};
use lowerdir::store::Sync;

const EXAMPLES: &str = "\
Examples:
  lowerdir-snapshotter
  lowerdir-snapshotter --content-root /var/lib/containerd/io.containerd.content.v1.content
  lowerdir-snapshotter --socket /run/snapshots.sock --root /srv/snapshots --store /srv/layers

In containerd's config.toml:
  [proxy_plugins.lowerdir]
    type = \"snapshot\"
    address = \"/run/lowerdir-snapshotter/snapshotter.sock\"";

/// Serve the layers in a `lowerdir` store to containerd as snapshots.
///
/// containerd neither fetches nor unpacks a layer that the store has. Any other layer becomes a
/// snapshot as containerd's own overlayfs snapshotter would make it. On SIGTERM, pending requests are
/// answered before the program ends; a second SIGTERM cancels layers that are being unpacked.
#[derive(Debug, Parser)]
#[command(name = "lowerdir-snapshotter", version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    /// Socket to listen on; only this user may connect
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/run/lowerdir-snapshotter/snapshotter.sock"
    )]
    socket: PathBuf,
    /// Where snapshots live that are not in the store, and the database of all snapshots
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/var/lib/lowerdir-snapshotter"
    )]
    root: PathBuf,
    /// Where unpacked layers live
    #[arg(long, value_name = "DIR", env = "LOWERDIR_STORE")]
    #[arg(default_value = "/var/lib/lowerdir", hide_env_values = true)]
    store: PathBuf,
    /// containerd's content store, the directory with `blobs`: layers whose blobs it has are unpacked
    /// into the store, if containerd says which blob a layer is
    #[arg(long, value_name = "DIR")]
    content_root: Option<PathBuf>,
    /// Write `user.overlay.*` xattrs, for mounts with `userxattr`
    #[arg(long)]
    userxattr: bool,
    /// What becomes of xattrs in a layer that belong to another system or file system
    #[arg(long, value_enum, value_name = "HOW", default_value_t = XattrsArg::Lenient)]
    xattrs: XattrsArg,
    /// Whether to wait until a snapshot is on disk
    #[arg(long, value_enum, default_value_t = SyncArg::Fs)]
    sync: SyncArg,
    /// How many cores to use for one layer [default: all]
    #[arg(short, long, value_name = "N")]
    jobs: Option<std::num::NonZero<usize>>,
    /// Print the manual page, and do nothing else
    #[arg(long)]
    man: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum XattrsArg {
    /// Leave them out
    Lenient,
    /// Leave the layer to containerd
    Strict,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum SyncArg {
    /// Wait for the file system: what is done survives a power cut
    Fs,
    /// Do not wait
    None,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.man {
        return finish(print_manual());
    }
    // Each layer of a stack is held open; if the limit stays low, images with few layers still work.
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    finish(run(&cli))
}

/// Prints the error, if there is one.
fn finish(done: anyhow::Result<()>) -> ExitCode {
    let Err(error) = done else {
        return ExitCode::SUCCESS;
    };
    log(&format!("{error:#}"));
    let known = error.downcast_ref::<lowerdir::Error>();
    let failure = error.downcast_ref::<Failure>();
    let hint = known.and_then(lowerdir::snapshotter::hint);
    if let Some(hint) = hint.or(failure.and_then(|failure| failure.hint.as_deref())) {
        anstream::eprintln!("hint: {hint}");
    }
    ExitCode::FAILURE
}

fn log(what: &str) {
    let what = lowerdir::internals::controls(what);
    anstream::eprintln!("lowerdir-snapshotter: {what}");
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    let snapshotter = Snapshotter::open(&cli.config(), Box::new(log))
        .with_context(|| format!("opening {}", cli.root.display()))?;
    let socket = Socket::bind(&cli.socket)?;
    serve(snapshotter, &socket, || {
        log(&format!("listening on {}", cli.socket.display()));
    })?;
    Ok(())
}

impl Cli {
    fn config(&self) -> Config {
        let namespace = match self.userxattr {
            true => Namespace::User,
            false => Namespace::Trusted,
        };
        let options = Options::default()
            .dialect(Dialect::default().namespace(namespace))
            .foreign_xattrs(match self.xattrs {
                XattrsArg::Lenient => ForeignXattrs::Lenient,
                XattrsArg::Strict => ForeignXattrs::Strict,
            });
        Config::new(&self.root, &self.store)
            .content_root(self.content_root.clone())
            .options(options)
            .sync(match self.sync {
                SyncArg::Fs => Sync::Fs,
                SyncArg::None => Sync::None,
            })
            .jobs(self.jobs.map(usize::from))
    }
}

/// lowerdir-snapshotter(8), from what clap knows; the examples get a section of their own.
fn print_manual() -> anyhow::Result<()> {
    let mut text = Vec::new();
    let version = concat!("lowerdir ", env!("CARGO_PKG_VERSION"));
    let page = clap_mangen::Man::new(Cli::command())
        .section("8")
        .source(version);
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]);
    roff.control("nf", []);
    for line in EXAMPLES.lines().skip(1) {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff.control("SH", ["SEE ALSO"]);
    roff.text([
        bold("lowerdir"),
        roman("(1), "),
        bold("containerd"),
        roman("(8)"),
    ]);
    roff.to_writer(&mut text)?;
    std::io::stdout().write_all(&text)?;
    Ok(())
}
