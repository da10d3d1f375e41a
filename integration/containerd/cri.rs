//! gRPC calls: those of containerd's CRI service that Kubernetes makes, and those that containerd
//! makes of a plugin. curl speaks as much HTTP/2 as it takes.

use std::fs;
use std::process::Command;

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
    let method = format!("runtime.v1.ImageService/{method}");
    let answer = done(&mut request(
        node,
        "/run/containerd.sock",
        &method,
        &message,
    ));
    match status(&answer) {
        Some(0) => Ok(()),
        _ => Err(answer),
    }
}

/// A command that sends a message, and prints what comes before and after the answer.
pub fn request(node: &Node, socket: &str, method: &str, message: &[u8]) -> Command {
    let length = u32::try_from(message.len())
        .expect("it is short")
        .to_be_bytes();
    let file = node.path("request");
    fs::write(&file, [&[0], &length[..], message].concat()).expect("a file");
    let mut curl = node.inside("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--http2-prior-knowledge",
        "--output",
        "/dev/null",
    ])
    .args(["--unix-socket", socket, "--dump-header", "-"])
    .args([
        "--header",
        "content-type: application/grpc",
        "--header",
        "te: trailers",
    ])
    .args(["--data-binary", &format!("@{}", text(&file))])
    .arg(format!("http://localhost/{method}"));
    curl
}

/// The number that stands for how a call ended.
pub fn status(answer: &str) -> Option<u32> {
    let line = answer
        .lines()
        .find_map(|line| line.strip_prefix("grpc-status: "));
    line?.trim().parse().ok()
}

/// A field of number 1 that has a length.
fn field(bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).expect("it is short");
    assert!(length < 128, "one byte of length");
    [&[0x0a, length], bytes].concat()
}
