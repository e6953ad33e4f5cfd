//! What a drift check leaves out and what it lists, what of a repair is refused, and what a report says: each rule by itself.

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::peer::{DriftFinding, DriftRepair, Introduction},
    record::{Key, Kind, Merge, Record},
    time::Timestamp,
    vector::Vector,
    version::{RunId, Version},
};

use super::bed::*;
use crate::engine::{
    command::{Answer, Command},
    drift::{DriftReport, Lacked, MAX_TOLD, lacked, listed, to_send},
    replica::{CacheConfig, Replicate, digest_of},
};

/// Every bucket.
fn all() -> Vec<u8> {
    (0..=u8::MAX).collect()
}

/// Site `a`, which holds this of peer `b`.
fn holding(record: &Record) -> Relay {
    let mut relay = Relay::serving(&["b"]);
    relay.meet("b", Vector::new());
    relay.apply("b", vec![record.clone()], &[version("b", 9)]).expect("a batch");
    relay
}

fn found(relay: &Relay, record: &Record) -> Option<Option<Version>> {
    let list = (&[record.clone()][..], &[record.checksum()][..]);
    let found = relay.replica.drift_found(&record.cache, &seen(&[version("b", 9)]), list, relay.now);
    found.first().map(|finding| finding.held)
}

/// What is taken of a record that is sent as one of this cache.
fn repair(relay: &mut Relay, by: RunId, name: &str, theirs: &Vector, record: &Record) -> Result<u32, Refusal> {
    let repair = DriftRepair { cache: cache(name), seen: theirs.clone(), records: vec![record.clone()] };
    match relay.step(Command::RepairDrift { peer: site("b"), run: by, repair: Box::new(repair) })? {
        Answer::DriftRepaired { taken } => Ok(taken),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_version_with_another_birth_or_deadline_differs_unless_one_of_the_two_expires_soon() {
    let lasting = live(LATEST, "k", version("b", 5), "value");
    let ends = |at: Timestamp| Record { deadline: Some(at), ..lasting.clone() };
    let (later, soon) = (ends(ms(90_000)), ends(ms(30_000)));
    let younger = Record { birth: version("b", 4), ..lasting.clone() };
    let differs = Some(Some(lasting.version));
    for (held, theirs, expected) in [
        (&lasting, &lasting, None),
        (&lasting, &younger, differs),
        (&lasting, &later, differs),
        (&later, &lasting, differs),
        (&lasting, &soon, None),
        (&soon, &lasting, None),
    ] {
        assert_eq!(found(&holding(held), theirs), expected, "{held:?} {theirs:?}");
    }
}

#[test]
fn a_clear_is_lacked_where_an_older_one_or_none_is_held() {
    let relay = holding(&cleared(LATEST, version("b", 7)));
    let told = |at: u64| found(&relay, &cleared(LATEST, version("b", at))).is_some();
    assert_eq!([told(6), told(7), told(8)], [false, false, true]);
}

#[test]
fn each_reason_not_to_judge_is_one_by_itself() {
    let why = |relay: &Relay, name: &str| relay.replica.undecidable(&site("b"), &cache(name)).unwrap_or_default();
    let mut relay = Relay::serving(&["b"]);
    let theirs = |relay: &Relay| relay.introduction_of("b", Vector::new());
    relay.meet_as(Introduction { caches: vec![], ..theirs(&relay) });
    assert_eq!(why(&relay, LATEST), "", "a cache of which the peer does not say anything");
    assert!(why(&relay, LOCAL).contains("between a and b"), "{}", why(&relay, LOCAL));

    relay.meet_as(Introduction { lacks: vec![(site("a"), cache(LATEST))], ..theirs(&relay) });
    assert!(
        why(&relay, LATEST).contains("with a, or is not transferred from there in whole"),
        "{}",
        why(&relay, LATEST)
    );
    assert_eq!(why(&relay, WINS), "");

    relay.meet("b", Vector::new());
    relay.replica.core.cursors.get_mut(&site("b")).expect("met").lacks.insert(cache(WINS));
    assert!(why(&relay, WINS).contains("with b, or is not transferred from there in whole"), "{}", why(&relay, WINS));
    assert_eq!(why(&relay, LATEST), "");

    relay.reconcile_begin("b", Vector::new(), seen(&[version("b", 5)])).expect("a reconcile begins");
    assert!(why(&relay, LATEST).contains("owed a reconcile by b"), "{}", why(&relay, LATEST));

    let mut fresh = Relay::fresh(config("a", &["b"]));
    fresh.meet("b", Vector::new());
    assert!(why(&fresh, LATEST).contains("the store of a is being filled"), "{}", why(&fresh, LATEST));
}

#[test]
fn a_part_is_bounded_by_records_by_keys_looked_at_and_by_their_bytes_and_parts_list_each_key_once() {
    let mut relay = Relay::serving(&["b"]);
    assert!(relay.replica.drift_caches().is_empty(), "nothing is held");
    for number in 0..4_200 {
        relay.put(LATEST, &format!("key-{number:04}"), "v");
    }
    assert_eq!(relay.replica.drift_caches(), [cache(LATEST)]);
    let part = |after: Option<&Key>| relay.replica.drift_part(&cache(LATEST), &all(), after);
    let (mut keys, mut after) = (Vec::new(), None);
    loop {
        let listed = part(after.as_ref());
        assert!(listed.held.len() <= 1024);
        keys.extend(listed.held.into_iter().map(|(key, _)| key.expect("no clear")));
        match listed.through {
            Some(through) => after = Some(through),
            None => break,
        }
    }
    assert!(keys.is_sorted() && keys.len() == 4_200, "{}", keys.len());

    let one = relay.replica.drift_part(&cache(LATEST), &[7], None);
    assert_eq!(one.through, Some(key("key-4095")), "{} of one bucket", one.held.len());
    assert!(one.held.len() < 100);

    let mut relay = Relay::serving(&["b"]);
    for number in 0..40 {
        relay.put(LATEST, &format!("{number:04}").repeat(1_000), "v");
    }
    let long = relay.replica.drift_part(&cache(LATEST), &all(), None);
    assert_eq!(long.held.len(), 33, "of 4000 bytes each");
}

#[test]
fn a_clear_is_listed_once_and_with_its_bucket_only() {
    let mut relay = Relay::serving(&["b"]);
    relay.clear(LATEST);
    relay.put(LATEST, "k", "v");
    let clears = |buckets: &[u8], after: Option<&str>| {
        let listed = relay.replica.drift_part(&cache(LATEST), buckets, after.map(key).as_ref());
        listed.held.iter().filter(|(key, _)| key.is_none()).count()
    };
    assert_eq!([clears(&all(), None), clears(&all(), Some("a")), clears(&[1, 2], None)], [1, 0, 0]);
}

#[test]
fn a_repair_is_taken_of_a_peer_that_was_met_of_known_sites_and_of_its_own_cache_alone() {
    let entry = live(LATEST, "k", version("b", 5), "value");
    let mut relay = Relay::serving(&["b"]);
    relay.meet("b", Vector::new());
    relay.apply("b", vec![], &[entry.version]).expect("a batch");
    let theirs = seen(&[entry.version]);
    let stranger = seen(&[version("x", 1)]);
    let foreign = live(LATEST, "k", version("x", 1), "value");
    let mut of = |by, name, theirs: &Vector, record: &Record| repair(&mut relay, by, name, theirs, record);
    assert_eq!(code(of(RunId(99), LATEST, &theirs, &entry)), ErrorCode::FormerRun);
    assert_eq!(code(of(run("b"), LATEST, &stranger, &entry)), ErrorCode::ForeignOrigin);
    assert_eq!(code(of(run("b"), LATEST, &theirs, &foreign)), ErrorCode::ForeignOrigin);
    assert_eq!(of(run("b"), WINS, &theirs, &entry), Ok(0), "of another cache");
    assert_eq!(of(run("b"), LATEST, &theirs, &entry), Ok(1));
}

#[test]
fn a_repair_of_a_cache_that_is_not_declared_here_is_merged_as_the_peer_has_it() {
    let theirs =
        CacheConfig { merge: Merge::RemoveWins, replicate: Replicate::Async, lifespan: None, max_entry_bytes: 64 };
    let entry = live("new", "k", version("b", 5), "value");
    let mut relay = Relay::serving(&["b"]);
    let mut introduction = relay.introduction_of("b", Vector::new());
    introduction.caches.push(digest_of(&cache("new"), &theirs));
    relay.meet_as(introduction);
    relay.apply("b", vec![], &[entry.version]).expect("a batch");
    let taken = repair(&mut relay, run("b"), "new", &seen(&[entry.version]), &entry);
    assert_eq!(taken, Ok(1));
    assert_eq!(relay.replica.merge(&cache("new")), Merge::RemoveWins);
}

#[test]
fn what_differs_is_not_sent() {
    let entry = live(LATEST, "k", version("b", 5), "value");
    let slot = holding(&entry).slot(LATEST, "k").expect("held");
    let held = [(Some(key("k")), slot)];
    let of = |held: Option<Version>| [DriftFinding { at: 0, held }];
    assert!(to_send(&held, &of(Some(entry.version))).is_empty());
    assert_eq!(to_send(&held, &of(None)), [(slot.sequence, 5)]);
    assert_eq!(to_send(&held, &of(Some(version("b", 4)))).len(), 1);
}

/// So many records of a cache that are lacked.
fn some(name: &str, count: usize) -> impl Iterator<Item = Lacked> + '_ {
    let slot = holding(&live(name, "k", version("b", 5), "value")).slot(name, "k").expect("held");
    let record = listed(&cache(name), Some(&key("k")), &slot);
    let all = lacked(&[record], &DriftFinding { at: 0, held: None });
    assert_eq!(all.as_ref().map(|lacked| lacked.kind), Some(Kind::Live));
    all.into_iter().cycle().take(count)
}

#[test]
fn a_report_names_so_many_counts_all_and_keeps_what_was_not_looked_at() {
    let mut former = DriftReport { asked: 7, ..DriftReport::default() };
    former.add(&cache(WINS), some(WINS, 3));
    former.repaired(&cache(WINS), 1);
    former.add(&cache(LATEST), some(LATEST, 2));
    let mut report = DriftReport { asked: 3, ..DriftReport::default() };
    report.add(&cache(LATEST), some(LATEST, MAX_TOLD + 5));
    assert_eq!((report.records.len(), report.caches[&cache(LATEST)]), (MAX_TOLD, (MAX_TOLD as u64 + 5, 0)));

    let whole = report.clone().done(&former, None, ms(1));
    assert_eq!((whole.asked, whole.checked), (7, Some(ms(1))), "one that was asked for is not forgotten");
    assert_eq!(whole.remaining().collect::<Vec<_>>(), [(cache(LATEST), MAX_TOLD as u64 + 5)]);

    let one = report.done(&former, Some(&cache(LATEST)), ms(1));
    assert_eq!(one.remaining().collect::<Vec<_>>(), [(cache(LATEST), MAX_TOLD as u64 + 5), (cache(WINS), 2)]);
    assert_eq!(one.records.len(), MAX_TOLD, "no more than that");
    let mut few = DriftReport::default();
    few.add(&cache(LATEST), some(LATEST, 1));
    let few = few.done(&former, Some(&cache(LATEST)), ms(1));
    let of = |name: &str| few.records.iter().filter(|record| record.cache == cache(name)).count();
    assert_eq!((of(LATEST), of(WINS)), (1, 3));
}
