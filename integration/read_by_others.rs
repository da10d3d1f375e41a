//! What we write, others read: archives by GNU tar, bsdtar and Python's tarfile, images by umoci,
//! skopeo and podman.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::oci::{Compression, write_layout};
use crate::scratch::{self, Run, Scratch};
use crate::tarball::{LayerBuilder, Meta};
use crate::walk::Walk;

/// Prints a line for each member, with all that counts, and the holes filled.
const TARFILE: &str = r#"
import hashlib, sys, tarfile
for member in tarfile.open(sys.argv[1], errors="surrogateescape"):
    content = tar = b""
    if member.isreg():
        content = tarfile.open(sys.argv[1], errors="surrogateescape").extractfile(member.name).read()
    xattrs = sorted((key, value) for key, value in member.pax_headers.items() if "xattr" in key)
    line = (member.name, member.type, oct(member.mode), member.uid, member.gid, member.mtime,
            member.linkname, member.devmajor, member.devminor, len(content),
            hashlib.sha256(content).hexdigest(), xattrs)
    print(ascii(line))
"#;

/// An upperdir with what is hard to write.
fn upper(site: &Path) -> std::path::PathBuf {
    let (blob, upper) = (site.join("blob"), site.join("upper"));
    let (long, longer) = ("n".repeat(120), format!("{0}/{0}/{0}", "d".repeat(90)));
    let layer = LayerBuilder::new()
        .dir("", Meta::new(0o755).time(1_600_000_000, 0))
        .dir(
            "d",
            Meta::new(0o1777).owner(4_000_000_000, 3_000_000).time(5, 0),
        )
        .file(
            "d/f",
            Meta::new(0o4711).time(1_600_000_000, 123_456_789),
            "content",
        )
        .file(
            &long,
            Meta::new(0o644).xattr("user.b", b"a\0\n=\xff"),
            "long",
        )
        .file(format!("{longer}/f"), 0o644, "longer")
        .symlink("link", "t".repeat(150))
        .hardlink("e", "d/f")
        .fifo("fifo", 0o600)
        .chardev("char", 0o600, (4095, 1_048_575))
        .blockdev("block", 0o660, (8, 1))
        .finish();
    fs::write(&blob, layer).expect("a blob");
    let arguments: [&OsStr; 4] = [
        "unpack-layer".as_ref(),
        "--base".as_ref(),
        blob.as_ref(),
        upper.as_ref(),
    ];
    scratch::lowerdir(&arguments, None)
        .done()
        .expect("a good layer");
    let file = fs::File::create(upper.join("sparse")).expect("a file");
    std::os::unix::fs::FileExt::write_all_at(&file, b"data", 1 << 20).expect("some data");
    file.set_len(3 << 20).expect("a hole at the end");
    upper
}

fn packed(site: &Path, options: &[&str]) -> std::path::PathBuf {
    let (upper, layer) = (upper(site), site.join("layer.tar"));
    let mut arguments = vec![
        OsStr::new("pack"),
        upper.as_ref(),
        "--compression=none".as_ref(),
    ];
    arguments.extend(options.iter().map(OsStr::new));
    arguments.extend([OsStr::new("-o"), layer.as_ref()]);
    scratch::lowerdir(&arguments, None)
        .done()
        .expect("it can be packed");
    layer
}

#[test]
fn gnu_tar_and_bsdtar_unpack_what_was_packed() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = scratch.site();
    let layer = packed(site.path(), &[]);
    let expected = Walk::new(&site.path().join("upper"), &BTreeSet::new());
    for (program, options) in [
        (
            "tar",
            &["--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf"][..],
        ),
        ("bsdtar", &["--numeric-owner", "-xpf"]),
    ] {
        if Command::new(program).arg("--version").output().is_err() {
            crate::skip(&format!("there is no {program}"));
            continue;
        }
        let directory = site.path().join(program);
        fs::create_dir(&directory).expect("a directory");
        let mut command = Command::new(program);
        command.args(options).arg(&layer).arg("-C").arg(&directory);
        Run::of(&mut command)
            .done()
            .unwrap_or_else(|what| panic!("{what}"));
        let mut walk = Walk::new(&directory, &BTreeSet::new());
        // bsdtar leaves the time of the directory that it unpacks into.
        let root: &[u8] = b"";
        let time = expected.listing[root].mtime;
        walk.listing
            .entry(root.into())
            .and_modify(|item| item.mtime = time);
        let verdict = walk.compare(program, "the upperdir", &expected.listing);
        verdict.unwrap_or_else(|what| panic!("{what}"));
    }
}

#[test]
fn tarfile_reads_what_was_packed_with_holes_as_without() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let read = |options: &[&str]| {
        let site = scratch.site();
        let layer = packed(site.path(), options);
        let mut python = Command::new("python3");
        let run = Run::of(python.args(["-c", TARFILE]).arg(&layer));
        let size = fs::metadata(&layer).expect("it is there").len();
        (run.text().unwrap_or_else(|what| panic!("{what}")), size)
    };
    let (sparse, small) = read(&["--clamp-mtime=1600000000"]);
    let (filled, large) = read(&["--clamp-mtime=1600000000", "--fill-holes"]);
    assert_eq!(sparse, filled);
    assert!(small + (2 << 20) < large, "{small} and {large} bytes");
    for expected in [
        "('d', b'5', '0o1777', 4000000000, 3000000, 5",
        "('char', b'3', '0o600', 0, 0, 1600000000, '', 4095, 1048575",
        "'SCHILY.xattr.user.b', 'a\\x00\\n=\\udcff'",
        "3145728",
    ] {
        assert!(sparse.contains(expected), "no {expected} in {sparse}");
    }
}

#[test]
fn an_image_with_a_packed_layer_is_read_by_others() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = scratch.site();
    let base = LayerBuilder::new()
        .file("etc/motd", 0o644, "old")
        .dir("opt", 0o755)
        .file("opt/x", 0o644, "x")
        .finish();
    let layout = site.path().join("layout");
    write_layout(&layout, "1", &[(base, Compression::Gzip)]);
    let (upper, lower) = (site.path().join("upper"), site.path().join("lower"));
    fs::create_dir_all(upper.join("opt")).expect("a directory");
    fs::write(upper.join("opt/y"), "y").expect("a file");
    xattr::set(upper.join("opt"), "trusted.overlay.opaque", b"y").expect("a mark");
    fs::create_dir_all(lower.join("opt")).expect("a directory");
    fs::write(lower.join("opt/x"), "x").expect("a file");
    let image = format!("oci:{}:1", layout.display());
    let arguments: [&OsStr; 6] = [
        "pack".as_ref(),
        upper.as_ref(),
        "--lower".as_ref(),
        lower.as_ref(),
        "--append".as_ref(),
        image.as_ref(),
    ];
    scratch::lowerdir(&arguments, None)
        .done()
        .expect("it can be packed");

    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        let run = Run::of(command.args(arguments).current_dir(site.path()));
        run.text().unwrap_or_else(|what| panic!("{what}"))
    };
    let inspected = run("skopeo", &["inspect", "oci:layout:1"]);
    // Its own digest, and one for each layer.
    assert_eq!(inspected.matches("sha256:").count(), 3, "{inspected}");
    run(
        "skopeo",
        &["copy", "oci:layout:1", "docker-archive:saved.tar:it:1"],
    );
    let storage = ["--root=storage", "--runroot=run", "--storage-driver=vfs"];
    let loaded = run(
        "podman",
        &[&storage[..], &["load", "-i", "saved.tar"]].concat(),
    );
    assert!(loaded.contains("it:1"), "{loaded}");
    run("umoci", &["unpack", "--image", "layout:1", "bundle"]);
    let rootfs = site.path().join("bundle/rootfs");
    assert_eq!(fs::read(rootfs.join("opt/y")).expect("it is new"), b"y");
    assert!(!rootfs.join("opt/x").exists() && rootfs.join("etc/motd").exists());
    let history = run("umoci", &["stat", "--image", "layout:1", "--json"]);
    assert!(history.contains("lowerdir pack"), "{history}");
}
