//! What skopeo makes of an image when it copies it from one form to another.

use super::forms::mentions;
use super::image::{Image, NAME};
use super::workshop::{Input, Workshop};

#[test]
fn what_skopeo_copies_mounts_as_the_container() {
    let Some(shop) = Workshop::open(&["buildah", "skopeo"]) else {
        return;
    };
    let image = Image::build(&shop);
    let first = format!("{}:it", shop.reference("oci", "first"));
    shop.run(&["buildah", "push", "--quiet", NAME, &first]);
    let copies: [(&str, &str, &[&str], &str); 8] = [
        (
            "oci-archive:a.tar:it",
            "first",
            &["--format=oci"],
            "tar+gzip",
        ),
        (
            "docker-archive:b.tar:example.com/b:v1",
            "a.tar",
            &["--format=v2s2"],
            "b:v1",
        ),
        ("oci:c:it", "b.tar", &["--format=oci"], "tar+gzip"),
        (
            "oci:v2s2:it",
            "first",
            &["--format=v2s2"],
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        ),
        (
            "oci:plain:it",
            "b.tar",
            &["--format=oci", "--dest-oci-accept-uncompressed-layers"],
            // What a compressed layer does not show.
            "etc/passwd\0",
        ),
        (
            "oci-archive:zstd.tar:it",
            "plain",
            &["--dest-compress", "--dest-compress-format=zstd"],
            "tar+zstd",
        ),
        (
            "docker-archive:nameless.tar",
            "plain",
            &[],
            "\"RepoTags\":[]",
        ),
        (
            "docker-archive:names.tar:example.com/first:v1",
            "c",
            &["--additional-tag=example.com/second:v2"],
            "second:v2",
        ),
    ];
    let mut made = vec![("first".to_owned(), first)];
    for (to, from, options, text) in copies {
        let (transport, rest) = to.split_once(':').expect("a transport");
        let file = rest.split(':').next().expect("a file").to_owned();
        let to = shop.reference(transport, rest);
        let from = &made
            .iter()
            .find(|(file, _)| file == from)
            .expect("made before")
            .1;
        let copy = ["skopeo", "copy", "--quiet"];
        shop.run(&[&copy[..], options, &[from, &to]].concat());
        assert!(mentions(&shop.path(&file), text), "{text} in {file}");
        image.is(&shop, &to, Input::None);
        image.is(
            &shop,
            shop.path(&file).to_str().expect("UTF-8"),
            Input::None,
        );
        made.push((file, to));
    }
    let second = shop.reference("docker-archive", "names.tar:example.com/second:v2");
    image.is(&shop, &second, Input::None);
}
