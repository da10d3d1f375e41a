//! The helper process of `mount --idmap`: this program, started with a hidden argument that neither
//! help nor completions list.

/// The hidden argument.
pub const NAME: &str = "hold-user-namespace";

/// If the hidden argument is given, holds the namespace and returns the exit status.
pub fn run_if_asked() -> Option<u8> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != NAME || arguments.next().is_some() {
        return None;
    }
    // The parent process reports the failure.
    Some(u8::from(crate::mount::hold_user_namespace().is_err()))
}
