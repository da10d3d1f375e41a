//! `Failure`: why a request was not done, as gRPC says it. The only place that knows what the
//! library's errors and the database's are in that language.
//!
//! Source: containerd's `errdefs`, which turns codes back into its own errors: it goes on after
//! NOT_FOUND and ALREADY_EXISTS, and tells of the rest.

use std::fmt;

use tonic::{Code, Status};

use crate::error::{Error, Kind};

/// Bytes of a status's text. Clients of C-core take 8 KiB of headers, in which each byte that is not
/// printable ASCII takes three.
const TEXT_MAX: usize = 2048;

/// A refusal, or what went wrong.
#[derive(Debug)]
pub struct Failure {
    /// What containerd decides by.
    pub code: Code,
    /// What people read.
    pub text: String,
    /// What they can do about it.
    pub hint: Option<String>,
}

impl Failure {
    fn new(code: Code, text: impl Into<String>) -> Failure {
        let text = text.into();
        let hint = None;
        Failure { code, text, hint }
    }

    /// Says what can be done about it.
    pub fn hint(self, hint: impl Into<String>) -> Failure {
        let hint = Some(hint.into());
        Failure { hint, ..self }
    }

    /// All of it in one line, for a log or an answer.
    pub fn told(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{self} ({hint})"),
            None => self.to_string(),
        }
    }

    /// There is no such snapshot.
    pub fn not_found(text: impl Into<String>) -> Failure {
        Failure::new(Code::NotFound, text)
    }

    /// There is one already: for the Prepare of a layer, the good news.
    pub fn exists(text: impl Into<String>) -> Failure {
        Failure::new(Code::AlreadyExists, text)
    }

    /// No such request can ever be done.
    pub fn invalid(text: impl Into<String>) -> Failure {
        Failure::new(Code::InvalidArgument, text)
    }

    /// It cannot be done as things are.
    pub fn precondition(text: impl Into<String>) -> Failure {
        Failure::new(Code::FailedPrecondition, text)
    }

    /// What was kept is not there any more, or is not as it was written.
    pub fn lost(text: impl Into<String>) -> Failure {
        Failure::new(Code::DataLoss, text)
    }

    /// The database has failed, and was not opened again.
    pub fn closed() -> Failure {
        Failure::new(Code::Unavailable, "the database failed a moment ago")
    }

    /// The database cannot be used; [`Code::Unavailable`] where opening it again may help.
    pub fn database(error: impl Into<redb::Error>) -> Failure {
        match error.into() {
            redb::Error::DatabaseAlreadyOpen => {
                let text = "the database is in use: another lowerdir-snapshotter has this --root";
                Failure::new(Code::Unavailable, text)
            }
            redb::Error::PreviousIo => Failure::closed(),
            redb::Error::Io(error) => {
                let code = error.raw_os_error().map_or(Code::Internal, of_system);
                Failure::new(code, format!("the database: {error}"))
            }
            redb::Error::Corrupted(why) => Failure::lost(format!("the database is damaged: {why}")),
            error => Failure::new(Code::Internal, format!("the database: {error}")),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let code = match error.kind() {
            Kind::NotFound => Code::NotFound,
            Kind::Refused | Kind::Usage => Code::InvalidArgument,
            Kind::Mismatch => Code::DataLoss,
            Kind::Limit => Code::ResourceExhausted,
            // Not UNIMPLEMENTED, which containerd takes for a snapshotter without that request.
            Kind::Conflict | Kind::Unsupported => Code::FailedPrecondition,
            Kind::Cancelled | Kind::Network => Code::Unavailable,
            Kind::System => error.raw_os_error().map_or(Code::Internal, of_system),
            Kind::Internal => Code::Internal,
        };
        let mut text = error.to_string();
        if let Some(cause) = std::error::Error::source(&error) {
            text += &format!(": {cause}");
        }
        let hint = error.hint_text().map(Into::into);
        Failure { code, text, hint }
    }
}

fn of_system(number: i32) -> Code {
    use std::io::ErrorKind;
    match std::io::Error::from_raw_os_error(number).kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::OutOfMemory => {
            Code::ResourceExhausted
        }
        _ => Code::Internal,
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Status {
        Status::new(failure.code, cut(&failure.told()))
    }
}

/// A text that fits the header of an answer: of a long one, its beginning and its end.
fn cut(text: &str) -> String {
    if text.len() <= TEXT_MAX {
        return text.into();
    }
    let is_boundary = |at: &usize| text.is_char_boundary(*at);
    let head = (0..=TEXT_MAX / 2).rev().find(is_boundary).unwrap_or(0);
    let tail = text.len() - TEXT_MAX / 4;
    let tail = (tail..text.len()).find(is_boundary).unwrap_or(text.len());
    format!("{}…{}", &text[..head], &text[tail..])
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}
