//! Documents as bytes: the same value is always the same text, so that a digest of it means something.
//! All JSON documents that this library stores go through here: records of the
//! store, manifests, configs and indexes, the config of a bundle, the documents of other engines. Lines
//! of which there is one for each file of a layer are of a `struct`, which has one order anyway.
//!
//! Members are sorted by name. serde_json alone would do so as long as no other crate of the program
//! asks it for `preserve_order`, and write numbers as they were read if one asks for
//! `arbitrary_precision`: cargo gives all crates the features that one of them wants.

use serde::ser::{Error as _, SerializeMap};
use serde::{Serialize, Serializer};
use serde_json::{Number, Value};

/// A document in one line, without a line break.
pub fn compact(document: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&Sorted(&serde_json::to_value(document)?))
}

/// A document for people to read, with a line break at its end.
pub fn pretty(document: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(&Sorted(&serde_json::to_value(document)?))?;
    text.push(b'\n');
    Ok(text)
}

struct Sorted<'a>(&'a Value);

impl Serialize for Sorted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::String(text) => serializer.serialize_str(text),
            Value::Number(number) => serialize_number(number, serializer),
            Value::Array(elements) => serializer.collect_seq(elements.iter().map(Sorted)),
            Value::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                members.sort_unstable_by_key(|(name, _)| name.as_str());
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, &Sorted(value))?;
                }
                map.end()
            }
        }
    }
}

/// As a number that is no text: `1e2` is 100.0 whatever it was read from.
fn serialize_number<S: Serializer>(number: &Number, serializer: S) -> Result<S::Ok, S::Error> {
    let is_negative_zero = number.as_i64() == Some(0) && number.to_string().starts_with('-');
    if is_negative_zero {
        return serializer.serialize_f64(-0.0);
    }
    if let Some(value) = number.as_u64() {
        return serializer.serialize_u64(value);
    }
    if let Some(value) = number.as_i64() {
        return serializer.serialize_i64(value);
    }
    match number.as_f64().filter(|value| value.is_finite()) {
        Some(value) => serializer.serialize_f64(value),
        None => Err(S::Error::custom(format!("number out of range: {number}"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_are_sorted_at_every_depth() {
        let document = json!({ "b": [{ "z": null, "a": true }], "a": { "d": "e\n", "c": 1 } });
        let text = String::from_utf8(compact(&document).unwrap()).unwrap();
        assert_eq!(text, r#"{"a":{"c":1,"d":"e\n"},"b":[{"a":true,"z":null}]}"#);
        let text = String::from_utf8(pretty(&json!({ "b": {}, "a": [] })).unwrap()).unwrap();
        assert_eq!(text, "{\n  \"a\": [],\n  \"b\": {}\n}\n");
    }

    #[test]
    fn a_number_is_written_by_its_value() {
        for (read, written) in [
            ("1e2", "100.0"),
            ("1.10", "1.1"),
            ("-0", "-0.0"),
            ("18446744073709551615", "18446744073709551615"),
            ("18446744073709551616", "1.8446744073709552e+19"),
            ("-9223372036854775808", "-9223372036854775808"),
        ] {
            let value: Value = serde_json::from_str(read).unwrap();
            let text = String::from_utf8(compact(&value).unwrap()).unwrap();
            assert_eq!(text, written, "{read}");
        }
    }
}
