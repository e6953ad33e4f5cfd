//! Hours of mixed load with faults, and what a relay holds on to: memory, files, threads, sessions, disk.
//!
//! ```text
//!  node12 ── wire ──► site1 ◄── wires ──► site2 ◄── node21        a period: loads and faults, then fair weather and a rest;
//!  node11 ──────────►   (never killed)     (killed)               all is compared, and each relay measured
//! ```
//!
//! The first site's relay is never killed, so that what it lets pile up is seen; everything around it is.

pub mod measured;

use std::time::{Duration, Instant};

use bytes::Bytes;
use landbridge_client::{Client, Error, Profile};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{sync::watch, task::JoinSet, time::sleep};

use crate::{
    hearer::Hearer,
    load::{Known, Load, contents, until_equal},
    patience::until,
    sites::TwoSites,
    wire::{Way, Weather, Wire},
};
use measured::{Measured, measure};

/// Merged by `remove_wins` and by `latest`.
const CACHES: [&str; 2] = ["sessions", "actionTokens"];
const SETTINGS: &str = "[limits]\nidle_timeout = \"2s\"\nkeep_alive = \"500ms\"\n\n[replication]\n\
     heartbeat_every = \"500ms\"\nbackoff_max = \"500ms\"\nconnect_timeout = \"1s\"\ntombstone_min_age = \"5s\"\n";
/// Keys of entries that expire by themselves; what of them is there at a moment is not known.
const MORTAL: &str = "mortal";
/// How long they live at most, in milliseconds.
const LIFESPAN_MS: u64 = 4_000;

/// What befell a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The second site's relay was killed and started again.
    Kill,
    /// All wires lost, doubled and reordered.
    Foul,
    /// The sites were cut off each other.
    Cut,
    /// What one site sends to the other was lost.
    CutOneWay,
    /// All that dial came from other addresses.
    Addresses,
    /// The link was taken offline at both ends, and brought online.
    Offline,
}

const FAULTS: [Fault; 7] =
    [Fault::None, Fault::Kill, Fault::Foul, Fault::Cut, Fault::CutOneWay, Fault::Addresses, Fault::Offline];

/// What is told of a period.
#[derive(Debug)]
pub struct Period {
    /// From 1.
    pub number: u32,
    /// Since the beginning.
    pub at: Duration,
    /// What befell it.
    pub fault: Fault,
    /// Writes that were acknowledged in it.
    pub writes: u64,
    /// Each relay, at its end.
    pub relays: [Measured; 2],
}

/// Goes on for that time with moments drawn from `seed`; tells each period.
///
/// # Panics
/// When something acknowledged is not at both sites, or not heard, at the end of a period.
pub async fn run(span: Duration, period: Duration, seed: u64, mut tell: impl FnMut(Period)) {
    let begun = Instant::now();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut sites = TwoSites::prepare("");
    // That of the first site, that of the second, that of a node.
    let mut wires = Vec::new();
    for (at, to) in [1, 0, 0].into_iter().enumerate() {
        wires.push(Wire::to(sites.port(to), seed + at as u64).await);
    }
    for at in [0, 1] {
        sites.dial_through(at, 1 - at, wires[at].port());
        sites.configure(at, SETTINGS);
    }
    sites.start_all().await;
    let far = Profile::load(sites.profile(0, "node12")).expect("a profile of this harness");
    let far = Profile { relay: format!("127.0.0.1:{}", wires[2].port()), ..far };
    let far = Client::builder().profile(far).connect().await.expect("a session");
    let nodes = [sites.node(0, "node11").await, far, sites.node(1, "node21").await];
    let mut hearers = Vec::new();
    for node in &nodes {
        hearers.push(Hearer::start(node, CACHES[0]).await);
    }
    let mut known = CACHES.map(|_| Known::new());
    let mut number = 0;
    while begun.elapsed() < span {
        number += 1;
        let loads = CACHES.map(|cache| {
            let each = nodes.iter().enumerate();
            let load = each.map(|(at, node)| Load::start(node, cache, &format!("{at}"), 2, 100, rng.random()));
            load.collect::<Vec<_>>()
        });
        let (stop, stopped) = watch::channel(false);
        let mut others = JoinSet::new();
        for node in &nodes {
            others.spawn(come_and_go(node.clone(), rng.random(), stopped.clone()));
        }
        let fault = FAULTS[rng.random_range(0..FAULTS.len())];
        strike(&mut sites, &wires, fault, period, &mut rng).await;
        let mut writes = 0;
        for (known, loads) in known.iter_mut().zip(loads) {
            for load in loads {
                let (of_load, count) = load.stop().await;
                known.extend(of_load);
                writes += count;
            }
        }
        stop.send_replace(true);
        while let Some(ended) = others.join_next().await {
            ended.expect("one that comes and goes panicked");
        }
        verify(&nodes, &hearers, &known, number).await;
        let relays = [measure(&mut sites, 0).await, measure(&mut sites, 1).await];
        tell(Period { number, at: begun.elapsed(), fault, writes, relays });
    }
}

/// Has the fault last for most of the period, and ends it.
async fn strike(sites: &mut TwoSites, wires: &[Wire], fault: Fault, period: Duration, rng: &mut StdRng) {
    sleep(period.mul_f64(rng.random_range(0.05..0.2))).await;
    match fault {
        Fault::None => {}
        Fault::Kill => sites.kill(1).await,
        Fault::Foul => {
            let delay = Duration::ZERO..Duration::from_millis(30);
            wires
                .iter()
                .for_each(|wire| wire.set(&Weather { cut: false, loss: 0.1, doubled: 0.1, delay: delay.clone() }));
        }
        Fault::Cut => wires.iter().for_each(|wire| wire.set(&Weather::CUT)),
        Fault::CutOneWay => {
            wires[0].set_way(Way::Forth, &Weather::CUT);
            wires[1].set_way(Way::Back, &Weather::CUT);
        }
        Fault::Addresses => wires.iter().for_each(Wire::change_addresses),
        Fault::Offline => sites.cut(0, 1).await,
    }
    sleep(period.mul_f64(rng.random_range(0.2..0.6))).await;
    match fault {
        Fault::Kill => {
            sites.spawn(1);
            sites.ready(1).await;
        }
        Fault::Offline => sites.join(0, 1).await,
        _ => wires.iter().for_each(|wire| wire.set(&Weather::FAIR)),
    }
    sleep(period.mul_f64(0.2)).await;
}

/// One that puts what expires, lists, and listens for a while. Errors that may pass are for the next try.
async fn come_and_go(node: Client, seed: u64, stopped: watch::Receiver<bool>) {
    let mut rng = StdRng::seed_from_u64(seed);
    let cache = node.raw(CACHES[0]).expect("a cache's name");
    while !*stopped.borrow() {
        let mortal = cache.clone().with_lifespan(Duration::from_millis(rng.random_range(1..LIFESPAN_MS)));
        for _ in 0..20 {
            let key = format!("{MORTAL}-{}", rng.random_range(0..200));
            check(mortal.put(key.as_str(), Bytes::from_static(b"it will pass")).await.err());
        }
        let mut entries = cache.entries(Bytes::new());
        while let Some(entry) = entries.next().await {
            if check(entry.err()) {
                break;
            }
        }
        let listener = cache.listen().snapshot().start_raw().await;
        sleep(Duration::from_millis(rng.random_range(0..300))).await;
        drop(listener);
    }
}

/// Whether there was an error; one for good is a failure. What became of a write that several write at once may be unknown.
fn check(error: Option<Error>) -> bool {
    let passes = |error: &Error| error.is_retryable() || matches!(error, Error::OutcomeUnknown(_));
    assert!(error.as_ref().is_none_or(passes), "refused for good: {error:?}");
    error.is_some()
}

async fn verify(nodes: &[Client], hearers: &[Hearer], known: &[Known; 2], number: u32) {
    let expected = known.each_ref().map(|known| {
        let lives = known.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?)));
        lives.collect::<std::collections::BTreeMap<_, _>>()
    });
    for (cache, expected) in CACHES.iter().zip(&expected) {
        until(&format!("period {number}: every acknowledged state of {cache} everywhere"), async || {
            for node in nodes {
                let held = contents(node, cache).await.into_iter().filter(|(key, _)| !key.starts_with(MORTAL));
                if !held.map(|(key, (_, value))| (key, value)).eq(expected.clone()) {
                    return None;
                }
            }
            Some(())
        })
        .await;
        until_equal(nodes, cache).await;
    }
    for hearer in hearers {
        until(&format!("period {number}: every key's last change to be heard"), async || {
            let heard = hearer.heard();
            let held = heard.values.iter().filter(|(key, _)| !key.starts_with(MORTAL));
            held.eq(expected[0].iter()).then_some(())
        })
        .await;
    }
}
