//! PAX records: `LENGTH KEY=VALUE\n`, where LENGTH counts all of it. Pure.

use crate::meta::{Time, Xattr};

const NANOSECONDS: i128 = 1_000_000_000;

/// The records of one entry, in the order added.
#[derive(Default)]
pub struct Records(Vec<u8>);

impl Records {
    /// Takes all records, if there are any.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        let records = std::mem::take(&mut self.0);
        (!records.is_empty()).then_some(records)
    }

    /// Adds a record; the value may hold any bytes.
    pub fn add(&mut self, key: &str, value: &[u8]) {
        self.record(&[key.as_bytes(), b"=", value].concat());
    }

    /// Adds an xattr, whose name has no `=`.
    pub fn add_xattr(&mut self, xattr: &Xattr) {
        self.record(&[b"SCHILY.xattr.", &*xattr.name, b"=", &*xattr.value].concat());
    }

    /// Adds a time: half a second before the epoch is `-0.5`, not `-1.5`.
    pub fn add_time(&mut self, key: &str, time: Time) {
        let total = i128::from(time.seconds) * NANOSECONDS + i128::from(time.nanoseconds);
        let sign = if total < 0 { "-" } else { "" };
        let (whole, part) = (total.abs() / NANOSECONDS, total.abs() % NANOSECONDS);
        let text = match part {
            0 => format!("{sign}{whole}"),
            _ => format!("{sign}{whole}.{part:09}"),
        };
        self.add(key, text.as_bytes());
    }

    fn record(&mut self, text: &[u8]) {
        // Counts the space, the newline, and the digits of the length itself.
        let rest = text.len() + 2;
        let mut length = rest + digits(rest);
        if length != rest + digits(length) {
            length += 1;
        }
        self.0.extend(length.to_string().as_bytes());
        self.0.push(b' ');
        self.0.extend(text);
        self.0.push(b'\n');
    }
}

fn digits(number: usize) -> usize {
    number.to_string().len()
}
