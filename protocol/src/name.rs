//! Names: of sites, nodes and caches, and the keys of entries. Each rejects at construction what the rest of the
//! program need not expect any more.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, de};

/// Why a name was refused; says what a good one looks like.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "bad {what} name {name:?}: {problem}; use 1 to {max} of a-z, A-Z, 0-9, '-', '_' and '.', beginning with a letter or digit"
)]
pub struct NameError {
    what: &'static str,
    name: String,
    problem: &'static str,
    max: usize,
}

fn check(what: &'static str, name: &str, max: usize) -> Result<(), NameError> {
    let problem = if name.is_empty() {
        "it is empty"
    } else if name.len() > max {
        "it is too long"
    } else if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        "its first character is not a letter or digit"
    } else if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        "it has a character that names don't"
    } else {
        return Ok(());
    };
    let shown: String = name.chars().take(80).collect();
    Err(NameError { what, name: shown, problem, max })
}

/// Bytes in a [`SiteName`] at most.
pub const MAX_SITE_NAME: usize = 31;
/// Bytes in a [`NodeName`] at most.
pub const MAX_NODE_NAME: usize = 63;
/// Bytes in a [`CacheName`] at most.
pub const MAX_CACHE_NAME: usize = 63;
/// Bytes in a [`Key`](crate::record::Key) at most.
pub const MAX_KEY: usize = 4096;

/// A datacenter's name, such as `site1`. Copied freely, so it is kept inline; ordered by its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteName {
    bytes: [u8; MAX_SITE_NAME],
    len: u8,
}

impl SiteName {
    /// Parses a name of 1 to [`MAX_SITE_NAME`] bytes.
    pub fn new(name: &str) -> Result<Self, NameError> {
        check("site", name, MAX_SITE_NAME)?;
        let mut bytes = [0; MAX_SITE_NAME];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Ok(Self { bytes, len: name.len() as u8 })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len as usize]).expect("checked to be ASCII at construction")
    }
}

macro_rules! string_name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            #[doc = concat!("Parses a name of 1 to [`", stringify!($max), "`] bytes.")]
            pub fn new(name: &str) -> Result<Self, NameError> {
                check($what, name, $max)?;
                Ok(Self(name.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}

string_name! {
    /// An application process's name, unique within its site, such as `node11`; commands of the binary carry `NODE.cli`.
    NodeName, "node", MAX_NODE_NAME
}
string_name! {
    /// The name of a cache, such as `sessions`.
    CacheName, "cache", MAX_CACHE_NAME
}

macro_rules! name_traits {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl FromStr for $name {
            type Err = NameError;
            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.as_str())
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                struct Visit;
                impl de::Visitor<'_> for Visit {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a name")
                    }
                    fn visit_str<E: de::Error>(self, name: &str) -> Result<$name, E> {
                        $name::new(name).map_err(E::custom)
                    }
                }
                d.deserialize_str(Visit)
            }
        }
    };
}
name_traits!(SiteName);
name_traits!(NodeName);
name_traits!(CacheName);
