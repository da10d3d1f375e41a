//! Requests that meet: one looks at a snapshot that another removes.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use lowerdir::snapshotter::Code;

use crate::place::{Place, labels};

#[test]
fn usage_and_commit_of_a_snapshot_that_goes_say_so() {
    let place = Place::in_memory();
    let snapshotter = place.open();
    let is_over = AtomicBool::new(false);
    let missed = thread::scope(|scope| {
        let look = || {
            let mut missed = 0;
            while !is_over.load(Ordering::Relaxed) {
                let looked = snapshotter.usage("key").map(drop);
                let committed = snapshotter.commit("name", "key", labels([]));
                for failure in [looked, committed].into_iter().filter_map(Result::err) {
                    assert_eq!(failure.code, Code::NotFound, "{failure}");
                    missed += 1;
                }
                let _ = snapshotter.remove("name");
            }
            missed
        };
        let looking = scope.spawn(look);
        for _ in 0..100 {
            let mounts = snapshotter.prepare("key", None, labels([])).unwrap();
            for number in 0..20 {
                // It may be removed meanwhile.
                let _ = fs::create_dir_all(format!("{}/{number}/d", mounts[0].source));
            }
            let _ = snapshotter.remove("key");
        }
        is_over.store(true, Ordering::Relaxed);
        looking.join().unwrap()
    });
    assert!(missed > 0);
}
