//! Output for other programs: OCI runtime bundles ([`bundle`]), image stores for Podman and CRI-O, mount
//! stacks for systemd, and lists for composefs and mtree ([`export`]).

pub mod bundle;
pub mod export;
