//! Names of images as containers/storage has them: with a host and a tag.

use lowerdir::engines::export::containers_storage::ImageName;

#[test]
fn a_name_gets_a_host_and_a_tag() {
    for (text, name) in [
        ("busybox", "localhost/busybox:latest"),
        ("3.20", "localhost/3.20:latest"),
        ("team/tool:v1.2-A", "localhost/team/tool:v1.2-A"),
        ("docker.io/alpine", "docker.io/library/alpine:latest"),
        ("docker.io/team/tool:1", "docker.io/team/tool:1"),
        ("localhost/a__b--c.d_e:_", "localhost/a__b--c.d_e:_"),
        ("host:5000/a/b", "host:5000/a/b:latest"),
    ] {
        let parsed = ImageName::parse(text).map(|name| name.to_string());
        assert_eq!(parsed.ok().as_deref(), Some(name), "{text}");
    }
}

/// A list with one of them in it would be of no use to anybody.
#[test]
fn what_is_no_name_is_refused() {
    let long = "a".repeat(256);
    let long_tag = format!("a:{}", "b".repeat(129));
    for text in [
        "",
        ":",
        "a:",
        "/a",
        "a/",
        "a//b",
        "A",
        "a/B:1",
        "-a",
        "a-",
        "a..b",
        "a___b",
        "a._b",
        "a b",
        "ä",
        "a@sha256:00",
        "a:b c",
        "a:.b",
        "host:/a",
        "host:x/a",
        "-.x/a:1",
        "a\n",
        &long,
        &long_tag,
    ] {
        assert!(ImageName::parse(text).is_err(), "{text:?}");
    }
}
