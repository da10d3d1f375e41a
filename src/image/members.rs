//! The members of JSON documents, matched as Go's `encoding/json` matches them: the engines are
//! written in Go, and an image must be the same image to all of them and to lowerdir.
//!
//! A member's name matches a field of a structure exactly, or else regardless of case. If several
//! members match a field, the last one in the document wins; objects are merged, and `null` resets
//! only lists and maps. The keys of maps (annotations, labels) are data and stay as they are. Pure;
//! [`super::json`] describes the documents.
//! Source: Go, `encoding/json/decode.go` ("object", "array") and `fold.go`.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The shape of a value in a document.
#[derive(Debug)]
pub enum Shape {
    /// A scalar, a list of scalars, or a map with arbitrary keys: kept as it is.
    Plain,
    /// A structure, or a list of structures, with these fields.
    Structure(&'static [Field]),
}

/// A field of a structure: its name in the specification, and the shape of its value.
pub type Field = (&'static str, &'static Shape);

/// What to do with members that match no field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// Keep them, to show or rewrite the document.
    Keep,
    /// Drop them.
    Drop,
}

/// Parses a document; known members get the specification's names, once each.
pub fn read(bytes: &[u8], shape: &'static Shape, unknown: Unknown) -> serde_json::Result<Value> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Reader { shape, unknown }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

#[derive(Clone, Copy)]
struct Reader {
    shape: &'static Shape,
    unknown: Unknown,
}

impl<'de> DeserializeSeed<'de> for Reader {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self.shape {
            Shape::Plain => Value::deserialize(deserializer),
            Shape::Structure(_) => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            match (self.shape.field(&name), self.unknown) {
                (Some(&(field, shape)), unknown) => {
                    let value = members.next_value_seed(Reader { shape, unknown })?;
                    match object.get_mut(field) {
                        Some(known) => assign(known, value, shape),
                        None => drop(object.insert(field.into(), value)),
                    }
                }
                (None, Unknown::Keep) => drop(object.insert(name, members.next_value()?)),
                (None, Unknown::Drop) => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Value::Object(object))
    }
}

impl Shape {
    fn field(&self, name: &str) -> Option<&'static Field> {
        let Shape::Structure(fields) = self else {
            return None;
        };
        let exact = fields.iter().find(|(field, _)| *field == name);
        exact.or_else(|| fields.iter().find(|(field, _)| folds_alike(field, name)))
    }
}

/// Go folds case by Unicode: two characters beyond ASCII fold to ASCII letters.
fn folds_alike(one: &str, other: &str) -> bool {
    let fold = |character: char| match character {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        same => same.to_ascii_lowercase(),
    };
    one.chars().map(fold).eq(other.chars().map(fold))
}

/// Sets a field again, which an earlier member has set.
fn assign(known: &mut Value, new: Value, shape: &Shape) {
    match (known, new) {
        (known, Value::Null) => {
            let is_map = known.is_object() && matches!(shape, Shape::Plain);
            if is_map || known.is_array() {
                *known = Value::Null;
            }
        }
        (Value::Object(known), Value::Object(new)) => {
            for (name, value) in new {
                match (known.get_mut(&name), shape.field(&name)) {
                    (Some(known), Some((_, shape))) => assign(known, value, shape),
                    _ => drop(known.insert(name, value)),
                }
            }
        }
        // Go decodes into the elements that the list has (golang/go issue 21092).
        (Value::Array(known), Value::Array(new)) if matches!(shape, Shape::Structure(_)) => {
            known.truncate(new.len());
            let mut new = new.into_iter();
            for (known, value) in known.iter_mut().zip(new.by_ref()) {
                assign(known, value, shape);
            }
            known.extend(new);
        }
        (known, new) => *known = new,
    }
}
