//! The drift check of a link: whether the receiver holds what this relay does. See [`crate::engine::drift`].
//!
//! ```text
//!  Next ── sums ──> Summing ── unequal ──> Again ── sums ──> Summing ── unequal twice ──> Listing ── part ──> Listed
//!   ^ │               │ equal,                (by itself only: what was merely              ^ │                │ found
//!   │ └ end           │ left out               on its way is not listed)                   │ │ through         v
//!   └─────────────────┴───────────────────────────────────────────────────────────────────┼─┴─────── Sending ─> Reading
//!                                                                                          └──────────────────── Repairing
//! ```
//!
//! One question is under way at a time, and between two parts it rests, so that neither side is held up: some ten thousand records a
//! second at most. A stream that ends takes the check along; one that somebody has asked for begins anew on the next.

use std::{
    collections::VecDeque,
    hash::{Hash, Hasher},
};

use landbridge_protocol::{
    frame::{
        DRIFT_VERSION, SenderToReceiver,
        peer::{
            DriftAsk, DriftEnd, DriftFinding, DriftFound, DriftPart, DriftRepair, DriftRepaired, DriftSums,
            DriftUnequal,
        },
    },
    name::{CacheName, SiteName},
    position::Sequence,
    record::{Key, Record},
    time::{Millis, Timestamp},
};

use super::{Sender, SenderOutput, State, send};
use crate::engine::{
    drift::{DriftOrder, DriftReport, Listed, lacked, listed, to_send},
    link::stream::Reading,
    replica::Replica,
};

/// Between two parts.
const REST: Millis = Millis::new(50);
/// What was unequal is compared once more after this time.
const AGAIN_AFTER: Millis = Millis::from_secs(2);
/// Checks that wait for the one under way; one more takes the place of the last.
const MAX_WANTED: usize = 8;
/// Records of one repair.
const MAX_SENT: usize = 256;

/// What the peer says to a question.
#[derive(Debug, Clone)]
pub enum DriftAnswer {
    /// To sums.
    Unequal(DriftUnequal),
    /// To a part.
    Found(DriftFound),
    /// To a repair.
    Repaired(DriftRepaired),
}

/// Of what decides what is asked next: not of what was found.
impl Hash for Drift {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.wanted.hash(state);
        self.check.as_ref().map(|check| (&check.order, &check.caches, format!("{:?}", check.step))).hash(state);
    }
}

/// The check of one link.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Drift {
    wanted: VecDeque<DriftOrder>,
    check: Option<Check>,
    due: Option<Timestamp>,
    report: DriftReport,
}

#[derive(Debug, Clone, PartialEq)]
struct Check {
    order: DriftOrder,
    /// To be looked at yet.
    caches: VecDeque<CacheName>,
    step: Step,
    rests_until: Timestamp,
    found: DriftReport,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Next,
    /// The peer compares sums; `before`: what was unequal at the first look.
    Summing {
        cache: CacheName,
        before: Option<Vec<u8>>,
    },
    Again {
        cache: CacheName,
        before: Vec<u8>,
    },
    Listing(Place),
    /// The peer looks up what was listed.
    Listed {
        place: Place,
        listed: Listed,
        records: Vec<Record>,
    },
    /// What is lacked is to be read and sent.
    Sending(Mending),
    Reading(Mending),
    /// The peer takes it.
    Repairing(Mending),
}

/// Where the listing of a cache is.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    cache: CacheName,
    buckets: Vec<u8>,
    after: Option<Key>,
}

/// What is left to be sent of what one part has found.
#[derive(Debug, Clone, PartialEq)]
struct Mending {
    cache: CacheName,
    lacked: VecDeque<(Sequence, u64)>,
    /// What is read of it.
    reading: Vec<Sequence>,
    /// Where the listing goes on; `None`: it is at its end.
    then: Option<Place>,
}

impl Drift {
    /// The stream has ended, and with it what was under way.
    pub(super) fn interrupted(&mut self) {
        if let Some(check) = self.check.take().filter(|check| check.order != DriftOrder::default()) {
            self.wanted.push_front(check.order);
        }
    }

    /// A check by itself is due so long after the first stream, and after each check.
    pub(super) fn begun(&mut self, every: Option<Millis>, now: Timestamp) {
        self.due = every.map(|every| self.due.unwrap_or(now.after(every)).min(now.after(every)));
    }

    /// When there is something to do that nobody else wakes the sender for.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        match &self.check {
            None if !self.wanted.is_empty() => Some(Timestamp::ZERO),
            None => self.due,
            Some(check) => (!check.waits()).then_some(check.rests_until),
        }
    }

    fn begin(&mut self, every: Option<Millis>, replica: &Replica, now: Timestamp) -> Option<&mut Check> {
        let due = self.due.is_some_and(|due| due <= now) && every.is_some();
        if self.check.is_none() && (due || !self.wanted.is_empty()) {
            let order = self.wanted.pop_front().unwrap_or_default();
            let caches = order.cache.clone().map_or_else(|| replica.drift_caches(), |cache| vec![cache]);
            let found = DriftReport { asked: order.asked, ..DriftReport::default() };
            let (caches, step, rests_until) = (caches.into(), Step::Next, Timestamp::ZERO);
            self.check = Some(Check { order, caches, step, rests_until, found });
        }
        self.check.as_mut()
    }

    fn end(&mut self, every: Option<Millis>, now: Timestamp) -> Option<SenderToReceiver> {
        let check = self.check.take()?;
        let DriftOrder { ask, cache, .. } = check.order;
        self.report = check.found.done(&self.report, cache.as_ref(), now);
        self.due = every.map(|every| now.after(every));
        Some(SenderToReceiver::DriftEnd(DriftEnd { ask, cache }))
    }
}

impl Check {
    /// Whether the peer, or the log, has the word.
    fn waits(&self) -> bool {
        matches!(self.step, Step::Summing { .. } | Step::Listed { .. } | Step::Reading(_) | Step::Repairing(_))
    }

    /// The next question; `None`: there is none yet. The check is at its end where it stays at [`Step::Next`].
    fn ask(&mut self, peer: &SiteName, replica: &Replica, batch_bytes: usize) -> Option<SenderOutput> {
        match std::mem::replace(&mut self.step, Step::Next) {
            Step::Next => {
                while let Some(cache) = self.caches.pop_front() {
                    let Some(why) = replica.undecidable(peer, &cache) else {
                        return Some(self.sum(cache, None, replica));
                    };
                    self.found.left_out.insert(cache, why);
                }
                None
            }
            Step::Again { cache, before } => Some(self.sum(cache, Some(before), replica)),
            Step::Listing(place) => self.list(place, replica),
            Step::Sending(mending) => {
                let mut bytes = 0;
                let fits = |(_, size): &&(Sequence, u64)| {
                    bytes += *size;
                    bytes <= batch_bytes as u64
                };
                let count = mending.lacked.iter().take(MAX_SENT).take_while(fits).count().max(1);
                let reading: Vec<Sequence> = mending.lacked.iter().take(count).map(|(sequence, _)| *sequence).collect();
                let lacked = mending.lacked.iter().skip(count).copied().collect();
                self.step = Step::Reading(Mending { lacked, reading: reading.clone(), ..mending });
                Some(SenderOutput::ReadRecords(reading))
            }
            waiting => {
                self.step = waiting;
                None
            }
        }
    }

    fn sum(&mut self, cache: CacheName, before: Option<Vec<u8>>, replica: &Replica) -> SenderOutput {
        let sums = replica.drift_sums(&cache);
        self.step = Step::Summing { cache: cache.clone(), before };
        send(SenderToReceiver::DriftSums(DriftSums { cache, sums }))
    }

    fn list(&mut self, place: Place, replica: &Replica) -> Option<SenderOutput> {
        let Place { cache, buckets, after } = &place;
        let held = replica.drift_part(cache, buckets, after.as_ref());
        if held.held.is_empty() {
            let on = held.through.map(|through| Place { after: Some(through), ..place });
            self.go_on(on);
            return None;
        }
        let records: Vec<Record> = held.held.iter().map(|(key, slot)| listed(cache, key.as_ref(), slot)).collect();
        let checksums = held.held.iter().map(|(_, slot)| slot.checksum).collect();
        let (cache, seen) = (cache.clone(), held.seen.clone());
        self.step = Step::Listed { place, listed: held, records: records.clone() };
        Some(send(SenderToReceiver::DriftPart(DriftPart { cache, seen, checksums, records })))
    }

    fn go_on(&mut self, place: Option<Place>) {
        self.step = place.map_or(Step::Next, Step::Listing);
    }

    fn unequal(&mut self, unequal: DriftUnequal, now: Timestamp) -> Result<(), String> {
        let Step::Summing { cache, before } = std::mem::replace(&mut self.step, Step::Next) else {
            return Err(unasked());
        };
        if let Some(why) = unequal.left_out {
            self.found.left_out.insert(cache, why);
            return Ok(());
        }
        self.found.caches.entry(cache.clone()).or_default();
        let mut buckets = unequal.buckets;
        let by_itself = self.order == DriftOrder::default();
        match before {
            None if by_itself && !buckets.is_empty() => {
                self.rests_until = now.after(AGAIN_AFTER);
                self.step = Step::Again { cache, before: buckets };
                return Ok(());
            }
            Some(before) => buckets.retain(|bucket| before.contains(bucket)),
            None => {}
        }
        if !buckets.is_empty() {
            self.step = Step::Listing(Place { cache, buckets, after: None });
        }
        Ok(())
    }

    fn found(&mut self, found: DriftFound, now: Timestamp) -> Result<(), String> {
        let Step::Listed { place, listed, records } = std::mem::replace(&mut self.step, Step::Next) else {
            return Err(unasked());
        };
        let cache = place.cache.clone();
        if let Some(why) = found.left_out {
            self.found.caches.remove(&cache);
            self.found.records.retain(|record| record.cache != cache);
            self.found.left_out.insert(cache, why);
            return Ok(());
        }
        let findings: Vec<DriftFinding> = found.findings;
        self.found.add(&cache, findings.iter().filter_map(|finding| lacked(&records, finding)));
        let then = listed.through.map(|through| Place { after: Some(through), ..place });
        let lacked = if self.order.repair { to_send(&listed.held, &findings) } else { VecDeque::new() };
        self.rests_until = now.after(REST);
        if lacked.is_empty() {
            self.go_on(then);
        } else {
            self.step = Step::Sending(Mending { cache, lacked, reading: Vec::new(), then });
        }
        Ok(())
    }

    fn repaired(&mut self, repaired: DriftRepaired) -> Result<(), String> {
        let Step::Repairing(mending) = std::mem::replace(&mut self.step, Step::Next) else { return Err(unasked()) };
        self.found.repaired(&mending.cache, u64::from(repaired.taken));
        self.mend(mending);
        Ok(())
    }

    fn mend(&mut self, mending: Mending) {
        if mending.lacked.is_empty() {
            self.go_on(mending.then);
        } else {
            self.step = Step::Sending(mending);
        }
    }

    /// What was to be sent is read. What has been superseded since is lacked no more; the rest is held now, with V of now.
    fn read(&mut self, records: Vec<Option<Record>>, replica: &Replica) -> Option<SenderOutput> {
        let Step::Reading(mending) = std::mem::replace(&mut self.step, Step::Next) else { return None };
        let read = mending.reading.iter().zip(records).filter_map(|(sequence, record)| Some((*sequence, record?)));
        let records: Vec<Record> =
            read.filter(|(sequence, record)| replica.holds(*sequence, record)).map(|(_, record)| record).collect();
        if records.is_empty() {
            self.mend(mending);
            return None;
        }
        let repair = DriftRepair { cache: mending.cache.clone(), seen: replica.seen().clone(), records };
        self.step = Step::Repairing(mending);
        Some(send(SenderToReceiver::DriftRepair(repair)))
    }
}

fn unasked() -> String {
    "the peer answered what was not asked".into()
}

impl Sender {
    /// A check that somebody wants. Where an operator does, the peer is asked for that of the other way.
    pub(super) fn check_drift(&mut self, order: DriftOrder) {
        if self.drift_impossible().is_some() {
            return;
        }
        if order.asked > 0 {
            let DriftOrder { asked, cache, repair, .. } = order.clone();
            self.out.push_back(send(SenderToReceiver::DriftAsk(DriftAsk { ask: asked, cache, repair })));
        }
        self.drift.wanted.truncate(MAX_WANTED - 1);
        self.drift.wanted.push_back(order);
    }

    /// Why the peer can't be asked, in words.
    pub fn drift_impossible(&self) -> Option<String> {
        if !matches!(self.state, State::Streaming(_)) {
            return Some(format!("the link to {} does not stream", self.peer));
        }
        self.knows_no_drift()
    }

    /// Why the peer never answers, in words.
    pub fn knows_no_drift(&self) -> Option<String> {
        let (version, _) = self.spoken.as_ref().filter(|(version, _)| *version < DRIFT_VERSION)?;
        Some(format!("{} does not know the drift check: it speaks protocol version {version}", self.peer))
    }

    /// What the last check has found that the peer lacks.
    pub fn drift_report(&self) -> &DriftReport {
        &self.drift.report
    }

    pub(super) fn drift_answered(&mut self, answer: DriftAnswer, now: Timestamp) {
        let Some(check) = self.drift.check.as_mut().filter(|_| matches!(self.state, State::Streaming(_))) else {
            return;
        };
        let taken = match answer {
            DriftAnswer::Unequal(unequal) => check.unequal(unequal, now),
            DriftAnswer::Found(found) => check.found(found, now),
            DriftAnswer::Repaired(repaired) => check.repaired(repaired),
        };
        if let Err(why) = taken {
            self.broke(why, now);
        }
    }

    /// Records that the check has asked for.
    pub(super) fn drift_read(&mut self, records: Vec<Option<Record>>, replica: &Replica) {
        let State::Streaming(open) = &mut self.state else { return };
        if open.stream.reading.take_if(|reading| *reading == Reading::Lacked).is_some()
            && let Some(check) = &mut self.drift.check
        {
            self.out.extend(check.read(records, replica));
        }
    }

    /// The next question, where nothing else is to be said.
    pub(super) fn advance_drift(&mut self, replica: &Replica, now: Timestamp) {
        let unknown = self.knows_no_drift().is_some();
        let (every, batch_bytes, peer) = (self.config.drift_check_every, self.config.batch_bytes, self.peer);
        let State::Streaming(open) = &mut self.state else { return };
        if unknown || !self.out.is_empty() || self.paced.is_some() || open.stream.reading.is_some() {
            return;
        }
        let Some(check) = self.drift.begin(every, replica, now) else { return };
        if check.waits() || check.rests_until > now {
            return;
        }
        let was_next = check.step == Step::Next;
        let question = check.ask(&peer, replica, batch_bytes);
        if matches!(question, Some(SenderOutput::ReadRecords(_))) {
            open.stream.reading = Some(Reading::Lacked);
        }
        let at_end = question.is_none() && was_next;
        check.rests_until = check.rests_until.max(if question.is_none() { now.after(REST) } else { now });
        self.out.extend(question);
        if at_end {
            self.out.extend(self.drift.end(every, now).map(send));
        }
    }
}
