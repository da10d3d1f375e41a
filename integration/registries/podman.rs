//! What Podman pushes, with layers compressed in either way, is read as the image that it was made of.

use std::process::Command;

use support::program::{self, Run};

use super::{Registry, Site};

/// Podman with a storage of its own.
fn podman(site: &Site) -> Command {
    let mut podman = program::other("podman");
    podman.current_dir(site.path(""));
    podman.args(["--root=storage", "--runroot=run", "--storage-driver=vfs"]);
    podman
}

#[test]
fn what_podman_pushes_is_the_image_that_it_got() {
    // One for each: Podman takes the compressed layers of the first push for the second.
    let (Some(one), Some(other)) = (Registry::plain(), Registry::plain()) else {
        return;
    };
    let site = Site::new();
    if let Err(error) = podman(&site).arg("--version").output() {
        return crate::skip(&format!("podman: {error}"));
    }
    let pulled = Run::of(podman(&site).args(["pull", "-q", "oci:layout:it"]));
    assert_eq!(pulled.status, 0, "{pulled:?}");
    let id = pulled.stdout.trim();
    let whole = site.run(&["ls", &site.layout()]);
    assert!(whole.stdout.contains("etc/motd"), "{whole:?}");
    for (registry, name, magic, options) in [
        (&one, "gzip", &[0x1f, 0x8b][..], &["--format=v2s2"][..]),
        (
            &other,
            "zstd",
            &[0x28, 0xb5, 0x2f, 0xfd],
            &["--format=oci", "--compression-format=zstd"],
        ),
    ] {
        let image = format!("docker://{}/it:1", registry.host());
        let mut push = podman(&site);
        push.args(["push", "-q", "--tls-verify=false"])
            .args(options);
        let run = Run::of(push.args([id, &image]));
        assert_eq!(run.status, 0, "{run:?}");
        let listed = site.run(&["ls", &image]);
        assert_eq!(listed.stdout, whole.stdout, "{name}: {listed:?}");
        let target = format!("oci:{}:1", site.path(name).display());
        let run = site.run(&["pull", &image, &target]);
        assert_eq!(run.status, 0, "{run:?}");
        let blobs = site.path(name).join("blobs/sha256");
        let blobs = blobs.read_dir().expect("blobs").flatten();
        let compressed = blobs.filter(|blob| {
            let bytes = std::fs::read(blob.path()).expect("a blob");
            bytes.starts_with(magic)
        });
        assert_eq!(compressed.count(), 2, "{name}");
        let copied = site.run(&["ls", &target]);
        assert_eq!(copied.stdout, whole.stdout, "{name}: {copied:?}");
    }
}
