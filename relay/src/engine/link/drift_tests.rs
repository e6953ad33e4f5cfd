//! The drift check of a link whose peer does not know it.

use super::{
    SenderConfig, SenderInput, SenderOutput,
    sender::Sender,
    tests::{NOW, Relay, pump, pump_at},
};
use crate::engine::drift::DriftOrder;
use landbridge_protocol::{frame::SenderToReceiver, time::Millis};

#[test]
fn a_peer_of_the_version_before_is_never_asked_and_all_else_goes_on() {
    let (mut a, mut b) = (Relay::new("site1", "site2", 1), Relay::new("site2", "site1", 2));
    let every = Millis::from_secs(1);
    let config = SenderConfig { drift_check_every: Some(every), ..SenderConfig::default() };
    let mut sender = Sender::new(b.replica.site(), config, 1);
    pump(&mut sender, &mut a, &mut b);
    if !a.replica.ready(NOW) {
        pump(&mut Sender::new(a.replica.site(), SenderConfig::default(), 2), &mut b, &mut a);
    }
    a.put(1);
    pump(&mut sender, &mut a, &mut b);
    let later = NOW.after(Millis::from_secs(2));
    let order = DriftOrder { asked: 1, ..DriftOrder::default() };
    sender.handle(SenderInput::CheckDrift(order), &a.replica, later);
    while let Some(output) = sender.poll(&a.replica, later) {
        let SenderOutput::Send(frame) = output else { continue };
        assert!(matches!(*frame, SenderToReceiver::Heartbeat(_)), "{frame:?}");
    }
    let why = sender.knows_no_drift().expect("it does not know it");
    assert!(why.contains("site2 does not know the drift check") && why.contains("protocol version 1"), "{why}");
    assert_eq!(sender.drift_impossible(), Some(why));
    a.put(2);
    assert_eq!(pump_at(&mut sender, &mut a, &mut b, later).len(), 1, "and the link goes on");
}
