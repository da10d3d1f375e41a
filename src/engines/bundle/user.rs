//! `Config.User`: the user of the process, looked up in the image's own `/etc/passwd` and `/etc/group`.
//!
//! Source: image-spec `conversion.md`, "Config.User"; `passwd(5)`, `group(5)`. A number is used as it is;
//! a name must exist.

use crate::error::{Error, Result};
use crate::path::{self, EntryPath};

use super::inside::Inside;

/// The user of a process.
#[derive(Debug, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups, sorted.
    pub groups: Vec<u32>,
    /// From `/etc/passwd`, if it has the user.
    pub home: Option<Vec<u8>>,
}

/// A line of `/etc/passwd`.
struct Account<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
}

/// A line of `/etc/group`.
struct Group<'a> {
    name: &'a [u8],
    gid: u32,
    members: &'a [u8],
}

pub fn of(wanted: &str, inside: &Inside) -> Result<User> {
    let read =
        |path: &[u8]| Ok::<_, Error>(inside.read(&EntryPath::parse(path)?)?.unwrap_or_default());
    find(wanted, &read(b"etc/passwd")?, &read(b"etc/group")?)
}

fn find(wanted: &str, passwd: &[u8], group: &[u8]) -> Result<User> {
    let (user, own_group) = match wanted.split_once(':') {
        Some((user, group)) => (user, (!group.is_empty()).then_some(group)),
        None => (wanted, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number = number(user.as_bytes());
    let account = lines(passwd)
        .filter_map(account)
        .find(|account| match number {
            Some(uid) => account.uid == uid,
            None => account.name == user.as_bytes(),
        });
    let uid = match (number, &account) {
        (Some(uid), _) => uid,
        (None, Some(account)) => account.uid,
        (None, None) => return Err(unknown("user", user, "passwd")),
    };
    let mut found = User {
        uid,
        gid: account.as_ref().map_or(0, |account| account.gid),
        groups: Vec::new(),
        home: account.as_ref().map(|account| account.home.to_vec()),
    };
    match (own_group, account) {
        (Some(name), _) => found.gid = gid(name, group)?,
        // A number has no supplementary groups. Without a user, it is root.
        (None, Some(account)) if self::number(wanted.as_bytes()).is_none() => {
            found.groups = memberships(account.name, group);
        }
        _ => {}
    }
    Ok(found)
}

fn gid(name: &str, group: &[u8]) -> Result<u32> {
    let known = || {
        lines(group)
            .filter_map(self::group)
            .find(|line| line.name == name.as_bytes())
    };
    match number(name.as_bytes()) {
        Some(gid) => Ok(gid),
        None => known()
            .map(|line| line.gid)
            .ok_or_else(|| unknown("group", name, "group")),
    }
}

fn memberships(user: &[u8], group: &[u8]) -> Vec<u32> {
    let is_member = |line: &Group<'_>| {
        line.members
            .split(|&byte| byte == b',')
            .any(|name| name == user)
    };
    let groups = lines(group).filter_map(self::group).filter(is_member);
    let mut gids: Vec<u32> = groups.map(|line| line.gid).collect();
    gids.sort_unstable();
    gids.dedup();
    gids
}

fn unknown(what: &str, name: &str, file: &str) -> Error {
    let name = path::display(name.as_bytes());
    Error::refused(format!("the image's config names the {what} {name}"))
        .at_entry(format!("etc/{file}"))
        .hint(format!(
            "the image has no such {what}: its config is wrong, or was made for another image"
        ))
}

fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii)
}

/// Parses a line; `None` if its numbers are missing.
fn account(line: &[u8]) -> Option<Account<'_>> {
    let mut fields = line.split(|&byte| byte == b':');
    let (name, _password) = (fields.next()?, fields.next()?);
    let (uid, gid) = (number(fields.next()?)?, number(fields.next()?)?);
    let home = fields.nth(1).unwrap_or_default();
    Some(Account {
        name,
        uid,
        gid,
        home,
    })
}

fn group(line: &[u8]) -> Option<Group<'_>> {
    let mut fields = line.split(|&byte| byte == b':');
    let (name, _password) = (fields.next()?, fields.next()?);
    let gid = number(fields.next()?)?;
    let members = fields.next().unwrap_or_default();
    Some(Group { name, gid, members })
}

/// An id, which is never `u32::MAX` (rule M3).
fn number(text: &[u8]) -> Option<u32> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(text).ok().filter(|_| is_number)?;
    text.parse().ok().filter(|&id| id != u32::MAX)
}
