//! The demonstration behind `make demo`: writes a small image, and shows layer directories beside
//! the tree that they make.
//!
//! ```text
//! demo sample FILE           a Docker archive of three layers
//! demo show MERGED LAYER...  a table; the layers topmost first, `-` for no merged tree
//! ```

mod table;

use std::path::Path;

use support::sample;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["sample", file] => sample::write(Path::new(file)),
        ["show", merged, ref layers @ ..] if !layers.is_empty() => {
            let merged = (merged != "-").then_some(Path::new(merged));
            table::print(merged, layers)
        }
        _ => anyhow::bail!("usage: demo sample FILE | demo show MERGED LAYER..."),
    }
}
