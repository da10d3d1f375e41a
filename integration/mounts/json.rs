//! The JSON of what takes a mount, against `docs/json.md`; `tests/cli/json_reference.rs` has the rest.

use serde_json::Value;
use support::reference::Reference;

use super::*;

fn printed(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn mounting_says_what_is_documented() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let reference = Reference::read();
    let image = Unpacked::new(&scratch, os("store"), 2);
    let target = image.site.path().join("target");
    fs::create_dir(&target).expect("a directory");
    for options in [&[][..], &[os("--tmpfs")]] {
        let mount = [
            &[os("mount"), &*image.image, target.as_os_str(), os("--json")],
            options,
        ]
        .concat();
        let mounted = printed(&image.verb(&mount));
        reference.check("mount", &mounted);
        assert_eq!(mounted["read_only"], options.is_empty());
        fs::remove_dir_all(image.store.join("images")).expect("the images");
        let pruned = printed(&image.verb(&[os("prune"), os("--json")]));
        reference.check("prune", &pruned);
        assert_eq!(pruned["mounted"].as_array().map(Vec::len), Some(2));
        let unmounted = printed(&image.verb(&[os("umount"), target.as_os_str(), os("--json")]));
        reference.check("umount", &unmounted);
        let again = image.verb(&[os("unpack"), &*image.image, os("--sync=none"), os("--json")]);
        reference.check("unpack", &printed(&again));
    }
    let unseen = reference.unseen();
    let unseen: Vec<_> = unseen
        .iter()
        .filter(|[section, _, what]| ["mount", "umount"].contains(&&**section) && what != "bytes")
        .collect();
    assert!(unseen.is_empty(), "documented, but not printed: {unseen:?}");
}
