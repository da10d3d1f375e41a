//! `Lenient`: a connection whose requests may name any authority. [`super`] serves through it.
//!
//! Clients of gRPC's C core (Python, Ruby, C++) send the path of a Unix socket as `:authority`, with
//! escapes (`run%2Fx.sock`), others as it is. That is no authority of RFC 3986, and the HTTP/2 library
//! refuses the request (hyperium/h2 issue 442). Nobody looks at it here: bytes that an authority cannot
//! have become `-`, in place, so that no length and no table of the compression changes.
//!
//! Sources: RFC 9113 section 4 (frames) and 6.2 (HEADERS), RFC 7541 section 5 and 6 (HPACK). Texts in
//! Huffman's code and header blocks that go on in another frame are left as they are.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tonic::codegen::http::uri::Authority;
use tonic::transport::server::Connected;

/// Bytes before the first frame, and of what each begins with.
const PREFACE: usize = 24;
const HEAD: usize = 9;
/// Bytes of a frame, at most, unless it was agreed otherwise; a larger one is passed on as it is.
const FRAME_MAX: usize = 1 << 14;
/// A frame with headers, and what its flags say is there too.
const HEADERS: u8 = 1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

const NAME: &[u8] = b":authority";
/// Of the static table, the entry of that name.
const INDEX: usize = 1;

/// A connection from which requests are read.
pub struct Lenient {
    stream: UnixStream,
    frames: Frames,
}

impl Lenient {
    /// Of a client that has sent nothing yet.
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
                // A frame that ends too early is seen where it is read.
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

/// Takes a stream of bytes apart into frames.
#[derive(Default)]
struct Frames {
    /// The beginning of a frame.
    held: Vec<u8>,
    /// Bytes to come that are not looked at.
    passing: usize,
    /// What may be read.
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
                // What cannot be read is refused by who reads it next.
                let _ = replace_authority(&mut self.held[HEAD..HEAD + size], flags);
                self.pass(HEAD + size);
            }
        }
    }

    fn pass(&mut self, count: usize) {
        self.ready.extend(self.held.drain(..count));
    }
}

/// Replaces an authority that is none in the payload of a HEADERS frame; `None` where that is cut.
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

/// Goes over one field, and says where its name and its value are, if it has a value of its own that
/// is plain.
fn field(block: &[u8], at: &mut usize) -> Option<(Name, Option<Range<usize>>)> {
    let first = *block.get(*at)?;
    // RFC 7541 section 6: a field of a table, or a new size of the table; else one with a value.
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

/// Where a text is, and whether it is in Huffman's code.
fn text(block: &[u8], at: &mut usize) -> Option<(Range<usize>, bool)> {
    let is_coded = *block.get(*at)? & 0x80 != 0;
    let size = integer(block, at, 7)?;
    let end = at.checked_add(size).filter(|end| *end <= block.len())?;
    let text = *at..end;
    *at = end;
    Some((text, is_coded))
}

/// RFC 7541 section 5.1: the low bits of a byte, and if these are full, seven of each that follows.
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
