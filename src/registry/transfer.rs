//! `Remote`: a blob that is a file which grows while it is read.
//!
//! Up to [`CONNECTIONS`] threads fetch the blobs that were asked for, in that order, into unnamed files. A reader waits
//! for the bytes at its position; a second one finds them there. What breaks off is resumed where it broke off. Why a
//! file: the download does not wait for slow readers, and a layer may be read twice.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};

use super::client::Client;
use super::retry::{self, Fault, Step};

/// To one registry.
pub const CONNECTIONS: usize = 4;
const BUFFER: usize = 256 << 10;
/// How long a reader waits before it lets its caller look around.
const MOMENT: Duration = Duration::from_millis(50);

/// The blobs that wait for a connection.
#[derive(Debug, Default)]
pub struct Queue(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    transfers: VecDeque<Arc<Transfer>>,
    threads: usize,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(self: &Arc<Queue>, transfer: &Arc<Transfer>) -> io::Result<()> {
        let mut waiting = self.lock();
        if waiting.threads < CONNECTIONS {
            let queue = Arc::clone(self);
            let started = std::thread::Builder::new()
                .name("fetch".into())
                .spawn(move || queue.work());
            match started {
                Ok(_) => waiting.threads += 1,
                Err(error) if waiting.threads == 0 => return Err(error),
                Err(_) => {}
            }
        }
        waiting.transfers.push_back(Arc::clone(transfer));
        Ok(())
    }

    fn work(&self) {
        loop {
            let mut waiting = self.lock();
            let Some(transfer) = waiting.transfers.pop_front() else {
                waiting.threads -= 1;
                return;
            };
            drop(waiting);
            transfer.run();
        }
    }
}

/// A blob of a registry. Dropping it ends its transfer.
#[derive(Debug)]
pub struct Remote {
    transfer: Arc<Transfer>,
    queue: Arc<Queue>,
}

#[derive(Debug)]
struct Transfer {
    client: Arc<Client>,
    spool: PathBuf,
    digest: Digest,
    size: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_asked: bool,
    is_dropped: bool,
    /// So many bytes from the start are in the file.
    arrived: u64,
    file: Option<Arc<File>>,
    end: Option<End>,
    /// How often all of it was fetched, and was something else.
    damaged: u32,
}

#[derive(Clone, Debug)]
enum End {
    Good,
    Damaged(Digest),
    Failed { text: String, hint: String },
    Disk(String, Option<i32>),
}

/// Why fetching stops for now.
enum Stop {
    Fault(Fault),
    Disk(io::Error),
    Dropped,
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Fault(fault)
    }
}

impl Remote {
    pub(super) fn new(
        client: Arc<Client>,
        queue: Arc<Queue>,
        spool: PathBuf,
        digest: &Digest,
        size: u64,
    ) -> Remote {
        let transfer = Arc::new(Transfer {
            client,
            spool,
            digest: digest.clone(),
            size,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        Remote { transfer, queue }
    }

    /// In bytes, as the manifest says.
    pub fn size(&self) -> u64 {
        self.transfer.size
    }

    /// Has it fetched after those that were asked for before.
    pub fn prefetch(&self) {
        let mut state = self.transfer.lock();
        if std::mem::replace(&mut state.is_asked, true) {
            return;
        }
        drop(state);
        if let Err(error) = self.queue.add(&self.transfer) {
            let end = End::Disk(
                "starting a thread for the download".into(),
                error.raw_os_error(),
            );
            self.transfer.end(end);
        }
    }

    /// Reads it from the start.
    pub fn open(self: &Arc<Remote>) -> Arriving {
        self.prefetch();
        Arriving {
            remote: Arc::clone(self),
            position: 0,
        }
    }

    /// Lets go of the bytes. It is fetched again if it is read once more.
    pub fn release(&self) {
        let mut state = self.transfer.lock();
        if matches!(state.end, Some(End::Good)) {
            let damaged = state.damaged;
            *state = State {
                damaged,
                ..State::default()
            };
        }
    }

    /// What is wrong with its bytes, after its reader found fault with them: waits until all are there. `None` if they
    /// are as promised, or if `is_over` says that nobody wants to know.
    pub fn verdict(&self, is_over: &dyn Fn() -> bool) -> Option<Error> {
        let transfer = &self.transfer;
        let mut state = transfer.lock();
        while state.is_asked && state.end.is_none() && !is_over() {
            state = transfer.wait(state);
        }
        match &state.end {
            None | Some(End::Good) => None,
            Some(_) => transfer.check(&state).err(),
        }
    }

    /// Forgets bytes that were not as promised, so that they are fetched once more: whether they are.
    pub fn fetch_again(&self) -> bool {
        let mut state = self.transfer.lock();
        let again = matches!(state.end, Some(End::Damaged(_))) && state.damaged == 1;
        if again {
            *state = State {
                damaged: 1,
                ..State::default()
            };
        }
        again
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.transfer.lock().is_dropped = true;
        self.transfer.changed.notify_all();
    }
}

impl Transfer {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a moment, or until something changes.
    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout(state, MOMENT);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn path(&self) -> String {
        format!("blobs/{}", self.digest)
    }

    fn end(&self, end: End) {
        let mut state = self.lock();
        state.damaged += u32::from(matches!(end, End::Damaged(_)));
        state.end = Some(end);
        self.changed.notify_all();
    }

    /// Errors: no more bytes will come.
    fn check(&self, state: &State) -> Result<()> {
        match &state.end {
            None | Some(End::Good) => Ok(()),
            Some(End::Damaged(is)) => {
                let (host, digest) = (self.client.host(), &self.digest);
                let text = format!("{host} sent a blob with the digest {is}, not {digest}");
                Err(Error::mismatch(text).hint("the registry, or a proxy before it, is at fault"))
            }
            Some(End::Failed { text, hint }) => Err(Error::network(text).hint(hint.as_str())),
            Some(End::Disk(doing, Some(errno))) => {
                Err(Error::system(doing, io::Error::from_raw_os_error(*errno)))
            }
            Some(End::Disk(doing, None)) => Err(Error::conflict(doing)),
        }
    }

    fn run(&self) {
        let file = match tempfile::tempfile_in(&self.spool) {
            Ok(file) => Arc::new(file),
            Err(error) => return self.end(self.disk(&error)),
        };
        self.lock().file = Some(Arc::clone(&file));
        let mut fetching = Fetching {
            transfer: self,
            file: &file,
            at: 0,
            has_ranges: true,
            hasher: Hasher::new(self.digest.algorithm()),
        };
        match fetching.all() {
            Some(end) => self.end(end),
            None => {
                let is = fetching.hasher.finish();
                self.end(match is == self.digest {
                    true => End::Good,
                    false => End::Damaged(is),
                });
            }
        }
    }

    fn disk(&self, error: &io::Error) -> End {
        let doing = format!("writing a download to {}", self.spool.display());
        End::Disk(doing, error.raw_os_error())
    }
}

/// A blob in the making.
struct Fetching<'a> {
    transfer: &'a Transfer,
    file: &'a File,
    at: u64,
    /// Not known to be ignored by the registry.
    has_ranges: bool,
    hasher: Hasher,
}

impl Fetching<'_> {
    /// Fetches all of it; or how it ended before.
    fn all(&mut self) -> Option<End> {
        let mut failures = 0;
        while self.at < self.transfer.size {
            let before = self.at;
            let fault = match self.stretch() {
                Ok(()) => return None,
                Err(Stop::Disk(error)) => return Some(self.transfer.disk(&error)),
                Err(Stop::Dropped) => return Some(dropped()),
                Err(Stop::Fault(fault)) => fault,
            };
            if self.at > before {
                failures = 0;
            }
            failures += 1;
            match retry::after(&fault, failures) {
                Step::Again(pause) if self.pauses(pause) => {}
                Step::Again(_) => return Some(dropped()),
                Step::GiveUp => {
                    let (transfer, at) = (self.transfer, self.at);
                    let path = transfer.path();
                    let error = transfer.client.error(&path, fault, at, failures);
                    let hint = error.hint_text().unwrap_or_default().to_string();
                    let text = error.to_string();
                    return Some(End::Failed { text, hint });
                }
            }
        }
        None
    }

    /// Waits; whether anybody still wants the blob.
    fn pauses(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut state = self.transfer.lock();
        while !state.is_dropped && Instant::now() < until {
            state = self.transfer.wait(state);
        }
        !state.is_dropped
    }

    /// One request, from where the last one ended.
    fn stretch(&mut self) -> std::result::Result<(), Stop> {
        let (client, size) = (&self.transfer.client, self.transfer.size);
        let from = match self.has_ranges {
            true => self.at,
            false => 0,
        };
        let range = (from > 0).then(|| ("Range", format!("bytes={from}-")));
        let answer = client.get(&self.transfer.path(), range.as_slice())?;
        let header = answer.headers().get("Content-Range");
        let header = header.and_then(|value| value.to_str().ok());
        let start = match answer.status().as_u16() {
            206 if from > 0 && retry::is_rest(header, from, size) => from,
            206 | 416 if from > 0 => {
                self.has_ranges = false;
                return Err(Fault::Range.into());
            }
            200 => 0,
            _ => return Err(retry::of_answer(&answer).into()),
        };
        let body = answer
            .into_body()
            .into_with_config()
            .limit(u64::MAX)
            .reader();
        self.body(body, start)
    }

    /// Reads a body that begins at `position` to the end of the blob, and never more.
    fn body(&mut self, mut body: impl Read, mut position: u64) -> std::result::Result<(), Stop> {
        let mut buffer = vec![0; BUFFER];
        while self.at < self.transfer.size {
            if self.transfer.lock().is_dropped {
                return Err(Stop::Dropped);
            }
            let left = self.transfer.size - position;
            let most = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
            let count = match body.read(&mut buffer[..most]) {
                Ok(0) => return Err(Fault::Lost("the connection was closed".into()).into()),
                Ok(count) => count,
                Err(error) => return Err(Fault::Lost(lost(&error)).into()),
            };
            let end = position + count as u64;
            if end > self.at {
                // What came before is skipped: the registry sends all of it again.
                let known = usize::try_from(self.at.saturating_sub(position)).unwrap_or(count);
                self.take(&buffer[known..count]).map_err(Stop::Disk)?;
            }
            position = end;
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.at)?;
        self.hasher.update(bytes);
        self.at += bytes.len() as u64;
        self.transfer.lock().arrived = self.at;
        self.transfer.changed.notify_all();
        Ok(())
    }
}

/// Why a connection failed.
pub fn lost(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => "nothing more arrived in time".into(),
        io::ErrorKind::ConnectionRefused => "the connection was refused".into(),
        io::ErrorKind::ConnectionReset => "the connection was reset".into(),
        _ => error.to_string(),
    }
}

/// Nobody will read this.
fn dropped() -> End {
    End::Failed {
        text: "the download was given up".into(),
        hint: String::new(),
    }
}

/// Reads a [`Remote`].
#[derive(Debug)]
pub struct Arriving {
    remote: Arc<Remote>,
    position: u64,
}

impl Read for Arriving {
    /// Is interrupted after a moment without a byte, so that the caller can see whether it shall go on.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let transfer = &self.remote.transfer;
        if self.position >= transfer.size || buffer.is_empty() {
            return Ok(0);
        }
        let mut state = transfer.lock();
        if state.arrived <= self.position && state.end.is_none() {
            state = transfer.wait(state);
        }
        if state.arrived <= self.position {
            transfer.check(&state)?;
            return Err(io::ErrorKind::Interrupted.into());
        }
        let left = usize::try_from(state.arrived - self.position).unwrap_or(usize::MAX);
        let file = state.file.clone().ok_or(io::ErrorKind::Interrupted)?;
        drop(state);
        let most = buffer.len().min(left);
        let count = file.read_at(&mut buffer[..most], self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}
