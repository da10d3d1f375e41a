//! `setters!`: one builder method for each public field of a type that may grow, and so cannot be
//! built field by field outside this crate. Pure.

/// In an `impl` block: a method for each field, which is named like it and takes its new value.
macro_rules! setters {
    ($($field:ident: $type:ty),+ $(,)?) => {$(
        #[doc = concat!("Sets [`", stringify!($field), "`](#structfield.", stringify!($field), ").")]
        #[must_use]
        pub fn $field(mut self, $field: $type) -> Self {
            self.$field = $field;
            self
        }
    )+};
}

pub(crate) use setters;
