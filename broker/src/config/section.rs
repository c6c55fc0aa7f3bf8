//! Sections of the configuration file: what is read, and what the example shows, in one place.
//!
//! The comments of the example are the doc comments of the settings, its values the defaults.

/// A value that can be written into a file again.
pub(super) trait Value {
    /// As it is written; nothing where there is no value.
    fn written(&self) -> Option<String>;
}

/// One table of the file.
pub(super) trait Section: Default {
    /// The header of the table, with its brackets.
    const HEADER: &'static str;
    /// What it is about, a line each.
    const ABOUT: &'static [&'static str];
    /// What may be written in it, with the values of `self`.
    fn settings(&self) -> Vec<Setting>;
}

/// One key of a section.
pub(super) struct Setting {
    pub(super) key: &'static str,
    pub(super) about: &'static [&'static str],
    pub(super) default: Option<String>,
}

/// Makes a table of the file: a struct whose fields are the keys, with doc comments and defaults.
macro_rules! section {
    (
        #[header = $header:literal]
        $(#[doc = $about:literal])+
        pub(super) struct $Name:ident {
            $(
                $(#[doc = $doc:literal])+
                $key:ident: $Type:ty = $default:expr,
            )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct $Name {
            $($(#[doc = $doc])+ pub(super) $key: $Type,)+
        }

        impl Default for $Name {
            fn default() -> Self {
                Self { $($key: $default,)+ }
            }
        }

        impl $crate::config::section::Section for $Name {
            const HEADER: &'static str = $header;
            const ABOUT: &'static [&'static str] = &[$($about),+];

            fn settings(&self) -> Vec<$crate::config::section::Setting> {
                vec![$(
                    $crate::config::section::Setting {
                        key: stringify!($key),
                        about: &[$($doc),+],
                        default: $crate::config::section::Value::written(&self.$key),
                    },
                )+]
            }
        }
    };
}

pub(super) use section;
