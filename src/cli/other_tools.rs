//! What users of other tools type, and the command that does it here.
//!
//! [`super::parsing`] asks for verbs, [`super::image_args`] for references. Nothing is run.

use crate::error::Error;
use crate::mount;

/// A verb of Docker, Podman, skopeo, umoci or ctr, and what does that here. `{}` stands for its arguments.
const VERBS: &[(&[&str], &str)] = &[
    (&["unmount"], "`lowerdir umount {}`"),
    (
        &["list", "ps", "image", "image-list"],
        "`lowerdir images` lists the images in the store, `lowerdir ls IMAGE` the files of one",
    ),
    (&["rmi", "remove", "delete", "image-rm"], "`lowerdir rm {}`"),
    (
        &["info", "show", "stat"],
        "`lowerdir inspect {}`; `lowerdir images` lists the store",
    ),
    (&["history"], "`lowerdir inspect {}` shows the history"),
    (
        &["run", "create", "start", "exec"],
        "`lowerdir bundle IMAGE DIR -- COMMAND`, then `runc run --bundle DIR NAME`",
    ),
    (&["fetch", "copy"], "`lowerdir unpack docker://{}`"),
    (
        &["search"],
        "`podman search` or `skopeo list-tags` finds names in a registry",
    ),
    (&["push"], "`skopeo copy oci:DIR:TAG docker://NAME`"),
    (
        &["load", "import", "extract", "install", "add"],
        "`lowerdir unpack {}`",
    ),
    (
        &["save"],
        "`lowerdir flatten IMAGE oci:DIR:TAG` writes an image of one layer; the store keeps no archives",
    ),
    (
        &["login", "logout", "build", "commit"],
        "that is for Docker, Podman, Buildah or skopeo",
    ),
    (
        &["cat"],
        "`lowerdir mount IMAGE DIR` shows the files of an unpacked image",
    ),
    (&["tree"], "`lowerdir ls {}`"),
    (
        &["rename"],
        "`lowerdir tag {}` gives a name, and `lowerdir rm NAME` takes the old one away",
    ),
    (&["gc", "clean", "cleanup"], "`lowerdir prune`"),
    (&["check", "fsck"], "`lowerdir verify --all`"),
    (&["version"], "`lowerdir --version`"),
];

/// Prefixes of references that are not read here, and what helps. `{}` is what follows the prefix, and `{ref}` all of
/// it.
const REFERENCES: &[(&str, &str)] = &[
    #[cfg(not(feature = "registry"))]
    (
        "docker://",
        "fetch it first: `skopeo copy {ref} oci:image:latest`, and name oci:image:latest",
    ),
    (
        "docker-daemon:",
        "let Docker write it: `docker save {} | lowerdir unpack -`",
    ),
    (
        "containers-storage:",
        "let Podman write it: `podman save {} | lowerdir unpack -`",
    ),
    (
        "https://",
        "download it first: `curl -L -o image.tar {ref}`, and name image.tar; an image in a registry is named docker://NAME",
    ),
    (
        "http://",
        "download it first: `curl -L -o image.tar {ref}`, and name image.tar",
    ),
    (
        "ostree:",
        "convert it first: `skopeo copy {ref} oci:image:latest`, and name oci:image:latest",
    ),
    (
        "sif:",
        "convert it first: `skopeo copy {ref} oci:image:latest`, and name oci:image:latest",
    ),
    (
        "tarball:",
        "convert it first: `skopeo copy {ref} oci:image:latest`, and name oci:image:latest",
    ),
    ("docker-dir:", "it is named dir:{}"),
    ("oci-dir:", "it is named oci:{}"),
];

/// What to type instead of a verb of another tool.
pub fn verb(name: &str, arguments: &[String]) -> Option<String> {
    let (_, answer) = VERBS.iter().find(|(names, _)| names.contains(&name))?;
    let bare = |word: &String| quoted(word.strip_prefix("docker://").unwrap_or(word));
    let arguments = match arguments.is_empty() {
        true => "IMAGE".into(),
        false => arguments.iter().map(bare).collect::<Vec<_>>().join(" "),
    };
    Some(answer.replace("{}", &arguments))
}

/// Errors: it names an image in a place that is not read here; the hint is the command to type.
pub fn refuse_reference(text: &str) -> Result<(), Error> {
    let found = REFERENCES
        .iter()
        .find_map(|(prefix, answer)| Some((prefix, answer, text.strip_prefix(prefix)?)));
    let Some((prefix, answer, rest)) = found else {
        return Ok(());
    };
    let hint = answer
        .replace("{ref}", &quoted(text))
        .replace("{}", &quoted(rest));
    Err(Error::usage(format!("{text}: {prefix} is not read here")).hint(hint))
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    String::from_utf8_lossy(&mount::quoted(word.as_ref())).into_owned()
}
