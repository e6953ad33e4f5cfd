//! Bytes in frames that are not copied when decoded: they share the memory of the frame.
//!
//! serde's own `Bytes` copies. Here, [`decode`] names the frame for the time of decoding, and what borrows from it
//! becomes a slice of it.

use std::cell::RefCell;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::record::Key;

thread_local! {
    static FRAME: RefCell<Option<Bytes>> = const { RefCell::new(None) };
}

/// Decodes a MessagePack body, to its last byte; the blobs in it share the memory of `body`.
pub fn decode<T: de::DeserializeOwned>(body: &Bytes) -> Result<T, rmp_serde::decode::Error> {
    scoped(body, || {
        let mut from = rmp_serde::Deserializer::from_read_ref(&body[..]);
        let thing = T::deserialize(&mut from)?;
        if at_end(&mut from) { Ok(thing) } else { Err(de::Error::custom("bytes after the body")) }
    })
}

/// Whether there is nothing left to read.
pub(crate) fn at_end<'de, R: rmp_serde::decode::ReadSlice<'de>>(from: &mut rmp_serde::Deserializer<R>) -> bool {
    use rmp_serde::decode::Error;
    let next = de::IgnoredAny::deserialize(from);
    matches!(next, Err(Error::InvalidMarkerRead(e)) if e.kind() == std::io::ErrorKind::UnexpectedEof)
}

/// Runs `work`, in which blobs that lie in `frame` share its memory.
pub(crate) fn scoped<T>(frame: &Bytes, work: impl FnOnce() -> T) -> T {
    struct Restore(Option<Bytes>);
    impl Drop for Restore {
        fn drop(&mut self) {
            FRAME.set(self.0.take());
        }
    }
    let _restore = Restore(FRAME.replace(Some(frame.clone())));
    work()
}

/// Bytes that share the memory of the frame that they came in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Blob(pub Bytes);

/// For `#[serde(with = "blob")]` on fields of type [`Bytes`].
pub fn serialize<S: Serializer>(bytes: &Bytes, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_bytes(bytes)
}

/// For `#[serde(with = "blob")]` on fields of type [`Bytes`].
pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Bytes, D::Error> {
    struct Visit;
    impl<'de> de::Visitor<'de> for Visit {
        type Value = Bytes;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("bytes")
        }
        fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<Bytes, E> {
            Ok(share(bytes))
        }
        fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
            Ok(Bytes::copy_from_slice(bytes))
        }
    }
    d.deserialize_bytes(Visit)
}

/// The part of the frame under decoding that `bytes` is; a copy where it lies outside of it.
fn share(bytes: &[u8]) -> Bytes {
    FRAME.with_borrow(|frame| match frame {
        Some(frame) if !bytes.is_empty() && frame.as_ptr_range().contains(&bytes.as_ptr()) => frame.slice_ref(bytes),
        _ => Bytes::copy_from_slice(bytes),
    })
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        serialize(&self.0, s)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        deserialize(d).map(Blob)
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(self.as_bytes())
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Key::new(deserialize(d)?).map_err(de::Error::custom)
    }
}

macro_rules! numbered {
    ($name:ty, $($variant:ident)*) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_u8(*self as u8)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let number = u8::deserialize(d)?;
                [$(<$name>::$variant),*].into_iter().find(|v| *v as u8 == number)
                    .ok_or_else(|| de::Error::custom(format_args!("{number} is no {}", stringify!($name))))
            }
        }
    };
}
numbered!(crate::frame::node::Operation, Put PutIfAbsent Replace ReplaceIfVersion Remove RemoveIfVersion);
numbered!(crate::frame::node::EventKind, Created Modified Removed Expired Cleared Gap SnapshotEnd);
numbered!(crate::record::Kind, Live Tombstone Mark Clear);
