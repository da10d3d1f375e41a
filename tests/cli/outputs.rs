//! What an output may be: a regular file is replaced whole and keeps its mode, a symbolic link is
//! followed, a FIFO or descriptor is written into, and the rest is refused before anything changes.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, openat};

use crate::bench::Bench;
use crate::layout::Layout;
use crate::tarball::LayerBuilder;
use support::program;

/// The verbs that write one archive, without where it goes.
const VERBS: [&[&str]; 2] = [
    &["translate", "layer.tar"],
    &[
        "pack",
        "upper",
        "--userxattr",
        "--base",
        "--compression=none",
        "-o",
    ],
];

fn bench() -> Bench {
    let bench = Bench::new();
    let layer = LayerBuilder::new().file("f", 0o644, "f").finish();
    bench.write("layer.tar", &layer);
    let layout = Layout::new(bench.path("image"));
    layout.image(&layout.manifest(&[layer]));
    fs::create_dir(bench.path("upper")).expect("a directory");
    bench.write("upper/new", "new");
    bench
}

/// What a verb writes.
fn archive(bench: &Bench, verb: &[&str]) -> Vec<u8> {
    let run = bench.run(&[verb, &["reference.tar"]].concat());
    assert_eq!(run.status, 0, "{run:?}");
    let archive = fs::read(bench.path("reference.tar")).expect("it was made");
    fs::remove_file(bench.path("reference.tar")).expect("it is there");
    archive
}

fn works(bench: &Bench, verb: &[&str], out: &str) {
    let run = bench.run(&[verb, &[out]].concat());
    assert_eq!(run.status, 0, "{out}: {run:?}");
}

/// A shell command with the program as `$0`, in the bench's directory.
fn shell(bench: &Bench, script: &str) -> Output {
    let mut command = program::shell(script);
    command.current_dir(bench.path("."));
    command.output().expect("a shell")
}

fn mode(bench: &Bench, name: &str) -> u32 {
    let found = fs::metadata(bench.path(name)).expect("it is there");
    found.permissions().mode() & 0o7777
}

fn fifo(bench: &Bench, name: &str) {
    let mode = Mode::from_raw_mode(0o600);
    mknodat(CWD, bench.path(name), FileType::Fifo, mode, 0).expect("a FIFO");
}

fn is_fifo(bench: &Bench, name: &str) -> bool {
    let found = fs::symlink_metadata(bench.path(name)).expect("it is there");
    found.file_type().is_fifo()
}

#[test]
fn a_regular_file_is_replaced_and_keeps_its_mode() {
    let bench = bench();
    for verb in VERBS {
        let archive = archive(&bench, verb);
        let out = bench.write("secret", "old");
        for bits in [0o600, 0o444, 0o4755] {
            fs::set_permissions(&out, Permissions::from_mode(bits)).expect("its owner may");
            let open = File::open(&out);
            works(&bench, verb, "secret");
            assert_eq!(mode(&bench, "secret"), bits & 0o777, "{verb:?}");
            assert_eq!(fs::read(&out).expect("it is there"), archive);
            // Who has the old one open still reads that.
            let old = open.map(|open| open.metadata().expect("it is open").ino());
            let new = fs::metadata(&out).expect("it is there").ino();
            assert!(old.map_or(true, |old| old != new));
        }
        fs::remove_file(&out).expect("it is there");
    }
}

#[test]
fn a_new_file_follows_the_umask() {
    let bench = bench();
    for (umask, bits) in [("022", 0o644), ("077", 0o600), ("002", 0o664)] {
        let script = format!("umask {umask}; exec \"$0\" translate layer.tar new-{umask}");
        assert!(shell(&bench, &script).status.success());
        assert_eq!(mode(&bench, &format!("new-{umask}")), bits);
    }
}

#[test]
fn a_symbolic_link_is_followed_also_where_it_dangles() {
    let bench = bench();
    fs::create_dir(bench.path("d")).expect("a directory");
    for verb in VERBS {
        let archive = archive(&bench, verb);
        for (link, target) in [("l1", "d/there"), ("l2", "d/new"), ("l3", "l2")] {
            bench.write("d/there", "old");
            symlink(target, bench.path(link)).expect("a link");
            works(&bench, verb, link);
            let led = fs::read_link(bench.path(link)).expect("it is a link still");
            assert_eq!(led, Path::new(target));
            assert_eq!(fs::read(bench.path(link)).expect("a file"), archive);
        }
        assert_eq!(bench.names(Path::new("d")), ["new", "there"]);
        for name in ["l1", "l2", "l3", "d/new", "d/there"] {
            fs::remove_file(bench.path(name)).expect("it is there");
        }
    }
    symlink("loop", bench.path("loop")).expect("a link");
    let run = bench.run(&["translate", "layer.tar", "loop"]);
    run.fails(1, &["loop", "too many levels of symbolic links"]);
}

#[test]
fn a_fifo_is_written_into() {
    let bench = bench();
    for verb in VERBS {
        let archive = archive(&bench, verb);
        fifo(&bench, "fifo");
        let path = bench.path("fifo");
        let reader = std::thread::spawn(move || fs::read(path).expect("a FIFO"));
        works(&bench, verb, "fifo");
        assert_eq!(reader.join().expect("it reads"), archive);
        assert!(is_fifo(&bench, "fifo"));
        fs::remove_file(bench.path("fifo")).expect("it is there");
    }
}

/// Waits until a process catches a signal (`proc_pid_status(5)`, "SigCgt").
fn wait_until_it_listens(child: &Child, signal: u32) {
    let path = format!("/proc/{}/status", child.id());
    for _ in 0..3000 {
        let status = fs::read_to_string(&path).expect("it runs");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = u64::from_str_radix(caught.expect("a mask").trim(), 16);
        if caught.expect("hexadecimal") & (1 << (signal - 1)) != 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it never listens");
}

#[test]
fn a_fifo_that_nobody_reads_or_reads_on_can_be_given_up() {
    let bench = bench();
    bench.write("upper/large", vec![7; 1 << 20]);
    fifo(&bench, "fifo");
    for has_reader in [false, true] {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let reader = has_reader.then(|| openat(CWD, bench.path("fifo"), flags, Mode::empty()));
        let mut child = program::other("env")
            .arg("--default-signal")
            .arg(program::path())
            .args([
                "pack",
                "upper",
                "--userxattr",
                "--base",
                "-o",
                "fifo",
                "--compression=none",
            ])
            .current_dir(bench.path("."))
            .stderr(Stdio::null())
            .spawn()
            .expect("the command is there");
        wait_until_it_listens(&child, 15);
        let id = child.id().to_string();
        let kill = Command::new("kill").args(["-s", "TERM", &id]).status();
        assert!(kill.expect("kill").success());
        let status = child.wait().expect("it ends");
        assert_eq!(status.signal(), Some(15), "with a reader: {has_reader}");
        assert!(is_fifo(&bench, "fifo"));
        drop(reader);
    }
}

#[test]
fn what_can_take_no_archive_is_refused_and_stays() {
    let bench = bench();
    fs::create_dir(bench.path("dir")).expect("a directory");
    symlink("dir", bench.path("link")).expect("a link");
    let _socket = UnixListener::bind(bench.path("socket")).expect("a socket");
    let before = bench.names(Path::new("."));
    for verb in VERBS {
        for (out, what) in [
            ("dir", "is a directory"),
            ("link", "is a directory"),
            ("link/", "is a directory"),
            ("new/", "is no file"),
            ("socket", "is a socket"),
        ] {
            let run = bench.run(&[verb, &[out]].concat());
            run.fails(1, &[out, what]);
            assert!(run.hint().contains("name a file"), "{run:?}");
        }
        let run = bench.run(&[verb, &["layer.tar/x"]].concat());
        run.fails(1, &["layer.tar/x", "not a directory"]);
        let run = bench.run(&[verb, &["absent/x"]].concat());
        run.fails(1, &["absent", "no such file or directory"]);
    }
    assert_eq!(bench.names(Path::new(".")), before);
}

#[test]
fn the_input_is_never_the_output() {
    let bench = bench();
    let layer = fs::read(bench.path("layer.tar")).expect("it was written");
    symlink("layer.tar", bench.path("soft")).expect("a link");
    fs::hard_link(bench.path("layer.tar"), bench.path("hard")).expect("a link");
    for (input, output) in [
        ("layer.tar", "layer.tar"),
        ("layer.tar", "./image/../layer.tar"),
        ("soft", "layer.tar"),
        ("layer.tar", "soft"),
        ("layer.tar", "hard"),
        ("hard", "soft"),
    ] {
        let run = bench.run(&["translate", input, output]);
        run.fails(1, &[output, "is the input"]);
        assert!(run.hint().contains("another file"), "{run:?}");
    }
    for script in [
        "\"$0\" translate - layer.tar <layer.tar",
        "\"$0\" translate - - <layer.tar >>layer.tar",
        "\"$0\" translate layer.tar /dev/stdout 1<>layer.tar",
        "\"$0\" translate layer.tar /dev/fd/5 5>>layer.tar",
    ] {
        let output = shell(&bench, script);
        assert_eq!(output.status.code(), Some(1), "{script}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("is the input"));
    }
    for name in ["layer.tar", "soft", "hard"] {
        assert_eq!(fs::read(bench.path(name)).expect("it is there"), layer);
    }
}

#[test]
fn a_descriptor_is_written_into() {
    let bench = bench();
    for verb in VERBS {
        let archive = archive(&bench, verb);
        let words = verb.join(" ");
        for out in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
            let run = shell(&bench, &format!("exec \"$0\" {words} {out}"));
            assert!(run.status.success(), "{run:?}");
            assert!(run.stdout == archive, "{out}: other bytes than in a file");
            // What the shell opened stays as it is otherwise.
            let script = format!("echo first >file; \"$0\" {words} {out} >>file");
            assert!(shell(&bench, &script).status.success());
            let file = fs::read(bench.path("file")).expect("it was made");
            assert!(file == [b"first\n", &archive[..]].concat(), "{out}");
        }
        let script = format!("echo first >file; \"$0\" -q {words} /dev/fd/7 7>>file");
        let run = shell(&bench, &script);
        assert!(run.status.success(), "{run:?}");
        let file = fs::read(bench.path("file")).expect("it was made");
        assert!(file == [b"first\n", &archive[..]].concat());
    }
}

#[test]
fn a_failure_leaves_the_output_as_it_was() {
    let bench = bench();
    let damaged = bench.path("layer.tar");
    let mut bytes = fs::read(&damaged).expect("it was written");
    bytes.truncate(600);
    fs::write(&damaged, bytes).expect("it can be written");
    let out = bench.write("old", "old");
    fs::set_permissions(&out, Permissions::from_mode(0o640)).expect("its owner may");
    let before = (
        bench.names(Path::new(".")),
        fs::metadata(&out).expect("it is there").ino(),
    );
    for out in ["old", "new"] {
        let run = bench.run(&["translate", "layer.tar", out]);
        run.fails(3, &["the archive is truncated"]);
    }
    assert_eq!(fs::read(&out).expect("it is there"), b"old");
    assert_eq!(mode(&bench, "old"), 0o640);
    let after = (
        bench.names(Path::new(".")),
        fs::metadata(&out).expect("it is there").ino(),
    );
    assert_eq!(before, after);
}

#[test]
fn a_killed_command_leaves_nothing_beside_the_output() {
    let bench = bench();
    let directory = bench.path(".");
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    if openat(CWD, &directory, flags, Mode::from_raw_mode(0o600)).is_err() {
        eprintln!("skipped: the file system has no O_TMPFILE");
        return;
    }
    bench.write("old", "old");
    let before = bench.names(Path::new("."));
    let large = LayerBuilder::new().file("f", 0o644, vec![7; 4 << 20]);
    let layer = large.finish();
    for out in ["old", "new"] {
        let mut child = program::lowerdir()
            .args(["translate", "-", out])
            .current_dir(&directory)
            .stdin(Stdio::piped())
            .spawn()
            .expect("the command is there");
        let mut input = child.stdin.take().expect("a pipe");
        // Part of the file, so that it waits for the rest.
        input.write_all(&layer[..1 << 20]).expect("it reads");
        // A deleted file is open then.
        let is_writing = || {
            let open = fs::read_dir(format!("/proc/{}/fd", child.id())).expect("it runs");
            let mut open = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
            open.any(|path| path.to_string_lossy().ends_with(" (deleted)"))
        };
        let mut waited = 0;
        while !is_writing() && waited < 3000 {
            std::thread::sleep(Duration::from_millis(10));
            waited += 1;
        }
        child.kill().expect("it runs");
        child.wait().expect("it ends");
    }
    assert_eq!(bench.names(Path::new(".")), before);
    assert_eq!(fs::read(bench.path("old")).expect("it is there"), b"old");
}

#[test]
fn pack_writes_nothing_into_what_it_reads() {
    let bench = bench();
    fs::create_dir_all(bench.path("lower/d")).expect("a directory");
    symlink("upper", bench.path("link")).expect("a link");
    for (out, tree) in [
        ("upper/x.tar", "upper"),
        ("link/x.tar", "upper"),
        ("lower/d/x.tar", "lower"),
    ] {
        let run = bench.run(&[
            "pack",
            "upper",
            "--userxattr",
            "--lower",
            "lower",
            "-o",
            out,
        ]);
        run.fails(1, &[out, &format!("would be inside {tree}"), "being read"]);
    }
    let output = shell(
        &bench,
        "\"$0\" pack upper --userxattr --base -o - >upper/x.tar",
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    fs::remove_file(bench.path("upper/x.tar")).expect("the shell made it");
    fs::rename(bench.path("image"), bench.path("upper/image")).expect("it is there");
    let run = bench.run(&[
        "pack",
        "upper",
        "--userxattr",
        "--base",
        "--append",
        "oci:upper/image",
    ]);
    run.fails(1, &["upper/image", "being read"]);
    assert_eq!(bench.names(Path::new("upper")), ["image", "new"]);
    assert!(bench.names(Path::new("lower/d")).is_empty());
}

#[test]
fn a_layer_is_not_unpacked_into_its_parent() {
    let bench = bench();
    let options = ["--userxattr", "--owners=caller", "--sync=none"];
    let unpack = |target: &str, parent: &[&str]| {
        let words = [&["unpack-layer", "layer.tar", target][..], parent, &options].concat();
        bench.run(&words)
    };
    assert_eq!(unpack("below", &["--base"]).status, 0);
    let run = unpack("below/new", &["--lower", "below"]);
    run.fails(1, &["below/new", "being read"]);
    assert_eq!(bench.names(Path::new("below")), ["f"]);
}

#[test]
fn the_name_of_an_archive_is_no_directory() {
    let bench = bench();
    for name in ["x.tar", "x.tar.gz", "x.tgz", "x.TAR.ZST", "d/x.txz"] {
        for verb in [
            &["flatten", "oci:image", name, "--owners=caller"][..],
            &["unpack-layer", "layer.tar", name],
            &["bundle", "oci:image", name],
            &["export", "oci:image", name, "--format=containers-storage"],
        ] {
            let run = bench.on_store(verb);
            run.fails(2, &[name, "name of an archive"]);
        }
    }
    let run = bench.run(&["flatten", "oci:image", "x.tar.zst"]);
    let command = "`lowerdir flatten IMAGE - --compression zstd > x.tar.zst`";
    run.fails(2, &[command]);
    let run = bench.run(&["unpack-layer", "layer.tar", "x.tar"]);
    run.fails(2, &["`lowerdir translate BLOB x.tar`"]);
    // A directory that is there is meant.
    fs::create_dir(bench.path("x.tar")).expect("a directory");
    let run = bench.run(&["flatten", "oci:image", "x.tar", "--owners=caller"]);
    assert_eq!(run.status, 0, "{run:?}");
    assert_eq!(bench.names(Path::new("x.tar")), ["f"]);
}

#[test]
fn manual_pages_and_layouts_keep_modes_and_links() {
    let bench = bench();
    fs::create_dir_all(bench.path("man/man1")).expect("directories");
    bench.write("page", "old");
    symlink("../../page", bench.path("man/man1/lowerdir.1")).expect("a link");
    fs::set_permissions(
        bench.write("man/man1/lowerdir-ls.1", ""),
        Permissions::from_mode(0o600),
    )
    .expect("its owner may");
    assert_eq!(bench.run(&["man", "--dir", "man"]).status, 0);
    assert!(
        fs::symlink_metadata(bench.path("man/man1/lowerdir.1"))
            .expect("a link")
            .is_symlink()
    );
    assert!(
        fs::read_to_string(bench.path("page"))
            .expect("a page")
            .contains("NAME")
    );
    assert_eq!(mode(&bench, "man/man1/lowerdir-ls.1"), 0o600);

    let index = bench.path("image/index.json");
    fs::set_permissions(&index, Permissions::from_mode(0o600)).expect("its owner may");
    fs::rename(&index, bench.path("index")).expect("it is there");
    symlink("../index", &index).expect("a link");
    let run = bench.run(&["flatten", "oci:image", "oci:image:flat"]);
    assert_eq!(run.status, 0, "{run:?}");
    assert!(fs::symlink_metadata(&index).expect("a link").is_symlink());
    assert_eq!(mode(&bench, "index"), 0o600);
    let mut text = String::new();
    let mut file = File::open(&index).expect("it is there");
    file.read_to_string(&mut text).expect("text");
    assert!(text.contains("flat"));
}

#[test]
fn no_directory_is_named_like_a_reference_or_like_the_input() {
    let bench = Bench::new();
    let layer = LayerBuilder::new().file("f", 0o644, "f").finish();
    bench.write("layer.tar", &layer);
    let layout = Layout::new(bench.path("image"));
    layout.image(&layout.manifest(&[layer]));
    for target in [
        "oci-archive:x",
        "docker-archive:x:1",
        "dir:x",
        "docker://x/y",
    ] {
        for verb in [
            &["flatten", "oci:image", target][..],
            &["bundle", "oci:image", target],
            &["unpack-layer", "layer.tar", target],
        ] {
            bench.run(verb).fails(2, &[target, "is not written here"]);
            assert!(
                !bench
                    .path(target.split('/').next().unwrap_or(target))
                    .exists()
            );
        }
    }
    for verb in [
        &["flatten", "rootfs", "layer.tar"][..],
        &["unpack-layer", "new", "layer.tar"],
        &["bundle", "new", "layer.tar"],
    ] {
        bench.run(verb).fails(2, &["the wrong way round?"]);
    }
}
