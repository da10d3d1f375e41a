//! `lowerdir translate [IN] [OUT]`

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::compress::codec::Opened;
use crate::dialect::{Dialect, Namespace, Whiteout};
#[cfg(feature = "registry")]
use crate::image::Layer;
use crate::repack::translate::{TranslateOptions, to_oci, to_overlay};

use super::Global;
#[cfg(feature = "registry")]
use super::ImageArgs;
#[cfg(feature = "registry")]
use super::input::is_image;
use super::input::open_layer;
#[cfg(feature = "registry")]
use super::interrupt;
use super::json::ReportJson;
use super::limits::LimitsArgs;
use super::options::{ForeignXattrsArg, WhiteoutArg};
use super::outfile::{Inputs, OutFile, Stoppable, is_stdout};
#[cfg(feature = "registry")]
use super::registry_args::RegistryArgs;
use super::summary::{counts, warn};
#[cfg(feature = "registry")]
use super::usage::usage;
use crate::Error;
#[cfg(feature = "registry")]
use crate::view::check_number;

const BUFFER: usize = 1 << 20;
/// What to type instead of writing the archive to a terminal.
const INSTEAD: &str = "redirect it, or name OUT after IN";

const EXAMPLES: &str = "\
Examples:
  lowerdir translate layer.tar.gz | tar x -C dir --xattrs --xattrs-include='*' \\
      --numeric-owner --delay-directory-restore         GNU tar, as root
  lowerdir translate layer.tar.gz | bsdtar -xp -C dir
  lowerdir translate --layer 2 docker://alpine layer.tar
  lowerdir translate layer.tar.gz layer.tar && mkfs.erofs --tar=f layer.erofs layer.tar
  tar c --xattrs --xattrs-include='*' -C upper . | lowerdir translate --to oci - layer.tar

Some questions need the layers below, and only `unpack-layer --lower` answers them: which
deletions are needed, the attributes of directories without an entry (here 0755 0:0), and where a
parent leads that is a symbolic link below. Hard links to files below, an opaque root, and a file
that replaces a directory with something in it are refused. With --to oci, the mount's records of
renamed directories (redirect) and of files with changed attributes (metacopy) are refused: `pack`
resolves them.";

/// Translate a layer archive for another tool to unpack.
///
/// Deletions become entries for 0:0 character devices, and opaque directories get the PAX xattr
/// trusted.overlay.opaque; --to oci does the reverse. Entries are passed on in order. Markers may
/// come anywhere in a layer, so their marks are written at the end: each directory concerned is
/// repeated, followed by its deletions.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Translate {
    /// The archive, plain or compressed by gzip, zstd or xz; `-` is standard input; or, with --layer, an
    /// image in a registry: docker://NAME
    #[arg(value_name = "IN", default_value = "-")]
    input: PathBuf,
    /// Where the translated archive goes, uncompressed; `-` is standard output
    #[arg(value_name = "OUT", default_value = "-")]
    output: PathBuf,
    /// What to translate it to
    #[arg(long, value_enum, value_name = "FORM", default_value = "overlay")]
    to: Form,
    /// Read or write user.overlay.* xattrs in overlayfs's form
    #[arg(long)]
    userxattr: bool,
    /// How to write deletions; both forms are read
    #[arg(long, value_enum, value_name = "HOW", default_value = "device")]
    whiteout: WhiteoutArg,
    /// Keep SELinux labels (security.selinux xattrs)
    #[arg(long)]
    selinux: bool,
    /// What becomes of xattrs that belong to another system or file system
    #[arg(long, value_enum, value_name = "HOW", default_value = "lenient")]
    xattrs: ForeignXattrsArg,
    /// Which layer of the image, counted from 1 at the bottom
    #[cfg(feature = "registry")]
    #[arg(long, value_name = "N")]
    layer: Option<usize>,
    #[command(flatten)]
    limits: LimitsArgs,
    #[cfg(feature = "registry")]
    #[command(flatten)]
    registry: RegistryArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// Overlayfs's form
    Overlay,
    /// An image layer, with `.wh.` markers
    Oci,
}

/// Where the archive comes from.
enum Input {
    File(File),
    /// A layer of an image in a registry.
    #[cfg(feature = "registry")]
    Layer(Box<Layer>),
}

impl Input {
    /// The file, if it is one.
    fn file(&self) -> Option<&File> {
        match self {
            Input::File(file) => Some(file),
            #[cfg(feature = "registry")]
            Input::Layer(_) => None,
        }
    }

    fn open(&self) -> anyhow::Result<Box<dyn Read>> {
        Ok(match self {
            Input::File(file) => Box::new(file.try_clone()?),
            #[cfg(feature = "registry")]
            Input::Layer(layer) => Box::new(layer.blob.get()?.open()),
        })
    }

    /// The reason for an error, which may be in what a registry sent.
    fn blame(&self, error: Error) -> Error {
        match self {
            Input::File(_) => error,
            #[cfg(feature = "registry")]
            Input::Layer(layer) => match layer.blob.get() {
                Ok(blob) => blob.blame(error, &|| interrupt::received().is_some()),
                Err(error) => error,
            },
        }
    }

    /// Errors: what a registry sent has another digest than it promised.
    fn check(&self) -> crate::Result<()> {
        match self {
            Input::File(_) => Ok(()),
            #[cfg(feature = "registry")]
            Input::Layer(layer) => {
                let blob = layer.blob.get()?;
                let checked = blob.check_arrived(&|| interrupt::received().is_some());
                checked.map_err(|error| error.in_layer(layer.label()))
            }
        }
    }
}

impl Translate {
    #[cfg(feature = "registry")]
    fn open(&self, global: &Global) -> anyhow::Result<Input> {
        if !is_image(&self.input) {
            self.registry.refuse()?;
            if self.layer.is_some() {
                return Err(usage(
                    "--layer is for an image in a registry: docker://NAME",
                ));
            }
            return Ok(Input::File(open_layer(&self.input)?));
        }
        let Some(number) = self.layer else {
            return Err(usage(
                "an image has several layers: choose one with --layer",
            ));
        };
        let image = ImageArgs {
            reference: self.input.clone().into(),
            platform: None,
            blobs: None,
        };
        let mut image = image.open(&self.registry, global)?;
        check_number(&image, number)?;
        let layer = image.layers.swap_remove(number - 1);
        Ok(Input::Layer(Box::new(layer)))
    }

    #[cfg(not(feature = "registry"))]
    fn open(&self, _: &Global) -> anyhow::Result<Input> {
        Ok(Input::File(open_layer(&self.input)?))
    }
}

pub fn run(verb: &Translate, global: &Global) -> anyhow::Result<()> {
    let named = || verb.input.display().to_string();
    let input = verb.open(global)?;
    let options = TranslateOptions {
        dialect: Dialect {
            whiteout: match verb.whiteout {
                WhiteoutArg::Device => Whiteout::Device,
                WhiteoutArg::Xattr => Whiteout::Xattr,
            },
            namespace: match verb.userxattr {
                true => Namespace::User,
                false => Namespace::Trusted,
            },
        },
        selinux: verb.selinux,
        foreign_xattrs: verb.xattrs.into(),
        limits: verb.limits.limits(),
    };
    let inputs = Inputs {
        file: input.file(),
        ..Inputs::default()
    };
    let out = Stoppable(OutFile::open(&verb.output, &inputs, INSTEAD)?);
    let archive = Opened::new(input.open()?, options.limits).with_context(named)?;
    let archive = BufReader::with_capacity(BUFFER, archive);
    let done = match verb.to {
        Form::Overlay => to_overlay(archive, &options, out),
        Form::Oci => to_oci(archive, &options, out),
    };
    let (out, report) = done
        .map_err(|error| input.blame(error))
        .with_context(named)?;
    input.check().with_context(named)?;
    out.0.keep()?;
    warn(&global.console, std::iter::once((String::new(), &report)));
    if global.console.json {
        global
            .console
            .result(&ReportJson::from(&report), is_stdout(&verb.output))?;
        return Ok(());
    }
    global.console.note(&counts(&report));
    Ok(())
}
