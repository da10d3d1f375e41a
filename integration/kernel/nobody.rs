//! What `--userxattr` relies on: an unprivileged user may write that dialect.

use super::*;

const NOBODY: u32 = 65534;

#[test]
fn nobody_may_make_whiteouts_and_user_xattrs_and_no_other_devices_and_trusted_ones() {
    let site = Site::new();
    let layer = site.layer("layer", "");
    chown(&layer.0, Some(NOBODY), Some(NOBODY)).expect("chown");
    let (whiteout, null) = (layer.0.join("gone"), layer.0.join("null"));
    let made = as_nobody(move || {
        let mark = |dialect: Dialect| xattr::set(&layer.0, dialect.key("opaque"), b"y").is_ok();
        let device = mknodat(CWD, &null, FileType::CharacterDevice, Mode::empty(), 0x103);
        (mknod_whiteout(&whiteout), device, mark(User), mark(Trusted))
    });
    kernel_says!(made, (Ok(()), Err(Errno::PERM), true, false));
    let stat = fs::symlink_metadata(site.0.path().join("layer/gone")).expect("stat");
    kernel_says!((stat.file_type().is_char_device(), stat.rdev()), (true, 0));
}

/// Runs `work` on a thread that has given up root: on Linux, identity belongs to the thread.
fn as_nobody<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(|| {
        let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        set_thread_groups(&[]).expect("setgroups");
        set_thread_res_gid(gid, gid, gid).expect("setresgid");
        set_thread_res_uid(uid, uid, uid).expect("setresuid");
        work()
    });
    thread.join().expect("the thread's own assertions hold")
}
