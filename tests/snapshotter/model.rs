//! Random requests, answered by the snapshotter and by a model of what containerd documents: a map
//! of names, with nothing on disk. Both must say the same, before and after a restart.

use std::collections::BTreeMap;

use lowerdir::snapshotter::Code;
use lowerdir::snapshotter::{Failure, Labels, SnapshotKind, Snapshotter};

use crate::dice::Dice;
use crate::place::{Place, labels};

const NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "f", ""];
const ROUNDS: u64 = 12;
const REQUESTS: usize = 120;

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    kind: SnapshotKind,
    parent: Option<String>,
    labels: Labels,
}

#[derive(Default)]
struct Model(BTreeMap<String, Entry>);

impl Model {
    fn make(
        &mut self,
        kind: SnapshotKind,
        key: &str,
        parent: Option<&str>,
        labels: Labels,
    ) -> Result<(), Code> {
        self.check_free(key)?;
        if let Some(parent) = parent {
            let found = self.0.get(parent).ok_or(Code::NotFound)?;
            if found.kind != SnapshotKind::Committed {
                return Err(Code::InvalidArgument);
            }
        }
        let parent = parent.map(Into::into);
        self.0.insert(
            key.into(),
            Entry {
                kind,
                parent,
                labels,
            },
        );
        Ok(())
    }

    fn commit(&mut self, name: &str, key: &str, labels: Labels) -> Result<(), Code> {
        let active = self.0.get(key).ok_or(Code::NotFound)?.clone();
        if active.kind != SnapshotKind::Active {
            return Err(Code::FailedPrecondition);
        }
        self.check_free(name)?;
        self.0.remove(key);
        let kind = SnapshotKind::Committed;
        self.0.insert(
            name.into(),
            Entry {
                kind,
                labels,
                ..active
            },
        );
        Ok(())
    }

    fn remove(&mut self, key: &str) -> Result<(), Code> {
        self.0.get(key).ok_or(Code::NotFound)?;
        if self
            .0
            .values()
            .any(|entry| entry.parent.as_deref() == Some(key))
        {
            return Err(Code::FailedPrecondition);
        }
        self.0.remove(key);
        Ok(())
    }

    fn mounts(&self, key: &str) -> Result<(), Code> {
        match self.0.get(key).ok_or(Code::NotFound)?.kind {
            SnapshotKind::Committed => Err(Code::FailedPrecondition),
            SnapshotKind::Active | SnapshotKind::View => Ok(()),
        }
    }

    fn update(&mut self, name: &str, labels: &Labels, field: &str) -> Result<(), Code> {
        let entry = self.0.get_mut(name).ok_or(Code::NotFound)?;
        match field.strip_prefix("labels.") {
            None if field == "labels" => entry.labels = labels.clone(),
            None => return Err(Code::InvalidArgument),
            Some(one) => {
                entry.labels.remove(one);
                entry.labels.extend(
                    labels
                        .get_key_value(one)
                        .map(|(name, value)| (name.clone(), value.clone())),
                );
            }
        }
        Ok(())
    }

    fn check_free(&self, name: &str) -> Result<(), Code> {
        match name {
            "" => Err(Code::InvalidArgument),
            name if self.0.contains_key(name) => Err(Code::AlreadyExists),
            _ => Ok(()),
        }
    }
}

fn code<T>(done: Result<T, Failure>) -> Result<(), Code> {
    done.map(drop).map_err(|failure| failure.code)
}

/// One request to both: its name, and what each says.
fn request(
    dice: &mut Dice,
    snapshotter: &Snapshotter,
    model: &mut Model,
) -> (String, Result<(), Code>, Result<(), Code>) {
    let (one, other) = (*dice.pick(&NAMES), *dice.pick(&NAMES));
    let parent = Some(other).filter(|other| !other.is_empty());
    let value = dice.below(3).to_string();
    let labels = match dice.percent(50) {
        true => labels([("x", value.as_str())]),
        false => labels([("y", value.as_str()), ("z", "1")]),
    };
    let (said, expected, what) = match dice.below(8) {
        0 | 1 => (
            code(snapshotter.prepare(one, parent, labels.clone())),
            model.make(SnapshotKind::Active, one, parent, labels),
            "prepare",
        ),
        2 => (
            code(snapshotter.view(one, parent, labels.clone())),
            model.make(SnapshotKind::View, one, parent, labels),
            "view",
        ),
        3 | 4 => (
            code(snapshotter.commit(one, other, labels.clone())),
            model.commit(one, other, labels),
            "commit",
        ),
        5 => (code(snapshotter.remove(one)), model.remove(one), "remove"),
        6 => (code(snapshotter.mounts(one)), model.mounts(one), "mounts"),
        _ => {
            let field = *dice.pick(&["labels", "labels.x", "labels.z", "kind"]);
            let fields = [field.to_string()];
            (
                code(snapshotter.update(one, &labels, &fields)),
                model.update(one, &labels, field),
                "update",
            )
        }
    };
    (format!("{what} {one:?} {other:?}"), said, expected)
}

fn compare(place: &Place, snapshotter: &Snapshotter, model: &Model, when: &str) {
    let there: BTreeMap<String, Entry> = snapshotter
        .list(&[])
        .unwrap()
        .into_iter()
        .map(|snapshot| {
            assert_eq!(
                snapshotter.stat(&snapshot.name).unwrap(),
                snapshot,
                "{when}"
            );
            let (kind, parent, labels) = (snapshot.kind, snapshot.parent, snapshot.labels);
            (
                snapshot.name,
                Entry {
                    kind,
                    parent,
                    labels,
                },
            )
        })
        .collect();
    assert_eq!(there, model.0, "{when}");
    assert_eq!(place.directories().len(), model.0.len(), "{when}");
    for (name, entry) in &model.0 {
        // An empty directory: itself.
        assert_eq!(
            snapshotter.usage(name).unwrap().inodes,
            1,
            "{when}: {entry:?}"
        );
    }
}

#[test]
fn random_requests_are_answered_as_the_model_has_it() {
    for seed in 0..ROUNDS {
        let (place, mut dice) = (Place::new(), Dice::new(seed));
        let (mut snapshotter, mut model) = (place.open(), Model::default());
        let mut past = Vec::new();
        for _ in 0..REQUESTS {
            let (what, said, expected) = request(&mut dice, &snapshotter, &mut model);
            past.push(what);
            assert_eq!(said, expected, "seed {seed}: {past:#?}");
            if dice.percent(3) {
                drop(snapshotter);
                snapshotter = place.open();
            }
        }
        compare(
            &place,
            &snapshotter,
            &model,
            &format!("seed {seed}: {past:#?}"),
        );
        drop(snapshotter);
        compare(&place, &place.open(), &model, "after a restart");
        assert!(place.told.lock().unwrap().is_empty());
    }
}
