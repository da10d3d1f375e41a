//! Counts and warnings in words, for a layer and for an image.

use std::collections::BTreeMap;

use indicatif::{HumanBytes, HumanCount};

use crate::image::Image;
use crate::unpack::{Report, Warning};
use crate::view::View;

use super::console::ConsoleArgs;

/// `512 entries, 7.40 MiB, 1 deletion`.
pub fn counts(report: &Report) -> String {
    let mut parts = vec![
        count(report.entries, "entry", "entries"),
        HumanBytes(report.bytes).to_string(),
    ];
    if report.deletions > 0 {
        parts.push(count(report.deletions, "deletion", "deletions"));
    }
    if report.opaque > 0 {
        parts.push(count(
            report.opaque,
            "opaque directory",
            "opaque directories",
        ));
    }
    parts.join(", ")
}

/// `1 layer`, `2 layers`.
pub fn count(number: u64, one: &str, many: &str) -> String {
    let unit = if number == 1 { one } else { many };
    format!("{} {unit}", HumanCount(number))
}

/// The sum of several reports, without their warnings.
pub fn sum<'a>(reports: impl Iterator<Item = &'a Report>) -> Report {
    reports.fold(Report::default(), |sum, report| Report {
        entries: sum.entries + report.entries,
        bytes: sum.bytes + report.bytes,
        deletions: sum.deletions + report.deletions,
        opaque: sum.opaque + report.opaque,
        warnings: BTreeMap::new(),
    })
}

/// The same for an image that was only read, and for what was then written from it.
pub fn warn_of_view(console: &ConsoleArgs, image: &Image, view: &View, done: Option<&Report>) {
    let layers = image.layers.iter().zip(&view.layers);
    let layers: Vec<(String, Report)> = layers
        .map(|(layer, applied)| (layer.label(), applied.report()))
        .collect();
    let layers = layers.iter().map(|(label, report)| (label.clone(), report));
    warn(
        console,
        layers.chain(done.map(|report| (String::new(), report))),
    );
}

/// Explains each kind of warning once, with its count and its first path. The label is that of the
/// layer, and may be empty.
pub fn warn<'a>(console: &ConsoleArgs, reports: impl Iterator<Item = (String, &'a Report)>) {
    let mut all: BTreeMap<Warning, (u64, String)> = BTreeMap::new();
    for (label, report) in reports {
        for (warning, occurrences) in &report.warnings {
            let first = || match label.is_empty() {
                true => occurrences.first.clone(),
                false => format!("layer {label}: {}", occurrences.first),
            };
            let (count, _) = all.entry(*warning).or_insert_with(|| (0, first()));
            *count += occurrences.count;
        }
    }
    for (warning, (times, first)) in all {
        let times = HumanCount(times);
        console.warning(&format!("{times} x {} (first: {first})", warning.explain()));
    }
}
