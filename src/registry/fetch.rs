//! What the threads of [`super::queue`] do for one blob: requests from where the last one broke off, until all of it is in
//! its file and hashed.
//!
//! The blob is fetched in pieces, in order. One connection alone takes them all from one answer. If others help, each
//! asks for the next piece that nobody has. A file that another process writes to is read instead, as far as it has come.

use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;

use rustix::io::Errno;

use super::client::Client;
use super::retry::{self, Fault, Step};
use super::spool::{SpoolFile, Writer};
use super::transfer::{End, Hashing, Transfer};

/// What one connection asks for, if several fetch a blob.
const PIECE: u64 = 16 << 20;
/// So many bytes that nobody has asked for are worth another connection.
pub const WORTH_HELP: u64 = 4 * PIECE;
const BUFFER: usize = 256 << 10;
/// What a file system says that has no room left.
const FULL: [Errno; 2] = [Errno::NOSPC, Errno::DQUOT];

/// A part of the blob that one connection fetches.
struct Piece {
    at: u64,
    end: u64,
}

/// Why a request stops.
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

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Disk(error)
    }
}

impl Transfer {
    /// Fetches all that is not there.
    pub fn run(&self) {
        let end = match self.fetch() {
            Ok(()) => {
                let is = self.hashing().hasher.clone().finish();
                match is == self.digest {
                    true => End::Good,
                    false => End::Damaged(is),
                }
            }
            Err(end) => end,
        };
        if let End::Disk(_, Some(errno)) = &end
            && FULL.contains(&Errno::from_raw_os_error(*errno))
        {
            // Nobody else can write, either, while it is there.
            let copy = self.lock().copy.clone();
            let _ = copy.map(|copy| copy.remove());
        }
        self.end(end);
    }

    /// Fetches pieces, beside the thread that runs it.
    pub fn help(&self) {
        let mut state = self.lock();
        while state.claims.workers == 0 {
            if !state.is_asked || state.is_dropped || state.end.is_some() {
                return;
            }
            state = self.wait(state);
        }
        state.claims.workers += 1;
        drop(state);
        // What could not be fetched was given back.
        let helped = self.pieces();
        let mut state = self.lock();
        state.claims.workers -= 1;
        state.claims.refuses_help |= helped.is_err();
        self.tell();
    }

    /// How much nobody has asked for: nothing, if help would be in vain.
    pub fn unclaimed(&self) -> u64 {
        let state = self.lock();
        let is_over = !state.is_asked || state.is_dropped || state.end.is_some();
        match is_over || state.claims.is_whole || state.claims.refuses_help {
            true => 0,
            false => self.size.saturating_sub(state.claims.next),
        }
    }

    fn fetch(&self) -> Result<(), End> {
        self.begin()?;
        self.lock().claims.workers += 1;
        let fetched = self.all();
        self.lock().claims.workers -= 1;
        fetched
    }

    fn all(&self) -> Result<(), End> {
        loop {
            let fetched = self.pieces()?;
            let mut state = self.lock();
            while state.claims.returned.is_empty() && state.claims.workers > 1 {
                if state.is_dropped {
                    return Err(End::dropped());
                }
                state = self.wait(state);
            }
            if state.arrived == self.size {
                return Ok(());
            }
            if fetched == 0 && state.claims.returned.is_empty() {
                let text = "a part of the download is missing";
                return Err(End::Disk(text.into(), None));
            }
        }
    }

    /// Opens the file, and takes what it has. Waits while another process writes to it.
    fn begin(&self) -> Result<(), End> {
        let mut copy = self.open()?;
        let mut is_told = false;
        loop {
            let writer = copy.lock().map_err(|error| self.disk(&error))?;
            let there = copy.there(self.size).map_err(|error| self.disk(&error))?;
            self.catch_up(&copy, there)
                .map_err(|error| self.disk(&error))?;
            match writer {
                Writer::This => {
                    let cut = copy.file.set_len(there);
                    self.lock().claims.next = there;
                    return cut.map_err(|error| self.disk(&error));
                }
                Writer::None if self.lock().arrived == self.size => {
                    self.lock().claims.next = self.size;
                    return Ok(());
                }
                // Somebody may have read what was removed.
                Writer::None if there > 0 => {
                    return Err(End::Damaged(self.hashing().hasher.clone().finish()));
                }
                Writer::None => copy = self.open()?,
                Writer::Another => {
                    if !std::mem::replace(&mut is_told, true) {
                        self.report("another process is fetching it");
                    }
                    drop(self.wait(self.lock()));
                }
            }
            if self.lock().is_dropped {
                return Err(End::dropped());
            }
        }
    }

    fn open(&self) -> Result<Arc<SpoolFile>, End> {
        let spool = self.lock().spool.clone();
        let copy = spool.open(&self.digest);
        let copy = Arc::new(copy.map_err(|error| self.disk(&error))?);
        *self.hashing() = Hashing::new(&self.digest);
        self.lock().copy = Some(Arc::clone(&copy));
        Ok(copy)
    }

    fn disk(&self, error: &io::Error) -> End {
        let doing = format!(
            "writing a download to {}",
            self.lock().spool.path().display()
        );
        End::Disk(doing, error.raw_os_error())
    }

    /// Fetches pieces until all are taken: how many. Errors: one cannot be had; what it lacks was given back.
    fn pieces(&self) -> Result<u64, End> {
        let mut fetched = 0;
        while let Some(mut piece) = self.claim() {
            let whole = self.piece(&mut piece);
            self.give_back(&piece);
            // One connection is enough for a registry that sends all of it each time.
            if !whole? {
                break;
            }
            fetched += 1;
        }
        Ok(fetched)
    }

    /// Whether all of a piece was fetched: not if it is left to another connection.
    fn piece(&self, piece: &mut Piece) -> Result<bool, End> {
        let mut failures = 0;
        while piece.at < piece.end {
            let (before, client) = (piece.at, self.hosts.client());
            let fault = match self.stretch(client, piece) {
                Ok(()) => continue,
                Err(Stop::Fault(fault)) => fault,
                Err(Stop::Disk(error)) => return Err(self.disk(&error)),
                Err(Stop::Dropped) => return Err(End::dropped()),
            };
            failures = match piece.at > before {
                true => 1,
                false => failures + 1,
            };
            let is_alone = self.lock().claims.workers == 1;
            self.again(client, fault, piece.at, &mut failures)?;
            if self.lock().claims.is_whole && !is_alone {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits as long as a fault asks for, or turns to the next host. Errors: it is given up.
    fn again(&self, client: &Client, fault: Fault, at: u64, failures: &mut u32) -> Result<(), End> {
        let (host, why) = (client.host(), fault.reason());
        let Step::Again(pause) = retry::after(&fault, *failures, client.has_answered()) else {
            if self.hosts.next(client) {
                let next = self.hosts.client().host();
                self.report(&format!("{host}: {why}: asking {next}"));
                *failures = 0;
                return Ok(());
            }
            let error = client.error(&self.path(), fault, at, *failures);
            let hint = error.hint_text().unwrap_or_default().to_string();
            let text = error.to_string();
            return Err(End::Failed { text, hint });
        };
        let (at, size) = (megabytes(at), megabytes(self.size));
        let after = match pause.as_secs() {
            0 => String::new(),
            seconds => format!(", in {seconds} s"),
        };
        self.report(&format!(
            "{host}: {why}, after {at} of {size} MB: trying again{after}"
        ));
        let until = Instant::now() + pause;
        while Instant::now() < until {
            if self.is_over() {
                return Err(End::dropped());
            }
            drop(self.wait(self.lock()));
        }
        Ok(())
    }

    /// The next piece that nobody has.
    fn claim(&self) -> Option<Piece> {
        if let Some((at, end)) = self.lock().claims.returned.pop() {
            return Some(Piece { at, end });
        }
        self.claim_new()
    }

    /// The next piece that nobody has had.
    fn claim_new(&self) -> Option<Piece> {
        let mut state = self.lock();
        let at = state.claims.next;
        let end = self.size.min((at / PIECE + 1) * PIECE);
        state.claims.next = end;
        (at < end).then_some(Piece { at, end })
    }

    /// The piece behind one, if nobody has it.
    fn claim_behind(&self, piece: &mut Piece) -> bool {
        let mut state = self.lock();
        let returned = &mut state.claims.returned;
        if let Some(index) = returned.iter().position(|(at, _)| *at == piece.end) {
            piece.end = returned.swap_remove(index).1;
            return true;
        }
        let is_next = state.claims.next == piece.end;
        drop(state);
        if is_next && let Some(next) = self.claim_new() {
            piece.end = next.end;
            return true;
        }
        false
    }

    fn give_back(&self, piece: &Piece) {
        if piece.at < piece.end {
            self.lock().claims.returned.push((piece.at, piece.end));
            self.tell();
        }
    }

    /// One request, from where a piece is unfinished.
    fn stretch(&self, client: &Client, piece: &mut Piece) -> Result<(), Stop> {
        let (is_alone, is_whole) = {
            let claims = &self.lock().claims;
            let is_alone = claims.workers == 1 && !claims.expects_help;
            (is_alone, claims.is_whole)
        };
        let from = if is_whole { 0 } else { piece.at };
        let range = match (from, is_alone || is_whole) {
            (0, true) => None,
            (from, true) => Some(format!("bytes={from}-")),
            (from, false) => Some(format!("bytes={from}-{}", piece.end - 1)),
        };
        let headers: Vec<_> = range.iter().map(|range| ("Range", range.clone())).collect();
        let answer = client.get(&self.path(), &headers)?;
        let header = answer.headers().get("Content-Range");
        let header = header.and_then(|value| value.to_str().ok());
        let start = match answer.status().as_u16() {
            206 if range.is_some() && retry::is_part(header, from, self.size) => from,
            206 | 416 if range.is_some() => {
                self.lock().claims.is_whole = true;
                return Err(Fault::Range.into());
            }
            200 => 0,
            _ => return Err(retry::of_answer(&answer).into()),
        };
        if range.is_some() && start == 0 && answer.status() == 200 {
            let mut state = self.lock();
            state.claims.is_whole = true;
            if from > 0 && state.claims.workers > 1 {
                return Err(Fault::Range.into());
            }
        }
        let body = answer.into_body().into_with_config();
        self.body(body.limit(u64::MAX).reader(), start, piece)
    }

    /// Reads a body that begins at `position` to the end of the piece, or of the pieces behind it that nobody has.
    fn body(&self, mut body: impl Read, mut position: u64, piece: &mut Piece) -> Result<(), Stop> {
        let mut buffer = vec![0; BUFFER];
        while piece.at < piece.end || self.claim_behind(piece) {
            if self.is_over() {
                return Err(Stop::Dropped);
            }
            let left = piece.end - position;
            let most = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
            let count = match body.read(&mut buffer[..most]) {
                Ok(0) => return Err(Fault::Lost("the connection was closed".into()).into()),
                Ok(count) => count,
                Err(error) => return Err(retry::of_error(&error).into()),
            };
            let end = position + count as u64;
            if end > piece.at {
                // What came before is skipped: the registry sends all of it again.
                let known = usize::try_from(piece.at.saturating_sub(position)).unwrap_or(count);
                self.take(&buffer[known..count], piece.at)?;
                piece.at = end;
            }
            position = end;
        }
        Ok(())
    }

    /// Writes bytes to the file, and hashes what is there from the start on.
    fn take(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let copy = self.lock().copy.clone();
        let copy = copy.ok_or(io::ErrorKind::NotFound)?;
        copy.file.write_all_at(bytes, at)?;
        let start = {
            let mut state = self.lock();
            state.add(at, at + bytes.len() as u64);
            state.start()
        };
        let mut hashing = self.hashing();
        if hashing.at == at {
            hashing.hasher.update(bytes);
            hashing.at += bytes.len() as u64;
        }
        self.hash(&copy, &mut hashing, start)
    }

    /// Takes what is in the file up to there.
    fn catch_up(&self, copy: &SpoolFile, there: u64) -> io::Result<()> {
        let mut hashing = self.hashing();
        let mut state = self.lock();
        state.written.clear();
        state.add(0, there);
        drop(state);
        self.hash(copy, &mut hashing, there)
    }

    fn hash(&self, copy: &SpoolFile, hashing: &mut Hashing, start: u64) -> io::Result<()> {
        let mut buffer = Vec::new();
        while hashing.at < start {
            buffer.resize(BUFFER, 0);
            let left = usize::try_from(start - hashing.at).unwrap_or(BUFFER);
            let count = copy
                .file
                .read_at(&mut buffer[..left.min(BUFFER)], hashing.at)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            hashing.hasher.update(&buffer[..count]);
            hashing.at += count as u64;
            if self.lock().is_dropped {
                break;
            }
        }
        let mut state = self.lock();
        state.arrived = state.arrived.max(hashing.at);
        drop(state);
        self.tell();
        Ok(())
    }

    fn path(&self) -> String {
        format!("blobs/{}", self.digest)
    }
}

/// With one digit behind the point.
fn megabytes(bytes: u64) -> String {
    let tenths = bytes / 100_000;
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::megabytes;

    #[test]
    fn bytes_are_told_in_megabytes() {
        for (bytes, told) in [
            (0, "0.0"),
            (99_999, "0.0"),
            (1_250_000, "1.2"),
            (826_000_000, "826.0"),
        ] {
            assert_eq!(megabytes(bytes), told);
        }
    }
}
