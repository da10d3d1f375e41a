//! What `mount --idmap` starts: this program, with one word that no user needs, so that neither help
//! nor completions have it.

/// The word.
pub const NAME: &str = "hold-user-namespace";

/// Does that, and returns the exit status, if it is what was asked for.
pub fn run_if_asked() -> Option<u8> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != NAME || arguments.next().is_some() {
        return None;
    }
    // Whoever started it says what a lack of it means.
    Some(u8::from(crate::mount::hold_user_namespace().is_err()))
}
