//! The command line: what users type, and one function for each verb.
//!
//! It turns arguments into calls of the library, and results into text or JSON. No rule of
//! translation lives here.

mod advice;
mod bundle;
mod completions;
mod console;
mod convert;
mod diff;
mod export;
mod flatten;
mod hold_user_namespace;
mod image_args;
mod images;
mod input;
mod inspect;
mod interrupt;
mod json;
mod limits;
mod ls;
mod man;
mod mount;
mod options;
mod other_tools;
mod outfile;
mod output;
mod pack;
mod parsing;
mod progress;
mod pull;
mod registry_args;
mod remove;
mod row;
mod stack;
mod summary;
mod tag;
mod target;
mod translate;
mod umount;
mod unpack;
mod unpack_layer;
mod usage;
mod verify;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::error::{Advice, Surroundings};
use crate::store::{Store, Sync};
use crate::{Limits, Progress, Run};

use console::ConsoleArgs;
use image_args::ImageArgs;

const EXAMPLES: &str = "\
Examples:
  lowerdir unpack alpine.tar                  every layer into the store
  lowerdir mount alpine.tar /mnt              the merged tree, read-only
  lowerdir mount alpine.tar /mnt --tmpfs      with changes, kept in memory
  lowerdir umount /mnt
  lowerdir bundle alpine.tar box              what runc runs
  lowerdir stack oci:layout:latest            what follows lowerdir= in a mount
  lowerdir unpack-layer layer.tar.gz dir --lower below
  lowerdir pack changes -o layer.tar.gz       an upperdir becomes a layer
  lowerdir verify --all                       check the store for changes
  lowerdir rm alpine:3.20

Exit status: 0 done, 1 failed, 2 usage, 3 image refused or digest mismatch, 4 a limit was reached.
On SIGINT, SIGTERM or SIGHUP it cleans up and dies of that signal: a shell reports 130, 143 or 129.
`lowerdir help VERB` has examples of each verb.";

const ROOTS_STORE: &str = "/var/lib/lowerdir";

/// Unpack every layer of an OCI or Docker image into its own overlayfs-ready directory.
///
/// Whiteouts (`.wh.NAME`) and opaque markers (`.wh..wh..opq`) become overlayfs whiteouts and opaque
/// directories, so that one overlay mount of the layer directories is exactly the image.
#[derive(Debug, Parser)]
#[command(name = "lowerdir", version, after_help = EXAMPLES, max_term_width = 80)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// Where images and their layers live [env: LOWERDIR_STORE] [default: /var/lib/lowerdir; without
    /// root, $XDG_DATA_HOME/lowerdir or ~/.local/share/lowerdir]
    ///
    /// May be given several times: layers are looked up in each store, in this order. New layers go to
    /// the first store that is writable; the others are only read. In LOWERDIR_STORE, separate stores
    /// with colons.
    #[arg(long, global = true, value_name = "DIR")]
    store: Vec<PathBuf>,
    /// How many cores to use, which is how many layers to read at once; 1 uses one worker thread [default: all]
    #[arg(short, long, global = true, value_name = "N")]
    jobs: Option<std::num::NonZero<usize>>,
    #[command(flatten)]
    console: ConsoleArgs,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Unpack(unpack::Unpack),
    UnpackLayer(unpack_layer::UnpackLayer),
    Stack(stack::Stack),
    Mount(mount::Mount),
    Umount(umount::Umount),
    Bundle(bundle::Bundle),
    Pack(pack::Pack),
    Translate(translate::Translate),
    Convert(convert::Convert),
    Images(images::Images),
    Ls(ls::Ls),
    Inspect(inspect::Inspect),
    Diff(diff::Diff),
    Flatten(flatten::Flatten),
    Pull(pull::Pull),
    Export(export::Export),
    Verify(verify::Verify),
    Tag(tag::Tag),
    Rm(remove::Rm),
    Prune(remove::Prune),
    Completions(completions::Completions),
    CompleteNames(completions::CompleteNames),
    Man(man::Man),
}

/// The whole program: parses the arguments, runs the verb, says what went wrong, and returns the exit
/// status.
pub fn run() -> ExitCode {
    if let Some(status) = hold_user_namespace::run_if_asked() {
        return ExitCode::from(status);
    }
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match parsing::parse(&arguments) {
        Ok(Some(cli)) => cli,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            let status = error.kind().exit_status();
            let error = error.into();
            if !output::is_broken_pipe(&error) {
                console::show_error(&error, status, parsing::asks_for_json(&arguments));
            }
            return ExitCode::from(status);
        }
    };
    raise_descriptor_limit();
    ExitCode::from(run_verb(&cli))
}

/// Each layer of a stack is held open: 500 of them are over the usual soft limit.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where that is denied, an image of few layers works all the same.
    let _ = setrlimit(Resource::Nofile, limit);
}

fn run_verb(cli: &Cli) -> u8 {
    let global = &cli.global;
    // If this fails, a file over the limit of `ulimit -f` kills the program with SIGXFSZ.
    let _ = interrupt::survive_file_limits();
    let done = match &cli.verb {
        Verb::Unpack(verb) => unpack::run(verb, global),
        Verb::UnpackLayer(verb) => unpack_layer::run(verb, global),
        Verb::Stack(verb) => stack::run(verb, global),
        Verb::Mount(verb) => mount::run(verb, global),
        Verb::Umount(verb) => umount::run(verb, global),
        Verb::Bundle(verb) => bundle::run(verb, global),
        Verb::Pack(verb) => pack::run(verb, global),
        Verb::Translate(verb) => translate::run(verb, global),
        Verb::Convert(verb) => convert::run(verb, global),
        Verb::Images(verb) => images::run(verb, global),
        Verb::Ls(verb) => ls::run(verb, global),
        Verb::Inspect(verb) => inspect::run(verb, global),
        Verb::Diff(verb) => diff::run(verb, global),
        Verb::Flatten(verb) => flatten::run(verb, global),
        Verb::Pull(verb) => pull::run(verb, global),
        Verb::Export(verb) => export::run(verb, global),
        Verb::Verify(verb) => verify::run(verb, global),
        Verb::Tag(verb) => tag::run(verb, global),
        Verb::Rm(verb) => remove::rm(verb, global),
        Verb::Prune(verb) => remove::prune(verb, global),
        Verb::Completions(verb) => completions::run(verb),
        Verb::CompleteNames(verb) => completions::names(verb, global),
        Verb::Man(verb) => man::run(verb),
    };
    let Err(error) = done else {
        return 0;
    };
    let mut error = of_the_system(error);
    note_privilege(&mut error);
    let known = error.downcast_ref::<crate::Error>();
    let status = known.map_or(1, |known| known.kind().exit_status());
    // The reader of a closed pipe has read all that it wanted.
    if output::is_broken_pipe(&error) {
        return status;
    }
    global.console.error(&error, status);
    if let Some(signal) = interrupt::received() {
        interrupt::die(signal);
    }
    status
}

/// Turns a bare `std::io` error into an error of the library, so that it gets a kind and a hint.
fn of_the_system(error: anyhow::Error) -> anyhow::Error {
    // An error of the library, which came through a reader or a writer.
    let carries = |error: &std::io::Error| {
        error
            .get_ref()
            .is_some_and(|inner| inner.is::<crate::Error>())
    };
    let error = match error.downcast_ref::<std::io::Error>().is_some_and(carries) {
        true => match error
            .downcast::<std::io::Error>()
            .map(std::io::Error::downcast::<crate::Error>)
        {
            Ok(Ok(known)) => return known.into(),
            Ok(Err(error)) => error.into(),
            Err(error) => error,
        },
        false => error,
    };
    let cause = error.root_cause().downcast_ref::<std::io::Error>();
    match cause.and_then(std::io::Error::raw_os_error) {
        Some(errno) if !error.is::<crate::Error>() => {
            let cause = std::io::Error::from_raw_os_error(errno);
            let mut doing: Vec<String> = error.chain().map(ToString::to_string).collect();
            doing.pop();
            if doing.is_empty() {
                doing.push("asking the system".into());
            }
            crate::Error::system(doing.join(": "), cause).into()
        }
        _ => error,
    }
}

/// Adds the caller's privilege, on which a hint may depend.
fn note_privilege(error: &mut anyhow::Error) {
    let at = Surroundings {
        privilege: crate::fs::root::surroundings::privilege(),
        ..Surroundings::default()
    };
    if let Some(known) = error.downcast_mut::<crate::Error>() {
        known.note(at);
    }
}

/// The user's own store, unless the user is root: see the XDG Base Directory Specification.
fn default_store() -> crate::Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok(ROOTS_STORE.into());
    }
    let of = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let data = of("XDG_DATA_HOME").or_else(|| of("HOME").map(|home| home.join(".local/share")));
    data.map(|data| data.join("lowerdir")).ok_or_else(|| {
        crate::Error::usage("neither XDG_DATA_HOME nor HOME says where the store is")
            .hint(Advice::AnotherStore)
    })
}

impl Global {
    /// The store, to write to: it is made if there is none.
    fn open_store(&self) -> anyhow::Result<Store> {
        // Opening removes what a killed run left; a signal must not cut that short.
        interrupt::listen()?;
        Ok(Store::open_all(&self.stores()?)?)
    }

    /// The store, for what needs one. Errors: there is none.
    fn open_existing_store(&self) -> anyhow::Result<Store> {
        interrupt::listen()?;
        let store = self.find_store()?;
        Ok(store.ok_or_else(|| self.no_store())?)
    }

    /// The store, if there is one. Makes none.
    fn find_store(&self) -> crate::Result<Option<Store>> {
        Store::open_existing(&self.stores()?)
    }

    fn no_store(&self) -> crate::Error {
        let stores = self.stores().unwrap_or_default();
        let path = stores
            .first()
            .map(|path| crate::path::display(path.as_os_str().as_encoded_bytes()).to_string());
        crate::Error::not_found(format!("there is no store at {}", path.unwrap_or_default()))
            .hint(Advice::NoStore)
    }

    /// The option comes before the environment, which separates stores with colons, as PATH does.
    fn stores(&self) -> crate::Result<Vec<PathBuf>> {
        if !self.store.is_empty() {
            return Ok(self.store.clone());
        }
        let listed = std::env::var_os("LOWERDIR_STORE").unwrap_or_default();
        let listed = std::env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty());
        let listed: Vec<PathBuf> = listed.collect();
        match listed.is_empty() {
            true => Ok(vec![default_store()?]),
            false => Ok(listed),
        }
    }

    fn how<'a>(&self, sync: Sync, limits: Limits, progress: &'a dyn Progress) -> Run<'a> {
        Run {
            limits,
            jobs: self.jobs.map_or(Run::default().jobs, usize::from),
            sync,
            progress,
        }
    }
}
