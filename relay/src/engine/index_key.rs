//! A key as the index keeps it: a short one in its place in the tree, and of a long one the beginning, so that a search
//! seldom leaves the tree's nodes.

use std::{cmp::Ordering, sync::Arc};

/// Bytes of a key that is kept in place, at most.
const IN_PLACE: usize = 22;
/// Bytes of a longer one that are.
const BEGINNING: usize = 7;

/// See the module. In the order of the bytes.
#[derive(Debug, Clone)]
pub(super) enum IndexKey {
    /// Zeros follow the key's bytes.
    Short { len: u8, bytes: [u8; IN_PLACE] },
    /// More than [`IN_PLACE`] bytes.
    Long { beginning: [u8; BEGINNING], bytes: Arc<[u8]> },
}

impl IndexKey {
    pub(super) fn of(key: &[u8]) -> Self {
        if key.len() <= IN_PLACE {
            let mut bytes = [0; IN_PLACE];
            bytes[..key.len()].copy_from_slice(key);
            return Self::Short { len: key.len() as u8, bytes };
        }
        let mut beginning = [0; BEGINNING];
        beginning.copy_from_slice(&key[..BEGINNING]);
        Self::Long { beginning, bytes: key.into() }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => &bytes[..usize::from(*len)],
            Self::Long { bytes, .. } => bytes,
        }
    }

    fn beginning(&self) -> u64 {
        let from = match self {
            Self::Short { bytes, .. } => &bytes[..BEGINNING],
            Self::Long { beginning, .. } => beginning,
        };
        let mut word = [0; 8];
        word[..BEGINNING].copy_from_slice(from);
        u64::from_be_bytes(word)
    }
}

impl Ord for IndexKey {
    fn cmp(&self, other: &Self) -> Ordering {
        // Where zeros stand for what a shorter key does not have they are not above what a longer one has there; where all
        // are equal, the lengths tell.
        match (self, other) {
            (Self::Short { len: a, bytes: x }, Self::Short { len: b, bytes: y }) => {
                words(x).cmp(&words(y)).then_with(|| x[16..].cmp(&y[16..])).then(a.cmp(b))
            }
            _ => self.beginning().cmp(&other.beginning()).then_with(|| self.as_bytes().cmp(other.as_bytes())),
        }
    }
}

/// The first sixteen bytes, as numbers, which are compared in a step each.
fn words(bytes: &[u8; IN_PLACE]) -> u128 {
    let mut first = [0; 16];
    first.copy_from_slice(&bytes[..16]);
    u128::from_be_bytes(first)
}

impl PartialOrd for IndexKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for IndexKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for IndexKey {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_the_bytes() {
        let beginnings: [&[u8]; 6] =
            [b"", b"\0", b"session", b"session\0", b"session:0123456", b"\xff\xff\xff\xff\xff\xff\xff\xff"];
        let middles: [&[u8]; 5] = [b"", b"\0", b"0123456789abcdef", b"0123456789abcdef\0", b"0123456789abcdeg"];
        let ends: [&[u8]; 5] = [b"", b"\0", b"\0\0\0\0\0\0", b"zzzzzz", b"zzzzzz\0"];
        let mut keys = Vec::new();
        for (beginning, middle) in beginnings.iter().flat_map(|beginning| middles.map(|middle| (beginning, middle))) {
            keys.extend(ends.map(|end| [beginning, middle, end].concat()));
        }
        let lengths: std::collections::BTreeSet<usize> = keys.iter().map(Vec::len).collect();
        assert!([IN_PLACE - 1, IN_PLACE, IN_PLACE + 1].iter().all(|length| lengths.contains(length)), "{lengths:?}");
        for a in &keys {
            assert_eq!(IndexKey::of(a).as_bytes(), a);
            for b in &keys {
                assert_eq!(IndexKey::of(a).cmp(&IndexKey::of(b)), a.cmp(b), "{a:?} and {b:?}");
            }
        }
    }

    #[test]
    fn it_is_as_large_as_a_pointer_and_two_words() {
        assert_eq!(size_of::<IndexKey>(), 24);
    }
}
