//! mtree(5): a path and its attributes as `KEYWORD=VALUE`, in the variant with full paths.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::Result;
use crate::image::Image;
use crate::path::EntryPath;
use crate::store::pipeline::Run;
use crate::tar::writer::stored;
use crate::view::{Body, Id, ImageTree, Item, contents, file_ids, read_parts};

const BUFFER: usize = 128 * 1024;

/// Writes the list. The outer error is that of the image, the inner one that of the writer.
pub fn write(
    image: &Image,
    tree: &ImageTree,
    run: Run<'_>,
    out: &mut impl Write,
) -> Result<io::Result<()>> {
    let digests = read(image, tree, run)?;
    let links = tree.links();
    let mut write = || {
        out.write_all(b"#mtree\n")?;
        for item in tree.walk() {
            let id = item.name.inode;
            line(
                out,
                &item,
                links.get(&id).map_or(1, Vec::len),
                digests.get(&id),
            )?;
        }
        Ok(())
    };
    Ok(write())
}

fn read(image: &Image, tree: &ImageTree, run: Run<'_>) -> Result<BTreeMap<Id, Digest>> {
    let mut digests = BTreeMap::new();
    // A hole has to be hashed, and a few bytes of an archive can claim one of any size.
    let blobs = image.layers.iter().filter_map(|layer| layer.blob.size());
    let (blobs, mut holes) = (blobs.sum(), 0u64);
    let mut buffer = vec![0; BUFFER];
    contents(image, tree, &file_ids(tree), run, |id, shape, reader| {
        holes = holes.saturating_add(shape.size - stored(shape));
        run.limits.check_bytes(holes, blobs)?;
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut end = 0;
        read_parts(shape, reader, &mut buffer, |offset, data| {
            hash_zeros(&mut hasher, offset - end);
            hasher.update(data);
            end = offset + data.len() as u64;
            Ok(())
        })?;
        hash_zeros(&mut hasher, shape.size - end);
        digests.insert(id, hasher.finish());
        Ok(())
    })?;
    Ok(digests)
}

/// Hashes a hole.
fn hash_zeros(hasher: &mut Hasher, mut count: u64) {
    let zeros = [0; 4096];
    while count > 0 {
        let now = count.min(zeros.len() as u64);
        hasher.update(&zeros[..now as usize]);
        count -= now;
    }
}

fn line(
    out: &mut impl Write,
    item: &Item<'_>,
    names: usize,
    digest: Option<&Digest>,
) -> io::Result<()> {
    let Item { path, inode, .. } = item;
    let kind = match &inode.body {
        Body::Directory(_) => "dir",
        Body::File(_) => "file",
        Body::Symlink(_) => "link",
        Body::CharDevice(_) => "char",
        Body::BlockDevice(_) => "block",
        Body::Fifo => "fifo",
    };
    let meta = &inode.meta;
    write!(out, "{} type={kind} mode={:04o} ", shown(path), meta.mode)?;
    write!(out, "uid={} gid={} ", meta.uid, meta.gid)?;
    let time = meta.mtime;
    write!(out, "time={}.{:09}", time.seconds, time.nanoseconds)?;
    match &inode.body {
        Body::File(stored) => {
            write!(out, " size={} nlink={names}", stored.shape.size)?;
            match digest {
                Some(digest) => write!(out, " sha256digest={}", digest.hex())?,
                None => write!(out, " sha256digest={}", Digest::of(b"").hex())?,
            }
        }
        Body::Symlink(target) => write!(out, " link={}", escaped(target))?,
        Body::CharDevice(device) | Body::BlockDevice(device) => {
            write!(out, " device=native,{},{}", device.major, device.minor)?;
        }
        Body::Directory(_) | Body::Fifo => {}
    }
    out.write_all(b"\n")
}

fn shown(path: &EntryPath) -> String {
    match path.is_root() {
        true => ".".into(),
        false => format!("./{}", escaped(path.as_bytes())),
    }
}

/// Escapes like vis(3) with `VIS_OCTAL`.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'\\' | b'#' | b'=' | b'*' | b'?' | b'[' => text.push_str(&format!("\\{byte:03o}")),
            b'!'..=b'~' => text.push(byte.into()),
            _ => text.push_str(&format!("\\{byte:03o}")),
        }
    }
    text
}
