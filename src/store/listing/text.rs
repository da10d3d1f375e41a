//! Values of a listing as texts: a mode in octal, a time with a dot, bytes as [`path::display`] shows
//! them. Read back, a text that none of them is written as is damage.

use std::fmt::{self, Formatter};

use serde::de::{Deserialize, Deserializer, Error};
use serde::{Serialize, Serializer};

use crate::meta::{Device, Time};
use crate::path::{self, EntryPath};

/// A value that has one text.
pub trait Text: Sized {
    /// Writes it.
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result;
    /// Reads it back; `None` if no value is written so.
    fn read(text: &str) -> Option<Self>;
}

/// The twelve permission bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u32);

/// The same, to be shown.
pub struct Shown<'a, T>(pub &'a T);

impl<T: Text> fmt::Display for Shown<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.write(f)
    }
}

impl Text for Mode {
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }

    fn read(text: &str) -> Option<Mode> {
        let mode = u32::from_str_radix(text, 8).ok()?;
        (mode <= 0o7777).then_some(Mode(mode))
    }
}

impl Text for Time {
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.seconds, self.nanoseconds)
    }

    fn read(text: &str) -> Option<Time> {
        let (seconds, nanoseconds) = text.split_once('.')?;
        Some(Time {
            seconds: seconds.parse().ok()?,
            nanoseconds: nanoseconds.parse().ok()?,
        })
    }
}

impl Text for Device {
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }

    fn read(text: &str) -> Option<Device> {
        let (major, minor) = text.split_once(':')?;
        Some(Device {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        })
    }
}

impl Text for EntryPath {
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }

    fn read(text: &str) -> Option<EntryPath> {
        match text {
            "." => Some(EntryPath::root()),
            _ => EntryPath::parse(&path::from_display(text)?).ok(),
        }
    }
}

/// The target of a symbolic link.
impl Text for Box<[u8]> {
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&path::display(self), f)
    }

    fn read(text: &str) -> Option<Box<[u8]>> {
        path::from_display(text).map(Vec::into_boxed_slice)
    }
}

pub fn serialize<T: Text, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Shown(value))
}

pub fn deserialize<'de, T: Text, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    T::read(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is no such value")))
}

/// Of a value that may be absent.
pub mod optional {
    use super::{Deserializer, Serialize, Serializer, Text};

    pub fn serialize<T: Text, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::serialize(value, serializer),
            None => None::<()>.serialize(serializer),
        }
    }

    pub fn deserialize<'de, T: Text, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        super::deserialize(deserializer).map(Some)
    }
}
