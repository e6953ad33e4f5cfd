//! Everything that is drawn is drawn from here: SplitMix64, so that a seed is a run on every machine.

use std::ops::Range;

/// A source of numbers that follow from a seed.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The numbers of this seed.
    pub fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// Dice of its own for a part, so that what one part draws does not change what another does.
    pub fn apart(&mut self) -> Self {
        Self(self.draw())
    }

    /// 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of the range, each as likely; its start where it is empty.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.draw() % range.end.saturating_sub(range.start).max(1)
    }

    /// So many times out of a thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.draw() % 1000 < per_mille
    }

    /// One of them.
    ///
    /// # Panics
    /// When there are none.
    pub fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.draw() as usize % all.len()].clone()
    }
}
