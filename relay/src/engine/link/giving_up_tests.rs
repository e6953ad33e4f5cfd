//! When a link is taken offline by itself, and how a limit holds it back.

use bytes::BytesMut;
use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::SenderToReceiver,
    time::Millis,
};

use super::{
    Backoff, OfflinePolicy, Sender, SenderConfig, SenderInput, SenderOutput,
    tests::{DAY, NOW, Relay, pump, pump_at},
};

#[test]
fn a_link_that_fails_as_often_and_as_long_as_the_policy_has_it_is_offline_until_somebody_brings_it_back() {
    let (a, b) = (Relay::new("site1", "site2", 1), Relay::new("site2", "site1", 2));
    let policy = OfflinePolicy { after_failures: 5, min_wait: Millis::from_secs(10) };
    let backoff = Backoff { first: Millis::new(100), cap: Millis::from_secs(1) };
    let config = SenderConfig { offline_policy: Some(policy), backoff, ..SenderConfig::default() };
    let mut sender = Sender::new(b.replica.site(), config, 1);
    let mut now = NOW;
    let mut fail = |sender: &mut Sender, how: SenderInput| {
        now = now.max(sender.deadline().expect("it is tried again"));
        assert_eq!(sender.poll(&a.replica, now), Some(SenderOutput::Dial));
        sender.handle(how, &a.replica, now);
        while sender.poll(&a.replica, now).is_some() {}
        now
    };
    for (code, state) in
        [(ErrorCode::TakenOffline, "waiting"), (ErrorCode::NotReady, "waiting"), (ErrorCode::ConfigMismatch, "faulted")]
    {
        for _ in 0..50 {
            fail(&mut sender, SenderInput::Refused(Refusal::new(code, "by the other site")));
        }
        assert_eq!(sender.report(&a.replica, NOW).state, state, "a peer that answers has not failed");
    }
    let first = fail(&mut sender, SenderInput::Failed("nobody".into()));
    let (mut last, mut failures) = (first, 1);
    while sender.deadline().is_some() {
        last = fail(&mut sender, SenderInput::Failed("nobody".into()));
        failures += 1;
    }
    assert!(failures > 5 && last.since(first) >= Millis::from_secs(10), "{failures} in {:?}", last.since(first));
    assert!(last.since(first) < Millis::from_secs(12), "not much later");
    let report = sender.report(&a.replica, last);
    assert_eq!(report.state, "offline");
    assert!(report.detail.contains("by policy") && report.detail.contains("nobody"), "{}", report.detail);
    sender.handle(SenderInput::PeerIsThere, &a.replica, last);
    assert_eq!(sender.poll(&a.replica, last.after(DAY)), None, "for ever");
    sender.handle(SenderInput::BringOnline, &a.replica, last);
    assert_eq!(sender.poll(&a.replica, last), Some(SenderOutput::Dial));
    sender.handle(SenderInput::Failed("nobody".into()), &a.replica, last);
    assert_eq!(sender.report(&a.replica, last).state, "waiting", "it has all its tries again");
}

#[test]
fn a_link_with_a_limit_sends_no_more_a_second_and_everything_in_the_end() {
    let (mut a, mut b) = (Relay::new("site1", "site2", 1), Relay::new("site2", "site1", 2));
    pump(&mut Sender::new(a.replica.site(), SenderConfig::default(), 2), &mut b, &mut a);
    pump(&mut Sender::new(b.replica.site(), SenderConfig::default(), 2), &mut a, &mut b);
    const LIMIT: u64 = 1_000;
    let config =
        SenderConfig { batch_records: 5, max_bytes_per_second: Some(LIMIT), silence: DAY, ..SenderConfig::default() };
    let mut sender = Sender::new(b.replica.site(), config, 1);
    pump(&mut sender, &mut a, &mut b);
    (1..=100).for_each(|number| a.put(number));
    let (mut now, mut bytes, mut paced) = (NOW, 0, false);
    loop {
        for batch in pump_at(&mut sender, &mut a, &mut b, now) {
            let mut frame = BytesMut::new();
            SenderToReceiver::Batch(batch).encode(&mut frame).expect("a batch that went");
            bytes += frame.len() as u64;
        }
        let report = sender.report(&a.replica, now);
        if report.lag_changes == 0 {
            break;
        }
        paced |= report.detail == "held to 1000 bytes a second";
        now = now.after(Millis::new(1)).max(sender.deadline().expect("it goes on"));
    }
    let took = now.since(NOW).get();
    assert!(bytes > 5 * LIMIT, "{bytes}");
    // The last batch may go before it is paid for; the handshake and the heartbeats are paid for as well.
    let least = (bytes * 1000 / LIMIT).saturating_sub(1000);
    assert!((least..2 * least).contains(&took), "{bytes} bytes in {took} ms");
    assert!(paced, "status tells");
}

#[test]
fn a_link_that_works_between_its_failures_is_not_given_up_though_nothing_is_written() {
    let (mut a, mut b) = (Relay::new("site1", "site2", 1), Relay::new("site2", "site1", 2));
    let policy = OfflinePolicy { after_failures: 2, min_wait: Millis::from_secs(1) };
    let config = SenderConfig { offline_policy: Some(policy), ..SenderConfig::default() };
    let mut sender = Sender::new(b.replica.site(), config, 1);
    let mut now = NOW;
    for _ in 0..10 {
        pump_at(&mut sender, &mut a, &mut b, now);
        assert_eq!(sender.report(&a.replica, now).state, "streaming");
        now = now.after(Millis::from_secs(2));
        sender.handle(SenderInput::Lost("the network broke".into()), &a.replica, now);
        assert_eq!(sender.report(&a.replica, now).state, "waiting");
        now = now.max(sender.deadline().expect("it is tried again"));
    }
}

#[test]
fn a_transfer_that_a_limit_holds_up_says_so() {
    let (mut a, mut b) = (Relay::new("site1", "site2", 1), Relay::new("site2", "site1", 2));
    pump(&mut Sender::new(a.replica.site(), SenderConfig::default(), 2), &mut b, &mut a);
    pump(&mut Sender::new(b.replica.site(), SenderConfig::default(), 2), &mut a, &mut b);
    (1..=100).for_each(|number| a.put(number));
    let config = SenderConfig { batch_records: 5, max_bytes_per_second: Some(1_000), ..SenderConfig::default() };
    let mut sender = Sender::new(b.replica.site(), config, 1);
    pump(&mut sender, &mut a, &mut b);
    let report = sender.report(&a.replica, NOW);
    assert_eq!(report.state, "transferring");
    assert!(report.detail.ends_with(", held to 1000 bytes a second"), "{}", report.detail);
}
