//! `Failure`: why a request was not done, as gRPC says it. The only place that knows what the
//! library's errors and the database's are in that language.
//!
//! Source: containerd's `errdefs`, which turns codes back into its own errors: it goes on after
//! NOT_FOUND and ALREADY_EXISTS, and tells of the rest.

use std::fmt;

use tonic::{Code, Status};

use crate::error::{Error, Kind};

/// A refusal, or what went wrong.
#[derive(Debug)]
pub struct Failure {
    /// What containerd decides by.
    pub code: Code,
    /// What people read.
    pub text: String,
}

impl Failure {
    fn new(code: Code, text: impl Into<String>) -> Failure {
        let text = text.into();
        Failure { code, text }
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

    /// The database cannot be used.
    pub fn database(error: impl Into<redb::Error>) -> Failure {
        match error.into() {
            redb::Error::DatabaseAlreadyOpen => {
                let text = "the database is in use: another lowerdir-snapshotter has this --root";
                Failure::new(Code::Unavailable, text)
            }
            error => Failure::new(Code::Internal, format!("the database: {error}")),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let code = match error.kind() {
            Kind::NotFound => Code::NotFound,
            Kind::Refused => Code::InvalidArgument,
            Kind::Mismatch => Code::DataLoss,
            Kind::Limit => Code::ResourceExhausted,
            Kind::Cancelled => Code::Unavailable,
            Kind::System => match error.raw_os_error() {
                Some(number) => of_system(number),
                None => Code::FailedPrecondition,
            },
        };
        let mut text = error.to_string();
        if let Some(cause) = std::error::Error::source(&error) {
            text += &format!(": {cause}");
        }
        if let Some(hint) = error.hint_text() {
            text += &format!(" ({hint})");
        }
        Failure { code, text }
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
        Status::new(failure.code, failure.text)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}
