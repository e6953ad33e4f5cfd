//! Where a subscription stands, and what its tokens may say.

use bytes::Bytes;
use landbridge_protocol::{
    position::Sequence,
    record::{Kind, Record},
    token::ResumeToken,
    vector::Vector,
    version::Origin,
};

use crate::engine::command::Published;

/// Where a subscription stands.
///
/// A token's V speaks for all that lies before it. A record that is skipped because a newer one superseded it is told by that
/// newer one; until that has been told, V stays where it was. It lies at or before the head that was published when the
/// record was found superseded: `owed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    origin: Origin,
    sequence: Sequence,
    seen: Vector,
    owed: Sequence,
    /// V as of where the log has been read: the removals that it covers were told, or are outdone by what lies further on.
    passed: Vector,
    /// Through here, what V covers was told before the log was begun anew.
    anew_through: Sequence,
}

impl Standing {
    /// Begins at the head: nothing before it is owed.
    pub(super) fn at(origin: Origin, published: &Published) -> Self {
        Self {
            origin,
            sequence: published.head,
            seen: published.seen.clone(),
            owed: published.head,
            passed: published.seen.clone(),
            anew_through: Sequence::ZERO,
        }
    }

    /// Goes on where a token stands. What it skipped may be owed up to the head of this moment.
    pub(super) fn resumed(origin: Origin, token: ResumeToken, head: Sequence) -> Self {
        let passed = token.seen.clone();
        Self { origin, sequence: token.sequence, seen: token.seen, owed: head, passed, anew_through: Sequence::ZERO }
    }

    /// Reads the log from its beginning, less what `seen` covers.
    pub(super) fn anew(origin: Origin, seen: Vector, head: Sequence) -> Self {
        let passed = seen.clone();
        Self { origin, sequence: Sequence::ZERO, seen, owed: head, passed, anew_through: head }
    }

    /// Whether a record was told before the log was begun anew. A mark has the version of the entry that expired, so that
    /// no vector tells: it is told again.
    pub(super) fn was_told(&self, sequence: Sequence, record: &Record) -> bool {
        sequence <= self.anew_through && record.kind != Kind::Mark && self.seen.covers(&record.version)
    }

    pub(super) fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// An event of that position is told next: the token that it carries resumes after it.
    pub(super) fn tell(&mut self, sequence: Sequence) -> Bytes {
        self.sequence = sequence;
        self.token()
    }

    /// Whether a removal may have been let go before it was come to.
    pub(super) fn has_missed(&self, dropped: &Vector) -> bool {
        !self.passed.includes(dropped)
    }

    /// What was let go before is known, as a snapshot was told after.
    pub(super) fn told_anew(&mut self, dropped: &Vector) {
        self.passed.join(dropped);
    }

    /// A record was skipped as something newer was held; the head was there in that same look.
    pub(super) fn skip(&mut self, head: Sequence) {
        self.owed = self.owed.max(head);
    }

    /// All is told or skipped through there; `published` was taken before that part of the log was read.
    pub(super) fn through(&mut self, sequence: Sequence, published: &Published) {
        self.sequence = self.sequence.max(sequence);
        if self.sequence >= published.head {
            self.passed.join(&published.seen);
        }
        if self.sequence >= published.head && published.head >= self.owed {
            self.seen.join(&published.seen);
        }
    }

    pub(super) fn token(&self) -> Bytes {
        ResumeToken { origin: self.origin, sequence: self.sequence, seen: self.seen.clone() }.to_bytes()
    }
}

/// The token of a subscriber that is in the middle of a snapshot: from it there is no going on but from the beginning.
pub(super) fn nowhere(origin: Origin) -> Bytes {
    ResumeToken { origin, sequence: Sequence::ZERO, seen: Vector::new() }.to_bytes()
}
