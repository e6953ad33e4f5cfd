//! The configuration of a relay as a whole.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
};

use landbridge_protocol::{name::SiteName, time::Millis};
use rustls_pki_types::ServerName;
use toml::de::DeTable;

use super::{
    cache::{self, CacheConfig},
    error::{ConfigError, Problem},
    limits::{Limits, Replication},
    reader::{Listed, Parsed, Reader, Section},
    units::{ByteSize, OrOff},
};

/// Where a relay listens when nothing else is said: UDP for nodes, peers and operators, TCP for HTTP.
pub const DEFAULT_PORT: u16 = 12232;

/// Peers at most: the links are a full mesh.
pub const MAX_PEERS: usize = 15;

/// Sites that were decommissioned, at most.
pub const MAX_FORMER_SITES: usize = 48;

/// The configuration of a relay. What is in it has been checked by itself and against the rest; whether files exist and
/// addresses are free is for [`super::check()`] and for the start to find out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayConfig {
    /// The relay's site.
    pub site: SiteName,
    /// Where nodes, and unless said otherwise peers and operators, connect: QUIC, so UDP.
    pub listen: SocketAddr,
    /// A separate address for peers.
    pub listen_peers: Option<SocketAddr>,
    /// A separate address for operators.
    pub listen_admin: Option<SocketAddr>,
    /// Where HTTP is, when it is not on loopback at the port of `listen`. See [`RelayConfig::http_address`].
    pub listen_http: Option<SocketAddr>,
    /// `[store]`
    pub store: StoreConfig,
    /// `[tls]`
    pub tls: TlsConfig,
    /// `[[peers]]`
    pub peers: Vec<PeerConfig>,
    /// Sites that were decommissioned.
    pub former_sites: Vec<SiteName>,
    /// `[[caches]]`
    pub caches: Vec<CacheConfig>,
    /// `[replication]`
    pub replication: Replication,
    /// `[limits]`
    pub limits: Limits,
}

/// `[store]`: where the log is, and how it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// Its directory, made at the first start.
    pub dir: PathBuf,
    /// Whether an answered write survives a power cut, too, and not only the end of the process.
    pub fsync: bool,
    /// Free space of the disk below which puts are refused, while removals and compaction go on.
    pub min_free_bytes: ByteSize,
    /// A start that reads the log for longer says how far it is, and then again so often.
    pub progress_every: Millis,
}

/// `[tls]`: who this relay is, and whom it believes, per role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// PEM file with this relay's certificate, issuers after it.
    pub certificate: PathBuf,
    /// PEM file with its private key.
    pub key: PathBuf,
    /// PEM files with the authorities whose certificates nodes may have.
    pub trust_nodes: Vec<PathBuf>,
    /// The same for peers.
    pub trust_peers: Vec<PathBuf>,
    /// The same for operators.
    pub trust_admins: Vec<PathBuf>,
    /// PEM files with lists of what those authorities have revoked.
    pub crls: Vec<PathBuf>,
    /// How often is looked whether these files have changed; where it is off, they are read anew at an operator's word alone.
    pub reload_every: OrOff<Millis>,
}

impl TlsConfig {
    /// One who believes the same authorities for each role, with everything else at its default.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>, trust: impl Into<PathBuf>) -> Self {
        let trust = vec![trust.into()];
        Self {
            certificate: certificate.into(),
            key: key.into(),
            trust_nodes: trust.clone(),
            trust_peers: trust.clone(),
            trust_admins: trust,
            crls: Vec::new(),
            reload_every: RELOAD_EVERY,
        }
    }

    /// Every file, once.
    pub fn files(&self) -> BTreeSet<&PathBuf> {
        [&self.certificate, &self.key].into_iter().chain(self.trust_files()).chain(&self.crls).collect()
    }

    /// The files with authorities, once each.
    pub fn trust_files(&self) -> BTreeSet<&PathBuf> {
        [&self.trust_nodes, &self.trust_peers, &self.trust_admins].into_iter().flatten().collect()
    }
}

const RELOAD_EVERY: OrOff<Millis> = OrOff::On(Millis::from_secs(60));

/// `[[peers]]`: another site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerConfig {
    /// Its name, which its certificate bears.
    pub site: SiteName,
    /// Where its relay is dialled.
    pub address: PeerAddress,
    /// Whether the link to it starts offline.
    pub offline: bool,
    /// After so many failures in a row the link is taken offline, if `min_wait` has passed, too.
    pub after_failures: OrOff<usize>,
    /// How long after the first of those failures at the earliest.
    pub min_wait: Millis,
    /// Bytes a second that go to it at most.
    pub max_bytes_per_second: OrOff<ByteSize>,
}

/// `HOST:PORT`. A host's name is looked up at each dial, so that an address may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAddress(String);

impl PeerAddress {
    /// The text, as [`tokio::net::lookup_host`] takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PeerAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no address to dial; write HOST:PORT, such as \"relay.site2.example:12232\"");
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let port_fits = port.parse::<u16>().is_ok_and(|port| port != 0);
        if host.is_empty() || !port_fits || (host.contains(':') && !bracketed) || host.contains(char::is_whitespace) {
            return Err(bad());
        }
        Ok(Self(text.to_string()))
    }
}

impl RelayConfig {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_path_buf(), source })?;
        let dir = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, dir).map_err(|problems| ConfigError::Invalid { path: path.to_path_buf(), problems })
    }

    /// Reads a text; relative paths in it are relative to `dir`. All that is wrong with it is told at once.
    pub fn parse(text: &str, dir: &Path) -> Result<Self, Vec<Problem>> {
        Self::parse_noting(text, dir).0
    }

    /// As [`RelayConfig::parse`], with the names of all settings that there are.
    pub(super) fn parse_noting(text: &str, dir: &Path) -> (Result<Self, Vec<Problem>>, BTreeSet<String>) {
        let reader = Reader::new(text, dir);
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let line = error.span().map(|span| reader.line(&span));
            reader.problem(Problem { line, text: error.message().to_string() });
        }
        let config = read(reader.root(document.get_ref()), &reader);
        let (problems, asked) = reader.close();
        match config {
            Some(config) if problems.is_empty() => (Ok(config), asked),
            _ => (Err(problems), asked),
        }
    }

    /// Where HTTP is served, once `listen` is bound at this port: on loopback unless `listen_http` says otherwise.
    pub fn http_address(&self, bound_port: u16) -> SocketAddr {
        self.listen_http.unwrap_or(SocketAddr::new(loopback(self.listen.ip()), bound_port))
    }

    /// The peer of that name.
    pub fn peer(&self, site: SiteName) -> Option<&PeerConfig> {
        self.peers.iter().find(|peer| peer.site == site)
    }
}

fn loopback(like: IpAddr) -> IpAddr {
    // All loopback addresses of IPv4 will do; tests and demos listen at several of them.
    if like.is_loopback() { like } else { IpAddr::V4(Ipv4Addr::LOCALHOST) }
}

fn read(mut root: Section<'_, '_>, reader: &Reader<'_>) -> Option<RelayConfig> {
    let site = root.required::<Parsed<SiteName>>("site", "the name of this relay's datacenter, such as \"site1\"");
    let site = site.and_then(|Parsed(site)| dialable(site, &root, "site"));
    let listen = root.or("listen", SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)));
    let listen_peers = root.optional("listen_peers");
    let listen_admin = root.optional("listen_admin");
    let listen_http = root.optional("listen_http");
    distinct(&root, listen, listen_peers, listen_admin);

    let mut section = root.section("limits");
    let limits = Limits::read(&mut section);
    agree(&limits, &section);
    section.finish();
    let mut section = root.section("replication");
    let replication = Replication::read(&mut section);
    agree_on_replication(&replication, &limits, &section);
    section.finish();

    let store = read_store(root.section("store"));
    let tls = read_tls(root.section("tls"));
    let peers = read_peers(&mut root, reader, site);
    let former_sites = read_former_sites(&mut root, &peers, site);
    let caches = cache::read_all(&mut root, reader, limits.max_entry_bytes);
    let own = |cache: &&CacheConfig| cache.max_entry_bytes != limits.max_entry_bytes;
    for cache in caches.iter().filter(own).filter(|cache| cache.max_entry_bytes > largest_value(&limits)) {
        let text = format!(
            "an entry of {} in cache {} does not fit a frame: raise `limits.max_frame_bytes`",
            cache.max_entry_bytes, cache.name
        );
        root.blame("caches", text);
    }
    root.finish();
    let (site, store, tls) = (site?, store?, tls?);
    Some(RelayConfig {
        site,
        listen,
        listen_peers,
        listen_admin,
        listen_http,
        store,
        tls,
        peers,
        former_sites,
        caches,
        replication,
        limits,
    })
}

fn read_store(mut section: Section<'_, '_>) -> Option<StoreConfig> {
    let dir = section.file("dir", "the directory of the log, such as \"store\"");
    let fsync = section.or("fsync", true);
    let reserve = ByteSize::mib(64);
    let min_free_bytes = section.within("min_free_bytes", reserve, ByteSize::mib(1)..=ByteSize::mib(1 << 20));
    let progress_every = section.within("progress_every", Millis::from_secs(1), Millis::ZERO..=Millis::from_secs(600));
    section.finish();
    Some(StoreConfig { dir: dir?, fsync, min_free_bytes, progress_every })
}

fn read_tls(mut section: Section<'_, '_>) -> Option<TlsConfig> {
    let certificate = section.file("certificate", "the PEM file of this relay's certificate");
    let key = section.file("key", "the PEM file of its private key");
    let trust = section.files("trust");
    let nodes = section.files("trust_nodes").or_else(|| trust.clone());
    let peers = section.files("trust_peers").or_else(|| trust.clone());
    let admins = section.files("trust_admins").or_else(|| trust.clone());
    if nodes.is_none() || peers.is_none() || admins.is_none() {
        let what = "the PEM file of the authority that certificates must be from, or the three of `trust_nodes`, \
                    `trust_peers` and `trust_admins`";
        section.demand("trust", what);
    }
    let crls = section.files("crls").unwrap_or_default();
    let reload_every = section.within("reload_every", RELOAD_EVERY, OrOff::On(Millis::new(100))..=OrOff::Off);
    section.finish();
    let (trust_nodes, trust_peers, trust_admins) = (nodes?, peers?, admins?);
    Some(TlsConfig { certificate: certificate?, key: key?, trust_nodes, trust_peers, trust_admins, crls, reload_every })
}

fn read_peers(root: &mut Section<'_, '_>, reader: &Reader<'_>, own: Option<SiteName>) -> Vec<PeerConfig> {
    let sections = root.sections("peers").unwrap_or_default();
    if sections.len() > MAX_PEERS {
        root.blame("peers", format!("there are {} peers; there may be {MAX_PEERS}", sections.len()));
    }
    let mut peers: Vec<PeerConfig> = Vec::new();
    for mut section in sections {
        let line = section.line();
        let site = section.required::<Parsed<SiteName>>("site", "the name of the other datacenter");
        let site = site.and_then(|Parsed(site)| dialable(site, &section, "site"));
        let address = section.required::<Parsed<PeerAddress>>("address", "where its relay is, as HOST:PORT");
        let offline = section.or("offline", false);
        let after_failures = section.within("after_failures", OrOff::Off, OrOff::On(1)..=OrOff::Off);
        let min_wait = section.within("min_wait", Millis::from_secs(60), Millis::ZERO..=Millis::from_secs(30 * 86_400));
        let least = OrOff::On(ByteSize::kib(16));
        let max_bytes_per_second = section.within("max_bytes_per_second", OrOff::Off, least..=OrOff::Off);
        section.finish();
        let (Some(site), Some(Parsed(address))) = (site, address) else { continue };
        if own == Some(site) {
            let text = format!("{site} is this relay's own site: only the others are peers");
            reader.problem(Problem { line, text });
        }
        if peers.iter().any(|earlier| earlier.site == site) {
            reader.problem(Problem { line, text: format!("the peer {site} is there twice") });
        }
        peers.push(PeerConfig { site, address, offline, after_failures, min_wait, max_bytes_per_second });
    }
    peers
}

fn read_former_sites(root: &mut Section<'_, '_>, peers: &[PeerConfig], own: Option<SiteName>) -> Vec<SiteName> {
    let Listed(sites) = root.or("former_sites", Listed(Vec::<SiteName>::new()));
    if sites.len() > MAX_FORMER_SITES {
        root.blame("former_sites", format!("there are {}; there may be {MAX_FORMER_SITES}", sites.len()));
    }
    for (at, site) in sites.iter().enumerate() {
        if own == Some(*site) || peers.iter().any(|peer| peer.site == *site) {
            root.blame(
                "former_sites",
                format!("{site} is a site of this installation: leave it out of one of the two"),
            );
        }
        if sites[..at].contains(site) {
            root.blame("former_sites", format!("the former site {site} is there twice"));
        }
    }
    sites
}

/// A site's name is dialled as a server's name, so it must be fit for one.
fn dialable(site: SiteName, section: &Section<'_, '_>, key: &str) -> Option<SiteName> {
    match ServerName::try_from(site.as_str()) {
        Ok(ServerName::DnsName(_)) => Some(site),
        _ => {
            section.blame(
                key,
                format!("the site {site} can't be a host's name in a certificate: use letters, digits and '-'"),
            );
            None
        }
    }
}

fn distinct(root: &Section<'_, '_>, listen: SocketAddr, peers: Option<SocketAddr>, admin: Option<SocketAddr>) {
    let same = |a: SocketAddr, b: SocketAddr| a == b && a.port() != 0;
    if peers.is_some_and(|peers| same(peers, listen)) {
        root.blame("listen_peers", "it is `listen` again: leave it out, and peers connect there too");
    }
    if admin.is_some_and(|admin| same(admin, listen) || peers.is_some_and(|peers| same(admin, peers))) {
        root.blame(
            "listen_admin",
            "it is another listening address again: leave it out, and operators connect at `listen`",
        );
    }
}

/// What a frame has besides the value: names, key, versions, times.
const FRAME_OVERHEAD: u64 = 16 * 1024;

fn largest_value(limits: &Limits) -> ByteSize {
    ByteSize::new(limits.max_frame_bytes.get().saturating_sub(FRAME_OVERHEAD))
}

fn agree(limits: &Limits, section: &Section<'_, '_>) {
    if limits.keep_alive.get() * 2 > limits.idle_timeout.get() {
        section.blame("keep_alive", "`limits.keep_alive` must be at most half of `limits.idle_timeout`");
    }
    if limits.stream_window_bytes > limits.connection_window_bytes {
        section.blame("stream_window_bytes", "`limits.stream_window_bytes` is larger than `connection_window_bytes`");
    }
    if limits.max_entry_bytes > largest_value(limits) {
        section
            .blame("max_entry_bytes", "`limits.max_entry_bytes` must be 16 KiB less than `max_frame_bytes` at least");
    }
}

fn agree_on_replication(replication: &Replication, limits: &Limits, section: &Section<'_, '_>) {
    if replication.backoff_min > replication.backoff_max {
        section.blame("backoff_min", "`replication.backoff_min` is longer than `backoff_max`");
    }
    if replication.tombstone_min_age > replication.tombstone_max_age {
        section.blame("tombstone_min_age", "`replication.tombstone_min_age` is longer than `tombstone_max_age`");
    }
    if replication.heartbeat_every >= limits.idle_timeout {
        section.blame("heartbeat_every", "`replication.heartbeat_every` must be less than `limits.idle_timeout`");
    }
    if replication.max_batch_bytes > limits.max_frame_bytes {
        section.blame("max_batch_bytes", "`replication.max_batch_bytes` is larger than `limits.max_frame_bytes`");
    }
}
