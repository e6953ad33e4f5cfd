//! Deadlines and the marks that they leave.

use landbridge_protocol::{
    record::{Kind, Record},
    time::Millis,
    vector::Vector,
};

use super::bed::*;
use crate::engine::{
    command::{Answer, Command},
    expiry::MAX_MARKS,
};

#[test]
fn a_deadline_that_is_past_leaves_a_mark() {
    let mut relay = Relay::serving(&[]);
    let written = relay.put_for(LATEST, "k", Millis::new(10));
    assert_eq!(relay.replica.next_due(), Some(ms(10)));
    let head = relay.replica.head();
    relay.now = ms(9);
    relay.housekeep();
    assert_eq!((relay.replica.head(), relay.kind(LATEST, "k")), (head, Some(Kind::Live)));
    relay.now = ms(10);
    relay.housekeep();
    let mark = relay.record(LATEST, "k");
    assert_eq!((mark.kind, mark.version, mark.birth, mark.deadline), (Kind::Mark, written, written, Some(ms(10))));
    assert_eq!((mark.value.len(), mark.token), (0, None));
    assert_eq!(relay.replica.seen().clock(&written.origin), written.clock, "a mark is no write");
    let head = relay.replica.head();
    relay.housekeep();
    assert_eq!(relay.replica.head(), head, "once");
}

#[test]
fn a_refresh_moves_the_deadline() {
    let mut relay = Relay::serving(&[]);
    relay.put_for(LATEST, "k", Millis::new(10));
    relay.put_for(LATEST, "k", Millis::new(30));
    relay.now = ms(10);
    relay.housekeep();
    assert_eq!(relay.kind(LATEST, "k"), Some(Kind::Live));
    relay.put(LATEST, "k", "for ever");
    assert_eq!(relay.replica.next_due(), None);
}

#[test]
fn a_refresh_in_the_same_group_is_not_marked() {
    let mut relay = Relay::serving(&[]);
    relay.put_for(LATEST, "k", Millis::new(10));
    relay.now = ms(10);
    let put = command(relay.write_of(landbridge_protocol::frame::node::Operation::Put, LATEST, "k", "2"));
    relay.steps([put, Command::Housekeep]);
    assert_eq!(relay.get(LATEST, "k").as_deref(), Some("2"));
}

#[test]
fn more_than_a_bound_is_marked_in_turns() {
    let mut relay = Relay::serving(&[]);
    for number in 0..=MAX_MARKS {
        relay.put_for(LATEST, &format!("k{number}"), Millis::new(10));
    }
    relay.now = ms(10);
    let more = |relay: &mut Relay| match relay.step(Command::Housekeep) {
        Ok(Answer::Housekept { more }) => more,
        other => panic!("{other:?}"),
    };
    assert!(more(&mut relay));
    assert!(!more(&mut relay));
    assert_eq!(relay.replica.stats(&cache(LATEST)).expect("known").tombstones, MAX_MARKS as u64 + 1);
}

#[test]
fn a_mark_and_its_entry_are_equals_whichever_comes_first() {
    for name in [LATEST, WINS] {
        let at = version("b", 1);
        let entry = Record { deadline: Some(ms(10)), ..live(name, "k", at, "1") };
        let mark = Record { kind: Kind::Mark, value: Default::default(), ..entry.clone() };
        for records in [[entry.clone(), mark.clone()], [mark, entry]] {
            let mut relay = Relay::serving(&["b"]);
            relay.meet("b", Vector::new());
            relay.now = ms(20);
            for record in records {
                let mut batch = relay.batch_of("b", vec![record], &[]);
                batch.vector = Vector::new();
                relay.step(apply("b", batch)).expect("fits");
            }
            relay.housekeep();
            assert_eq!((relay.kind(name, "k"), relay.get(name, "k")), (Some(Kind::Mark), None));
        }
    }
}

/// Site `a` with peer `b` and a mark of what `b` knows.
fn marked() -> Relay {
    let mut relay = Relay::serving(&["b"]);
    let written = relay.put_for(LATEST, "k", Millis::new(10));
    relay.meet("b", seen(&[written]));
    relay.now = ms(10);
    relay.housekeep();
    relay
}

#[test]
fn a_mark_is_dropped_when_every_stream_is_past_its_deadline_and_the_skew() {
    for (past, dropped) in [(ms(60_010), false), (ms(60_011), true)] {
        let mut relay = marked();
        relay.now = ms(100_000);
        relay.heard("b", past);
        relay.housekeep();
        assert_eq!(relay.slot(LATEST, "k").is_none(), dropped, "{past:?}");
        assert_eq!(relay.replica.dropped().is_empty(), !dropped);
    }
}

#[test]
fn a_new_handshake_begins_the_past_of_a_stream_anew() {
    let mut relay = marked();
    relay.now = ms(100_000);
    let version = relay.slot(LATEST, "k").expect("held").version;
    relay.heard("b", ms(100_000));
    relay.meet("b", seen(&[version]));
    relay.housekeep();
    assert_eq!(relay.kind(LATEST, "k"), Some(Kind::Mark));
}

#[test]
fn a_record_that_comes_in_expired_is_marked_here() {
    let mut relay = Relay::serving(&["b"]);
    relay.meet("b", Vector::new());
    relay.now = ms(20);
    let late = Record { deadline: Some(ms(10)), ..live(LATEST, "k", version("b", 1), "1") };
    relay.apply("b", vec![late], &[]).expect("fits");
    assert_eq!(relay.get(LATEST, "k"), None);
    relay.housekeep();
    assert_eq!(relay.kind(LATEST, "k"), Some(Kind::Mark));
}
