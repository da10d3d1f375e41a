//! `pids.max`: unpacking and mounting in a container that may have few threads.

use std::fs;
use std::path::{Path, PathBuf};

use crate::dice::noise;
use crate::oci::{self, Compression};
use crate::scratch::{Mounted, Scratch};
use crate::tarball::LayerBuilder;
use support::program::{self, Run};

/// A control group of its own, of cgroup v1 or v2.
struct Group(PathBuf);

impl Group {
    /// Errors: none can be made here.
    fn new(name: &str) -> std::io::Result<Group> {
        let root = Path::new("/sys/fs/cgroup");
        let v1 = root.join("pids");
        let base = match v1.join("cgroup.procs").exists() {
            true => v1,
            false => root.to_path_buf(),
        };
        let path = base.join(format!("lowerdir-{name}-{}", std::process::id()));
        fs::create_dir(&path)?;
        let group = Group(path);
        // Where no limit can be set, there is no such file.
        group.limit("max")?;
        Ok(group)
    }

    fn limit(&self, most: impl ToString) -> std::io::Result<()> {
        fs::write(self.0.join("pids.max"), most.to_string())
    }

    /// Runs a program in it: a shell joins, and becomes the program.
    fn run(&self, arguments: &[&str]) -> Run {
        let script = r#"echo $$ > "$1" && shift && exec "$0" "$@""#;
        let mut command = program::shell(script);
        command.arg(self.0.join("cgroup.procs")).args(arguments);
        Run::of(&mut command)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Layers that are worth threads of their own; the last one is read twice.
fn write_image(directory: &Path) {
    let layer = |number: u32| {
        let mut layer = LayerBuilder::new().dir("d", 0o755);
        for file in 0..4_u32 {
            let bytes = noise(u64::from(number * 4 + file), 100_000);
            layer = layer.file(format!("d/{number}-{file}"), 0o644, bytes);
        }
        match number {
            15 => layer.hardlink("d/link", "d/0-0").finish(),
            _ => layer.finish(),
        }
    };
    let layers: Vec<_> = (0..16)
        .map(|number| (layer(number), Compression::Gzip))
        .collect();
    oci::write_layout(directory, "1", &layers);
}

#[test]
fn a_container_of_few_processes_unpacks_and_mounts() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let group = match Group::new("few") {
        Ok(group) => group,
        Err(error) => return crate::skip(&format!("no control group can be made: {error}")),
    };
    let site = scratch.site();
    let image = site.path().join("image");
    write_image(&image);
    let reference = format!("oci:{}", image.display());
    for most in [1, 2, 5, 30] {
        group.limit(most).expect("it was set before");
        let store = site.path().join(format!("store{most}"));
        let store = store.to_str().expect("text");
        let ended = |run: Run| assert_eq!(run.status, 0, "pids.max {most}: {run:?}");
        ended(group.run(&[
            "-j16",
            "--store",
            store,
            "unpack",
            &reference,
            "--sync=none",
        ]));
        ended(group.run(&["-j16", "--store", store, "verify", "--all"]));
        let target = Mounted::nothing(site.path());
        let place = target.0.to_str().expect("text");
        ended(group.run(&["-j16", "--store", store, "mount", &reference, place]));
        let (link, file) = (target.0.join("d/link"), target.0.join("d/0-0"));
        assert_eq!(
            fs::read(link).expect("a link"),
            fs::read(file).expect("a file")
        );
    }
}
