//! [`Ahead`]: a stage that makes chunks, on the thread that wants them or, once there is one for it,
//! ahead of them on a thread of its own. [`Hash`]: a hash that is computed beside the work.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::chunk::{Chunk, Piece};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::Result;
use crate::threads::Thread;

use super::Helpers;

/// Chunks that wait between two threads, at most: how far a stage may be ahead of the next.
const QUEUE: usize = 16;

/// A chunk, or why there is none.
pub type Passed = io::Result<Chunk>;

/// Makes chunks, one after another.
pub trait Stage: Send {
    /// What is known of all of them at the end.
    type Summary: Send;

    /// The next one; `None` at the end.
    fn next(&mut self) -> Option<Passed>;

    /// Ends it. Errors: another stage that it relies on panicked.
    fn finish(self) -> Result<Self::Summary>;
}

/// A stage, here or on a thread of its own.
pub struct Ahead<'scope, 'env, S: Stage> {
    name: &'static str,
    /// `None` only while it moves.
    place: Option<Running<'scope, S>>,
    helpers: Helpers<'scope, 'env>,
    /// What [`Read`] has taken and not yet given.
    left: Piece,
}

enum Running<'scope, S: Stage> {
    Here(S),
    Thread {
        chunks: Receiver<Passed>,
        thread: Thread<'scope, Result<S::Summary>>,
    },
}

impl<'scope, 'env, S: Stage + 'scope> Ahead<'scope, 'env, S> {
    /// Takes a stage, which stays here until [`try_move`](Ahead::try_move) moves it.
    pub fn new(
        name: &'static str,
        stage: S,
        helpers: Helpers<'scope, 'env>,
    ) -> Ahead<'scope, 'env, S> {
        Ahead {
            name,
            place: Some(Running::Here(stage)),
            helpers,
            left: Piece::default(),
        }
    }

    /// Moves the stage to a thread of its own, if it is here and there is one.
    pub fn try_move(&mut self) {
        let (Some(share), Some(Running::Here(_))) = (self.helpers.share, &self.place) else {
            return;
        };
        let Some(Running::Here(stage)) = self.place.take() else {
            return;
        };
        let (to, chunks) = sync_channel(QUEUE);
        let started = share.start(self.helpers.scope, self.name, stage, move |mut stage: S| {
            while let Some(passed) = stage.next() {
                let is_last = passed.is_err();
                // If nobody takes it, something else has failed.
                if to.send(passed).is_err() || is_last {
                    break;
                }
            }
            stage.finish()
        });
        self.place = Some(match started {
            Ok(thread) => Running::Thread { chunks, thread },
            Err(stage) => Running::Here(stage),
        });
    }

    /// The next chunk; `None` at the end, or if its thread panicked: [`finish`](Ahead::finish) says so.
    pub fn next(&mut self) -> Option<Passed> {
        match self.place.as_mut()? {
            Running::Here(stage) => stage.next(),
            Running::Thread { chunks, .. } => chunks.recv().ok(),
        }
    }

    /// Takes all that is left.
    pub fn drain(&mut self) -> io::Result<()> {
        while let Some(passed) = self.next() {
            passed?;
        }
        Ok(())
    }

    /// Ends the stage, wherever it stands. Errors: it panicked.
    pub fn finish(self) -> Result<S::Summary> {
        match self.place.expect("it does not move now") {
            Running::Here(stage) => stage.finish(),
            Running::Thread { chunks, thread } => {
                // A thread that waits to hand over a chunk waits no longer.
                drop(chunks);
                thread.join()?
            }
        }
    }
}

impl<'scope, S: Stage + 'scope> Read for Ahead<'scope, '_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left.is_empty() {
            // Its room may serve for what comes next.
            self.left = Piece::default();
            if let Some(passed) = self.next() {
                self.left = Piece::of_all(passed?);
            }
        }
        let piece = self.left.take(buffer.len());
        buffer[..piece.len()].copy_from_slice(&piece);
        Ok(piece.len())
    }
}

/// The hash of some chunks, computed here or on a thread of its own.
pub struct Hash<'scope, 'env> {
    place: Option<HashPlace<'scope>>,
    helpers: Helpers<'scope, 'env>,
}

enum HashPlace<'scope> {
    Here(Hasher),
    Thread {
        chunks: SyncSender<Chunk>,
        thread: Thread<'scope, Digest>,
    },
}

impl<'scope, 'env> Hash<'scope, 'env> {
    /// Of no chunks yet.
    pub fn new(algorithm: Algorithm, helpers: Helpers<'scope, 'env>) -> Hash<'scope, 'env> {
        Hash {
            place: Some(HashPlace::Here(Hasher::new(algorithm))),
            helpers,
        }
    }

    /// Moves it to a thread of its own, if it is here and there is one.
    pub fn try_move(&mut self) {
        let (Some(share), Some(HashPlace::Here(_))) = (self.helpers.share, &self.place) else {
            return;
        };
        let Some(HashPlace::Here(hasher)) = self.place.take() else {
            return;
        };
        let (chunks, to_hash) = sync_channel::<Chunk>(QUEUE);
        let started = share.start(self.helpers.scope, "hash", hasher, move |mut hasher| {
            to_hash.iter().for_each(|chunk| hasher.update(&chunk));
            hasher.finish()
        });
        self.place = Some(match started {
            Ok(thread) => HashPlace::Thread { chunks, thread },
            Err(hasher) => HashPlace::Here(hasher),
        });
    }

    /// Adds a chunk.
    pub fn update(&mut self, chunk: &Chunk) {
        match &mut self.place {
            Some(HashPlace::Here(hasher)) => hasher.update(chunk),
            // If its thread panicked, `finish` says so.
            Some(HashPlace::Thread { chunks, .. }) => drop(chunks.send(Arc::clone(chunk))),
            None => {}
        }
    }

    /// The digest of all of them. Errors: its thread panicked.
    pub fn finish(self) -> Result<Digest> {
        match self.place.expect("it does not move now") {
            HashPlace::Here(hasher) => Ok(hasher.finish()),
            HashPlace::Thread { chunks, thread } => {
                drop(chunks);
                thread.join()
            }
        }
    }
}
