//! What goes through the writer's one door, and what comes back.
//!
//! Every change of a relay's state is a [`Command`]: a node's write, a peer's batch, an expiry, a handshake. The writer
//! decides a group of them against the committed state and the group so far, commits what they amount to, publishes it,
//! and only then gives the [`Answer`]s, refusals included.

use std::borrow::Cow;

use landbridge_protocol::{
    error::Refusal,
    frame::{node, peer},
    name::{CacheName, NodeName, SiteName},
    position::{Sequence, Through},
    record::WriteToken,
    time::Timestamp,
    vector::Vector,
    version::{Clock, Origin, RunId},
};

use super::replica::ReplicaConfig;

/// An input of the writer.
#[derive(Debug, Clone)]
pub enum Command {
    /// A node's write of one key.
    Write {
        /// Who writes.
        node: NodeName,
        /// What.
        write: node::Write,
    },
    /// A node's clear of a cache.
    Clear {
        /// Who.
        node: NodeName,
        /// Which cache.
        cache: CacheName,
        /// The client's token.
        token: WriteToken,
        /// As in [`node::Write::retry`].
        retry: Option<Clock>,
    },
    /// A handshake has told what a peer has. Volatile, unless it ends filling.
    Introduced {
        /// What the peer said of itself.
        peer: Box<peer::Introduction>,
        /// Whether it opened the peer's own stream to this relay (the peer is the sender), or this relay's to it.
        incoming: bool,
    },
    /// The sender of an incoming stream says where it begins.
    Started {
        /// The sender.
        peer: SiteName,
        /// Its run.
        run: RunId,
        /// Where.
        after: Through,
    },
    /// A batch from a peer.
    Apply {
        /// The sender.
        peer: SiteName,
        /// Its run, from the stream's handshake.
        run: RunId,
        /// The batch.
        batch: Box<peer::Batch>,
    },
    /// A heartbeat from a peer's own stream. Volatile.
    Heard {
        /// The sender.
        peer: SiteName,
        /// Its run.
        run: RunId,
        /// [`peer::Heartbeat::past`].
        past: Timestamp,
        /// The peer's wall clock less this relay's, in milliseconds.
        skew_ms: i64,
    },
    /// The wall clocks of the two sites are too far apart for the link, in a handshake or a heartbeat of either. Volatile.
    Skewed {
        /// The peer.
        peer: SiteName,
        /// As in [`Command::Heard`].
        skew_ms: i64,
    },
    /// A peer has committed this relay's log through here. Volatile: what a record stands for goes by it.
    Acknowledged {
        /// The receiver.
        peer: SiteName,
        /// Its run, from the stream's handshake.
        run: RunId,
        /// Its cursor.
        through: Through,
    },
    /// A peer's V, as it says in answers to this relay's link. Volatile: what it covers need not be sent.
    Reported {
        /// The receiver.
        peer: SiteName,
        /// Its run, from the stream's handshake.
        run: RunId,
        /// Components of its V.
        seen: Vector,
    },
    /// A reconcile from a peer begins.
    ReconcileBegin {
        /// The sender.
        peer: SiteName,
        /// Its run.
        run: RunId,
        /// What it says.
        begin: peer::ReconcileBegin,
    },
    /// A range of keys of a reconcile.
    ReconcileChunk {
        /// The sender.
        peer: SiteName,
        /// Its run.
        run: RunId,
        /// The range and its records. The last one (`through` is `None`) ends the reconcile.
        chunk: Box<peer::ReconcileChunk>,
    },
    /// Records of a peer that this relay was found to lack.
    RepairDrift {
        /// The sender.
        peer: SiteName,
        /// Its run.
        run: RunId,
        /// What it holds.
        repair: Box<peer::DriftRepair>,
    },
    /// The peer's link to this relay broke or was closed. Volatile.
    Lost {
        /// The peer.
        peer: SiteName,
        /// Whether it was the peer's own stream, or this relay's to it.
        incoming: bool,
    },
    /// A peer proposes a forced drop.
    DropProposed {
        /// The asker.
        peer: SiteName,
        /// Its proposal.
        proposal: peer::DropProposal,
    },
    /// A peer answers this relay's proposal.
    DropAnswered {
        /// The one who answers.
        peer: SiteName,
        /// Its answer.
        answer: peer::DropAnswer,
    },
    /// What is owed to time: expiry marks, droppable tombstones, closing of ended runs, forced drops. The writer gives
    /// it to itself when [`super::replica::Replica::next_due`] has passed, and after groups that may have made some due.
    Housekeep,
    /// Another configuration holds from here on. Decided alone: what is decided before goes by the former one, what is
    /// decided after by this one. Refused whole where it can't be taken over while the relay runs.
    Reconfigure(Box<ReplicaConfig>),
    /// The relay shuts down in order: the run is marked as ended so.
    EndRun,
}

impl Command {
    /// Whether it looks at more of the committed state than [`super::group::Group`] has of the groups ahead of it: then it
    /// waits until these are published. Writes, batches and what keeps links going do not.
    pub fn needs_all_published(&self) -> bool {
        match self {
            Command::Write { .. }
            | Command::Started { .. }
            | Command::Apply { .. }
            | Command::Heard { .. }
            | Command::Skewed { .. }
            | Command::Acknowledged { .. }
            | Command::Reported { .. }
            | Command::RepairDrift { .. }
            | Command::Lost { .. }
            | Command::DropProposed { .. }
            | Command::EndRun => false,
            Command::Clear { .. }
            | Command::Introduced { .. }
            | Command::ReconcileBegin { .. }
            | Command::ReconcileChunk { .. }
            | Command::DropAnswered { .. }
            | Command::Reconfigure(_)
            | Command::Housekeep => true,
        }
    }

    /// Whether it is decided in a group of its own, on top of which none is decided before it is published.
    pub fn is_decided_alone(&self) -> bool {
        matches!(self, Command::Reconfigure(_))
    }
}

/// What the writer answers once the commit is durable and published.
#[derive(Debug, Clone)]
pub enum Answer {
    /// To a write or a clear.
    Written(node::Outcome),
    /// To [`Command::Introduced`] with `incoming`: the receiver's cursor of the sender's log.
    Introduced {
        /// The cursor, if there is one.
        cursor: Option<landbridge_protocol::position::Cursor>,
        /// The digest that it was read under.
        cursor_digest: u64,
    },
    /// To [`Command::Apply`]: committed through here.
    Applied(Through),
    /// To [`Command::ReconcileChunk`].
    Reconciled {
        /// Whether it was the last chunk, and handshakes come next.
        done: bool,
    },
    /// To [`Command::ReconcileChunk`] that was more than one command takes: what is to be given next.
    ReconciledPart {
        /// The rest of the chunk.
        rest: Box<peer::ReconcileChunk>,
    },
    /// To [`Command::RepairDrift`].
    DriftRepaired {
        /// Records that were lacked still, and are held now.
        taken: u32,
    },
    /// To [`Command::DropProposed`].
    Drop(peer::DropAnswer),
    /// To [`Command::Housekeep`]: whether there is more to do at once.
    Housekept {
        /// A bound was reached.
        more: bool,
    },
    /// To everything else.
    Done,
}

/// A command's end: an answer, or why it was refused. Nothing of a refused command is committed.
pub type Decided = Result<Answer, Refusal>;

/// What a commit did, for those who wait on the log: published after it is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The head of the log.
    pub head: Sequence,
    /// V.
    pub seen: Vector,
    /// Caches of which something is lacked, and the site whose log has it: V does not speak for them. See `engine/widening.rs`.
    pub lacks: Vec<(SiteName, CacheName)>,
}

impl Published {
    /// V as far as it speaks for a cache: without the runs of the sites of whose log some of the cache is lacked.
    pub fn seen_of(&self, cache: &CacheName) -> Cow<'_, Vector> {
        if self.lacks.iter().all(|(_, of)| of != cache) {
            return Cow::Borrowed(&self.seen);
        }
        let lacked = |origin: &Origin| self.lacks.iter().any(|(site, of)| *site == origin.site && of == cache);
        Cow::Owned(self.seen.iter().filter(|(origin, _)| !lacked(origin)).collect())
    }
}
