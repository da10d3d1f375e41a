//! From one layer to five hundred, and one more.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use lowerdir::options::Dialect;
use lowerdir::{Kind, Stack};

use super::seccomp::Kernel;
use super::{Unpacked, os};
use crate::scratch::Scratch;

fn method(output: &std::process::Output) -> String {
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    value["method"].as_str().expect("a method").to_string()
}

#[test]
fn stacks_of_every_depth_list_exactly_on_every_kernel() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    for layers in [1, 2, 130, 500] {
        let image = Unpacked::new(&scratch, os("store"), layers);
        image.is_at(&image.mounted(Kernel::AsItIs, &[]).0);
        for kernel in Kernel::CLASSIC {
            image.is_at(&image.mounted(kernel, &[]).0);
        }
    }
}

#[test]
fn the_way_it_was_mounted_is_told() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    let expected = [(Kernel::AsItIs, "fsopen")].into_iter();
    for (kernel, expected) in expected.chain(Kernel::CLASSIC.map(|kernel| (kernel, "mount"))) {
        let target = crate::scratch::Mounted::nothing(image.site.path());
        let output = image.mount(kernel, &target.0, &[os("--json")]);
        assert_eq!(method(&output), expected, "{kernel:?}");
    }
}

/// `unpack` refuses such an image (`tests/cli/image_as_layer.rs`), but directories may come from
/// elsewhere.
#[test]
fn five_hundred_and_one_directories_are_told_to_be_too_many() {
    let directories = |count: usize| (0..count).map(|number| number.to_string().into());
    let stack = |count| {
        Stack::new(
            directories(count).collect(),
            Default::default(),
            Dialect::default(),
        )
    };
    assert!(stack(500).is_ok());
    let error = stack(501).expect_err("the kernel takes 500");
    assert_eq!(error.kind(), Kind::Limit);
    assert!(error.to_string().contains("501 layers"), "{error}");
    assert!(error.advice().is_some());
}

#[test]
fn any_bytes_may_be_in_the_names() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let names: [&[u8]; 8] = [
        b"a:b",
        b"a,b",
        b"a\\b",
        b"a b",
        b"a'\"b",
        b"a\nb",
        b"a%=b",
        b"\xff\x80",
    ];
    let long = [b'l'; 250];
    for name in names.into_iter().chain([&long[..]]) {
        let store = OsStr::from_bytes(name);
        let image = Unpacked::new(&scratch, store, 3);
        let upper = image.site.path().join("upper").join(store);
        let work = image.site.path().join("work").join(store);
        for kernel in [Kernel::AsItIs, Kernel::WithoutFsopen] {
            image.is_at(&image.mounted(kernel, &[]).0);
            for directory in [&upper, &work] {
                let _ = std::fs::remove_dir_all(directory);
                std::fs::create_dir_all(directory.parent().unwrap()).unwrap();
            }
            let options = [
                os("--upper"),
                upper.as_os_str(),
                os("--work"),
                work.as_os_str(),
            ];
            let target = image.mounted(kernel, &options);
            image.is_at(&target.0);
            std::fs::write(target.0.join("new"), "").unwrap();
            assert!(upper.join("new").exists());
        }
    }
}
