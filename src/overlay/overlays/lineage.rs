//! `Lineage`: where a directory lies, by device and inode, whatever it and those around it are called.

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::CWD;

use super::{Relation, open};

/// A directory and those that it is in, the nearest first, whatever they are called.
#[derive(Clone, Debug)]
pub struct Lineage(Vec<Identity>);

/// What tells one directory from all others.
pub type Identity = (u64, u64);

/// No path has more components than this.
const DEEPEST: usize = 4096;

impl Lineage {
    /// Of a directory that is open.
    pub fn of(directory: OwnedFd) -> io::Result<Lineage> {
        let mut lineage = Vec::new();
        let mut here = directory;
        loop {
            let identity = identity(&here)?;
            // The root is its own parent.
            if lineage.last() == Some(&identity) || lineage.len() == DEEPEST {
                return Ok(Lineage(lineage));
            }
            lineage.push(identity);
            // Without root, what lies around it may be closed.
            match open(&here, Path::new("..")) {
                Ok(around) => here = around,
                Err(_) => return Ok(Lineage(lineage)),
            }
        }
    }

    /// Of a directory that a user named.
    pub fn named(path: &Path) -> io::Result<Lineage> {
        Lineage::of(open(CWD, path)?)
    }

    /// Of a directory alone, for which nothing lies around it.
    pub fn of_one(path: &Path) -> io::Result<Lineage> {
        Ok(Lineage(vec![identity(&open(CWD, path)?)?]))
    }

    /// Where this one lies, seen from another.
    pub fn relation_to(&self, other: &Lineage) -> Option<Relation> {
        if self.0[0] == other.0[0] {
            Some(Relation::Same)
        } else if self.0.contains(&other.0[0]) {
            Some(Relation::Inside)
        } else if other.0.contains(&self.0[0]) {
            Some(Relation::Around)
        } else {
            None
        }
    }
}

/// Finds out where one directory lies, seen from many others.
#[derive(Debug)]
pub struct Seeker {
    own: Lineage,
    /// Directories that do not lie in it, most of which many others lie in.
    outside: HashSet<Identity>,
}

impl Seeker {
    /// For a directory with this lineage.
    pub fn new(own: Lineage) -> Seeker {
        let outside = HashSet::new();
        Seeker { own, outside }
    }

    /// Where it lies, seen from another. What cannot be looked at counts as somewhere else.
    pub fn relation_to(&mut self, other: OwnedFd) -> Option<Relation> {
        let first = identity(&other).ok()?;
        if let Some(steps) = self.own.0.iter().position(|own| *own == first) {
            return Some(match steps {
                0 => Relation::Same,
                _ => Relation::Inside,
            });
        }
        let (mut here, mut passed) = (other, Vec::new());
        while let Ok(identity) = identity(&here) {
            if identity == self.own.0[0] {
                return Some(Relation::Around);
            }
            let is_known = self.outside.contains(&identity);
            if is_known || passed.last() == Some(&identity) || passed.len() == DEEPEST {
                break;
            }
            passed.push(identity);
            match open(&here, Path::new("..")) {
                Ok(around) => here = around,
                Err(_) => break,
            }
        }
        self.outside.extend(passed);
        None
    }
}

fn identity(directory: &OwnedFd) -> io::Result<Identity> {
    let stat = rustix::fs::fstat(directory)?;
    Ok((stat.st_dev, stat.st_ino))
}
