//! The one error type of the library: what was being done, to which layer and entry, why it
//! failed, and what the user can do.
//!
//! Every module makes these; only the command line prints them (as `layer: entry: doing: cause`,
//! then a `hint:` line). An error never carries raw bytes: names are escaped when they get here.

use std::{fmt, io};

/// The result of every fallible call in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What sort of failure an [`Error`] is; the command line turns it into an exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The image breaks a rule of the formats, or one of ours.
    Refused,
    /// A digest, a size or a diff ID is not what the image says.
    Mismatch,
    /// A configured limit was reached.
    Limit,
    /// What was asked for is not there: an image, a tag, a platform, a layer in the store.
    NotFound,
    /// The operating system said no.
    System,
    /// The caller asked for it: see [`Progress`](crate::progress::Progress).
    Cancelled,
}

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
    hint: Option<String>,
    cause: Option<Cause>,
}

/// An operating system error, printed as `strace` users know it: no capital, no number.
#[derive(Debug)]
struct Cause(io::Error);

impl Error {
    fn new(kind: Kind, doing: impl Into<String>, cause: Option<Cause>) -> Error {
        Error(Box::new(Inner {
            kind,
            doing: doing.into(),
            layer: None,
            entry: None,
            hint: None,
            cause,
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

    /// A system call failed while `doing`.
    pub fn system(doing: impl Into<String>, cause: impl Into<io::Error>) -> Error {
        Error::new(Kind::System, doing, Some(Cause(cause.into())))
    }

    /// Something on this machine stands in the way; `what` says what.
    pub fn in_the_way(what: impl Into<String>) -> Error {
        Error::new(Kind::System, what, None)
    }

    /// Reading failed while `doing`: an error that one of our own readers raised keeps its kind,
    /// bad compressed data is the image's fault, and the rest is the system's.
    pub fn reading(doing: impl Into<String>, cause: io::Error) -> Error {
        if cause.get_ref().is_some_and(|inner| inner.is::<Error>()) {
            let inner = cause.into_inner().expect("just looked at");
            return *inner.downcast::<Error>().expect("just looked at");
        }
        let kind = match cause.kind() {
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

    /// Names the layer, unless an inner call already did.
    #[must_use]
    pub fn in_layer(mut self, layer: impl fmt::Display) -> Error {
        self.0.layer.get_or_insert_with(|| layer.to_string());
        self
    }

    /// Names the entry, unless an inner call already did.
    #[must_use]
    pub fn at_entry(mut self, entry: impl fmt::Display) -> Error {
        self.0.entry.get_or_insert_with(|| entry.to_string());
        self
    }

    /// Says what the user can do, unless an inner call already did.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.0.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// What sort of failure this is.
    pub fn kind(&self) -> Kind {
        self.0.kind
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

    /// What the user can do about it, where that is known. What a lack of room takes is the same
    /// wherever it shows.
    pub fn hint_text(&self) -> Option<&str> {
        let cause = self.0.cause.as_ref();
        let usual = cause.and_then(Cause::usual_hint);
        match cause.map(|cause| cause.0.kind()) {
            Some(io::ErrorKind::FileTooLarge) => usual,
            _ => self.0.hint.as_deref().or(usual),
        }
    }

    /// The number of the system's error, where one is the cause.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.0
            .cause
            .as_ref()
            .and_then(|cause| cause.0.raw_os_error())
    }
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
        write!(f, "{:?}: {self}", self.0.kind)?;
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

/// Numbers of Linux, the same on all its architectures, which [`io::ErrorKind`] has no word for.
const EIO: i32 = 5;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

impl Cause {
    /// What helps whatever was being done.
    fn usual_hint(&self) -> Option<&'static str> {
        match (self.0.kind(), self.0.raw_os_error()?) {
            (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, _) => Some(
                "free some space or inodes (`df` and `df -i` count them), or use another file system",
            ),
            (io::ErrorKind::FileTooLarge, _) => {
                Some("a limit on the size of files was reached: `ulimit -f` shows it")
            }
            (io::ErrorKind::OutOfMemory, _) => Some("free some memory, or use fewer jobs: -j 1"),
            (io::ErrorKind::ReadOnlyFilesystem, _) => {
                Some("use another file system, or mount this one writable")
            }
            (io::ErrorKind::Interrupted, _) => Some("run it again"),
            (_, EIO) => Some("the disk or its file system has failed: the kernel's log says more"),
            (_, EMFILE | ENFILE) => Some("allow more open files: `ulimit -n`, or fs.file-max"),
            _ => None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
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

/// An [`Error`] may travel through a [`std::io::Read`]; [`Error::reading`] takes it out again.
impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        io::Error::other(error)
    }
}
