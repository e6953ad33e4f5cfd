//! The rules of replication by name, so that the explorer and the simulation can take each out and show what then breaks.

macro_rules! guards {
    (
        replication { $($(#[$doc:meta])* $name:ident,)* }
        relay { $($(#[$whole_doc:meta])* $whole:ident,)* }
    ) => {
        /// A rule that holds in production and that a test may take out.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Guard { $($(#[$doc])* $name,)* $($(#[$whole_doc])* $whole,)* }

        impl Guard {
            /// Every rule of replication: the explorer shows what breaks without it.
            pub const ALL: &'static [Guard] = &[$(Guard::$name,)*];
            /// Rules of the relay as a whole, which the explorer does not get to see: the simulation shows what breaks.
            pub const WHOLE: &'static [Guard] = &[$(Guard::$whole,)*];
        }
    };
}

guards! {
replication {
    /// A batch's vector claims only what nothing unsent stands for.
    EagerVector,
    /// A record answers for those that it superseded.
    NoSuperseder,
    /// What is claimed ahead of the rest is of the sender's present run alone, not of the site's earlier ones.
    EarlierRun,
    /// What is claimed of that run stops before what a record that waits has superseded here.
    OwnStands,
    /// What tombstones go by is replaced only by the handshake that opens the peer's own stream.
    AnyHandshake,
    /// Tombstones are counted by what came in the peer's own stream, not by what peers report otherwise.
    OutOfBand,
    /// Own V covers a tombstone that is dropped.
    DropUnseen,
    /// A forced drop is held durably by every reachable site before the first drops.
    Unannounced,
    /// A forced drop waits until the others have the same from the isolated site.
    Unagreed,
    /// A forced drop asks whether V covers what the tombstone replaced.
    ContextUnseen,
    /// G is joined at the end of a reconcile.
    NoInherit,
    /// A reconcile writes anew what the sender had not seen.
    NoAnew,
    /// A life that the sender never knew begins anew.
    WrittenAnew,
    /// Writing anew keeps a birth that the sender knows.
    AnewBirth,
    /// Nothing is taken from a peer that must be reconciled first.
    NoGate,
    /// Where both must be reconciled, the lower name sends first.
    NoMutual,
    /// A live record that V covers is not merged.
    MergeCovered,
    /// A covered tombstone is merged onto a lower live record only.
    TombstoneCovered,
    /// A cursor of a former run is good only if all runs since ended in order.
    WrittenCursor,
    /// A reconcile that another has made needless is not taken.
    NeedlessTaken,
    /// A cursor beyond its run's end is cut.
    NoClamp,
    /// A cursor of an unknown run starts at zero.
    NoZero,
    /// A handshake replaces the report of a peer instead of joining it.
    KeepReport,
    /// What a peer's former run had in flight is refused.
    FormerRun,
    /// A handshake's vector is not joined into V.
    JoinHandshake,
    /// A peer with which some cache does not replicate, though with others it does, speaks for its own writes alone.
    Hearsay,
    /// Who lacks some of a cache claims own writes alone.
    LackingClaims,
    /// What the V of such a one covers it is sent all the same.
    Unspoken,
    /// Changes of other sites are passed on.
    OwnOnly,
    /// Sending an own record leaves the complete cursor where it is.
    OneCursor,
    /// Under `remove_wins` a reconcile tests the birth.
    ByVersion,
    /// A tombstone's birth is that of the life it ended.
    TombstoneBirth,
    /// `remove_wins` puts removed over live within a birth.
    OrderVersion,
    /// A mark equals its entry in the order.
    MarkRemoved,
    /// A wiped store is filled from every peer that has dropped something before it takes writes.
    FillOne,
    /// Ended runs are closed.
    NoClose,
    /// Marks are not forced out where the isolated peer may have refreshed the life.
    MarkForced,
    /// A mark waits until every peer's stream is past its deadline.
    MarkEarly,
    /// A write over a live entry keeps its birth.
    FreshBirth,
    /// What a peer lacks is drift only where who lists it knows of all that the peer has let go.
    DriftDropped,
}
relay {
    /// Of two versions with one clock, the origin decides.
    OriginDecides,
    /// A command sees what those before it in its group have changed.
    GroupSoFar,
    /// Links and listeners read the log no further than what is published, and tell what is held.
    ReadPublished,
}
}

/// The guards that hold: all of them, but in the explorer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guards(Option<Guard>);

impl Guards {
    /// Every rule holds. The only value that production uses.
    pub const fn all() -> Self {
        Self(None)
    }

    /// All but one, to see what breaks.
    pub const fn without(guard: Guard) -> Self {
        Self(Some(guard))
    }

    /// Whether this rule holds.
    pub fn hold(self, guard: Guard) -> bool {
        self.0 != Some(guard)
    }
}

impl Default for Guards {
    fn default() -> Self {
        Self::all()
    }
}
