//! Escapes bytes and texts from an image, so that they cannot control a terminal.
//!
//! [`display`] is for names, and reversible. [`controls`] is for sentences that may contain such names:
//! every [`Error`](crate::Error) goes through it when it is created, and so does everything that the
//! command line prints on a terminal. [`quoted`] is for commands that users paste. Pure.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt::{self, Write};
use std::os::unix::ffi::OsStrExt;

/// Bytes for display: printable UTF-8 as it is, everything else as `\xff`, so that a name cannot send
/// control sequences to a terminal. A backslash is shown as two.
pub fn display(bytes: &[u8]) -> impl fmt::Display + '_ {
    Escaped(bytes)
}

/// Quoted for a shell as one word.
pub fn quoted(word: &OsStr) -> Vec<u8> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-:,=@%+".contains(byte);
    let bytes = word.as_bytes();
    if !bytes.is_empty() && bytes.iter().all(is_plain) {
        return bytes.to_vec();
    }
    let parts: Vec<&[u8]> = bytes.split(|&byte| byte == b'\'').collect();
    [b"'", &*parts.join(&b"'\\''"[..]), b"'"].concat()
}

/// A sentence without control characters: each is shown as `\x1b`. Everything else stays, the
/// backslashes of [`display`] among it.
pub fn controls(text: &str) -> Cow<'_, str> {
    if !text.contains(is_control) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match is_control(character) {
            true => hex(character, &mut shown).expect("memory takes it"),
            false => shown.push(character),
        }
    }
    shown.into()
}

/// Whether a terminal acts on a character: control characters, and those that change the direction of text
/// (Unicode Standard Annex 9), which can make a name look like another.
pub(crate) fn is_control(character: char) -> bool {
    let turns = matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    character.is_control() || turns
}

/// The bytes of a character, each as `\x1b`.
fn hex(character: char, out: &mut impl Write) -> fmt::Result {
    let mut buffer = [0; 4];
    for byte in character.encode_utf8(&mut buffer).bytes() {
        write!(out, "\\x{byte:02x}")?;
    }
    Ok(())
}

/// The bytes that [`display`] shows as this text; `None` if there are none.
pub fn from_display(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            bytes.push(byte);
        } else if let Some(after) = rest.strip_prefix(b"\\") {
            bytes.push(b'\\');
            rest = after;
        } else {
            let digits = std::str::from_utf8(rest.strip_prefix(b"x")?.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[3..];
        }
    }
    Some(bytes)
}

struct Escaped<'a>(&'a [u8]);

fn is_special(character: char) -> bool {
    character == '\\' || is_control(character)
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            // Most names are plain, and millions are listed.
            for part in chunk.valid().split_inclusive(is_special) {
                let plain = part.trim_end_matches(is_special);
                f.write_str(plain)?;
                match &part[plain.len()..] {
                    "\\" => f.write_str("\\\\")?,
                    control => control.chars().try_for_each(|one| hex(one, f))?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}
