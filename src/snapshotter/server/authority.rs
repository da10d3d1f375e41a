//! `Lenient`: a connection whose requests may have any authority. [`super`] serves through it.
//!
//! Clients based on gRPC's C core (Python, Ruby, C++) send the path of a Unix socket as `:authority`,
//! escaped (`run%2Fx.sock`); others send it as it is. Neither is an authority by RFC 3986, and the HTTP/2
//! library refuses the request (hyperium/h2 issue 442). The authority is not used here, so bytes that are
//! not allowed in one are replaced by `-`, in place: lengths and HPACK tables do not change.
//!
//! Sources: RFC 9113 section 4 (frames) and 6.2 (HEADERS), RFC 7541 section 5 and 6 (HPACK).
//! Huffman-coded strings and header blocks that continue in another frame are left alone.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tonic::codegen::http::uri::Authority;
use tonic::transport::server::Connected;

/// The lengths of the preface and of a frame header, in bytes.
const PREFACE: usize = 24;
const HEAD: usize = 9;
/// The maximum length of a frame, unless negotiated; a larger one is passed on unchanged.
const FRAME_MAX: usize = 1 << 14;
/// The type of a HEADERS frame, and flags for its optional fields.
const HEADERS: u8 = 1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

const NAME: &[u8] = b":authority";
/// The entry for this name in the static table.
const INDEX: usize = 1;

/// A connection that rewrites authorities.
pub struct Lenient {
    stream: UnixStream,
    frames: Frames,
}

impl Lenient {
    /// For a client that has sent nothing yet.
    pub fn new(stream: UnixStream) -> Lenient {
        let frames = Frames {
            passing: PREFACE,
            ..Frames::default()
        };
        Lenient { stream, frames }
    }
}

impl Connected for Lenient {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Lenient {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.frames.ready.is_empty() {
            let mut bytes = [0; FRAME_MAX];
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                // The HTTP/2 library reports a truncated frame.
                this.frames.ready.append(&mut this.frames.held);
                break;
            }
            this.frames.take(read.filled());
        }
        let count = into.remaining().min(this.frames.ready.len());
        into.put_slice(&this.frames.ready[..count]);
        this.frames.ready.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Lenient {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// Splits a stream of bytes into frames.
#[derive(Default)]
struct Frames {
    /// The start of the current frame.
    held: Vec<u8>,
    /// How many bytes to pass on unchanged.
    passing: usize,
    /// Bytes that are ready to be read.
    ready: Vec<u8>,
}

impl Frames {
    fn take(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
        while !self.held.is_empty() {
            if self.passing > 0 {
                let count = self.passing.min(self.held.len());
                self.passing -= count;
                self.pass(count);
                continue;
            }
            let Some(&[high, middle, low, kind, flags]) = self.held.first_chunk() else {
                return;
            };
            let size = u32::from_be_bytes([0, high, middle, low]) as usize;
            if kind != HEADERS || size > FRAME_MAX {
                self.passing = HEAD + size;
            } else if self.held.len() < HEAD + size {
                return;
            } else {
                // The HTTP/2 library refuses an invalid frame.
                let _ = replace_authority(&mut self.held[HEAD..HEAD + size], flags);
                self.pass(HEAD + size);
            }
        }
    }

    fn pass(&mut self, count: usize) {
        self.ready.extend(self.held.drain(..count));
    }
}

/// Replaces an invalid authority in the payload of a HEADERS frame; `None` if the payload is truncated.
fn replace_authority(payload: &mut [u8], flags: u8) -> Option<()> {
    let mut at = 0;
    if flags & PADDED != 0 {
        at += 1;
    }
    if flags & PRIORITY != 0 {
        at += 5;
    }
    while at < payload.len() {
        let (name, value) = field(payload, &mut at)?;
        let is_authority = match name {
            Name::Index(index) => index == INDEX,
            Name::Text(text) => &payload[text] == NAME,
        };
        if let (true, Some(value)) = (is_authority, value) {
            let value = &mut payload[value];
            if Authority::try_from(&*value).is_err() {
                value.iter_mut().for_each(make_plain);
            }
            return Some(());
        }
    }
    Some(())
}

fn make_plain(byte: &mut u8) {
    if !byte.is_ascii_alphanumeric() && *byte != b'.' {
        *byte = b'-';
    }
}

enum Name {
    Index(usize),
    Text(Range<usize>),
}

/// Parses one field: returns its name, and the position of its value if it is a literal without Huffman
/// coding.
fn field(block: &[u8], at: &mut usize) -> Option<(Name, Option<Range<usize>>)> {
    let first = *block.get(*at)?;
    // RFC 7541 section 6: an indexed field or a table size update; otherwise a literal value follows.
    let (bits, has_value) = match first {
        0x80.. => (7, false),
        0x40.. => (6, true),
        0x20.. => (5, false),
        _ => (4, true),
    };
    let index = integer(block, at, bits)?;
    if !has_value {
        return Some((Name::Index(0), None));
    }
    let name = match index {
        0 => Name::Text(text(block, at)?.0),
        index => Name::Index(index),
    };
    let (value, is_coded) = text(block, at)?;
    Some((name, Some(value).filter(|_| !is_coded)))
}

/// The position of a string, and whether it is Huffman-coded.
fn text(block: &[u8], at: &mut usize) -> Option<(Range<usize>, bool)> {
    let is_coded = *block.get(*at)? & 0x80 != 0;
    let size = integer(block, at, 7)?;
    let end = at.checked_add(size).filter(|end| *end <= block.len())?;
    let text = *at..end;
    *at = end;
    Some((text, is_coded))
}

/// RFC 7541 section 5.1: the low bits of a byte and, if all are set, seven bits of each byte that follows.
fn integer(block: &[u8], at: &mut usize, bits: u32) -> Option<usize> {
    let full = (1 << bits) - 1;
    let mut number = usize::from(*block.get(*at)?) & full;
    *at += 1;
    if number < full {
        return Some(number);
    }
    for shift in [0, 7, 14, 21] {
        let byte = *block.get(*at)?;
        *at += 1;
        number += usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}
