//! The threads that fetch blobs, so many as there may be connections to one registry.
//!
//! Each takes the blob that was asked for first. Once none waits, it helps with a large one that another thread fetches.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::fetch::WORTH_HELP;
use super::transfer::Transfer;

/// To one registry.
pub const CONNECTIONS: usize = 4;

/// The blobs that wait for a connection.
#[derive(Debug, Default)]
pub struct Queue(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    transfers: VecDeque<Arc<Transfer>>,
    /// Those that were begun.
    running: Vec<Weak<Transfer>>,
    threads: usize,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Errors: there is no thread, and the system gives none.
    pub fn add(self: &Arc<Queue>, transfer: &Arc<Transfer>) -> io::Result<()> {
        let mut waiting = self.lock();
        if waiting.transfers.is_empty() && waiting.threads == 0 && transfer.size >= WORTH_HELP {
            transfer.lock().claims.expects_help = true;
        }
        waiting.transfers.push_back(Arc::clone(transfer));
        let wanted = match transfer.size {
            size if size >= WORTH_HELP => CONNECTIONS,
            _ => CONNECTIONS.min(waiting.threads + 1),
        };
        while waiting.threads < wanted {
            let queue = Arc::clone(self);
            let thread = std::thread::Builder::new().name("fetch".into());
            match thread.spawn(move || queue.work()) {
                Ok(_) => waiting.threads += 1,
                Err(error) if waiting.threads == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn work(&self) {
        loop {
            let mut waiting = self.lock();
            if let Some(transfer) = waiting.transfers.pop_front() {
                waiting.running.retain(|one| one.strong_count() > 0);
                waiting.running.push(Arc::downgrade(&transfer));
                drop(waiting);
                transfer.run();
                continue;
            }
            let running = waiting.running.iter().filter_map(Weak::upgrade);
            let large = running.max_by_key(|transfer| transfer.unclaimed());
            match large.filter(|transfer| transfer.unclaimed() >= WORTH_HELP) {
                Some(transfer) => {
                    drop(waiting);
                    transfer.help();
                }
                None => {
                    waiting.threads -= 1;
                    return;
                }
            }
        }
    }
}
