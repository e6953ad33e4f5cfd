//! A listener that comes and goes, and what it has heard.

use bytes::Bytes;
use landbridge_protocol::{
    frame::{
        RelayToNode,
        node::{Event, EventKind},
    },
    token::ResumeToken,
    version::Version,
};

/// What it keeps, as the client does: the token of the event heard last, but not of those inside of a snapshot.
#[derive(Debug, Clone, Hash)]
pub struct Listener {
    token: Option<Bytes>,
    /// Whether a snapshot was begun and not ended.
    in_snapshot: bool,
    /// What it was told of each key last, by the key's bytes.
    heard: Vec<Option<(Version, Bytes)>>,
    /// The site that it has to come back to first, as what that had told is lost.
    owed_at: Option<usize>,
    /// Whether it may have heard what is lost, and nobody owes it a word.
    strayed: bool,
}

impl Listener {
    /// One that has heard nothing.
    pub fn new(keys: usize) -> Self {
        Self { token: None, in_snapshot: true, heard: vec![None; keys], owed_at: None, strayed: false }
    }

    /// Whether it has ever listened.
    pub fn has_begun(&self) -> bool {
        self.token.is_some()
    }

    /// Its token, and whether it asks for a snapshot: it comes to that site.
    pub fn comes_to(&mut self, site: usize) -> (Option<Bytes>, bool) {
        self.strayed |= self.owed_at.take().is_some_and(|owed| owed != site);
        if self.in_snapshot {
            self.heard.fill(None);
        }
        (self.token.clone(), self.token.is_none())
    }

    /// It is told; says whether that was a gap.
    pub fn is_told(&mut self, frame: RelayToNode) -> bool {
        match frame {
            RelayToNode::Subscribed(subscribed) => self.keep(subscribed.token),
            RelayToNode::Event(event) => return self.is_told_of(event),
            other => panic!("a listener was told {other:?}"),
        }
        false
    }

    fn is_told_of(&mut self, event: Event) -> bool {
        let at = event.key.as_ref().map(|key| usize::from(key.as_bytes()[0] - b'a'));
        let mut gap = false;
        match (event.kind, at) {
            (EventKind::Gap, _) => {
                self.heard.fill(None);
                self.in_snapshot = true;
                self.token = Some(event.token.clone());
                gap = true;
            }
            (EventKind::SnapshotEnd, _) => self.in_snapshot = false,
            (EventKind::Removed | EventKind::Expired, Some(at)) => self.heard[at] = None,
            (EventKind::Created | EventKind::Modified, Some(at)) => {
                self.heard[at] = event.version.map(|version| (version, event.value));
            }
            other => panic!("a listener was told {other:?}"),
        }
        self.keep(event.token);
        gap
    }

    fn keep(&mut self, token: Bytes) {
        if !self.in_snapshot {
            self.token = Some(token);
        }
    }

    /// A site has lost its store, or the end of it. Who comes back there with a token of it is told; who has been elsewhere
    /// since is not.
    pub fn has_lost(&mut self, site: usize, is_of: impl Fn(&ResumeToken) -> bool) {
        match self.token.as_ref().and_then(|token| ResumeToken::from_bytes(token).ok()) {
            Some(token) if is_of(&token) => self.owed_at = Some(site),
            Some(_) => self.strayed = true,
            None => {}
        }
    }

    /// Where it must go first, if what it has heard is to be what is held; `None`: it may have heard what is lost.
    pub fn goes_first(&self, site: usize) -> Option<usize> {
        (!self.strayed).then_some(self.owed_at.unwrap_or(site))
    }

    /// What it was told of a key last.
    pub fn last(&self, k: usize) -> Option<&(Version, Bytes)> {
        self.heard[k].as_ref()
    }

    /// Whether it has heard of a snapshot that has not ended.
    pub fn is_in_snapshot(&self) -> bool {
        self.in_snapshot
    }
}
