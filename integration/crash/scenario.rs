//! What a disturbed run was about to do: where it starts, what must hold after it, and what the next
//! run must bring about.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::Verdict;
use super::snapshot::Snapshot;
use super::subject::{Subject, is_clean, lowerdir, output, told, verifies, works};
use crate::registries::Registry;

/// The directory that `unpack-layer` makes.
const TARGET: &str = "fs";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Unpack,
    UnpackLayer,
    Remove,
    Prune,
    Repair,
    Tag,
    /// `unpack` of an image in a registry.
    Fetch,
}

impl Verb {
    /// Those that make the same calls in each run.
    pub const ALL: [Verb; 6] = [
        Verb::Unpack,
        Verb::UnpackLayer,
        Verb::Remove,
        Verb::Prune,
        Verb::Repair,
        Verb::Tag,
    ];
}

/// A verb with a place to start from.
pub struct Scenario {
    pub verb: Verb,
    directory: PathBuf,
    /// Copied for each run.
    start: PathBuf,
    words: Vec<String>,
    _registry: Option<Registry>,
    /// What an undisturbed run makes of it.
    end: Snapshot,
}

impl Scenario {
    /// In a directory of its own.
    pub fn new(verb: Verb, directory: &Path) -> Scenario {
        Scenario::with(verb, directory, None)
    }

    /// [`Verb::Fetch`] from this registry.
    pub fn fetch(registry: Registry, directory: &Path) -> Scenario {
        Scenario::with(Verb::Fetch, directory, Some(registry))
    }

    fn with(verb: Verb, directory: &Path, registry: Option<Registry>) -> Scenario {
        let directory = directory.join(format!("{verb:?}"));
        let start = directory.join("start");
        fs::create_dir_all(&start).expect("a directory to start in");
        let subject = Subject::write(&directory, 12);
        let words = match &registry {
            Some(registry) => {
                let pushed = registry.push(&subject.image("one"), "one:latest", &[]);
                pushed.expect("undisturbed, it works");
                let image = format!("docker://{}/one:latest", registry.host());
                vec!["unpack".into(), image]
            }
            None => words(verb, &subject),
        };
        prepare(verb, &subject, &start);
        let mut scenario = Scenario {
            verb,
            directory,
            start,
            words,
            _registry: registry,
            end: Snapshot::of(Path::new("/nothing")),
        };
        let place = scenario.place();
        works(scenario.command(place.path())).expect("undisturbed, it works");
        if verb != Verb::UnpackLayer {
            verifies(place.path()).expect("undisturbed, it leaves whole layers");
        }
        scenario.end = Snapshot::of_place(place.path());
        scenario
    }

    /// A fresh copy of the start.
    pub fn place(&self) -> TempDir {
        let place = tempfile::tempdir_in(&self.directory).expect("a place");
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(self.start.join(".")).arg(place.path());
        assert!(output(&mut copy).status.success(), "{copy:?}");
        place
    }

    /// The run that is disturbed.
    pub fn command(&self, place: &Path) -> Command {
        lowerdir(place, &self.words)
    }

    /// What must hold after it, whatever became of it.
    pub fn nothing_is_half_done(&self, place: &Path) -> Verdict {
        match self.verb {
            // What was damaged may be so still, and nothing else may be.
            Verb::Repair => self.damage_is_old_or_gone(place),
            Verb::UnpackLayer => self.target_is_whole_or_absent(place),
            Verb::Tag => names_are_on_one_image(place).and_then(|()| verifies(place)),
            _ => verifies(place),
        }
    }

    fn target_is_whole_or_absent(&self, place: &Path) -> Verdict {
        let target = place.join(TARGET);
        match target.exists() {
            true => Snapshot::of_place(place)
                .part(TARGET)
                .same(&self.end.part(TARGET)),
            false => Ok(()),
        }
    }

    fn damage_is_old_or_gone(&self, place: &Path) -> Verdict {
        let mut verify = lowerdir(place, &["verify", "--all"]);
        let run = output(&mut verify);
        let text = String::from_utf8_lossy(&run.stdout);
        let known = |line: &str| line.ends_with(DAMAGE);
        match run.status.code() {
            Some(0 | 3) if text.lines().all(known) => Ok(()),
            _ => Err(told(&verify, &run)),
        }
    }

    /// The next run does what this one did not, and cleans up after it.
    pub fn next_run_ends_it(&self, place: &Path) -> Verdict {
        match self.verb {
            Verb::Unpack | Verb::Prune | Verb::Repair | Verb::Tag | Verb::Fetch => {
                works(self.command(place))?
            }
            Verb::UnpackLayer => {
                // A target that is whole stays; the next layer beside it is what cleans up.
                if !place.join(TARGET).exists() {
                    works(self.command(place))?;
                }
                let mut words = self.words.clone();
                words[2] = "other".into();
                works(lowerdir(place, &words))?;
                fs::remove_dir_all(place.join("other")).expect("it was made");
            }
            Verb::Remove => {
                // An image that is forgotten leaves layers that nobody needs.
                let run = output(&mut self.command(place));
                let text = String::from_utf8_lossy(&run.stderr);
                if !run.status.success() && !text.contains("no image in the store is named") {
                    return Err(told(&self.command(place), &run));
                }
                works(lowerdir(place, &["prune"]))?;
            }
        }
        if self.verb != Verb::UnpackLayer {
            is_clean(place)?;
        }
        // That was verified.
        Snapshot::of_place(place).same(&self.end)
    }

    /// Whether it is what an undisturbed run makes; what that left over, the next run removes.
    pub fn is_done(&self, place: &Path) -> Verdict {
        let there = Snapshot::of_place(place);
        match self.verb {
            Verb::UnpackLayer => there.part(TARGET).same(&self.end.part(TARGET)),
            _ => there.same(&self.end),
        }
    }
}

/// The names `one` and `two` are there, each on one image, whether or not `one` has moved.
fn names_are_on_one_image(place: &Path) -> Verdict {
    let mut images = lowerdir(place, &["images", "--quiet"]);
    let run = output(&mut images);
    let text = String::from_utf8_lossy(&run.stdout);
    let is_once = |name: &str| text.lines().filter(|line| line.starts_with(name)).count() == 1;
    match run.status.success() && is_once("one:latest ") && is_once("two:latest ") {
        true => Ok(()),
        false => Err(told(&images, &run)),
    }
}

/// What `verify` says of the damage that [`prepare`] does.
const DAMAGE: &str = "content was changed";

fn words(verb: Verb, subject: &Subject) -> Vec<String> {
    let words: &[&str] = match verb {
        Verb::Fetch => unreachable!("a registry says which"),
        Verb::Unpack => &["unpack", &subject.image("one")],
        Verb::UnpackLayer => {
            let blob = subject.blob("one", 1);
            return ["unpack-layer", &blob, TARGET, "--lower", "below"]
                .map(Into::into)
                .into();
        }
        Verb::Remove => &["rm", "one"],
        Verb::Prune => &["prune"],
        Verb::Tag => &["tag", "two", "one", "new:1"],
        Verb::Repair => &["verify", "--repair", &subject.image("one")],
    };
    words.iter().map(ToString::to_string).collect()
}

fn prepare(verb: Verb, subject: &Subject, start: &Path) {
    let run = |words: &[&str]| works(lowerdir(start, words)).expect("it is undisturbed");
    match verb {
        Verb::Unpack | Verb::Fetch => return,
        Verb::UnpackLayer => {
            return run(&["unpack-layer", "--base", &subject.blob("one", 0), "below"]);
        }
        _ => {}
    }
    run(&["unpack", &subject.image("two")]);
    run(&["unpack", &subject.image("one")]);
    let images = || fs::read_dir(start.join("store/images")).expect("images");
    match verb {
        Verb::Prune => {
            for image in images() {
                let path = image.expect("an image").path();
                match path.is_dir() {
                    true => fs::remove_dir_all(path).expect("it is there"),
                    false => fs::remove_file(path).expect("it is there"),
                }
            }
        }
        Verb::Repair => {
            for layer in fs::read_dir(start.join("store/layers/sha256")).expect("layers") {
                damage(&layer.expect("a layer").path().join("fs"));
            }
        }
        _ => {}
    }
}

/// Changes what a file holds, and nothing that can be seen without reading it.
fn damage(layer: &Path) {
    let Some(file) = ["srv/data", "one/first"]
        .iter()
        .map(|file| layer.join(file))
        .find(|file| file.exists())
    else {
        return;
    };
    let mut bytes = fs::read(&file).expect("a file");
    bytes[0] ^= 1;
    let times = fs::metadata(&file)
        .and_then(|is| is.modified())
        .expect("its time");
    fs::write(&file, bytes).expect("it can be written");
    let open = fs::File::options()
        .write(true)
        .open(&file)
        .expect("it is there");
    open.set_modified(times).expect("times can be set");
}
