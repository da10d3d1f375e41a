//! The table, row by row.

use super::*;

/// Each case that a row is written for gets its hint, and no row before it takes it away.
#[test]
fn every_row_is_reached() {
    for row in ALWAYS.iter().chain(ROWS) {
        let operations = match row.operations {
            [] => &[Operation::Other, Operation::Create],
            some => some,
        };
        let errnos = match row.errnos {
            [] => &[EXDEV, ENOTDIR],
            some => some,
        };
        let at = Surroundings {
            privilege: row.privilege.unwrap_or(Privilege::User),
            file_system: row.file_system.unwrap_or_default(),
        };
        let mut reached = 0;
        for &operation in operations {
            for &errno in errnos {
                let found = hint(operation, errno as i32, at);
                reached += usize::from(found == Some(row.hint));
            }
        }
        assert!(reached > 0, "nothing gets {:?}", row.hint);
    }
}

#[test]
fn root_is_never_told_to_be_root() {
    for row in ROWS {
        for &operation in row.operations {
            for errno in [EPERM, EACCES] {
                let at = Surroundings {
                    privilege: Privilege::Root,
                    file_system: FileSystem::Unknown,
                };
                let for_others = match hint(operation, errno as i32, at) {
                    Some(Told::Text(text)) => {
                        text.starts_with("run it as root") || text.starts_with("mount as root")
                    }
                    Some(Told::Advice(advice, _)) => {
                        [Advice::BeRoot, Advice::ConvertAsRoot].contains(&advice)
                    }
                    None => false,
                };
                assert!(!for_others, "{operation:?}");
            }
        }
    }
}
