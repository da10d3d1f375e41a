//! Whom an error blames.

use std::io;

use nix::errno::Errno::{self, *};

use super::{Advice, Error, Kind, Operation};

fn of(errno: Errno) -> io::Error {
    io::Error::from_raw_os_error(errno as i32)
}

#[test]
fn only_what_a_decoder_says_is_damage() {
    let damaged = Error::reading("reading", io::Error::other("unknown frame descriptor"));
    assert_eq!(damaged.kind(), Kind::Refused);
    assert!(damaged.hint_text().expect("a hint").contains("damaged"));
    for text in [
        "Allocation error : not enough memory",
        "can't allocate memory",
    ] {
        let error = Error::reading("reading", io::Error::other(text));
        assert_eq!(error.kind(), Kind::System, "{text}");
        assert_eq!(error.advice(), Some((Advice::FewerJobs, "")));
    }
    for errno in [ENOSPC, EIO, EMFILE, ENOMEM, EDQUOT, EFBIG, EROFS] {
        for error in [Error::reading("x", of(errno)), Error::io("x", of(errno))] {
            assert_eq!(error.kind(), Kind::System, "{errno}");
            let hint = error.hint_text();
            assert!(hint.is_some() || error.advice().is_some(), "{errno}");
            assert!(!hint.is_some_and(|hint| hint.contains("damaged")));
            assert!(error.is_system_fault());
        }
    }
    let without_number = Error::io("writing", io::Error::other("no number"));
    assert_eq!(without_number.kind(), Kind::System);
}

#[test]
fn an_error_that_travels_through_io_keeps_what_it_is() {
    let inner = || io::Error::from(Error::limit("too large").hint("raise it"));
    let system = Error::system("cleaning", inner());
    for error in [
        Error::reading("x", inner()),
        Error::io("x", inner()),
        system,
    ] {
        assert_eq!(error.kind(), Kind::Limit);
        assert_eq!(error.hint_text(), Some("raise it"));
    }
    let nested = Error::from_both("cleaning", "opening locks");
    assert_eq!(
        nested.reason(),
        "cleaning: opening locks: input/output error"
    );
    assert_eq!(nested.raw_os_error(), Some(EIO as i32));
}

impl Error {
    fn from_both(outer: &str, inner: &str) -> Error {
        Error::system(outer, io::Error::from(Error::system(inner, of(EIO))))
    }
}

#[test]
fn what_is_not_there_says_something_and_a_fault_does_not() {
    for errno in [ENOENT, ENOTDIR, ELOOP, EISDIR] {
        assert!(!Error::system("x", of(errno)).is_system_fault(), "{errno}");
    }
    assert!(!Error::refused("x").is_system_fault());
    assert!(Error::system("x", of(EACCES)).is_denied());
}

#[test]
fn a_kind_decides_the_exit_status() {
    for (error, name, status) in [
        (Error::refused("x"), "refused", 3),
        (Error::mismatch("x"), "mismatch", 3),
        (Error::limit("x"), "limit", 4),
        (Error::usage("x"), "usage", 2),
        (Error::not_found("x"), "not-found", 1),
        (Error::conflict("x"), "conflict", 1),
        (Error::unsupported("x"), "unsupported", 1),
        (Error::network("x"), "network", 1),
        (Error::system("x", of(EIO)), "system", 1),
        (Error::cancelled(), "cancelled", 1),
        (Error::internal("x"), "internal", 1),
    ] {
        let kind = error.kind();
        assert_eq!(
            (kind.name(), kind.exit_status()),
            (name, status),
            "{kind:?}"
        );
    }
    let mut names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Kind::ALL.len());
}

/// It is still a system error, so that it says nothing about a layer.
#[test]
fn what_the_kernel_lacks_is_unsupported() {
    for errno in [ENOSYS, EOPNOTSUPP] {
        let error = Error::system("x", of(errno));
        assert_eq!(error.kind(), Kind::Unsupported, "{errno}");
        assert_eq!(error.raw_os_error(), Some(errno as i32));
        assert!(error.is_system_fault());
    }
    let mounting = Error::system("x", of(ENODEV));
    assert_eq!(mounting.kind(), Kind::System);
    assert_eq!(mounting.during(Operation::Mount).kind(), Kind::Unsupported);
}

#[test]
fn the_table_comes_before_what_a_caller_says() {
    let hint = |errno| {
        let error = Error::system("x", of(errno)).during(Operation::Spool);
        error
            .hint("a word of the caller's")
            .hint_text()
            .map(String::from)
    };
    assert!(hint(EMFILE).expect("a hint").contains("ulimit -n"));
    assert!(hint(ENOSPC).expect("a hint").contains("TMPDIR"));
    assert_eq!(hint(ECHILD).as_deref(), Some("a word of the caller's"));
}
