//! `Platform`: what an image runs on, and which of several serves best.
//!
//! Source: image-spec `image-index.md`, "platform", and its table of variants. Pure.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// `OS/ARCHITECTURE[/VARIANT]`, as image-spec spells them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    os: String,
    architecture: String,
    /// Empty where the architecture has no variants, or the usual one is meant.
    variant: String,
}

impl Platform {
    /// Of the machine that this runs on.
    pub fn host() -> Platform {
        Platform::new("linux", std::env::consts::ARCH, "")
    }

    /// Takes the three parts, in the spelling of image-spec, of `uname` or of Debian.
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
            architecture: architecture.into(),
            variant: match is_number {
                true => format!("v{variant}"),
                false => variant.into(),
            },
        }
    }

    /// Which of several kinds of the architecture; empty where the usual one is meant.
    pub fn variant(&self) -> &str {
        &self.variant
    }

    /// How well this platform runs what was built for another: 0 is best, `None` not at all. A
    /// newer variant runs what was built for an older one.
    pub fn distance(&self, built_for: &Platform) -> Option<u32> {
        if (&self.os, &self.architecture) != (&built_for.os, &built_for.architecture) {
            return None;
        }
        match (self.level(), built_for.level()) {
            (Some(have), Some(needed)) => have.checked_sub(needed),
            _ if self.variant == built_for.variant => Some(0),
            _ if self.variant.is_empty() || built_for.variant.is_empty() => Some(1),
            _ => None,
        }
    }

    /// The number of the variant, where variants have an order.
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
}

impl FromStr for Platform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Platform> {
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            _ if parts.contains(&"") => {}
            [os, architecture] => return Ok(Platform::new(os, architecture, "")),
            [os, architecture, variant] => return Ok(Platform::new(os, architecture, variant)),
            _ => {}
        }
        let what = format!("{text:?} is no platform, such as linux/amd64 or linux/arm/v7");
        Err(Error::not_found(what))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match self.variant.is_empty() {
            true => Ok(()),
            false => write!(f, "/{}", self.variant),
        }
    }
}
