//! All that can happen to a world.

use std::str::FromStr;

use landbridge_protocol::frame::SenderToReceiver;
use landbridge_relay::engine::{command::Command, link::State};

use super::{
    check::show,
    print::print_of,
    world::{Spent, World},
};

/// Something that happens. Sites and keys by number; links from, to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A node puts.
    Put(usize, usize),
    /// A node removes.
    Remove(usize, usize),
    /// A sender does what it has to do next.
    Poll(usize, usize),
    /// A receiver takes what comes next.
    Deliver(usize, usize),
    /// A node clears the cache.
    Clear(usize),
    /// A sender hears what was answered on a forced drop.
    Hear(usize, usize),
    /// A relay does what is owed to time.
    Housekeep(usize),
    /// A stream breaks.
    Break(usize, usize),
    /// A site is cut from all others.
    Isolate(usize),
    /// The one can't reach the other any more.
    Cut(usize, usize),
    /// All can reach each other.
    Mend,
    /// A relay is killed and starts again.
    Restart(usize),
    /// A relay shuts down in order and starts again.
    Stop(usize),
    /// What a relay has now it may fall back to.
    Save(usize),
    /// A relay starts again with what was saved.
    LoseTail(usize),
    /// A relay starts again with nothing.
    Wipe(usize),
    /// Time goes on.
    Pass,
    /// A cache that was local begins to replicate.
    Widen(usize),
    /// A site takes the guest into its configuration.
    Name(usize),
    /// A site decommissions the guest.
    Strike(usize),
    /// The guest starts.
    Start,
    /// The listener comes to a site, and hears all that there is to hear.
    Listen(usize),
    /// The listener comes to a site, and hears one event.
    Glimpse(usize),
    /// A log loses what it holds of a key, and the relay is killed and starts again.
    Lose(usize, usize),
    /// A link checks whether the receiver holds what the sender does, and mends it.
    Check(usize, usize),
}

/// As it prints: `Put(0,0)`.
impl FromStr for Action {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("{text} is nothing that can happen");
        let (name, rest) = text.split_once('(').unwrap_or((text, ")"));
        let numbers = rest.strip_suffix(')').ok_or_else(unknown)?.split(',').filter(|part| !part.is_empty());
        let numbers: Vec<usize> =
            numbers.map(|part| part.trim().parse()).collect::<Result<_, _>>().map_err(|_| unknown())?;
        Ok(match (name, numbers.as_slice()) {
            ("Put", &[site, key]) => Self::Put(site, key),
            ("Remove", &[site, key]) => Self::Remove(site, key),
            ("Poll", &[from, to]) => Self::Poll(from, to),
            ("Deliver", &[from, to]) => Self::Deliver(from, to),
            ("Hear", &[from, to]) => Self::Hear(from, to),
            ("Break", &[from, to]) => Self::Break(from, to),
            ("Cut", &[from, to]) => Self::Cut(from, to),
            ("Lose", &[site, key]) => Self::Lose(site, key),
            ("Check", &[from, to]) => Self::Check(from, to),
            ("Clear", &[site]) => Self::Clear(site),
            ("Housekeep", &[site]) => Self::Housekeep(site),
            ("Isolate", &[site]) => Self::Isolate(site),
            ("Restart", &[site]) => Self::Restart(site),
            ("Stop", &[site]) => Self::Stop(site),
            ("Save", &[site]) => Self::Save(site),
            ("LoseTail", &[site]) => Self::LoseTail(site),
            ("Wipe", &[site]) => Self::Wipe(site),
            ("Widen", &[site]) => Self::Widen(site),
            ("Name", &[site]) => Self::Name(site),
            ("Strike", &[site]) => Self::Strike(site),
            ("Listen", &[site]) => Self::Listen(site),
            ("Glimpse", &[site]) => Self::Glimpse(site),
            ("Start", &[]) => Self::Start,
            ("Mend", &[]) => Self::Mend,
            ("Pass", &[]) => Self::Pass,
            _ => return Err(unknown()),
        })
    }
}

impl Action {
    /// Whether it happens by itself.
    pub fn is_natural(self) -> bool {
        matches!(self, Self::Poll(..) | Self::Deliver(..) | Self::Hear(..) | Self::Housekeep(_))
    }
}

impl World {
    /// What may happen now.
    pub fn actions(&self) -> Vec<Action> {
        let (s, spent) = (&self.scenario, &self.spent);
        let mut out = Vec::new();
        for site in (0..self.sites.len()).filter(|site| self.runs(*site)) {
            let ready = self.sites[site].replica.ready(self.now);
            for k in (0..s.keys).filter(|k| self.shares(site, *k)) {
                if spent.losses < s.losses && self.may_lose(site, k) {
                    out.push(Action::Lose(site, k));
                }
                if self.known.puts < s.writes && ready {
                    out.push(Action::Put(site, k));
                }
                if self.known.removes() < s.removes && ready && (s.absent || self.live(site, k).is_some()) {
                    out.push(Action::Remove(site, k));
                }
            }
            if spent.listens < s.listens && ready {
                out.extend([Action::Listen(site), Action::Glimpse(site)]);
            }
            if spent.clears < s.clears && ready {
                out.push(Action::Clear(site));
            }
            out.push(Action::Housekeep(site));
            self.calamities(site, &mut out);
        }
        for (from, to) in self.pairs().filter(|(from, to)| self.are_linked(*from, *to)) {
            let wire = &self.link(from, to).wire;
            if !wire.there.is_empty() {
                out.push(Action::Deliver(from, to));
            }
            if !wire.back.is_empty() {
                out.push(Action::Hear(from, to));
            }
            if !self.is_cut(from, to) && self.loud.contains(from, to) {
                out.push(Action::Poll(from, to));
            }
            if !self.is_cut(from, to) && spent.cuts < s.cuts {
                out.push(Action::Cut(from, to));
            }
            if spent.checks < s.checks && matches!(self.link(from, to).sender.state(), State::Streaming(_)) {
                out.push(Action::Check(from, to));
            }
            if wire.open && spent.breaks < s.breaks {
                out.push(Action::Break(from, to));
            }
        }
        if !self.cut.is_empty() {
            out.push(Action::Mend);
        }
        if spent.passes < s.passes {
            out.push(Action::Pass);
        }
        self.changes(&mut out);
        let local = s.local.filter(|site| spent.widenings < s.widenings && !self.shares(*site, 0));
        out.extend(local.map(Action::Widen));
        out
    }

    fn changes(&self, out: &mut Vec<Action>) {
        let (s, spent) = (&self.scenario, &self.spent);
        let Some(guest) = s.guest else { return };
        let mut known = true;
        for site in (0..self.sites.len()).filter(|site| *site != guest) {
            match self.knows_site(site, guest) {
                true if self.runs(guest) && spent.leaves < s.leaves => out.push(Action::Strike(site)),
                false if !self.runs(guest) && spent.joins < s.joins => out.push(Action::Name(site)),
                _ => {}
            }
            known &= self.knows_site(site, guest);
        }
        if known && !self.runs(guest) {
            out.push(Action::Start);
        }
    }

    fn calamities(&self, site: usize, out: &mut Vec<Action>) {
        let (s, spent) = (&self.scenario, &self.spent);
        let commits = self.sites[site].log.len();
        if spent.restarts < s.restarts {
            out.push(Action::Restart(site));
            out.push(Action::Stop(site));
        }
        if spent.tails < s.tails {
            match self.saved {
                None => out.push(Action::Save(site)),
                Some((at, saved, _)) if at == site && saved < commits => out.push(Action::LoseTail(site)),
                Some(_) => {}
            }
        }
        if spent.wipes < s.wipes && commits > 0 {
            out.push(Action::Wipe(site));
        }
        let apart = s.sites > 2 || site == 0;
        if spent.isolations < s.isolations && self.cut.is_empty() && apart {
            out.push(Action::Isolate(site));
        }
    }

    /// Lets it happen.
    pub fn act(&mut self, action: Action) {
        let before = self.clone();
        let Spent {
            restarts, tails, wipes, breaks, isolations, passes, clears, cuts, widenings, losses, checks, ..
        } = &mut self.spent;
        match action {
            Action::Put(site, k) => self.put(site, k),
            Action::Remove(site, k) => self.remove(site, k),
            Action::Poll(from, to) => drop(self.poll(from, to)),
            Action::Deliver(from, to) => self.deliver(from, to),
            Action::Clear(site) => {
                *clears += 1;
                self.clear(site);
            }
            Action::Hear(from, to) => drop(self.hear(from, to)),
            Action::Housekeep(site) => drop(self.housekeep(site)),
            Action::Cut(from, to) => {
                *cuts += 1;
                self.cut_one_way(from, to);
            }
            Action::Break(from, to) => {
                *breaks += 1;
                self.break_link(from, to);
            }
            Action::Isolate(site) => {
                *isolations += 1;
                (0..self.sites.len()).filter(|other| *other != site).for_each(|other| self.cut(site, other));
            }
            Action::Mend => self.mend(),
            Action::Restart(site) => {
                *restarts += 1;
                self.restart(site, self.sites[site].log.len());
            }
            Action::Stop(site) => {
                *restarts += 1;
                if let Err(refusal) = self.step(site, Command::EndRun) {
                    self.fault = Some(format!("END REFUSED at site {site}: {refusal}"));
                }
                self.restart(site, self.sites[site].log.len());
            }
            Action::Save(site) => {
                let print = print_of(&self.sites[site].replica, 3);
                self.saved = Some((site, self.sites[site].log.len(), print));
            }
            Action::LoseTail(site) => {
                *tails += 1;
                self.listener_loses(site);
                let commits = self.saved.take().map_or(0, |(_, commits, _)| commits);
                self.restart(site, commits);
            }
            Action::Wipe(site) => {
                *wipes += 1;
                self.saved = self.saved.filter(|(at, _, _)| *at != site);
                self.listener_loses(site);
                self.restart(site, 0);
            }
            Action::Widen(site) => {
                *widenings += 1;
                self.widen(site);
            }
            Action::Listen(site) | Action::Glimpse(site) => {
                self.spent.listens += 1;
                self.listen(site, if matches!(action, Action::Listen(_)) { usize::MAX } else { 1 });
            }
            Action::Name(site) => self.name(site),
            Action::Strike(site) => self.strike(site),
            Action::Start => self.start_guest(),
            Action::Lose(site, k) => {
                *losses += 1;
                self.lose(site, k);
            }
            Action::Check(from, to) => {
                *checks += 1;
                self.check_drift(from, to);
            }
            Action::Pass => {
                *passes += 1;
                self.pass(self.scenario.pass);
            }
        }
        self.no_drift(&before);
        self.hush(Some(&before));
    }

    /// What happened, and what came of it.
    pub fn describe(&self, action: Action) -> String {
        let held = |site: usize| {
            let of = |k: usize| self.slot(site, k).map_or_else(|| "-".to_owned(), |slot| show(&slot));
            (0..self.scenario.keys).map(of).collect::<Vec<_>>().join(", ")
        };
        let state = |site: usize| {
            let replica = &self.sites[site].replica;
            format!("site{} holds {} V {:?} G {:?}", site + 1, held(site), replica.seen(), replica.dropped())
        };
        match action {
            Action::Put(site, k) | Action::Remove(site, k) => {
                let slot = self.slot(site, k).map_or_else(|| "-".to_owned(), |slot| show(&slot));
                format!("{action:?}: {slot}")
            }
            Action::Poll(from, to) => {
                let link = self.link(from, to);
                let frames = link.wire.there.iter().map(|flying| brief(&flying.frame));
                format!("{action:?}: flying [{}]", frames.collect::<Vec<_>>().join(" "))
            }
            Action::Deliver(_, to) | Action::Hear(to, _) | Action::Check(_, to) | Action::Lose(to, _) => {
                format!("{action:?}: {}", state(to))
            }
            Action::Housekeep(site)
            | Action::Clear(site)
            | Action::Restart(site)
            | Action::Stop(site)
            | Action::LoseTail(site)
            | Action::Wipe(site)
            | Action::Name(site)
            | Action::Listen(site)
            | Action::Glimpse(site)
            | Action::Strike(site)
            | Action::Widen(site) => {
                format!("{action:?}: {}", state(site))
            }
            _ => format!("{action:?}"),
        }
    }
}

fn brief(frame: &SenderToReceiver) -> String {
    match frame {
        SenderToReceiver::Batch(batch) => {
            let records: Vec<String> = batch
                .records
                .iter()
                .map(|record| format!("{:?} {:?} {:?}", record.key, record.kind, record.version))
                .collect();
            format!("Batch({:?}..{:?} {} V {:?})", batch.after, batch.through, records.join(", "), batch.vector)
        }
        SenderToReceiver::ReconcileBegin(begin) => format!("Begin(V {:?} G {:?})", begin.seen, begin.dropped),
        SenderToReceiver::ReconcileChunk(chunk) => {
            let records: Vec<String> = chunk
                .records
                .iter()
                .map(|record| format!("{:?} {:?} {:?}", record.key, record.kind, record.version))
                .collect();
            format!("Chunk({}{})", records.join(", "), if chunk.through.is_none() { " last" } else { "" })
        }
        other => format!("{other:?}"),
    }
}
