//! What other programs run: OCI runtime bundles ([`bundle`]), the stores of Podman and CRI-O, mount
//! stacks of systemd, and lists for composefs and mtree ([`export`]).

pub mod bundle;
pub mod export;
