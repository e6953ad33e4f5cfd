//! What flies between two sites: the sender polled, what it says carried over, and what the receiver makes of it.

use super::*;

impl World {
    /// Does what the sender of a link asks for: up to one frame with content, or one handshake. Tells whether there was
    /// either.
    pub fn poll(&mut self, from: usize, to: usize) -> bool {
        if !self.are_linked(from, to) {
            return false;
        }
        let mut loud = false;
        while let Some(output) = self.ask(from, to, self.time_of(from, to)) {
            loud |= output == SenderOutput::Dial;
            if self.carry_out(from, to, output) {
                loud = true;
                break;
            }
        }
        let sender = &self.link(from, to).sender;
        if let State::Faulted { reason, .. } = sender.state() {
            self.fault = Some(format!("FAULTED {from}->{to}: {reason}"));
        }
        loud
    }

    /// A sender that waits is not kept waiting.
    pub(super) fn time_of(&self, from: usize, to: usize) -> Timestamp {
        match self.link(from, to).sender.state() {
            State::Waiting { until, .. } | State::Faulted { until, .. } => self.now.max(*until),
            _ => self.now,
        }
    }

    /// Tells whether the poll ends with this.
    pub(super) fn carry_out(&mut self, from: usize, to: usize, output: SenderOutput) -> bool {
        match output {
            SenderOutput::Dial if self.is_cut(from, to) => {
                self.handle(from, to, SenderInput::Failed("cut".into()));
                true
            }
            SenderOutput::Dial => {
                self.close_wire(from, to);
                self.link_mut(from, to).wire = Wire { open: true, ..Wire::default() };
                self.handle(from, to, SenderInput::Connected);
                false
            }
            SenderOutput::Hangup => {
                self.close_wire(from, to);
                false
            }
            SenderOutput::Command(command) => {
                let decided = self.step(from, command.0);
                self.handle(from, to, SenderInput::Decided(decided));
                false
            }
            SenderOutput::ReadLog { after, .. } => {
                let site = &self.sites[from];
                let read = site.log.read(after, site.replica.head());
                self.handle(from, to, SenderInput::LogRead(read));
                false
            }
            SenderOutput::ReadRecords(sequences) => {
                use landbridge_relay::engine::header::Records;
                let log = &self.sites[from].log;
                let records = sequences.iter().map(|sequence| log.record(*sequence).ok()).collect();
                self.handle(from, to, SenderInput::RecordsRead(records));
                false
            }
            SenderOutput::Send(frame) => {
                let content = matches!(*frame, SenderToReceiver::Batch(_) | SenderToReceiver::ReconcileChunk(_));
                let ends = content || matches!(*frame, SenderToReceiver::Start(_));
                let knows = self.sites[from].knows;
                self.link_mut(from, to).wire.there.push_back(Flying { frame: *frame, knows });
                self.deliver_light(from, to);
                ends
            }
        }
    }

    pub(super) fn handle(&mut self, from: usize, to: usize, input: SenderInput) {
        let (site, now) = (self.sites[from].clone(), self.now);
        self.link_mut(from, to).sender.handle(input, &site.replica, now);
    }

    pub(super) fn ask(&mut self, from: usize, to: usize, now: Timestamp) -> Option<SenderOutput> {
        let site = self.sites[from].clone();
        self.link_mut(from, to).sender.poll(&site.replica, now)
    }

    /// What has no content is not kept flying, but behind what has.
    pub(super) fn deliver_light(&mut self, from: usize, to: usize) {
        let slow = self.scenario.slow_words;
        let heavy = |frame: &SenderToReceiver| match frame {
            SenderToReceiver::Batch(_) | SenderToReceiver::ReconcileBegin(_) | SenderToReceiver::ReconcileChunk(_) => {
                true
            }
            SenderToReceiver::DropProposal(_) => slow,
            _ => false,
        };
        while self.link(from, to).wire.there.front().is_some_and(|flying| !heavy(&flying.frame)) {
            self.deliver_one(from, to);
        }
    }

    /// The sender hears the receiver's word on a forced drop, where those fly; tells whether there was one.
    pub fn hear(&mut self, from: usize, to: usize) -> bool {
        if self.link(from, to).wire.back.is_empty() {
            return false;
        }
        let word = self.link_mut(from, to).wire.back.pop_front();
        word.into_iter().for_each(|word| self.answer(from, to, word));
        true
    }

    /// The receiver takes the next batch, or the next range of a reconcile, and what is light around it.
    pub fn deliver(&mut self, from: usize, to: usize) {
        if matches!(
            self.link(from, to).wire.there.front().map(|flying| &flying.frame),
            Some(SenderToReceiver::ReconcileBegin(_))
        ) {
            self.deliver_one(from, to);
        }
        self.deliver_one(from, to);
        self.deliver_light(from, to);
    }

    pub(super) fn deliver_one(&mut self, from: usize, to: usize) {
        let Some(flying) = self.link_mut(from, to).wire.there.pop_front() else { return };
        let reconcile = match &flying.frame {
            SenderToReceiver::ReconcileBegin(_) => Some(flying.knows),
            _ => None,
        };
        let answer = self.take(from, to, flying);
        if let (Some(knows), Ok(_)) = (reconcile, &answer) {
            self.link_mut(from, to).wire.knows = knows;
        }
        let answer = match answer {
            Ok(answer) => answer,
            Err(refusal) => {
                // The receiver ends the stream with its refusal.
                let lost = Command::Lost { peer: site_name(from), incoming: true };
                let _ = self.step(to, lost);
                let wire = &mut self.link_mut(from, to).wire;
                wire.there.clear();
                wire.run = None;
                Some(ReceiverToSender::Refused(refusal))
            }
        };
        match answer {
            // A stream that has ended brings no word back.
            Some(word @ ReceiverToSender::DropAnswer(_))
                if self.scenario.slow_words && self.link(from, to).wire.open =>
            {
                self.link_mut(from, to).wire.back.push_back(word);
            }
            Some(answer) => self.answer(from, to, answer),
            None => {}
        }
    }

    /// The receiving shell: each frame is a command.
    pub(super) fn take(&mut self, from: usize, to: usize, flying: Flying) -> Result<Option<ReceiverToSender>, Refusal> {
        let peer = site_name(from);
        let begun = || Refusal::new(landbridge_protocol::error::ErrorCode::Malformed, "a frame before the hello");
        let run = |run: Option<RunId>| run.ok_or_else(begun);
        let has = self.link(from, to).wire.run;
        match flying.frame {
            SenderToReceiver::Hello(hello) => {
                self.link_mut(from, to).wire.run = Some(hello.sender.run);
                let introduced = Command::Introduced { peer: Box::new(hello.sender), incoming: true };
                let Answer::Introduced { cursor, cursor_digest } = self.step(to, introduced)? else {
                    unreachable!("the answer to an introduction")
                };
                let receiver = self.sites[to].replica.introduction(self.now, "explorer");
                let welcome = peer::Welcome { version: PROTOCOL_VERSION, receiver, cursor, cursor_digest };
                Ok(Some(ReceiverToSender::Welcome(welcome)))
            }
            SenderToReceiver::Start(start) => {
                self.step(to, Command::Started { peer, run: run(has)?, after: start.after })?;
                Ok(None)
            }
            SenderToReceiver::Batch(batch) => {
                let tombstones = self.removals_in(&batch.records);
                let apply = Command::Apply { peer, run: run(has)?, batch: Box::new(batch) };
                let Answer::Applied(through) = self.step(to, apply)? else { unreachable!("the answer to a batch") };
                self.learn_held(to, tombstones);
                Ok(Some(ReceiverToSender::Ack(peer::Ack { through })))
            }
            SenderToReceiver::Heartbeat(beat) => {
                let skew_ms = 0;
                self.step(to, Command::Heard { peer, run: run(has)?, past: beat.past, skew_ms })?;
                let seen = self.sites[to].replica.seen().clone();
                let back = peer::Heartbeat { wall: self.now, past: Timestamp::ZERO, echo: beat.wall, seen };
                Ok(Some(ReceiverToSender::Heartbeat(back)))
            }
            SenderToReceiver::ReconcileBegin(begin) => {
                self.step(to, Command::ReconcileBegin { peer, run: run(has)?, begin })?;
                Ok(None)
            }
            SenderToReceiver::ReconcileChunk(chunk) => {
                let tombstones = self.removals_in(&chunk.records);
                let command = Command::ReconcileChunk { peer, run: run(has)?, chunk: Box::new(chunk) };
                let answer = self.step(to, command)?;
                self.learn_held(to, tombstones);
                let done = match answer {
                    Answer::Reconciled { done } => done,
                    // What is left comes as the next range would: all that may happen between two may happen before it.
                    Answer::ReconciledPart { rest } => {
                        let rest = Flying { frame: SenderToReceiver::ReconcileChunk(*rest), knows: flying.knows };
                        self.link_mut(from, to).wire.there.push_front(rest);
                        return Ok(None);
                    }
                    other => unreachable!("a chunk's answer: {other:?}"),
                };
                if done {
                    let knows = self.link(from, to).wire.knows;
                    self.sites[to].change().learn(knows);
                    self.handle(to, from, SenderInput::Anew);
                }
                Ok(Some(ReceiverToSender::ReconcileAck(peer::ReconcileAck { done })))
            }
            drift @ (SenderToReceiver::DriftSums(_)
            | SenderToReceiver::DriftPart(_)
            | SenderToReceiver::DriftRepair(_)
            | SenderToReceiver::DriftEnd(_)
            | SenderToReceiver::DriftAsk(_)) => self.take_drift(to, peer, drift, run(has)?),
            SenderToReceiver::DropProposal(proposal) => {
                let Answer::Drop(answer) = self.step(to, Command::DropProposed { peer, proposal })? else {
                    unreachable!("the answer to a proposal")
                };
                Ok(Some(ReceiverToSender::DropAnswer(answer)))
            }
        }
    }

    pub(super) fn removals_in(&self, records: &[Record]) -> Vec<usize> {
        let removals = &self.known.removals;
        let is = |n: &usize| records.iter().any(|record| record.version == removals[*n].tombstone.version);
        (0..removals.len()).filter(is).collect()
    }

    pub(super) fn learn_held(&mut self, site: usize, removals: Vec<usize>) {
        for n in removals {
            let removal = &self.known.removals[n];
            let held = match removal.key {
                Some(key) => self.slot(site, key),
                None => self.sites[site].replica.clear_of(&cache()),
            };
            if held.is_some_and(|slot| slot.version == removal.tombstone.version) {
                self.sites[site].change().learn(1 << n);
            }
        }
    }

    pub(super) fn answer(&mut self, from: usize, to: usize, answer: ReceiverToSender) {
        if !self.link(from, to).wire.open {
            return;
        }
        let input = match answer {
            ReceiverToSender::Welcome(welcome) => SenderInput::Welcome(Box::new(welcome)),
            ReceiverToSender::Ack(ack) => SenderInput::Ack(ack),
            ReceiverToSender::Heartbeat(heartbeat) => SenderInput::Heartbeat(heartbeat),
            ReceiverToSender::ReconcileAck(ack) => SenderInput::ReconcileAck { done: ack.done },
            ReceiverToSender::DropAnswer(answer) => SenderInput::DropAnswer(answer),
            ReceiverToSender::DriftUnequal(unequal) => SenderInput::Drift(DriftAnswer::Unequal(unequal)),
            ReceiverToSender::DriftFound(found) => SenderInput::Drift(DriftAnswer::Found(found)),
            ReceiverToSender::DriftRepaired(repaired) => SenderInput::Drift(DriftAnswer::Repaired(repaired)),
            ReceiverToSender::Refused(refusal) => SenderInput::Refused(refusal),
        };
        self.handle(from, to, input);
    }

    /// The stream ends, and the receiver knows.
    pub(super) fn close_wire(&mut self, from: usize, to: usize) {
        let wire = std::mem::take(&mut self.link_mut(from, to).wire);
        if wire.run.is_some() {
            let _ = self.step(to, Command::Lost { peer: site_name(from), incoming: true });
        }
    }
}
