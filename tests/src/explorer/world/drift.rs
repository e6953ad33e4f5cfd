//! The drift check in the world: a record that a log loses, what is told of it, and what a repair makes of it.

use landbridge_protocol::frame::DRIFT_BUCKETS;
use landbridge_relay::engine::drift::{DriftOrder, listed};

use super::*;

/// Times at which a sender is polled for one check: it rests between two parts.
const POLLS: u64 = 200;

impl World {
    /// The log of a site loses what it holds of a key, and the relay starts again on the rest.
    pub fn lose(&mut self, site: usize, k: usize) {
        let Some(slot) = self.slot(site, k) else { return };
        self.sites[site].change().lose(slot.sequence);
        self.restart(site, self.sites[site].log.len());
    }

    /// Whether a loss is one that a repair can mend: another site has the very entry.
    pub fn may_lose(&self, site: usize, k: usize) -> bool {
        let live = |at: usize| self.live(at, k).map(|slot| slot.version);
        live(site).is_some() && (0..self.sites.len()).all(|other| live(other) == live(site))
    }

    /// A check of one link from its beginning to its end, with a repair; all that it says is taken at once.
    pub fn check_drift(&mut self, from: usize, to: usize) {
        let order = DriftOrder { asked: 0, ask: 1, cache: None, repair: true };
        self.handle(from, to, SenderInput::CheckDrift(order));
        for n in 0..POLLS {
            let now = self.now.after(Millis::new(n * 60));
            let State::Streaming(_) = self.link(from, to).sender.state() else { return };
            while let Some(output) = self.ask(from, to, now) {
                if matches!(&output, SenderOutput::Send(frame) if matches!(**frame, SenderToReceiver::DriftEnd(_))) {
                    return;
                }
                self.carry_out(from, to, output);
            }
        }
        self.fault = Some(format!("DRIFT CHECK {from}->{to} HAS NO END"));
    }

    /// What this world's `to` lacks of what `from` held in an older one, as a check would tell.
    pub fn drift(&self, older: &World, from: usize, to: usize) -> Option<String> {
        let (lister, looker) = (&older.sites[from].replica, &self.sites[to].replica);
        let buckets: Vec<u8> = (0..DRIFT_BUCKETS).map(|bucket| bucket as u8).collect();
        for cache in lister.drift_caches() {
            if lister.undecidable(&site_name(to), &cache).is_some()
                || looker.undecidable(&site_name(from), &cache).is_some()
            {
                continue;
            }
            let part = lister.drift_part(&cache, &buckets, None);
            let records: Vec<Record> = part.held.iter().map(|(key, slot)| listed(&cache, key.as_ref(), slot)).collect();
            let checksums: Vec<u32> = part.held.iter().map(|(_, slot)| slot.checksum).collect();
            if let Some(found) = looker.drift_found(&cache, &part.seen, (&records, &checksums), self.now).first() {
                let record = &records[found.at as usize];
                return Some(format!("{from}->{to} {:?} {:?} held {:?}", record.kind, record.version, found.held));
            }
        }
        None
    }

    /// Nothing is drift while nothing was lost.
    pub(in crate::explorer) fn no_drift(&mut self, before: &World) {
        if self.spent.losses > 0 || !self.scenario.guards.hold(Guard::DriftDropped) {
            return;
        }
        for (from, to) in self.pairs() {
            if !self.are_linked(from, to) {
                continue;
            }
            let told = self.drift(self, from, to).or_else(|| {
                let same_run = before.sites[from].replica.origin() == self.sites[from].replica.origin();
                self.drift(before, from, to).filter(|_| same_run)
            });
            if let Some(told) = told {
                self.fault = Some(format!("DRIFT TOLD {told}"));
            }
        }
    }

    /// The receiving end of a check.
    pub(super) fn take_drift(
        &mut self,
        to: usize,
        peer: SiteName,
        frame: SenderToReceiver,
        run: RunId,
    ) -> Result<Option<ReceiverToSender>, Refusal> {
        let replica = &self.sites[to].replica;
        Ok(match frame {
            SenderToReceiver::DriftSums(sums) => {
                let left_out = replica.undecidable(&peer, &sums.cache);
                let unequal = || replica.drift_unequal(&sums.cache, &sums.sums);
                let buckets = if left_out.is_none() { unequal() } else { Vec::new() };
                Some(ReceiverToSender::DriftUnequal(peer::DriftUnequal { buckets, left_out }))
            }
            SenderToReceiver::DriftPart(peer::DriftPart { cache, seen, checksums, records }) => {
                let left_out = replica.undecidable(&peer, &cache);
                let found = || replica.drift_found(&cache, &seen, (&records, &checksums), self.now);
                let findings = if left_out.is_none() { found() } else { Vec::new() };
                Some(ReceiverToSender::DriftFound(peer::DriftFound { findings, left_out }))
            }
            SenderToReceiver::DriftRepair(repair) => {
                let repair = Command::RepairDrift { peer, run, repair: Box::new(repair) };
                let Answer::DriftRepaired { taken } = self.step(to, repair)? else {
                    unreachable!("the answer to a repair")
                };
                Some(ReceiverToSender::DriftRepaired(peer::DriftRepaired { taken }))
            }
            _ => None,
        })
    }
}
