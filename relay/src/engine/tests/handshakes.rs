//! Handshakes, starts, heartbeats and acknowledgements.

use landbridge_protocol::{
    error::ErrorCode,
    frame::peer::Introduction,
    position::{Cursor, Sequence, Through},
    time::Millis,
    vector::Vector,
    version::{Clock, Origin, RunId, Version},
};

use super::bed::*;
use crate::engine::{
    command::{Answer, Command},
    replica::Replica,
};

fn introduce(relay: &mut Relay, peer: Introduction, incoming: bool) -> crate::engine::command::Decided {
    relay.step(Command::Introduced { peer: Box::new(peer), incoming })
}

#[test]
fn what_a_peer_may_not_say_is_refused_and_changes_nothing() {
    let mut relay = Relay::serving(&["b"]);
    let own = relay.put(LATEST, "k", "1");
    let before = relay.replica.clone();
    let good = relay.introduction_of("b", seen(&[version("b", 5), own]));
    let beyond = Version { clock: own.clock.next(START).expect("a clock"), ..own };
    let cases = [
        ("another's site", Introduction { site: site("x"), ..good.clone() }, ErrorCode::UnknownPeer),
        ("foreign", Introduction { seen: seen(&[version("x", 5)]), ..good.clone() }, ErrorCode::ForeignOrigin),
        ("foreign G", Introduction { dropped: seen(&[version("x", 5)]), ..good.clone() }, ErrorCode::ForeignOrigin),
        ("foreign run", Introduction { runs: vec![origin("x")], ..good.clone() }, ErrorCode::ForeignOrigin),
        ("ahead", Introduction { seen: seen(&[version("b", 120_001)]), ..good.clone() }, ErrorCode::ClockSkew),
        ("G ahead", Introduction { dropped: seen(&[version("b", 120_001)]), ..good.clone() }, ErrorCode::ClockSkew),
        ("beyond", Introduction { seen: seen(&[beyond]), ..good.clone() }, ErrorCode::ForeignOrigin),
    ];
    for (what, introduction, expected) in cases {
        for incoming in [false, true] {
            assert_eq!(code(introduce(&mut relay, introduction.clone(), incoming)), expected, "{what}");
            assert_eq!(relay.replica, before, "{what}");
        }
    }
    assert!(introduce(&mut relay, good, true).is_ok());
}

#[test]
fn only_the_peers_own_stream_is_what_tombstones_go_by() {
    let mut relay = Relay::serving(&["b"]);
    let vector = seen(&[version("b", 5)]);
    let introduction = relay.introduction_of("b", vector.clone());
    introduce(&mut relay, introduction.clone(), false).expect("good");
    let report = relay.replica.report(&site("b")).expect("configured").clone();
    assert_eq!((report.seen, report.heard), (vector.clone(), Vector::new()));
    introduce(&mut relay, introduction, true).expect("good");
    let report = relay.replica.report(&site("b")).expect("configured").clone();
    assert_eq!((report.seen, report.heard), (vector.clone(), vector.clone()));
    // A wiped peer knows less: its handshake replaces both.
    let wiped = Introduction { run: RunId(99), ..relay.introduction_of("b", Vector::new()) };
    introduce(&mut relay, wiped, false).expect("good");
    let report = relay.replica.report(&site("b")).expect("configured").clone();
    assert_eq!((report.seen, report.heard), (Vector::new(), Vector::new()));
    assert_eq!(relay.replica.seen(), &Vector::new(), "a handshake's V is never joined");
}

#[test]
fn a_handshake_tells_the_receivers_cursor() {
    let mut relay = Relay::serving(&["b"]);
    relay.meet("b", Vector::new());
    relay.apply("b", vec![live(LATEST, "k", version("b", 1), "1")], &[]).expect("fits");
    let introduction = relay.introduction_of("b", Vector::new());
    let Ok(Answer::Introduced { cursor, cursor_digest }) = introduce(&mut relay, introduction, true) else {
        panic!("a good handshake")
    };
    assert_eq!(cursor, Some(Cursor { run: run("b"), through: through(1, 1) }));
    assert_eq!(cursor_digest, relay.replica.digest_with(&site("b")));
}

#[test]
fn a_start_beyond_the_cursor_is_refused() {
    let mut relay = Relay::serving(&["b"]);
    relay.meet("b", Vector::new());
    relay.apply("b", vec![live(LATEST, "k", version("b", 1), "1")], &[]).expect("fits");
    for (after, good) in [(through(2, 1), false), (through(1, 2), false), (through(1, 1), true), (through(0, 0), true)]
    {
        let started = relay.step(Command::Started { peer: site("b"), run: run("b"), after });
        assert_eq!(started.is_ok(), good, "{after:?}");
    }
}

#[test]
fn a_former_runs_stream_is_refused() {
    let mut relay = Relay::serving(&["b"]);
    relay.meet("b", Vector::new());
    let next = Introduction { run: RunId(99), ..relay.introduction_of("b", Vector::new()) };
    introduce(&mut relay, next, false).expect("good");
    let (peer, run) = (site("b"), run("b"));
    let late = [
        apply("b", relay.batch_of("b", vec![], &[])),
        Command::Started { peer, run, after: Through::default() },
        Command::Heard { peer, run, past: START, skew_ms: 0 },
        Command::Acknowledged { peer, run, through: Through::default() },
    ];
    for command in late {
        assert_eq!(code(relay.step(command.clone())), ErrorCode::FormerRun, "{command:?}");
    }
    assert_eq!(code(relay.reconcile_begin("b", Vector::new(), seen(&[version("b", 1)]))), ErrorCode::FormerRun);
    assert_eq!(code(relay.reconcile_chunk("b", None, None, vec![])), ErrorCode::FormerRun);
}

#[test]
fn an_acknowledgement_never_goes_beyond_the_head() {
    let mut relay = Relay::serving(&["b"]);
    relay.meet("b", Vector::new());
    relay.put(LATEST, "k", "1");
    let head = relay.replica.head();
    let far = Through { direct: Sequence::new(u64::MAX), complete: Sequence::new(1) };
    relay.step(Command::Acknowledged { peer: site("b"), run: run("b"), through: far }).expect("the present run");
    let report = relay.replica.report(&site("b")).expect("configured");
    assert_eq!(report.acknowledged, Through { direct: head, complete: Sequence::new(1) });
    assert_eq!(report.acknowledged_all(), Sequence::new(1));
}

#[test]
fn a_cursor_is_good_for_runs_that_ended_in_order() {
    let cursor = |run: RunId, at: u64| Cursor { run, through: through(at, at) };
    let mut relay = Relay::serving(&[]);
    relay.put(LATEST, "k", "1");
    let first = relay.replica.head();
    let own = relay.replica.origin().run;
    assert_eq!(relay.replica.resume(None), Through::default());
    assert_eq!(relay.replica.resume(Some(&cursor(own, first.get()))), through(first.get(), first.get()));
    assert_eq!(relay.replica.resume(Some(&cursor(own, 99))), through(first.get(), first.get()), "cut at the head");
    assert_eq!(relay.replica.resume(Some(&cursor(RunId(99), 1))), Through::default(), "of an unknown run");

    let crashed = relay.restarted(RunId(1));
    assert_eq!(crashed.replica.resume(Some(&cursor(own, first.get()))), Through::default());
    relay.step(Command::EndRun).expect("once");
    let mut ended = relay.restarted(RunId(1));
    ended.put(LATEST, "k", "2");
    let last = first.next();
    assert_eq!(ended.replica.resume(Some(&cursor(own, 99))), through(last.get(), last.get()), "cut at its run's end");
    assert_eq!(ended.restarted(RunId(2)).replica.resume(Some(&cursor(own, 1))), Through::default());
}

#[test]
fn a_new_run_is_never_behind_the_former_ones_clock() {
    let mut relay = Relay::serving(&[]);
    relay.now = ms(50_000);
    let last = relay.put(LATEST, "k", "1");
    relay.now = ms(0);
    let mut back = relay.restarted(RunId(1));
    let next = back.put(LATEST, "k", "2");
    assert!(next > last);
    assert_eq!(next.origin, Origin { site: site("a"), run: RunId(1) });
}

#[test]
fn a_handshake_carries_the_wall_clock_difference() {
    let mut relay = Relay::serving(&["b"]);
    relay.meet("b", Vector::new());
    relay.step(Command::Heard { peer: site("b"), run: run("b"), past: START, skew_ms: 70_000 }).expect("heard");
    assert_eq!(code(relay.apply("b", vec![], &[version("b", 1)])), ErrorCode::ClockSkew);
    // The clocks were set right, and the link comes anew: nothing of the old difference is left.
    relay.meet("b", Vector::new());
    relay.apply("b", vec![], &[version("b", 1)]).expect("in time");
    let wall = START.before(Millis::from_secs(61));
    relay.meet_as(Introduction { wall, ..relay.introduction_of("b", Vector::new()) });
    assert_eq!(code(relay.apply("b", vec![], &[version("b", 2)])), ErrorCode::ClockSkew);
}

#[test]
fn clocks_at_the_end_of_time_are_refused() {
    let mut relay = Relay::serving(&["b"]);
    let end = Version { clock: Clock::MAX, origin: origin("b") };
    let introduction = relay.introduction_of("b", seen(&[end]));
    assert_eq!(code(introduce(&mut relay, introduction, true)), ErrorCode::ClockSkew);
    let replica: &Replica = &relay.replica;
    assert!(replica.clock() < Clock::MAX);
}
