//! Transcripts of help, errors and summaries, compared letter by letter with the files in
//! `tests/cli/transcripts`. `SNAPSHOTS=overwrite cargo test --test cli` writes them anew.

use std::path::Path;

use snapbox::{Assert, Data, Redactions};

use crate::bench::{Bench, Run};
use crate::layout::{Layout, named};
use crate::tarball::LayerBuilder;

/// What a person sees of some runs: the command, both outputs, the status if it is not 0.
struct Transcript {
    bench: Bench,
    text: String,
}

impl Transcript {
    fn new() -> Transcript {
        Transcript {
            bench: Bench::new(),
            text: String::new(),
        }
    }

    /// Runs a command line, whose words are parted by spaces.
    fn run(&mut self, command: &str) -> &mut Transcript {
        let store = format!("--store={}", self.bench.store().display());
        let words = command.split(' ').filter(|word| !word.is_empty());
        // Help has no use for a store.
        let run = self.bench.run(&words.chain([&*store]).collect::<Vec<_>>());
        let Run {
            status,
            stdout,
            stderr,
            ..
        } = run;
        self.text += &format!("$ lowerdir {command}\n{stderr}{stdout}");
        if status != 0 {
            self.text += &format!("[exit status {status}]\n");
        }
        self.text.push('\n');
        self
    }

    /// Compares all that was printed with a file.
    fn is(&self, name: &str) {
        let mut redactions = Redactions::new();
        let store = self.bench.store().display().to_string();
        redactions.insert("[STORE]", store).unwrap();
        let directory = self.bench.store().parent().unwrap().display().to_string();
        redactions.insert("[DIR]", directory).unwrap();
        redactions
            .insert("[VERSION]", env!("CARGO_PKG_VERSION"))
            .unwrap();
        let lines = self.text.lines().map(without_duration);
        let text = lines.map(|line| line + "\n").collect::<String>();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/transcripts");
        Assert::new()
            .action_env("SNAPSHOTS")
            .redact_with(redactions)
            .eq(
                text,
                Data::read_from(&file.join(format!("{name}.txt")), None),
            );
    }
}

/// Durations differ from run to run.
fn without_duration(line: &str) -> String {
    let parts = line.split_once(" in ").zip(line.split_once(" s: "));
    match parts {
        Some(((before, _), (_, after))) => format!("{before} in [TIME] s: {after}"),
        None => line.to_string(),
    }
}

fn layer(name: &str) -> LayerBuilder {
    LayerBuilder::new().file(name, 0o644, name)
}

fn image(bench: &Bench, name: &str, layers: Vec<LayerBuilder>) {
    let layers: Vec<Vec<u8>> = layers.into_iter().map(LayerBuilder::finish).collect();
    let layout = Layout::new(bench.path(name));
    layout.image(&layout.manifest(&layers));
}

#[test]
fn help() {
    let mut all = Transcript::new();
    all.run("-h").run("--version");
    all.is("help");
    for verb in [
        "unpack",
        "unpack-layer",
        "stack",
        "ls",
        "inspect",
        "diff",
        "flatten",
        "pull",
        "export",
        "mount",
        "umount",
        "bundle",
        "images",
        "verify",
        "tag",
        "rm",
        "prune",
        "pack",
        "translate",
        "convert",
        "completions",
        "man",
    ] {
        let mut one = Transcript::new();
        one.run(&format!("{verb} --help"));
        one.is(&format!("help-{verb}"));
    }
}

const UNPACK: &str = "--userxattr --owners=caller --sync=none";

#[test]
fn summaries() {
    let mut all = Transcript::new();
    let low = || {
        layer("a")
            .file("b", 0o644, "b")
            .dir("d", 0o755)
            .file("d/e", 0o644, "")
    };
    let high = || {
        LayerBuilder::new()
            .whiteout("a")
            .opaque("d")
            .file("d/f", 0o644, "")
    };
    let zeros = LayerBuilder::new()
        .chardev("zero", 0o600, (0, 0))
        .chardev("null", 0o600, (0, 0));
    image(&all.bench, "none", vec![]);
    image(&all.bench, "low", vec![low()]);
    image(&all.bench, "both", vec![low(), high()]);
    image(&all.bench, "zeros", vec![layer("x"), zeros]);
    all.bench.write("layer.tar", layer("f").finish());
    for image in ["none", "low", "low", "both", "both"] {
        all.run(&format!("unpack oci:{image} {UNPACK}"));
    }
    all.run(&format!("unpack oci:both {UNPACK} --quiet"));
    all.run(&format!(
        "unpack oci:zeros {UNPACK} --device-zero=skip --progress=none"
    ));
    all.run(&format!("unpack-layer layer.tar dir --base {UNPACK}"));
    all.run("stack oci:both");
    for command in [
        "images",
        "verify oci:both",
        "verify --all --quick --progress=none",
        "prune --dry-run",
        "prune",
    ] {
        all.run(command);
    }
    all.is("summaries");
}

#[test]
fn errors() {
    let mut all = Transcript::new();
    let bench = &all.bench;
    image(bench, "image", vec![layer("a"), layer("b")]);
    image(
        bench,
        "bad",
        vec![layer("a"), LayerBuilder::new().hardlink("b", "nowhere")],
    );
    image(
        bench,
        "escape",
        vec![LayerBuilder::new().file("../x", 0o644, "")],
    );
    let layout = Layout::new(bench.path("two"));
    let of = |name: &str| {
        let manifest = layout.manifest(&[layer(name).finish()]);
        named(layout.document(crate::layout::MANIFEST, &manifest), name)
    };
    layout.index(&[of("3.19"), of("3.20")]);
    image(bench, "damaged", vec![layer("a")]);
    let blobs = std::fs::read_dir(bench.path("damaged/blobs/sha256")).unwrap();
    let blobs = blobs.map(|entry| entry.unwrap().path());
    crate::layout::damage(
        &blobs
            .max_by_key(|blob| blob.metadata().unwrap().len())
            .unwrap(),
    );
    bench.write("no-image", "text");
    bench.write("layer.tar", layer("f").finish());
    for command in [
        "",
        "unpck oci:image",
        "unpack",
        "unpack nowhere.tar",
        "unpack no-image",
        "unpack docker-archive:no-image",
        "unpack oci:two",
        "unpack oci:two:3.21",
        "unpack oci:image --platform=linux/s390x",
        "unpack oci:image --platform=planet",
        "unpack oci:bad",
        "unpack oci:escape",
        "unpack oci:damaged",
        "stack oci:image",
        "unpack-layer layer.tar two",
        "unpack-layer layer.tar new --digest=sha256:12",
        "unpack-layer no-image new",
        "mount oci:image . --upper=u",
        "umount .",
        "umount nowhere",
        "verify",
        "verify nowhere",
        "verify --all --repair",
        "rm nowhere",
        "unmount /mnt",
        "list",
        "rmi alpine",
        "info alpine",
        "run alpine sh",
        "pull alpine",
        "load image.tar",
        "login",
        "mount oci:image . --tmpfs 512m",
        "bundle oci:image box sh -c true",
        "ls docker-daemon:alpine",
        "ls containers-storage:localhost/app:1",
        "ls docker://Alpine:3.20",
        "ls https://example.com/image.tar",
        "ls no-imagg",
        "stack oci:image:latest",
        "translate nowhere",
        "man nowhere",
        "man pages/",
        "ls oci:image --jsn",
        "unpack oci:image --sync=never",
        "flatten oci:image x.tar",
        "unpack oci:image --name=-x",
    ] {
        let translation = match command.starts_with("unpack ") || command.starts_with("unpack-") {
            true => format!(" {UNPACK}"),
            false => String::new(),
        };
        all.run(format!("{command}{translation}").trim_start());
    }
    all.is("errors");
}
