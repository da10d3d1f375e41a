//! Images made on the spot by those who make images: buildah, podman, skopeo and umoci.
//!
//! [`workshop`] lets Debian's programs work in a scratch directory; [`image`] builds one image of
//! four layers with buildah, and what its container shows then is what every form of that image
//! must mount as. [`handmade`] writes the archives of producers that Debian does not have.

mod forms;
mod handmade;
mod image;
mod readers;
mod skopeo;
mod umoci;
pub mod workshop;
