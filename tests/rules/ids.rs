//! Id maps: what is mapped, what is refused. What they do to layers on disk only root can see:
//! `integration/id_maps.rs`.

use lowerdir::Kind;
use lowerdir::ids::{IdMap, IdMaps, Range};
use lowerdir::meta::{Meta, Xattr};
use proptest::prelude::*;

fn map(ranges: &[&str]) -> IdMap {
    let ranges = ranges.iter().map(|range| range.parse().expect("a range"));
    IdMap::new(ranges.collect()).expect("they do not overlap")
}

fn maps() -> IdMaps {
    IdMaps {
        uids: map(&["0:100000:10", "500:7:1"]),
        gids: map(&["0:200000:10"]),
    }
}

fn with(name: &str, value: &[u8]) -> Meta {
    let (name, value) = (name.as_bytes().into(), value.into());
    Meta {
        xattrs: vec![Xattr { name, value }],
        ..Meta::default()
    }
}

#[test]
fn ranges_are_three_numbers_that_end_at_ids() {
    for text in [
        "0:0:1",
        "4294967294:0:1",
        "0:4294967294:1",
        "0:0:4294967295",
        "1:100000:65536",
    ] {
        assert_eq!(text.parse::<Range>().expect("a range").to_string(), text);
    }
    for text in [
        "",
        "1",
        "0:0",
        "0:0:0",
        "0:0:1:2",
        "-1:0:1",
        "+1:0:1",
        "0:0x1:1",
        " 0:0:1",
        "0:0:1 ",
        "4294967295:0:1",
        "0:4294967295:1",
        "1:0:4294967295",
        "0:0:4294967296",
        "a:b:c",
        "0::1",
    ] {
        let error = text.parse::<Range>().expect_err(text);
        assert_eq!(error.kind(), Kind::Refused);
    }
}

#[test]
fn ranges_that_share_an_id_are_refused() {
    for (one, other) in [
        ("0:0:10", "9:100:1"),
        ("0:100:10", "50:109:1"),
        ("5:5:5", "5:50:1"),
    ] {
        for ranges in [[one, other], [other, one]] {
            let ranges = ranges.map(|range| range.parse().expect("a range")).to_vec();
            let error = IdMap::new(ranges).expect_err(one);
            assert!(error.to_string().contains("overlap"), "{error}");
        }
    }
    map(&["0:100:10", "10:110:10", "20:0:100"]);
}

#[test]
fn an_empty_map_leaves_ids_as_they_are() {
    let maps = IdMaps {
        uids: map(&["0:5:10"]),
        gids: IdMap::default(),
    };
    let mut meta = Meta {
        uid: 3,
        gid: 4_000_000_000,
        ..Meta::default()
    };
    maps.map(&mut meta).expect("it is mapped");
    assert_eq!((meta.uid, meta.gid), (8, 4_000_000_000));
}

#[test]
fn an_id_that_no_range_has_is_refused_by_its_name() {
    for (uid, gid, words) in [
        (10, 0, "user 10"),
        (499, 0, "user 499"),
        (500, 10, "group 10"),
    ] {
        let mut meta = Meta {
            uid,
            gid,
            ..Meta::default()
        };
        let error = maps().map(&mut meta).expect_err(words);
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.advice().is_some());
    }
}

/// `struct vfs_ns_cap_data`: magic and flags, four words, and in version 3 the root.
fn capability(version: u8, root: Option<u32>) -> Vec<u8> {
    let mut value = vec![
        1, 0, 0, version, 0x0a, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0,
    ];
    value.extend(root.into_iter().flat_map(u32::to_le_bytes));
    value
}

#[test]
fn capabilities_are_for_the_mapped_root() {
    let name = "security.capability";
    let mapped = |maps: &IdMaps, value: &[u8]| {
        let mut meta = with(name, value);
        maps.map(&mut meta).map(|()| meta.xattrs[0].value.to_vec())
    };
    let maps = maps();
    let shifted = capability(3, Some(100_000));
    assert_eq!(mapped(&maps, &capability(2, None)).unwrap(), shifted);
    assert_eq!(mapped(&maps, &capability(3, Some(0))).unwrap(), shifted);
    assert_eq!(
        mapped(&maps, &capability(3, Some(500))).unwrap(),
        capability(3, Some(7))
    );
    let error = mapped(&maps, &capability(3, Some(77))).unwrap_err();
    assert!(error.to_string().contains("77"), "{error}");
    // The first root's are version 2, as the kernel shows them.
    let identity = IdMaps {
        uids: map(&["0:0:5"]),
        gids: IdMap::default(),
    };
    assert_eq!(
        mapped(&identity, &capability(3, Some(0))).unwrap(),
        capability(2, None)
    );
    assert_eq!(
        mapped(&identity, &capability(2, None)).unwrap(),
        capability(2, None)
    );
    // What is none, the kernel refuses.
    for strange in [
        &b""[..],
        b"\x01",
        &capability(1, None),
        &capability(2, Some(0)),
        &capability(3, None),
    ] {
        assert_eq!(mapped(&maps, strange).unwrap(), strange);
    }
}

#[test]
fn ids_in_acls_are_mapped_and_nothing_else_in_them() {
    let acl = |user: u32, group: u32| {
        let entries: [(u16, u32); 6] = [
            (1, u32::MAX),
            (2, user),
            (4, u32::MAX),
            (8, group),
            (16, u32::MAX),
            (32, u32::MAX),
        ];
        let entries = entries
            .into_iter()
            .flat_map(|(tag, id)| [&tag.to_le_bytes()[..], &[5, 0], &id.to_le_bytes()].concat());
        [2, 0, 0, 0].into_iter().chain(entries).collect::<Vec<u8>>()
    };
    for name in ["system.posix_acl_access", "system.posix_acl_default"] {
        let mut meta = with(name, &acl(3, 4));
        maps().map(&mut meta).expect("they are mapped");
        assert_eq!(&*meta.xattrs[0].value, acl(100_003, 200_004));
        for (user, group, words) in [(33, 0, "user of an ACL 33"), (0, 33, "group of an ACL 33")] {
            let error = maps()
                .map(&mut with(name, &acl(user, group)))
                .expect_err(words);
            assert!(error.to_string().contains(words), "{error}");
        }
    }
    for strange in [&b""[..], b"\x02\0\0\0\x01", b"\x01\0\0\0"] {
        let mut meta = with("system.posix_acl_access", strange);
        maps().map(&mut meta).expect("it is left alone");
        assert_eq!(&*meta.xattrs[0].value, strange);
    }
}

#[test]
fn other_xattrs_stay() {
    let mut meta = with("user.x", &capability(2, None));
    maps().map(&mut meta).expect("it is left alone");
    assert_eq!(meta.xattrs, with("user.x", &capability(2, None)).xattrs);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The way back from an id is the id; two ids never become one.
    #[test]
    fn maps_go_both_ways(
        ranges in prop::collection::vec((0u32..300, 0u32..300, 1u32..80), 1..5),
        id in 0u32..400,
    ) {
        let ranges = ranges.into_iter().map(|(container, host, size)| Range { container, host, size });
        let ranges: Vec<Range> = ranges.collect();
        if let Ok(map) = IdMap::new(ranges.clone()) {
            let covered = ranges.iter().any(|range| (range.container..range.container + range.size).contains(&id));
            let host = map.host(id);
            prop_assert_eq!(host.is_some(), covered);
            if let Some(host) = host {
                prop_assert_eq!(map.container(host), Some(id));
            }
        }
    }
}
