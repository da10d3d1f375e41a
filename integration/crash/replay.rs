//! A power cut as the disk below sees it: every write is logged, and the disk is put together again
//! as it may have been at any moment: with all that was flushed, and any part of what was not.
//!
//! `qemu-storage-daemon` shows the disk as a file through FUSE, and keeps the log (`blklogwrites`,
//! in the format of the kernel's dm-log-writes); a loop device makes it a disk again. LOWERDIR_STATES
//! is how many states are tried (200).

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::disk::{Disk, Mount, run};
use super::snapshot::Snapshot;
use super::subject::{Subject, is_clean, is_recorded, lowerdir, verifies, works};
use super::{Chance, Verdict, tracer, try_each, wanted};
use crate::scratch::Scratch;

const SECTOR: u64 = 512;
/// Flags of an entry, as in the kernel's `dm-log-writes.c`.
const FLUSH: u64 = 1;
const DISCARD: u64 = 4;
const MAGIC: u64 = 0x006a_7366_7773_6872;
/// How long a daemon may take to start or stop, in moments.
const MOMENTS: usize = 500;
const MOMENT: Duration = Duration::from_millis(20);

#[test]
fn what_was_reported_done_survives_any_loss_of_unflushed_writes_on_ext4() {
    try_states("ext4", None)
        .unwrap_or(Ok(()))
        .expect("it survives");
}

#[test]
fn what_was_reported_done_survives_any_loss_of_unflushed_writes_on_xfs() {
    try_states("xfs", None)
        .unwrap_or(Ok(()))
        .expect("it survives");
}

/// Half of the states on one kind of file system, of runs with a fault or without; `None` where
/// that cannot be done.
pub fn try_states(kind: &str, fault: Option<&str>) -> Option<Verdict> {
    let scratch = Scratch::new()?;
    let site = scratch.site();
    let subject = Subject::write(site.path(), 60);
    let recording = record(site.path(), kind, &subject, fault)?;
    let numbers: Vec<usize> = (0..wanted("LOWERDIR_STATES", 200) / 2).collect();
    let verdict = try_each(
        &numbers,
        |number| format!("{kind}, state {number}"),
        |&number| recording.state_holds(site.path(), &subject, &mut Chance::new(number as u64)),
    );
    let (states, entries) = (numbers.len(), recording.entries.len());
    println!("{kind}: {states} states of a log of {entries} entries: {verdict:?}");
    Some(verdict)
}

/// What was reported done by the time that the log had so many entries.
struct Milestone {
    entries: usize,
    images: &'static [&'static str],
}

fn holds(place: &Path, subject: &Subject, done: &[&str], whole: &Snapshot) -> Verdict {
    verifies(place)?;
    for image in done {
        is_recorded(place, image)?;
    }
    for image in ["one", "two"] {
        works(lowerdir(place, &["unpack", &subject.image(image)]))?;
    }
    is_clean(place)?;
    Snapshot::of_place(place).same(whole)
}

/// Unpacks both images, one after the other, on a disk that is logged.
fn record(site: &Path, kind: &str, subject: &Subject, fault: Option<&str>) -> Option<Recording> {
    let disk = Disk::make(site, kind, "320M", &[]);
    let start = site.join("start");
    copy(&disk.file, &start);
    let daemon = Daemon::start(site, &disk.file)?;
    let mount = Mount::of(&daemon.export, &site.join("mount"))?;
    let milestone = |images| Milestone {
        entries: daemon.logged().len(),
        images,
    };
    let mut milestones = vec![milestone(&[])];
    for (image, images) in [("one", &["one"][..]), ("two", &["one", "two"])] {
        let unpack = lowerdir(mount.place(), &["unpack", &subject.image(image)]);
        let unpack = match fault {
            Some(fault) => tracer::sabotaged(&unpack, fault, &site.join("trace")),
            None => unpack,
        };
        works(unpack).expect("it is undisturbed");
        milestones.push(milestone(images));
    }
    let whole = Snapshot::of_place(mount.place());
    mount.unmount().expect("nobody uses it");
    let log = daemon.stop();
    let mut magic = [0; 8];
    let read = File::open(&log).and_then(|log| log.read_exact_at(&mut magic, 0));
    assert!(
        read.is_ok() && u64::from_le_bytes(magic) == MAGIC,
        "it is no log"
    );
    Some(Recording {
        entries: entries(&log),
        start,
        log,
        milestones,
        whole,
    })
}

/// The daemon, with a disk and its log.
struct Daemon {
    process: Child,
    export: PathBuf,
    log: PathBuf,
}

impl Daemon {
    fn start(site: &Path, disk: &Path) -> Option<Daemon> {
        let (export, log) = (site.join("export"), site.join("log"));
        File::create(&export).expect("a file to mount on");
        File::create(&log)
            .and_then(|file| file.set_len(1 << 30))
            .expect("a log");
        let file = |name: &str, path: &Path| {
            format!("driver=file,node-name={name},filename={}", path.display())
        };
        let process = Command::new("qemu-storage-daemon")
            .args(["--blockdev", &file("data", disk)])
            .args(["--blockdev", &file("log", &log)])
            .args([
                "--blockdev",
                "driver=blklogwrites,node-name=logged,file=data,log=log",
            ])
            .arg("--export")
            .arg(format!(
                "type=fuse,id=it,node-name=logged,writable=on,mountpoint={}",
                export.display()
            ))
            .stderr(Stdio::piped())
            .spawn();
        let mut daemon = match process {
            Ok(process) => Daemon {
                process,
                export,
                log,
            },
            Err(error) => {
                crate::skip(&format!("qemu-storage-daemon: {error}"));
                return None;
            }
        };
        for _ in 0..MOMENTS {
            if daemon.is_shown() {
                return Some(daemon);
            }
            if daemon.process.try_wait().expect("it is ours").is_some() {
                break;
            }
            thread::sleep(MOMENT);
        }
        crate::skip("qemu-storage-daemon shows no disk: it needs FUSE exports and blklogwrites");
        None
    }

    fn is_shown(&self) -> bool {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("the mounts");
        mounts.contains(self.export.to_str().expect("a plain path"))
    }

    /// What is in the log when nothing is on its way to it any more.
    fn logged(&self) -> Vec<Entry> {
        thread::sleep(MOMENT);
        entries(&self.log)
    }

    /// Returns the log.
    fn stop(mut self) -> PathBuf {
        self.end();
        self.log.clone()
    }

    fn end(&mut self) {
        let process = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
        let _ = self.process.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            self.end();
        }
        let _ = run(
            "umount",
            &["-q", "-l", self.export.to_str().expect("a plain path")],
        );
    }
}

/// A write, a flush or a discard.
struct Entry {
    at: u64,
    length: u64,
    flags: u64,
    /// Where its data is in the log.
    data: u64,
}

/// Reads a log up to its last entry.
fn entries(log: &Path) -> Vec<Entry> {
    let file = File::open(log).expect("the log");
    let number = |offset: u64| {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, offset)
            .map_or(0, |()| u64::from_le_bytes(bytes))
    };
    let (mut entries, mut offset) = (Vec::new(), SECTOR);
    loop {
        let [sector, sectors, flags, _] = [0, 8, 16, 24].map(|field| number(offset + field));
        if (sector, sectors, flags) == (0, 0, 0) {
            return entries;
        }
        let (at, length, data) = (sector * SECTOR, sectors * SECTOR, offset + SECTOR);
        offset = data + if flags & DISCARD == 0 { length } else { 0 };
        entries.push(Entry {
            at,
            length,
            flags,
            data,
        });
    }
}

/// A disk as it was, and what was written to it.
struct Recording {
    start: PathBuf,
    log: PathBuf,
    entries: Vec<Entry>,
    /// The first one is the mount.
    milestones: Vec<Milestone>,
    /// What is there when both images are.
    whole: Snapshot,
}

impl Recording {
    /// One state of the disk at a random moment, and what must hold of it.
    fn state_holds(&self, site: &Path, subject: &Subject, chance: &mut Chance) -> Verdict {
        let first = self.milestones[0].entries;
        let end = first + chance.below((self.entries.len() - first) as u64 + 1) as usize;
        let place = tempfile::tempdir_in(site).expect("a place");
        let disk = place.path().join("disk");
        self.replay(end, chance, &disk);
        let mount = Mount::of(&disk, &place.path().join("mount")).ok_or("it does not mount")?;
        let mut before = self.milestones.iter();
        let done = before.rfind(|milestone| milestone.entries <= end);
        let done = done.map_or(&[][..], |done| done.images);
        let verdict = holds(mount.place(), subject, done, &self.whole);
        mount.unmount()?;
        verdict.map_err(|what| format!("{end} of {} entries: {what}", self.entries.len()))
    }

    /// The disk after so many entries, if of what came after the last flush only a part arrived.
    fn replay(&self, end: usize, chance: &mut Chance, disk: &Path) {
        copy(&self.start, disk);
        let (log, disk) = (
            File::open(&self.log),
            File::options().write(true).open(disk),
        );
        let (log, disk) = (log.expect("the log"), disk.expect("the disk"));
        let flushed = self.entries[..end]
            .iter()
            .rposition(|entry| entry.flags & FLUSH != 0);
        for (number, entry) in self.entries[..end].iter().enumerate() {
            let arrives = flushed.is_some_and(|flushed| number <= flushed) || chance.below(2) == 0;
            if !arrives {
                continue;
            }
            let mut data = vec![0; entry.length as usize];
            if entry.flags & DISCARD == 0 {
                log.read_exact_at(&mut data, entry.data)
                    .expect("the log has it");
            }
            disk.write_all_at(&data, entry.at)
                .expect("the disk takes it");
        }
    }
}

fn copy(from: &Path, to: &Path) {
    let text = |path: &Path| path.to_str().expect("a plain path").to_owned();
    run("cp", &["--sparse=always", &text(from), &text(to)]).expect("a copy");
}
