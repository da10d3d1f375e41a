//! `process` in `config.json`: command, user, working directory and environment.

use serde_json::{Value, json};

use crate::error::{Advice, Error, Result};
use crate::path::display;

use super::BundleOptions;
use super::execution::Execution;
use super::inside::{Inside, Lookup};
use super::namespace::ContainerNamespace;
use super::user::{self, User};
use super::volumes;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The capabilities that Docker and Podman give to a process that is root only inside its container.
const CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

pub fn of(
    execution: &Execution,
    inside: &Inside,
    wanted: &BundleOptions<'_>,
    namespace: Option<&ContainerNamespace>,
) -> Result<Value> {
    let mut user = user::of(&execution.config.user, inside)?;
    if let Some(namespace) = namespace {
        namespace.admit(&mut user)?;
    }
    let mut ids = json!({ "uid": user.uid, "gid": user.gid });
    if !user.groups.is_empty() {
        ids["additionalGids"] = user.groups.clone().into();
    }
    Ok(json!({
        "terminal": wanted.terminal,
        "user": ids,
        "args": arguments(execution, wanted.command)?,
        "env": environment(execution, &user, wanted.terminal)?,
        "cwd": working_directory(execution, inside)?,
        "capabilities": {
            "bounding": CAPABILITIES,
            "effective": CAPABILITIES,
            "permitted": CAPABILITIES,
        },
        "noNewPrivileges": true,
    }))
}

fn arguments(execution: &Execution, command: &[String]) -> Result<Vec<String>> {
    let parameters = &execution.config;
    let rest = match command.is_empty() {
        true => &parameters.cmd[..],
        false => command,
    };
    let entrypoint = match &parameters.entrypoint[..] {
        // Images remove their base's entrypoint this way: Docker, containerd and Podman drop it.
        [only] if only.is_empty() => &[],
        all => all,
    };
    let arguments = [entrypoint, rest].concat();
    // No program has an empty name.
    if arguments.first().is_none_or(String::is_empty) {
        let hint = Advice::NameCommand;
        return Err(Error::not_found("the image has no command").hint(hint));
    }
    for argument in &arguments {
        check(argument, "an argument")?;
    }
    Ok(arguments)
}

/// The image's variables verbatim, followed by the defaults that it lacks.
fn environment(execution: &Execution, user: &User, terminal: bool) -> Result<Vec<String>> {
    let mut environment = execution.config.env.clone();
    for variable in &environment {
        check(variable, "a variable")?;
        if variable
            .split_once('=')
            .is_none_or(|(name, _)| name.is_empty())
        {
            let variable = display(variable.as_bytes());
            let text = format!("the config's Env has {variable}, which is not NAME=VALUE");
            return Err(Error::refused(text));
        }
    }
    let home = user
        .home
        .as_deref()
        .filter(|home| !home.is_empty())
        .unwrap_or(b"/");
    let home = std::str::from_utf8(home)
        .ok()
        .filter(|home| !home.contains('\0'));
    let home = home.ok_or_else(|| {
        let text = "the home directory of the user is not UTF-8, as config.json must be";
        Error::refused(text).at_entry("etc/passwd")
    })?;
    let mut defaults = vec![PATH.to_string(), format!("HOME={home}")];
    if terminal {
        defaults.push("TERM=xterm".into());
    }
    for default in defaults {
        let name = &default[..=default.find('=').expect("it has one")];
        if !environment
            .iter()
            .any(|variable| variable.starts_with(name))
        {
            environment.push(default);
        }
    }
    Ok(environment)
}

/// The working directory, absolute, as runtimes require. Errors: it is not a directory; it is in one that
/// the runtime mounts, which once led a runtime out of the container (CVE-2024-21626).
fn working_directory(execution: &Execution, inside: &Inside) -> Result<String> {
    let directory = &execution.config.working_dir;
    check(directory, "the working directory")?;
    let refuse = |why: &str| {
        let shown = display(directory.as_bytes());
        Err(Error::refused(why).at_entry(shown))
    };
    match inside.find_text(directory)? {
        Lookup::Leaf(..) => return refuse("the working directory is not a directory in the image"),
        Lookup::Directory(place) | Lookup::Absent(place) if volumes::is_the_runtimes(&place) => {
            return refuse("the working directory is in a directory that is the runtime's");
        }
        Lookup::Directory(_) | Lookup::Absent(_) => {}
    }
    Ok(match directory.starts_with('/') {
        true => directory.clone(),
        false => format!("/{directory}"),
    })
}

fn check(text: &str, what: &str) -> Result<()> {
    match text.contains('\0') {
        true => Err(Error::refused(format!(
            "{what} in the config has a NUL byte"
        ))),
        false => Ok(()),
    }
}
