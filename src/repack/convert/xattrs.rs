//! The xattrs of an inode in its new form: overlayfs's own are dropped or kept, and data that looks like
//! them is escaped or unescaped (rule X1).

use crate::dialect::Dialect;
use crate::error::{Error, Result};
use crate::meta::Xattr;
use crate::overlay::inspect::refers_to_below;
use crate::path::{self, NAME_MAX};

use super::ConvertOptions;

/// Xattrs in their new form, sorted, and whether one was renamed.
pub struct Translated {
    pub xattrs: Vec<Xattr>,
    pub renamed: bool,
}

/// Translates the xattrs of an inode. Opaque marks are dropped, because [`super::plan`] decides about
/// them. Errors: one of them has no counterpart.
pub fn translate(xattrs: Vec<Xattr>, options: &ConvertOptions) -> Result<Translated> {
    let (from, to) = (options.from, options.to);
    let mut translated = Translated {
        xattrs: Vec::with_capacity(xattrs.len()),
        renamed: false,
    };
    for mut xattr in xattrs {
        match from.shown(&xattr.name) {
            Some(shown) => {
                let name = to.on_disk(&shown);
                check_length(&xattr, &name)?;
                translated.renamed |= *name != *xattr.name;
                xattr.name = name.into();
                translated.xattrs.push(xattr);
            }
            None if keeps_orders(options) => {
                if from.dialect().map(Dialect::opaque_xattr).map(str::as_bytes)
                    != Some(&*xattr.name)
                {
                    translated.xattrs.push(xattr);
                }
            }
            None => refuse_reference(&xattr, options)?,
        }
    }
    let by_name = |one: &Xattr, other: &Xattr| one.name.cmp(&other.name);
    translated.xattrs.sort_unstable_by(by_name);
    Ok(translated)
}

/// Whether both forms use the same xattr namespace.
fn keeps_orders(options: &ConvertOptions) -> bool {
    let prefix = |form: super::Form| form.dialect().map(Dialect::prefix);
    prefix(options.from).is_some() && prefix(options.from) == prefix(options.to)
}

fn check_length(old: &Xattr, name: &[u8]) -> Result<()> {
    match name.len() > NAME_MAX {
        false => Ok(()),
        true => {
            let old = path::display(&old.name);
            let what = format!("xattr {old}: the name gets too long");
            Err(Error::refused(what).hint("remove it first"))
        }
    }
}

/// Marks by which overlayfs refers to the layers below; `nlink`, with `index=on`, to other names of the
/// file there.
fn refuse_reference(xattr: &Xattr, options: &ConvertOptions) -> Result<()> {
    let namespace = options.from.dialect().map(|dialect| dialect.namespace);
    let mark = namespace.and_then(|namespace| Some((namespace, namespace.mark(&xattr.name)?)));
    match mark {
        Some((namespace, mark)) if mark.refers_to_below() => {
            Err(refers_to_below(namespace.xattr(mark)))
        }
        _ => Ok(()),
    }
}
