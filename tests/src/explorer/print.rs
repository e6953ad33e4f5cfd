//! 64-bit fingerprints of worlds.
//!
//! Time is abstracted: what is hashed is what decides, not when a peer was last heard or when something is looked at next.
//! Records that are superseded are not hashed either; only a replayed log shows them again.

use std::{
    collections::HashSet,
    hash::{BuildHasherDefault, Hash, Hasher},
};

use super::world::World;

/// A multiply-fold hash.
struct Fold(u64);

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0u8; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }
    fn write_u64(&mut self, word: u64) {
        let mixed = u128::from(self.0 ^ word ^ 0x9E37_79B9_7F4A_7C15);
        let product = mixed.wrapping_mul(0xD6E8_FEB8_6659_FD93_A076_1D64_78BD_642F);
        self.0 = (product as u64) ^ ((product >> 64) as u64).rotate_left(29);
    }
    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte) | 0x100);
    }
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

/// The fingerprint of anything.
pub fn print_of(of: &impl Hash, salt: u64) -> u64 {
    let mut hasher = Fold(salt);
    of.hash(&mut hasher);
    hasher.finish()
}

/// The fingerprint of a world.
pub fn print(world: &World, salt: u64) -> u64 {
    let mut hasher = Fold(salt);
    let state = &mut hasher;
    for site in &world.sites {
        site.print().hash(state);
    }
    for link in &world.links {
        link.print().hash(state);
    }
    let known = &world.known;
    (world.cut, world.running, world.now, &known.ended, world.saved, world.spent).hash(state);
    if world.scenario.listens > 0 {
        world.listener.hash(state);
    }
    (known.puts, known.removals.len(), world.fault.is_some()).hash(state);
    hasher.finish()
}

/// Prints of what was visited.
#[derive(Debug, Default)]
pub struct Prints(HashSet<u64, BuildHasherDefault<Pass>>);

impl Prints {
    /// Whether it is new.
    pub fn insert(&mut self, print: u64) -> bool {
        self.0.insert(print)
    }

    /// Whether it is known.
    pub fn contains(&self, print: u64) -> bool {
        self.0.contains(&print)
    }
}

/// A print is a hash already.
#[derive(Debug, Default, Clone, Copy)]
struct Pass(u64);

impl Hasher for Pass {
    fn write(&mut self, _: &[u8]) {}
    fn write_u64(&mut self, print: u64) {
        self.0 = print.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}
