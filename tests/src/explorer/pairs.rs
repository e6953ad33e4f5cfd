//! Sets of directed links.

/// Sites that a world may have.
pub const MAX_SITES: usize = 4;

/// A set of links, from and to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Pairs(u16);

impl Pairs {
    fn bit(from: usize, to: usize) -> u16 {
        1 << (from * MAX_SITES + to)
    }

    /// Whether it is in.
    pub fn contains(self, from: usize, to: usize) -> bool {
        self.0 & Self::bit(from, to) != 0
    }

    /// Puts it in, or takes it out.
    pub fn set(&mut self, from: usize, to: usize, is_in: bool) {
        self.0 &= !Self::bit(from, to);
        if is_in {
            self.0 |= Self::bit(from, to);
        }
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// The links between so many sites.
pub fn pairs(sites: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
    (0..sites).flat_map(move |from| (0..sites).map(move |to| (from, to))).filter(|(from, to)| from != to)
}
