//! On a terminal: bars, colours, and Ctrl-C that cleans up. The terminal is a pseudo one.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::bench::Bench;
use crate::layout::Layout;
use crate::screen;
use crate::tarball::LayerBuilder;
use support::program;

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;
const SIGHUP: i32 = 1;

pub struct Terminal {
    keyboard_and_screen: File,
    child: Child,
    seen: String,
}

impl Terminal {
    /// Runs the command with a terminal of its own.
    pub fn run(bench: &Bench, arguments: &[&str], environment: &[(&str, &str)]) -> Terminal {
        Terminal::of_width(80, bench, arguments, environment)
    }

    /// The same on a terminal of so many columns.
    pub fn of_width(
        columns: u16,
        bench: &Bench,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Terminal {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("a pseudo-terminal");
        grantpt(&master).expect("it is ours");
        unlockpt(&master).expect("it is ours");
        let size = Winsize {
            ws_row: 24,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&master, size).expect("it is ours");
        let name = ptsname(&master, Vec::new()).expect("it has a name");
        let open = || {
            let mut options = File::options();
            let file = options.read(true).write(true).open(name.to_str().unwrap());
            Stdio::from(file.expect("the other side"))
        };
        // It makes the terminal the controlling one, so that Ctrl-C is a signal.
        let child = program::other("setsid")
            .arg("--ctty")
            .arg(program::path())
            .args(["--store", bench.store().to_str().unwrap()])
            .args(arguments)
            .current_dir(bench.path("."))
            .env("TERM", "xterm")
            .envs(environment.iter().copied())
            .stdin(open())
            .stdout(open())
            .stderr(open())
            .spawn()
            .expect("setsid, of util-linux");
        Terminal {
            keyboard_and_screen: File::from(master),
            child,
            seen: String::new(),
        }
    }

    /// Reads the screen until a text appears on it; false where the command ended before.
    fn wait_for(&mut self, text: &str) -> bool {
        let mut buffer = [0; 4096];
        while !self.seen.contains(text) {
            match self.keyboard_and_screen.read(&mut buffer) {
                Ok(0) => return false,
                Ok(count) => self.seen += &String::from_utf8_lossy(&buffer[..count]),
                // So Linux says that the other side is closed.
                Err(error) if error.raw_os_error() == Some(5) => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => panic!("{error}"),
            }
        }
        true
    }

    fn press_ctrl_c(&mut self) {
        self.keyboard_and_screen.write_all(b"\x03").unwrap();
    }

    /// What was on the screen, and how the command ended.
    pub fn finish(mut self) -> (String, ExitStatus) {
        assert!(!self.wait_for("\0 never \0"));
        (self.seen, self.child.wait().expect("it ends"))
    }
}

const UNPACK: [&str; 5] = [
    "unpack",
    "oci:image",
    "--userxattr",
    "--owners=caller",
    "--sync=none",
];

/// An image whose second layer takes more than a moment.
fn image(bench: &Bench, entries: usize) {
    let small = LayerBuilder::new().file("f", 0o644, "").finish();
    let mut many = LayerBuilder::new();
    for number in 0..entries {
        many = many.file(format!("d{}/{number}", number % 100), 0o644, "");
    }
    let layout = Layout::new(bench.path("image"));
    layout.image(&layout.manifest(&[small, many.finish()]));
}

#[test]
fn bars_show_long_work_and_go_when_it_is_done() {
    let bench = Bench::new();
    image(&bench, 60_000);
    let terminal = Terminal::run(&bench, &UNPACK, &[]);
    let (screen, status) = terminal.finish();
    assert!(status.success(), "{screen}");
    assert!(screen.contains("layer 2 ["), "{screen}");
    assert!(screen.contains("/2 layers ["), "{screen}");
    // Plain lines are for those who are no terminal.
    assert!(!screen.contains("60,000 entries, 0 B\r\nlayer"), "{screen}");
    let end = screen.rfind("2 layers in ").expect("a summary");
    assert!(screen[end..].contains("60,001 entries"), "{screen}");
    assert!(
        !screen[end..].contains("[="),
        "the bars are still there: {screen}"
    );
}

/// A line that is too long wraps, and what clears it then clears the wrong line.
#[test]
fn bars_fit_the_terminal_and_leave_nothing_behind() {
    for columns in [40, 80, 200] {
        for is_interrupted in [false, true] {
            let bench = Bench::new();
            image(&bench, 60_000);
            let mut terminal = Terminal::of_width(columns, &bench, &UNPACK, &[]);
            assert!(terminal.wait_for("layer 2 ["), "{}", terminal.seen);
            if is_interrupted {
                terminal.press_ctrl_c();
            }
            let (output, status) = terminal.finish();
            let what = format!("{columns} columns: {output:?}");
            // The paths of the result are longer than some terminals, and are not ours to cut.
            let end = output.rfind(bench.store().to_str().expect("text"));
            let bars = output.split("2 layers in ").next().expect("a part");
            let bars = bars.split("lowerdir:").next().expect("a part");
            let rows = screen::rows(bars, usize::from(columns));
            let rows: Vec<&str> = rows.iter().map(|row| row.trim()).collect();
            let left = rows.iter().filter(|row| !row.is_empty());
            assert_eq!(left.count(), 0, "{rows:?} of {what}");
            assert_eq!(status.success(), !is_interrupted, "{what}");
            assert_eq!(end.is_some(), !is_interrupted, "{what}");
            assert_eq!(output.contains("interrupted"), is_interrupted, "{what}");
            for part in ["/2 layers [", "%"].iter().filter(|_| columns == 40) {
                assert!(output.contains(part), "no {part:?} in {what}");
            }
            for part in [" of ", "s left"].iter().filter(|_| columns > 40) {
                assert!(output.contains(part), "no {part:?} in {what}");
            }
        }
    }
}

#[test]
fn an_archive_is_not_typed() {
    let bench = Bench::new();
    for arguments in [
        &["unpack", "-"][..],
        &["ls", "-"],
        &["unpack-layer", "-", "dir"],
        &["translate", "-", "out"],
    ] {
        let (screen, status) = Terminal::run(&bench, arguments, &[]).finish();
        assert_eq!(status.code(), Some(2), "{arguments:?}: {screen}");
        assert!(
            screen.contains("standard input, and that is a terminal"),
            "{screen}"
        );
    }
    assert!(bench.names(&bench.path("")).is_empty());
}

#[test]
fn short_work_shows_no_bars() {
    let bench = Bench::new();
    image(&bench, 1);
    // On a busy machine, short work may take long.
    for _ in 0..20 {
        let (screen, status) = Terminal::run(&bench, &UNPACK, &[]).finish();
        assert!(status.success(), "{screen}");
        let summary = screen.find("2 layers in ").expect("a summary");
        if screen[summary..].starts_with("2 layers in 0.0") {
            assert_eq!(summary, 0, "{screen}");
            return;
        }
        std::fs::remove_dir_all(bench.store()).expect("a store");
    }
    eprintln!("skipped: the machine is too busy for short work");
}

#[test]
fn verbose_leaves_a_line_for_each_layer() {
    let bench = Bench::new();
    image(&bench, 1);
    let arguments = [&UNPACK[..], &["-v"]].concat();
    let (screen, _) = Terminal::run(&bench, &arguments, &[]).finish();
    // On a busy machine there were bars before, which name the layers too.
    let lines = screen.matches("\u{2026}): 1 entry, 0 B").count();
    assert_eq!(lines, 2, "{screen}");
    for layer in ["layer 1 (sha256:", "layer 2 (sha256:"] {
        assert!(screen.contains(layer), "{screen}");
    }
}

#[test]
fn ctrl_c_removes_what_is_not_finished() {
    let bench = Bench::new();
    image(&bench, 200_000);
    let mut terminal = Terminal::run(&bench, &UNPACK, &[]);
    assert!(terminal.wait_for("layer 2 ["), "{}", terminal.seen);
    terminal.press_ctrl_c();
    let (screen, status) = terminal.finish();
    assert_eq!(status.signal(), Some(SIGINT), "{screen}");
    assert!(screen.contains("interrupted"), "{screen}");
    assert_eq!(bench.layers_in_store(), 0);
    assert!(bench.names(&bench.store().join("images")).is_empty());
}

#[test]
fn other_signals_remove_it_too_where_there_is_no_terminal() {
    for (name, number) in [("TERM", SIGTERM), ("HUP", SIGHUP)] {
        let bench = Bench::new();
        let (status, stderr) = signalled(&bench, 200_000, name, "");
        assert_eq!(status.signal(), Some(number), "{stderr}");
        assert!(stderr.contains(r#""kind":"cancelled""#), "{stderr}");
        assert_eq!(bench.names(&bench.path(".")), ["image"]);
    }
}

#[test]
fn a_signal_that_is_ignored_stays_so() {
    for name in ["HUP", "INT"] {
        let bench = Bench::new();
        let (status, stderr) = signalled(&bench, 20_000, name, &format!("trap '' {name};"));
        assert!(status.success(), "{stderr}");
        assert_eq!(bench.names(&bench.path(".")), ["dir", "image"]);
    }
}

/// What becomes of a long run, started by a shell after some other words, that gets a signal once it
/// has begun.
fn signalled(bench: &Bench, files: usize, signal: &str, before: &str) -> (ExitStatus, String) {
    image(bench, files);
    let blobs = std::fs::read_dir(bench.path("image/blobs/sha256")).unwrap();
    let blobs = blobs.map(|entry| entry.unwrap().path());
    let size = |path: &PathBuf| path.metadata().unwrap().len();
    let largest = blobs.max_by_key(size).unwrap();
    let child = program::shell(format!("{before} exec \"$0\" \"$@\""))
        .args(["unpack-layer", "--base", "--userxattr", "--owners=caller"])
        .args(["--progress=json", "--sync=none"])
        .arg(largest)
        .arg("dir")
        .current_dir(bench.path("."))
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let mut first = [0; 16];
    stderr.read_exact(&mut first).unwrap();
    let kill = Command::new("kill")
        .args(["-s", signal, &child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    (child.wait().unwrap(), rest)
}

#[test]
fn no_archive_goes_to_a_terminal() {
    let bench = Bench::new();
    image(&bench, 1);
    let layer = LayerBuilder::new().file("f", 0o644, "").finish();
    bench.write("layer.tar", layer);
    std::fs::create_dir(bench.path("upper")).unwrap();
    for arguments in [
        &["translate", "layer.tar"][..],
        &["translate", "layer.tar", "-"],
        &["translate", "layer.tar", "/dev/tty"],
        &["translate", "layer.tar", "/dev/stdout"],
        &["translate", "layer.tar", "/dev/fd/2"],
        &["pack", "upper", "--userxattr", "--base", "-o", "-"],
        &["pack", "upper", "--userxattr", "--base", "-o", "/dev/tty"],
        &["flatten", "oci:image", "-"],
    ] {
        let (screen, status) = Terminal::run(&bench, arguments, &[]).finish();
        assert_eq!(status.code(), Some(2), "{arguments:?}: {screen}");
        assert!(screen.contains("on a terminal is of no use"), "{screen}");
        assert!(
            !screen.contains('\0') && !screen.contains("ustar"),
            "{screen}"
        );
    }
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let bench = Bench::new();
    let arguments = ["unpack", "oci:nothing"];
    let (screen, status) = Terminal::run(&bench, &arguments, &[]).finish();
    assert_eq!(status.code(), Some(1));
    assert!(
        screen.contains("\x1b[") && screen.contains("lowerdir:"),
        "{screen:?}"
    );
    for plain in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let (screen, _) = Terminal::run(&bench, &arguments, &[plain]).finish();
        assert!(!screen.contains('\x1b'), "{plain:?}: {screen:?}");
        assert!(screen.contains("lowerdir: "), "{screen:?}");
    }
    let run = bench.run(&arguments);
    assert!(!run.stderr.contains('\x1b'), "{run:?}");
}
