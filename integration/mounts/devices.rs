//! `--rootless` where no whiteout device can be made: xattrs are whiteouts then, and a store stays with
//! what it has.

use super::seccomp::Kernel;
use super::{Unpacked, os};
use crate::scratch::{Mounted, Scratch};

#[test]
fn rootless_takes_xattrs_as_whiteouts_where_devices_are_denied() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    for (kernel, spelling) in [(Kernel::AsItIs, "device"), (Kernel::DeniesDevices, "xattr")] {
        // It unpacks into a store that is not looked at here.
        let mut image = Unpacked::new(&scratch, os("plain"), 3);
        image.store = image.site.path().join("rootless");
        let reference = image.image.clone();
        let unpack = [
            os("unpack"),
            &reference,
            os("--rootless"),
            os("--sync=none"),
        ];
        let output = image.run(kernel, &unpack);
        assert!(output.status.success(), "{spelling}: {output:?}");
        let records = std::fs::read_dir(image.store.join("layers/sha256")).expect("layers");
        for layer in records {
            let record = layer.expect("a layer").path().join("layer.json");
            let record = std::fs::read(record).expect("a record");
            let record: serde_json::Value = serde_json::from_slice(&record).expect("JSON");
            let dialect = &record["options"]["dialect"];
            assert_eq!(dialect["whiteout"], spelling);
            assert_eq!(dialect["namespace"], "user");
        }
        let target = Mounted::nothing(image.site.path());
        let output = image.mount(Kernel::AsItIs, &target.0, &[]);
        assert!(output.status.success(), "{output:?}");
        image.is_at(&target.0);
    }
}
