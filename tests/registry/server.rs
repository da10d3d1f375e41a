//! A registry of one image on a thread, which fails as it is told.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use support::dice::Dice;

/// What happens to the large blob, if nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// The connection ends after so many bytes, each time.
    CutEach(usize),
    /// It ends once, and ranges are ignored.
    CutOnceWithoutRange(usize),
    /// It ends once, and the answer to the first range is another range.
    WrongRangeOnce(usize),
    /// It is reset once, after so many bytes.
    ResetOnce(usize),
    /// It says nothing more once, after so many bytes.
    SilentOnce(usize),
    /// The first range is said to be outside the blob.
    UnsatisfiedOnce(usize),
    /// The first answers have this status.
    Busy {
        status: u16,
        times: usize,
    },
    /// One bit is another, the first time.
    FlippedOnce,
    /// Always.
    Flipped,
    /// More bytes than the manifest says.
    TooLong,
    /// Half of the blob, as if that were all.
    Short,
    /// This status, always.
    Refused(u16),
    /// It claims to be compressed on the way.
    Encoded,
    /// It wants to be asked again in an hour.
    Patient,
    /// Ten thousand headers.
    Headers,
    /// It redirects to a place that is no URL.
    Downgrade,
    /// It redirects to itself.
    Loop,
    /// Any of these, as a seed decides, but not so often that it cannot be survived.
    Random(u64),
    /// A page instead of the manifest.
    Html,
    /// A manifest without an end.
    HugeManifest,
    /// All answers need a password.
    Basic,
    /// All answers need a token, and that needs a password.
    Bearer,
    /// The same, and a token ends with each answer to a request for the large blob, of so many bytes.
    ShortTokens(usize),
    /// The same as Basic, and the large blob is on another host, which wants none.
    Elsewhere,
}

pub struct Server {
    state: Arc<State>,
    /// The digest of the large blob.
    pub big: String,
}

struct State {
    port: u16,
    layout: PathBuf,
    manifest: String,
    big: String,
    fault: Fault,
    log: Mutex<Vec<(String, Option<usize>)>>,
    /// How many were used.
    tokens: AtomicUsize,
    /// Bytes of the large blob.
    sent: AtomicUsize,
    /// How far answers got in it.
    reached: AtomicUsize,
    /// What has to be sent once more, whatever the client does.
    lost: AtomicUsize,
}

struct Request {
    path: String,
    /// The first byte, and the one behind the last if there is one.
    range: Option<(usize, Option<usize>)>,
    authorization: String,
    body: String,
}

impl Server {
    pub fn start(layout: &Path, manifest: String, fault: Fault) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let blobs = fs::read_dir(layout.join("blobs/sha256")).unwrap();
        let blobs = blobs.map(|blob| blob.unwrap());
        let largest = blobs
            .max_by_key(|blob| blob.metadata().unwrap().len())
            .unwrap();
        let big = format!("sha256:{}", largest.file_name().to_str().unwrap());
        let manifest = match manifest.starts_with("sha256:") {
            true => manifest,
            false => format!("sha256:{manifest}"),
        };
        let state = Arc::new(State {
            port: listener.local_addr().unwrap().port(),
            layout: layout.into(),
            manifest,
            big: big.clone(),
            fault,
            log: Mutex::default(),
            tokens: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
            reached: AtomicUsize::new(0),
            lost: AtomicUsize::new(0),
        });
        let of_thread = Arc::clone(&state);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let state = Arc::clone(&of_thread);
                // A client that goes away is no failure.
                std::thread::spawn(move || drop(state.serve(connection)));
            }
        });
        Server { state, big }
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.state.port)
    }

    /// How often a blob was asked for.
    pub fn requests(&self, digest: &str) -> usize {
        self.ranges(digest).len()
    }

    /// How many bytes of the large blob were sent, and how many had to be sent again.
    pub fn traffic(&self) -> (usize, usize) {
        let get = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        (get(&self.state.sent), get(&self.state.lost))
    }

    /// The paths that were asked for and begin so.
    pub fn paths(&self, start: &str) -> Vec<String> {
        let log = self.state.log.lock().unwrap();
        let asked = log.iter().map(|(path, _)| path.clone());
        asked.filter(|path| path.starts_with(start)).collect()
    }

    /// Where the ranges began that were asked for.
    pub fn ranges(&self, digest: &str) -> Vec<Option<usize>> {
        let log = self.state.log.lock().unwrap();
        let asked = log.iter().filter(|(path, _)| path.ends_with(digest));
        asked.map(|(_, range)| *range).collect()
    }
}

fn request(connection: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(connection);
    let mut next = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        Some(line.trim_end().to_string())
    };
    let first = next()?;
    let rest = first
        .strip_prefix("GET ")
        .or_else(|| first.strip_prefix("POST "))?;
    let path = rest.split(' ').next()?.to_string();
    let (mut range, mut authorization, mut length) = (None, String::new(), 0);
    while let Some(line) = next() {
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                let value = value.strip_prefix("bytes=").and_then(|v| v.split_once('-'));
                range = value.and_then(|(start, last)| {
                    let last: Option<usize> = last.parse().ok();
                    Some((start.parse().ok()?, last.map(|last| last + 1)))
                });
            }
            "authorization" => authorization = value.into(),
            "content-length" => length = value.parse().ok()?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        path,
        range,
        authorization,
        body: String::from_utf8(body).ok()?,
    })
}

fn reply(to: &mut TcpStream, status: u16, headers: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    to.write_all(head.as_bytes())?;
    to.write_all(body)
}

impl State {
    /// One request on each connection.
    fn serve(&self, mut connection: TcpStream) -> std::io::Result<()> {
        // Whatever asks for TLS gets nothing.
        let Some(request) = request(&connection) else {
            return Ok(());
        };
        let to = &mut connection;
        if let Some(headers) = self.challenge(&request) {
            return reply(to, 401, &headers, b"");
        }
        if request.path.starts_with("/token") {
            let token = match self.fault {
                Fault::ShortTokens(_) => format!("good{}", self.tokens.load(Ordering::Relaxed)),
                _ => "good".into(),
            };
            let answer = format!(r#"{{"token":"{token}"}}"#);
            return reply(to, 200, "", answer.as_bytes());
        }
        let there = request.path.replace("/elsewhere/", "/v2/app/blobs/");
        let (_, rest) = there.split_once("/v2/app/").unwrap_or_default();
        let digest = match rest.split_once('/') {
            Some(("manifests", "1")) => &*self.manifest,
            Some((_, digest)) => digest,
            None => return reply(to, 200, "", b"{}"),
        };
        let asked = (request.path.clone(), request.range.map(|(start, _)| start));
        let mut log = self.log.lock().unwrap();
        let before = log.iter().filter(|(path, _)| *path == request.path).count();
        log.push(asked);
        drop(log);
        let hex = digest.trim_start_matches("sha256:");
        let file = self.layout.join("blobs/sha256").join(hex);
        let Ok(bytes) = fs::read(file) else {
            return reply(to, 404, "", b"");
        };
        match digest {
            digest if digest == self.big => self.large(to, &request, bytes, before),
            digest if digest == self.manifest => match self.fault {
                Fault::Html => reply(to, 200, "", b"<html>sign in</html>"),
                Fault::HugeManifest => reply(to, 200, "", &vec![b' '; 5 << 20]),
                _ => reply(to, 200, "", &bytes),
            },
            _ => reply(to, 200, "", &bytes),
        }
    }

    /// What is answered to a request that may not be made.
    fn challenge(&self, request: &Request) -> Option<String> {
        let basic = format!("Basic {}", STANDARD.encode("user:hunter2"));
        let (port, is_token) = (self.port, request.path.starts_with("/token"));
        let (is_good, challenge) = match self.fault {
            Fault::Elsewhere if request.path.starts_with("/elsewhere/") => {
                let is_bare = request.authorization.is_empty();
                assert!(is_bare, "{} goes to another host", request.authorization);
                (true, String::new())
            }
            Fault::Basic | Fault::Elsewhere => {
                (request.authorization == basic, "Basic realm=\"x\"".into())
            }
            Fault::Bearer if is_token => {
                let is_form = request.body.contains("refresh_token=identity")
                    && request.body.contains("grant_type=refresh_token");
                (is_form || request.authorization == basic, String::new())
            }
            Fault::ShortTokens(_) if is_token => (request.authorization == basic, String::new()),
            Fault::ShortTokens(_) => {
                let tokens = self.tokens.load(Ordering::Relaxed);
                let is_good = request.authorization == format!("Bearer good{tokens}");
                if is_good && request.path.ends_with(&self.big) {
                    // It was used.
                    self.tokens.fetch_add(1, Ordering::Relaxed);
                }
                let realm = format!("Bearer realm=\"http://127.0.0.1:{port}/token\"");
                (is_good, realm)
            }
            Fault::Bearer => (
                request.authorization == "Bearer good",
                format!("Bearer realm=\"http://127.0.0.1:{port}/token\",service=\"s\""),
            ),
            _ => (true, String::new()),
        };
        (!is_good).then(|| format!("WWW-Authenticate: {challenge}\r\n"))
    }

    /// What happens to a request for the large blob, so that the next one gets further.
    fn throw(&self, seed: u64, request: &Request, all: usize, before: usize) -> Fault {
        let mut dice = Dice::new(seed.wrapping_mul(1000).wrapping_add(before as u64));
        let start = request.range.map_or(0, |(start, _)| start);
        let reached = self.reached.load(Ordering::Relaxed).max(start);
        // Relative to where the answer begins.
        let further = reached - start + 1 + dice.below(200_000) as usize;
        let is_progress_due = before % 2 == 1;
        match dice.below(12) {
            0..=3 => Fault::CutEach(further),
            4 | 5 => Fault::ResetOnce(further),
            6 => Fault::SilentOnce(further),
            7 if !is_progress_due => Fault::Busy {
                status: *dice.pick(&[408, 429, 500, 502, 503, 504]),
                times: usize::MAX,
            },
            8 if !is_progress_due && start > 0 => Fault::UnsatisfiedOnce(0),
            9 => {
                self.lost.fetch_add(all, Ordering::Relaxed);
                Fault::CutOnceWithoutRange(all)
            }
            10 if self.lost.fetch_add(all, Ordering::Relaxed) == 0 => Fault::FlippedOnce,
            _ => Fault::CutEach(further),
        }
    }

    fn large(
        &self,
        to: &mut TcpStream,
        request: &Request,
        mut bytes: Vec<u8>,
        before: usize,
    ) -> std::io::Result<()> {
        let all = bytes.len();
        let mut is_first = before == 0;
        let fault = match self.fault {
            Fault::Random(seed) => {
                is_first = true;
                self.throw(seed, request, all, before)
            }
            fault => fault,
        };
        match fault {
            Fault::Busy { status, times } if before < times => {
                return reply(to, status, "Retry-After: 0\r\n", b"");
            }
            Fault::Refused(status) => return reply(to, status, "", b""),
            Fault::Patient => return reply(to, 429, "Retry-After: 3600\r\n", b""),
            Fault::Loop => {
                let location = format!("Location: {}\r\n", request.path);
                return reply(to, 307, &location, b"");
            }
            Fault::Elsewhere if request.path.starts_with("/v2/") => {
                let (port, digest) = (self.port, &self.big);
                let there = format!("Location: http://localhost:{port}/elsewhere/{digest}\r\n");
                return reply(to, 307, &there, b"");
            }
            Fault::Headers => {
                let headers: Vec<String> = (0..10_000).map(|n| format!("X-{n}: {n}\r\n")).collect();
                return reply(to, 200, &headers.concat(), &bytes);
            }
            Fault::Downgrade => return reply(to, 307, "Location: ftp://example.org/x\r\n", b""),
            Fault::Encoded => return reply(to, 200, "Content-Encoding: gzip\r\n", &bytes),
            Fault::UnsatisfiedOnce(_) if before == 1 || fault != self.fault => {
                return reply(to, 416, "", b"");
            }
            Fault::Flipped => bytes[all / 2] ^= 1,
            Fault::FlippedOnce if is_first => bytes[all / 2] ^= 1,
            Fault::TooLong => bytes.resize(all + 100_000, 0),
            Fault::Short => bytes.truncate(all / 2),
            _ => {}
        }
        let ignores = matches!(fault, Fault::CutOnceWithoutRange(_));
        let range = request.range.filter(|_| !ignores);
        let start = range.map(|(start, _)| start.min(bytes.len()));
        let end = range
            .and_then(|(_, end)| end)
            .unwrap_or(all)
            .min(bytes.len());
        let body = match range {
            Some(_) => &bytes[start.unwrap_or(0)..end],
            None => &bytes[..],
        };
        let shown = match (fault, before) {
            (Fault::WrongRangeOnce(_), 1) => 0,
            _ => start.unwrap_or(0),
        };
        let (status, range) = match start {
            Some(_) => (
                206,
                format!("Content-Range: bytes {shown}-{}/{all}\r\n", end - 1),
            ),
            None => (200, String::new()),
        };
        let cut = match fault {
            Fault::CutEach(bytes) | Fault::ShortTokens(bytes) => Some(bytes),
            Fault::CutOnceWithoutRange(bytes)
            | Fault::WrongRangeOnce(bytes)
            | Fault::UnsatisfiedOnce(bytes)
            | Fault::ResetOnce(bytes)
            | Fault::SilentOnce(bytes)
                if is_first =>
            {
                Some(bytes)
            }
            _ => None,
        };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n{range}\r\n"
        );
        to.write_all(head.as_bytes())?;
        let sent = cut.unwrap_or(length).min(length);
        self.sent.fetch_add(sent, Ordering::Relaxed);
        let end = start.unwrap_or(0) + sent;
        self.reached.fetch_max(end, Ordering::Relaxed);
        to.write_all(&body[..sent])?;
        match fault {
            Fault::SilentOnce(_) if is_first => drop(to.read(&mut [0])),
            Fault::ResetOnce(_) if is_first => {
                rustix::net::sockopt::set_socket_linger(&*to, Some(Duration::ZERO))?;
            }
            _ => {}
        }
        Ok(())
    }
}
