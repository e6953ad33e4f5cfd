//! Nodes' writes: outcomes, births, refusals, what a group sees of itself.

use landbridge_protocol::{
    error::ErrorCode,
    frame::{
        node::{Operation, Write},
        peer::Batch,
    },
    record::{Key, Kind},
    time::Millis,
    vector::Vector,
    version::Clock,
};

use super::bed::*;
use crate::engine::command::{Answer, Command, Decided};

#[test]
fn each_operation_has_its_outcome_on_nothing_and_on_an_entry() {
    let cases = [
        (Operation::Put, true, true),
        (Operation::PutIfAbsent, true, false),
        (Operation::Replace, false, true),
        (Operation::Remove, true, true),
    ];
    for (operation, on_nothing, on_entry) in cases {
        let mut relay = Relay::serving(&[]);
        let outcome = relay.operate(operation, LATEST, "absent", "new");
        assert_eq!((outcome.done, outcome.existed, outcome.previous), (on_nothing, false, None), "{operation:?}");
        let before = relay.put(LATEST, "k", "old");
        let outcome = relay.operate(operation, LATEST, "k", "new");
        let previous = outcome.previous.expect("asked for, or present");
        assert_eq!((outcome.done, outcome.existed, previous.version), (on_entry, true, before), "{operation:?}");
        assert_eq!(previous.value, "old");
        assert_eq!(outcome.version.is_some(), on_entry);
        assert!(outcome.version.is_none_or(|version| version > before));
    }
}

#[test]
fn a_version_is_compared_before_a_conditional_write() {
    let mut relay = Relay::serving(&[]);
    let first = relay.put(LATEST, "k", "1");
    for operation in [Operation::ReplaceIfVersion, Operation::RemoveIfVersion] {
        let wrong = Write { expected: Some(version("b", 0)), ..relay.write_of(operation, LATEST, "k", "2") };
        let outcome = relay.write(wrong).expect("decided");
        assert_eq!((outcome.done, outcome.previous.map(|entry| entry.version)), (false, Some(first)));
        let without = relay.write_of(operation, LATEST, "k", "2");
        assert_eq!(code(relay.write(without)), ErrorCode::BadArgument);
    }
    let right = Write { expected: Some(first), ..relay.write_of(Operation::RemoveIfVersion, LATEST, "k", "") };
    assert!(relay.write(right).expect("decided").done);
    assert_eq!((relay.get(LATEST, "k"), relay.kind(LATEST, "k")), (None, Some(Kind::Tombstone)));
}

#[test]
fn a_life_keeps_its_birth_until_it_ends() {
    let mut relay = Relay::serving(&[]);
    let first = relay.put(WINS, "k", "1");
    relay.put(WINS, "k", "2");
    assert_eq!(relay.slot(WINS, "k").expect("held").birth, first);
    relay.remove(WINS, "k");
    assert_eq!(relay.slot(WINS, "k").expect("held").birth, first, "a tombstone's is that of the life it ended");
    let again = relay.remove(WINS, "k");
    assert_eq!(relay.slot(WINS, "k").expect("held").birth, again, "of a removed key its own");
    let next = relay.put(WINS, "k", "3");
    assert_eq!(relay.slot(WINS, "k").expect("held").birth, next, "a write over a removed one begins a life");
    let absent = relay.remove(WINS, "absent");
    assert_eq!(relay.slot(WINS, "absent").expect("a tombstone all the same").birth, absent);
}

#[test]
fn a_write_over_an_expired_entry_begins_a_life_marked_or_not() {
    for marked in [false, true] {
        let mut relay = Relay::serving(&[]);
        relay.put_for(WINS, "k", Millis::new(10));
        relay.now = ms(10);
        assert_eq!(relay.get(WINS, "k"), None);
        if marked {
            relay.housekeep();
            assert_eq!(relay.kind(WINS, "k"), Some(Kind::Mark));
        }
        let outcome = relay.operate(Operation::Put, WINS, "k", "2");
        assert!(!outcome.existed);
        assert_eq!(relay.slot(WINS, "k").expect("held").birth, outcome.version.expect("done"));
    }
}

#[test]
fn commands_of_a_group_see_each_other() {
    let mut relay = Relay::serving(&[]);
    let first = command(relay.write_of(Operation::PutIfAbsent, LATEST, "k", "1"));
    let second = command(relay.write_of(Operation::PutIfAbsent, LATEST, "k", "2"));
    let third = command(relay.write_of(Operation::Remove, LATEST, "k", ""));
    let clear = relay.clear_command(LATEST);
    let after = command(relay.write_of(Operation::PutIfAbsent, LATEST, "k", "3"));
    let outcomes: Vec<_> = relay.steps([first, second, third, clear, after]).into_iter().map(written).collect();
    let done: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().expect("decided").done).collect();
    assert_eq!(done, [true, false, true, true, true]);
    let second = outcomes[1].as_ref().expect("decided").previous.as_ref().expect("the one present");
    assert_eq!(second.value, "1", "read from the group, as the log has no such record yet");
    assert_eq!(relay.get(LATEST, "k").as_deref(), Some("3"));
    assert_eq!(relay.log.commits.len(), 1, "one for the group");
}

#[test]
fn what_a_cache_does_not_take_is_refused_and_changes_nothing() {
    let mut relay = Relay::serving(&["b"]);
    let largest = "v".repeat(64);
    let long_key = "k".repeat(4096);
    let fits = relay.write_of(Operation::Put, LATEST, &long_key, &largest);
    assert!(relay.write(fits).is_ok(), "a key does not count as value");
    let before = relay.clone();
    let too_large = relay.write_of(Operation::Put, LATEST, "k", &format!("{largest}v"));
    assert_eq!(code(relay.write(too_large)), ErrorCode::EntryTooLarge);
    let idle = Write { max_idle: Some(Millis::new(1)), ..relay.write_of(Operation::Put, LATEST, "k", "") };
    assert_eq!(code(relay.write(idle)), ErrorCode::BadArgument);
    let spanless = Write { lifespan: Some(Millis::ZERO), ..relay.write_of(Operation::Put, LATEST, "k", "") };
    assert_eq!(code(relay.write(spanless)), ErrorCode::BadArgument);
    let unknown = relay.write_of(Operation::Put, "unknown", "k", "");
    assert_eq!(code(relay.write(unknown)), ErrorCode::UnknownCache);
    assert_eq!((relay.replica, relay.log.commits.len()), (before.replica, before.log.commits.len()));
}

#[test]
fn versions_rise_whatever_the_wall_clock_does() {
    let mut relay = Relay::serving(&[]);
    let mut last = relay.put(LATEST, "k", "");
    for now in [ms(0), ms(5), ms(3), ms(0), ms(1_000)] {
        relay.now = now;
        let next = relay.put(LATEST, "k", "");
        assert!(next > last && next.clock >= Clock::at(now), "{next} after {last}");
        last = next;
    }
}

#[test]
fn a_clock_too_far_ahead_issues_nothing() {
    let mut relay = Relay::serving(&[]);
    relay.now = ms(120_001);
    relay.put(LATEST, "k", "1");
    relay.now = ms(0);
    let write = relay.write_of(Operation::Put, LATEST, "k", "2");
    assert_eq!(code(relay.write(write)), ErrorCode::ClockAhead);
    relay.now = ms(1);
    relay.put(LATEST, "k", "2");
}

#[test]
fn two_peers_and_a_majority_stop_a_relay_that_is_ahead() {
    for (sites, ahead_of, refused) in [
        (vec!["b"], vec!["b"], false),
        (vec!["b", "c"], vec!["b"], false),
        (vec!["b", "c"], vec!["b", "c"], true),
        (vec!["b", "c", "d"], vec!["b", "c"], false),
        (vec!["b", "c", "d"], vec!["b", "c", "d"], true),
    ] {
        let mut relay = Relay::serving(&sites);
        for peer in &ahead_of {
            relay.meet(peer, seen(&[]));
            let skew_ms = -60_001;
            let heard = Command::Heard { peer: site(peer), run: run(peer), past: START, skew_ms };
            relay.step(heard).expect("heard");
        }
        let write = relay.write_of(Operation::Put, LATEST, "k", "");
        let refusal = relay.write(write).err().and_then(|refusal| refusal.code());
        assert_eq!(refusal, refused.then_some(ErrorCode::ClockAhead), "{sites:?} {ahead_of:?}");
    }
}

#[test]
fn witnesses_count_while_they_are_fresh_and_by_this_clock_alone() {
    let mut relay = Relay::serving(&["b", "c"]);
    for peer in ["b", "c"] {
        relay.meet(peer, seen(&[]));
        relay.step(Command::Skewed { peer: site(peer), skew_ms: -60_001 }).expect("skewed");
    }
    let put = |relay: &mut Relay| {
        let write = relay.write_of(Operation::Put, LATEST, "k", "");
        relay.write(write).err().and_then(|refusal| refusal.code())
    };
    assert_eq!(put(&mut relay), Some(ErrorCode::ClockAhead), "both say so");
    relay.now = ms(660_000);
    assert_eq!(put(&mut relay), Some(ErrorCode::ClockAhead), "as long as faulted links wait");
    relay.now = ms(660_001);
    assert_eq!(put(&mut relay), None, "nobody has said so for long");
    relay.now = ms(700_000);
    for peer in ["b", "c"] {
        relay.step(Command::Skewed { peer: site(peer), skew_ms: -60_001 }).expect("skewed");
    }
    assert_eq!(put(&mut relay), Some(ErrorCode::ClockAhead));
    relay.now = ms(640_000);
    assert_eq!(put(&mut relay), None, "the clock was set back since");
    relay.now = ms(700_000);
    assert_eq!(put(&mut relay), Some(ErrorCode::ClockAhead));
    relay.step(Command::Heard { peer: site("b"), run: run("b"), past: START, skew_ms: -10 }).expect("heard");
    assert_eq!(put(&mut relay), None, "one takes it back");
}

#[test]
fn an_entry_stamped_ahead_is_superseded_here_and_by_who_has_heard_of_it() {
    let mut relay = Relay::serving(&["b"]);
    relay.meet("b", seen(&[]));
    // The clock is an hour ahead for a moment, and stamps.
    relay.now = ms(3_600_000);
    let ahead = relay.put(LATEST, "k", "ahead");
    let other = relay.put(LATEST, "other", "ahead");
    // Set right, the relay refuses to write until its wall clock is near enough again, and never goes back.
    relay.now = ms(1_000);
    let refused = relay.write_of(Operation::Put, LATEST, "k", "later");
    assert_eq!(code(relay.write(refused)), ErrorCode::ClockAhead);
    assert_eq!(relay.get(LATEST, "k").as_deref(), Some("ahead"), "what it holds can be read");
    relay.now = ms(3_600_000 - 120_001);
    assert_eq!(code_of_put(&mut relay), Some(ErrorCode::ClockAhead), "a clock beyond it is still too far");
    relay.now = ms(3_600_000 - 120_000);
    let later = relay.put(LATEST, "k", "later");
    assert!(later > ahead, "what is written later here supersedes it");
    // A write of another site that had not heard of it loses, though it came later by the wall.
    let unheard = version("b", 3_600_000 - 60_000);
    relay.apply("b", vec![live(LATEST, "other", unheard, "unheard")], &[unheard]).expect("taken");
    assert_eq!(relay.get(LATEST, "other").as_deref(), Some("ahead"));
    // One that had heard of it has a clock past it, and wins.
    let heard = landbridge_protocol::version::Version {
        clock: Clock::from_bits(other.clock.bits() + 9),
        origin: unheard.origin,
    };
    relay.apply("b", vec![live(LATEST, "other", heard, "heard")], &[heard]).expect("taken");
    assert_eq!(relay.get(LATEST, "other").as_deref(), Some("heard"));
}

fn code_of_put(relay: &mut Relay) -> Option<ErrorCode> {
    let write = relay.write_of(Operation::Put, LATEST, "k", "");
    relay.write(write).err().and_then(|refusal| refusal.code())
}

#[test]
fn a_clear_ends_all_lives_and_nothing_later() {
    for name in [LATEST, WINS] {
        let mut relay = Relay::serving(&[]);
        relay.put(name, "a", "1");
        relay.remove(name, "b");
        let floor = relay.clear(name);
        assert_eq!((relay.slot(name, "a"), relay.slot(name, "b")), (None, None));
        assert_eq!(relay.replica.clear_of(&cache(name)).expect("held").version, floor);
        relay.put(name, "a", "2");
        assert_eq!(relay.get(name, "a").as_deref(), Some("2"));
        let stats = relay.replica.stats(&cache(name)).expect("known");
        assert_eq!((stats.entries, stats.tombstones, stats.bytes), (1, 0, 2));
    }
}

#[test]
fn long_lifespans_are_exact() {
    for days in [25, 31, 400] {
        let mut relay = Relay::serving(&[]);
        let span = Millis::from_secs(days * 86_400);
        relay.put_for(LATEST, "k", span);
        relay.now = START.after(Millis::new(span.get() - 1));
        assert!(relay.get(LATEST, "k").is_some());
        relay.now = START.after(span);
        assert!(relay.get(LATEST, "k").is_none());
    }
}

#[test]
fn after_the_end_of_a_run_nothing_is_decided() {
    let mut relay = Relay::serving(&[]);
    let write = command(relay.write_of(Operation::Put, LATEST, "k", ""));
    let decided = relay.steps([Command::EndRun, write.clone()]);
    assert!(decided[0].is_ok());
    assert_eq!(code(decided[1].clone()), ErrorCode::ShuttingDown);
    assert_eq!(code(relay.step(write)), ErrorCode::ShuttingDown);
    assert_eq!(relay.replica.next_due(), None);
    let again = relay.restarted(run("z"));
    assert_eq!(again.replica.runs().iter().map(|run| run.ended_in_order).collect::<Vec<_>>(), [true, false]);
}

/// What is decided after a clear in its group is decided as in a group of its own, and does not look at what the clear has
/// taken once more.
#[test]
fn clears_in_one_group_come_to_what_they_do_one_by_one() {
    for name in [LATEST, WINS] {
        let mut apart = Relay::serving(&["b"]);
        apart.meet("b", Vector::new());
        for number in 0..5 {
            apart.put(name, &format!("k{number}"), "old");
        }
        let put = |relay: &mut Relay, of| command(relay.write_of(Operation::Put, name, of, of));
        let mut together = apart.clone();
        let commands: Vec<Command> = [
            put(&mut apart, "a"),
            apart.clear_command(name),
            apart.clear_command(name),
            put(&mut apart, "k1"),
            command(apart.write_of(Operation::PutIfAbsent, name, "k2", "absent")),
            command(apart.write_of(Operation::Remove, name, "k3", "")),
            apply(
                "b",
                Batch { vector: Vector::new(), ..apart.batch_of("b", vec![cleared(name, version("b", 1))], &[]) },
            ),
            apart.clear_command(name),
            put(&mut apart, "k4"),
        ]
        .into();
        let told = |decided: Decided| match decided.expect("taken") {
            Answer::Written(outcome) => Some((outcome.version, outcome.existed)),
            _ => None,
        };
        let one_by_one: Vec<_> = commands.iter().map(|command| told(apart.step(command.clone()))).collect();
        let mut group = together.replica.begin(together.now);
        let in_one: Vec<_> = commands.into_iter().map(|command| told(group.step(command, &together.log))).collect();
        assert_eq!(in_one, one_by_one);
        let staged = group.finish();
        let change = &staged.changes[&cache(name)];
        assert!(change.emptied && change.keys.len() == 1, "nothing from before the last clear is looked at");
        together.log.commits.extend(staged.commit.clone());
        together.replica.publish(staged);
        let expected: Vec<_> =
            entries(&apart).into_iter().map(|(_, key, version, _, value)| (key, version, value)).collect();
        let held: Vec<_> =
            entries(&together).into_iter().map(|(_, key, version, _, value)| (key, version, value)).collect();
        assert_eq!((held.len(), &held), (1, &expected));
        assert_eq!(together.replica.seen(), apart.replica.seen());
        let again = together.restarted(run("z"));
        assert_eq!(entries(&again), entries(&together));
    }
}

#[test]
fn a_listing_passes_over_so_many_removed_keys_in_one_go_and_tells_where_it_ended() {
    let mut relay = Relay::serving(&["b"]);
    for number in 0..100 {
        relay.remove(LATEST, &format!("gone{number:03}"));
    }
    let last = relay.put(LATEST, "kept", "v");
    let entries = |after: Option<&Key>| relay.replica.entries(&cache(LATEST), b"", after, (10, 60), relay.now);
    let (found, on) = entries(None);
    assert_eq!((found.len(), on.as_ref()), (0, Some(&key("gone059"))));
    let (found, on) = entries(on.as_ref());
    assert_eq!(found.iter().map(|(_, slot)| slot.version).collect::<Vec<_>>(), [last]);
    assert_eq!(on, None);
}
