//! `lowerdir verify IMAGE`

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::digest::Digest;
use crate::image::{Image, Platform, Reference};
use crate::store::{self, Store, Verifier};
use crate::{Error, Kind};

use super::limits::LimitsArgs;
use super::options::SyncArgs;
use super::progress::Shown;
use super::summary::count;
use super::{Global, ImageArgs, output};

const ENOENT: i32 = rustix::io::Errno::NOENT.raw_os_error();

const EXAMPLES: &str = "\
Examples:
  lowerdir verify --all                  every layer in the store
  lowerdir verify alpine:3.20            an image in the store, by name or digest
  lowerdir verify --quick alpine.tar     an image in the store, by its archive
  lowerdir verify --repair alpine.tar    unpack its damaged layers again

Exit status: 0 nothing was changed, 3 something was changed.";

/// Compare layers in the store with the listings that were recorded when they were unpacked.
///
/// Prints each path that was changed, and how (type, mode, owner, time, xattrs, target or content), and
/// each path that is missing or was added.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Verify {
    /// An image in the store, by one of its names, its digest, or the first four or more digits of its
    /// digest; or any IMAGE that `unpack` accepts
    #[arg(required_unless_present = "all")]
    image: Option<OsString>,
    /// Verify every layer in the store, and report those that its images lack
    #[arg(long, conflicts_with_all = ["image", "repair"])]
    all: bool,
    /// Do not compare the content of files, which would have to be read
    #[arg(long)]
    quick: bool,
    /// Unpack damaged layers again; IMAGE must be one that `unpack` accepts
    #[arg(long)]
    repair: bool,
    /// Platform of the image, as OS/ARCHITECTURE[/VARIANT], or either of the first two alone
    /// [default: this machine's]
    #[arg(long)]
    platform: Option<Platform>,
    /// IMAGE is the digest of a manifest or an index in this content store
    #[arg(long, value_name = "DIR")]
    blobs: Option<PathBuf>,
    #[command(flatten)]
    sync: SyncArgs,
    #[command(flatten)]
    limits: LimitsArgs,
}

/// A layer to verify: its label and its chain ID.
type Named = (String, Digest);

/// A change in a layer, or a damaged image record.
struct Finding {
    /// `layer 1 (sha256:ab12…)`
    of: String,
    json: serde_json::Value,
    /// The path in the layer.
    path: Option<String>,
    what: String,
}

/// What was verified, and what was found.
#[derive(Default)]
struct Outcome {
    layers: usize,
    /// Which of them were changed.
    damaged: BTreeSet<usize>,
    /// One of them that is in a read-only store.
    beyond_repair: Option<String>,
    findings: Vec<Finding>,
    /// Why the rest was not verified.
    failure: Option<Error>,
}

pub fn run(verb: &Verify, global: &Global) -> anyhow::Result<()> {
    let store = global.open_store()?;
    let image = verb.open_image(&store)?;
    let outcome = verify(verb, image.as_ref(), &store, global)?;
    print(&outcome.findings, global)?;
    // A system error is no reason to repair anything.
    if let Some(failure) = outcome.failure {
        return Err(failure.into());
    }
    let total = count(outcome.layers as u64, "layer", "layers");
    let (damaged, records) = (outcome.damaged.len(), outcome.findings.len());
    let text = match damaged {
        0 if records == 0 => {
            let quick = match verb.quick {
                true => " (--quick compares no content)",
                false => "",
            };
            let note = format!("{total}: nothing was changed{quick}");
            global.console.note(&note);
            return Ok(());
        }
        0 => "the record of an image is damaged".into(),
        _ => format!("{damaged} of {total} changed"),
    };
    match image.filter(|_| verb.repair) {
        Some(image) => {
            global.console.note(&text);
            if let Some(layer) = outcome.beyond_repair {
                let text = format!("{layer} is damaged, and that store is read-only");
                let hint = "replace that store, or leave it out of --store";
                return Err(Error::conflict(text).hint(hint).into());
            }
            repair(verb, &image, &store, &outcome.damaged, global)
        }
        None => Err(Error::mismatch(text)
            .hint("`lowerdir verify --repair IMAGE` unpacks it again, from the image's blobs")
            .into()),
    }
}

impl Verify {
    fn verifier<'a>(&self, store: &'a Store, shown: &'a Shown) -> crate::Result<Verifier<'a>> {
        if self.quick {
            Verifier::quick(store, shown)
        } else {
            Verifier::new(store, shown)
        }
    }

    /// The image, if its blobs are available; `None` if only the store has it.
    fn open_image(&self, store: &Store) -> anyhow::Result<Option<Image>> {
        let Some(reference) = self.image.clone() else {
            return Ok(None);
        };
        if !self.repair && self.blobs.is_none() && self.stored(store)?.is_some() {
            return Ok(None);
        }
        let (platform, blobs) = (self.platform.clone(), self.blobs.clone());
        let image = ImageArgs {
            reference,
            platform,
            blobs,
        };
        image.open().map(Some).map_err(|error| {
            let known = error.downcast_ref::<Error>();
            match known.and_then(Error::raw_os_error) == Some(ENOENT) {
                true => self.nothing_there().into(),
                false => error,
            }
        })
    }

    /// The image of this name in the first store that has it, and that store. Another image's damaged
    /// record does not matter if the blobs are available.
    fn stored<'a>(&self, store: &'a Store) -> crate::Result<Option<(&'a Store, Digest)>> {
        let Some(name) = self.image.as_ref().and_then(|name| name.to_str()) else {
            return Ok(None);
        };
        for one in store.each() {
            match one.find_image(name) {
                Ok(Some(digest)) => return Ok(Some((one, digest))),
                Ok(None) => {}
                Err(error) if error.kind() != Kind::NotFound && self.is_file() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn is_file(&self) -> bool {
        let reference = self.image.as_ref().map(Reference::parse);
        reference.is_some_and(|reference| reference.is_ok_and(|parsed| parsed.path.exists()))
    }

    fn nothing_there(&self) -> Error {
        let name = self.image.as_deref().unwrap_or_default();
        let name = crate::path::display(name.as_encoded_bytes()).to_string();
        match self.repair {
            true => Error::not_found(format!("there are no blobs of {name} to repair it from"))
                .hint("name the archive or layout, as `unpack` takes it"),
            false => Error::not_found(format!(
                "{name} is neither an image in the store nor a file"
            ))
            .hint("`lowerdir images` lists the images in the store"),
        }
    }

    /// The layers to verify, from the image or the store's records.
    fn layers(&self, image: Option<&Image>, store: &Store) -> crate::Result<Vec<Named>> {
        if let Some(image) = image {
            image.check_media_types()?;
            let labels = image.layers.iter().map(|layer| layer.label());
            return Ok(labels.zip(image.chain_ids()).collect());
        }
        if self.all {
            let mut layers = BTreeSet::new();
            for one in store.each() {
                layers.extend(one.layers()?);
                for digest in one.image_digests()? {
                    match one.image(&digest) {
                        Ok(image) => layers.extend(image.layers),
                        Err(error) if error.is_system_fault() => return Err(error),
                        // Reported as a damaged record.
                        Err(_) => {}
                    }
                }
            }
            return Ok(layers.into_iter().map(|id| (id.short(), id)).collect());
        }
        let (one, digest) = self.stored(store)?.ok_or_else(|| self.nothing_there())?;
        let layers = one.image(&digest)?.layers.into_iter().enumerate();
        let named = layers.map(|(index, id)| (format!("{} ({})", index + 1, id.short()), id));
        Ok(named.collect())
    }
}

/// Compares the layers. Prints nothing while progress is shown.
fn verify(
    verb: &Verify,
    image: Option<&Image>,
    store: &Store,
    global: &Global,
) -> anyhow::Result<Outcome> {
    let expected = verb.layers(image, store)?.len();
    let shown = Shown::start(&global.console, expected)?;
    let verifier = verb.verifier(store, &shown)?;
    // Another process may have removed an image before the verifier locked the store.
    let layers = verb.layers(image, store)?;
    let mut outcome = Outcome {
        layers: layers.len(),
        ..Outcome::default()
    };
    if verb.all {
        for one in store.each() {
            for digest in one.image_digests()? {
                outcome.findings.extend(damaged_record(one, &digest)?);
            }
        }
    }
    // A repaired layer is reported by `unpack`, which also writes a missing listing.
    if let Some(image) = image.filter(|_| verb.repair)
        && store.image_digests()?.contains(&image.digest)
    {
        outcome
            .findings
            .extend(damaged_record(store, &image.digest)?);
    }
    let is_one = store.each().count() == 1;
    for (index, (label, chain_id)) in layers.iter().enumerate() {
        let changes = match verifier.layer(index, label, chain_id) {
            Ok(changes) => changes,
            Err(error) => {
                outcome.failure = Some(error);
                break;
            }
        };
        for change in changes {
            outcome.damaged.insert(index);
            let mut of = format!("layer {label}");
            // The store is only of interest if there are several.
            if !is_one {
                of += &format!(" in {}", change.store.display());
            }
            if change.store != store.path() {
                outcome.beyond_repair.get_or_insert(of.clone());
            }
            let place = output::text(&change.store);
            outcome.findings.push(Finding {
                of,
                json: json!({ "layer": label, "chain_id": chain_id, "store": place }),
                path: change.path,
                what: change.what,
            });
        }
    }
    Ok(outcome)
}

/// Errors: the system could not look.
fn damaged_record(store: &Store, digest: &Digest) -> crate::Result<Option<Finding>> {
    let error = match store.image(digest) {
        Ok(_) => return Ok(None),
        Err(error) if error.is_system_fault() => return Err(error),
        Err(error) => error,
    };
    Ok(Some(Finding {
        of: format!("image {}", digest.short()),
        json: json!({ "image": digest, "store": output::text(store.path()) }),
        path: None,
        what: error.reason(),
    }))
}

fn print(findings: &[Finding], global: &Global) -> anyhow::Result<()> {
    for finding in findings {
        if global.console.json {
            let mut object = finding.json.clone();
            object["path"] = json!(finding.path);
            object["change"] = json!(finding.what);
            output::json(&object)?;
            continue;
        }
        let path = finding.path.iter().map(|path| format!("{path}: "));
        let line = format!(
            "{}: {}{}",
            finding.of,
            path.collect::<String>(),
            finding.what
        );
        let line = crate::escape::controls(&line);
        output::lines(std::iter::once(line.as_bytes()))?;
    }
    Ok(())
}

fn repair(
    verb: &Verify,
    image: &Image,
    store: &Store,
    damaged: &BTreeSet<usize>,
    global: &Global,
) -> anyhow::Result<()> {
    let layers = {
        let shown = Shown::start(&global.console, image.layers.len())?;
        let how = global.how(verb.sync.sync(), verb.limits.limits(), &shown);
        store::repair(image, store, damaged, how)?
    };
    let unpacked = layers.iter().filter(|layer| !layer.was_there).count();
    let unpacked = count(unpacked as u64, "layer was", "layers were");
    global.console.note(&format!("{unpacked} unpacked again"));
    Ok(())
}
