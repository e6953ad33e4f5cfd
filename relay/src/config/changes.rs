//! What a new configuration changes, and which of that a running relay can't take over.
//!
//! Every setting is decided here: whoever adds one has to say whether it is taken over live or needs a restart, as the
//! structs are taken apart without a rest.

use std::{fmt, net::SocketAddr, path::PathBuf};

use landbridge_protocol::{name::SiteName, record::Merge, time::Millis};

use super::{
    cache::{CacheConfig, Replicate},
    limits::{Limits, Replication},
    relay::{PeerAddress, PeerConfig, RelayConfig, StoreConfig, TlsConfig},
    units::{ByteSize, OrOff, show_span},
};

/// A setting that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its name, as `section.key`; a peer or cache by its own name.
    pub setting: String,
    /// What it was; `None`: it was not there.
    pub was: Option<String>,
    /// What it is; `None`: it is not there any more.
    pub is: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.was, &self.is) {
            (None, Some(is)) => write!(f, "{}: added ({is})", self.setting),
            (Some(_), None) => write!(f, "{}: removed", self.setting),
            (was, is) => {
                let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "absent".into());
                write!(f, "{}: was {}, is {}", self.setting, shown(was), shown(is))
            }
        }
    }
}

/// All that differs between two configurations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// What is taken over while the relay runs.
    pub live: Vec<Change>,
    /// What needs a restart.
    pub restart: Vec<Change>,
}

/// Compares the configuration that a relay goes by with one that it is to go by.
pub fn changes(old: &RelayConfig, new: &RelayConfig) -> Changes {
    let mut found = Changes::default();
    let RelayConfig {
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
    } = new;
    found.restart("site", &old.site, site);
    found.restart("listen", &old.listen, listen);
    found.restart("listen_peers", &old.listen_peers, listen_peers);
    found.restart("listen_admin", &old.listen_admin, listen_admin);
    found.restart("listen_http", &old.listen_http, listen_http);
    found.of_store(&old.store, store);
    found.of_tls(&old.tls, tls);
    found.of_peers(&old.peers, peers);
    found.live("former_sites", &old.former_sites, former_sites);
    found.of_caches(&old.caches, caches);
    found.of_replication(&old.replication, replication);
    found.of_limits(&old.limits, limits);
    found
}

/// Takes a struct of settings apart without a rest, and compares each.
macro_rules! compare {
    ($found:ident, $section:expr, $kind:ident, $old:ident, $new:ident; live $($live:ident)*; restart $($restart:ident)*) => {
        let $kind { $($live,)* $($restart,)* } = $new;
        $($found.live(&format!("{}.{}", $section, stringify!($live)), &$old.$live, $live);)*
        $($found.restart(&format!("{}.{}", $section, stringify!($restart)), &$old.$restart, $restart);)*
    };
}

impl Changes {
    /// Whether the two configurations say the same.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.restart.is_empty()
    }

    fn of_store(&mut self, old: &StoreConfig, new: &StoreConfig) {
        compare!(self, "store", StoreConfig, old, new; live; restart dir fsync min_free_bytes progress_every);
    }

    fn of_tls(&mut self, old: &TlsConfig, new: &TlsConfig) {
        compare!(self, "tls", TlsConfig, old, new;
            live certificate key trust_nodes trust_peers trust_admins crls reload_every; restart);
    }

    fn of_replication(&mut self, old: &Replication, new: &Replication) {
        compare!(self, "replication", Replication, old, new;
            live max_batch_records max_batch_bytes max_batches_in_flight heartbeat_every connect_timeout backoff_min
                backoff_max forward_after fill_wait max_clock_skew drift_check_every tombstone_min_age tombstone_max_age max_tombstones max_runs;
            restart);
    }

    /// Live ones hold for caches at once, and for sessions that begin from then on; the others are read once, by sockets,
    /// the store and what counts places.
    fn of_limits(&mut self, old: &Limits, new: &Limits) {
        compare!(self, "limits", Limits, old, new;
            live max_entry_bytes max_frame_bytes max_subscriptions max_requests max_unwritten_answers max_session_bytes
                max_list_entries hello_timeout operator_timeout drain_timeout;
            restart max_handshakes max_sessions max_sessions_per_certificate max_connections_per_peer max_peer_streams
                max_peer_commands max_peer_answers max_operators max_http_connections max_http_age max_streams max_inbox max_commit_commands
                max_commit_bytes max_conflicts stream_window_bytes connection_window_bytes send_window_bytes idle_timeout
                keep_alive);
    }

    fn of_peers(&mut self, old: &[PeerConfig], new: &[PeerConfig]) {
        for gone in old.iter().filter(|gone| !new.iter().any(|peer| peer.site == gone.site)) {
            self.live.push(Change {
                setting: format!("peer {}", gone.site),
                was: Some(gone.address.shown()),
                is: None,
            });
        }
        for peer in new {
            let Some(former) = old.iter().find(|former| former.site == peer.site) else {
                let setting = format!("peer {}", peer.site);
                self.live.push(Change { setting, was: None, is: Some(peer.address.shown()) });
                continue;
            };
            compare!(self, format!("peer {}", peer.site), PeerConfig, former, peer;
                live site address offline after_failures min_wait max_bytes_per_second; restart);
        }
    }

    fn of_caches(&mut self, old: &[CacheConfig], new: &[CacheConfig]) {
        let shown =
            |cache: &CacheConfig| format!("merge {}, replicate {}", cache.merge.shown(), cache.replicate.shown());
        for gone in old.iter().filter(|gone| !new.iter().any(|cache| cache.name == gone.name)) {
            self.live.push(Change { setting: format!("cache {}", gone.name), was: Some(shown(gone)), is: None });
        }
        for cache in new {
            let Some(former) = old.iter().find(|former| former.name == cache.name) else {
                self.live.push(Change { setting: format!("cache {}", cache.name), was: None, is: Some(shown(cache)) });
                continue;
            };
            let CacheConfig { name, merge, replicate, lifespan, messages, max_entry_bytes } = cache;
            let setting = |key: &str| format!("cache {name}: {key}");
            // Where something is held, the engine refuses another merge.
            self.live(&setting("merge"), &former.merge, merge);
            self.live(&setting("replicate"), &former.replicate, replicate);
            self.live(&setting("lifespan"), &former.lifespan, lifespan);
            self.live(&setting("messages"), &former.messages, messages);
            self.live(&setting("max_entry_bytes"), &former.max_entry_bytes, max_entry_bytes);
        }
    }

    fn live<T: Shown + PartialEq>(&mut self, setting: &str, old: &T, new: &T) {
        self.live.extend(change(setting, old, new));
    }

    fn restart<T: Shown + PartialEq>(&mut self, setting: &str, old: &T, new: &T) {
        self.restart.extend(change(setting, old, new));
    }
}

fn change<T: Shown + PartialEq>(setting: &str, old: &T, new: &T) -> Option<Change> {
    (old != new).then(|| Change { setting: setting.to_owned(), was: Some(old.shown()), is: Some(new.shown()) })
}

/// A value as an operator reads it.
trait Shown {
    fn shown(&self) -> String;
}

macro_rules! shown_as_displayed {
    ($($kind:ty)*) => { $(impl Shown for $kind { fn shown(&self) -> String { self.to_string() } })* };
}

shown_as_displayed! { usize bool SiteName SocketAddr ByteSize PeerAddress }

impl Shown for Millis {
    fn shown(&self) -> String {
        show_span(*self)
    }
}

impl Shown for PathBuf {
    fn shown(&self) -> String {
        self.display().to_string()
    }
}

impl Shown for Merge {
    fn shown(&self) -> String {
        self.as_str().into()
    }
}

impl Shown for Replicate {
    fn shown(&self) -> String {
        self.as_str().into()
    }
}

impl<T: Shown> Shown for Option<T> {
    fn shown(&self) -> String {
        self.as_ref().map_or_else(|| "absent".into(), Shown::shown)
    }
}

impl<T: Shown> Shown for OrOff<T> {
    fn shown(&self) -> String {
        match self {
            OrOff::On(value) => value.shown(),
            OrOff::Off => "off".into(),
        }
    }
}

impl<T: Shown> Shown for Vec<T> {
    fn shown(&self) -> String {
        format!("[{}]", self.iter().map(Shown::shown).collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const OLD: &str = r#"
site = "site1"
[store]
dir = "store"
[tls]
certificate = "a.pem"
key = "a.key"
trust = "ca.pem"
[[peers]]
site = "site2"
address = "a:1"
[[peers]]
site = "site3"
address = "b:1"
[[caches]]
name = "work"
lifespan = "2m"
[[caches]]
name = "old"
"#;

    fn told(edit: impl Fn(&str) -> String) -> (Vec<String>, Vec<String>) {
        let parse = |text: &str| RelayConfig::parse(text, Path::new("")).unwrap();
        let Changes { live, restart } = changes(&parse(OLD), &parse(&edit(OLD)));
        let lines = |changes: Vec<Change>| changes.iter().map(Change::to_string).collect();
        (lines(live), lines(restart))
    }

    #[test]
    fn what_says_the_same_changes_nothing() {
        assert_eq!(told(|old| format!("# a word\nformer_sites = []\n{old}")), (vec![], vec![]));
    }

    #[test]
    fn each_change_is_named_with_what_was_and_what_is() {
        let (live, restart) = told(|old| {
            let new = old.replace("lifespan = \"2m\"", "max_entry_bytes = \"2KiB\"").replace("\"a:1\"", "\"c:1\"");
            let new = new
                .replace("site = \"site3\"\naddress = \"b:1\"", "site = \"site4\"\naddress = \"d:1\"\noffline = true");
            let new = new.replace("\"old\"", "\"new\"\nmerge = \"remove_wins\"");
            format!("former_sites = [\"site3\"]\n{new}[replication]\nforward_after = \"off\"\n")
        });
        assert_eq!(restart, Vec::<String>::new());
        assert_eq!(
            live,
            [
                "peer site3: removed",
                "peer site2.address: was a:1, is c:1",
                "peer site4: added (d:1)",
                "former_sites: was [], is [site3]",
                "cache old: removed",
                "cache work: lifespan: was 2m, is absent",
                "cache work: max_entry_bytes: was 1MiB, is 2KiB",
                "cache new: added (merge remove_wins, replicate async)",
                "replication.forward_after: was 2s, is off",
            ]
        );
    }

    #[test]
    fn what_is_read_once_needs_a_restart() {
        let (live, restart) = told(|old| {
            let new =
                old.replace("dir = \"store\"", "dir = \"other\"\nfsync = false").replace("\"a.pem\"", "\"b.pem\"");
            format!("listen_admin = \"127.0.0.1:5\"\n{new}[limits]\nmax_sessions = 5\nmax_requests = 5\n")
        });
        assert_eq!(live, ["tls.certificate: was a.pem, is b.pem", "limits.max_requests: was 4096, is 5"]);
        assert_eq!(
            restart,
            [
                "listen_admin: was absent, is 127.0.0.1:5",
                "store.dir: was store, is other",
                "store.fsync: was true, is false",
                "limits.max_sessions: was 1024, is 5",
            ]
        );
    }
}
