//! `IdMaps`: which ids of the host stand for those of a container, and what an inode carries mapped
//! with them: its owner, the ids in its ACLs, the root that its capabilities are for.
//!
//! `unpack` maps each entry of a layer once; what is taken from the layers below is mapped
//! already. [`crate::mount`] gives the same maps to the kernel. Pure.
//! Source: `user_namespaces(7)`, "uid_map".

mod acl;
mod capability;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Advice, Error, Result};
use crate::meta::Meta;

/// Ids of a container, one after another, and as many of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Range {
    /// The first id in the container.
    pub container: u32,
    /// The id of the host that stands for it.
    pub host: u32,
    /// How many there are, at least 1.
    pub size: u32,
}

/// Which ids of the host stand for which of the container. An empty one leaves all as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Range>", into = "Vec<Range>")]
pub struct IdMap(Vec<Range>);

/// The maps of users and of groups.
///
/// ```
/// use lowerdir::ids::{IdMap, IdMaps};
/// use lowerdir::meta::Meta;
///
/// let map = IdMap::new(vec!["0:100000:1000".parse()?])?;
/// let maps = IdMaps { uids: map.clone(), gids: map };
/// let mut meta = Meta { uid: 33, gid: 0, ..Meta::default() };
/// maps.map(&mut meta)?;
/// assert_eq!((meta.uid, meta.gid), (100_033, 100_000));
/// meta.uid = 1000;
/// assert!(maps.map(&mut meta).is_err());
/// # Ok::<(), lowerdir::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMaps {
    /// Of users.
    pub uids: IdMap,
    /// Of groups.
    pub gids: IdMap,
}

impl FromStr for Range {
    type Err = Error;

    /// `CONTAINER:HOST:SIZE`. Errors: it is something else, or ends beyond the last id, 4294967294.
    fn from_str(text: &str) -> Result<Range> {
        let refuse = |why: &str| Err(Error::usage(format!("{text}: {why}")));
        let numbers: Vec<u32> = text.split(':').map_while(number).collect();
        let &[container, host, size] = &numbers[..] else {
            return refuse("it is no CONTAINER:HOST:SIZE, three numbers");
        };
        let ends = |first: u32| first.checked_add(size).is_some();
        match (size, ends(container) && ends(host)) {
            (0, _) => refuse("it maps nothing"),
            // 4294967295 is no id.
            (_, false) => refuse("it ends beyond the last id, 4294967294"),
            _ if numbers.len() != text.split(':').count() => {
                refuse("it has more than three numbers")
            }
            _ => Ok(Range {
                container,
                host,
                size,
            }),
        }
    }
}

fn number(text: &str) -> Option<u32> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.container, self.host, self.size)
    }
}

impl TryFrom<String> for Range {
    type Error = Error;

    fn try_from(text: String) -> Result<Range> {
        text.parse()
    }
}

impl From<Range> for String {
    fn from(range: Range) -> String {
        range.to_string()
    }
}

impl TryFrom<Vec<Range>> for IdMap {
    type Error = Error;

    fn try_from(ranges: Vec<Range>) -> Result<IdMap> {
        IdMap::new(ranges)
    }
}

impl From<IdMap> for Vec<Range> {
    fn from(map: IdMap) -> Vec<Range> {
        map.0
    }
}

impl IdMap {
    /// Takes ranges in any order. Errors: two of them have an id in common.
    pub fn new(mut ranges: Vec<Range>) -> Result<IdMap> {
        for side in [|range: &Range| range.host, |range: &Range| range.container] {
            ranges.sort_unstable_by_key(side);
            for pair in ranges.windows(2) {
                if side(&pair[1]) - side(&pair[0]) < pair[0].size {
                    let text = format!("the id maps {} and {} overlap", pair[0], pair[1]);
                    return Err(Error::usage(text));
                }
            }
        }
        Ok(IdMap(ranges))
    }

    /// Whether ids stay as they are.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges, sorted by the container's ids.
    pub fn ranges(&self) -> &[Range] {
        &self.0
    }

    /// The id of the host for one of the container.
    pub fn host(&self, id: u32) -> Option<u32> {
        self.through(id, |range| (range.container, range.host))
    }

    /// The id of the container for one of the host.
    pub fn container(&self, id: u32) -> Option<u32> {
        self.through(id, |range| (range.host, range.container))
    }

    fn through(&self, id: u32, sides: impl Fn(&Range) -> (u32, u32)) -> Option<u32> {
        if self.is_empty() {
            return Some(id);
        }
        self.0.iter().find_map(|range| {
            let (from, to) = sides(range);
            let offset = id.checked_sub(from).filter(|&offset| offset < range.size)?;
            Some(to + offset)
        })
    }

    fn need(&self, id: u32, what: &str, to: Side) -> Result<u32> {
        let (found, of) = match to {
            Side::Host => (self.host(id), ""),
            Side::Container => (self.container(id), " of the host"),
        };
        found.ok_or_else(|| {
            let error = Error::refused(format!("no id map has the {what} {id}{of}"));
            match to {
                Side::Host if what.contains("user") => error.hint(Advice::MoreUidMaps),
                Side::Host => error.hint(Advice::MoreGidMaps),
                // The maps may be those of a mount, which nobody chooses any more.
                Side::Container => error,
            }
        })
    }
}

/// Whose ids are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// Of those of the container, the host's.
    Host,
    /// Of those of the host, the container's.
    Container,
}

impl fmt::Display for IdMaps {
    /// As options of the command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uids = self.uids.0.iter().map(|range| ("--uid-map", range));
        let gids = self.gids.0.iter().map(|range| ("--gid-map", range));
        for (number, (option, range)) in uids.chain(gids).enumerate() {
            let space = if number == 0 { "" } else { " " };
            write!(f, "{space}{option}={range}")?;
        }
        Ok(())
    }
}

impl IdMaps {
    /// Whether all stays as it is.
    pub fn is_empty(&self) -> bool {
        self.uids.is_empty() && self.gids.is_empty()
    }

    /// Maps what an inode carries, once. Errors: an id that no range has
    /// ([`Kind::Refused`](crate::Kind::Refused)).
    pub fn map(&self, meta: &mut Meta) -> Result<()> {
        self.map_to(Side::Host, meta)
    }

    /// The way back: what an inode of the host carries becomes what the container has. Errors: an id of
    /// the host that no range has ([`Kind::Refused`](crate::Kind::Refused)).
    ///
    /// ```
    /// use lowerdir::ids::{IdMap, IdMaps};
    /// use lowerdir::meta::Meta;
    ///
    /// let map = IdMap::new(vec!["0:100000:1000".parse()?])?;
    /// let maps = IdMaps { uids: map.clone(), gids: map };
    /// let mut meta = Meta { uid: 100_033, gid: 100_000, ..Meta::default() };
    /// maps.map_back(&mut meta)?;
    /// assert_eq!((meta.uid, meta.gid), (33, 0));
    /// assert!(maps.map_back(&mut meta).is_err());
    /// # Ok::<(), lowerdir::Error>(())
    /// ```
    pub fn map_back(&self, meta: &mut Meta) -> Result<()> {
        self.map_to(Side::Container, meta)
    }

    fn map_to(&self, to: Side, meta: &mut Meta) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        meta.uid = self.uids.need(meta.uid, "user", to)?;
        meta.gid = self.gids.need(meta.gid, "group", to)?;
        for xattr in &mut meta.xattrs {
            let mapped = match &*xattr.name {
                b"security.capability" => capability::map(&xattr.value, self, to)?,
                b"system.posix_acl_access" | b"system.posix_acl_default" => {
                    acl::map(&xattr.value, self, to)?
                }
                _ => None,
            };
            if let Some(value) = mapped {
                xattr.value = value.into();
            }
        }
        Ok(())
    }
}
