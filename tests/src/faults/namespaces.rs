//! Two relays in network namespaces of their own, on one bridge; partitions are routes that lead nowhere.
//!
//! ```text
//!  this process 10.213.7.254 ─┬─ bridge ─┬─ veth ─ namespace of site1, 10.213.7.1
//!                             │          └─ veth ─ namespace of site2, 10.213.7.2
//! ```

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::sleep;

use crate::{
    load::{Known, Load, contents, until_equal},
    patience::until,
    relay,
    sites::{SITES, TwoSites},
};

const CACHES: [&str; 2] = ["sessions", "actionTokens"];
const SETTINGS: &str = "[limits]\nidle_timeout = \"1s\"\nkeep_alive = \"200ms\"\n\n[replication]\n\
     heartbeat_every = \"200ms\"\nbackoff_max = \"200ms\"\nconnect_timeout = \"500ms\"\n";
const BRIDGE: &str = "lbt-br";
const NETWORK: &str = "10.213.7";

/// Who can't send to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The first site to the second.
    First,
    /// The second site to the first.
    Second,
    /// Neither to the other.
    Both,
}

/// What is told of a round.
#[derive(Debug)]
pub struct Round {
    /// From 1.
    pub number: u32,
    /// What was cut.
    pub cut: Cut,
    /// Writes that were acknowledged.
    pub writes: u64,
    /// Entries that both held in the end.
    pub entries: usize,
    /// How long it took.
    pub took: Duration,
}

/// Runs `rounds` rounds with moments drawn from `seed`; tells each.
///
/// # Panics
/// When a namespace can't be made, or something acknowledged is not at both sites.
pub async fn run(rounds: u32, seed: u64, mut tell: impl FnMut(Round)) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut sites = TwoSites::prepare(SETTINGS);
    let network = Network::made();
    for at in [0, 1] {
        readdress(&sites, at);
        let enter = ["netns", "exec", &namespace(at)].map(str::to_owned);
        sites.spawn_within("ip", &enter, at);
    }
    for at in [0, 1] {
        sites.ready(at).await;
    }
    let nodes = sites.nodes().await;
    let mut known = CACHES.map(|_| Known::new());
    for number in 1..=rounds {
        let begun = Instant::now();
        let loads = CACHES.map(|cache| {
            let each = nodes.iter().enumerate();
            each.map(|(at, node)| Load::start(node, cache, SITES[at], 2, 60, rng.random())).collect::<Vec<_>>()
        });
        sleep(Duration::from_millis(rng.random_range(0..300))).await;
        let cut = [Cut::First, Cut::Second, Cut::Both][rng.random_range(0..3)];
        network.cut(cut, true);
        // Also so short that no end notices.
        sleep(Duration::from_millis(rng.random_range(100..4000))).await;
        network.cut(cut, false);
        sleep(Duration::from_millis(rng.random_range(0..300))).await;
        let (mut writes, mut entries) = (0, 0);
        for ((cache, known), loads) in CACHES.iter().zip(&mut known).zip(loads) {
            for load in loads {
                let (of_load, count) = load.stop().await;
                known.extend(of_load);
                writes += count;
            }
            let expected: Vec<_> =
                known.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?))).collect();
            until(&format!("round {number}: every acknowledged state of {cache} at both"), async || {
                for node in &nodes {
                    let held = contents(node, cache).await.into_iter().map(|(key, (_, value))| (key, value));
                    if !held.eq(expected.iter().cloned()) {
                        return None;
                    }
                }
                Some(())
            })
            .await;
            entries += until_equal(&nodes, cache).await;
        }
        tell(Round { number, cut, writes, entries, took: begun.elapsed() });
    }
    drop((nodes, sites));
    drop(network);
}

fn address(at: usize) -> String {
    format!("{NETWORK}.{}", at + 1)
}

fn namespace(at: usize) -> String {
    format!("lbt-{}", SITES[at])
}

/// Puts the addresses of the bridge in place of loopback, in the configuration and in the profiles.
fn readdress(sites: &TwoSites, at: usize) {
    let mut files = vec![sites.config(at), sites.profile(at, "operator")];
    files.extend(crate::sites::NODES[at].map(|node| sites.profile(at, node)));
    for file in files {
        let mut text = fs::read_to_string(&file).expect("a file of this harness");
        for of in [0, 1] {
            let loopback = format!("127.0.0.1:{}", sites.port(of));
            text = text.replace(&loopback, &format!("{}:{}", address(of), sites.port(of)));
        }
        fs::write(&file, text).expect("the test's directory is writable");
    }
    let binary = relay::binary();
    assert!(binary.exists(), "{} is not built", binary.display());
}

/// The bridge and the namespaces; gone when it is dropped.
struct Network;

impl Network {
    fn made() -> Self {
        // What a former run left, should it have been killed.
        let network = Self;
        network.remove();
        ip(&format!("link add {BRIDGE} type bridge"));
        ip(&format!("addr add {NETWORK}.254/24 dev {BRIDGE}"));
        ip(&format!("link set {BRIDGE} up"));
        for at in [0, 1] {
            let (namespace, inner, outer) = (namespace(at), format!("lbt-in{at}"), format!("lbt-out{at}"));
            ip(&format!("netns add {namespace}"));
            ip(&format!("link add {outer} type veth peer name {inner} netns {namespace}"));
            ip(&format!("link set {outer} master {BRIDGE} up"));
            ip(&format!("-n {namespace} addr add {}/24 dev {inner}", address(at)));
            ip(&format!("-n {namespace} link set {inner} up"));
            ip(&format!("-n {namespace} link set lo up"));
            let netem = format!(
                "netns exec {namespace} tc qdisc add dev {inner} root netem delay 5ms 5ms loss 2% duplicate 2%"
            );
            if !try_ip(&netem) {
                println!("no netem here: {namespace} loses nothing by itself");
            }
        }
        network
    }

    fn cut(&self, cut: Cut, on: bool) {
        let of = |at: usize, other: usize| {
            let what = if on { "add" } else { "del" };
            ip(&format!("-n {} route {what} blackhole {}/32", namespace(at), address(other)));
        };
        if cut != Cut::Second {
            of(0, 1);
        }
        if cut != Cut::First {
            of(1, 0);
        }
    }

    fn remove(&self) {
        for at in [0, 1] {
            try_ip(&format!("netns del {}", namespace(at)));
        }
        try_ip(&format!("link del {BRIDGE}"));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.remove();
    }
}

fn ip(args: &str) {
    assert!(try_ip(args), "ip {args} failed");
}

fn try_ip(args: &str) -> bool {
    Command::new("ip").args(args.split(' ')).output().is_ok_and(|done| done.status.success())
}
