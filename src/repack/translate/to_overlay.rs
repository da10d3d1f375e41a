//! From a layer of an image to the form of overlayfs: the sink that writes the actions of a layer into an
//! archive. Entries pass as they come; marks are kept for the end. What each entry means is decided in
//! [`crate::layer`].

use std::io::{Read, Write};

use crate::error::{Advice, Error, Result};
use crate::layer::action::Action;
use crate::layer::apply::Layer;
use crate::layer::below::Below;
use crate::layer::intake::Intake;
use crate::layer::lower::Unknown;
use crate::layer::options::Options;
use crate::layer::report::{Report, Warning};
use crate::layer::tree::DirId;
use crate::layer::xattrs;
use crate::limits::Limits;
use crate::meta::Meta;
use crate::tar::archive::{Archive, Entry, EntryKind};

use super::{Output, marks};

/// Translates one layer.
pub struct ToOverlay<'a, W> {
    options: &'a Options,
    limits: &'a Limits,
    out: Output<W>,
    intake: Intake<'a>,
    layer: Layer<'a, Unknown>,
    actions: Vec<Action>,
}

impl<'a, W: Write> ToOverlay<'a, W> {
    /// `below` has no markers: they are known only at the end.
    pub fn new(
        options: &'a Options,
        limits: &'a Limits,
        below: &'a Below<Unknown>,
        out: W,
    ) -> ToOverlay<'a, W> {
        ToOverlay {
            options,
            limits,
            out: Output::new(out),
            intake: Intake::new(options, limits),
            layer: Layer::new(options, limits, Some(below)),
            actions: Vec::new(),
        }
    }

    pub fn entry<R: Read>(&mut self, archive: &mut Archive<R>, entry: Entry) -> Result<()> {
        if archive.is_overruled() {
            let report = &mut self.out.report;
            report.warn(Warning::GlobalHeaderSkipped, &entry.path);
        }
        let Some(entry) = self.intake.take(entry)? else {
            return Ok(());
        };
        let mut actions = std::mem::take(&mut self.actions);
        self.layer.apply(entry, &mut actions)?;
        for action in actions.drain(..) {
            self.carry_out(action, archive)?;
        }
        self.actions = actions;
        Ok(())
    }

    fn carry_out<R: Read>(&mut self, action: Action, archive: &mut Archive<R>) -> Result<()> {
        match action {
            // A later entry takes the place of an earlier one.
            Action::Remove {
                is_full_directory, ..
            } => check_replaced(is_full_directory),
            Action::MakeDirectory(directory) => {
                let node = self.layer.tree.directory(directory);
                // An implied one is written at the end, unless something was in its way.
                match node.is_described || node.replaces {
                    true => self.directory(directory),
                    false => Ok(()),
                }
            }
            Action::Describe(directory) => self.directory(directory),
            Action::Make {
                place,
                inode,
                kind,
                mut meta,
                ..
            } => {
                xattrs::escape(&mut meta, self.options.dialect);
                self.layer.tree.inode_mut(inode).describe(&meta);
                self.out.entry(place, kind, meta)?;
                self.out.data(archive)
            }
            Action::Link {
                inode,
                source: (_, source),
                place,
                ..
            } => {
                // Rule H1: its attributes are those of the inode.
                let meta = self.layer.tree.inode(inode).meta();
                self.out.entry(place, EntryKind::HardLink(source), meta)
            }
            Action::CopyUp { .. } | Action::LeaveOut { .. } => {
                unreachable!("nothing is known below, and nothing is left out")
            }
        }
    }

    fn directory(&mut self, directory: DirId) -> Result<()> {
        let tree = &self.layer.tree;
        let meta = tree.meta(directory);
        let mut meta = meta.unwrap_or_else(Meta::of_implied_directory);
        xattrs::escape(&mut meta, self.options.dialect);
        self.out
            .entry(tree.path(directory), EntryKind::Directory, meta)
    }

    /// Writes the marks, and ends the archive.
    pub fn finish(mut self) -> Result<(W, Report)> {
        let marked = marks::of(
            self.layer.finish(),
            &self.intake.markers,
            self.options,
            self.limits,
        )?;
        for directory in marked {
            directory.write(&mut self.out, self.options.dialect)?;
        }
        self.out.report.add_warnings(&self.intake.report);
        self.out.finish()
    }
}

/// Rule N3 for tar readers: over a directory something else stands only if that is empty.
fn check_replaced(is_full_directory: bool) -> Result<()> {
    match is_full_directory {
        false => Ok(()),
        true => Err(Error::refused(
            "it takes the place of a directory of this layer that has something in it",
        )
        .hint(Advice::ReplacesDirectory)),
    }
}
