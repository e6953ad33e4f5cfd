//! Keys by type: what can name an entry, and what a key in the cache can be read back as.

use std::borrow::Borrow;

use bytes::Bytes;
use landbridge_protocol::record::{Key, KeyError};

use crate::error::Error;

/// Something that names an entry. Equal things must give equal bytes, and a type must give the same bytes as what it
/// borrows to, as [`Borrow`] asks of hashes.
pub trait AsKey {
    /// The key's bytes.
    fn as_key(&self) -> Result<Key, KeyError>;
}

/// A type of keys of a [`crate::Cache`].
pub trait CacheKey: AsKey + Sized + Send + Sync + 'static {
    /// The key of those bytes; `None` where they are none of this type.
    fn from_key(key: &Key) -> Option<Self>;
}

/// Reads a key back, or says that it is of another type.
pub(crate) fn typed<K: CacheKey>(key: &Key) -> Result<K, Error> {
    K::from_key(key).ok_or_else(|| Error::ForeignKey(key.clone()))
}

impl AsKey for [u8] {
    fn as_key(&self) -> Result<Key, KeyError> {
        Key::new(Bytes::copy_from_slice(self))
    }
}

impl AsKey for str {
    fn as_key(&self) -> Result<Key, KeyError> {
        self.as_bytes().as_key()
    }
}

impl AsKey for String {
    fn as_key(&self) -> Result<Key, KeyError> {
        self.as_str().as_key()
    }
}

impl CacheKey for String {
    fn from_key(key: &Key) -> Option<Self> {
        std::str::from_utf8(key.as_bytes()).ok().map(str::to_owned)
    }
}

impl AsKey for Vec<u8> {
    fn as_key(&self) -> Result<Key, KeyError> {
        Borrow::<[u8]>::borrow(self).as_key()
    }
}

impl CacheKey for Vec<u8> {
    fn from_key(key: &Key) -> Option<Self> {
        Some(key.as_bytes().to_vec())
    }
}

impl AsKey for Bytes {
    fn as_key(&self) -> Result<Key, KeyError> {
        Key::new(self.clone())
    }
}

impl CacheKey for Bytes {
    fn from_key(key: &Key) -> Option<Self> {
        Some(key.clone().into_bytes())
    }
}

impl AsKey for Key {
    fn as_key(&self) -> Result<Key, KeyError> {
        Ok(self.clone())
    }
}

impl CacheKey for Key {
    fn from_key(key: &Key) -> Option<Self> {
        Some(key.clone())
    }
}

/// Eight bytes, the greatest first, so that entries are listed in the order of the numbers.
impl AsKey for u64 {
    fn as_key(&self) -> Result<Key, KeyError> {
        self.to_be_bytes().as_key()
    }
}

impl CacheKey for u64 {
    fn from_key(key: &Key) -> Option<Self> {
        key.as_bytes().try_into().ok().map(u64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back<K: CacheKey + PartialEq + std::fmt::Debug>(key: K) {
        assert_eq!(K::from_key(&key.as_key().unwrap()), Some(key));
    }

    #[test]
    fn keys_come_back_as_they_went() {
        there_and_back("s-1".to_owned());
        there_and_back(vec![0_u8, 255]);
        there_and_back(Bytes::from_static(b"x"));
        there_and_back(u64::MAX - 1);
    }

    #[test]
    fn what_is_no_key_of_the_type_is_said_so() {
        let bytes = vec![0xff_u8, 0xfe].as_key().unwrap();
        assert_eq!(String::from_key(&bytes), None);
        assert_eq!(u64::from_key(&bytes), None);
        assert!("".as_key().is_err());
    }

    #[test]
    fn numbers_are_listed_in_order() {
        assert!(255_u64.as_key().unwrap() < 256_u64.as_key().unwrap());
    }
}
