//! `mount --print`: what it prints for whom. Whether that mounts is tried in `integration/`.

use serde_json::Value;

use crate::bench::{Bench, Run};
use crate::layout::Layout;
use crate::tarball::LayerBuilder;

fn unpacked(store: &str, layers: usize) -> Bench {
    let bench = Bench::with_store(store);
    let layers: Vec<Vec<u8>> = (0..layers)
        .map(|number| LayerBuilder::new().file(format!("f{number}"), 0o644, ""))
        .map(LayerBuilder::finish)
        .collect();
    let layout = Layout::new(bench.path("image"));
    layout.image(&layout.manifest(&layers));
    bench.unpack("oci:image").lines();
    bench
}

fn print(bench: &Bench, target: &str, options: &[&str]) -> Run {
    let store = bench.store().to_str().unwrap();
    let fixed = ["--store", store, "mount", "oci:image", target];
    bench.run(&[&fixed[..], options].concat())
}

fn lowerdir(bench: &Bench) -> String {
    bench.stack("oci:image").lines()[0].to_string()
}

/// What names the layers where mount(8) reads it from a file: one option has at most 255 bytes.
fn layers_for_mount_8(bench: &Bench) -> String {
    let lowerdir = lowerdir(bench);
    match lowerdir.len() > 255 {
        true => format!("lowerdir+={}", lowerdir.replace(':', ",lowerdir+=")),
        false => format!("lowerdir={lowerdir}"),
    }
}

#[test]
fn a_command_for_the_shell() {
    let bench = unpacked("store", 2);
    let run = print(&bench, "/mnt/it's", &["--print=cmd"]);
    let options = format!("ro,lowerdir={},userxattr", lowerdir(&bench));
    let expected = format!("mount -t overlay -o {options} lowerdir '/mnt/it'\\''s'");
    assert_eq!(run.lines(), [expected]);
}

#[test]
fn a_line_for_fstab_has_its_fields_escaped() {
    let bench = unpacked("store", 2);
    let run = print(&bench, "/mnt/a b\t#c", &["--print=fstab"]);
    let options = format!("ro,{},userxattr", layers_for_mount_8(&bench));
    let expected = format!("lowerdir /mnt/a\\040b\\011\\043c overlay {options} 0 0");
    assert_eq!(run.lines(), [expected]);
}

#[test]
fn an_entry_for_an_oci_runtime() {
    let bench = unpacked("store", 2);
    let options = ["--upper", "/u", "--work", "/w", "--print=json"];
    let run = print(&bench, "/", &options);
    let mount: Value = serde_json::from_str(run.lines()[0]).unwrap();
    assert_eq!(
        (&mount["destination"], &mount["type"]),
        (&"/".into(), &"overlay".into())
    );
    let lowerdir = format!("lowerdir={}", lowerdir(&bench));
    let options = [&*lowerdir, "upperdir=/u", "workdir=/w", "userxattr"];
    assert_eq!(mount["options"], Value::from(options.to_vec()));
}

#[test]
fn a_unit_for_systemd_is_named_for_its_directory() {
    let bench = unpacked("sto%re", 2);
    let run = print(&bench, "/mnt/my-image/.x", &["--print=systemd"]);
    let lines = run.lines();
    assert_eq!(lines[0], "# mnt-my\\x2dimage-.x.mount");
    assert!(lines.contains(&"Where=/mnt/my-image/.x"));
    let options = format!("Options=ro,{},userxattr", layers_for_mount_8(&bench));
    assert!(lines.contains(&&*options.replace('%', "%%")), "{lines:?}");
}

#[test]
fn names_that_the_shell_or_mount_would_split_go_by_short_ones() {
    for store in ["a,b", "a:b", "a b", "a\\b", "a'b", "a\nb"] {
        let bench = unpacked(store, 2);
        let text = print(&bench, "/mnt", &["--print=cmd"]).stdout;
        let short = text.split_once("lowerdir=").unwrap().1;
        let short = short.split(',').next().unwrap();
        let names: Vec<&str> = short.split(':').collect();
        assert_eq!(names.len(), 2, "{text}");
        for name in names {
            assert!(bench.store().join("l").join(name).is_dir(), "{name}");
        }
    }
}

#[test]
fn many_layers_go_by_short_names_and_fit_one_page() {
    let bench = unpacked("store", 300);
    let run = print(&bench, "/mnt", &["--print=cmd"]);
    assert!(run.stdout.starts_with("(cd "), "{}", run.stdout);
    assert!(run.stdout.contains("LIBMOUNT_FORCE_MOUNT2=always"));
    assert!(run.stdout.len() < 4096);
    // Four layers are over 255 bytes.
    let few = unpacked("store", 4);
    let line = print(&few, "/mnt", &["--print=fstab"]).stdout;
    assert_eq!(line.matches("lowerdir+=").count(), 4, "{line}");
    // A file has no working directory: the short names need the store's path before them.
    let run = print(&bench, "/mnt", &["--print=fstab"]);
    run.fails(4, &["one page"]);
}

#[test]
fn a_tmpfs_is_more_than_one_line_can_say() {
    let bench = unpacked("store", 1);
    let run = print(&bench, "/mnt", &["--tmpfs=10m", "--print=cmd"]);
    assert!(
        run.stdout.contains("mount -t tmpfs -o mode=0755,size=10m "),
        "{}",
        run.stdout
    );
    for form in ["json", "fstab", "systemd"] {
        let run = print(&bench, "/mnt", &["--tmpfs", &format!("--print={form}")]);
        run.fails(1, &["--tmpfs", form]);
        assert!(run.hint().contains("--print=cmd"));
    }
}

#[test]
fn an_upperdir_needs_a_workdir_and_no_tmpfs() {
    let bench = Bench::new();
    for options in [
        &["--upper", "u"][..],
        &["--work", "w"],
        &["--tmpfs", "--upper", "u", "--work", "w"],
    ] {
        assert_eq!(print(&bench, "/mnt", options).status, 2);
    }
}
