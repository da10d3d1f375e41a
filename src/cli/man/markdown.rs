//! A page of `docs/` as a manual page: the markdown that those pages use, as roff.
//!
//! Called by `lowerdir man`. It knows headings, paragraphs, lists of `- Label: text`, `**bold**`,
//! `` `code` `` and links, and is no general converter.

use roff::{Inline, Roff, bold, roman};

/// How far the text of a labelled list item is indented.
const INDENT: &str = "8";

/// The page as section 7. `summary` is its line in the section NAME; the title of the markdown, which
/// says the same, is left out.
pub fn manual_page(name: &str, summary: &str, markdown: &str) -> Roff {
    let mut roff = Roff::new();
    let version = concat!("lowerdir ", env!("CARGO_PKG_VERSION"));
    // roff reads two quotes as an empty argument: the date.
    roff.control("TH", [name, "7", "\"\"", version]);
    // Addresses do not break, and justified lines around them have gaps.
    roff.control("ad", ["l"]);
    roff.control("SH", ["NAME"]);
    roff.text([roman(format!("{name} - {summary}"))]);
    roff.control("SH", ["DESCRIPTION"]);
    let mut follows_heading = true;
    for block in markdown.split("\n\n").map(str::trim) {
        let is_heading = block.starts_with('#');
        if let Some(heading) = block.strip_prefix("### ") {
            roff.control("SS", [heading]);
        } else if let Some(heading) = block.strip_prefix("## ") {
            roff.control("SH", [&*heading.to_uppercase()]);
        } else if block.starts_with("- ") {
            list(block, &mut roff);
        } else if !is_heading {
            if !follows_heading {
                roff.control("PP", []);
            }
            roff.text(inlines(block));
        }
        follows_heading = is_heading;
    }
    roff
}

/// Items of the form `- Label: text`, each of one or more lines.
fn list(block: &str, roff: &mut Roff) {
    let block = block.strip_prefix("- ").unwrap_or(block);
    for item in block.split("\n- ") {
        let (label, text) = item.split_once(": ").unwrap_or(("-", item));
        roff.control("TP", [INDENT]);
        roff.text([roman(label)]);
        roff.text(inlines(&text.replace("\n  ", "\n")));
    }
}

/// Text with its emphasis. Code is bold, as in other manual pages.
fn inlines(text: &str) -> Vec<Inline> {
    let text = without_links(text);
    let mut inlines = Vec::new();
    for (span, part) in text.split("**").enumerate() {
        for (code, part) in part.split('`').enumerate() {
            let is_plain = span % 2 == 0 && code % 2 == 0;
            if !part.is_empty() {
                inlines.push(if is_plain { roman(part) } else { bold(part) });
            }
        }
    }
    inlines
}

/// `[text](address)` as the text, and the address behind it.
fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        let link = after.split_once("](").and_then(|(label, after)| {
            let (address, after) = after.split_once(')')?;
            Some((label, address, after))
        });
        let Some((label, address, after)) = link else {
            break;
        };
        plain += &format!("{before}{label} <{address}>");
        rest = after;
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without the two lines that every document begins with.
    fn rendered(markdown: &str) -> String {
        let page = manual_page("x", "what it is", markdown).to_roff();
        page.split_once(".SH DESCRIPTION\n").unwrap().1.to_string()
    }

    #[test]
    fn headings_become_sections() {
        assert_eq!(
            rendered("# Title\n\nIntro.\n\nMore.\n\n## Some names\n\n### W1\n\nText."),
            "Intro.\n.PP\nMore.\n.SH \"SOME NAMES\"\n.SS W1\nText.\n"
        );
    }

    #[test]
    fn emphasis_and_code_are_bold() {
        assert_eq!(
            rendered("**`.wh.x` hides**\n.x, `x`."),
            "\\fB.wh.x\\fR\\fB hides\\fR\n\\&.x, \\fBx\\fR.\n"
        );
    }

    #[test]
    fn items_are_indented_below_their_labels() {
        assert_eq!(
            rendered("- Layer: a\n  b\n- Why: c: d"),
            ".TP 8\nLayer\na\nb\n.TP 8\nWhy\nc: d\n"
        );
    }

    #[test]
    fn addresses_stand_behind_their_links() {
        assert_eq!(
            rendered("See [`a`](https://b) and [c]."),
            "See \\fBa\\fR <https://b> and [c].\n"
        );
    }
}
