//! Another site is written to all the time, one key of it or ever new ones: that holds up nothing else.

use landbridge_protocol::{
    frame::{node::Operation, peer::Batch},
    name::{CacheName, SiteName},
    record::{Key, Merge},
    time::{Millis, Timestamp},
    version::Version,
};

use super::{
    Sender, SenderConfig,
    tests::{NOW, Relay, pump_at, pump_some_at},
};
use crate::engine::replica::Replica;

const HOT: &[u8] = b"hot";

/// The relay of `site` with the two others as its peers, which waits so long for one that fills it.
fn relay(site: &str, peers: [&str; 2], run: u64, fill_wait: Millis) -> Relay {
    let mut relay = Relay::new(site, peers[0], run);
    let mut config = relay.replica.config().clone();
    config.peers.push(SiteName::new(peers[1]).expect("a name"));
    config.fill_wait = fill_wait;
    assert!(config.caches.values().all(|cache| cache.merge == Merge::Latest));
    relay.replica = Replica::new(config, relay.replica.origin().run, NOW);
    relay
}

fn link(to: &Relay) -> Sender {
    Sender::new(to.replica.site(), SenderConfig::default(), 1)
}

/// Sites 1 and 2, which have a key of site 2 and one of site 1 that were never written again, and a fresh third one.
fn sites() -> (Relay, Relay, Relay) {
    let mut one = relay("site1", ["site2", "site3"], 1, Millis::ZERO);
    let mut two = relay("site2", ["site1", "site3"], 2, Millis::ZERO);
    let third = relay("site3", ["site1", "site2"], 3, Millis::new(1));
    one.write_key(Operation::Put, 1, b"one".to_vec());
    two.write_key(Operation::Put, 1, b"two".to_vec());
    two.write_key(Operation::Put, 2, HOT.to_vec());
    pump_at(&mut link(&one), &mut two, &mut one, NOW);
    (one, two, third)
}

/// Writes a key at site 2 every tenth of a second, so often; gives the version of each, and what site 1 sends meanwhile.
fn heat(
    sites: &mut (Relay, Relay, Relay),
    onward: &mut Sender,
    times: u64,
    key: impl Fn(u64) -> Vec<u8>,
) -> (Vec<Version>, Vec<Batch>) {
    let (one, two, third) = sites;
    let mut back = link(one);
    let (mut written, mut sent) = (Vec::new(), Vec::new());
    for tenth in 0..times {
        let now: Timestamp = NOW.after(Millis::new(tenth * 100));
        two.write_key(Operation::Put, 10 + tenth, key(tenth));
        let key = Key::new(key(tenth)).expect("a key");
        written.extend(two.replica.slot(&CacheName::new("c").expect("a name"), &key).map(|slot| slot.version));
        pump_at(&mut back, two, one, now);
        sent.extend(pump_at(onward, one, third, now));
    }
    (written, sent)
}

#[test]
fn a_fresh_site_is_filled_meanwhile() {
    for hot in [true, false] {
        let mut sites = sites();
        let one_by_one = SenderConfig { batch_records: 1, ..SenderConfig::default() };
        let mut onward = Sender::new(sites.2.replica.site(), one_by_one, 1);
        pump_some_at(&mut onward, &mut sites.0, &mut sites.2, 1, NOW);
        let later = NOW.after(Millis::new(1));
        assert!(!sites.2.replica.ready(later), "there is more to come");
        heat(&mut sites, &mut onward, 10, |at| if hot { HOT.to_vec() } else { at.to_be_bytes().to_vec() });
        assert!(sites.2.replica.ready(later), "one key: {hot}");
    }
}

#[test]
fn it_is_passed_on_every_two_seconds_and_claims_go_on() {
    let mut sites = sites();
    let mut onward = link(&sites.2);
    pump_at(&mut onward, &mut sites.0, &mut sites.2, NOW);
    let (written, sent) = heat(&mut sites, &mut onward, 200, |_| HOT.to_vec());
    let records: usize = sent.iter().map(|batch| batch.records.len()).sum();
    assert!((5..=12).contains(&records), "{records} records in twenty seconds");
    assert!(sites.2.replica.seen().covers(&written[written.len() - 30]), "what site 1 claims is a little behind");
}
