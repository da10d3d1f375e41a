//! Which xattrs of an entry are kept (rules X1, X2), and how those that overlayfs would obey are written.
//! Pure.

use crate::dialect::Dialect;
use crate::error::{Advice, Error, Result};
use crate::meta::{Meta, Xattr, is_foreign_xattr, is_label};
use crate::path::{self, EntryPath};

use super::options::{ForeignXattrs, Options, OverlayXattrs};
use super::report::{Report, Warning};

/// Removes the xattrs of an entry that are not kept: those of other systems, overlayfs's own and labels,
/// depending on the options. Names stay as in the image.
///
/// Errors ([`Kind::Refused`](crate::Kind::Refused)): the options refuse one of them.
pub fn keep(
    meta: &mut Meta,
    path: &EntryPath,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    leave_out_foreign(meta, path, options.foreign_xattrs, report)?;
    if !options.selinux {
        meta.xattrs.retain(|xattr| !is_label(&xattr.name));
    }
    let is_overlays = |xattr: &Xattr| options.dialect.is_overlays(&xattr.name);
    match options.overlay_xattrs {
        OverlayXattrs::Escape => {}
        OverlayXattrs::Drop => meta.xattrs.retain(|xattr| {
            let drops = is_overlays(xattr);
            if drops {
                report.warn(Warning::OverlayXattrDropped, path);
            }
            !drops
        }),
        OverlayXattrs::Refuse => {
            if let Some(xattr) = meta.xattrs.iter().find(|xattr| is_overlays(xattr)) {
                let name = path::display(&xattr.name);
                return Err(Error::refused(format!("the layer brings xattr {name}"))
                    .at_entry(path)
                    .hint(Advice::EscapeXattrs));
            }
        }
    }
    Ok(())
}

/// Rule X1: renames xattrs that overlayfs would obey, so that it shows them under their old names.
pub fn escape(meta: &mut Meta, dialect: Dialect) {
    let mut is_changed = false;
    for xattr in &mut meta.xattrs {
        if let Some(escaped) = dialect.escape(&xattr.name) {
            xattr.name = escaped.into();
            is_changed = true;
        }
    }
    if is_changed {
        let by_name = |one: &Xattr, other: &Xattr| one.name.cmp(&other.name);
        meta.xattrs.sort_unstable_by(by_name);
    }
}

/// Rule X2: removes the xattrs of other systems and file systems, with a warning for each.
///
/// Errors ([`Kind::Refused`](crate::Kind::Refused)): the options refuse them.
pub fn leave_out_foreign(
    meta: &mut Meta,
    path: &EntryPath,
    how: ForeignXattrs,
    report: &mut Report,
) -> Result<()> {
    let is_foreign = |xattr: &Xattr| is_foreign_xattr(&xattr.name);
    let Some(first) = meta.xattrs.iter().find(|xattr| is_foreign(xattr)) else {
        return Ok(());
    };
    if how == ForeignXattrs::Strict {
        let name = path::display(&first.name);
        let what = format!("xattr {name} belongs to another system or file system");
        return Err(Error::refused(what)
            .at_entry(path)
            .hint(Advice::LenientXattrs));
    }
    meta.xattrs.retain(|xattr| {
        let drops = is_foreign(xattr);
        if drops {
            report.warn(Warning::ForeignXattrDropped, path);
        }
        !drops
    });
    Ok(())
}
