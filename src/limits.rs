//! `Limits`: how much of one layer is taken before it is refused, so that a small blob cannot fill
//! the disk or the memory. Whoever raises one knows the image.
//!
//! [`crate::compress::codec`], [`crate::tar::archive`] and [`crate::unpack`] keep to them. Pure.

use crate::error::{Advice, Error, Result};
use crate::setters::setters;

/// The kernel stacks no more lower directories (`OVL_MAX_STACK`).
pub const MAX_LAYERS: usize = 500;

/// Refuses more layers than one mount can have.
pub fn check_layers(count: usize) -> Result<()> {
    if count <= MAX_LAYERS {
        return Ok(());
    }
    let text = format!("{count} layers; the kernel stacks at most {MAX_LAYERS}");
    let hint = Advice::Flatten;
    Err(Error::limit(text).hint(hint))
}

/// Directories that any layer may imply.
const IMPLIED: u64 = 1 << 16;
/// Directories more that it may imply for each of its entries.
const IMPLIED_BY_ENTRY: u64 = 8;

/// What a layer may cost. [`Default`] is far above what images hold.
///
/// ```
/// let limits = lowerdir::Limits::default().bytes(10 << 30).entries(100_000);
/// assert!(limits.depth >= 1000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Uncompressed bytes of the archive; bytes of all its sparse files, holes included: who writes
    /// or hashes them in full does so for each.
    pub bytes: u64,
    /// Uncompressed bytes for each byte of the blob; the first MiB of a blob counts as whole.
    pub ratio: u64,
    /// Entries of the archive, markers among them.
    pub entries: u64,
    /// Components of a path.
    pub depth: usize,
    /// Bytes of one extension header (PAX, GNU long name), which is read into memory.
    pub header: u64,
    /// Parts of one sparse file, at 16 bytes of memory each.
    pub extents: usize,
    /// The largest window of zstd, or dictionary of xz, in bytes of memory.
    pub window: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            bytes: 1 << 40,
            // gzip reaches 1032; zstd reaches more, but not with files that anyone ships.
            ratio: 2000,
            entries: 10_000_000,
            depth: 1000,
            header: 1 << 20,
            extents: 1 << 20,
            // As the zstd command has it; `xz -9` needs 64 MiB.
            window: 128 << 20,
        }
    }
}

impl Limits {
    setters! {
        bytes: u64,
        ratio: u64,
        entries: u64,
        depth: usize,
        header: u64,
        extents: usize,
        window: u64,
    }

    /// Refuses more bytes than a blob of this length may become.
    pub fn check_bytes(&self, uncompressed: u64, blob: u64) -> Result<()> {
        if uncompressed > self.bytes {
            return reached(format!("over {} bytes", self.bytes), "bytes");
        }
        if uncompressed > self.ratio.saturating_mul(blob.max(1 << 20)) {
            let what = format!("a blob of {blob} bytes that becomes over {uncompressed}");
            return reached(what, "ratio");
        }
        Ok(())
    }

    /// Refuses sparse files of more bytes in all, holes included.
    pub fn check_logical(&self, bytes: u64) -> Result<()> {
        match bytes > self.bytes {
            true => reached(
                format!("sparse files of over {} bytes, holes included", self.bytes),
                "bytes",
            ),
            false => Ok(()),
        }
    }

    /// Refuses one entry too many.
    pub fn check_entries(&self, entries: u64) -> Result<()> {
        match entries > self.entries {
            true => reached(format!("over {} entries", self.entries), "entries"),
            false => Ok(()),
        }
    }

    /// Refuses more directories than a layer may imply: with its entries they count against the limit of
    /// entries, and a layer of few entries may not stand for very many.
    pub fn check_implied(&self, implied: u64, entries: u64) -> Result<()> {
        if entries.saturating_add(implied) > self.entries {
            let what = "entries and directories without an entry";
            return reached(format!("over {} {what}", self.entries), "entries");
        }
        let most = IMPLIED.saturating_add(entries.saturating_mul(IMPLIED_BY_ENTRY));
        match implied > most {
            true => Err(Error::limit(format!(
                "over {most} directories without an entry, in a layer of {entries} entries"
            ))
            .hint("a layer that has an entry for each directory is not limited like this")),
            false => Ok(()),
        }
    }

    /// Refuses more bytes than may be copied from the layers below.
    pub fn check_copied(&self, bytes: u64) -> Result<()> {
        match bytes > self.bytes {
            true => reached(
                format!("hard links to over {} bytes of lower layers", self.bytes),
                "bytes",
            ),
            false => Ok(()),
        }
    }

    /// Refuses a path with more components.
    pub fn check_depth(&self, depth: usize) -> Result<()> {
        match depth > self.depth {
            true => reached(format!("a path of {depth} components"), "depth"),
            false => Ok(()),
        }
    }

    /// Refuses an extension header of more bytes.
    pub fn check_header(&self, bytes: u64) -> Result<()> {
        match bytes > self.header {
            true => reached(format!("an extension header of {bytes} bytes"), "header"),
            false => Ok(()),
        }
    }

    /// Refuses one more part of a sparse file than there may be.
    pub fn check_extents(&self, extents: usize) -> Result<()> {
        match extents >= self.extents {
            true => reached(
                format!("a sparse map of over {} parts", self.extents),
                "extents",
            ),
            false => Ok(()),
        }
    }

    /// The error of a decoder that was denied its memory.
    pub fn window_reached(&self) -> Error {
        let what = format!("compression with a window of over {} bytes", self.window);
        error(what, "window")
    }
}

fn reached(what: String, option: &str) -> Result<()> {
    Err(error(what, option))
}

fn error(what: String, option: &str) -> Error {
    Error::limit(what).hint(Advice::RaiseLimit.with(option))
}
