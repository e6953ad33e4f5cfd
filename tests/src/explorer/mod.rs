//! The world in which the engine is explored: the real replicas and the real senders, every step at will.
//!
//! ```text
//!  Site: Replica + Log of commits          Link: Sender ── Wire (frames in flight) ──> commands of the receiving Site
//!           ^ step(Command)                        ^ poll, handle
//!           └────────────── World: put, remove, poll, deliver, break, cut, restart, housekeep, pass ──────────────┘
//! ```
//!
//! [`search`] goes breadth first through all [`action`]s of a [`scenario`]; every world is also let settle, and its end is
//! judged by [`check`]: diverged, lost, resurrected, a tombstone kept, a link faulted, no quiescence. Worlds are known by
//! 64-bit fingerprints ([`mod@print`]) from which times are left out that only say when something was heard or is looked at.
//!
//! [`walk`] goes at random instead, and deeper.
//!
//! What is not content (handshakes, heartbeats, acknowledgements, proposals) is taken at once; batches and reconciles fly
//! until they are delivered. Senders are polled at once for what is quiet; only content and handshakes wait to be polled
//! for. All sites have one wall clock, which stands still but for [`world::World::pass`] and a
//! millisecond at each restart. Not in it: what compaction takes out of a log, several commands in one commit, clocks that
//! differ, answers that are late, and a site that starts before all others know it.
//!
//! A scenario may have a guest ([`world`], `guest.rs`): a site that is added and decommissioned, each other one taking it into its
//! configuration, or out, at a moment of its own. A world in the middle of that is judged with the change brought to its end.
//! And it may have a [`listener`]: it comes to any site with the token that it has, to the relay's own `listener::serve` on the
//! site as it stands, hears one event or all, and is gone. Where all sites are equal in the end, it must have been told what is
//! held of each key wherever it comes next (MISHEARD), and of a gap only where something was removed or lost (GAP FOR NOTHING).
//! Not in that: a subscription that stays while things change, what expires, and clears.

pub mod action;
pub mod check;
pub mod known;
pub mod link;
pub mod listener;
pub mod pairs;
pub mod part;
pub mod print;
pub mod scenario;
pub mod scenarios;
pub mod search;
pub mod site;
pub mod walk;
pub mod world;
