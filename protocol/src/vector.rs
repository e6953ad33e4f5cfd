//! Vectors: for each origin, a clock. The seen vector V, the dropped vector G and the contexts of records are vectors.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    bounded::Bounded,
    version::{Clock, Origin, Version},
};

/// Origins that a vector has at most where it is read from bytes.
pub const MAX_VECTOR: usize = 65_535;

/// For each origin, a clock; an origin that is not in it stands at [`Clock::ZERO`]. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Vector(Option<Arc<Pairs>>); // sorted by origin, no zero clocks; `None` where there are none: most contexts

type Pairs = Vec<(Origin, Clock)>;

impl Vector {
    /// The empty vector, which covers nothing.
    pub fn new() -> Self {
        Self::default()
    }

    fn of(pairs: Pairs) -> Self {
        Self((!pairs.is_empty()).then(|| Arc::new(pairs)))
    }

    fn pairs(&self) -> &[(Origin, Clock)] {
        self.0.as_ref().map_or(&[], |pairs| pairs.as_slice())
    }

    fn find(&self, origin: &Origin) -> Result<usize, usize> {
        self.pairs().binary_search_by(|(o, _)| o.cmp(origin))
    }

    /// The clock of `origin`.
    pub fn clock(&self, origin: &Origin) -> Clock {
        self.find(origin).map_or(Clock::ZERO, |at| self.pairs()[at].1)
    }

    /// Whether it speaks for `version`.
    pub fn covers(&self, version: &Version) -> bool {
        self.clock(&version.origin) >= version.clock
    }

    /// Whether it covers all that `other` does.
    pub fn includes(&self, other: &Vector) -> bool {
        std::ptr::eq(self.pairs(), other.pairs()) || other.pairs().iter().all(|(o, c)| self.clock(o) >= *c)
    }

    /// Raises the clock of `origin` to `clock`; tells whether that changed anything.
    pub fn raise(&mut self, origin: Origin, clock: Clock) -> bool {
        if clock == Clock::ZERO {
            return false;
        }
        let found = self.find(&origin);
        if found.is_ok_and(|at| self.pairs()[at].1 >= clock) {
            return false;
        }
        let pairs = Arc::make_mut(self.0.get_or_insert_default());
        match found {
            Ok(at) => pairs[at].1 = clock,
            Err(at) => pairs.insert(at, (origin, clock)),
        }
        true
    }

    /// Raises every component to that of `other`; tells whether that changed anything.
    pub fn join(&mut self, other: &Vector) -> bool {
        if self.includes(other) {
            return false;
        }
        // One pass: a peer says how many there are, and a place made for each one by itself would be quadratic.
        let (mine, theirs) = (self.pairs(), other.pairs());
        let mut joined = Vec::with_capacity(mine.len() + theirs.len());
        let mut rest = theirs.iter().copied().peekable();
        for &(origin, clock) in mine {
            while let Some(before) = rest.next_if(|(other, _)| *other < origin) {
                joined.push(before);
            }
            let same = rest.next_if(|(other, _)| *other == origin);
            joined.push((origin, same.map_or(clock, |(_, theirs)| theirs.max(clock))));
        }
        joined.extend(rest);
        *self = Self::of(joined);
        true
    }

    /// The greatest vector that both include.
    pub fn meet(&self, other: &Vector) -> Vector {
        let lower = |(o, c): (Origin, Clock)| (o, c.min(other.clock(&o)));
        Self::of(self.iter().map(lower).filter(|(_, c)| *c > Clock::ZERO).collect())
    }

    /// The components of `self` that are beyond those of `base`: what must travel for one who has `base`.
    pub fn beyond(&self, base: &Vector) -> Vector {
        Self::of(self.iter().filter(|(o, c)| base.clock(o) < *c).collect())
    }

    /// Takes `origin` out, as when it is settled or its site decommissioned.
    pub fn forget(&mut self, origin: &Origin) {
        let Ok(at) = self.find(origin) else { return };
        let pairs = self.0.take().map(Arc::unwrap_or_clone).map(|mut pairs| {
            pairs.remove(at);
            pairs
        });
        *self = Self::of(pairs.unwrap_or_default());
    }

    /// Origins and clocks, by origin.
    pub fn iter(&self) -> impl Iterator<Item = (Origin, Clock)> + '_ {
        self.pairs().iter().copied()
    }

    /// Number of origins.
    pub fn len(&self) -> usize {
        self.pairs().len()
    }

    /// Whether it covers nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The greatest clock in it.
    pub fn greatest(&self) -> Clock {
        self.pairs().iter().map(|(_, c)| *c).max().unwrap_or(Clock::ZERO)
    }
}

impl FromIterator<(Origin, Clock)> for Vector {
    fn from_iter<I: IntoIterator<Item = (Origin, Clock)>>(pairs: I) -> Self {
        let mut pairs: Vec<_> = pairs.into_iter().filter(|(_, clock)| *clock > Clock::ZERO).collect();
        // Sorted once, whatever order they come in: pairs come from peers and from nodes' resume tokens too.
        pairs.sort_unstable_by(|(a, x), (b, y)| a.cmp(b).then(y.cmp(x)));
        pairs.dedup_by_key(|(origin, _)| *origin);
        Vector::of(pairs)
    }
}

impl Serialize for Vector {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.pairs())
    }
}

impl<'de> Deserialize<'de> for Vector {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Bounded::<(Origin, Clock), MAX_VECTOR>::deserialize(d).map(|Bounded(pairs)| pairs.into_iter().collect())
    }
}

impl fmt::Debug for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
