//! The translation rules that need neither a descriptor nor a system call: what a name in a layer
//! means ([`whiteout`]), where a path through symbolic links leads ([`way`]), and what a layer holds
//! ([`tree`]). `docs/rules.md` defines the rules by number.

pub mod lower;
pub mod own_directories;
pub mod report;
pub mod tree;
pub mod way;
pub mod whiteout;
