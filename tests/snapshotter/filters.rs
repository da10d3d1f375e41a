//! The filter language of List: what containerd documents, and what it says of the rest.

use lowerdir::snapshotter::Code;
use lowerdir::snapshotter::{Failure, Snapshotter};
use proptest::prelude::*;

use crate::place::{Place, labels};

fn there(place: &Place) -> Snapshotter {
    let snapshotter = place.open();
    let zone = labels([
        ("zone", "north"),
        ("a.b", "dotted"),
        ("very complex/label", "some thing"),
    ]);
    snapshotter.prepare("one", None, zone).unwrap();
    snapshotter
        .commit("base", "one", labels([("zone", "south")]))
        .unwrap();
    snapshotter
        .prepare(
            "two",
            Some("base"),
            labels([("zone", "north"), ("a.b", "dotted")]),
        )
        .unwrap();
    snapshotter
        .view(
            "look",
            Some("base"),
            labels([("very complex/label", "some thing")]),
        )
        .unwrap();
    snapshotter
}

fn listed(snapshotter: &Snapshotter, filters: &[&str]) -> Result<Vec<String>, Failure> {
    let filters: Vec<String> = filters.iter().map(|filter| filter.to_string()).collect();
    let found = snapshotter.list(&filters)?;
    Ok(found.into_iter().map(|snapshot| snapshot.name).collect())
}

#[test]
fn a_filter_asks_for_fields_and_labels() {
    let place = Place::new();
    let snapshotter = there(&place);
    for (filter, expected) in [
        ("", vec!["base", "look", "two"]),
        ("name==two", vec!["two"]),
        ("name==\"two\"", vec!["two"]),
        ("name!=two", vec!["base", "look"]),
        ("name~=^(t|b)", vec!["base", "two"]),
        ("name~=/^(t|b)/", vec!["base", "two"]),
        ("kind==committed", vec!["base"]),
        ("kind==active", vec!["two"]),
        ("kind==view", vec!["look"]),
        ("parent==base", vec!["look", "two"]),
        ("parent==\"\"", vec!["base"]),
        ("parent", vec!["base", "look", "two"]),
        ("labels.zone", vec!["base", "two"]),
        ("labels.zone==north", vec!["two"]),
        // What is absent is not equal to anything.
        ("labels.zone!=north", vec!["base", "look"]),
        ("labels.a.b==dotted", vec!["two"]),
        ("labels.\"a.b\"", vec!["two"]),
        (
            "labels.\"very complex/label\"==\"some thing\"",
            vec!["look"],
        ),
        ("labels.|very complex/label|", vec!["look"]),
        ("labels.\"very\\x20complex\\u002flabel\"", vec!["look"]),
        ("labels.zone==north,parent==base", vec!["two"]),
        (" labels . zone == north , parent == base ", vec!["two"]),
        ("labels.zone==north,kind==view", vec![]),
        ("nothing", vec![]),
        ("nothing==", vec![]),
    ] {
        match listed(&snapshotter, &[filter]) {
            Ok(found) => assert_eq!(found, expected, "{filter}"),
            Err(_) => assert_eq!(filter, "nothing==", "{filter}"),
        }
    }
}

#[test]
fn of_several_filters_one_must_match() {
    let place = Place::new();
    let snapshotter = there(&place);
    let found = listed(&snapshotter, &["kind==view", "labels.zone==south"]);
    assert_eq!(found.unwrap(), ["base", "look"]);
    assert_eq!(listed(&snapshotter, &[]).unwrap().len(), 3);
}

#[test]
fn what_does_not_follow_the_grammar_is_refused() {
    let place = Place::new();
    let snapshotter = there(&place);
    for filter in [
        "name==",
        "name=two",
        "name===two",
        "name<two",
        "==two",
        ",",
        "name==two,",
        ",name==two",
        "name two",
        "name==two three",
        "name==.two",
        "labels.",
        "labels..zone",
        "\"name",
        "name==\"two",
        "name==\"\\q\"",
        "name==\"\\x4\"",
        "name==\"\\777\"",
        "name==\"\\ud800\"",
        "name==\"\\xff\"",
        "name~=(",
        "näme==two",
    ] {
        let refused = listed(&snapshotter, &[filter]).expect_err(filter);
        assert_eq!(refused.code, Code::InvalidArgument, "{filter}");
    }
}

/// As Go's `strconv.Quote` does it for these characters.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for one in text.chars() {
        match one {
            '"' | '\\' => quoted.extend(['\\', one]),
            '\n' => quoted += "\\n",
            other if other.is_control() => quoted += &format!("\\u{:04x}", u32::from(other)),
            other => quoted.push(other),
        }
    }
    quoted + "\""
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// What is quoted is found, whatever it is, and nothing else is.
    #[test]
    fn a_quotation_stands_for_any_name(name in "\\PC{1,12}|[ -~\n\t]{1,12}", value in "\\PC{1,8}") {
        let place = Place::new();
        let snapshotter = place.open();
        snapshotter.prepare(&name, None, labels([(&name, &value)])).unwrap();
        snapshotter.prepare(&format!("{name}+"), None, labels([])).unwrap();
        for filter in [
            format!("name=={}", quoted(&name)),
            format!("labels.{}=={}", quoted(&name), quoted(&value)),
        ] {
            prop_assert_eq!(listed(&snapshotter, &[&filter]).unwrap(), [name.as_str()]);
        }
    }

    #[test]
    fn no_filter_makes_it_panic(filter in "[a-z.,=!~\"\\\\/|x0-9 ]{0,20}") {
        let place = Place::new();
        let _ = listed(&place.open(), &[&filter]);
    }
}
