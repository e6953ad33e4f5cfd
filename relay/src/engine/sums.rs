//! Sums of what is held of a cache, by which two relays see in which of its buckets they differ.
//!
//! A key falls into one of [`DRIFT_BUCKETS`] buckets by its hash. Of each live entry a hash is taken over key, version, birth,
//! deadline and the checksum of the value; a bucket's sum is that of its entries' hashes, so that it does not matter in which order
//! they came, and one can be taken out again. A cache's clear counts in the first bucket. `WIRE.md` says how the hash is made:
//! both ends must make the same.

use std::sync::Arc;

use landbridge_protocol::{
    frame::DRIFT_BUCKETS,
    version::{Origin, Version},
};

/// Odd, and without a pattern: 2^64 divided by the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// The sum of each bucket. 2 KiB, shared by copies until one changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sums(Arc<[u64; DRIFT_BUCKETS]>);

impl Default for Sums {
    fn default() -> Self {
        Self(Arc::new([0; DRIFT_BUCKETS]))
    }
}

impl Sums {
    pub(crate) fn add(&mut self, bucket: u8, hash: u64) {
        let sum = &mut Arc::make_mut(&mut self.0)[usize::from(bucket)];
        *sum = sum.wrapping_add(hash);
    }

    pub(crate) fn take(&mut self, bucket: u8, hash: u64) {
        let sum = &mut Arc::make_mut(&mut self.0)[usize::from(bucket)];
        *sum = sum.wrapping_sub(hash);
    }

    pub(crate) fn as_slice(&self) -> &[u64] {
        self.0.as_slice()
    }
}

/// What is hashed of an entry besides its key; of origins their hashes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Summed {
    pub(crate) clock: u64,
    pub(crate) origin: u64,
    pub(crate) birth: u64,
    pub(crate) birth_origin: u64,
    /// 0: none.
    pub(crate) deadline: u64,
    pub(crate) checksum: u32,
}

impl Summed {
    /// The hash of an entry of the key of that hash.
    pub(crate) fn hash(self, key: u64) -> u64 {
        let Self { clock, origin, birth, birth_origin, deadline, checksum } = self;
        [clock, origin, birth, birth_origin, deadline, u64::from(checksum)].into_iter().fold(key, fold)
    }
}

/// Both halves of the product, as neither alone depends on all bits.
fn fold(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word) * u128::from(FACTOR);
    (product as u64) ^ ((product >> 64) as u64)
}

fn hash_of(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words.iter().fold(bytes.len() as u64 + 1, |hash, word| fold(hash, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    fold(hash, u64::from_le_bytes(last))
}

/// A key's hash, and the bucket that it falls into.
pub(crate) fn of_key(key: &[u8]) -> (u64, u8) {
    let hash = fold(hash_of(key), FACTOR);
    (hash, (hash >> 56) as u8)
}

pub(crate) fn of_origin(origin: &Origin) -> u64 {
    fold(hash_of(origin.site.as_str().as_bytes()), origin.run.0)
}

/// A clear's hash, in the first bucket.
pub(crate) fn of_clear(clear: &Version) -> u64 {
    fold(fold(1, clear.clock.bits()), of_origin(&clear.origin))
}

#[cfg(test)]
mod tests {
    use landbridge_protocol::{
        name::SiteName,
        version::{Clock, RunId},
    };

    use super::*;

    fn summed() -> Summed {
        Summed { clock: 1, origin: 2, birth: 3, birth_origin: 4, deadline: 5, checksum: 6 }
    }

    /// These numbers are those of the wire: another relay makes them, too.
    #[test]
    fn hashes_are_the_same_for_ever() {
        let origin = Origin { site: SiteName::new("site1").unwrap(), run: RunId(0x5eed) };
        let (key, bucket) = of_key(b"a key of more than eight bytes");
        assert_eq!((key, bucket), (KEY, (KEY >> 56) as u8));
        assert_eq!(of_origin(&origin), ORIGIN);
        assert_eq!(summed().hash(key), ENTRY);
        assert_eq!(of_clear(&Version { clock: Clock::from_bits(7), origin }), CLEAR);
    }
    const KEY: u64 = 0x95b1_c004_87f2_8e07;
    const ORIGIN: u64 = 0x9e4a_d565_8243_1d04;
    const ENTRY: u64 = 0x0127_52bb_367f_4136;
    const CLEAR: u64 = 0xe021_cce9_41cc_35bd;

    #[test]
    fn every_part_of_an_entry_counts_and_the_order_does_not() {
        let key = of_key(b"k").0;
        let others = [
            Summed { clock: 9, ..summed() },
            Summed { origin: 9, ..summed() },
            Summed { birth: 9, ..summed() },
            Summed { birth_origin: 9, ..summed() },
            Summed { deadline: 9, ..summed() },
            Summed { checksum: 9, ..summed() },
        ];
        for other in others {
            assert_ne!(other.hash(key), summed().hash(key), "{other:?}");
        }
        let (mut one, mut other) = (Sums::default(), Sums::default());
        for (bucket, hash) in [(0, 3), (0, u64::MAX), (255, 7)] {
            one.add(bucket, hash);
        }
        for (bucket, hash) in [(255, 7), (0, u64::MAX), (9, 4), (0, 3)] {
            other.add(bucket, hash);
        }
        assert_ne!(one, other);
        other.take(9, 4);
        assert_eq!(one, other);
    }

    #[test]
    fn keys_spread_over_all_buckets() {
        let mut counts = [0_u32; DRIFT_BUCKETS];
        for n in 0..256 * 64 {
            counts[usize::from(of_key(format!("session-{n}").as_bytes()).1)] += 1;
        }
        assert!(counts.iter().all(|count| (24..=128).contains(count)), "{counts:?}");
    }
}
