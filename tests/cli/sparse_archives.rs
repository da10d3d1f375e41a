//! Image archives of which members have holes, as `tar -S`, bsdtar and the `tar` crate write them.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::bench::Bench;
use crate::layout::Layout;
use crate::oci::{self, Compression};
use crate::tarball::{LayerBuilder, Meta, header, padded, pax_header, pax_record, seal};

/// The forms in which a file with holes is stored.
const FORMS: [&str; 4] = ["gnu", "0.0", "0.1", "1.0"];
const PIECE: usize = 4096;

/// Runs of data, at their offsets; an empty one where the file ends, if it ends in a hole.
fn runs(content: &[u8]) -> Vec<(usize, &[u8])> {
    let mut runs: Vec<(usize, &[u8])> = Vec::new();
    for (index, piece) in content.chunks(PIECE).enumerate() {
        let offset = index * PIECE;
        match runs.last_mut() {
            _ if piece.iter().all(|&byte| byte == 0) => {}
            Some((start, run)) if *start + run.len() == offset => {
                *run = &content[*start..offset + piece.len()];
            }
            _ => runs.push((offset, piece)),
        }
    }
    let end = runs.last().map_or(0, |(start, run)| start + run.len());
    if end < content.len() || content.is_empty() {
        runs.push((content.len(), b""));
    }
    runs
}

/// A member with its holes left out, in one of the forms.
fn sparse(form: &str, name: &str, content: &[u8]) -> Vec<u8> {
    let runs = runs(content);
    let stored: Vec<u8> = runs.iter().flat_map(|(_, run)| run.to_vec()).collect();
    let pairs = runs
        .iter()
        .map(|(offset, run)| (*offset as u64, run.len() as u64));
    let pairs: Vec<(u64, u64)> = pairs.collect();
    let size = content.len() as u64;
    if form == "gnu" {
        return old_gnu(name, &pairs, size, &stored);
    }
    let mut records = vec![pax_record("GNU.sparse.name", name)];
    let mut add = |key: &str, value: String| records.push(pax_record(key, value));
    let mut data = stored;
    match form {
        "0.0" => {
            add("GNU.sparse.size", size.to_string());
            add("GNU.sparse.numblocks", pairs.len().to_string());
            for (offset, length) in pairs {
                add("GNU.sparse.offset", offset.to_string());
                add("GNU.sparse.numbytes", length.to_string());
            }
        }
        "0.1" => {
            let numbers = pairs
                .iter()
                .map(|(offset, length)| format!("{offset},{length}"));
            add("GNU.sparse.size", size.to_string());
            add("GNU.sparse.numblocks", pairs.len().to_string());
            add("GNU.sparse.map", numbers.collect::<Vec<_>>().join(","));
        }
        _ => {
            add("GNU.sparse.major", "1".into());
            add("GNU.sparse.minor", "0".into());
            add("GNU.sparse.realsize", size.to_string());
            let lines = pairs
                .iter()
                .map(|(offset, length)| format!("{offset}\n{length}\n"));
            let map = format!("{}\n{}", pairs.len(), lines.collect::<String>());
            data = [padded(map.as_bytes()), data].concat();
        }
    }
    LayerBuilder::new()
        .raw(pax_header(&records.concat()))
        .file("GNUSparseFile.0/x", 0o644, data)
        .finish_without_end()
}

fn old_gnu(name: &str, pairs: &[(u64, u64)], size: u64, stored: &[u8]) -> Vec<u8> {
    let mut block = header(
        b'S',
        name.as_bytes(),
        b"",
        &Meta::new(0o644),
        stored.len() as u64,
    );
    let put = |table: &mut [u8], pairs: &[(u64, u64)]| {
        for (slot, (offset, length)) in table.chunks_exact_mut(24).zip(pairs) {
            slot.copy_from_slice(format!("{offset:011o}\0{length:011o}\0").as_bytes());
        }
    };
    let (first, rest) = pairs.split_at(pairs.len().min(4));
    block[257..265].copy_from_slice(b"ustar  \0");
    block[345..500].fill(0);
    put(&mut block[386..482], first);
    block[482] = u8::from(!rest.is_empty());
    block[483..495].copy_from_slice(format!("{size:011o}\0").as_bytes());
    seal(&mut block);
    let mut member = block.to_vec();
    let mut chunks = rest.chunks(21).peekable();
    while let Some(chunk) = chunks.next() {
        let mut block = [0; 512];
        put(&mut block[..504], chunk);
        block[504] = u8::from(chunks.peek().is_some());
        member.extend(block);
    }
    [member, padded(stored)].concat()
}

/// A layer with holes of all sorts: at its start there can be none.
fn layer() -> Vec<u8> {
    let content = [
        &[0; 300_001][..],
        b"one",
        &[0; 20_000],
        &[7; 9000],
        &[0; 50_000],
        b"two",
    ];
    LayerBuilder::new()
        .file("holes", 0o644, content.concat())
        .file("f", 0o644, "body")
        .file("zeros", 0o644, vec![0; 100_000])
        .finish()
}

/// Every member of a layout in a form.
fn archive(directory: &Path, form: &str) -> Vec<u8> {
    let mut members = Vec::new();
    let mut todo = vec![directory.to_path_buf()];
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).unwrap();
            todo.extend(entries.map(|entry| entry.unwrap().path()));
        } else {
            let name = path.strip_prefix(directory).unwrap().to_str().unwrap();
            members.push(sparse(form, name, &fs::read(&path).unwrap()));
        }
    }
    [members.concat(), vec![0; 1024]].concat()
}

#[test]
fn members_with_holes_are_read_in_every_form() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("layout"));
    let low = LayerBuilder::new().file("low", 0o644, "low").finish();
    layout.image(&layout.manifest(&[low, layer()]));
    let expected = bench.run(&["export", "oci:layout", "--format", "mtree"]);
    assert_eq!(expected.lines().len(), 6);
    for form in FORMS {
        let archive = archive(&bench.path("layout"), form);
        assert!(archive.len() < layer().len() / 2, "{form} has holes");
        for compression in [Compression::Plain, Compression::Gzip, Compression::Zstd] {
            let bytes = compression.compress(&archive);
            bench.write("image.tar", &bytes);
            let list = ["export", "image.tar", "--format", "mtree"];
            let from_file = bench.run(&list);
            assert_eq!(from_file.stdout, expected.stdout, "{form}: {from_file:?}");
            let from_pipe = bench.run_with_input(&["export", "-", "--format", "mtree"], &bytes);
            assert_eq!(from_pipe.stdout, expected.stdout, "{form}: {from_pipe:?}");
            let store = Bench::new();
            store.write("image.tar", &bytes);
            store.unpack("image.tar").lines();
            store.on_store(&["verify", "image.tar"]).lines();
        }
    }
}

#[test]
fn a_docker_archive_with_holes_is_read() {
    let layer = layer();
    let (diff_ids, config) = (oci::diff_ids([&layer]), "config.json");
    let manifest = format!(r#"[{{"Config":"{config}","RepoTags":["a:b"],"Layers":["l.tar"]}}]"#);
    for form in FORMS {
        let members = [
            sparse(form, "l.tar", &layer),
            sparse(form, config, oci::config(&diff_ids).to_string().as_bytes()),
            sparse(form, "manifest.json", manifest.as_bytes()),
        ];
        let bench = Bench::new();
        bench.write("image.tar", [members.concat(), vec![0; 1024]].concat());
        let run = bench.unpack("image.tar");
        let top = Path::new(run.lines()[0]);
        assert_eq!(fs::read(top.join("f")).unwrap(), b"body", "{form}");
    }
}

/// A hole in a document is zeros in it, which JSON does not have.
#[test]
fn a_hole_is_zeros() {
    let bench = Bench::new();
    let manifest = [&b"[]"[..], &[0; 9000]].concat();
    let member = sparse("1.0", "manifest.json", &manifest);
    bench.write("image.tar", [member, vec![0; 1024]].concat());
    bench
        .unpack("image.tar")
        .fails(3, &["manifest.json cannot be read"]);
}

/// A few bytes can say that a member has any size: it is not read through.
#[test]
fn a_member_that_is_one_huge_hole_is_a_limit() {
    for size in [1u64 << 32, 1 << 40, 1 << 55, i64::MAX as u64] {
        let records = [
            pax_record("GNU.sparse.major", "1"),
            pax_record("GNU.sparse.minor", "0"),
            pax_record("GNU.sparse.name", "huge"),
            pax_record("GNU.sparse.realsize", size.to_string()),
        ];
        let archive = LayerBuilder::new()
            .raw(pax_header(&records.concat()))
            .file("x", 0o644, padded(format!("1\n{size}\n0\n").as_bytes()))
            .finish();
        for compression in [Compression::Plain, Compression::Gzip] {
            let bench = Bench::new();
            bench.write("image.tar", compression.compress(&archive));
            let start = Instant::now();
            let run = bench.unpack("image.tar");
            run.fails(4, &["huge: a sparse file of"]);
            assert!(start.elapsed() < Duration::from_secs(20));
            // No option raises it.
            assert!(!run.hint().contains("--max"), "{run:?}");
        }
    }
}

#[test]
fn a_member_that_is_cut_in_its_stored_part_is_refused() {
    let bench = Bench::new();
    let member = sparse(
        "1.0",
        "manifest.json",
        &[&[0; 9000][..], &[7; 9000]].concat(),
    );
    bench.write("image.tar", &member[..member.len() - 4000]);
    bench.unpack("image.tar").fails(3, &["truncated"]);
}
