//! A cache that begins to replicate on a link: what was written before is transferred, and what is gone stays gone.

use landbridge_protocol::{
    frame::node::Operation,
    name::{CacheName, SiteName},
    record::{Key, Kind, Merge},
    time::Millis,
    vector::Vector,
    version::RunId,
};

use super::{
    Sender, SenderConfig,
    stream::MAX_WITHHELD,
    tests::{NOW, Relay, pump, pump_some},
};
use crate::engine::{
    command::Command,
    replica::{Replica, ReplicaConfig, Replicate},
};

fn cache() -> CacheName {
    CacheName::new("c").expect("a name")
}
fn key(number: u64) -> Key {
    Key::new(vec![b'k', number as u8]).expect("a key")
}
fn sites() -> (Relay, Relay) {
    (Relay::new("site1", "site2", 1), Relay::new("site2", "site1", 2))
}
fn kind(relay: &Relay, number: u64) -> Option<Kind> {
    Some(relay.replica.slot(&cache(), &key(number))?.kind)
}
fn keeps_local(config: &mut ReplicaConfig) {
    config.caches.get_mut(&cache()).expect("declared").replicate = Replicate::Local;
}
fn replicates(config: &mut ReplicaConfig) {
    config.caches.get_mut(&cache()).expect("declared").replicate = Replicate::Async;
}

/// The relay in its next run, configured otherwise.
fn restarted(relay: Relay, run: u64, change: impl FnOnce(&mut ReplicaConfig)) -> Relay {
    let mut config = relay.replica.config().clone();
    change(&mut config);
    let mut replica = Replica::new(config, RunId(run), NOW);
    for commit in &relay.commits {
        replica.replay(&commit.header, &commit.records).expect("few origins");
    }
    if !relay.commits.is_empty() {
        replica.start(RunId(run), NOW);
    }
    Relay { replica, ..relay }
}

/// New links both ways, until nothing more is to be said.
fn link(a: &mut Relay, b: &mut Relay) {
    let mut there = Sender::new(b.replica.site(), SenderConfig::default(), 1);
    let mut back = Sender::new(a.replica.site(), SenderConfig::default(), 2);
    for _ in 0..4 {
        pump(&mut there, a, b);
        pump(&mut back, b, a);
    }
}

#[test]
fn what_was_written_before_a_cache_replicated_arrives_both_ways() {
    let (mut a, b) = sites();
    let mut b = restarted(b, 2, keeps_local);
    a.put(1);
    b.put(2);
    link(&mut a, &mut b);
    assert_eq!((kind(&b, 1), kind(&a, 2)), (None, None));
    assert!(b.replica.seen().includes(a.replica.seen()), "V goes on all the same");
    // Whatever else replicates meanwhile, and however often either side restarts.
    let (mut a, mut b) = (restarted(a, 3, |_| ()), restarted(b, 4, |_| ()));
    link(&mut a, &mut b);
    let mut b = restarted(b, 5, replicates);
    link(&mut a, &mut b);
    assert_eq!((kind(&b, 1), kind(&a, 2)), (Some(Kind::Live), Some(Kind::Live)));
    assert!(a.replica.lacked().is_empty() && b.replica.lacked().is_empty());
    let mut sender = Sender::new(b.replica.site(), SenderConfig::default(), 7);
    let batches = pump(&mut sender, &mut a, &mut b);
    assert!(batches.iter().all(|batch| batch.records.is_empty()), "once is enough: {batches:?}");
}

#[test]
fn a_transfer_that_was_cut_goes_on() {
    let (mut a, b) = sites();
    let mut b = restarted(b, 2, keeps_local);
    (1..=6).for_each(|number| a.put(number));
    link(&mut a, &mut b);
    let mut b = restarted(b, 3, replicates);
    let config = SenderConfig { window: 1, batch_records: 1, ..SenderConfig::default() };
    pump_some(&mut Sender::new(b.replica.site(), config, 3), &mut a, &mut b, 2);
    assert_eq!((kind(&b, 2), kind(&b, 3)), (Some(Kind::Live), None));
    let mut b = restarted(b, 4, |_| ());
    link(&mut a, &mut b);
    assert!((1..=6).all(|number| kind(&b, number) == Some(Kind::Live)));
}

#[test]
fn v_does_not_speak_to_listeners_for_what_is_still_to_come() {
    let (mut a, b) = sites();
    let mut b = restarted(b, 2, keeps_local);
    (1..=3).for_each(|number| a.put(number));
    b.put(4);
    link(&mut a, &mut b);
    let config = SenderConfig { window: 1, batch_records: 1, ..SenderConfig::default() };
    let own = |relay: &Relay| -> Vector {
        let seen = relay.replica.seen().iter();
        seen.filter(|(origin, _)| origin.site == relay.replica.site()).collect()
    };
    let told = |relay: &Relay| relay.replica.published().seen_of(&cache()).into_owned();
    assert_eq!((told(&a), told(&b)), (own(&a), own(&b)), "each has of the other what is of other caches");
    let mut b = restarted(b, 3, replicates);
    assert_eq!(told(&b), own(&b), "from the start");
    pump_some(&mut Sender::new(b.replica.site(), config, 3), &mut a, &mut b, 2);
    assert_eq!((kind(&b, 2), kind(&b, 3), told(&b)), (Some(Kind::Live), None, own(&b)), "some of it is there");
    link(&mut a, &mut b);
    assert_eq!(told(&b), *b.replica.seen(), "all of it is");
    assert_eq!(told(&a), *a.replica.seen());
}

#[test]
fn what_was_removed_while_a_cache_did_not_replicate_is_removed_when_it_does() {
    let (mut a, mut b) = sites();
    a.put(1);
    link(&mut a, &mut b);
    assert_eq!(kind(&b, 1), Some(Kind::Live));
    let mut b = restarted(b, 3, keeps_local);
    link(&mut a, &mut b);
    a.write(Operation::Remove, 1);
    link(&mut a, &mut b);
    assert_eq!(kind(&b, 1), Some(Kind::Live), "it is the site's own meanwhile");
    let mut b = restarted(b, 4, replicates);
    // The stream of the other comes first, and says that it has seen the removal: that is not so.
    pump(&mut Sender::new(a.replica.site(), SenderConfig::default(), 5), &mut b, &mut a);
    a.step(Command::Housekeep).expect("never refused");
    assert_eq!(kind(&a, 1), Some(Kind::Tombstone));
    link(&mut a, &mut b);
    assert_ne!(kind(&b, 1), Some(Kind::Live));
    for relay in [&mut a, &mut b] {
        relay.step(Command::Housekeep).expect("never refused");
    }
    link(&mut a, &mut b);
    assert_eq!((kind(&a, 1), kind(&b, 1)), (None, None), "both have it, and both let it go");
}

#[test]
fn more_of_a_third_site_than_may_be_withheld_holds_back_nothing_that_is_written_here() {
    let never = |relay, run| restarted(relay, run, |config| config.forward_after = Millis::new(u64::MAX));
    let (a, b, mut third) = three_sites();
    let (mut a, mut b) = (never(a, 1), never(b, 2));
    third = restarted(third, 4, replicates);
    let link = |to: &Relay| Sender::new(to.replica.site(), SenderConfig::default(), 1);
    let (mut there, mut back) = (link(&b), link(&a));
    pump(&mut there, &mut a, &mut b);
    pump(&mut back, &mut third, &mut a);
    for number in 0..MAX_WITHHELD as u64 + 10 {
        third.write_key(Operation::Put, number, number.to_be_bytes().to_vec());
    }
    pump(&mut back, &mut third, &mut a);
    assert_eq!(a.replica.stats(&cache()).expect("known").entries, MAX_WITHHELD as u64 + 10);
    a.put(1);
    pump(&mut there, &mut a, &mut b);
    assert_eq!(kind(&b, 1), Some(Kind::Live));
    let passed_on = b.replica.stats(&cache()).expect("known").entries - 1;
    assert!(passed_on > 0, "no more is withheld than that");
}

/// Three sites' relays, of which the third keeps the cache to itself.
fn three_sites() -> (Relay, Relay, Relay) {
    let with = |relay: Relay, run, other: &str| {
        restarted(relay, run, |config| config.peers.push(SiteName::new(other).expect("a name")))
    };
    let (a, b) = sites();
    let third = with(Relay::new("site3", "site1", 3), 3, "site2");
    (with(a, 1, "site3"), with(b, 2, "site3"), restarted(third, 3, keeps_local))
}

#[test]
fn who_lacks_some_of_a_cache_claims_its_own_writes_alone() {
    let (mut a, mut b, mut third) = three_sites();
    let link = |to: &Relay| Sender::new(to.replica.site(), SenderConfig::default(), 1);
    a.put(1);
    pump(&mut link(&third), &mut a, &mut third);
    assert_eq!((kind(&third, 1), third.replica.seen()), (None, a.replica.seen()));
    let mut third = restarted(third, 4, replicates);
    pump(&mut link(&b), &mut third, &mut b);
    pump(&mut link(&b), &mut third, &mut b);
    assert!(b.replica.seen().is_empty(), "{:?}", b.replica.seen());
    pump(&mut link(&b), &mut a, &mut b);
    assert_eq!(kind(&b, 1), Some(Kind::Live));
    // Once it lacks nothing it says what it has seen.
    [&mut a, &mut b].into_iter().for_each(|from| drop(pump(&mut link(&third), from, &mut third)));
    assert_eq!((kind(&third, 1), third.replica.lacked()), (Some(Kind::Live), vec![]));
    let batches = pump(&mut link(&a), &mut third, &mut a);
    assert!(batches.iter().all(|batch| batch.records.is_empty()), "{batches:?}");
}

#[test]
fn what_ended_a_record_follows_it_to_one_whose_v_covers_that_and_does_not_speak_for_it() {
    let (mut a, mut b, mut third) = three_sites();
    let link = |to: &Relay| Sender::new(to.replica.site(), SenderConfig::default(), 1);
    let mut there = link(&a);
    b.put(1);
    pump(&mut there, &mut b, &mut a);
    b.write(Operation::Remove, 1);
    pump(&mut link(&third), &mut b, &mut third);
    let mut third = restarted(third, 4, replicates);
    let mut onward = link(&third);
    pump(&mut onward, &mut a, &mut third);
    assert_eq!(kind(&third, 1), Some(Kind::Live), "it was removed at the second site alone");
    pump(&mut there, &mut b, &mut a);
    pump(&mut link(&a), &mut third, &mut a);
    pump(&mut link(&b), &mut a, &mut b);
    a.step(Command::Housekeep).expect("never refused");
    assert_eq!(kind(&a, 1), Some(Kind::Tombstone), "the third's V covers it, and says nothing of it");
    pump(&mut onward, &mut a, &mut third);
    assert_eq!(kind(&third, 1), Some(Kind::Tombstone));
    a.step(Command::Housekeep).expect("never refused");
    assert_eq!(kind(&a, 1), None);
}

#[test]
fn a_cache_merged_differently_does_not_replicate_and_is_transferred_once_it_is_not() {
    let (mut a, b) = sites();
    let merge =
        |merge| move |config: &mut ReplicaConfig| config.caches.get_mut(&cache()).expect("declared").merge = merge;
    let mut b = restarted(b, 2, merge(Merge::RemoveWins));
    a.put(1);
    b.put(2);
    link(&mut a, &mut b);
    assert_eq!((kind(&b, 1), kind(&a, 2)), (None, None));
    assert_eq!(
        (a.replica.mismatched(&b.replica.site()), b.replica.mismatched(&a.replica.site())),
        (vec![cache()], vec![cache()])
    );
    let mut b = restarted(b, 3, merge(Merge::Latest));
    link(&mut a, &mut b);
    assert_eq!((kind(&b, 1), kind(&a, 2)), (Some(Kind::Live), Some(Kind::Live)));
}

#[test]
fn a_cache_that_is_not_declared_is_kept_until_it_is() {
    let (a, b) = sites();
    let wins =
        |config: &mut ReplicaConfig| config.caches.get_mut(&cache()).expect("declared").merge = Merge::RemoveWins;
    let (mut a, mut b) = (restarted(a, 1, wins), restarted(b, 2, |config| config.caches.clear()));
    a.put(1);
    link(&mut a, &mut b);
    assert_eq!(b.replica.caches().collect::<Vec<_>>(), [(&cache(), Merge::RemoveWins)], "under the peer's merge");
    let declared = a.replica.config().caches.clone();
    let mut b = restarted(b, 3, |config| config.caches = declared);
    assert_eq!(kind(&b, 1), Some(Kind::Live));
    b.write(Operation::Remove, 1);
    link(&mut a, &mut b);
    assert_eq!(kind(&a, 1), Some(Kind::Tombstone));
}
