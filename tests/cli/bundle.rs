//! `bundle`: what config.json says of an image, and what is left when it fails. Whether runc runs it is
//! tried in `integration/`.

use std::fs;

use serde_json::{Value, json};

use crate::bench::{Bench, Run};
use crate::layout::Layout;
use crate::oci;
use crate::tarball::{LayerBuilder, Meta};

const PASSWD: &str = "# users\nroot:x:0:0:root:/root:/bin/sh\nbroken:x:many:1::/:\n\
                      web:x:33:34:web:/srv/web:/bin/false\n1000:x:7:7::/seven:\n";
const GROUP: &str = "root:x:0:\nweb:x:34:\nlogs:x:4:root,web\naudio:x:29:web\nlogs2:x:4:web\n";

fn base() -> LayerBuilder {
    LayerBuilder::new()
        .file("etc/passwd", 0o644, PASSWD)
        .file("etc/group", 0o644, GROUP)
        .dir("srv", 0o750)
        .dir("proc", 0o555)
}

/// An image with a config, unpacked.
fn image(layers: Vec<LayerBuilder>, parameters: Value, more: Value) -> Bench {
    let bench = Bench::new();
    let layers: Vec<Vec<u8>> = layers.into_iter().map(LayerBuilder::finish).collect();
    let mut config = oci::config(&oci::diff_ids(&layers));
    config["config"] = parameters;
    for (name, value) in more.as_object().expect("members") {
        config[name] = value.clone();
    }
    let layout = Layout::new(bench.path("image"));
    layout.image(&layout.manifest_with_config(&layers, &config));
    bench.unpack("oci:image").lines();
    bench
}

/// To mount the layers takes privilege: here, the runtime is to.
fn bundle(bench: &Bench, options: &[&str]) -> Run {
    let names_overlay = |option: &&str| option.starts_with("--overlay");
    let overlay: &[&str] = match options.iter().any(names_overlay) {
        true => &[],
        false => &["--overlay=config"],
    };
    let fixed = ["bundle", "oci:image", "box", "--sync=none"];
    bench.on_store(&[&fixed[..], overlay, options].concat())
}

fn config(bench: &Bench, options: &[&str]) -> Value {
    assert_eq!(bundle(bench, options).status, 0);
    let text = fs::read(bench.path("box/config.json")).expect("config.json");
    fs::remove_dir_all(bench.path("box")).expect("it was made");
    serde_json::from_slice(&text).expect("JSON")
}

fn with(parameters: Value) -> Bench {
    image(vec![base()], parameters, json!({}))
}

#[test]
fn the_process_is_what_the_image_says() {
    let bench = with(json!({
        "Entrypoint": ["/init", "--"], "Cmd": ["serve"], "WorkingDir": "srv/web",
        "Env": ["LANG=C", "PATH=/opt/bin", "EMPTY="], "User": "web",
    }));
    let process = &config(&bench, &[])["process"];
    assert_eq!(process["args"], json!(["/init", "--", "serve"]));
    assert_eq!(process["cwd"], "/srv/web");
    let environment = json!(["LANG=C", "PATH=/opt/bin", "EMPTY=", "HOME=/srv/web"]);
    assert_eq!(process["env"], environment);
    let user = json!({ "uid": 33, "gid": 34, "additionalGids": [4, 29] });
    assert_eq!(process["user"], user);
    assert_eq!(process["terminal"], false);
    let other = config(&bench, &["--terminal", "--", "ls", "-l"]);
    assert_eq!(other["process"]["args"], json!(["/init", "--", "ls", "-l"]));
    let environment = other["process"]["env"].as_array().unwrap();
    assert!(environment.contains(&"TERM=xterm".into()));
}

#[test]
fn null_and_absent_members_are_the_defaults() {
    let nothing = json!({
        "Entrypoint": null, "Cmd": ["/sh"], "Env": null, "Volumes": null, "Labels": null,
    });
    let bench = image(
        vec![LayerBuilder::new().dir("x", 0o755)],
        nothing,
        json!({}),
    );
    let config = config(&bench, &[]);
    let process = &config["process"];
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(process["env"], json!([path, "HOME=/"]));
    assert_eq!(process["cwd"], "/");
    assert_eq!(process["user"], json!({ "uid": 0, "gid": 0 }));
}

/// image-spec `conversion.md`, "Config.User": numbers verbatim, names looked up, else an error.
#[test]
fn users_are_looked_up_in_the_image() {
    for (user, expected, home) in [
        (
            "",
            json!({ "uid": 0, "gid": 0, "additionalGids": [4] }),
            "/root",
        ),
        ("0", json!({ "uid": 0, "gid": 0 }), "/root"),
        ("33", json!({ "uid": 33, "gid": 34 }), "/srv/web"),
        ("1000", json!({ "uid": 1000, "gid": 0 }), "/"),
        (
            "4294967294:7",
            json!({ "uid": 4294967294u32, "gid": 7 }),
            "/",
        ),
        ("web:logs", json!({ "uid": 33, "gid": 4 }), "/srv/web"),
        ("web:0", json!({ "uid": 33, "gid": 0 }), "/srv/web"),
        (
            "web:",
            json!({ "uid": 33, "gid": 34, "additionalGids": [4, 29] }),
            "/srv/web",
        ),
        (":audio", json!({ "uid": 0, "gid": 29 }), "/root"),
    ] {
        let bench = with(json!({ "Cmd": ["/x"], "User": user }));
        let process = &config(&bench, &[])["process"];
        assert_eq!(process["user"], expected, "{user:?}");
        let environment = process["env"].as_array().unwrap();
        assert!(
            environment.contains(&format!("HOME={home}").into()),
            "{user:?}"
        );
    }
    for (user, words) in [
        ("broken", ["user broken", "etc/passwd"]),
        ("nobody\u{1b}", ["user nobody\\x1b", "etc/passwd"]),
        ("web:wheel", ["group wheel", "etc/group"]),
        ("-1", ["user -1", "etc/passwd"]),
        ("4294967295", ["user 4294967295", "etc/passwd"]),
    ] {
        let bench = with(json!({ "Cmd": ["/x"], "User": user }));
        bundle(&bench, &[]).fails(3, &words);
    }
}

#[test]
fn symbolic_links_to_passwd_stay_inside_the_image() {
    let file = |uid: u32| format!("who:x:{uid}:5::/:\n");
    let shadow = LayerBuilder::new().file("etc/passwd", 0o644, file(1));
    let links: [(&str, LayerBuilder); 4] = [
        (
            "absolute",
            LayerBuilder::new().symlink("etc/passwd", "/usr/users"),
        ),
        (
            "climbing",
            LayerBuilder::new().symlink("etc/passwd", "../../../usr/users"),
        ),
        ("directory", LayerBuilder::new().symlink("etc", "/usr/etc")),
        (
            "chain",
            LayerBuilder::new()
                .symlink("etc/passwd", "a")
                .symlink("etc/a", "/usr/users"),
        ),
    ];
    for (name, link) in links {
        let real = LayerBuilder::new()
            .file("usr/users", 0o644, file(42))
            .symlink("usr/etc/passwd", "../users");
        let parameters = json!({ "Cmd": ["/x"], "User": "who" });
        let layers = match name {
            "directory" => vec![real, link],
            _ => vec![shadow.clone(), real, link],
        };
        let bench = image(layers, parameters, json!({}));
        let user = &config(&bench, &[])["process"]["user"];
        assert_eq!(user, &json!({ "uid": 42, "gid": 5 }), "{name}");
    }
    // The host has this file.
    let link = LayerBuilder::new().symlink("etc/passwd", "/proc/self/status");
    let bench = image(
        vec![link],
        json!({ "Cmd": ["/x"], "User": "who" }),
        json!({}),
    );
    bundle(&bench, &[]).fails(3, &["user who"]);
    for strange in [
        LayerBuilder::new().symlink("etc/passwd", "passwd"),
        LayerBuilder::new().fifo("etc/passwd", 0o644),
        LayerBuilder::new().dir("etc/passwd", 0o755),
    ] {
        let bench = image(
            vec![strange],
            json!({ "Cmd": ["/x"], "User": "who" }),
            json!({}),
        );
        bundle(&bench, &[]).fails(3, &["etc/passwd"]);
    }
    let deleted = vec![base(), LayerBuilder::new().whiteout("etc/passwd")];
    let bench = image(deleted, json!({ "Cmd": ["/x"], "User": "web" }), json!({}));
    bundle(&bench, &[]).fails(3, &["user web"]);
}

/// image-spec `conversion.md`, "Annotations": a label wins over what is implied. Of the labels, only
/// those that the specification defines: what else a runtime obeys, no list can know.
#[test]
fn annotations_are_what_describes_the_image_and_what_the_caller_adds() {
    let parameters = json!({
        "Cmd": ["/x"], "StopSignal": "SIGINT", "ExposedPorts": { "80/tcp": {}, "53/udp": {} },
        "Labels": {
            "a": "b", "org.opencontainers.image.author": "a label",
            "org.systemd.property.ExecStopPost": "x", "run.oci.handler": "wasm", "": "x",
            "io.kubernetes.cri-o.Devices": "/dev/sda", "org.opencontainers.images": "x",
            "line\u{1b}": "x", "org.opencontainers.image.licenses": "MIT",
        },
    });
    let more = json!({
        "author": "a member", "created": "2020-01-01T00:00:00Z", "variant": "v2",
        "os.version": "5", "os.features": ["x", "y"],
    });
    let bench = image(vec![base()], parameters, more);
    let run = bundle(&bench, &[]);
    assert_eq!(run.status, 0);
    let told = "labels that do not become annotations: , a, io.kubernetes.cri-o.Devices, line\\x1b, \
                org.opencontainers.images, org.systemd.property.ExecStopPost, run.oci.handler\n";
    assert!(run.stderr.contains(told), "{run:?}");
    fs::remove_dir_all(bench.path("box")).unwrap();
    let run = bundle(&bench, &["--json", "--annotation=a=b"]);
    let result: Value = serde_json::from_str(run.lines()[0]).unwrap();
    let left_out = result["left_out"].as_array().unwrap();
    assert!(left_out.len() == 6 && !left_out.contains(&"a".into()));
    fs::remove_dir_all(bench.path("box")).unwrap();
    let image = "org.opencontainers.image.";
    let added = [
        "--annotation=a=b=c",
        "--annotation=org.opencontainers.image.created=",
    ];
    let annotations = config(&bench, &added)["annotations"].clone();
    let mut expected = json!({ "a": "b=c", "org.opencontainers.image.licenses": "MIT" });
    for (name, value) in [
        ("os", "linux"),
        ("architecture", "amd64"),
        ("variant", "v2"),
        ("os.version", "5"),
        ("os.features", "x,y"),
        ("author", "a label"),
        ("created", ""),
        ("stopSignal", "SIGINT"),
        ("exposedPorts", "53/udp,80/tcp"),
    ] {
        expected[format!("{image}{name}")] = value.into();
    }
    if cfg!(target_arch = "x86_64") {
        assert_eq!(annotations, expected);
    }
    for wrong in ["--annotation=a", "--annotation==b"] {
        assert_eq!(bundle(&bench, &[wrong]).status, 2);
    }
}

#[test]
fn volumes_are_tmpfs_with_the_attributes_that_the_image_has_there() {
    let bench = with(json!({ "Cmd": ["/x"], "Volumes": { "/srv": {}, "new/deep/": {} } }));
    let config = config(&bench, &[]);
    let mounts = config["mounts"].as_array().unwrap();
    let volume = |destination: &str| {
        let mut found = mounts
            .iter()
            .filter(|mount| mount["destination"] == destination);
        (found.next().expect("it is mounted").clone(), found.count())
    };
    let (srv, more) = volume("/srv");
    assert_eq!((&srv["type"], more), (&"tmpfs".into(), 0));
    let options = srv["options"].as_array().unwrap();
    for option in ["nosuid", "nodev", "noexec", "mode=0750"] {
        assert!(options.contains(&option.into()), "{srv}");
    }
    assert!(
        volume("/new/deep").0["options"]
            .as_array()
            .unwrap()
            .contains(&"mode=0755".into())
    );
}

#[test]
fn volumes_never_hide_the_image_or_what_protects_the_host() {
    for volume in [
        "/",
        ".",
        "/proc",
        "/sys/fs/cgroup",
        "dev/shm",
        "a/../../b",
        "/link",
        "/up",
        "/etc/group",
    ] {
        let layer = base().symlink("link", "/proc/sys").symlink("up", "../..");
        let parameters = json!({ "Cmd": ["/x"], "Volumes": { volume: {} } });
        let bench = image(vec![layer], parameters, json!({}));
        bundle(&bench, &[]).fails(3, &["volume"]);
        assert!(!bench.path("box").exists(), "{volume}");
    }
}

#[test]
fn configs_that_no_runtime_takes_are_refused() {
    for parameters in [
        json!({ "Cmd": ["/x"], "Env": ["NO-VALUE"] }),
        json!({ "Cmd": ["/x"], "Env": ["=x"] }),
        json!({ "Cmd": ["/x"], "Env": ["A=\u{0}"] }),
        json!({ "Cmd": ["/x\u{0}"] }),
        json!({ "Cmd": ["/x"], "WorkingDir": "\u{0}" }),
    ] {
        let bench = with(parameters);
        bundle(&bench, &[]).fails(3, &["config"]);
        assert!(!bench.path("box").exists());
    }
    let bench = image(
        vec![base()],
        json!({ "Cmd": ["/x"] }),
        json!({ "os": "windows" }),
    );
    bundle(&bench, &[]).fails(3, &["windows"]);
}

/// serde names the line, which is of no use to a reader of the image's Dockerfile.
#[test]
fn a_member_of_the_wrong_type_is_named() {
    for (parameters, member) in [
        (json!({ "Cmd": "/x" }), "config.Cmd"),
        (
            json!({ "Cmd": ["/x"], "Entrypoint": "/x\u{1b}" }),
            "config.Entrypoint",
        ),
        (json!({ "Cmd": ["/x"], "Env": { "A": "b" } }), "config.Env"),
        (
            json!({ "Cmd": ["/x"], "Labels": { "a": 1 } }),
            "config.Labels",
        ),
        (
            json!({ "Cmd": ["/x"], "WorkingDir": [] }),
            "config.WorkingDir",
        ),
    ] {
        let bench = with(parameters);
        let run = bundle(&bench, &[]);
        run.fails(
            3,
            &[
                "the config cannot be read",
                &format!("{member}: invalid type"),
            ],
        );
        assert!(!run.stderr.contains('\u{1b}'), "{run:?}");
    }
    let bench = image(
        vec![base()],
        json!({ "Cmd": ["/x"] }),
        json!({ "author": 1 }),
    );
    bundle(&bench, &[]).fails(3, &["author: invalid type"]);
}

/// The one empty string takes away the entrypoint of the image below; others are arguments.
#[test]
fn an_entrypoint_of_one_empty_string_is_none() {
    for (entrypoint, command, expected) in [
        (json!([""]), json!(["/bin/sh"]), json!(["/bin/sh"])),
        (
            json!(["/x", ""]),
            json!(["", "a"]),
            json!(["/x", "", "", "a"]),
        ),
        (json!([]), json!(["/x", ""]), json!(["/x", ""])),
    ] {
        let bench = with(json!({ "Entrypoint": entrypoint, "Cmd": command }));
        assert_eq!(config(&bench, &[])["process"]["args"], expected);
    }
    for nothing in [
        json!({}),
        json!({ "Entrypoint": [""] }),
        json!({ "Entrypoint": ["", ""], "Cmd": ["/x"] }),
        json!({ "Cmd": ["", "x"] }),
    ] {
        let run = bundle(&with(nothing), &[]);
        run.fails(1, &["no command"]);
        assert!(run.hint().contains("-- COMMAND"));
    }
}

/// A runtime could not make it in a read-only root, and would leave it among the changes of another.
#[test]
fn a_working_directory_that_the_image_lacks_is_made() {
    let layer = || base().symlink("link", "/opt").symlink("up", "../..");
    for (directory, place) in [
        ("/home/cdi", Some("home/cdi")),
        ("home//cdi/", Some("home/cdi")),
        ("/link/x", Some("opt/x")),
        ("/up/./x", Some("x")),
        ("/a/../b", Some("b")),
        ("/srv", None),
        ("/data/below/a/volume", None),
        ("", None),
    ] {
        let parameters =
            json!({ "Cmd": ["/x"], "WorkingDir": directory, "Volumes": { "/data": {} } });
        let bench = image(vec![layer()], parameters, json!({}));
        bundle(&bench, &[]).lines();
        let points = bench.path("box/mountpoints");
        let mut expected = vec!["data", "dev", "sys"];
        expected.extend(place.map(|place| place.split('/').next().unwrap()));
        expected.sort_unstable();
        assert_eq!(bench.names(&points), expected, "{directory}");
        assert!(place.is_none_or(|place| points.join(place).is_dir()));
    }
}

#[test]
fn a_working_directory_that_is_none_or_the_runtime_s_is_refused() {
    let layer = || base().symlink("link", "/proc/self").symlink("loop", "loop");
    for (directory, why) in [
        ("/proc/self/fd/7", "runtime's"),
        ("/sys", "runtime's"),
        ("dev/shm/x", "runtime's"),
        ("/link/fd/7", "runtime's"),
        ("/srv/../proc", "runtime's"),
        ("/etc/passwd", "not a directory"),
        ("/etc/passwd/x", "not a directory"),
        ("/loop/x", "loop"),
    ] {
        let parameters = json!({ "Cmd": ["/x"], "WorkingDir": directory });
        let bench = image(vec![layer()], parameters, json!({}));
        bundle(&bench, &[]).fails(3, &[directory, why]);
        assert!(!bench.path("box").exists(), "{directory}");
    }
}

/// The mount points that the image lacks, and nothing else; what leads to them looks as in the image.
#[test]
fn mount_points_that_the_image_lacks_are_in_a_directory_of_their_own() {
    use std::os::unix::fs::PermissionsExt;
    let bench = with(json!({ "Cmd": ["/x"], "Volumes": { "/srv/data": {} } }));
    let run = bundle(&bench, &["--json"]);
    let result: Value = serde_json::from_str(run.lines()[0]).unwrap();
    assert_eq!(
        result["lowerdirs"], 3,
        "the layer, an empty one, and the mount points"
    );
    let points = bench.path("box/mountpoints");
    assert_eq!(bench.names(&points), ["dev", "srv", "sys"]);
    assert_eq!(bench.names(&points.join("srv")), ["data"]);
    let mode = points.join("srv").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o750);
    let options = &result["config"]["mounts"][0]["options"];
    let lowerdir = options[1].as_str().unwrap();
    let real = bench
        .path("")
        .canonicalize()
        .unwrap()
        .join("box/mountpoints");
    assert!(
        lowerdir.starts_with(&format!("lowerdir={}:", real.display())),
        "{lowerdir}"
    );

    let whole = base().dir("dev", 0o755).dir("sys", 0o755);
    let bench = image(vec![whole], json!({ "Cmd": ["/x"] }), json!({}));
    bundle(&bench, &[]).lines();
    assert_eq!(bench.names(&bench.path("box")), ["config.json", "rootfs"]);
}

/// Rule X1: else the directory of mount points would hide what the image has there.
#[test]
fn what_leads_to_a_mount_point_keeps_xattrs_that_look_like_marks_escaped() {
    let meta = Meta::new(0o755).xattr("user.overlay.opaque", "y");
    let layer = base().dir("data", meta).file("data/f", 0o644, "");
    let volumes = json!({ "Cmd": ["/x"], "Volumes": { "/data/volume": {} } });
    let bench = image(vec![layer], volumes, json!({}));
    bundle(&bench, &[]).lines();
    let data = bench.path("box/mountpoints/data");
    let xattr = |name: &str| xattr::get(&data, name).unwrap();
    assert_eq!(xattr("user.overlay.opaque"), None);
    assert_eq!(xattr("user.overlay.overlay.opaque").unwrap(), b"y");
}

#[test]
fn the_overlay_is_the_first_mount_or_is_printed() {
    let bench = with(json!({ "Cmd": ["/x"] }));
    let read_only = config(&bench, &[]);
    assert_eq!(
        read_only["root"],
        json!({ "path": "rootfs", "readonly": true })
    );
    assert_eq!(read_only["mounts"][0]["destination"], "/");
    assert_eq!(read_only["mounts"][0]["options"][0], "ro");
    assert_eq!(read_only["mounts"][1]["destination"], "/proc");

    let (upper, work) = (bench.path("u"), bench.path("w"));
    let (upper, work) = (upper.to_str().unwrap(), work.to_str().unwrap());
    let changes = config(&bench, &["--upper", upper, "--work", work]);
    assert_eq!(changes["root"]["readonly"], false);
    let options = changes["mounts"][0]["options"].to_string();
    assert!(options.contains(&format!("upperdir={upper}")), "{options}");

    let memory = config(&bench, &["--tmpfs=10m"]);
    let options = json!(["mode=0755", "size=10m", "tmpcopyup"]);
    assert_eq!(memory["mounts"][0]["options"], options);
    assert_eq!(memory["mounts"][1]["type"], "overlay");

    for (form, words) in [
        ("cmd", ["mount -t overlay", "/box/rootfs"]),
        ("fstab", ["lowerdir /", "/box/rootfs overlay ro,"]),
        ("systemd", ["[Mount]", "/box/rootfs\n"]),
    ] {
        let run = bundle(&bench, &[&*format!("--overlay={form}")]);
        run.lines();
        for word in words {
            assert!(run.stdout.contains(word), "{form}: {}", run.stdout);
        }
        let config = fs::read_to_string(bench.path("box/config.json")).unwrap();
        assert!(!config.contains("overlay"), "{form}");
        fs::remove_dir_all(bench.path("box")).unwrap();
    }
}

/// The layers' names are longer than the one page that a runtime's mount(2) takes.
#[test]
fn many_layers_go_by_short_names() {
    let layers = (0..60).map(|number| LayerBuilder::new().file(format!("f{number}"), 0o644, ""));
    let bench = image(layers.collect(), json!({ "Cmd": ["/x"] }), json!({}));
    let config = config(&bench, &[]);
    let options = config["mounts"][0]["options"].as_array().unwrap();
    let text: Vec<&str> = options
        .iter()
        .map(|option| option.as_str().unwrap())
        .collect();
    let lowerdir = text[1].strip_prefix("lowerdir=").unwrap();
    let names: Vec<&str> = lowerdir.split(':').collect();
    assert_eq!(names.len(), 61);
    assert!(text.join(",").len() < 4096);
    let target = fs::read_link(names[0]).expect("a short name");
    assert!(target.ends_with("box/mountpoints"), "{target:?}");
    // A name is kept for as long as what it stands for.
    fs::create_dir_all(bench.path("box/mountpoints")).unwrap();
    bench.on_store(&["prune"]).lines();
    assert!(names.iter().all(|name| fs::read_link(name).is_ok()));
    fs::remove_dir_all(bench.path("box")).unwrap();
    bench.on_store(&["prune"]).lines();
    let left = names.iter().map(|name| fs::read_link(name).is_ok());
    let expected = (0..61).map(|number| number > 0);
    assert_eq!(left.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[test]
fn a_failure_leaves_nothing() {
    let bench = with(json!({ "Cmd": ["/x"] }));
    fs::create_dir(bench.path("box")).unwrap();
    bundle(&bench, &["--quiet"]).lines();
    bundle(&bench, &[]).fails(1, &["box is not empty"]);
    fs::remove_dir_all(bench.path("box")).unwrap();

    let before = bench.names(&bench.path(""));
    // `w` cannot be made, so `u` goes too.
    bundle(&bench, &["--upper", "u", "--work", "no/w"]).fails(1, &["no/w"]);
    bundle(&bench, &["--tmpfs", "--overlay=fstab"]).fails(1, &["--tmpfs"]);
    let bad = bench.on_store(&["bundle", "oci:image", "no/box"]);
    bad.fails(1, &["no"]);
    assert!(bad.hint().contains("make the directory"));
    assert_eq!(bench.names(&bench.path("")), before);

    let store = bench.path("other");
    let run = bench.run(&[
        "--store",
        store.to_str().unwrap(),
        "bundle",
        "oci:image",
        "box",
    ]);
    run.fails(1, &["there is no store at"]);
    assert!(!bench.path("box").exists());
}

/// What `runc spec --rootless` leaves out, and the caller as the only user.
#[test]
fn a_rootless_bundle_has_the_caller_alone() {
    let parameters = json!({ "Cmd": ["/x"], "Volumes": { "/srv": {} } });
    let bench = image(vec![base()], parameters, json!({}));
    let config = config(&bench, &["--rootless"]);
    let linux = &config["linux"];
    let mapping = |id: u32| json!([{ "containerID": 0, "hostID": id, "size": 1 }]);
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    assert_eq!(linux["uidMappings"], mapping(uid.as_raw()));
    assert_eq!(linux["gidMappings"], mapping(gid.as_raw()));
    let kinds: Vec<&Value> = linux["namespaces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|namespace| &namespace["type"])
        .collect();
    assert!(kinds.contains(&&"user".into()) && !kinds.contains(&&"network".into()));
    assert!(linux["resources"].is_null());
    for mount in config["mounts"].as_array().unwrap() {
        let text = mount.to_string();
        assert!(!text.contains("gid=") && !text.contains("uid="), "{text}");
        assert_ne!(mount["type"], "cgroup");
    }
    let user = &config["process"]["user"];
    assert_eq!(
        user,
        &json!({ "uid": 0, "gid": 0 }),
        "root's further groups are not there"
    );

    let bench = with(json!({ "Cmd": ["/x"], "User": "web" }));
    let run = bundle(&bench, &["--rootless"]);
    run.fails(1, &["33:34", "user namespace"]);
    assert!(run.hint().contains("the only user is root"));
}

#[test]
fn options_for_user_namespaces_that_contradict_each_other_are_refused() {
    let bench = with(json!({ "Cmd": ["/x"] }));
    let unpack = |options: &[&str]| bench.on_store(&[&["unpack", "oci:image"], options].concat());
    for options in [
        &["--rootless", "--userxattr"][..],
        &["--rootless", "--whiteout=xattr"],
        &["--uid-map=0:0"],
        &["--uid-map=0:0:0"],
        &["--gid-map=4294967295:0:1"],
    ] {
        assert_eq!(unpack(options).status, 2, "{options:?}");
    }
    unpack(&["--uid-map=0:0:9", "--owners=caller"]).fails(2, &["--owners=caller"]);
    unpack(&["--uid-map=0:0:9", "--uid-map=8:100:1"]).fails(2, &["0:0:9", "8:100:1", "overlap"]);
    let mount =
        |options: &[&str]| bench.on_store(&[&["mount", "oci:image", "/"], options].concat());
    for options in [
        &["--idmap"][..],
        &["--uid-map=0:0:1"],
        &["--idmap", "--uid-map=0:0:1", "--print=cmd"],
    ] {
        assert_eq!(mount(options).status, 2, "{options:?}");
    }
}

/// Without root there is no mount that stays: a script mounts the layers and runs the runtime.
#[test]
fn a_rootless_bundle_has_a_script_that_mounts_the_layers() {
    use std::os::unix::fs::PermissionsExt;
    let bench = with(json!({ "Cmd": ["/x"] }));
    let make = |options: &[&str]| {
        let fixed = ["bundle", "oci:image", "a box", "--rootless", "--sync=none"];
        bench.on_store(&[&fixed[..], options].concat())
    };
    let run = make(&["--upper", "u", "--work", "w"]);
    assert_eq!(run.status, 0, "{run:?}");
    let place = bench.path("").canonicalize().unwrap();
    let script = place.join("a box/with-rootfs");
    let shown = "run it with: 'a box/with-rootfs' runc run --bundle 'a box' NAME\n";
    assert!(run.stderr.contains(shown), "{run:?}");
    let mode = script.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
    let text = fs::read_to_string(&script).unwrap();
    assert!(
        text.contains("unshare --user --map-root-user --mount sh"),
        "{text}"
    );
    let config = fs::read(place.join("a box/config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    // The runtime is root of the user namespace of the mount.
    let mapping = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
    assert_eq!(config["linux"]["uidMappings"], mapping);
    assert_eq!(config["mounts"][0]["destination"], "/proc");
    let status = |arguments: &[&str]| {
        let mut command = std::process::Command::new(&script);
        command.args(arguments).output().unwrap().status.code()
    };
    assert_eq!(status(&[]), Some(2));
    fs::remove_dir_all(place.join("a box")).unwrap();

    let run = make(&["--json", "--quiet"]);
    let result: Value = serde_json::from_str(run.lines()[0]).unwrap();
    assert_eq!(result["script"], script.to_str().unwrap());
    assert_eq!(result["mount"], Value::Null);
    fs::remove_dir_all(place.join("a box")).unwrap();
    let run = make(&["--overlay=config", "--json"]);
    let result: Value = serde_json::from_str(run.lines()[0]).unwrap();
    assert_eq!(result["script"], Value::Null);
}
