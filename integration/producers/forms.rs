//! What buildah and podman make of one image: layouts and archives, compressed in their ways.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::image::{Image, NAME, NAMES};
use super::workshop::{Input, Workshop, lowerdir};

/// Whether a file, or one below a directory, has this text in it.
pub fn mentions(path: &Path, text: &str) -> bool {
    if path.is_dir() {
        let entries = fs::read_dir(path).expect("a directory");
        return entries
            .map(|entry| entry.expect("an entry").path())
            .any(|path| mentions(&path, text));
    }
    let bytes = fs::read(path).expect("a file");
    bytes
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

#[test]
fn what_buildah_pushes_mounts_as_its_container() {
    let Some(shop) = Workshop::open(&["buildah"]) else {
        return;
    };
    let image = Image::build(&shop);
    for format in ["gzip", "zstd"] {
        for transport in ["oci", "oci-archive"] {
            let file = format!("{transport}-{format}");
            let reference = shop.reference(transport, &file);
            let push = ["buildah", "push", "--quiet", "--compression-format", format];
            let to = format!("{reference}:tag");
            shop.run(&[&push[..], &[NAME, to.as_str()]].concat());
            let media_type = format!("layer.v1.tar+{format}");
            assert!(mentions(&shop.path(&file), &media_type), "{file}");
            let bare = shop.path(&file).display().to_string();
            for reference in [&to, &reference, &bare] {
                image.is(&shop, reference, Input::None);
            }
        }
    }
}

#[test]
fn docker_archive_of_buildah_mounts_as_its_container() {
    let Some(shop) = Workshop::open(&["buildah"]) else {
        return;
    };
    let image = Image::build(&shop);
    let reference = shop.reference("docker-archive", "archive.tar");
    let to = format!("{reference}:example.com/other:name");
    shop.run(&["buildah", "push", "--quiet", NAME, &to]);
    let bare = shop.path("archive.tar").display().to_string();
    for reference in [&to, &reference, &bare] {
        image.is(&shop, reference, Input::None);
    }
}

#[test]
fn what_podman_saves_mounts_as_the_container() {
    let Some(shop) = Workshop::open(&["buildah", "podman"]) else {
        return;
    };
    let image = Image::build(&shop);
    for (format, transport, option) in [
        ("docker-archive", "docker-archive", None),
        ("oci-archive", "oci-archive", None),
        ("oci-archive", "oci-archive", Some("--uncompressed")),
        ("oci-dir", "oci", None),
        ("oci-dir", "oci", Some("--uncompressed")),
    ] {
        let file = format!("{format}{}", option.unwrap_or_default());
        let path = shop.path(&file).display().to_string();
        let save = [
            "podman", "save", "--quiet", "--format", format, "--output", &path,
        ];
        let options: Vec<&str> = option.into_iter().collect();
        shop.run(&[&save[..], &options, &[NAME]].concat());
        let is_plain = !mentions(&shop.path(&file), "layer.v1.tar+gzip");
        assert_eq!(
            is_plain,
            transport == "docker-archive" || option.is_some(),
            "{file}"
        );
        for reference in [&shop.reference(transport, &file), &path] {
            image.is(&shop, reference, Input::None);
        }
    }
}

#[test]
fn archive_of_several_images_is_read_by_name() {
    let Some(shop) = Workshop::open(&["buildah", "podman"]) else {
        return;
    };
    let image = Image::build(&shop);
    let path = shop.path("several.tar").display().to_string();
    let save = ["podman", "save", "--quiet", "--multi-image-archive"];
    shop.run(&[&save[..], &["--output", &path, NAMES[1], NAME]].concat());
    let store = shop.path("store").display().to_string();
    for reference in [format!("docker-archive:{path}"), path.clone()] {
        let run = lowerdir(&["--store", &store, "unpack", &reference], Input::None);
        let complaint = run.complaint("a reference without a name");
        assert!(matches!(run.status, 1 | 3), "{complaint}");
        for name in [NAMES[1], NAME] {
            assert!(complaint.contains(name), "{complaint}");
        }
    }
    image.is_after(
        2,
        &shop,
        &format!("docker-archive:{path}:{}", NAMES[1]),
        Input::None,
    );
    image.is(&shop, &format!("docker-archive:{path}:{NAME}"), Input::None);
    image.is(&shop, &format!("{path}:{NAME}"), Input::None);
}

#[test]
fn archive_that_is_compressed_or_piped_is_the_same_image() {
    let Some(shop) = Workshop::open(&["buildah", "gzip", "xz", "zstd"]) else {
        return;
    };
    let image = Image::build(&shop);
    for transport in ["docker-archive", "oci-archive"] {
        let to = shop.reference(transport, transport);
        shop.run(&["buildah", "push", "--quiet", NAME, &format!("{to}:{NAME}")]);
        let plain = shop.path(transport);
        let mut archives = vec![plain.clone()];
        for (program, suffix) in [("gzip", "gz"), ("xz", "xz"), ("zstd", "zst")] {
            let output = Command::new(program).arg("-c").arg(&plain).output();
            let output = output.expect("it was there before");
            assert!(output.status.success(), "{output:?}");
            let file = plain.with_extension(suffix);
            fs::write(&file, output.stdout).expect("an archive");
            archives.push(file);
        }
        for file in archives {
            let path = file.display();
            image.is(&shop, &format!("{path}"), Input::None);
            image.is(&shop, &format!("{transport}:{path}:{NAME}"), Input::None);
            image.is(&shop, "-", Input::File(&file));
            image.is(&shop, "-", Input::Pipe(&file));
            image.is(&shop, &format!("{transport}:-:{NAME}"), Input::Pipe(&file));
        }
    }
}
