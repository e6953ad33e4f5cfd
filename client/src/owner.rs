//! Which node of the site owns a key: the rendezvous hash over the site view, the same at every node.

use crate::backoff::splitmix64;

/// FNV-1a, 64 bits (Fowler, Noll, Vo).
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// Between member and key: no byte of UTF-8, so that ("a", "bc") and ("ab", "c") differ.
const SEPARATOR: u8 = 0xff;

/// The member with the greatest weight for the key; of equal ones the first by name. `None` where there are no members.
///
/// The weight is `splitmix64(fnv1a64(member ++ 0xff ++ key))`. When a member goes, only its keys move.
pub(crate) fn owner<'a>(members: &'a [String], key: &[u8]) -> Option<&'a str> {
    members.iter().map(String::as_str).max_by(|a, b| weight(a, key).cmp(&weight(b, key)).then_with(|| b.cmp(a)))
}

fn weight(member: &str, key: &[u8]) -> u64 {
    let bytes = member.as_bytes().iter().chain(&[SEPARATOR]).chain(key);
    splitmix64(bytes.fold(FNV_OFFSET, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn order_of_joining_does_not_matter() {
        let (one, other) = (members(&["node11", "node12", "node13"]), members(&["node13", "node11", "node12"]));
        for key in 0_u32..1000 {
            assert_eq!(owner(&one, &key.to_be_bytes()), owner(&other, &key.to_be_bytes()));
        }
        assert_eq!(owner(&[], b"key"), None);
    }

    #[test]
    fn keys_are_spread_and_only_those_of_a_lost_member_move() {
        let (before, after) =
            (members(&["node11", "node12", "node13", "node14"]), members(&["node11", "node12", "node14"]));
        let mut counts = std::collections::BTreeMap::<&str, u32>::new();
        for key in 0_u32..4000 {
            let key = format!("session-{key}");
            let was = owner(&before, key.as_bytes()).unwrap();
            *counts.entry(was).or_default() += 1;
            if was != "node13" {
                assert_eq!(owner(&after, key.as_bytes()), Some(was));
            }
        }
        assert!(counts.len() == 4 && counts.values().all(|count| (800..1200).contains(count)), "{counts:?}");
    }

    /// Nodes of different releases must agree for ever.
    #[test]
    fn the_hash_never_changes() {
        assert_eq!(weight("node11", b"s-1"), 14_733_340_050_093_253_317);
    }
}
