//! Forced drops: beyond a bound, the isolated peer alone is left to reconcile.

use landbridge_protocol::{
    error::ErrorCode,
    frame::peer::{DropAnswer, DropProposal},
    record::Kind,
    time::Millis,
    vector::Vector,
    version::Version,
};

use super::bed::*;
use crate::engine::{
    command::{Answer, Command},
    replica::ReplicaConfig,
};

fn bounded(own: &str, peers: &[&str]) -> Relay {
    Relay::serving_with(ReplicaConfig { max_tombstones: 1, ..config(own, peers) })
}

/// Removes so many keys, so that the bound is passed.
fn remove_all(relay: &mut Relay, count: usize) -> Vec<Version> {
    (0..count).map(|number| relay.remove(LATEST, &format!("k{number}"))).collect()
}

fn tombstones(relay: &Relay) -> u64 {
    relay.replica.stats(&cache(LATEST)).expect("known").tombstones
}

#[test]
fn the_only_peer_when_isolated_is_left_to_reconcile() {
    let mut relay = bounded("a", &["b"]);
    let versions = remove_all(&mut relay, 3);
    relay.now = ms(10_000);
    assert!(relay.replica.next_due() <= Some(relay.now));
    relay.housekeep();
    assert_eq!(tombstones(&relay), 1);
    assert_eq!(relay.replica.dropped(), &seen(&versions[..2]), "the oldest, down to the bound");
    relay.meet("b", Vector::new());
    assert!(relay.replica.must_reconcile(&site("b")));
}

#[test]
fn a_peer_that_is_linked_either_way_is_not_isolated() {
    for incoming in [false, true] {
        let mut relay = bounded("a", &["b"]);
        remove_all(&mut relay, 3);
        let peer = Box::new(relay.introduction_of("b", Vector::new()));
        relay.step(Command::Introduced { peer, incoming }).expect("good");
        relay.now = ms(10_000);
        relay.housekeep();
        assert_eq!(tombstones(&relay), 3);
    }
}

#[test]
fn age_forces_too() {
    let mut relay = Relay::serving(&["b"]);
    relay.remove(LATEST, "k");
    relay.now = START.after(Millis::from_secs(9_999));
    relay.housekeep();
    assert_eq!(relay.kind(LATEST, "k"), Some(Kind::Tombstone));
    relay.now = START.after(Millis::from_secs(10_010));
    relay.housekeep();
    assert_eq!(relay.slot(LATEST, "k"), None);
}

/// `a` and `b` linked, `c` isolated, and tombstones beyond the bound that `b` has seen.
fn three() -> (Relay, Vec<Version>) {
    let mut relay = bounded("a", &["b", "c"]);
    let versions = remove_all(&mut relay, 3);
    relay.meet("b", seen(&versions));
    relay.now = ms(1);
    relay.housekeep();
    (relay, versions)
}

#[test]
fn the_others_hold_the_new_g_before_the_first_drops() {
    let (mut relay, versions) = three();
    assert_eq!(tombstones(&relay), 3);
    assert_eq!(relay.replica.proposal(&site("c")), None, "the isolated one is not asked");
    let proposal = relay.replica.proposal(&site("b")).expect("asked");
    assert_eq!((proposal.isolated, &proposal.dropped), (site("c"), &seen(&versions[..2])));

    let mut other = bounded("b", &["a", "c"]);
    other.meet("a", Vector::new());
    let propose = |proposal: &DropProposal| Command::DropProposed { peer: site("a"), proposal: proposal.clone() };
    let answer = |decided| match decided {
        Ok(Answer::Drop(answer)) => answer,
        other => panic!("{other:?}"),
    };
    let early = answer(other.step(propose(&proposal)));
    assert!(!early.agreed, "it has not seen the tombstones yet");
    other.apply("a", vec![], &versions).expect("fits");
    let agreed = answer(other.step(propose(&proposal)));
    assert!(agreed.agreed);
    assert_eq!(other.log.commits.last().expect("one").header.dropped, proposal.dropped, "durably");

    relay.step(Command::DropAnswered { peer: site("b"), answer: agreed }).expect("known");
    assert_eq!((tombstones(&relay), relay.replica.dropped()), (1, &proposal.dropped));
    assert_eq!(relay.replica.proposal(&site("b")), None);
}

/// What happens before an answer comes in.
type Change = fn(&mut Relay, &mut DropAnswer);

#[test]
fn without_agreement_nothing_is_dropped() {
    let refuses: [(&str, Change); 5] = [
        ("it disagrees", |_, answer| answer.agreed = false),
        ("another round", |_, answer| answer.round += 1),
        ("the isolated one is back", |relay, _| relay.meet("c", Vector::new())),
        ("the asked one is gone", |relay, _| relay.lose("b")),
        ("more of the isolated one came", |relay, _| {
            relay.apply("b", vec![], &[version("c", 1)]).expect("fits");
        }),
    ];
    for (what, change) in refuses {
        let (mut relay, _) = three();
        let round = relay.replica.proposal(&site("b")).expect("asked").round;
        let mut answer = DropAnswer { round, agreed: true, isolated_seen: Vector::new() };
        change(&mut relay, &mut answer);
        relay.step(Command::DropAnswered { peer: site("b"), answer }).expect("known");
        assert_eq!(tombstones(&relay), 3, "{what}");
    }
}

#[test]
fn a_site_agrees_only_if_it_is_cut_from_the_isolated_one_and_has_the_same_of_it() {
    let (asker, versions) = three();
    let proposal = asker.replica.proposal(&site("b")).expect("asked");
    let of = |change: fn(&mut Relay)| {
        let mut other = bounded("b", &["a", "c"]);
        other.meet("a", Vector::new());
        other.apply("a", vec![], &versions).expect("fits");
        change(&mut other);
        match other.step(Command::DropProposed { peer: site("a"), proposal: proposal.clone() }) {
            Ok(Answer::Drop(answer)) => answer.agreed,
            other => panic!("{other:?}"),
        }
    };
    assert!(of(|_| {}));
    assert!(!of(|other| other.meet("c", Vector::new())));
    assert!(!of(|other| drop(other.apply("a", vec![], &[version("c", 1)]))));
}

#[test]
fn a_round_without_answers_ends_and_another_begins() {
    let (mut relay, _) = three();
    let first = relay.replica.proposal(&site("b")).expect("asked").round;
    relay.now = ms(1).after(crate::engine::tombstones::ROUND_TIMEOUT);
    relay.housekeep();
    let second = relay.replica.proposal(&site("b")).expect("asked anew").round;
    assert!(second > first);
    let late = DropAnswer { round: first, agreed: true, isolated_seen: Vector::new() };
    relay.step(Command::DropAnswered { peer: site("b"), answer: late }).expect("known");
    assert_eq!(tombstones(&relay), 3, "an answer to the former round");
}

#[test]
fn foolish_proposals_are_refused() {
    let (mut relay, _) = three();
    let good = relay.replica.proposal(&site("b")).expect("asked");
    let foreign = seen(&[version("x", 1)]);
    let cases = [
        (DropProposal { isolated: site("a"), ..good.clone() }, ErrorCode::BadArgument),
        (DropProposal { isolated: site("b"), ..good.clone() }, ErrorCode::BadArgument),
        (DropProposal { isolated: site("x"), ..good.clone() }, ErrorCode::UnknownPeer),
        (DropProposal { dropped: foreign.clone(), ..good.clone() }, ErrorCode::ForeignOrigin),
        (DropProposal { isolated_seen: foreign, ..good }, ErrorCode::ForeignOrigin),
    ];
    for (proposal, expected) in cases {
        let proposed = relay.step(Command::DropProposed { peer: site("b"), proposal });
        assert_eq!(code(proposed), expected);
    }
}

#[test]
fn a_tombstone_stays_whose_context_v_does_not_cover() {
    let mut relay = bounded("a", &["b"]);
    relay.meet("b", Vector::new());
    // A concurrent entry of c... of b came without a claim: V does not cover what the tombstone replaces.
    let mut batch = relay.batch_of("b", vec![live(LATEST, "k0", version("b", 1), "1")], &[]);
    batch.vector = Vector::new();
    relay.step(apply("b", batch)).expect("fits");
    relay.lose("b");
    remove_all(&mut relay, 3);
    relay.now = ms(10_000);
    relay.housekeep();
    assert_eq!(relay.kind(LATEST, "k0"), Some(Kind::Tombstone));
    assert_eq!(tombstones(&relay), 1, "the others go in its place");
}

#[test]
fn one_that_can_not_be_read_stays_and_the_marks_go_on() {
    let mut relay = bounded("a", &["b"]);
    remove_all(&mut relay, 3);
    relay.put_for(LATEST, "expiring", Millis::new(1));
    relay.now = ms(10_000);
    relay.log.unreadable = true;
    relay.housekeep();
    assert_eq!(relay.kind(LATEST, "expiring"), Some(Kind::Mark));
    assert_eq!(tombstones(&relay), 4);
    assert!(relay.replica.next_due() > Some(relay.now), "and it is not tried at once again");
}

#[test]
fn marks_are_not_forced_out() {
    let mut relay = bounded("a", &["b"]);
    for number in 0..3 {
        relay.put_for(LATEST, &format!("k{number}"), Millis::new(1));
    }
    relay.now = START.after(Millis::from_secs(20_000));
    relay.housekeep();
    relay.housekeep();
    assert_eq!(tombstones(&relay), 3);
}
