//! A page of `docs/` as a manual page: the markdown that those pages use, as roff.
//!
//! Called by `lowerdir man`. It knows headings, paragraphs, lists, tables, blocks of code, `**bold**`,
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
    for block in blocks(markdown) {
        let is_heading = block.starts_with('#');
        if let Some(heading) = block.strip_prefix("### ") {
            roff.control("SS", [&*plain(heading)]);
        } else if let Some(heading) = block.strip_prefix("## ") {
            roff.control("SH", [&*plain(heading).to_uppercase()]);
        } else if block.starts_with("```") {
            code(&block, &mut roff);
        } else if block.starts_with("|") {
            table(&block, &mut roff);
        } else if is_item(&block) {
            list(&block, &mut roff);
        } else if !is_heading && !block.starts_with("<") {
            if !follows_heading {
                roff.control("PP", []);
            }
            roff.text(inlines(&block));
        }
        follows_heading = is_heading;
    }
    roff
}

/// Paragraphs, lists and the like, which empty lines part; but not those in a block of code.
fn blocks(markdown: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    let mut is_code = false;
    for line in markdown.lines() {
        let is_fence = line.starts_with("```");
        if (line.is_empty() || is_fence) && !is_code {
            blocks.push(String::new());
        }
        let block = blocks.last_mut().expect("there is one");
        if !line.is_empty() || is_code {
            block.push_str(line);
            block.push('\n');
        }
        if is_fence && is_code {
            blocks.push(String::new());
        }
        is_code ^= is_fence;
    }
    let blocks = blocks.into_iter().map(|block| block.trim_end().to_string());
    blocks.filter(|block| !block.is_empty()).collect()
}

/// The lines of a block of code, as they are.
fn code(block: &str, roff: &mut Roff) {
    roff.control("PP", []);
    roff.control("RS", ["4"]);
    roff.control("nf", []);
    let lines = block.lines().filter(|line| !line.starts_with("```"));
    for line in lines {
        match line.is_empty() {
            true => roff.control("sp", []),
            false => roff.text([roman(line)]),
        };
    }
    roff.control("fi", []);
    roff.control("RE", []);
}

/// A table as a list: pages are too narrow for columns. The first cell of a row is its label, and the other
/// cells follow, each behind its heading where there are several.
fn table(block: &str, roff: &mut Roff) {
    let mut rows = block.lines().map(cells);
    let heads = rows.next().unwrap_or_default();
    for row in rows.filter(|row| !row[0].starts_with("---")) {
        roff.control("TP", [INDENT]);
        roff.text(inlines(&row[0]));
        let several = row.len() > 2;
        let cells = row.iter().zip(&heads).skip(1);
        let cells = cells.filter(|(cell, _)| !cell.is_empty());
        let cells = cells.map(|(cell, head)| match several && !head.is_empty() {
            true => format!("{head}: {cell}"),
            false => cell.clone(),
        });
        roff.text(inlines(&cells.collect::<Vec<_>>().join("; ")));
    }
}

/// The cells of a row, in which `\|` is no border.
fn cells(row: &str) -> Vec<String> {
    let row = row.trim().trim_start_matches('|');
    let row = row.strip_suffix('|').unwrap_or(row).replace("\\|", "\0");
    let cells = row.split('|').map(|cell| cell.trim().replace('\0', "|"));
    cells.collect()
}

fn is_item(block: &str) -> bool {
    block.starts_with("- ") || block.starts_with("1. ")
}

/// Text without its marks, for headings.
fn plain(text: &str) -> String {
    without_links(text).replace(['`', '*'], "")
}

/// Items of the form `- Label: text`, `- text` or `1. text`, each of one or more lines.
fn list(block: &str, roff: &mut Roff) {
    let mut items: Vec<String> = Vec::new();
    for line in block.lines() {
        match (items.last_mut(), line.starts_with(' ')) {
            (Some(item), true) => *item += &format!("\n{}", line.trim_start()),
            _ => items.push(line.into()),
        }
    }
    for item in items {
        let (mark, text) = item.split_once(' ').unwrap_or(("-", ""));
        let is_label = |label: &str| !label.contains(['\n', '`', ' ', '[']);
        let labelled = text
            .split_once(": ")
            .filter(|(label, _)| mark == "-" && is_label(label));
        let (label, text) = labelled.unwrap_or((mark, text));
        roff.control("TP", [INDENT]);
        roff.text([roman(label)]);
        roff.text(inlines(text));
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
        plain += before;
        plain += label;
        // Another page is named by its title; its file is of no use here.
        if address.contains("://") {
            plain += &format!(" <{address}>");
        }
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
    fn tables_become_lists_and_code_stays() {
        assert_eq!(
            rendered("| a | b | c |\n|---|---|---|\n| `x\\|y` | one | [two](z.md) |"),
            ".TP 8\n\\fBx|y\\fR\nb: one; c: two\n"
        );
        assert_eq!(
            rendered("```console\n# ls\n\n- a\n```\nText."),
            ".PP\n.RS 4\n.nf\n# ls\n.sp\n\\- a\n.fi\n.RE\n.PP\nText.\n"
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
