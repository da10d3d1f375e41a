//! What follows a failed request: a table, without a clock of its own. [`super::transfer`] and documents obey it.

use std::io;
use std::time::{Duration, SystemTime};

use ureq::Body;
use ureq::http::Response;

/// Failures in a row without a byte of progress.
const FAILURES_MAX: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// A registry that asks for a longer pause is not waited for.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The same, if nothing was ever heard of the registry: its name or its address may be wrong.
const SILENCE_MAX: u32 = 3;

/// How the standard library begins the text of an error of getaddrinfo(3), which has no kind of its own.
const LOOKUP: &str = "failed to lookup address information";

/// Why a request failed.
#[derive(Debug)]
pub enum Fault {
    /// There is no connection.
    Unreachable(String),
    /// The connection, or the answer in its middle.
    Lost(String),
    /// Another status than was hoped for, and the pause that the registry asks for.
    Status(u16, Option<Duration>),
    /// The answer is for another range than the one asked for.
    Range,
    /// The certificate of the registry is not trusted.
    Certificate(String),
    /// The login cannot be read, and what to do about it.
    Login { text: String, hint: String },
    /// A proxy on the way refuses to connect.
    Proxy(String),
    /// A token server refuses the login: its URL.
    Refused(u16, String),
    /// Another try changes nothing.
    Fatal(String),
}

/// What to do after a fault.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Again(Duration),
    GiveUp,
}

impl Fault {
    /// In words.
    pub fn reason(&self) -> String {
        match self {
            Fault::Unreachable(text)
            | Fault::Lost(text)
            | Fault::Certificate(text)
            | Fault::Proxy(text)
            | Fault::Login { text, .. }
            | Fault::Fatal(text) => text.clone(),
            Fault::Refused(status, realm) => format!("the token server {realm} answered {status}"),
            Fault::Range => "the answer was for another range".into(),
            Fault::Status(status, _) => format!("the registry answered {status}"),
        }
    }
}

/// After so many failures in a row, this one included. `has_spoken` says whether the registry ever answered.
pub fn after(fault: &Fault, failures: u32, has_spoken: bool) -> Step {
    let pause = FIRST_PAUSE * 4u32.pow(failures.saturating_sub(1).min(4));
    match fault {
        Fault::Fatal(_) | Fault::Certificate(_) => Step::GiveUp,
        Fault::Login { .. } | Fault::Refused(..) | Fault::Proxy(_) => Step::GiveUp,
        _ if failures >= FAILURES_MAX => Step::GiveUp,
        Fault::Unreachable(_) if failures >= SILENCE_MAX && !has_spoken => Step::GiveUp,
        Fault::Status(429 | 503, Some(wanted)) if *wanted > PAUSE_MAX => Step::GiveUp,
        Fault::Status(429 | 503, Some(wanted)) => Step::Again(pause.max(*wanted)),
        Fault::Status(408 | 429 | 500 | 502 | 503 | 504, _) => Step::Again(pause),
        Fault::Status(..) => Step::GiveUp,
        Fault::Range => Step::Again(Duration::ZERO),
        Fault::Unreachable(_) | Fault::Lost(_) => Step::Again(pause),
    }
}

/// The fault of an answer with a status that was not hoped for.
pub fn of_answer(answer: &Response<Body>) -> Fault {
    let header = answer.headers().get("Retry-After");
    let text = header.and_then(|value| value.to_str().ok());
    let pause = text.and_then(|text| pause(text.trim(), SystemTime::now()));
    Fault::Status(answer.status().as_u16(), pause)
}

/// `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3).
fn pause(text: &str, now: SystemTime) -> Option<Duration> {
    let seconds = text.parse().ok().map(Duration::from_secs);
    let until = || httpdate::parse_http_date(text).ok();
    seconds.or_else(|| Some(until()?.duration_since(now).unwrap_or_default()))
}

/// Why a connection failed.
pub fn of_error(error: &io::Error) -> Fault {
    use io::ErrorKind::*;
    let text = |text: &str| text.to_string();
    match error.kind() {
        ConnectionRefused => Fault::Unreachable(text("the connection was refused")),
        HostUnreachable | NetworkUnreachable => Fault::Unreachable(error.to_string()),
        TimedOut => Fault::Lost(text("nothing more arrived in time")),
        ConnectionReset | ConnectionAborted | BrokenPipe => {
            Fault::Lost(text("the connection was reset"))
        }
        UnexpectedEof => Fault::Lost(text("the connection was closed")),
        _ => match error.to_string().strip_prefix(LOOKUP) {
            Some(why) => Fault::Unreachable(format!("its address was not found{why}")),
            None => Fault::Lost(error.to_string()),
        },
    }
}

/// Whether an answer to a request for the bytes from `from` on of a blob of this size begins there.
pub fn is_part(content_range: Option<&str>, from: u64, size: u64) -> bool {
    let parse = || {
        let (range, total) = content_range?.strip_prefix("bytes ")?.split_once('/')?;
        let (start, _) = range.split_once('-')?;
        let is_total = total == "*" || total.parse() == Ok(size);
        Some(start.parse() == Ok(from) && is_total)
    };
    parse().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_the_fifth_failure_is_the_last() {
        let lost = Fault::Lost("x".into());
        let steps: Vec<Step> = (1..=5)
            .map(|failures| after(&lost, failures, false))
            .collect();
        let again = |ms| Step::Again(Duration::from_millis(ms));
        let expected = [
            again(200),
            again(800),
            again(3200),
            again(12_800),
            Step::GiveUp,
        ];
        assert_eq!(steps, expected);
        let refused = Fault::Unreachable("x".into());
        for (failures, has_spoken, expected) in [
            (2, false, again(800)),
            (3, false, Step::GiveUp),
            (3, true, again(3200)),
            (5, true, Step::GiveUp),
        ] {
            assert_eq!(after(&refused, failures, has_spoken), expected);
        }
    }

    #[test]
    fn a_name_without_an_address_is_not_asked_for_long() {
        use std::net::ToSocketAddrs;
        let error = ("no-such-host.invalid", 1).to_socket_addrs().unwrap_err();
        assert!(matches!(of_error(&error), Fault::Unreachable(_)), "{error}");
    }

    #[test]
    fn a_registry_asks_for_seconds_or_for_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for (header, seconds) in [
            ("7", Some(7)),
            ("Tue, 14 Nov 2023 22:13:25 GMT", Some(5)),
            ("Tue, 14 Nov 2023 22:13:19 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(
                pause(header, now),
                seconds.map(Duration::from_secs),
                "{header}"
            );
        }
    }

    #[test]
    fn a_status_decides() {
        let seconds = |n| Some(Duration::from_secs(n));
        for (status, told, expected) in [
            (429, seconds(7), Step::Again(Duration::from_secs(7))),
            (503, seconds(0), Step::Again(FIRST_PAUSE)),
            (503, seconds(61), Step::GiveUp),
            (500, seconds(61), Step::Again(FIRST_PAUSE)),
            (502, None, Step::Again(FIRST_PAUSE)),
            (400, None, Step::GiveUp),
            (401, None, Step::GiveUp),
            (403, None, Step::GiveUp),
            (404, None, Step::GiveUp),
            (200, None, Step::GiveUp),
        ] {
            assert_eq!(
                after(&Fault::Status(status, told), 1, true),
                expected,
                "{status}"
            );
        }
        assert_eq!(after(&Fault::Fatal("x".into()), 1, true), Step::GiveUp);
        assert_eq!(after(&Fault::Range, 1, true), Step::Again(Duration::ZERO));
    }

    #[test]
    fn a_range_must_be_the_one_that_was_asked_for() {
        for (header, is) in [
            (Some("bytes 5-9/10"), true),
            (Some("bytes 5-9/*"), true),
            (Some("bytes 0-9/10"), false),
            (Some("bytes 5-9/11"), false),
            (Some("bytes */10"), false),
            (Some("5-9/10"), false),
            (None, false),
        ] {
            assert_eq!(is_part(header, 5, 10), is, "{header:?}");
        }
    }
}
