//! Two sites or three on loopback: directories, certificates, configurations, profiles, and the relays' processes.

use std::{
    array, fs,
    path::{Path, PathBuf},
};

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

/// Names of the sites, in order; two sites are the first two.
pub const SITES: [&str; 3] = ["site1", "site2", "site3"];
/// The nodes of each, which have certificates.
pub const NODES: [[&str; 2]; 3] = [["node11", "node12"], ["node21", "node22"], ["node31", "node32"]];

/// So many sites, each linked with all others.
#[derive(Debug)]
pub struct Sites<const N: usize> {
    dir: TempDir,
    ports: [u16; N],
    /// The port at which each site dials each other one.
    dialled: [[u16; N]; N],
    /// Further settings of each of its peers.
    peers: [[String; N]; N],
    /// As what each site has each other one.
    known: [[Known; N]; N],
    /// Further settings of each relay's `[tls]`.
    tls: [String; N],
    relays: [Option<RelayProcess>; N],
}

/// As what a site is in another one's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// A peer.
    Peer,
    /// One that was decommissioned.
    Former,
    /// Not at all.
    Not,
}

/// Two sites.
pub type TwoSites = Sites<2>;
/// Three sites.
pub type ThreeSites = Sites<3>;

impl<const N: usize> Sites<N> {
    /// Writes all files; starts nothing. `settings` is put at the end of each relay's configuration: further tables.
    ///
    /// # Panics
    /// When files can't be written.
    pub fn prepare(settings: &str) -> Self {
        let dir = TempDir::with_prefix("landbridge-").expect("a temporary directory");
        let ports = array::from_fn(|_| ports::free());
        let peers = array::from_fn(|_| array::from_fn(|_| String::new()));
        let sites = Self {
            dir,
            ports,
            dialled: [ports; N],
            peers,
            known: [[Known::Peer; N]; N],
            tls: array::from_fn(|_| String::new()),
            relays: array::from_fn(|_| None),
        };
        let site = |name: &str| SiteName::new(name).expect("a site's name");
        let nodes =
            (0..N).flat_map(|at| NODES[at].map(|n| (site(SITES[at]), NodeName::new(n).expect("a node's name"))));
        let wanted = Development {
            dir: sites.dir.path().join("certs"),
            sites: SITES[..N].iter().map(|name| site(name)).collect(),
            nodes: nodes.collect(),
            now: now(),
        };
        develop(&wanted).expect("certificates");
        for at in 0..N {
            sites.configure(at, settings);
            sites.write_profile(at, "operator", &format!("{}.admin", SITES[at]));
            NODES[at].iter().for_each(|node| sites.write_profile(at, node, node));
        }
        sites
    }

    /// Prepares, starts all relays and waits until they are ready.
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// As [`Sites::start`], with further tables in the configurations.
    pub async fn start_with(settings: &str) -> Self {
        let mut sites = Self::prepare(settings);
        sites.start_all().await;
        sites
    }

    /// Starts all relays of prepared sites and waits until they are ready.
    pub async fn start_all(&mut self) {
        for at in 0..N {
            self.spawn(at);
        }
        for at in 0..N {
            self.ready(at).await;
        }
    }

    /// Makes a node of the first of these sites, whose certificate lets it in at each of them.
    ///
    /// # Panics
    /// When its files can't be written.
    pub fn add_node(&self, name: &str, sites: &[usize]) {
        let node = NodeName::new(name).expect("a node's name");
        let site = |at: &usize| SiteName::new(SITES[*at]).expect("a site's name");
        let nodes = sites.iter().map(|at| (site(at), node.clone())).collect();
        let dir = self.dir.path().join("certs");
        develop(&Development { dir, sites: vec![], nodes, now: now() }).expect("a certificate");
        self.write_profile(sites[0], name, name);
    }

    /// Has the relay of `from` dial that of `to` at another port of loopback, once it is configured anew.
    pub fn dial_through(&mut self, from: usize, to: usize, port: u16) {
        self.dialled[from][to] = port;
    }

    /// Gives the relay of `at` further settings for its peer, once it is configured anew.
    pub fn set_peer(&mut self, at: usize, peer: usize, settings: &str) {
        self.peers[at][peer] = settings.to_owned();
    }

    /// Has the relay of `at` know `other` so, once it is configured anew.
    pub fn set_known(&mut self, at: usize, other: usize, known: Known) {
        self.known[at][other] = known;
    }

    /// Writes the configuration of a relay anew, and has the running relay take it over: what the command prints.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn reload(&self, at: usize, settings: &str) -> String {
        self.configure(at, settings);
        let (code, out, err) = self.command(at, &["reload"]).await;
        assert_eq!(code, Some(0), "reload at {}: {err}", SITES[at]);
        out
    }

    /// How the configuration of `peer` differs from that of `at`, as the status of `at` tells.
    ///
    /// # Panics
    /// When its status does not tell.
    pub async fn differences(&self, at: usize, peer: usize) -> Vec<String> {
        let status = self.status(at).await;
        let links = status["links"].as_array().expect("a status lists links");
        let link = links.iter().find(|link| link["peer"] == SITES[peer]).expect("a peer of this relay");
        let differences = link["differences"].as_array().expect("a link's differences are listed");
        differences.iter().map(|difference| difference.as_str().expect("in words").to_owned()).collect()
    }

    /// Gives the relay of `at` further settings for its `[tls]`, once it is configured anew.
    pub fn set_tls(&mut self, at: usize, settings: &str) {
        self.tls[at] = settings.to_owned();
    }

    /// Writes the configuration of a relay anew; a running one does not notice.
    pub fn configure(&self, at: usize, settings: &str) {
        let site = SITES[at];
        let known_as = |known| (0..N).filter(move |other| *other != at && self.known[at][*other] == known);
        let former: Vec<String> = known_as(Known::Former).map(|other| format!("\"{}\"", SITES[other])).collect();
        let peers = known_as(Known::Peer).map(|peer| {
            format!(
                "[[peers]]\nsite = \"{}\"\naddress = \"127.0.0.1:{}\"\n{}\n",
                SITES[peer], self.dialled[at][peer], self.peers[at][peer]
            )
        });
        let text = format!(
            "site = \"{site}\"\nlisten = \"127.0.0.1:{}\"\nformer_sites = [{}]\n\n[store]\ndir = \"{site}.store\"\n\n[tls]\n\
             certificate = \"certs/{site}.relay.pem\"\nkey = \"certs/{site}.relay.key\"\ntrust = \"certs/ca.pem\"\n{}\n\n\
             {}{settings}\n",
            self.ports[at],
            former.join(", "),
            self.tls[at],
            peers.collect::<String>()
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

    /// As [`Sites::spawn`], with further arguments.
    pub fn spawn_with(&mut self, at: usize, extra: &[&str]) {
        self.relays[at] = Some(RelayProcess::spawn(&self.config(at), extra));
    }

    /// As [`Sites::spawn`], by a program that becomes the relay.
    pub fn spawn_within(&mut self, program: &str, args: &[String], at: usize) {
        self.relays[at] = Some(RelayProcess::spawn_within(program, args, &self.config(at)));
    }

    /// As [`Sites::spawn`], of another binary.
    pub fn spawn_as(&mut self, binary: &Path, at: usize) {
        self.relays[at] = Some(RelayProcess::spawn_as(binary, &self.config(at), &[]));
    }

    /// The running relay.
    ///
    /// # Panics
    /// When it does not run.
    pub fn relay(&mut self, at: usize) -> &mut RelayProcess {
        self.relays[at].as_mut().unwrap_or_else(|| panic!("the relay of {} does not run", SITES[at]))
    }

    /// Sends the running relay a signal, by its name without SIG.
    ///
    /// # Panics
    /// When it does not run.
    pub async fn signal(&self, at: usize, name: &str) {
        let relay = self.relays[at].as_ref();
        relay.unwrap_or_else(|| panic!("the relay of {} does not run", SITES[at])).signal(name).await;
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

    /// Connects the first node of each site; all relays must be ready.
    pub async fn nodes(&self) -> Vec<Client> {
        let mut nodes = Vec::new();
        for (at, [name, _]) in NODES.into_iter().take(N).enumerate() {
            nodes.push(self.node(at, name).await);
        }
        nodes
    }

    /// Runs a command of the binary as the operator of a site: its exit status, standard output and standard error.
    ///
    /// # Panics
    /// When the binary can't be run.
    pub async fn command(&self, at: usize, args: &[&str]) -> (Option<i32>, String, String) {
        self.command_of(&crate::relay::binary(), at, args).await
    }

    /// As [`Sites::command`], of another binary.
    ///
    /// # Panics
    /// When it can't be run.
    pub async fn command_of(&self, binary: &Path, at: usize, args: &[&str]) -> (Option<i32>, String, String) {
        let output = tokio::process::Command::new(binary)
            .args(args)
            .env("LANDBRIDGE_PROFILE", self.profile(at, "operator"))
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(crate::patience::PATIENCE, output).await;
        let output = output.expect("the command does not end").expect("the binary runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    /// Runs a command of the binary as the operator of a site, which has to succeed.
    ///
    /// # Panics
    /// When it does not.
    pub async fn done(&self, at: usize, args: &[&str]) {
        let (code, _, err) = self.command(at, args).await;
        assert_eq!(code, Some(0), "{args:?} at {}: {err}", SITES[at]);
    }

    /// Takes the link between two sites offline at both ends.
    pub async fn cut(&self, one: usize, other: usize) {
        self.done(one, &["take-offline", SITES[other]]).await;
        self.done(other, &["take-offline", SITES[one]]).await;
    }

    /// Undoes [`Sites::cut`].
    pub async fn join(&self, one: usize, other: usize) {
        self.join_one(one, other).await;
        self.join_one(other, one).await;
    }

    /// Brings the link to `other` online at one end; a relay that starts begins online.
    pub async fn join_one(&self, at: usize, other: usize) {
        self.done(at, &["bring-online", SITES[other]]).await;
    }

    /// Tombstones and marks that a relay keeps in a cache.
    ///
    /// # Panics
    /// When its status does not tell.
    pub async fn tombstones(&self, at: usize, cache: &str) -> u64 {
        let status = self.status(at).await;
        let caches = status["caches"].as_array().expect("a status lists caches");
        let cache = caches.iter().find(|listed| listed["name"] == cache).expect("a cache of this relay");
        cache["tombstones"].as_u64().expect("a number of tombstones")
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
