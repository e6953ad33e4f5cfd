//! A site that comes and goes: each other one takes it into its configuration, or out, at a moment of its own.
//!
//! As the runbook has it, it starts when all others know it, and stops when the last has taken it out. Between two sites
//! there is a link once both know each other and run.

use super::*;

impl World {
    /// Whether the site's relay runs.
    pub fn runs(&self, site: usize) -> bool {
        self.running >> site & 1 == 1
    }

    /// Whether a site has the other in its configuration.
    pub fn knows_site(&self, at: usize, other: usize) -> bool {
        self.sites[at].replica.config().peers.contains(&site_name(other))
    }

    /// Whether there is a link between the two, be it cut or not.
    pub fn are_linked(&self, one: usize, other: usize) -> bool {
        self.scenario.guest.is_none()
            || (self.runs(one) && self.runs(other) && self.knows_site(one, other) && self.knows_site(other, one))
    }

    /// Sites whose configuration is not what it is to be: they don't know the guest that is to come, or know the one that
    /// goes.
    pub fn behind(&self) -> Vec<usize> {
        let Some(guest) = self.scenario.guest else { return Vec::new() };
        let hosts = || (0..self.sites.len()).filter(move |site| *site != guest);
        let knowing = hosts().filter(|site| self.knows_site(*site, guest)).count();
        let all = hosts().count();
        // It runs from when all know it until none does.
        let changing = knowing > 0 && (knowing < all || !self.runs(guest));
        hosts().filter(|site| changing && self.knows_site(*site, guest) == self.runs(guest)).collect()
    }

    /// Whether the sites' configurations are not yet what they are to be, or a guest that all know has not started.
    pub fn is_changing(&self) -> bool {
        let Some(guest) = self.scenario.guest else { return false };
        let known = (0..self.sites.len()).any(|site| site != guest && self.knows_site(site, guest));
        !self.behind().is_empty() || (known && !self.runs(guest))
    }

    /// The change that is under way is brought to its end everywhere.
    pub fn change_all(&mut self) {
        let Some(guest) = self.scenario.guest.filter(|_| self.is_changing()) else { return };
        let goes = self.runs(guest);
        for site in self.behind() {
            if goes { self.strike(site) } else { self.name(site) }
        }
        if !goes {
            self.start_guest();
        }
    }

    /// A site takes the guest into its configuration.
    pub fn name(&mut self, at: usize) {
        let Some(guest) = self.scenario.guest else { return };
        let mut config = self.sites[at].replica.config().clone();
        config.peers.push(site_name(guest));
        config.peers.sort();
        config.former_sites.remove(&site_name(guest));
        self.reconfigure(at, config);
        self.link_anew(at, guest);
    }

    /// A site decommissions the guest; it stops with the last that does.
    pub fn strike(&mut self, at: usize) {
        let Some(guest) = self.scenario.guest else { return };
        let mut config = self.sites[at].replica.config().clone();
        config.peers.retain(|peer| *peer != site_name(guest));
        config.former_sites.insert(site_name(guest));
        self.reconfigure(at, config);
        // Both streams end; there is nobody at this relay any more to be told so.
        if self.link(at, guest).wire.run.is_some() {
            let _ = self.step(guest, Command::Lost { peer: site_name(at), incoming: true });
        }
        self.link_anew(at, guest);
        self.link_mut(guest, at).wire = Wire::default();
        self.handle(guest, at, SenderInput::Lost("decommissioned".into()));
        self.drain(guest, at);
        if !(0..self.sites.len()).any(|site| site != guest && self.knows_site(site, guest)) {
            self.running &= !(1 << guest);
            self.spent.leaves += 1;
            self.saved = self.saved.filter(|(site, ..)| *site != guest);
        }
    }

    /// The guest starts: with an empty store, or with what it had.
    pub fn start_guest(&mut self) {
        let Some(guest) = self.scenario.guest else { return };
        let commits = if self.scenario.keeps_disk { self.sites[guest].log.len() } else { 0 };
        self.running |= 1 << guest;
        self.spent.joins += 1;
        self.restart(guest, commits);
    }

    fn link_anew(&mut self, from: usize, to: usize) {
        let sender = Sender::new(site_name(to), sender_config(self.scenario.depth, self.scenario.batch), 1);
        *self.link_mut(from, to) = Link { sender, wire: Wire::default() };
    }

    pub(super) fn reconfigure(&mut self, at: usize, config: ReplicaConfig) {
        if let Err(refusal) = self.step(at, Command::Reconfigure(Box::new(config))) {
            self.fault = Some(format!("CONFIGURATION REFUSED at site {at}: {refusal}"));
        }
    }
}
