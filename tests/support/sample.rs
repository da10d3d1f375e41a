//! The sample image: three layers with a deletion, an opaque directory, a directory that is
//! deleted and made anew, and a directory without an entry.
//!
//! The second layer is the tree of google/crfs issue 40, where an opaque directory and a deletion
//! stand side by side.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::oci;

/// Wednesday, 1 January 2020.
const TIME: u64 = 1_577_836_800;

/// Writes it as `docker save` would.
pub fn write(path: &Path) -> anyhow::Result<()> {
    let layers = [base()?, deletions()?, recreated()?];
    let diff_ids = oci::diff_ids(&layers);
    let config = serde_json::json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = serde_json::to_vec(&config)?;
    let config_name = format!("{}.json", oci::sha256(&config));
    let names: Vec<String> = (1..=layers.len())
        .map(|number| format!("{number}/layer.tar"))
        .collect();
    let manifest = serde_json::json!([{
        "Config": config_name,
        "RepoTags": ["lowerdir-sample:latest"],
        "Layers": names,
    }]);
    let mut archive = tar::Builder::new(File::create(path)?);
    add(
        &mut archive,
        &config_name,
        tar::EntryType::Regular,
        0o644,
        &config,
    )?;
    for (name, bytes) in names.iter().zip(&layers) {
        add(&mut archive, name, tar::EntryType::Regular, 0o644, bytes)?;
    }
    let manifest = serde_json::to_vec(&manifest)?;
    add(
        &mut archive,
        "manifest.json",
        tar::EntryType::Regular,
        0o644,
        &manifest,
    )?;
    archive.into_inner()?.sync_all()?;
    Ok(())
}

fn base() -> io::Result<Vec<u8>> {
    let mut layer = tar::Builder::new(Vec::new());
    for directory in [
        "etc/",
        "etc/network/",
        "etc/network/if-up.d/",
        "srv/",
        "srv/www/",
    ] {
        add(&mut layer, directory, tar::EntryType::Directory, 0o755, b"")?;
    }
    add(
        &mut layer,
        "srv/private/",
        tar::EntryType::Directory,
        0o2750,
        b"",
    )?;
    for file in [
        "etc/localtime",
        "etc/passwd",
        "etc/network/interfaces",
        "etc/network/if-up.d/route",
        "srv/www/index.html",
        "srv/www/old.html",
        "srv/private/key",
    ] {
        add(
            &mut layer,
            file,
            tar::EntryType::Regular,
            0o644,
            b"from layer 1\n",
        )?;
    }
    layer.into_inner()
}

fn deletions() -> io::Result<Vec<u8>> {
    let mut layer = tar::Builder::new(Vec::new());
    add(&mut layer, "etc/", tar::EntryType::Directory, 0o755, b"")?;
    add(
        &mut layer,
        "etc/network/",
        tar::EntryType::Directory,
        0o755,
        b"",
    )?;
    for marker in ["etc/network/.wh..wh..opq", "etc/.wh.localtime"] {
        add(&mut layer, marker, tar::EntryType::Regular, 0, b"")?;
    }
    add(
        &mut layer,
        "etc/network/newfile",
        tar::EntryType::Regular,
        0o644,
        b"from layer 2\n",
    )?;
    layer.into_inner()
}

/// `srv/www` is deleted and made anew; `srv/private` has no entry, and keeps its mode.
fn recreated() -> io::Result<Vec<u8>> {
    let mut layer = tar::Builder::new(Vec::new());
    add(&mut layer, "srv/.wh.www", tar::EntryType::Regular, 0, b"")?;
    add(
        &mut layer,
        "srv/www/",
        tar::EntryType::Directory,
        0o755,
        b"",
    )?;
    for file in ["srv/www/index.html", "srv/private/notes"] {
        add(
            &mut layer,
            file,
            tar::EntryType::Regular,
            0o644,
            b"from layer 3\n",
        )?;
    }
    layer.into_inner()
}

fn add<W: io::Write>(
    archive: &mut tar::Builder<W>,
    name: &str,
    kind: tar::EntryType,
    mode: u32,
    data: &[u8],
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(TIME);
    header.set_size(data.len() as u64);
    archive.append_data(&mut header, name, data)
}
