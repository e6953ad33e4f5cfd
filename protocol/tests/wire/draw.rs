//! Values to put on the wire: drawn at random from a seed, or always the same ones for golden bytes.

use bytes::Bytes;
use landbridge_protocol::{
    name::{CacheName, NodeName, SiteName},
    position::{Cursor, Sequence, Through},
    record::{ClientId, Key, Kind, MAX_CONTEXT, Merge, Record, WriteToken},
    time::{Millis, Timestamp},
    token::ResumeToken,
    vector::Vector,
    version::{Clock, Origin, RunId, Version},
};

/// Where values come from.
pub(crate) struct Draw {
    state: u64,
    fixed: bool,
}

impl Draw {
    /// Values that never change: they count up.
    pub(crate) fn fixed() -> Self {
        Self { state: 0, fixed: true }
    }

    /// Values by splitmix64, as Vigna published it.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self { state: seed, fixed: false }
    }

    fn word(&mut self) -> u64 {
        if self.fixed {
            self.state += 1;
            return self.state;
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.word() % bound as u64) as usize
    }

    /// Of every width up to 64 bits.
    pub(crate) fn number(&mut self) -> u64 {
        if self.fixed { 100 + self.word() } else { self.word() >> self.below(64) }
    }

    /// Up to 31 bits.
    pub(crate) fn small(&mut self) -> u32 {
        (self.number() & 0x7fff_ffff) as u32
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    /// Something, or nothing.
    pub(crate) fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(3) > 0).then(|| make(self))
    }

    /// Two in fixed draws, up to `max` in others.
    pub(crate) fn many<T>(&mut self, max: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = if self.fixed { 2.min(max) } else { self.below(max + 1) };
        (0..count).map(|_| make(self)).collect()
    }

    /// One of these.
    pub(crate) fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }

    pub(crate) fn bytes(&mut self) -> Bytes {
        let bound = self.one_of(&[4, 40, 400]);
        self.many(bound, |d| d.word() as u8).into()
    }

    pub(crate) fn text(&mut self) -> String {
        self.one_of(&["", "landbridge 0.1.0", "what is wrong, and what to do", "größer als erlaubt"]).into()
    }

    pub(crate) fn site(&mut self) -> SiteName {
        SiteName::new(self.one_of(&["site1", "site2", "a-site-with-a-name-of-31-bytes."])).unwrap()
    }

    pub(crate) fn cache(&mut self) -> CacheName {
        CacheName::new(self.one_of(&["sessions", "work", "loginFailures"])).unwrap()
    }

    pub(crate) fn node(&mut self) -> NodeName {
        NodeName::new(self.one_of(&["node11", "node21", "node11.cli"])).unwrap()
    }

    pub(crate) fn key(&mut self) -> Key {
        let mut bytes = b"key-".to_vec();
        bytes.extend_from_slice(&self.bytes());
        Key::new(bytes).unwrap()
    }

    pub(crate) fn run(&mut self) -> RunId {
        RunId(self.number())
    }

    pub(crate) fn clock(&mut self) -> Clock {
        Clock::from_bits(self.number())
    }

    pub(crate) fn wall(&mut self) -> Timestamp {
        Timestamp::from_millis(self.number())
    }

    pub(crate) fn span(&mut self) -> Millis {
        Millis::new(self.number())
    }

    pub(crate) fn sequence(&mut self) -> Sequence {
        Sequence::new(self.number())
    }

    pub(crate) fn origin(&mut self) -> Origin {
        Origin { site: self.site(), run: self.run() }
    }

    pub(crate) fn version(&mut self) -> Version {
        Version { clock: self.clock(), origin: self.origin() }
    }

    pub(crate) fn through(&mut self) -> Through {
        Through { direct: self.sequence(), complete: self.sequence() }
    }

    pub(crate) fn cursor(&mut self) -> Cursor {
        Cursor { run: self.run(), through: self.through() }
    }

    pub(crate) fn token(&mut self) -> WriteToken {
        WriteToken { client: ClientId(self.number()), number: self.number() }
    }

    pub(crate) fn merge(&mut self) -> Merge {
        self.one_of(&[Merge::Latest, Merge::RemoveWins])
    }

    pub(crate) fn vector(&mut self, max: usize) -> Vector {
        self.many(max, |d| (d.origin(), d.clock())).into_iter().collect()
    }

    pub(crate) fn resume(&mut self) -> ResumeToken {
        ResumeToken { origin: self.origin(), sequence: self.sequence(), seen: self.vector(9) }
    }

    /// A record that keeps the rules of records.
    pub(crate) fn record(&mut self) -> Record {
        let kind = self.one_of(&[Kind::Mark, Kind::Live, Kind::Tombstone, Kind::Clear, Kind::Live]);
        let positive = |n: u64| n.max(1);
        Record {
            cache: self.cache(),
            key: (kind != Kind::Clear).then(|| self.key()),
            kind,
            version: self.version(),
            birth: self.version(),
            deadline: self.maybe(|d| Timestamp::from_millis(positive(d.number()))),
            max_idle: self.maybe(|d| Millis::new(positive(d.number()))),
            token: self.maybe(|d| WriteToken { client: ClientId(positive(d.number())), number: d.number() }),
            node: self.maybe(Self::node),
            context: self.vector(MAX_CONTEXT),
            flags: 0,
            value: if kind == Kind::Live { self.bytes() } else { Bytes::new() },
        }
    }
}
