//! What a layer may cost; `unpack` and `unpack-layer` share these.

use clap::Args;

use crate::Limits;

#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitsArgs {
    /// Uncompressed size of a layer, and that of its sparse files with their holes [default: 1T]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_bytes: Option<u64>,
    /// Uncompressed bytes for each byte of a blob over 1 MiB [default: 2000]
    #[arg(long, value_name = "N")]
    max_ratio: Option<u64>,
    /// Entries of a layer [default: 10000000]
    #[arg(long, value_name = "N")]
    max_entries: Option<u64>,
    /// Components of a path [default: 1000]
    #[arg(long, value_name = "N")]
    max_depth: Option<usize>,
    /// Size of one PAX header or long name, held in memory [default: 1M]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_header: Option<u64>,
    /// Parts of one sparse file, 16 bytes of memory each [default: 1048576]
    #[arg(long, value_name = "N")]
    max_extents: Option<usize>,
    /// Window of zstd or dictionary of xz, held in memory [default: 128M]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_window: Option<u64>,
}

impl LimitsArgs {
    pub fn limits(&self) -> Limits {
        let usual = Limits::default();
        Limits {
            bytes: self.max_bytes.unwrap_or(usual.bytes),
            ratio: self.max_ratio.unwrap_or(usual.ratio),
            entries: self.max_entries.unwrap_or(usual.entries),
            depth: self.max_depth.unwrap_or(usual.depth),
            header: self.max_header.unwrap_or(usual.header),
            extents: self.max_extents.unwrap_or(usual.extents),
            window: self.max_window.unwrap_or(usual.window),
        }
    }
}

/// Bytes, or `64K`, `10M`, `2G`, `1T` in powers of 1024.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &*text[digits.len()..].to_ascii_uppercase() {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1 << 40,
        _ => return Err("sizes look like 512M or 20G".into()),
    };
    let number: Option<u64> = digits.parse().ok();
    let size = number.and_then(|number| number.checked_mul(unit));
    size.ok_or_else(|| "sizes look like 512M or 20G".into())
}
