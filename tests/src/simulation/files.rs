//! The files of one run: configurations, which are read anew by a reload, and certificates that end in it.

use std::path::{Path, PathBuf};

use landbridge_protocol::time::Timestamp;
use tempfile::TempDir;

use super::{
    certificates::{self, NODES, site_name},
    clock::EPOCH,
    plan::{Holder, Plan},
};

/// Where they are. Runs without such have none of their own.
#[derive(Debug)]
pub struct Files {
    own: Option<TempDir>,
    /// When each site's certificates end, of those who have one that does: what is left of the plan.
    ends: Vec<(usize, Holder, u64)>,
}

impl Files {
    /// Those that a plan needs.
    ///
    /// # Panics
    /// When files can't be written.
    pub fn of(plan: &Plan) -> Self {
        let holders = [Holder::Relay, Holder::Nodes];
        let ends: Vec<_> = (0..plan.sites)
            .flat_map(|site| holders.map(|holder| (site, holder)))
            .flat_map(|(site, holder)| plan.certificate_ends(site, holder).map(move |at_ms| (site, holder, at_ms)))
            .collect();
        let needed = plan.has_guest() || !ends.is_empty();
        let files = Self { own: needed.then(|| tempfile::tempdir().expect("a directory for a run")), ends };
        for (site, holder) in files.ends.iter().map(|(site, holder, _)| (*site, *holder)) {
            files.renew(site, holder, 0);
        }
        files
    }

    /// Writes a certificate that is good until the plan has it end, of the moments after that one.
    ///
    /// # Panics
    /// When files can't be written.
    pub fn renew(&self, site: usize, holder: Holder, now_ms: u64) {
        let mine = self.ends.iter().filter(|(of, whose, _)| (*of, *whose) == (site, holder));
        let next = mine.map(|(.., at_ms)| *at_ms).filter(|at_ms| *at_ms > now_ms).min();
        let ends = next.map(|at_ms| Timestamp::from_millis(EPOCH.as_millis() + at_ms));
        certificates::issue(&self.path(&name_of(site, holder)), site, holder, ends)
            .expect("a certificate can be written");
    }

    /// Where certificate and key of a holder are.
    pub fn certificate(&self, site: usize, holder: Holder) -> [PathBuf; 2] {
        let stem = if self.ends.iter().any(|(of, whose, _)| (*of, *whose) == (site, holder)) {
            self.path(&name_of(site, holder))
        } else {
            match holder {
                Holder::Relay => certificates::directory().join(site_name(site).as_str()),
                Holder::Nodes => certificates::directory().join(NODES),
            }
        };
        ["pem", "key"].map(|extension| stem.with_extension(extension))
    }

    /// What nodes that go to a site have, and whether it is read anew at each connect.
    pub fn nodes(&self, site: usize) -> Option<[PathBuf; 2]> {
        let ends = self.ends.iter().any(|(of, whose, _)| (*of, *whose) == (site, Holder::Nodes));
        ends.then(|| self.certificate(site, Holder::Nodes))
    }

    /// Where a site's configuration is, in a run in which it changes.
    pub fn configuration(&self, site: usize) -> Option<PathBuf> {
        self.own.is_some().then(|| self.path(&format!("{}.toml", site_name(site))))
    }

    /// Where what a configuration names is.
    pub fn directory(&self) -> &Path {
        self.own.as_ref().map_or_else(|| certificates::directory(), |own| own.path())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }
}

fn name_of(site: usize, holder: Holder) -> String {
    match holder {
        Holder::Relay => site_name(site).to_string(),
        Holder::Nodes => format!("{NODES}-{}", site_name(site)),
    }
}
