//! The mount points and the working directory that an image lacks, in a lower directory above its layers:
//! a runtime could not create them in a read-only root, and would leave them among the changes in a
//! writable one.

use std::collections::BTreeSet;

use crate::error::Result;
use crate::fs::root::Dir;
use crate::path::EntryPath;
use crate::unpack::system;

use super::inside::{Inside, Lookup};

/// The directories that the image lacks, sorted. Below another mount, the runtime creates them itself.
pub fn lacking<'a>(
    destinations: impl Iterator<Item = &'a str>,
    cwd: &str,
    inside: &Inside,
) -> Result<Vec<EntryPath>> {
    // An image may name many volumes.
    let mut mounted = BTreeSet::new();
    let mut lacking = Vec::new();
    for destination in destinations {
        let path = EntryPath::parse(destination.as_bytes())?;
        let is_inside = path.ancestors().any(|above| mounted.contains(&above));
        if !is_inside && let Lookup::Absent(place) = inside.find(&path)? {
            lacking.push(place);
        }
        mounted.insert(path);
    }
    if let Lookup::Absent(place) = inside.find_text(cwd)?
        && !place.ancestors().any(|above| mounted.contains(&above))
    {
        lacking.push(place);
    }
    lacking.sort();
    lacking.dedup();
    Ok(lacking)
}

/// Makes them in an empty directory. `describe` gives each directory its attributes: parents look as they
/// do in the image.
pub fn make(
    top: &Dir,
    lacking: &[EntryPath],
    describe: impl Fn(&EntryPath, &Dir) -> Result<()>,
) -> Result<()> {
    let mut made = BTreeSet::from([EntryPath::root()]);
    for path in lacking {
        let ancestors: Vec<EntryPath> = path.ancestors().collect();
        for path in ancestors.iter().rev().chain([path]) {
            let Some((parent, name)) = path.split() else {
                continue;
            };
            if !made.insert(path.clone()) {
                continue;
            }
            top.open_beneath(&parent)
                .and_then(|directory| directory.make_dir(name))
                .map_err(|error| system("making a mount point", error).at_entry(path))?;
        }
    }
    // Creating a child changes the time of its directory, so children come first.
    for path in made.iter().rev() {
        let directory = top.open_beneath(path);
        let directory = directory.map_err(|error| system("opening it", error).at_entry(path))?;
        describe(path, &directory)?;
    }
    Ok(())
}
