//! Calls of containerd's CRI service, as Kubernetes makes them. curl speaks enough gRPC for that: a
//! message of one string in one message.

use std::fs;

use crate::node::{Node, done, text};

/// Pulls an image; says what went wrong.
pub fn pull(node: &Node, image: &str) -> Result<(), String> {
    call(node, "PullImage", image)
}

/// Removes an image, its snapshots and its content.
pub fn remove(node: &Node, image: &str) {
    call(node, "RemoveImage", image).expect("the image is removed");
}

/// `PullImageRequest` and `RemoveImageRequest` both begin with `ImageSpec image = 1`, and that one
/// with `string image = 1`.
fn call(node: &Node, method: &str, image: &str) -> Result<(), String> {
    let message = field(&field(image.as_bytes()));
    let length = u32::try_from(message.len())
        .expect("it is short")
        .to_be_bytes();
    let request = node.path("request");
    fs::write(&request, [&[0], &length[..], &message].concat()).expect("a file");
    let answer = done(
        node.inside("curl")
            .args([
                "--silent",
                "--show-error",
                "--http2-prior-knowledge",
                "--output",
                "/dev/null",
            ])
            .args([
                "--unix-socket",
                "/run/containerd.sock",
                "--dump-header",
                "-",
            ])
            .args([
                "--header",
                "content-type: application/grpc",
                "--header",
                "te: trailers",
            ])
            .args(["--data-binary", &format!("@{}", text(&request))])
            .arg(format!("http://localhost/runtime.v1.ImageService/{method}")),
    );
    match answer.lines().any(|line| line.trim() == "grpc-status: 0") {
        true => Ok(()),
        false => Err(answer),
    }
}

/// A field of number 1 that has a length.
fn field(bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).expect("it is short");
    assert!(length < 128, "one byte of length");
    [&[0x0a, length], bytes].concat()
}
