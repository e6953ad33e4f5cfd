//! A subscriber that moves between the relays of three sites at any moment, while they write, replicate, are killed and
//! let tombstones go: nothing is lost, and there is no gap that nothing dropped. Its own relay may also be wiped, and
//! filled anew: then it is told of the gap.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use landbridge_protocol::{
    frame::{
        RelayToNode,
        node::{Event, EventKind},
    },
    record::Kind,
    token::ResumeToken,
};
use proptest::{collection::vec, prelude::*};

use super::{
    Feed,
    tests::{Log, origin_of, subscribe},
};

const SITES: [&str; 3] = ["site1", "site2", "site3"];

#[derive(Debug, Clone)]
enum Step {
    Write {
        at: usize,
        key: u8,
        live: bool,
    },
    /// So many records of one relay's log go to another; V goes along once all have.
    Replicate {
        from: usize,
        to: usize,
        records: usize,
    },
    /// Tombstones that all have seen go at one relay.
    Drop {
        at: usize,
    },
    /// The subscriber is at that relay for so many events.
    Hear {
        at: usize,
        events: usize,
    },
    /// A relay is killed, and starts again.
    Kill {
        at: usize,
    },
    /// The relay that the subscriber heard last loses its store, is filled by the others, and is where it comes back to.
    Wipe,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_usize, 0..4_u8, prop::bool::weighted(0.7)).prop_map(|(at, key, live)| Step::Write { at, key, live }),
        3 => (0..3_usize, 1..3_usize, 1..4_usize)
            .prop_map(|(from, by, records)| Step::Replicate { from, to: (from + by) % 3, records }),
        1 => (0..3_usize).prop_map(|at| Step::Drop { at }),
        3 => (0..3_usize, 0..5_usize).prop_map(|(at, events)| Step::Hear { at, events }),
        1 => (0..3_usize).prop_map(|at| Step::Kill { at }),
        1 => Just(Step::Wipe),
    ]
}

struct World {
    logs: [Arc<Log>; 3],
    /// How far each relay's log was read for each other one.
    sent: BTreeMap<(usize, usize), usize>,
    written: u32,
    runs: u64,
    dropped: bool,
    wiped: bool,
    heard: BTreeMap<String, String>,
    token: Option<Bytes>,
    gaps: u32,
    in_snapshot: bool,
}

impl World {
    fn new() -> Self {
        Self {
            logs: SITES.map(|site| Log::of(origin_of(site, 1))),
            sent: BTreeMap::new(),
            written: 0,
            runs: 1,
            dropped: false,
            wiped: false,
            heard: BTreeMap::new(),
            token: None,
            gaps: 0,
            in_snapshot: true,
        }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Write { at, key, live } => {
                self.written += 1;
                let kind = if live { Kind::Live } else { Kind::Tombstone };
                self.logs[at].append(&format!("k{key}"), kind, &self.written.to_string());
            }
            Step::Replicate { from, to, records } => self.replicate(from, to, records),
            Step::Drop { at } => self.let_go(at),
            Step::Hear { at, events } => self.hear(at, events).await,
            Step::Kill { at } => {
                self.runs += 1;
                self.logs[at] = self.logs[at].killed(self.runs);
            }
            Step::Wipe => self.wipe().await,
        }
    }

    async fn wipe(&mut self) {
        let Some(token) = self.token.as_ref().map(|token| ResumeToken::from_bytes(token).unwrap()) else { return };
        let at = SITES.iter().position(|site| *site == token.origin.site.as_str()).unwrap();
        self.runs += 1;
        self.wiped = true;
        self.logs[at] = Log::of(origin_of(SITES[at], self.runs));
        self.sent.retain(|(from, to), _| *from != at && *to != at);
        for from in (0..3).filter(|from| *from != at) {
            self.logs[at].inherit(&self.logs[from].dropped());
            self.replicate(from, at, usize::MAX);
        }
        self.hear(at, usize::MAX).await;
    }

    /// As links do: what is held, and what the receiver's V does not cover.
    fn replicate(&mut self, from: usize, to: usize, records: usize) {
        let (sender, receiver) = (&self.logs[from], &self.logs[to]);
        let sent = self.sent.entry((from, to)).or_default();
        let unsent = sender.after(*sent);
        let newest = sender.newest();
        for record in unsent.iter().take(records) {
            *sent += 1;
            let held = newest[record.key.as_ref().unwrap()].0 == *sent as u64;
            if held && !receiver.seen().covers(&record.version) {
                receiver.receive(record.clone());
            }
        }
        if unsent.len() <= records {
            receiver.learn(&sender.seen());
        }
    }

    fn let_go(&mut self, at: usize) {
        for (_, record) in self.logs[at].newest().into_values() {
            let seen_by_all = self.logs.iter().all(|log| log.seen().covers(&record.version));
            if record.kind == Kind::Tombstone && seen_by_all {
                self.logs[at].drop_tombstone(record.version);
                self.dropped = true;
            }
        }
    }

    async fn hear(&mut self, at: usize, events: usize) {
        let mut subscriber = subscribe(&self.logs[at], self.token.clone(), self.token.is_none());
        for heard in 0..=events {
            match subscriber.hear_at_once().await {
                // The client keeps it as it keeps an event's.
                Some(RelayToNode::Subscribed(subscribed)) if heard == 0 => self.keep(subscribed.token),
                Some(RelayToNode::Event(event)) if heard > 0 => self.told(event),
                None => break,
                Some(other) => panic!("{other:?}"),
            }
        }
        subscriber.stop.cancel();
    }

    fn keep(&mut self, token: Bytes) {
        if !self.in_snapshot {
            self.token = Some(token);
        }
    }

    fn told(&mut self, event: Event) {
        let key = event.key.as_ref().map(|key| String::from_utf8_lossy(key.as_bytes()).into_owned());
        match (event.kind, key) {
            (EventKind::Gap, _) => {
                self.gaps += 1;
                self.heard.clear();
                self.in_snapshot = true;
                self.token = Some(event.token.clone());
            }
            (EventKind::SnapshotEnd, _) => self.in_snapshot = false,
            (EventKind::Removed, Some(key)) => drop(self.heard.remove(&key)),
            (EventKind::Created | EventKind::Modified, Some(key)) => {
                self.heard.insert(key, String::from_utf8_lossy(&event.value).into_owned());
            }
            other => panic!("{other:?}"),
        }
        self.keep(event.token);
    }

    /// Everything is replicated everywhere, and the subscriber hears all that there is at one relay.
    async fn settle(&mut self, at: usize) {
        for _ in 0..3 {
            for (from, to) in [(0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2)] {
                self.replicate(from, to, usize::MAX);
            }
        }
        let before = self.gaps;
        self.hear(at, usize::MAX).await;
        if self.in_snapshot {
            // A first snapshot that was cut: the client begins it anew.
            self.heard.clear();
            self.hear(at, usize::MAX).await;
        }
        assert!(self.gaps <= before + 1, "one gap tells it all");
        assert!(!self.in_snapshot);
        let live = |log: &Log| -> BTreeMap<String, String> {
            let newest = log.newest().into_values().map(|(_, record)| record);
            let live = newest.filter(|record| record.kind == Kind::Live);
            live.map(|record| {
                let key = String::from_utf8_lossy(record.key.as_ref().unwrap().as_bytes()).into_owned();
                (key, String::from_utf8_lossy(&record.value).into_owned())
            })
            .collect()
        };
        let distinct: BTreeSet<_> = self.logs.iter().map(|log| live(log)).collect();
        assert_eq!(distinct.len(), 1, "the relays themselves are equal");
        assert_eq!(self.heard, live(&self.logs[at]));
        assert!(self.gaps == 0 || self.dropped || self.wiped, "a gap, though nothing was dropped or wiped");
    }
}

fn run(steps: Vec<Step>, last: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut world = World::new();
        // A run that is killed before its store holds anything is as one that was wiped.
        for at in 0..3 {
            world.take(Step::Write { at, key: 4, live: true }).await;
        }
        world.hear(0, usize::MAX).await;
        for step in steps {
            world.take(step).await;
        }
        world.settle(last).await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn who_moves_between_relays_hears_each_keys_last_change(steps in vec(step(), 1..40), last in 0..3_usize) {
        run(steps, last);
    }
}

/// There and back, between two relays neither of which has heard of the other's write: what was told first is the newer
/// one, and has to be told again.
#[test]
fn an_older_state_told_elsewhere_does_not_stay_the_last_word() {
    let write = |at| Step::Write { at, key: 0, live: true };
    let hear = |at| Step::Hear { at, events: 9 };
    let older_at_the_second = [write(1), write(0), write(0), hear(0), hear(1)];
    run(older_at_the_second.into(), 0);
}

/// Two that are told together, of which the subscriber kept the first one's token: its V lags behind what was told.
#[test]
fn what_a_wiped_relay_had_alone_does_not_stay_with_who_had_heard_it() {
    let write = |key| Step::Write { at: 0, key, live: true };
    run(vec![write(0), write(1), Step::Hear { at: 0, events: 1 }, Step::Wipe], 0);
}
