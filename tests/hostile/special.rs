//! Owners, modes and devices out of range, and overlayfs's own xattrs on every type.

use crate::court::{Case, End};
use crate::tarball::{Entry, Kind, LayerBuilder, Meta, header, seal};

const OVERLAY: [&str; 12] = [
    "opaque",
    "redirect",
    "origin",
    "impure",
    "nlink",
    "metacopy",
    "protattr",
    "uuid",
    "whiteout",
    "upper",
    "xwhiteouts",
    "overlay.opaque",
];

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let file = |meta: Meta| LayerBuilder::new().file("f", meta, "");
    for (uid, gid) in [
        (1 << 32, 0),
        (0, 1 << 32),
        ((1 << 32) - 1, 0),
        (0, (1 << 32) - 1),
        (1 << 62, 1),
    ] {
        let name = format!("setuid, of {uid}:{gid}");
        cases.push(Case::new(
            name,
            End::Refused,
            vec![file(Meta::new(0o4755).owner(uid, gid))],
        ));
    }
    for (major, minor) in [(1 << 40, 0), (4096, 0), (0, 1 << 20)] {
        let mut block = header(b'3', b"device", b"", &Meta::new(0o666), 0);
        // Base-256: what octal cannot say.
        block[329..337].copy_from_slice(&(major | 1u64 << 63).to_be_bytes());
        block[337..345].copy_from_slice(&(minor | 1u64 << 63).to_be_bytes());
        seal(&mut block);
        let layer = LayerBuilder::new().raw(block);
        cases.push(Case::new(
            format!("device {major}:{minor}"),
            End::Refused,
            vec![layer],
        ));
    }
    let zero = LayerBuilder::new().chardev("f", 0o600, (0, 0));
    cases.push(Case::new(
        "a 0:0 device, which would delete",
        End::Refused,
        vec![file(Meta::new(0o644)), zero],
    ));
    for namespace in ["trusted", "user"] {
        for name in OVERLAY {
            let xattr = format!("{namespace}.overlay.{name}");
            let meta = || Meta::new(0o755).xattr(&xattr, "y");
            let all = LayerBuilder::new()
                .dir(".", meta())
                .dir("d", meta())
                .file("d/f", meta(), "content")
                .file("d/empty", meta(), "")
                .fifo("d/pipe", meta())
                .chardev("d/null", meta(), (1, 3))
                .blockdev("d/loop", meta(), (7, 0))
                .entry(&Entry {
                    name: b"d/link".to_vec(),
                    kind: Kind::Symlink(b"f".to_vec()),
                    meta: meta(),
                })
                .entry(&Entry {
                    name: b"d/hard".to_vec(),
                    kind: Kind::Hardlink(b"d/f".to_vec()),
                    meta: meta(),
                });
            let named = format!("{xattr} on every type");
            cases.push(Case::new(
                named,
                End::Unpacked,
                vec![file(Meta::new(0o644)), all],
            ));
        }
    }
    for mode in [0o7777, 0, 0o1777, 0o6000] {
        let all = LayerBuilder::new()
            .dir("d", mode)
            .file("d/f", mode, "")
            .fifo("d/p", mode);
        cases.push(Case::new(
            format!("everything with mode {mode:o}"),
            End::Unpacked,
            vec![all],
        ));
    }
    for seconds in [i64::MIN / 2, -1, i64::MAX / 2] {
        let layer = vec![file(Meta::new(0o644).time(seconds, 1))];
        cases.push(Case::new(
            format!("a time of {seconds}"),
            End::Either,
            layer,
        ));
    }
    cases
}
