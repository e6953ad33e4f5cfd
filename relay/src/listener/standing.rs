//! Where a subscription stands, and what its tokens may say.

use bytes::Bytes;
use landbridge_protocol::{
    name::CacheName,
    position::Sequence,
    record::{Kind, Record},
    token::ResumeToken,
    vector::Vector,
    version::{Origin, Version},
};

use crate::engine::command::Published;

/// Where a subscription stands.
///
/// A token's V speaks for all that lies before it. A record that is skipped because a newer one superseded it is told by that
/// newer one; until that has been told, V stays where it was. It lies at or before the head that was published when the
/// record was found superseded: `owed`.
///
/// At another site's relay, what was told may be ahead of what that relay holds, so that a state of a key may be told there
/// which is older than the one told before. From then on the token's V speaks for no more than this relay does: back at the
/// first one, or at a third, the newer state is told again.
///
/// A run is on disk from its first commit on. Until then tokens name the run before it, or a relay that was killed before
/// it had anything to write could not tell a token of its own from one of a store that is lost.
///
/// Of what V says when it is published, a token says what V speaks for of its cache: see [`Published::seen_of`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    log: Log,
    cache: CacheName,
    sequence: Sequence,
    seen: Vector,
    owed: Sequence,
    /// V as of where the log has been read: the removals that it covers were told, or are outdone by what lies further on.
    passed: Vector,
    /// Through here, what `before` covers was told before the log was begun anew.
    anew_through: Sequence,
    before: Vector,
}

/// Whose positions a token names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Log {
    /// The present run.
    pub(super) origin: Origin,
    /// The run before it, and its last sequence.
    pub(super) former: Option<(Origin, Sequence)>,
}

impl Log {
    /// The run to be named by a token that was made when the log reached `head`.
    fn run_at(&self, head: Sequence) -> Origin {
        self.former.filter(|(_, end)| head <= *end).map_or(self.origin, |(run, _)| run)
    }
}

impl Standing {
    /// Begins at the head: nothing before it is owed.
    pub(super) fn at(log: Log, cache: CacheName, published: &Published) -> Self {
        Self {
            log,
            sequence: published.head,
            seen: published.seen_of(&cache).into_owned(),
            cache,
            owed: published.head,
            passed: published.seen.clone(),
            anew_through: Sequence::ZERO,
            before: Vector::new(),
        }
    }

    /// Goes on where a token stands. What it skipped may be owed up to the head of this moment.
    pub(super) fn resumed(log: Log, cache: CacheName, token: ResumeToken, head: Sequence) -> Self {
        Self {
            log,
            cache,
            sequence: token.sequence,
            passed: token.seen.clone(),
            seen: token.seen,
            owed: head,
            anew_through: Sequence::ZERO,
            before: Vector::new(),
        }
    }

    /// Reads the log from its beginning, less what `told` covers, which was told here or at another site.
    pub(super) fn anew(log: Log, cache: CacheName, told: Vector, published: &Published) -> Self {
        Self {
            log,
            sequence: Sequence::ZERO,
            seen: told.meet(&published.seen_of(&cache)),
            cache,
            owed: published.head,
            // What `told` covers of removals that this relay has not heard of may be written over here, and go with a reconcile.
            passed: told.meet(&published.seen),
            anew_through: published.head,
            before: told,
        }
    }

    /// Whether a record was told before the log was begun anew. A mark has the version of the entry that expired, so that
    /// no vector tells: it is told again.
    pub(super) fn was_told(&self, sequence: Sequence, record: &Record) -> bool {
        sequence <= self.anew_through && record.kind != Kind::Mark && self.before.covers(&record.version)
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

    /// What was let go by now is known: it was told, or a snapshot was after it, or it is none of this cache.
    pub(super) fn knows_gone(&mut self, dropped: &Vector) {
        self.passed.join(dropped);
    }

    /// Whether the state of that version was told, or is outdone by what was.
    pub(super) fn has_told(&self, version: &Version) -> bool {
        self.seen.covers(version) || self.before.covers(version)
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
            self.seen.join(&published.seen_of(&self.cache));
        }
    }

    /// The token once all is told or skipped through there, as [`Standing::through`] would have it.
    pub(super) fn token_through(&self, sequence: Sequence, published: &Published) -> Bytes {
        let mut after = self.clone();
        after.through(sequence, published);
        after.token()
    }

    pub(super) fn token(&self) -> Bytes {
        // `owed` is a head that was published.
        let origin = self.log.run_at(self.sequence.max(self.owed));
        ResumeToken { origin, sequence: self.sequence, seen: self.seen.clone() }.to_bytes()
    }
}

/// No log has this position: what is at [`Sequence::ZERO`] with nothing told may go on from there.
const NOWHERE: Sequence = Sequence::new(u64::MAX);

/// The token of a subscriber that is in the middle of a snapshot: from it there is no going on but from the beginning.
pub(super) fn nowhere(origin: Origin) -> Bytes {
    ResumeToken { origin, sequence: NOWHERE, seen: Vector::new() }.to_bytes()
}

/// Whether it is such a token.
pub(super) fn is_nowhere(token: &ResumeToken) -> bool {
    token.sequence == NOWHERE
}

#[cfg(test)]
#[path = "standing_tests.rs"]
mod tests;
