//! The one error type of the library: what was being done, to which layer and entry, why it
//! failed, and what the user can do.
//!
//! Every module makes these; only the command line prints them (as `layer: entry: doing: cause`,
//! then a `hint:` line). An error never carries raw bytes: names are escaped when they get here.

mod advice;
mod circumstances;
mod hint;
mod kind;
#[cfg(test)]
mod tests;

use std::{fmt, io};

use crate::escape;

use advice::Told;

pub use advice::{Advice, Hint};
pub use circumstances::{FileSystem, Operation, Privilege, Surroundings};
pub use kind::Kind;

/// The result of every fallible call in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure, with where it happened.
///
/// `Display` prints everything but the cause, which is [`source`](std::error::Error::source):
/// print the chain (`{:#}` of `anyhow`) to see all of it.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    doing: String,
    layer: Option<String>,
    entry: Option<String>,
    hint: Option<Hint>,
    cause: Option<Cause>,
    operation: Operation,
    at: Surroundings,
}

/// An operating system error, printed as `strace` users know it: no capital, no number.
#[derive(Debug)]
struct Cause(io::Error);

impl Error {
    fn new(kind: Kind, doing: impl Into<String>, cause: Option<Cause>) -> Error {
        Error(Box::new(Inner {
            kind,
            doing: shown(doing),
            layer: None,
            entry: None,
            hint: None,
            cause,
            operation: Operation::default(),
            at: Surroundings::default(),
        }))
    }

    /// The image breaks a rule; `what` says which.
    pub fn refused(what: impl Into<String>) -> Error {
        Error::new(Kind::Refused, what, None)
    }

    /// A digest or a size differs from what was promised.
    pub fn mismatch(what: impl Into<String>) -> Error {
        Error::new(Kind::Mismatch, what, None)
    }

    /// A limit was reached; `what` names it.
    pub fn limit(what: impl Into<String>) -> Error {
        Error::new(Kind::Limit, what, None)
    }

    /// The caller asked to give up.
    pub fn cancelled() -> Error {
        Error::new(Kind::Cancelled, "interrupted: nothing was changed", None)
    }

    /// Something that was asked for does not exist.
    pub fn not_found(what: impl Into<String>) -> Error {
        Error::new(Kind::NotFound, what, None)
    }

    /// A system call failed while `doing`. An error of this crate that comes through `std::io` keeps
    /// its kind, its cause and its hint.
    pub fn system(doing: impl Into<String>, cause: impl Into<io::Error>) -> Error {
        match Error::own(cause.into()) {
            Ok(mut own) => {
                own.0.doing = format!("{}: {}", doing.into(), own.0.doing);
                own
            }
            Err(cause) => Error::new(Kind::System, doing, Some(Cause(cause))),
        }
    }

    /// Something on this machine is in the way; `what` says what.
    pub fn conflict(what: impl Into<String>) -> Error {
        Error::new(Kind::Conflict, what, None)
    }

    /// This kernel, this file system or this form cannot do it.
    pub fn unsupported(what: impl Into<String>) -> Error {
        Error::new(Kind::Unsupported, what, None)
    }

    /// The request makes no sense.
    pub fn usage(what: impl Into<String>) -> Error {
        Error::new(Kind::Usage, what, None)
    }

    /// A registry, or the way to it, failed.
    pub fn network(what: impl Into<String>) -> Error {
        Error::new(Kind::Network, what, None)
    }

    /// A bug of this library: what cannot happen has happened.
    pub fn internal(what: impl Into<String>) -> Error {
        Error::new(Kind::Internal, what, None).hint("this is a bug of lowerdir: please report it")
    }

    /// Reading failed while `doing`: an error that one of our own readers raised keeps its kind,
    /// bad compressed data is the image's fault, and the rest is the system's.
    pub fn reading(doing: impl Into<String>, cause: io::Error) -> Error {
        let cause = match Error::own(cause) {
            Ok(own) => return own,
            Err(cause) => cause,
        };
        let cause = of_decoder(cause);
        let kind = match cause.kind() {
            io::ErrorKind::OutOfMemory => Kind::System,
            io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::UnexpectedEof => Kind::Refused,
            // The decoders report damage as `Other`, without a number of the system's.
            _ if cause.raw_os_error().is_none() => Kind::Refused,
            _ => Kind::System,
        };
        let error = Error::new(kind, doing, Some(Cause(cause)));
        match kind {
            Kind::Refused => error.hint("the blob is damaged: fetch the image again"),
            _ => error,
        }
    }

    /// Reading or writing files of this machine failed while `doing`: an error that one of our own
    /// readers or writers raised keeps its kind, and the rest is the system's, never the image's.
    pub fn io(doing: impl Into<String>, cause: io::Error) -> Error {
        Error::own(cause).unwrap_or_else(|cause| Error::system(doing, cause))
    }

    /// An error of this crate that travelled through `std::io`.
    fn own(cause: io::Error) -> std::result::Result<Error, io::Error> {
        match cause.get_ref().is_some_and(|inner| inner.is::<Error>()) {
            true => {
                let inner = cause.into_inner().expect("just looked at");
                Ok(*inner.downcast::<Error>().expect("just looked at"))
            }
            false => Err(cause),
        }
    }

    /// Names the layer, unless an inner call already did.
    #[must_use]
    pub fn in_layer(mut self, layer: impl fmt::Display) -> Error {
        let layer = || shown(layer.to_string());
        self.0.layer.get_or_insert_with(layer);
        self
    }

    /// Names the entry, unless an inner call already did.
    #[must_use]
    pub fn at_entry(mut self, entry: impl fmt::Display) -> Error {
        let entry = || shown(entry.to_string());
        self.0.entry.get_or_insert_with(entry);
        self
    }

    /// Says what the user can do, unless an inner call already did.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Hint>) -> Error {
        self.0.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// What sort of failure this is.
    pub fn kind(&self) -> Kind {
        match (self.0.kind, self.raw_os_error()) {
            (Kind::System, Some(errno)) => kind::of_system(self.0.operation, errno),
            (kind, _) => kind,
        }
    }

    /// The layer it happened in, as `2 (sha256:ab12…)`.
    pub fn layer(&self) -> Option<&str> {
        self.0.layer.as_deref()
    }

    /// The escaped path of the entry it happened at.
    pub fn entry(&self) -> Option<&str> {
        self.0.entry.as_deref()
    }

    /// What was being done, and why it failed, without the place: for those who say that themselves.
    pub fn reason(&self) -> String {
        match &self.0.cause {
            Some(cause) => format!("{}: {cause}", self.0.doing),
            None => self.0.doing.clone(),
        }
    }

    /// What was being done, unless an inner call already said it: with the errno, it decides the hint.
    #[must_use]
    pub(crate) fn during(mut self, operation: Operation) -> Error {
        if self.0.operation == Operation::Other {
            self.0.operation = operation;
        }
        self
    }

    /// Who called, and what file system the call went to, as far as no inner call already said it.
    #[must_use]
    pub(crate) fn on(mut self, at: Surroundings) -> Error {
        self.note(at);
        self
    }

    /// The same, for an error that is somewhere else.
    pub(crate) fn note(&mut self, at: Surroundings) {
        if self.0.at.privilege == Privilege::Unknown {
            self.0.at.privilege = at.privilege;
        }
        if self.0.at.file_system == FileSystem::Unknown {
            self.0.at.file_system = at.file_system;
        }
    }

    /// What the user can do about it, where that is known and is the same for every program.
    pub fn hint_text(&self) -> Option<&str> {
        match self.told()? {
            Told::Text(text) => Some(text),
            Told::Advice(..) => None,
        }
    }

    /// What the user can do about it, where that is an option or a verb of a program; with what the
    /// advice depends on, which may be empty.
    pub fn advice(&self) -> Option<(Advice, &str)> {
        match self.told()? {
            Told::Text(_) => None,
            Told::Advice(advice, detail) => Some((advice, detail)),
        }
    }

    /// Of an error of the system's, the table of hints comes before what an inner call said.
    fn told(&self) -> Option<Told<&str>> {
        let own = self.0.hint.as_ref().map(|hint| match &hint.0 {
            Told::Text(text) => Told::Text(&**text),
            Told::Advice(advice, detail) => Told::Advice(*advice, &**detail),
        });
        let Some(errno) = self.raw_os_error() else {
            return own;
        };
        hint::hint(self.0.operation, errno, self.0.at).or(own)
    }

    /// Whether the system could not do it: that says nothing of what was looked at, which is neither
    /// damaged nor absent for it.
    pub fn is_system_fault(&self) -> bool {
        use nix::errno::Errno::{self, *};
        let errno = self.raw_os_error().map(Errno::from_raw);
        let says_something = [ENOENT, ENOTDIR, EISDIR, ELOOP, ENXIO, EXDEV, ENODATA];
        self.0.kind == Kind::System && errno.is_some_and(|errno| !says_something.contains(&errno))
    }

    /// Whether the caller has no right to it.
    pub fn is_denied(&self) -> bool {
        let cause = self.0.cause.as_ref();
        cause.is_some_and(|cause| cause.0.kind() == io::ErrorKind::PermissionDenied)
    }

    /// The number of the system's error, where one is the cause.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.0
            .cause
            .as_ref()
            .and_then(|cause| cause.0.raw_os_error())
    }
}

/// Whatever an image says, none of it reaches a terminal as an order.
fn shown(text: impl Into<String>) -> String {
    escape::controls(&text.into()).into_owned()
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(layer) = &self.0.layer {
            write!(f, "layer {layer}: ")?;
        }
        if let Some(entry) = &self.0.entry {
            write!(f, "{entry}: ")?;
        }
        f.write_str(&self.0.doing)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.kind())?;
        match &self.0.cause {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.cause.as_ref().map(|cause| cause as _)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = shown(self.0.to_string());
        let text = match text.rfind(" (os error ") {
            Some(end) => &text[..end],
            None => &text,
        };
        let mut rest = text.chars();
        match rest.next() {
            // An acronym, as in `EOF while parsing`.
            Some(_) if text.chars().nth(1).is_some_and(char::is_uppercase) => f.write_str(text),
            Some(first) => write!(f, "{}{}", first.to_lowercase(), rest.as_str()),
            None => f.write_str("unknown error"),
        }
    }
}

impl std::error::Error for Cause {}

/// How the decoders of zstd and xz say that they got no memory.
const NO_MEMORY: [&str; 2] = ["not enough memory", "can't allocate memory"];

/// A lack of memory is no damage.
fn of_decoder(error: io::Error) -> io::Error {
    let is_decoder = error.raw_os_error().is_none() && error.kind() == io::ErrorKind::Other;
    let text = error.to_string();
    let is_ours = error.kind() == io::ErrorKind::OutOfMemory;
    match is_ours || is_decoder && NO_MEMORY.iter().any(|words| text.contains(words)) {
        true => io::Error::from_raw_os_error(nix::errno::Errno::ENOMEM as i32),
        false => error,
    }
}

/// An [`Error`] may travel through a [`std::io::Read`]; [`Error::reading`] takes it out again.
impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        io::Error::other(error)
    }
}
