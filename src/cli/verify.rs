//! `lowerdir verify IMAGE`

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::Error;
use crate::digest::Digest;
use crate::image::{Image, Layer, LayerBlob, Platform};
use crate::store::{self, Store, Verifier};

use super::json::{Name, SummaryJson};
use super::limits::LimitsArgs;
use super::options::SyncArgs;
use super::progress::{self, Shown};
use super::summary::count;
use super::{Global, ImageArgs, output};

const EXAMPLES: &str = "\
Examples:
  lowerdir verify --all                  every layer in the store
  lowerdir verify alpine:3.20            an image in the store, by name or digest
  lowerdir verify --quick alpine.tar     an image in the store, by its archive
  lowerdir verify --repair alpine.tar    unpack its damaged layers again

Exit status: 0 nothing was changed, 3 something was changed.";

/// Check that layers in the store are as they were unpacked.
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
    /// Its number in the image, unless all layers of a store are verified.
    layer: Option<usize>,
    chain_id: Option<Digest>,
    image: Option<Digest>,
    store: PathBuf,
    /// The path in the layer, escaped.
    path: Option<String>,
    what: String,
}

/// A finding as JSON.
#[derive(Serialize)]
struct FindingJson<'a> {
    layer: Option<usize>,
    chain_id: Option<&'a Digest>,
    image: Option<&'a Digest>,
    #[serde(flatten)]
    store: Name,
    #[serde(flatten)]
    path: Name,
    change: &'a str,
}

impl Finding {
    fn json(&self) -> FindingJson<'_> {
        FindingJson {
            layer: self.layer,
            chain_id: self.chain_id.as_ref(),
            image: self.image.as_ref(),
            store: Name::path("store", &self.store),
            path: match &self.path {
                Some(path) => Name::escaped("path", path),
                None => Name::null("path"),
            },
            change: &self.what,
        }
    }
}

/// How much was verified: the last line of JSON.
#[derive(Serialize)]
struct Summary {
    layers: usize,
    changed: usize,
    images: usize,
    damaged_images: usize,
    repaired: usize,
    quick: bool,
}

/// What was verified, and what was found.
#[derive(Default)]
struct Outcome {
    layers: usize,
    /// Image records.
    images: usize,
    /// Which of the layers were changed.
    damaged: BTreeSet<usize>,
    /// One of them that is in a read-only store.
    beyond_repair: Option<String>,
    findings: Vec<Finding>,
    /// Why the names of the images are not known.
    names: Option<Error>,
    /// Why the rest was not verified.
    failure: Option<Error>,
}

pub fn run(verb: &Verify, global: &Global) -> anyhow::Result<()> {
    let (store, image) = verb.open(global)?;
    let mut outcome = verify(verb, image.as_ref(), &store, global)?;
    print(&outcome.findings, global)?;
    // A system error is no reason to repair anything.
    if let Some(failure) = outcome.failure.take() {
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
            return outcome.print_summary(0, verb, global);
        }
        0 => match outcome.names.take() {
            Some(error) if records == 1 => {
                outcome.print_summary(0, verb, global)?;
                let text = "the names of the images are damaged";
                let hint = error.hint_text().unwrap_or_default().to_string();
                return Err(Error::mismatch(text).hint(hint).into());
            }
            _ => "the record of an image is damaged".into(),
        },
        _ => format!("{damaged} of {total} changed"),
    };
    match image.filter(|_| verb.repair) {
        Some(image) => {
            global.console.note(&text);
            if let Some(layer) = &outcome.beyond_repair {
                let text = format!("{layer} is damaged, and that store is read-only");
                let hint = "replace that store, or leave it out of --store";
                return Err(Error::conflict(text).hint(hint).into());
            }
            let repaired = repair(verb, &image, &store, &outcome.damaged, global)?;
            outcome.print_summary(repaired, verb, global)
        }
        None => {
            outcome.print_summary(0, verb, global)?;
            Err(Error::mismatch(text)
                .hint("`lowerdir verify --repair IMAGE` unpacks it again, from the image's blobs")
                .into())
        }
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

    /// The store and, without --all, the image.
    fn open(&self, global: &Global) -> anyhow::Result<(Store, Option<Image>)> {
        let Some(reference) = self.image.clone() else {
            return Ok((global.open_existing_store()?, None));
        };
        let image = ImageArgs {
            reference,
            platform: self.platform.clone(),
            blobs: self.blobs.clone(),
        };
        let (store, image) = image.open_with_store(global)?;
        let is_missing = |layer: &Layer| matches!(layer.blob, LayerBlob::Missing { .. });
        if self.repair && !image.layers.is_empty() && image.layers.iter().all(is_missing) {
            let text = "there are no blobs to repair the image from";
            let hint = "name the archive or layout that it came from";
            return Err(Error::not_found(text).hint(hint).into());
        }
        Ok((store, Some(image)))
    }

    /// The layers to verify, from the image or the store's records.
    fn layers(&self, image: Option<&Image>, store: &Store) -> crate::Result<Vec<Named>> {
        if let Some(image) = image {
            image.check_media_types()?;
            let labels = image.layers.iter().map(|layer| layer.label());
            return Ok(labels.zip(image.chain_ids()).collect());
        }
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
        Ok(layers.into_iter().map(|id| (id.short(), id)).collect())
    }
}

impl Outcome {
    /// Errors: the system could not look.
    fn check_record(&mut self, store: &Store, digest: &Digest) -> crate::Result<()> {
        self.images += 1;
        self.findings.extend(damaged_record(store, digest)?);
        Ok(())
    }

    /// Checks the names and the records of a store. Errors: the system could not look.
    fn check_images(&mut self, store: &Store) -> crate::Result<()> {
        self.check_names(store)?;
        let mut digests = store.image_digests()?.into_iter();
        digests.try_for_each(|digest| self.check_record(store, &digest))
    }

    /// Errors: the system could not look.
    fn check_names(&mut self, store: &Store) -> crate::Result<()> {
        let error = match store.names() {
            Ok(_) => return Ok(()),
            Err(error) if error.is_system_fault() => return Err(error),
            Err(error) => error,
        };
        self.findings.push(Finding {
            of: "names of the images".into(),
            layer: None,
            chain_id: None,
            image: None,
            store: store.path().to_path_buf(),
            path: None,
            what: error.reason(),
        });
        self.names = Some(error);
        Ok(())
    }

    /// The last line of JSON.
    fn print_summary(&self, repaired: usize, verb: &Verify, global: &Global) -> anyhow::Result<()> {
        if !global.console.json {
            return Ok(());
        }
        let damaged_images = self.findings.iter().filter(|one| one.image.is_some());
        let summary = Summary {
            layers: self.layers,
            changed: self.damaged.len(),
            images: self.images,
            damaged_images: damaged_images.count(),
            repaired,
            quick: verb.quick,
        };
        output::json(&SummaryJson { summary })?;
        Ok(())
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
    let shown = Shown::start(&global.console, &progress::Expected::layers(expected))?;
    let verifier = verb.verifier(store, &shown)?;
    // Another process may have removed an image before the verifier locked the store.
    let layers = verb.layers(image, store)?;
    let mut outcome = Outcome {
        layers: layers.len(),
        ..Outcome::default()
    };
    if verb.all {
        for one in store.each() {
            outcome.check_images(one)?;
        }
    }
    // A repaired layer is reported by `unpack`, which also writes a missing listing.
    if let Some(image) = image.filter(|_| verb.repair)
        && store.image_digests()?.contains(&image.digest)
    {
        outcome.check_record(store, &image.digest)?;
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
            outcome.findings.push(Finding {
                of,
                layer: image.map(|_| index + 1),
                chain_id: Some(chain_id.clone()),
                image: None,
                store: change.store,
                path: change.path,
                what: change.what,
            });
        }
    }
    Ok(outcome)
}

/// The finding about an image's record, if it is damaged. Errors: the system could not look.
fn damaged_record(store: &Store, digest: &Digest) -> crate::Result<Option<Finding>> {
    let error = match store.open_image(digest) {
        Ok(_) => return Ok(None),
        Err(error) if error.is_system_fault() => return Err(error),
        Err(error) => error,
    };
    Ok(Some(Finding {
        of: format!("image {}", digest.short()),
        layer: None,
        chain_id: None,
        image: Some(digest.clone()),
        store: store.path().to_path_buf(),
        path: None,
        what: error.reason(),
    }))
}

fn print(findings: &[Finding], global: &Global) -> anyhow::Result<()> {
    for finding in findings {
        if global.console.json {
            output::json(&finding.json())?;
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

/// Unpacks damaged layers again, and returns how many.
fn repair(
    verb: &Verify,
    image: &Image,
    store: &Store,
    damaged: &BTreeSet<usize>,
    global: &Global,
) -> anyhow::Result<usize> {
    let layers = {
        let shown = Shown::start(&global.console, &progress::Expected::image(image))?;
        let how = global.how(verb.sync.sync(), verb.limits.limits(), &shown);
        store::repair(image, store, damaged, how)?
    };
    let unpacked = layers.iter().filter(|layer| !layer.was_there).count();
    let text = count(unpacked as u64, "layer was", "layers were");
    global.console.note(&format!("{text} unpacked again"));
    Ok(unpacked)
}
