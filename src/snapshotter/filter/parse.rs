//! The parser of the filter language. Pure.

use std::iter::Peekable;
use std::str::Chars;

use regex::Regex;

use super::{Selector, Test};

/// The selectors of one filter; an empty text has none. Errors: what is wrong with it.
pub fn selectors(text: &str) -> Result<Vec<Selector>, String> {
    let mut parser = Parser(text.chars().peekable());
    let mut selectors = Vec::new();
    if text.is_empty() {
        return Ok(selectors);
    }
    loop {
        selectors.push(parser.selector()?);
        match parser.next_after_blanks() {
            None => return Ok(selectors),
            Some(',') => {}
            Some(other) => return Err(format!("{other:?} instead of a comma")),
        }
    }
}

struct Parser<'a>(Peekable<Chars<'a>>);

impl Parser<'_> {
    fn selector(&mut self) -> Result<Selector, String> {
        let mut field = vec![self.field()?];
        while self.peek_after_blanks() == Some('.') {
            self.0.next();
            field.push(self.field()?);
        }
        let test = match self.peek_after_blanks() {
            None | Some(',') => Test::Present,
            Some(_) => self.test()?,
        };
        Ok(Selector { field, test })
    }

    fn field(&mut self) -> Result<String, String> {
        match self.peek_after_blanks() {
            Some(quote) if is_quote(quote) => self.quoted(),
            Some(first) if is_field(first) => Ok(self.take_while(is_field)),
            other => Err(format!("missing field {}", before(other))),
        }
    }

    fn test(&mut self) -> Result<Test, String> {
        let operator = self.take_while(|one| matches!(one, '=' | '!' | '~'));
        match operator.as_str() {
            "==" => Ok(Test::Equal(self.value()?)),
            "!=" => Ok(Test::NotEqual(self.value()?)),
            "~=" => {
                let expression = Regex::new(&self.value()?);
                expression
                    .map(Test::Matches)
                    .map_err(|error| error.to_string())
            }
            "" => Err(format!(
                "missing operator {}",
                before(self.0.peek().copied())
            )),
            other => Err(format!("unknown operator {other}: there are ==, != and ~=")),
        }
    }

    fn value(&mut self) -> Result<String, String> {
        match self.peek_after_blanks() {
            Some(quote) if is_quote(quote) => self.quoted(),
            Some(first) if !matches!(first, ',' | '.' | '=' | '!' | '~') && !first.is_control() => {
                Ok(self.take_while(|one| one != ',' && !one.is_whitespace() && !one.is_control()))
            }
            other => Err(format!("missing value {}", before(other))),
        }
    }

    fn quoted(&mut self) -> Result<String, String> {
        let quote = self.0.next().expect("the caller saw it");
        // An escape may give any byte, as in Go.
        let mut bytes = Vec::new();
        loop {
            match self.0.next() {
                None | Some('\n') => return Err("unterminated quotation".into()),
                Some(end) if end == quote => {
                    return String::from_utf8(bytes).map_err(|_| "a quotation is not UTF-8".into());
                }
                Some('\\') => self.escape(quote, &mut bytes)?,
                Some(other) => push(&mut bytes, other),
            }
        }
    }

    fn escape(&mut self, quote: char, bytes: &mut Vec<u8>) -> Result<(), String> {
        let escape = self.0.next().ok_or("unterminated quotation")?;
        match escape {
            'a' => bytes.push(7),
            'b' => bytes.push(8),
            't' => bytes.push(b'\t'),
            'n' => bytes.push(b'\n'),
            'v' => bytes.push(11),
            'f' => bytes.push(12),
            'r' => bytes.push(b'\r'),
            '\\' => bytes.push(b'\\'),
            same if same == quote => push(bytes, same),
            'x' => bytes.push(self.number("", 16, 2)? as u8),
            '0'..='7' => {
                let number = self.number(&escape.to_string(), 8, 2)?;
                bytes.push(u8::try_from(number).map_err(|_| "an octal escape over \\377")?);
            }
            'u' | 'U' => {
                let digits = if escape == 'u' { 4 } else { 8 };
                let number = self.number("", 16, digits)?;
                push(
                    bytes,
                    char::from_u32(number).ok_or("an escape that is not a character")?,
                );
            }
            other => return Err(format!("unknown escape \\{other}")),
        }
        Ok(())
    }

    /// Reads this many more digits after those already read.
    fn number(&mut self, read: &str, base: u32, digits: usize) -> Result<u32, String> {
        let mut text = String::from(read);
        for _ in 0..digits {
            text.extend(self.0.next_if(|one| one.is_digit(base)));
        }
        match text.len() == read.len() + digits {
            true => u32::from_str_radix(&text, base).map_err(|error| error.to_string()),
            false => Err("an escape has too few digits".into()),
        }
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let mut text = String::new();
        while let Some(one) = self.0.next_if(|one| wanted(*one)) {
            text.push(one);
        }
        text
    }

    fn peek_after_blanks(&mut self) -> Option<char> {
        self.take_while(char::is_whitespace);
        self.0.peek().copied()
    }

    fn next_after_blanks(&mut self) -> Option<char> {
        self.take_while(char::is_whitespace);
        self.0.next()
    }
}

fn push(bytes: &mut Vec<u8>, one: char) {
    bytes.extend(one.encode_utf8(&mut [0; 4]).bytes());
}

fn is_quote(one: char) -> bool {
    matches!(one, '"' | '/' | '|')
}

fn is_field(one: char) -> bool {
    one.is_ascii_alphanumeric() || matches!(one, '-' | '_')
}

fn before(next: Option<char>) -> String {
    next.map_or("at the end".into(), |next| format!("before {next:?}"))
}
