//! What goes on unseen: senders that are polled at once for what is no content.

use super::*;

/// Rounds in which all that is quiet is done.
const QUIET_ROUNDS: usize = 20;

impl World {
    /// Polls the senders for what is quiet: what they read and don't send, commands, heartbeats. So that what is left to
    /// be polled for at some time is content, and handshakes. Those that nothing has changed for since `before`, where
    /// all was quiet, are passed over.
    pub fn hush(&mut self, before: Option<&World>) {
        let mut last = before.cloned();
        for _ in 0..QUIET_ROUNDS {
            let begun = self.clone();
            for (n, (from, to)) in self.pairs().enumerate() {
                let same = |last: &World| {
                    last.now == self.now && self.links[n].is(&last.links[n]) && self.sites[from].is(&last.sites[from])
                };
                if !last.as_ref().is_some_and(same) {
                    self.hush_one(n, from, to);
                }
            }
            let still = |is: (&Part<Site>, &Part<Site>)| is.0.is(is.1);
            let links = self.links.iter().zip(&begun.links).all(|(one, other)| one.is(other));
            if links && self.sites.iter().zip(&begun.sites).all(still) {
                return;
            }
            last = Some(begun);
        }
        self.fault = Some("NEVER QUIET".into());
    }

    fn hush_one(&mut self, n: usize, from: usize, to: usize) {
        if !self.are_linked(from, to) {
            return self.loud.set(from, to, true);
        }
        let mut sender = self.links[n].sender.clone();
        if sender.poll(&self.sites[from].replica, self.time_of(from, to)).is_none() {
            self.loud.set(from, to, false);
            if sender != self.links[n].sender {
                self.links[n].change().sender = sender;
            }
            return;
        }
        let mut polled = self.clone();
        let loud = polled.poll(from, to);
        if !loud {
            *self = polled;
        }
        self.loud.set(from, to, loud);
    }
}
