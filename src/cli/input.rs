//! Standard input, for verbs that read an archive from it.

use std::fs::File;
use std::io::IsTerminal;
use std::path::Path;

use crate::Error;
use crate::path::display;

/// Standard input. Errors: it is a terminal.
fn stdin() -> anyhow::Result<File> {
    refuse_terminal()?;
    Ok(File::from(rustix::io::dup(std::io::stdin())?))
}

/// Whether it is named like an image in a registry.
pub fn is_image(path: &Path) -> bool {
    path.as_os_str()
        .as_encoded_bytes()
        .starts_with(b"docker://")
}

/// Opens the archive of a layer; `-` is standard input. Errors: it is named like an image in a registry.
pub fn open_layer(path: &Path) -> anyhow::Result<File> {
    if path == Path::new("-") {
        return stdin();
    }
    let shown = display(path.as_os_str().as_encoded_bytes()).to_string();
    if is_image(path) {
        let text = format!("{shown} is an image, and this reads the archive of one layer");
        let hint =
            format!("`lowerdir pull {shown} oci:image:latest` puts its layers into image/blobs");
        return Err(Error::usage(text).hint(hint).into());
    }
    let opened = File::open(path);
    Ok(opened.map_err(|error| Error::system(format!("opening {shown}"), error))?)
}

/// Errors: standard input is a terminal.
pub fn refuse_terminal() -> crate::Result<()> {
    match std::io::stdin().is_terminal() {
        true => Err(Error::usage("`-` is standard input, and that is a terminal").hint(
            "pipe an archive into it, as in `docker save NAME | lowerdir unpack -`, or name a file",
        )),
        false => Ok(()),
    }
}
