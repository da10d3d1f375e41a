//! `Remote`: a blob that is a file which grows while it is read.
//!
//! [`super::queue`] has the threads that fetch; what they do for one blob is in [`super::fetch`]. A reader waits for the
//! bytes at its position; a second one finds them there. Why a file: the download does not wait for slow readers, a layer
//! may be read twice, and a file in a store survives the process.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};
use crate::escape::controls;

use super::hosts::Hosts;
use super::queue::Queue;
use super::spool::{Spool, SpoolFile};

/// How long a reader waits before it lets its caller look around.
const MOMENT: Duration = Duration::from_millis(50);

/// A blob of a registry. Dropping it ends its transfer.
#[derive(Debug)]
pub struct Remote {
    transfer: Arc<Transfer>,
    queue: Arc<Queue>,
}

/// The way of one blob into a file.
#[derive(Debug)]
pub struct Transfer {
    pub(super) hosts: Arc<Hosts>,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) state: Mutex<State>,
    pub(super) hashing: Mutex<Hashing>,
    changed: Condvar,
}

#[derive(Debug)]
pub(super) struct State {
    pub spool: Spool,
    pub copy: Option<Arc<SpoolFile>>,
    /// So many want to read it, and have not let it go.
    users: u32,
    pub is_asked: bool,
    pub is_dropped: bool,
    /// So many bytes from the start are in the file, and in the hash.
    pub arrived: u64,
    /// The parts that are in the file: from where to where.
    pub written: BTreeMap<u64, u64>,
    pub claims: Claims,
    pub end: Option<End>,
    /// How often all of it was fetched, and was something else.
    damaged: u32,
    /// What happened since somebody asked.
    news: Vec<String>,
}

/// Which parts are being fetched.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// Nobody has asked for what is from here on.
    pub next: u64,
    /// Parts that were given back.
    pub returned: Vec<(u64, u64)>,
    /// Connections that fetch.
    pub workers: usize,
    /// Whether the registry has shown that it ignores ranges.
    pub is_whole: bool,
    /// Whether others will ask for pieces.
    pub expects_help: bool,
    /// Whether help was in vain.
    pub refuses_help: bool,
}

/// The hash of the start.
pub(super) struct Hashing {
    pub hasher: Hasher,
    pub at: u64,
}

/// How a transfer ended.
#[derive(Clone, Debug)]
pub(super) enum End {
    Good,
    Damaged(Digest),
    Failed { text: String, hint: String },
    Disk(String, Option<i32>),
}

impl End {
    /// Nobody will read this.
    pub fn dropped() -> End {
        End::Failed {
            text: "the download was given up".into(),
            hint: String::new(),
        }
    }
}

impl State {
    fn new(spool: Spool) -> State {
        State {
            spool,
            copy: None,
            users: 0,
            is_asked: false,
            is_dropped: false,
            arrived: 0,
            written: BTreeMap::new(),
            claims: Claims::default(),
            end: None,
            damaged: 0,
            news: Vec::new(),
        }
    }

    /// As before the first request, but for what must not be forgotten.
    fn forget(&mut self) {
        let fresh = State::new(self.spool.clone());
        *self = State {
            damaged: self.damaged,
            news: std::mem::take(&mut self.news),
            ..fresh
        };
    }

    /// A part is in the file.
    pub fn add(&mut self, from: u64, to: u64) {
        let before = self.written.range(..=from).next_back();
        match before.map(|(start, end)| (*start, *end)) {
            Some((start, end)) if end >= from => drop(self.written.insert(start, to.max(end))),
            _ => drop(self.written.insert(from, to)),
        }
    }

    /// So many bytes from the start are in the file.
    pub fn start(&self) -> u64 {
        let mut reached = 0;
        for (from, to) in &self.written {
            if *from > reached {
                break;
            }
            reached = reached.max(*to);
        }
        reached
    }
}

impl Remote {
    pub(super) fn new(
        hosts: Arc<Hosts>,
        queue: Arc<Queue>,
        spool: Spool,
        digest: &Digest,
        size: u64,
    ) -> Remote {
        let transfer = Arc::new(Transfer {
            hosts,
            digest: digest.clone(),
            size,
            state: Mutex::new(State::new(spool)),
            hashing: Mutex::new(Hashing::new(digest)),
            changed: Condvar::new(),
        });
        Remote { transfer, queue }
    }

    /// In bytes, as the manifest says.
    pub fn size(&self) -> u64 {
        self.transfer.size
    }

    /// Puts what is fetched from now on into a directory.
    pub(crate) fn keep_in(&self, spool: &Spool) {
        let mut state = self.transfer.lock();
        if !state.is_asked {
            state.spool = spool.clone();
        }
    }

    /// Has it fetched after those that were asked for before, for one more user.
    pub fn prefetch(&self) {
        let mut state = self.transfer.lock();
        state.users += 1;
        drop(state);
        self.ask();
    }

    fn ask(&self) {
        let mut state = self.transfer.lock();
        if std::mem::replace(&mut state.is_asked, true) {
            return;
        }
        drop(state);
        if let Err(error) = self.queue.add(&self.transfer) {
            let doing = "starting a thread for the download".into();
            self.transfer.end(End::Disk(doing, error.raw_os_error()));
        }
    }

    /// Reads it from the start.
    pub fn open(self: &Arc<Remote>) -> Arriving {
        self.ask();
        Arriving {
            remote: Arc::clone(self),
            position: 0,
        }
    }

    /// Lets go of the bytes, if no other user needs them. They are fetched again if they are read once more.
    pub fn release(&self) {
        let mut state = self.transfer.lock();
        state.users = state.users.saturating_sub(1);
        if state.users == 0 && matches!(state.end, Some(End::Good)) {
            self.transfer.discard(&mut state);
        }
    }

    /// So many bytes are there, and what happened to the connection since the last call.
    pub fn news(&self) -> (u64, Vec<String>) {
        let mut state = self.transfer.lock();
        (state.arrived, std::mem::take(&mut state.news))
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
            None => None,
            // They are what the image has, and no second run makes them better.
            Some(End::Good) => {
                if state.users <= 1 {
                    transfer.discard(&mut state);
                }
                None
            }
            Some(_) => transfer.check(&state).err(),
        }
    }

    /// Waits until all of it is here. Errors: it is not as promised, or will not come; `is_over` says that nobody waits.
    pub fn check_arrived(&self, is_over: &dyn Fn() -> bool) -> Result<()> {
        let transfer = &self.transfer;
        let mut state = transfer.lock();
        while state.is_asked && state.end.is_none() {
            if is_over() {
                return Err(Error::cancelled());
            }
            state = transfer.wait(state);
        }
        transfer.check(&state)
    }

    /// Moves its file, which is in a named spool, to a path on the same file system, and waits for the disk.
    pub fn publish(&self, path: &Path) -> Result<()> {
        let copy = self.transfer.lock().copy.clone();
        let published = copy.map_or(Ok(()), |copy| copy.publish(path));
        published.map_err(|error| Error::system(format!("writing {}", path.display()), error))
    }

    /// Forgets bytes that were not as promised, so that they are fetched once more: whether they are.
    pub fn fetch_again(&self) -> bool {
        let mut state = self.transfer.lock();
        let again = matches!(state.end, Some(End::Damaged(_))) && state.damaged == 1;
        if again {
            // Another one may have it right.
            self.transfer.hosts.next(self.transfer.hosts.client());
            self.transfer.discard(&mut state);
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

impl Hashing {
    pub fn new(digest: &Digest) -> Hashing {
        Hashing {
            hasher: Hasher::new(digest.algorithm()),
            at: 0,
        }
    }
}

impl fmt::Debug for Hashing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hashing at {}", self.at)
    }
}

impl Transfer {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn hashing(&self) -> MutexGuard<'_, Hashing> {
        self.hashing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a moment, or until something changes.
    pub(super) fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout(state, MOMENT);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    pub(super) fn tell(&self) {
        self.changed.notify_all();
    }

    pub(super) fn is_over(&self) -> bool {
        let state = self.lock();
        state.is_dropped || state.end.is_some()
    }

    /// Something that a user may want to know.
    pub(super) fn report(&self, text: &str) {
        // Some of it may be what a registry said.
        self.lock().news.push(controls(text).into_owned());
    }

    pub(super) fn end(&self, end: End) {
        let mut state = self.lock();
        state.damaged += u32::from(matches!(end, End::Damaged(_)));
        state.end = Some(end);
        self.changed.notify_all();
    }

    /// Forgets the bytes and the file.
    fn discard(&self, state: &mut State) {
        if let Some(copy) = &state.copy {
            // What cannot be removed is found by the next run.
            let _ = copy.remove();
        }
        state.forget();
    }

    /// Errors: no more bytes will come.
    fn check(&self, state: &State) -> Result<()> {
        match &state.end {
            None | Some(End::Good) => Ok(()),
            Some(End::Damaged(is)) => {
                let (host, digest) = (self.hosts.client().host(), &self.digest);
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
        let copy = state.copy.clone().ok_or(io::ErrorKind::Interrupted)?;
        drop(state);
        let most = buffer.len().min(left);
        let count = copy.file.read_at(&mut buffer[..most], self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow_together_and_the_start_ends_at_the_first_gap() {
        let mut state = State::new(Spool::Unnamed("/".into()));
        for (from, to, start) in [
            (10, 20, 0),
            (0, 4, 4),
            (4, 8, 8),
            (20, 30, 8),
            (8, 10, 30),
            (25, 28, 30),
        ] {
            state.add(from, to);
            assert_eq!(state.start(), start, "{from}-{to}: {:?}", state.written);
        }
    }
}
