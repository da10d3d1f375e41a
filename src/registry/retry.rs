//! What follows a failed request: a table, without a clock of its own. [`super::transfer`] and documents obey it.

use std::time::Duration;

use ureq::Body;
use ureq::http::Response;

/// Failures in a row without a byte of progress.
const FAILURES_MAX: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// A registry that asks for a longer pause is not waited for.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Why a request failed.
#[derive(Debug)]
pub enum Fault {
    /// The connection, or the answer in its middle.
    Lost(String),
    /// Another status than was hoped for, and the pause that the registry asks for.
    Status(u16, Option<Duration>),
    /// The answer is for another range than the one asked for.
    Range,
    /// Another try changes nothing.
    Fatal(String),
}

/// What to do after a fault.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Again(Duration),
    GiveUp,
}

/// After so many failures in a row, this one included.
pub fn after(fault: &Fault, failures: u32) -> Step {
    let pause = FIRST_PAUSE * 4u32.pow(failures.saturating_sub(1).min(4));
    match fault {
        Fault::Fatal(_) => Step::GiveUp,
        _ if failures >= FAILURES_MAX => Step::GiveUp,
        Fault::Status(429 | 503, Some(wanted)) if *wanted > PAUSE_MAX => Step::GiveUp,
        Fault::Status(429 | 503, Some(wanted)) => Step::Again(pause.max(*wanted)),
        Fault::Status(408 | 429 | 500 | 502 | 503 | 504, _) => Step::Again(pause),
        Fault::Status(..) => Step::GiveUp,
        Fault::Range => Step::Again(Duration::ZERO),
        Fault::Lost(_) => Step::Again(pause),
    }
}

/// The fault of an answer with a status that was not hoped for.
pub fn of_answer(answer: &Response<Body>) -> Fault {
    let header = answer.headers().get("Retry-After");
    let text = header.and_then(|value| value.to_str().ok());
    let seconds = text.and_then(|text| text.trim().parse().ok());
    Fault::Status(answer.status().as_u16(), seconds.map(Duration::from_secs))
}

/// Whether an answer to `Range: bytes=FROM-` is the rest of a blob of this size.
pub fn is_rest(content_range: Option<&str>, from: u64, size: u64) -> bool {
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
        let steps: Vec<Step> = (1..=5).map(|failures| after(&lost, failures)).collect();
        let again = |ms| Step::Again(Duration::from_millis(ms));
        let expected = [
            again(200),
            again(800),
            again(3200),
            again(12_800),
            Step::GiveUp,
        ];
        assert_eq!(steps, expected);
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
            assert_eq!(after(&Fault::Status(status, told), 1), expected, "{status}");
        }
        assert_eq!(after(&Fault::Fatal("x".into()), 1), Step::GiveUp);
        assert_eq!(after(&Fault::Range, 1), Step::Again(Duration::ZERO));
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
            assert_eq!(is_rest(header, 5, 10), is, "{header:?}");
        }
    }
}
