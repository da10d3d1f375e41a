//! Compiles the part of containerd's API that `lowerdir-snapshotter` serves, without protoc.
//!
//! `make proto` runs it, with the directory that takes the Rust code.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).ok_or("usage: proto DIRECTORY")?;
    let definitions = concat!(env!("CARGO_MANIFEST_DIR"), "/");
    let files = protox::compile(["snapshots.proto"], [definitions])?;
    tonic_prost_build::configure()
        .build_transport(false)
        .btree_map(".")
        .out_dir(&directory)
        .compile_fds(files)?;
    Ok(())
}
