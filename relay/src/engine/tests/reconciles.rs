//! Reconciles: what the sender's V covers is for the sender to say, the rest is written anew.

use landbridge_protocol::{
    error::ErrorCode,
    frame::peer::{Batch, ReconcileChunk},
    record::{ClientId, Kind, Record, WriteToken},
    vector::Vector,
    version::Version,
};

use super::bed::*;
use crate::engine::command::{Answer, Decided};

/// Site `a` holds what `b` wrote at these times, and `b` has dropped `gone` since.
fn behind(name: &str, held: &[(&str, u64)]) -> (Relay, Version) {
    let mut relay = Relay::serving(&["b"]);
    relay.meet("b", Vector::new());
    for (of, at) in held {
        relay.apply("b", vec![live(name, of, version("b", *at), of)], &[]).expect("fits");
    }
    relay.now = ms(200);
    let gone = version("b", 100);
    let mut introduction = relay.introduction_of("b", seen(&[gone]));
    introduction.dropped = seen(&[gone]);
    relay.meet_as(introduction);
    (relay, gone)
}

fn done(decided: Decided) -> bool {
    match decided.expect("taken") {
        Answer::Reconciled { done } => done,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_the_sender_covers_becomes_what_it_holds() {
    for name in [LATEST, WINS] {
        let (mut relay, gone) = behind(name, &[("dropped", 1), ("kept", 2), ("older", 3)]);
        assert!(relay.replica.held_back(&site("b")));
        relay.reconcile_begin("b", seen(&[gone]), seen(&[gone])).expect("needed");
        let records = vec![
            live(name, "kept", version("b", 2), "kept"),
            live(name, "new", version("b", 9), "new"),
            live(name, "older", version("b", 2), "as the sender has it"),
        ];
        assert!(done(relay.reconcile_chunk("b", None, None, records)));
        let held: Vec<_> = ["dropped", "kept", "new", "older"].map(|of| relay.get(name, of)).into();
        let expected = [None, Some("kept"), Some("new"), Some("as the sender has it")];
        assert_eq!(held, expected.map(|text| text.map(str::to_owned)), "{name}");
        assert_eq!((relay.replica.seen(), relay.replica.dropped()), (&seen(&[gone]), &seen(&[gone])));
        let cursor = relay.replica.core.cursors[&site("b")].cursor;
        assert_eq!((cursor.run, cursor.through), (run("b"), through(1_000, 1_000)));
        assert!(!relay.replica.held_back(&site("b")));
        let again = relay.restarted(run("z"));
        assert_eq!(entries(&again), entries(&relay), "also what was forgotten");
        assert_eq!(again.replica.dropped(), &seen(&[gone]));
    }
}

#[test]
fn what_the_sender_had_not_seen_is_written_anew() {
    for name in [LATEST, WINS] {
        let (mut relay, gone) = behind(name, &[("refreshed", 2)]);
        let token = WriteToken { client: ClientId(9), number: 1 };
        let mut write = relay.write_of(landbridge_protocol::frame::node::Operation::Put, name, "refreshed", "mine");
        (write.token, write.lifespan) = (token, Some(landbridge_protocol::time::Millis::new(1_000)));
        relay.write(write).expect("decided");
        let before = relay.record(name, "refreshed");
        let mine = relay.put(name, "mine", "mine");
        relay.reconcile_begin("b", seen(&[gone]), seen(&[gone])).expect("needed");
        let theirs = vec![live(name, "refreshed", version("b", 2), "theirs")];
        assert!(done(relay.reconcile_chunk("b", None, None, theirs)));
        let after = relay.record(name, "refreshed");
        assert!(after.version > gone && after.version > before.version && after.version > mine);
        assert_eq!((after.deadline, after.token, &after.node), (before.deadline, Some(token), &before.node));
        assert_eq!(after.value, "mine");
        assert_eq!(after.birth, before.birth, "a life that the sender knows goes on");
        let mine_anew = relay.record(name, "mine");
        assert_eq!(mine_anew.birth, mine_anew.version, "one that it never knew begins anew");
        assert!(relay.replica.seen().covers(&after.version));
    }
}

#[test]
fn a_life_that_the_sender_has_ended_is_dropped_with_its_refreshes() {
    let (mut relay, gone) = behind(WINS, &[("k", 2)]);
    relay.put(WINS, "k", "refreshed in ignorance of the logout");
    relay.reconcile_begin("b", seen(&[gone]), seen(&[gone])).expect("needed");
    assert!(done(relay.reconcile_chunk("b", None, None, vec![])));
    assert_eq!(relay.slot(WINS, "k"), None);
    // Under `latest` the refresh is a write like any other.
    let (mut relay, gone) = behind(LATEST, &[("k", 2)]);
    relay.put(LATEST, "k", "refreshed");
    relay.reconcile_begin("b", seen(&[gone]), seen(&[gone])).expect("needed");
    assert!(done(relay.reconcile_chunk("b", None, None, vec![])));
    assert_eq!(relay.get(LATEST, "k").as_deref(), Some("refreshed"));
}

#[test]
fn chunks_go_on_from_each_other_and_join_vectors_at_the_end_only() {
    let (mut relay, gone) = behind(LATEST, &[("a", 1), ("b", 2), ("c", 3), ("d", 4)]);
    relay.reconcile_begin("b", seen(&[gone]), seen(&[gone])).expect("needed");
    let before = relay.replica.seen().clone();
    assert!(!done(relay.reconcile_chunk(
        "b",
        None,
        Some(place(LATEST, "b")),
        vec![live(LATEST, "a", version("b", 1), "a")]
    )));
    assert_eq!((relay.get(LATEST, "a").is_some(), relay.get(LATEST, "b")), (true, None));
    assert_eq!((relay.replica.seen(), relay.replica.dropped()), (&before, &Vector::new()));
    for wrong in [None, Some(place(LATEST, "a")), Some(place(LATEST, "c"))] {
        assert_eq!(code(relay.reconcile_chunk("b", wrong, None, vec![])), ErrorCode::HandshakeAnew);
    }
    let outside = vec![live(LATEST, "a", version("b", 1), "a")];
    assert_eq!(code(relay.reconcile_chunk("b", Some(place(LATEST, "b")), None, outside)), ErrorCode::Malformed);
    assert_eq!(code(relay.apply("b", vec![], &[gone])), ErrorCode::HandshakeAnew, "no batch in its midst");
    assert!(done(relay.reconcile_chunk(
        "b",
        Some(place(LATEST, "b")),
        None,
        vec![live(LATEST, "d", version("b", 4), "d")]
    )));
    assert_eq!((relay.get(LATEST, "c"), relay.get(LATEST, "d").is_some()), (None, true));
    assert_eq!(relay.replica.dropped(), &seen(&[gone]));
    let over = relay.reconcile_chunk("b", None, None, vec![]);
    assert_eq!(code(over), ErrorCode::HandshakeAnew, "it has ended");
}

#[test]
fn one_that_is_cut_midway_claims_nothing_and_the_next_ends_as_if_it_had_not_been() {
    for name in [LATEST, WINS] {
        let begun = || {
            let (mut relay, gone) = behind(name, &[("a", 1), ("b", 2)]);
            relay.put(name, "a", "refreshed");
            relay.put(name, "c", "mine");
            (relay, gone)
        };
        let theirs = || vec![live(name, "b", version("b", 2), "b"), live(name, "d", version("b", 9), "d")];
        let values = |relay: &Relay| entries(relay).into_iter().map(|entry| (entry.1, entry.4)).collect::<Vec<_>>();
        let (mut whole, gone) = begun();
        whole.reconcile_begin("b", seen(&[gone]), seen(&[gone])).expect("needed");
        assert!(done(whole.reconcile_chunk("b", None, None, theirs())));
        for restarted in [false, true] {
            let (mut cut, _) = begun();
            cut.reconcile_begin("b", seen(&[gone]), seen(&[gone])).expect("needed");
            assert!(!done(cut.reconcile_chunk("b", None, Some(place(name, "b")), theirs()[..1].to_vec())));
            cut.lose("b");
            if restarted {
                cut = cut.restarted(run("z"));
            }
            assert_eq!(cut.replica.dropped(), &Vector::new());
            let mut introduction = cut.introduction_of("b", seen(&[gone]));
            introduction.dropped = seen(&[gone]);
            cut.meet_as(introduction);
            assert_eq!(code(cut.reconcile_chunk("b", Some(place(name, "b")), None, vec![])), ErrorCode::HandshakeAnew);
            cut.reconcile_begin("b", seen(&[gone]), seen(&[gone])).expect("needed still");
            assert!(done(cut.reconcile_chunk("b", None, None, theirs())));
            assert_eq!(values(&cut), values(&whole), "{name}, restarted: {restarted}");
        }
    }
}

#[test]
fn a_needless_one_is_not_taken() {
    let (mut relay, gone) = behind(LATEST, &[("k", 1)]);
    assert_eq!(code(relay.reconcile_begin("b", seen(&[gone]), seen(&[version("b", 1)]))), ErrorCode::HandshakeAnew);
    relay.reconcile_begin("b", seen(&[gone]), seen(&[gone])).expect("needed");
    relay.replica.core.seen.join(&seen(&[gone])); // as another peer's would have done
    assert_eq!(code(relay.reconcile_chunk("b", None, None, vec![])), ErrorCode::HandshakeAnew);
    assert!(relay.get(LATEST, "k").is_some());
}

#[test]
fn where_both_lack_what_the_other_dropped_the_lower_name_goes_first() {
    for (own, peer, taken) in [("b", "a", true), ("a", "b", false)] {
        let mut relay = Relay::serving_with(config(own, &[peer]));
        let mine = relay.remove(LATEST, "mine");
        relay.now = ms(20_000);
        relay.meet(peer, seen(&[mine]));
        relay.housekeep();
        assert!(!relay.replica.dropped().is_empty());
        relay.meet(peer, Vector::new());
        let gone = version(peer, 5);
        let begun = relay.reconcile_begin(peer, seen(&[gone]), seen(&[gone]));
        assert_eq!(begun.is_ok(), taken, "{own} from {peer}");
        assert!(taken || code(begun) == ErrorCode::ReconcileFirst);
    }
}

#[test]
fn bad_vectors_and_records_are_refused_and_change_nothing() {
    let (mut relay, gone) = behind(LATEST, &[("a", 1), ("k", 2)]);
    let foreign = seen(&[gone, version("x", 1)]);
    assert_eq!(code(relay.reconcile_begin("b", foreign.clone(), seen(&[gone]))), ErrorCode::ForeignOrigin);
    assert_eq!(code(relay.reconcile_begin("b", seen(&[gone]), foreign)), ErrorCode::ForeignOrigin);
    assert_eq!(code(relay.reconcile_begin("b", seen(&[version("b", 130_000)]), seen(&[gone]))), ErrorCode::ClockSkew);
    relay.reconcile_begin("b", seen(&[gone]), seen(&[gone])).expect("needed");
    let before = (relay.replica.clone(), relay.log.commits.len());
    let bad = [
        (live(LATEST, "k", version("x", 1), ""), ErrorCode::ForeignOrigin),
        (
            Record { context: seen(&[version("x", 1)]), ..live(LATEST, "k", version("b", 1), "") },
            ErrorCode::ForeignOrigin,
        ),
        (live(LATEST, "k", version("b", 130_000), ""), ErrorCode::ClockSkew),
        (live(LOCAL, "k", version("b", 1), ""), ErrorCode::ConfigMismatch),
        (Record { kind: Kind::Clear, ..live(LATEST, "k", version("b", 1), "") }, ErrorCode::Malformed),
    ];
    for (record, expected) in bad {
        let records = vec![live(LATEST, "j", version("b", 3), ""), record];
        assert_eq!(code(relay.reconcile_chunk("b", None, None, records)), expected);
        assert_eq!((relay.replica.clone(), relay.log.commits.len()), before);
    }
}

#[test]
fn a_clock_that_ends_midway_refuses_the_whole_range() {
    let (mut relay, gone) = behind(LATEST, &[("dropped", 1)]);
    relay.put(LATEST, "mine1", "1");
    relay.put(LATEST, "mine2", "2");
    relay.reconcile_begin("b", seen(&[gone]), seen(&[gone])).expect("needed");
    // One clock is left below the bound, and two entries are to be written anew.
    let limit =
        landbridge_protocol::version::Clock::at(relay.now.after(landbridge_protocol::time::Millis::from_secs(120)));
    let last = landbridge_protocol::version::Clock::from_bits(limit.bits() + 0xffff - 1);
    let mut group = relay.replica.begin(relay.now);
    let write = relay.clone().write_of(landbridge_protocol::frame::node::Operation::Put, LATEST, "first", "1");
    group.step(command(write), &relay.log).expect("decided");
    group.core.clock = last;
    let chunk = landbridge_protocol::frame::peer::ReconcileChunk { after: None, through: None, records: vec![] };
    let refused = group.step(
        crate::engine::command::Command::ReconcileChunk { peer: site("b"), run: run("b"), chunk: Box::new(chunk) },
        &relay.log,
    );
    assert_eq!(code(refused), ErrorCode::ClockAhead);
    let commit = group.finish().commit.expect("the write before it stands");
    assert_eq!((commit.records.len(), &commit.header.dropped), (1, &Vector::new()));
}

#[test]
fn an_entry_that_can_not_be_read_refuses_the_whole_range() {
    let (mut relay, gone) = behind(LATEST, &[("dropped", 1)]);
    relay.put(LATEST, "mine", "1");
    relay.reconcile_begin("b", seen(&[gone]), seen(&[gone])).expect("needed");
    relay.log.unreadable = true;
    let before = (relay.replica.clone(), relay.log.commits.len());
    assert_eq!(code(relay.reconcile_chunk("b", None, None, vec![])), ErrorCode::Internal);
    assert_eq!((relay.replica.clone(), relay.log.commits.len()), before);
}

#[test]
fn a_clear_in_a_range_ends_what_is_below_it_and_is_kept() {
    for name in [LATEST, WINS] {
        let (mut relay, gone) = behind(name, &[("k", 1)]);
        relay.put(name, "mine", "later");
        relay.reconcile_begin("b", seen(&[gone]), seen(&[gone])).expect("needed");
        assert!(done(relay.reconcile_chunk("b", None, None, vec![cleared(name, version("b", 50))])));
        assert_eq!(relay.slot(name, "k"), None);
        assert_eq!(relay.get(name, "mine").as_deref(), Some("later"));
        assert_eq!(relay.replica.clear_of(&cache(name)).expect("held").version, version("b", 50));
        assert_eq!(entries(&relay.restarted(run("z"))), entries(&relay));
    }
}

#[test]
fn before_its_stream_has_begun_it_is_refused() {
    let mut relay = Relay::serving(&["b"]);
    let gone = version("b", 1);
    assert_eq!(code(relay.reconcile_begin("b", seen(&[gone]), seen(&[gone]))), ErrorCode::FormerRun);
    assert_eq!(code(relay.reconcile_chunk("b", None, None, vec![])), ErrorCode::FormerRun);
    relay.meet("b", Vector::new());
    assert_eq!(code(relay.reconcile_chunk("b", None, None, vec![])), ErrorCode::HandshakeAnew);
    let _: Batch = relay.batch_of("b", vec![], &[]);
}

#[test]
fn a_range_has_one_clear_of_a_cache_at_most() {
    let (mut relay, gone) = behind(LATEST, &[("k", 1)]);
    relay.reconcile_begin("b", seen(&[gone]), seen(&[gone])).expect("needed");
    let clears = vec![cleared(LATEST, version("b", 50)), cleared(LATEST, version("b", 60))];
    assert_eq!(code(relay.reconcile_chunk("b", None, None, clears)), ErrorCode::Malformed);
    assert!(relay.get(LATEST, "k").is_some());
}

/// Gives a range, and whatever is left of it; or the first so many parts. In how many it was taken, and whether that was all.
fn in_parts(relay: &mut Relay, chunk: ReconcileChunk, most: usize) -> (usize, bool) {
    let (mut parts, mut left) = (0, Some(chunk));
    while let Some(chunk) = left.take().filter(|_| parts < most) {
        parts += 1;
        let ReconcileChunk { after, through, records } = chunk;
        match relay.reconcile_chunk("b", after, through, records).expect("taken") {
            Answer::Reconciled { done } => return (parts, done),
            Answer::ReconciledPart { rest } => left = Some(*rest),
            other => panic!("{other:?}"),
        }
    }
    (parts, false)
}

/// Keys that the sender never saw, let go of, holds otherwise, and holds alone, around a clear.
fn crowd(name: &str, keys: usize) -> (Relay, Version, ReconcileChunk) {
    let mut config = config("a", &["b"]);
    config.reconcile_keys = keys;
    let mut relay = Relay::serving_with(config);
    relay.meet("b", Vector::new());
    for of in 0..12 {
        relay.apply("b", vec![live(name, &format!("theirs{of:02}"), version("b", of + 1), "1")], &[]).expect("fits");
    }
    relay.now = ms(200);
    for of in 0..12 {
        relay.put(name, &format!("mine{of:02}"), "1");
    }
    relay.put(name, "theirs03", "refreshed");
    relay.remove(name, "theirs04");
    let gone = version("b", 100);
    let mut introduction = relay.introduction_of("b", seen(&[gone]));
    introduction.dropped = seen(&[gone]);
    relay.meet_as(introduction);
    let mut records = vec![cleared(name, version("b", 3))];
    records.extend((6..9).map(|of| live(name, &format!("theirs{of:02}"), version("b", of + 50), "2")));
    records.extend((0..3).map(|of| live(name, &format!("other{of}"), version("b", of + 60), "3")));
    (relay, gone, ReconcileChunk { after: None, through: None, records })
}

#[test]
fn a_range_that_is_taken_in_parts_comes_to_the_same_and_claims_nothing_before_its_end() {
    let values = |relay: &Relay| -> Vec<_> {
        entries(relay).into_iter().map(|(_, key, _, deadline, value)| (key, deadline, value)).collect()
    };
    for name in [LATEST, WINS] {
        let (mut whole, gone, chunk) = crowd(name, 1_000);
        whole.reconcile_begin("b", seen(&[gone]), seen(&[gone])).expect("needed");
        assert_eq!(in_parts(&mut whole, chunk, 1_000), (1, true));
        assert!(values(&whole).len() > 12);
        for keys in [1, 2, 3, 7, 23] {
            let (mut relay, gone, chunk) = crowd(name, keys);
            let before = (relay.replica.seen().clone(), relay.log.commits.len());
            relay.reconcile_begin("b", seen(&[gone]), seen(&[gone])).expect("needed");
            let mut killed = relay.clone();
            let (parts, done) = in_parts(&mut relay, chunk.clone(), 1_000);
            assert!(done && parts >= 22 / keys, "{parts} parts of {keys} keys");
            assert_eq!(values(&relay), values(&whole), "{name}, {keys} keys at a time");
            assert_eq!(relay.replica.dropped(), whole.replica.dropped());
            let offered = chunk.records.len();
            let largest = relay.log.commits[before.1..].iter().map(|commit| commit.records.len()).max();
            assert!(largest.is_some_and(|records| records <= keys + offered), "{largest:?} records of {keys} keys");
            // A kill between two parts: nothing is claimed, and the next reconcile goes through all of it.
            assert_eq!(in_parts(&mut killed, chunk.clone(), parts / 2), (parts / 2, false));
            assert!(killed.replica.seen().clock(&gone.origin) < gone.clock, "what was taken says nothing of the rest");
            assert_eq!(killed.replica.dropped(), &Vector::new());
            let mut again = killed.restarted(run("z"));
            assert!(again.replica.seen().clock(&gone.origin) == before.0.clock(&gone.origin));
            let mut introduction = again.introduction_of("b", seen(&[gone]));
            introduction.dropped = seen(&[gone]);
            again.meet_as(introduction);
            again.reconcile_begin("b", seen(&[gone]), seen(&[gone])).expect("needed still");
            assert!(in_parts(&mut again, chunk, 1_000).1);
            assert_eq!(values(&again), values(&whole), "{name}, {keys} keys at a time, killed");
        }
    }
}

#[test]
fn what_one_command_writes_anew_is_bounded_in_bytes() {
    let mut relay = Relay::serving(&["b", "c"]);
    relay.meet("b", Vector::new());
    relay.meet("c", Vector::new());
    for of in 0..4 {
        let value = bytes::Bytes::from(vec![b'v'; 3 << 20]);
        let record = Record { value, ..live(LATEST, &format!("k{of}"), version("c", of + 1), "") };
        relay.apply("c", vec![record], &[]).expect("fits");
    }
    let gone = version("b", 100);
    let mut introduction = relay.introduction_of("b", seen(&[gone]));
    introduction.dropped = seen(&[gone]);
    relay.meet_as(introduction);
    relay.reconcile_begin("b", seen(&[gone]), seen(&[gone])).expect("needed");
    let chunk = ReconcileChunk { after: None, through: None, records: vec![] };
    assert_eq!(in_parts(&mut relay, chunk, 100), (4, true));
    assert_eq!(entries(&relay).len(), 4);
}
