//! `images`, `rm` and `prune`: what is listed, what goes, and what must stay.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use crate::bench::{Bench, Run};
use crate::layout::{Layout, MANIFEST, named};
use crate::oci;
use crate::tarball::LayerBuilder;
use support::program;

fn layer(name: &str) -> Vec<u8> {
    LayerBuilder::new().file(name, 0o644, name).finish()
}

/// Writes an image of these layers, which the store names like its directory, and returns its digest.
fn image(bench: &Bench, name: &str, layers: &[&str]) -> String {
    let layers: Vec<Vec<u8>> = layers.iter().map(|name| layer(name)).collect();
    let layout = Layout::new(bench.path(name));
    let descriptor = layout.document(MANIFEST, &layout.manifest(&layers));
    layout.index(&[named(descriptor.clone(), "latest")]);
    descriptor["digest"].as_str().unwrap().to_string()
}

/// The same, and unpacks it.
fn unpacked(bench: &Bench, name: &str, layers: &[&str]) -> String {
    let digest = image(bench, name, layers);
    bench.unpack(&format!("oci:{name}")).lines();
    digest
}

fn chain(layers: &[&str]) -> Vec<String> {
    let layers: Vec<Vec<u8>> = layers.iter().map(|name| layer(name)).collect();
    oci::chain_ids(&oci::diff_ids(&layers))
}

fn images_in_store(bench: &Bench) -> usize {
    let names = bench.names(&bench.store().join("images"));
    names.iter().filter(|name| *name != "names.json").count()
}

/// The record of an image, or a document beside it.
fn kept(bench: &Bench, digest: &str, file: &str) -> PathBuf {
    let images = bench.store().join("images");
    images.join(digest.replace(':', "-")).join(file)
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

#[test]
fn rm_removes_what_only_the_image_needs() {
    let bench = Bench::new();
    let one = unpacked(&bench, "one", &["base", "middle", "a"]);
    unpacked(&bench, "two", &["base", "middle", "b"]);
    unpacked(&bench, "three", &["base"]);
    assert_eq!(bench.layers_in_store(), 4);

    let dry = bench.on_store(&["rm", "-n", "one"]);
    assert_eq!(dry.lines(), [&chain(&["base", "middle", "a"])[2]]);
    assert!(
        dry.stderr
            .starts_with(&format!("would remove image {one}: 1 layer, 1 B")),
        "{dry:?}"
    );
    assert_eq!((bench.layers_in_store(), images_in_store(&bench)), (4, 3));

    let run = bench.on_store(&["rm", "one"]);
    assert_eq!(run.stdout, dry.stdout);
    assert!(
        run.stderr
            .starts_with(&format!("removed image {one}: 1 layer, 1 B")),
        "{run:?}"
    );
    assert_eq!((bench.layers_in_store(), images_in_store(&bench)), (3, 2));
    assert_eq!(bench.stack("oci:one").status, 1);
    assert_eq!(bench.on_store(&["verify", "--all"]).status, 0);

    // The last one of those that share it takes a layer along.
    bench.on_store(&["rm", "three"]).lines();
    assert_eq!(bench.layers_in_store(), 3);
    let run = bench.on_store(&["rm", "two"]);
    assert_eq!(run.lines(), sorted(chain(&["base", "middle", "b"])));
    assert_eq!((bench.layers_in_store(), images_in_store(&bench)), (0, 0));
    // All of it can be unpacked again.
    unpacked(&bench, "one", &["base", "middle", "a"]);
}

#[test]
fn an_image_is_removed_by_name_digest_or_digits() {
    let bench = Bench::new();
    let digest = image(&bench, "image", &["a"]);
    for name in [
        "image",
        &digest,
        &digest[..11],
        &digest[7..11],
        &digest[7..],
    ] {
        bench.unpack("oci:image").lines();
        let run = bench.on_store(&["rm", name]);
        assert_eq!(run.status, 0, "{name}: {run:?}");
        assert_eq!(images_in_store(&bench), 0);
    }
    bench.unpack("oci:image").lines();
    for name in [
        "imag",
        &digest[7..10],
        "sha256:",
        "",
        "../images",
        "nonsense",
    ] {
        let run = bench.on_store(&["rm", name]);
        run.fails(1, &["no image in the store is named"]);
        let hints = ["`lowerdir images` lists them", "did you mean image:latest?"];
        assert!(hints.contains(&run.hint()), "{run:?}");
    }
    assert_eq!(images_in_store(&bench), 1);
}

#[test]
fn a_name_belongs_to_the_last_image_that_got_it() {
    let bench = Bench::new();
    let one = unpacked(&bench, "app", &["a"]);
    fs::rename(bench.path("app"), bench.path("old")).unwrap();
    let two = unpacked(&bench, "app", &["b"]);
    let names = |digest: &str| -> Vec<String> {
        let run = bench.on_store(&["images", "--json", digest]);
        let value: Value = serde_json::from_str(&run.stdout).unwrap();
        serde_json::from_value(value["names"].clone()).unwrap()
    };
    assert_eq!(names(&one), [""; 0]);
    assert_eq!(names(&two), ["app:latest"]);

    let run = bench.on_store(&["tag", &one, "app", "me/app:2"]);
    let note = format!("app:latest was the name of image {}", &two[..19]);
    assert!(run.status == 0 && run.stderr.contains(&note), "{run:?}");
    assert_eq!(names(&one), ["app:latest", "me/app:2"]);
    assert_eq!(names(&two), [""; 0]);

    let run = bench.on_store(&["rm", "app"]);
    let note = "removed the name app:latest: its image has others, and stays";
    assert!(run.status == 0 && run.stderr.contains(note), "{run:?}");
    // What follows a `/` is enough.
    assert_eq!(bench.on_store(&["rm", "app:2", &two]).lines().len(), 2);
    assert_eq!(images_in_store(&bench), 0);
}

#[test]
fn a_name_of_two_images_is_refused_with_both() {
    let bench = Bench::new();
    let one = unpacked(&bench, "one", &["a"]);
    let two = unpacked(&bench, "two", &["b"]);
    bench.on_store(&["tag", "one", "here/app:1"]).lines();
    bench.on_store(&["tag", "two", "there/app:1"]).lines();
    for verb in [
        &["rm", "app:1"][..],
        &["tag", "app:1", "x"],
        &["stack", "app:1"],
    ] {
        let run = bench.on_store(verb);
        run.fails(1, &["app:1 is not the name of one image in the store"]);
        for named in [
            format!("here/app:1 ({one})"),
            format!("there/app:1 ({two})"),
        ] {
            assert!(run.hint().contains(&named), "{run:?}");
        }
    }
    let pinned = format!("there/app:1@{one}");
    bench
        .on_store(&["rm", &pinned])
        .fails(1, &["there/app:1 is sha256:"]);
    bench
        .on_store(&["rm", &format!("there/app:1@{two}")])
        .lines();
    assert_eq!(images_in_store(&bench), 2);
}

/// A tag of digits means its own image before it means another one's digest.
#[test]
fn a_name_goes_before_digits() {
    let bench = Bench::new();
    let one = unpacked(&bench, "one", &["a"]);
    let digits = one[7..12].to_string();
    unpacked(&bench, &digits, &["b"]);
    let run = bench.on_store(&["rm", &digits]);
    assert_eq!(run.lines(), chain(&["b"]));
}

#[test]
fn rm_and_prune_speak_json() {
    let bench = Bench::new();
    let digest = unpacked(&bench, "image", &["a", "bb"]);
    let value = |run: &Run| serde_json::from_str::<Value>(&run.stdout).unwrap();
    let layers = sorted(chain(&["a", "bb"]));
    let expected = |image: Option<&str>, dry_run: bool| {
        serde_json::json!({
            "image": image, "name": null, "layers": layers, "bytes": 3, "downloads": 0, "mounted": [], "pinned": [], "dry_run": dry_run,
        })
    };
    let run = bench.on_store(&["rm", "image", "-n", "--json"]);
    assert_eq!(value(&run), expected(Some(&digest), true));
    fs::remove_dir_all(bench.store().join("images")).unwrap();
    let run = bench.on_store(&["prune", "--json"]);
    assert_eq!(value(&run), expected(None, false));
}

#[test]
fn prune_removes_what_no_image_needs() {
    let bench = Bench::new();
    unpacked(&bench, "one", &["base", "a"]);
    let two = unpacked(&bench, "two", &["base", "b"]);
    assert_eq!(bench.on_store(&["prune"]).lines(), [""; 0]);
    // As if it had been killed between the two steps of `rm`.
    fs::remove_dir_all(kept(&bench, &two, "")).unwrap();
    let loose = chain(&["base", "b"]).remove(1);
    assert_eq!(bench.on_store(&["prune", "-n"]).lines(), [&loose]);
    assert_eq!(bench.layers_in_store(), 3);
    assert_eq!(bench.on_store(&["prune"]).lines(), [&loose]);
    assert_eq!(bench.layers_in_store(), 2);
    assert_eq!(bench.on_store(&["verify", "oci:one"]).status, 0);
}

#[test]
fn damaged_layers_go_like_others() {
    let bench = Bench::new();
    unpacked(&bench, "image", &["a", "b", "c"]);
    let layers = bench.store().join("layers/sha256");
    let path = |index: usize| layers.join(&chain(&["a", "b", "c"])[index][7..]);
    fs::write(path(0).join("layer.json"), "{").unwrap();
    fs::remove_dir_all(path(1)).unwrap();
    fs::remove_dir_all(path(2)).unwrap();
    fs::write(path(2), "").unwrap();
    let run = bench.on_store(&["rm", "image"]);
    let [a, _, c] = chain(&["a", "b", "c"]).try_into().unwrap();
    assert_eq!(run.lines(), sorted(vec![a, c]));
    assert_eq!(bench.layers_in_store(), 0);
}

/// What an image needs that cannot be read, nobody knows: nothing is removed on a guess.
#[test]
fn a_damaged_record_keeps_everything_until_it_is_forgotten() {
    let bench = Bench::new();
    let one = unpacked(&bench, "one", &["base", "a"]);
    unpacked(&bench, "two", &["base", "b"]);
    let record = kept(&bench, &one, "image.json");
    let good = fs::read_to_string(&record).unwrap();
    let layer = chain(&["base", "a"]).remove(1);
    let damages = [
        String::new(),
        "{".into(),
        "[]".into(),
        good.replace(&layer, &layer.replace(&layer[70..], "0")),
        good.replace(&format!("\"{layer}\""), "\"../../..\""),
        good.replace("\"created\": null", "\"created\": \"now\""),
        good.replace("seal", "zeal"),
    ];
    for damage in damages {
        assert_ne!(damage, good);
        fs::write(&record, damage).unwrap();
        for verb in [&["prune"][..], &["rm", "two"], &["rm", "-n", "two"]] {
            let run = bench.on_store(verb);
            run.fails(1, &["reading image.json"]);
            assert!(run.hint().contains("lowerdir rm"), "{run:?}");
        }
        let run = bench.on_store(&["images"]);
        assert_eq!(run.lines().len(), 2, "{run:?}");
        assert!(run.stderr.starts_with("warning: image sha256:"), "{run:?}");
        assert_eq!((bench.layers_in_store(), images_in_store(&bench)), (3, 2));
    }
    // A record under the name of another one.
    let two = bench.on_store(&["images", "--json"]);
    let two: Value = serde_json::from_str(&two.stdout).unwrap();
    let two = two["digest"].as_str().unwrap();
    fs::copy(kept(&bench, two, "image.json"), &record).unwrap();
    bench
        .on_store(&["prune"])
        .fails(1, &["it is of image sha256:"]);

    let run = bench.on_store(&["rm", &one]);
    assert_eq!(run.lines(), [""; 0]);
    assert!(run.stderr.contains("warning: its layers stay"), "{run:?}");
    assert_eq!((bench.layers_in_store(), images_in_store(&bench)), (3, 1));
    assert_eq!(bench.on_store(&["prune"]).lines(), [&layer]);
    assert_eq!(bench.on_store(&["verify", "two"]).status, 0);
}

#[test]
fn what_others_put_into_the_store_is_not_touched() {
    let bench = Bench::new();
    unpacked(&bench, "image", &["a"]);
    let store = bench.store();
    for foreign in [
        "layers/sha256/mine",
        "images/mine.json",
        "images/mine",
        "l/mine",
    ] {
        fs::write(store.join(foreign), "").unwrap();
    }
    let layer = format!("../layers/sha256/{}/fs", &chain(&["a"])[0][7..]);
    symlink(&layer, store.join("l/12345")).unwrap();
    symlink("../empty/1", store.join("l/54321")).unwrap();
    symlink("../../elsewhere", store.join("l/abcde")).unwrap();
    assert_eq!(bench.on_store(&["images"]).lines().len(), 2);
    bench.on_store(&["rm", "image"]).lines();
    bench.on_store(&["prune"]).lines();
    assert_eq!(bench.names(&store.join("layers/sha256")), ["mine"]);
    let images = bench.names(&store.join("images"));
    assert_eq!(images, ["mine", "mine.json", "names.json"]);
    assert_eq!(bench.names(&store.join("l")), ["54321", "abcde", "mine"]);
}

#[test]
fn images_are_listed_with_their_names_and_sizes() {
    let bench = Bench::new();
    let place = bench.store().display().to_string();
    let run = bench.on_store(&["images"]);
    run.fails(1, &["there is no store at", &place]);
    let one = unpacked(&bench, "one", &["base", "a"]);
    bench
        .on_store(&["tag", "one", "docker.io/me/uno:1"])
        .lines();
    let row = |name: &str, size: &str| {
        let (platform, date) = ("linux/amd64", "-");
        format!(
            "{name:<18}  {}  {platform}  {date:<7}  {:>6}  {size:>4}",
            &one[..19],
            2
        )
    };
    let run = bench.on_store(&["images"]);
    let head = "NAME                DIGEST               PLATFORM     CREATED  LAYERS  SIZE";
    let all = [row("docker.io/me/uno:1", "5 B"), row("one:latest", "5 B")];
    assert_eq!(run.lines(), [head, &all[0], &all[1]]);
    for (pattern, names) in [
        ("one", 1),
        ("*uno*", 1),
        ("*", 2),
        (&one[7..11], 2),
        ("none", 0),
    ] {
        let run = bench.on_store(&["images", pattern]);
        let lines = run.stdout.lines().count().saturating_sub(1);
        assert_eq!(lines, names, "{pattern}: {run:?}");
    }
    fs::remove_dir_all(
        bench
            .store()
            .join("layers/sha256")
            .join(&chain(&["base", "a"])[1][7..]),
    )
    .unwrap();
    let run = bench.on_store(&["images"]);
    assert!(run.lines()[2].ends_with("4 B  (incomplete)"), "{run:?}");
    let run = bench.on_store(&["images", "--json"]);
    let value: Value = serde_json::from_str(&run.stdout).unwrap();
    let expected = serde_json::json!({
        "digest": one, "names": ["docker.io/me/uno:1", "one:latest"], "platform": "linux/amd64",
        "created": null, "layers": chain(&["base", "a"]), "bytes": 4,
        "complete": false, "store": bench.store().canonicalize().unwrap(),
    });
    assert_eq!(value, expected);
    // Nothing but the names is lost with them.
    fs::write(bench.store().join("images/names.json"), "{}").unwrap();
    let run = bench.on_store(&["images"]);
    assert_eq!(run.lines().len(), 2, "{run:?}");
    assert!(
        run.stderr.contains("the names of the images are lost"),
        "{run:?}"
    );
    bench
        .on_store(&["rm", "one"])
        .fails(1, &["reading names.json"]);
    bench.on_store(&["rm", &one]).lines();
    assert_eq!(images_in_store(&bench), 0);
}

#[test]
fn without_names_a_digest_still_leads_to_the_image() {
    let bench = Bench::new();
    let digest = unpacked(&bench, "one", &["a"]);
    bench.on_store(&["verify", "--all"]).lines();
    fs::write(bench.store().join("images/names.json"), "{}").unwrap();
    bench.on_store(&["stack", &digest]).lines();
    bench.on_store(&["stack", &digest[7..15]]).lines();
    let run = bench.on_store(&["verify", "--all"]);
    assert_eq!(run.status, 3, "{run:?}");
    assert!(run.stdout.starts_with("names of the images: "), "{run:?}");
    assert_eq!(run.error(), "the names of the images are damaged");
    assert!(run.hint().contains("names.json"), "{run:?}");
}

/// A name that a transport hides is never found, so no image gets it.
#[test]
fn a_name_that_would_be_read_as_a_place_is_none() {
    let bench = Bench::new();
    let digest = image(&bench, "oci", &["a"]);
    for name in ["oci:x", "store:x", "dir:1.0", "docker://x", "https://x/y"] {
        let given = format!("--name={name}");
        let run = bench.unpack_with("oci:oci", &[&given]);
        run.fails(2, &[name, "it would be read as the place of an image"]);
    }
    bench.unpack("oci:oci").lines();
    let run = bench.on_store(&["tag", &digest, "oci:latest"]);
    run.fails(
        2,
        &["oci:latest", "it would be read as the place of an image"],
    );
    let list = bench.on_store(&["images"]);
    assert!(list.lines()[1].starts_with("- "), "{list:?}");
    bench.on_store(&["tag", &digest, "ociimage"]).lines();
    bench.on_store(&["stack", "ociimage"]).lines();
}

#[test]
fn an_image_without_layers_goes_too() {
    let bench = Bench::new();
    unpacked(&bench, "none", &[]);
    assert_eq!(bench.on_store(&["images"]).lines().len(), 2);
    assert_eq!(bench.on_store(&["rm", "none"]).lines(), [""; 0]);
    assert_eq!(images_in_store(&bench), 0);
}

fn start(bench: &Bench, arguments: &[&str]) -> Child {
    program::lowerdir()
        .args([
            "--store",
            bench.store().to_str().unwrap(),
            "--progress=json",
        ])
        .args(arguments)
        .current_dir(bench.path("."))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command is there")
}

const UNPACK: [&str; 5] = [
    "unpack",
    "oci:image",
    "--userxattr",
    "--owners=caller",
    "--sync=none",
];

/// The first event of a run.
fn first_event(child: &mut Child) -> String {
    let mut line = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut line).unwrap();
    // The rest is read, so that nobody has to wait for us.
    std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    line
}

/// While somebody removes, nobody looks; while somebody looks, nobody removes.
#[test]
fn those_who_remove_and_those_who_look_wait_for_each_other() {
    let bench = Bench::new();
    unpacked(&bench, "image", &["a"]);
    let lock = File::open(bench.store().join("locks")).unwrap();
    let lookers = [
        &UNPACK[..],
        &["mount", "oci:image", "nowhere"],
        &["images"],
        &["verify", "--all"],
    ];
    let removers = [&["prune"][..], &["rm", "-n", "image"]];
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let waiting = lookers.iter().chain(&removers).map(|arguments| {
        let mut child = start(&bench, arguments);
        assert_eq!(
            first_event(&mut child),
            "{\"event\":\"wait\"}\n",
            "{arguments:?}"
        );
        child
    });
    let waiting: Vec<Child> = waiting.collect();
    flock(&lock, FlockOperation::Unlock).unwrap();
    for mut child in waiting {
        child.wait().unwrap();
    }
    flock(&lock, FlockOperation::LockShared).unwrap();
    for arguments in removers {
        let mut child = start(&bench, arguments);
        assert_eq!(
            first_event(&mut child),
            "{\"event\":\"wait\"}\n",
            "{arguments:?}"
        );
        child.kill().unwrap();
        child.wait().unwrap();
    }
    for arguments in [&UNPACK[..], &["images"]] {
        let mut child = start(&bench, arguments);
        assert!(!first_event(&mut child).contains("wait"), "{arguments:?}");
        assert!(child.wait().unwrap().success());
    }
}

/// Whatever the order in which they come, nobody's layers go while they are unpacked.
#[test]
fn images_are_unpacked_and_removed_at_once() {
    let bench = Bench::new();
    image(&bench, "one", &["base", "a", "b"]);
    image(&bench, "two", &["base", "a", "c"]);
    for _ in 0..4 {
        let unpack = |image| {
            let arguments = [&["unpack", image][..], &UNPACK[2..]].concat();
            start(&bench, &arguments)
        };
        let mut unpacking: Vec<Child> = ["oci:one", "oci:two"]
            .repeat(3)
            .into_iter()
            .map(unpack)
            .collect();
        let removing = [&["rm", "one"][..], &["rm", "two"], &["prune"]].repeat(2);
        let removing: Vec<Child> = removing
            .into_iter()
            .map(|arguments| start(&bench, &[arguments, &["--sync=none"]].concat()))
            .collect();
        for child in &mut unpacking {
            assert!(child.wait().unwrap().success());
        }
        for child in removing {
            // There may have been no such image at that moment.
            let output = child.wait_with_output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success() || text.contains("no image in the store"),
                "{text}"
            );
        }
        let run = bench.on_store(&["verify", "--all"]);
        assert_eq!((run.status, &*run.stdout), (0, ""), "{run:?}");
        bench.layers_in_store();
    }
}

/// Wherever `rm` is killed, what is left is whole, and what is loose can be pruned.
#[test]
fn a_killed_removal_loses_nothing_and_is_finished_by_the_next() {
    let bench = Bench::new();
    image(&bench, "kept", &["base", "k"]);
    let many: Vec<String> = (0..30).map(|number| number.to_string()).collect();
    let many: Vec<&str> = ["base"]
        .into_iter()
        .chain(many.iter().map(|name| &**name))
        .collect();
    image(&bench, "image", &many);
    bench.unpack("oci:kept").lines();
    for delay in 0..25 {
        bench.unpack("oci:image").lines();
        let mut child = start(&bench, &["rm", "image", "--sync=none"]);
        std::thread::sleep(std::time::Duration::from_micros(delay * 700));
        child.kill().unwrap();
        child.wait().unwrap();
        let run = bench.on_store(&["verify", "--all"]);
        // An image is forgotten before its layers go.
        assert_eq!((run.status, &*run.stdout), (0, ""), "{run:?}");
        if images_in_store(&bench) == 1 {
            bench.on_store(&["prune", "--sync=none"]).lines();
            assert_eq!(bench.layers_in_store(), 2);
        } else {
            assert_eq!(bench.layers_in_store(), 32);
        }
    }
}

#[test]
fn who_waits_can_be_interrupted() {
    let bench = Bench::new();
    unpacked(&bench, "image", &["a"]);
    let lock = File::open(bench.store().join("locks")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    for arguments in [
        &["rm", "image"][..],
        &["prune"],
        &["verify", "--all"],
        &UNPACK,
    ] {
        let mut child = start(&bench, arguments);
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut text = String::new();
        stderr.read_line(&mut text).unwrap();
        assert_eq!(text, "{\"event\":\"wait\"}\n");
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        stderr.read_line(&mut text).unwrap();
        assert!(text.contains(r#""kind":"cancelled""#), "{text}");
        assert_eq!(child.wait().unwrap().signal(), Some(2));
    }
    drop(lock);
    assert_eq!((bench.layers_in_store(), images_in_store(&bench)), (1, 1));
}
