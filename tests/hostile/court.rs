//! Where a case is tried: a directory with a canary in it, and a store of its own for each case.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use support::directory::{in_memory, make_removable};

use crate::canary::Canary;
use crate::oci::{self, Compression};
use crate::tarball::LayerBuilder;
use crate::watched;

/// Seconds.
const WORK: u64 = 10;
const MEMORY: u64 = 64 << 20;

/// How a case has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The image is refused: status 3.
    Refused,
    /// A limit is reached: status 4.
    Limit,
    /// It is unpacked: status 0.
    Unpacked,
    /// It depends on the file system or on who runs it.
    Either,
}

/// One image.
pub struct Case {
    name: String,
    /// Blobs as they are stored, the lowest first.
    layers: Vec<Vec<u8>>,
    compression: Compression,
    option: Option<&'static str>,
    end: End,
    /// What the root of the only layer has to hold in the end, sorted.
    holds: Option<&'static [&'static str]>,
}

impl Case {
    pub fn new(name: impl Into<String>, end: End, layers: Vec<LayerBuilder>) -> Case {
        let layers = layers.into_iter().map(LayerBuilder::finish).collect();
        Case::of_bytes(name, end, layers)
    }

    pub fn of_bytes(name: impl Into<String>, end: End, layers: Vec<Vec<u8>>) -> Case {
        Case {
            name: name.into(),
            layers,
            compression: Compression::Plain,
            option: None,
            end,
            holds: None,
        }
    }

    /// With an option more.
    pub fn with(mut self, option: &'static str) -> Case {
        self.option = Some(option);
        self
    }

    /// Unpacked, it has these names and no others in its root.
    pub fn holding(mut self, names: &'static [&'static str]) -> Case {
        self.holds = Some(names);
        self
    }

    pub fn compressed(mut self, compression: Compression) -> Case {
        self.compression = compression;
        self
    }
}

pub struct Court {
    site: TempDir,
    canary: String,
}

impl Court {
    pub fn new() -> Court {
        let site = in_memory();
        let canary = site.path().join("canary");
        Canary::build(&canary);
        let canary = canary.to_str().expect("text").to_string();
        Court { site, canary }
    }

    /// Its absolute path.
    pub fn canary(&self) -> &str {
        &self.canary
    }

    /// Why a case failed.
    pub fn try_case(&self, case: &Case) -> Option<String> {
        let place = self.site.path().join("place");
        fs::create_dir(&place).expect("a new directory");
        let layers: Vec<_> = case
            .layers
            .iter()
            .map(|tar| (tar.clone(), case.compression))
            .collect();
        oci::write_layout(&place.join("image"), "latest", &layers);
        let before = Canary::look(Path::new(&self.canary));
        let verdict = self.unpack(case, &place);
        let after = Canary::look(Path::new(&self.canary));
        let verdict = verdict
            .and_then(|()| {
                (before == after)
                    .then_some(())
                    .ok_or("the canary changed".into())
            })
            .and_then(|()| self.nothing_is_left(&place))
            .and_then(|()| case.holds.map_or(Ok(()), |names| holds(&place, names)));
        make_removable(&place);
        fs::remove_dir_all(&place).expect("it can be removed");
        verdict.err().map(|why| format!("{}: {why}", case.name))
    }

    fn unpack(&self, case: &Case, place: &Path) -> Result<(), String> {
        let run = watched::unpack(place, case.option, WORK)?;
        if run.memory > MEMORY {
            return Err(format!("it took {} MiB of memory", run.memory >> 20));
        }
        let expected = match case.end {
            End::Refused => &[3][..],
            End::Limit => &[4],
            End::Unpacked => &[0],
            End::Either => &[0, 1, 3, 4],
        };
        match run.status.code() {
            Some(code) if expected.contains(&code) => Ok(()),
            _ => Err(format!(
                "{}, not {:?}: {}",
                run.status, case.end, run.stderr
            )),
        }
    }

    fn nothing_is_left(&self, place: &Path) -> Result<(), String> {
        for name in ["staging", "locks"] {
            let entries = fs::read_dir(place.join("store").join(name));
            if entries.is_ok_and(|mut entries| entries.next().is_some()) {
                return Err(format!("something is left in {name}"));
            }
        }
        Ok(())
    }
}

/// Whether the only layer of a store holds these names.
fn holds(place: &Path, expected: &[&str]) -> Result<(), String> {
    let names = |path: &Path| -> Vec<String> {
        let entries = fs::read_dir(path).into_iter().flatten();
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<String> = names
            .map(|name| name.into_string().expect("text"))
            .collect();
        names.sort();
        names
    };
    let layers = place.join("store/layers/sha256");
    let [layer] = &names(&layers)[..] else {
        return Err("there is not one layer".into());
    };
    match names(&layers.join(layer).join("fs")) {
        found if found == expected => Ok(()),
        found => Err(format!("it holds {found:?}, not {expected:?}")),
    }
}
