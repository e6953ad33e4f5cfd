//! Digests of what decides replication: equal on all machines and in all versions.

use landbridge_protocol::{frame::peer::CacheDigest, name::CacheName, record::Merge};

use super::replica::{CacheConfig, Replicate};

/// Where a digest begins.
pub(super) const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a with a separator, which equals on all machines and in all versions.
pub(super) fn fnv(hash: u64, text: &str) -> u64 {
    let bytes = text.bytes().chain(std::iter::once(0));
    bytes.fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// What decides a cache's replication, as a number.
pub(super) fn digest_with(name: &CacheName, merge: Merge, replicate: Replicate) -> u64 {
    // The places of `sites` and `atomic`, which have one value each in this version.
    ["1", name.as_str(), merge.as_str(), replicate.as_str(), "all", "site"].into_iter().fold(FNV_BASIS, fnv)
}

/// What decides a cache's replication, as it is said in a handshake.
pub fn digest_of(name: &CacheName, cache: &CacheConfig) -> CacheDigest {
    CacheDigest { cache: name.clone(), merge: cache.merge, digest: digest_with(name, cache.merge, cache.replicate) }
}
