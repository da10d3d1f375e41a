//! `Words`: a mount as a shell command, a line for fstab(5), a unit for systemd.mount(5), or an entry of
//! an OCI runtime configuration. The command line prints them (`--print`), and
//! [`crate::engines::bundle`] writes them.
//!
//! All of these may end up in `mount(2)`, so the options must fit one page. If the layers' own names do
//! not fit, or would have to be escaped, the short names in the store are used. With util-linux 2.39 and
//! later they may also end up in `fsconfig(2)`, where an option has at most 255 bytes (util-linux issue
//! 2287). Therefore the shell command makes mount(8) prefer `mount(2)`, and files without a shell name
//! each layer in an option of its own, which needs Linux 6.7.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::error::{Advice, Error, Result};
pub use crate::escape::quoted;
use crate::ids::IdMaps;
use crate::store::Store;
use crate::store::stack::{self, PAGE, Stack};

use super::claim::Claim;
use super::options::MountOptions;
use super::{Directories, SOURCE, TMPFS_SOURCE, Upper};

/// The longest option of `fsconfig(2)`, in bytes.
const STRING_MAX: usize = 255;

/// A mount for another program to make.
pub struct Words<'a> {
    /// The stack to mount.
    pub stack: &'a Stack,
    /// The mount point, an absolute path.
    pub target: PathBuf,
    /// Where changes go.
    pub upper: &'a Upper,
    /// The other options of the mount.
    pub options: &'a MountOptions,
    /// The store in which short names for the layers may be made.
    pub store: &'a Store,
}

impl Words<'_> {
    /// A command for a POSIX shell. Errors: the layers' names do not fit one page, as in all of these
    /// ([`Kind::Limit`](crate::Kind::Limit)); the directories for changes cannot be used.
    pub fn command(&self) -> Result<Vec<u8>> {
        self.check_upper()?;
        let target = quoted(self.target.as_os_str());
        let mut steps = Vec::new();
        let directories = match self.upper {
            Upper::None => None,
            Upper::Directories { upperdir, workdir } => {
                Some((absolute(upperdir)?, absolute(workdir)?))
            }
            Upper::Tmpfs { size } => {
                let size = size.as_ref().map(|size| format!(",size={size}"));
                let options = OsString::from(format!("mode=0755{}", size.unwrap_or_default()));
                let options = quoted(&options);
                steps.push(
                    [
                        b"mount -t tmpfs -o ",
                        &*options,
                        b" ",
                        TMPFS_SOURCE.as_bytes(),
                        b" ",
                        &target,
                    ]
                    .concat(),
                );
                Some((self.target.join("upper"), self.target.join("work")))
            }
        };
        if let Some((upperdir, workdir)) = &directories {
            steps.extend(self.make(upperdir, workdir));
        }
        let (from, lowerdir) = self.short_enough(directories.as_ref())?;
        let options = quoted(&self.options(&lowerdir, directories.as_ref()));
        if let Some(from) = from {
            steps.push([b"cd ", &*quoted(from.as_os_str())].concat());
        }
        let source = SOURCE.as_bytes();
        if lowerdir.len() > STRING_MAX {
            steps.push(b"export LIBMOUNT_FORCE_MOUNT2=always".to_vec());
        }
        steps.push(
            [
                b"mount -t overlay -o ",
                &*options,
                b" ",
                source,
                b" ",
                &target,
            ]
            .concat(),
        );
        // A subshell leaves the user's working directory alone.
        let mut text = match steps.len() {
            1 => steps.remove(0),
            _ => [b"(", &*steps.join(&b" &&\n "[..]), b")"].concat(),
        };
        text.push(b'\n');
        Ok(text)
    }

    /// An entry for `mounts`: runtime-spec `config.md`, "Mounts". Errors: a path is not UTF-8; changes
    /// go to memory, which needs two mounts.
    pub fn entry(&self) -> Result<Value> {
        let options = self.options_for_files("json", false)?;
        let (Some(options), Some(target)) = (options.to_str(), self.target.to_str()) else {
            return Err(cannot("json", "a path is not UTF-8"));
        };
        // Overlayfs splits its options at commas.
        let options: Vec<&str> = options.split(',').collect();
        Ok(json!({
            "destination": target,
            "type": "overlay",
            "source": SOURCE,
            "options": options,
        }))
    }

    /// A line for fstab(5). Errors: also, changes go to memory.
    pub fn fstab(&self) -> Result<Vec<u8>> {
        let options = self.options_for_files("fstab", true)?;
        let target = octal(self.target.as_os_str());
        let source = SOURCE.as_bytes();
        Ok([
            source,
            b" ",
            &target,
            b" overlay ",
            &octal(&options),
            b" 0 0\n",
        ]
        .concat())
    }

    /// A unit, with the name that it must have: systemd.mount(5), systemd.unit(5). Errors: also, a path
    /// that a unit cannot express; changes go to memory.
    pub fn systemd(&self) -> Result<Vec<u8>> {
        let options = self.options_for_files("systemd", true)?;
        let name = unit_name(&self.target);
        let value = |text: &OsStr| -> Result<String> {
            match text.to_str() {
                // A carriage return ends a line too; other control characters are not allowed.
                Some(text)
                    if !text.contains(['\\', '"', '\'']) && !text.contains(char::is_control) =>
                {
                    Ok(text.replace('%', "%%"))
                }
                _ => Err(cannot(
                    "systemd",
                    "a path has quotes, backslashes, control characters or bytes that are not UTF-8",
                )),
            }
        };
        let (target, options) = (value(self.target.as_os_str())?, value(&options)?);
        let stores = self.store.each().map(|store| store.path().as_os_str());
        let stores = stores.map(|path| Ok(format!("\"{}\"", value(path)?)));
        let stores = stores.collect::<Result<Vec<String>>>()?.join(" ");
        let text = format!(
            "# {name}\n\
             [Unit]\n\
             Description=Container image on {target}\n\
             RequiresMountsFor={stores}\n\
             \n\
             [Mount]\n\
             What={SOURCE}\n\
             Where={target}\n\
             Type=overlay\n\
             Options={options}\n\
             \n\
             [Install]\n\
             WantedBy=multi-user.target\n"
        );
        Ok(text.into_bytes())
    }

    fn check_upper(&self) -> Result<()> {
        let Upper::Directories { upperdir, workdir } = self.upper else {
            return Ok(());
        };
        let claim = Claim {
            stack: self.stack,
            target: Some(&self.target),
            record: &super::record(self.stack, &IdMaps::default()),
        };
        claim.check_later(Directories { upperdir, workdir })
    }

    /// Prepares an absent or empty upperdir, as `lowerdir mount` does. The command itself tests whether it
    /// is empty, because it may run again when there are changes.
    fn make(&self, upperdir: &Path, workdir: &Path) -> Vec<Vec<u8>> {
        let (upper, work) = (quoted(upperdir.as_os_str()), quoted(workdir.as_os_str()));
        let mut steps = vec![[b"mkdir -p ", &*upper, b" ", &work].concat()];
        if let Some(top) = self.stack.directories().first() {
            let top = quoted(top.as_os_str());
            let like = |tool: &str| {
                let tool = tool.as_bytes();
                [tool, b" --reference=", &*top, b" ", &upper].concat()
            };
            let alike = ["chown", "chmod", "touch"].map(like).join(&b" &&\n "[..]);
            let has_changes = [b"[ -n \"$(ls -A ", &*upper, b")\" ]"].concat();
            steps.push([b"{ ", &*has_changes, b" || {\n ", &alike, b"; }; }"].concat());
        }
        steps
    }

    fn options(&self, lowerdir: &OsStr, directories: Option<&(PathBuf, PathBuf)>) -> OsString {
        let lowerdir = [b"lowerdir=", lowerdir.as_bytes()].concat();
        self.options_with(&lowerdir, directories)
    }

    /// All options, starting with those that name the layers.
    fn options_with(&self, layers: &[u8], directories: Option<&(PathBuf, PathBuf)>) -> OsString {
        let mut text = Vec::new();
        if self.options.is_read_only(self.upper) {
            text.extend_from_slice(b"ro,");
        }
        for word in self.options.flag_words() {
            text.extend_from_slice(word.as_bytes());
            text.push(b',');
        }
        text.extend_from_slice(layers);
        if let Some((upperdir, workdir)) = directories {
            for (key, path) in [("upperdir", upperdir), ("workdir", workdir)] {
                text.extend_from_slice(format!(",{key}=").as_bytes());
                text.extend_from_slice(stack::escaped(path.as_os_str()).as_bytes());
            }
        }
        if self.stack.needs_userxattr() {
            text.extend_from_slice(b",userxattr");
        }
        text.extend_from_slice(self.options.after_comma().as_bytes());
        OsString::from_vec(text)
    }

    /// The layers' names, or short names and the directory that they are relative to.
    fn short_enough(
        &self,
        directories: Option<&(PathBuf, PathBuf)>,
    ) -> Result<(Option<PathBuf>, OsString)> {
        let long = self.stack.lowerdir();
        let is_plain = !long
            .as_bytes()
            .iter()
            .any(|byte| b"\\,\"' \n\t".contains(byte));
        if is_plain && self.options(&long, directories).len() < PAGE {
            return Ok((None, long));
        }
        let short = self.store.short_names(self.stack.directories())?;
        let names = OsString::from(short.names.join(":"));
        match self.options(&names, directories).len() < PAGE {
            true => Ok((Some(short.directory), names)),
            false => Err(too_long()),
        }
    }

    /// The options for forms without a shell, which cannot create directories or change to one. OCI
    /// runtimes call `mount(2)` themselves.
    fn options_for_files(&self, form: &str, by_mount_8: bool) -> Result<OsString> {
        self.check_upper()?;
        let directories = match self.upper {
            Upper::None => None,
            Upper::Directories { upperdir, workdir } => {
                Some((absolute(upperdir)?, absolute(workdir)?))
            }
            Upper::Tmpfs { .. } => return Err(cannot(form, "--tmpfs takes two mounts")),
        };
        let (from, lowerdir) = self.short_enough(directories.as_ref())?;
        let lowerdir = match from {
            None => lowerdir,
            Some(from) => below(&from, &lowerdir),
        };
        let mut options = self.options(&lowerdir, directories.as_ref());
        if by_mount_8 && lowerdir.len() > STRING_MAX && has_lowerdir_plus() {
            if lowerdir.as_bytes().contains(&b'\\') {
                return Err(cannot(
                    form,
                    "the store's path has a comma, a colon or a backslash",
                ));
            }
            let names = lowerdir.as_bytes().split(|&byte| byte == b':');
            let each: Vec<Vec<u8>> = names.map(|name| [b"lowerdir+=", name].concat()).collect();
            options = self.options_with(&each.join(&b','), directories.as_ref());
        }
        match options.len() < PAGE {
            true => Ok(options),
            false => Err(too_long()),
        }
    }
}

/// Names, joined by colons, as paths below a directory.
fn below(from: &Path, names: &OsStr) -> OsString {
    let names: Vec<OsString> = names
        .as_bytes()
        .split(|&byte| byte == b':')
        .map(|name| stack::escaped(from.join(OsStr::from_bytes(name)).as_os_str()))
        .collect();
    names.join(OsStr::new(":"))
}

/// Whether the running kernel is 6.7 or later.
fn has_lowerdir_plus() -> bool {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next()?.parse::<u32>().ok();
    (number(), number()) >= (Some(6), Some(7))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path)
        .map_err(|error| Error::system(format!("looking at {}", path.display()), error))
}

fn cannot(form: &str, why: &str) -> Error {
    Error::unsupported(format!("--print={form} cannot express this mount: {why}"))
        .hint(Advice::PrintCommand)
}

fn too_long() -> Error {
    Error::limit("the layers' names are longer than one page, the limit of mount(2)")
        .hint(Advice::MountInstead)
}

/// Escaped as a field of fstab(5).
fn octal(field: &OsStr) -> Vec<u8> {
    let mut text = Vec::new();
    for &byte in field.as_bytes() {
        match byte {
            b' ' | b'\\' | b'#' => text.extend(format!("\\{byte:03o}").bytes()),
            _ if byte.is_ascii_control() => text.extend(format!("\\{byte:03o}").bytes()),
            _ => text.push(byte),
        }
    }
    text
}

/// The name of the unit for a path, as `systemd-escape --path --suffix=mount` makes it.
fn unit_name(path: &Path) -> String {
    let path = path.as_os_str().as_bytes();
    let inner = path.trim_ascii_start();
    let inner: Vec<u8> = inner
        .iter()
        .copied()
        .skip_while(|&byte| byte == b'/')
        .collect();
    let mut name = String::new();
    for (index, &byte) in inner.iter().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if index == 0 => name.push_str("\\x2e"),
            b'.' | b':' | b'_' => name.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => name.push(char::from(byte)),
            _ => name.push_str(&format!("\\x{byte:02x}")),
        }
    }
    if name.is_empty() {
        name.push('-');
    }
    name + ".mount"
}
