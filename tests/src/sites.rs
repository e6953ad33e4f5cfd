//! Two sites on loopback: directories, certificates, configurations, profiles, and the relays' processes.

use std::{fs, path::PathBuf};

use landbridge_client::{Client, Profile};
use landbridge_protocol::{
    name::{NodeName, SiteName},
    time::Timestamp,
};
use landbridge_relay::{
    certs::{Development, develop},
    clock::{Clock, SystemClock},
};
use tempfile::TempDir;

use crate::{ports, relay::RelayProcess};

/// Names of the sites, in order.
pub const SITES: [&str; 2] = ["site1", "site2"];
/// The nodes of each, which have certificates.
pub const NODES: [[&str; 2]; 2] = [["node11", "node12"], ["node21", "node22"]];

/// Two sites.
#[derive(Debug)]
pub struct TwoSites {
    dir: TempDir,
    ports: [u16; 2],
    relays: [Option<RelayProcess>; 2],
}

impl TwoSites {
    /// Writes all files; starts nothing. `settings` is put at the end of each relay's configuration: further tables.
    ///
    /// # Panics
    /// When files can't be written.
    pub fn prepare(settings: &str) -> Self {
        let dir = TempDir::with_prefix("landbridge-").expect("a temporary directory");
        let sites = Self { dir, ports: [ports::free(), ports::free()], relays: [None, None] };
        let site = |name: &str| SiteName::new(name).expect("a site's name");
        let nodes =
            (0..2).flat_map(|at| NODES[at].map(|n| (site(SITES[at]), NodeName::new(n).expect("a node's name"))));
        let wanted = Development {
            dir: sites.dir.path().join("certs"),
            sites: SITES.map(site).to_vec(),
            nodes: nodes.collect(),
            now: now(),
        };
        develop(&wanted).expect("certificates");
        for at in 0..2 {
            sites.configure(at, settings);
            sites.write_profile(at, "operator", &format!("{}.admin", SITES[at]));
            NODES[at].iter().for_each(|node| sites.write_profile(at, node, node));
        }
        sites
    }

    /// Prepares, starts both relays and waits until they are ready.
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// As [`TwoSites::start`], with further tables in the configurations.
    pub async fn start_with(settings: &str) -> Self {
        let mut sites = Self::prepare(settings);
        sites.spawn(0);
        sites.spawn(1);
        sites.ready(0).await;
        sites.ready(1).await;
        sites
    }

    /// Writes the configuration of a relay anew; a running one does not notice.
    pub fn configure(&self, at: usize, settings: &str) {
        let (site, peer) = (SITES[at], SITES[1 - at]);
        let text = format!(
            "site = \"{site}\"\nlisten = \"127.0.0.1:{}\"\n\n[store]\ndir = \"{site}.store\"\n\n[tls]\n\
             certificate = \"certs/{site}.relay.pem\"\nkey = \"certs/{site}.relay.key\"\ntrust = \"certs/ca.pem\"\n\n\
             [[peers]]\nsite = \"{peer}\"\naddress = \"127.0.0.1:{}\"\n\n{settings}\n",
            self.ports[at],
            self.ports[1 - at]
        );
        fs::write(self.config(at), text).expect("the test's directory is writable");
    }

    fn write_profile(&self, at: usize, node: &str, certificate: &str) {
        let text = format!(
            "relay = \"127.0.0.1:{}\"\nsite = \"{}\"\nnode = \"{node}\"\ncertificate = \"certs/{certificate}.pem\"\n\
             key = \"certs/{certificate}.key\"\ntrust = \"certs/ca.pem\"\n",
            self.ports[at], SITES[at]
        );
        fs::write(self.profile(at, node), text).expect("the test's directory is writable");
    }

    /// The configuration of a relay.
    pub fn config(&self, at: usize) -> PathBuf {
        self.dir.path().join(format!("{}.relay.toml", SITES[at]))
    }

    /// The store's directory of a relay.
    pub fn store(&self, at: usize) -> PathBuf {
        self.dir.path().join(format!("{}.store", SITES[at]))
    }

    /// The profile of a node, or of `operator`.
    pub fn profile(&self, at: usize, node: &str) -> PathBuf {
        self.dir.path().join(format!("{}.{node}.profile.toml", SITES[at]))
    }

    /// The port of a relay, UDP and TCP.
    pub fn port(&self, at: usize) -> u16 {
        self.ports[at]
    }

    /// Starts a relay, and does not wait for it.
    pub fn spawn(&mut self, at: usize) {
        self.relays[at] = Some(RelayProcess::spawn(&self.config(at), &[]));
    }

    /// The running relay.
    ///
    /// # Panics
    /// When it does not run.
    pub fn relay(&mut self, at: usize) -> &mut RelayProcess {
        self.relays[at].as_mut().unwrap_or_else(|| panic!("the relay of {} does not run", SITES[at]))
    }

    /// What a relay has logged so far, in all its runs.
    pub fn log(&self, at: usize) -> String {
        fs::read_to_string(self.config(at).with_extension("log")).unwrap_or_default()
    }

    /// Waits until a relay that was spawned is ready.
    pub async fn ready(&mut self, at: usize) {
        self.relay(at).ready().await;
    }

    /// `kill -9`.
    pub async fn kill(&mut self, at: usize) {
        self.take(at).kill().await;
    }

    /// Takes a relay out, to be ended otherwise.
    ///
    /// # Panics
    /// When it does not run.
    pub fn take(&mut self, at: usize) -> RelayProcess {
        self.relays[at].take().unwrap_or_else(|| panic!("the relay of {} does not run", SITES[at]))
    }

    /// Connects as a node; the relay must be ready.
    ///
    /// # Panics
    /// When there is no session.
    pub async fn node(&self, at: usize, name: &str) -> Client {
        let profile = Profile::load(self.profile(at, name)).expect("a profile of this harness");
        Client::builder().profile(profile).connect().await.unwrap_or_else(|e| panic!("{name} can't connect: {e}"))
    }

    /// Runs a command of the binary as the operator of a site: its exit status, standard output and standard error.
    ///
    /// # Panics
    /// When the binary can't be run.
    pub async fn command(&self, at: usize, args: &[&str]) -> (Option<i32>, String, String) {
        let output = tokio::process::Command::new(crate::relay::binary())
            .args(args)
            .env("LANDBRIDGE_PROFILE", self.profile(at, "operator"))
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(crate::patience::PATIENCE, output).await;
        let output = output.expect("the command does not end").expect("the binary runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    /// `status --json` of a relay.
    ///
    /// # Panics
    /// When it fails.
    pub async fn status(&self, at: usize) -> serde_json::Value {
        let (code, out, err) = self.command(at, &["status", "--json"]).await;
        assert_eq!(code, Some(0), "status of {}: {err}", SITES[at]);
        serde_json::from_str(&out).expect("status --json prints JSON")
    }
}

/// The wall clock.
pub fn now() -> Timestamp {
    SystemClock.now()
}
