//! `Failure`: the error of a request, as a gRPC status. Errors of the library and the database are
//! mapped to status codes here and nowhere else.
//!
//! Source: containerd's `errdefs`, which maps codes back to its own errors: it handles NOT_FOUND and
//! ALREADY_EXISTS, and reports all others.

use std::fmt;

use tonic::{Code, Status};

use crate::error::{Advice, Error, Kind};

/// The maximum length of a status message, in bytes. Clients based on gRPC's C core accept 8 KiB of headers,
/// in which every byte that is not printable ASCII takes three.
const TEXT_MAX: usize = 2048;

/// An error of a request.
#[derive(Debug)]
pub struct Failure {
    /// The status code, on which containerd acts.
    pub code: Code,
    /// The message.
    pub text: String,
    /// The hint.
    pub hint: Option<String>,
}

impl Failure {
    fn new(code: Code, text: impl Into<String>) -> Failure {
        let text = text.into();
        let hint = None;
        Failure { code, text, hint }
    }

    /// Adds a hint.
    pub fn hint(self, hint: impl Into<String>) -> Failure {
        let hint = Some(hint.into());
        Failure { hint, ..self }
    }

    /// Message and hint in one line, for a log or a status.
    pub fn line(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{self} ({hint})"),
            None => self.to_string(),
        }
    }

    /// The snapshot does not exist.
    pub fn not_found(text: impl Into<String>) -> Failure {
        Failure::new(Code::NotFound, text)
    }

    /// The snapshot exists. For the Prepare of a layer, this is success.
    pub fn exists(text: impl Into<String>) -> Failure {
        Failure::new(Code::AlreadyExists, text)
    }

    /// The request is invalid, whatever the state.
    pub fn invalid(text: impl Into<String>) -> Failure {
        Failure::new(Code::InvalidArgument, text)
    }

    /// The request cannot be done in the present state.
    pub fn precondition(text: impl Into<String>) -> Failure {
        Failure::new(Code::FailedPrecondition, text)
    }

    /// Data is missing or damaged.
    pub fn lost(text: impl Into<String>) -> Failure {
        Failure::new(Code::DataLoss, text)
    }

    /// The database has failed and could not be reopened.
    pub fn closed() -> Failure {
        Failure::new(Code::Unavailable, "the database failed a moment ago")
    }

    /// The database cannot be used; [`Code::Unavailable`] if reopening it may help.
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
        let hint = hint(&error).map(Into::into);
        Failure { code, text, hint }
    }
}

/// What can be done about an error of the library: some of its advice is about options and verbs that
/// the snapshotter does not have.
pub fn hint(error: &Error) -> Option<&str> {
    let Some((advice, _)) = error.advice() else {
        return error.hint_text();
    };
    match advice {
        Advice::AnotherStore | Advice::EmptyStore | Advice::WritableStore => {
            Some("--store DIR names another directory")
        }
        Advice::FewerJobs => Some("free some memory, or use fewer jobs: -j 1"),
        Advice::Unpack => Some("`lowerdir unpack` puts it there"),
        Advice::Repair => Some("`lowerdir verify --repair IMAGE` unpacks it again"),
        Advice::UnmountFirst => Some("unmount it first: see `lowerdir umount`"),
        Advice::SameOptions => {
            Some("use another --store, or the options that it was unpacked with")
        }
        Advice::LenientXattrs => Some("without --xattrs=strict it is left out"),
        _ => None,
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
        Status::new(failure.code, cut(&failure.line()))
    }
}

/// A text cut to fit a status header: of a long one, the beginning and the end.
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
