//! `Platform`: the platform of an image, and which of several platforms matches best.
//!
//! Source: image-spec `image-index.md`, "platform", and its table of variants; containerd's
//! `platforms` for common spellings. Pure.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// Operating systems that may be given alone (Go's GOOS).
const SYSTEMS: [&str; 8] = [
    "linux", "windows", "freebsd", "darwin", "openbsd", "netbsd", "solaris", "wasip1",
];
/// Architectures that may be given alone (Go's GOARCH), as [`Platform::new`] spells them.
const ARCHITECTURES: [&str; 13] = [
    "amd64", "386", "arm", "arm64", "ppc64le", "ppc64", "s390x", "riscv64", "loong64", "mips",
    "mipsle", "mips64", "mips64le",
];
/// The OS feature that every Windows image requires (image-spec `image-index.md`).
const WIN32K: &str = "win32k";

/// More than the distance between any two variants.
const LESS_ASKED_FOR: u32 = 1000;

/// `OS[(VERSION+FEATURE...)]/ARCHITECTURE[/VARIANT]`, as image-spec spells the parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    os: String,
    /// The version of Windows; empty for any.
    os_version: String,
    /// The features that the image requires or the system provides, sorted.
    os_features: Vec<String>,
    architecture: String,
    /// Empty if the architecture has no variants, and for the default variant.
    variant: String,
}

impl Platform {
    /// The platform of this machine.
    pub fn host() -> Platform {
        Platform::new("linux", std::env::consts::ARCH, "")
    }

    /// From the three parts, as image-spec, `uname` or Debian spell them.
    pub fn new(os: &str, architecture: &str, variant: &str) -> Platform {
        let (architecture, implied) = match architecture {
            "x86_64" | "x86-64" => ("amd64", ""),
            "x86" | "i386" | "i686" => ("386", ""),
            "aarch64" => ("arm64", ""),
            "armhf" => ("arm", "v7"),
            "armel" => ("arm", "v6"),
            "powerpc64" | "ppc64el" => ("ppc64le", ""),
            "loongarch64" => ("loong64", ""),
            same => (same, ""),
        };
        let variant = if variant.is_empty() { implied } else { variant };
        let is_number = !variant.is_empty() && variant.bytes().all(|byte| byte.is_ascii_digit());
        Platform {
            os: os.to_lowercase(),
            os_version: String::new(),
            os_features: Vec::new(),
            architecture: architecture.into(),
            variant: match is_number {
                true => format!("v{variant}"),
                false => variant.into(),
            },
        }
    }

    /// The same with an OS version and OS features.
    #[must_use]
    pub fn with_os(mut self, version: &str, features: &[String]) -> Platform {
        self.os_version = version.into();
        self.os_features = features.to_vec();
        self.os_features.sort();
        self
    }

    /// The variant of the architecture; empty for the default one.
    pub fn variant(&self) -> &str {
        &self.variant
    }

    /// The required OS version; empty for any.
    pub fn os_version(&self) -> &str {
        &self.os_version
    }

    /// The required OS features, sorted.
    pub fn os_features(&self) -> &[String] {
        &self.os_features
    }

    /// How well this platform runs an image built for another: 0 is best, `None` not at all. A newer
    /// variant runs images for an older one; every required feature must be provided (rule T2).
    pub fn distance(&self, built_for: &Platform) -> Option<u32> {
        if (&self.os, &self.architecture) != (&built_for.os, &built_for.architecture) {
            return None;
        }
        let provides = |feature: &String| {
            self.os_features.contains(feature) || (self.os == "windows" && feature == WIN32K)
        };
        if !built_for.os_features.iter().all(provides)
            || !built_for.os_version.starts_with(&self.os_version)
        {
            return None;
        }
        let by_variant = match (self.level(), built_for.level()) {
            (Some(have), Some(needed)) => have.checked_sub(needed)?,
            _ if self.variant == built_for.variant => 0,
            _ if self.variant.is_empty() || built_for.variant.is_empty() => 1,
            _ => return None,
        };
        // An image whose features were asked for comes first.
        match self.os_features.is_empty() || self.os_features == built_for.os_features {
            true => Some(by_variant),
            false => Some(by_variant.saturating_add(LESS_ASKED_FOR)),
        }
    }

    /// Whether it requires OS features that lowerdir does not provide.
    pub(super) fn needs_features(&self) -> bool {
        let mut bare = self.clone();
        bare.os_features.clear();
        bare.distance(self).is_none()
    }

    /// The number of the variant, if variants have an order.
    fn level(&self) -> Option<u32> {
        let usual = match &*self.architecture {
            "arm" => 7,
            "arm64" => 8,
            "amd64" => 1,
            _ => return None,
        };
        match self.variant.is_empty() {
            true => Some(usual),
            false => self.variant.strip_prefix('v')?.parse().ok(),
        }
    }

    /// From one word: an operating system, on this machine's architecture, or the other way round.
    fn of_one(word: &str) -> Option<Platform> {
        let host = Platform::host();
        let as_system = Platform::new(word, std::env::consts::ARCH, "");
        let as_architecture = Platform::new(&host.os, word, "");
        if SYSTEMS.contains(&&*as_system.os) {
            Some(as_system)
        } else if ARCHITECTURES.contains(&&*as_architecture.architecture) {
            Some(as_architecture)
        } else {
            None
        }
    }
}

/// Splits `windows(10.0.17763+feature)` into its parts.
fn split_os(text: &str) -> Option<(&str, &str, Vec<String>)> {
    let Some((os, rest)) = text.split_once('(') else {
        return Some((text, "", Vec::new()));
    };
    let mut words = rest.strip_suffix(')')?.split('+');
    let version = words.next()?;
    let features: Vec<String> = words.map(str::to_string).collect();
    let is_good = !os.is_empty() && !features.iter().any(String::is_empty);
    is_good.then_some((os, version, features))
}

impl FromStr for Platform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Platform> {
        let parts: Vec<&str> = text.split('/').collect();
        let parsed = match parts[..] {
            _ if parts.contains(&"") => None,
            [word] => Platform::of_one(word),
            [os, architecture] => of_parts((os, architecture, "")),
            [os, architecture, variant] => of_parts((os, architecture, variant)),
            _ => None,
        };
        parsed.ok_or_else(|| {
            let what =
                format!("{text:?} is not a platform, such as linux/amd64, linux/arm/v7 or arm64");
            Error::usage(what)
        })
    }
}

fn of_parts((os, architecture, variant): (&str, &str, &str)) -> Option<Platform> {
    let (os, version, features) = split_os(os)?;
    Some(Platform::new(os, architecture, variant).with_os(version, &features))
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.os)?;
        if !self.os_version.is_empty() || !self.os_features.is_empty() {
            write!(f, "({}", self.os_version)?;
            for feature in &self.os_features {
                write!(f, "+{feature}")?;
            }
            f.write_str(")")?;
        }
        write!(f, "/{}", self.architecture)?;
        match self.variant.is_empty() {
            true => Ok(()),
            false => write!(f, "/{}", self.variant),
        }
    }
}
