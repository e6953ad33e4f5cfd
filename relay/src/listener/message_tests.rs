//! Caches of messages: what expired before it could be told is said to be missed.

use landbridge_protocol::{
    record::{Key, Kind, Record},
    time::Timestamp,
    version::Version,
};

use super::tests::{Log, origin_of, shown, subscribe};

#[tokio::test]
async fn a_message_that_expired_while_its_listener_was_away_gives_one_gap() {
    for marked in [true, false] {
        let log = Log::of_messages();
        log.append("before", Kind::Live, "");
        let (mut subscriber, _) = subscribe(&log, None, false).begun().await;
        log.append("heard", Kind::Live, "");
        let token = subscriber.event().await.token;
        subscriber.stop.cancel();
        log.append("missed-1", Kind::Live, "");
        log.append("missed-2", Kind::Live, "");
        for key in ["missed-1", "missed-2"] {
            log.expire(key, marked);
        }
        let (mut again, _) = subscribe(&log, Some(token), false).begun().await;
        let snapshot = ["Gap =", "Created before=", "Created heard=", "SnapshotEnd ="];
        assert_eq!(again.until("SnapshotEnd").await, snapshot, "marked: {marked}");
        log.append("after", Kind::Live, "");
        assert_eq!(shown(&again.event().await), "Created after=");
    }
}

#[tokio::test]
async fn a_message_that_was_told_expires_without_a_gap() {
    let log = Log::of_messages();
    let (mut subscriber, _) = subscribe(&log, None, false).begun().await;
    log.append("heard", Kind::Live, "");
    let token = subscriber.event().await.token;
    subscriber.stop.cancel();
    log.expire("heard", true);
    // In its own run, and after a crash, when the log is read anew.
    for log in [log.clone(), log.killed(3)] {
        let (mut again, _) = subscribe(&log, Some(token.clone()), false).begun().await;
        assert_eq!(shown(&again.event().await), "Expired heard=");
    }
}

#[tokio::test]
async fn a_message_that_comes_too_late_to_be_told_gives_a_gap_to_who_was_there_all_the_time() {
    let log = Log::of_messages();
    log.append("before", Kind::Live, "");
    let (mut subscriber, _) = subscribe(&log, None, false).begun().await;
    let late = log.after(0).remove(0);
    let key = Key::new("late").unwrap();
    let version = Version { origin: origin_of("site2", 7), ..late.version };
    let deadline = Some(Timestamp::ZERO);
    log.receive(Record { key: Some(key), version, birth: version, deadline, ..late });
    assert_eq!(subscriber.until("SnapshotEnd").await, ["Gap =", "Created before=", "SnapshotEnd ="]);
}

#[tokio::test]
async fn of_other_caches_the_expiry_is_told() {
    let log = Log::new();
    let (_, token) = subscribe(&log, None, false).begun().await;
    log.append("missed", Kind::Live, "");
    log.expire("missed", true);
    let (mut again, _) = subscribe(&log, Some(token), false).begun().await;
    assert_eq!(shown(&again.event().await), "Expired missed=");
}
