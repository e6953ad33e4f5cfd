//! Arrays in frames that a node or a peer sends are bounded where they are read, by their length, before the elements.

use bytes::{BufMut, Bytes, BytesMut};
use landbridge_protocol::{
    blob::Blob,
    error::ErrorCode,
    frame::{
        DRIFT_BUCKETS, DecodeError, MAX_BATCH_RECORDS, MAX_CACHES, MAX_LACKS, MAX_PRESENT_RUNS, MAX_REQUEST_KEYS,
        MAX_SITES, NodeToRelay, ReceiverToSender, SenderToReceiver, node, peer,
    },
    name::NodeName,
    record::{Key, MAX_CONTEXT},
    record_set::{self, RecordSetError},
    vector::Vector,
    version::Origin,
};

use crate::{
    draw::Draw,
    samples::{Frame, introduction},
};

/// A frame with an array of so many is read back, one with one more is malformed: for its length, as it says.
fn is_bounded(what: &str, most: usize, frame: impl Fn(usize) -> Frame) {
    let full = frame(most);
    let raw = full.raw(1);
    assert!(full.decoder()(&raw).unwrap() == full, "{what}");
    let more = frame(most + 1);
    let error = more.decoder()(&more.raw(1)).err().unwrap_or_else(|| panic!("{what}: {} were read", most + 1));
    assert!(matches!(error, DecodeError::Malformed { .. }), "{what}: {error}");
    assert_eq!(error.refusal().code(), Some(ErrorCode::Malformed), "{what}");
    assert!(error.to_string().contains(&format!("at most {most}")), "{what}: {error}");
}

#[test]
fn keys_and_puts_of_a_request_are_bounded() {
    let (cache, token, key) = (Draw::fixed().cache(), Draw::fixed().token(), Key::new("k").unwrap());
    let asked = |request| Frame::FromNode(NodeToRelay::Request(request));
    is_bounded("keys", MAX_REQUEST_KEYS, |count| {
        asked(node::Request::GetAll(node::GetAll { cache: cache.clone(), keys: vec![key.clone(); count] }))
    });
    is_bounded("puts", MAX_REQUEST_KEYS, |count| {
        let entries = vec![(key.clone(), Blob(Bytes::from_static(b"v"))); count];
        asked(node::Request::PutAll(node::PutAll { cache: cache.clone(), lifespan: None, token, retry: None, entries }))
    });
}

#[test]
fn an_introduction_is_bounded() {
    let one = introduction(&mut Draw::fixed());
    let (site, cache, run) = (Draw::fixed().site(), Draw::fixed().cache(), Draw::fixed().origin());
    let digest = peer::CacheDigest { cache: cache.clone(), merge: Draw::fixed().merge(), digest: 1 };
    type With<'a> = &'a dyn Fn(&mut peer::Introduction, usize);
    let arrays: [(&str, usize, With<'_>); 5] = [
        ("runs", MAX_PRESENT_RUNS, &|of, count| of.runs = vec![run; count]),
        ("caches", MAX_CACHES, &|of, count| of.caches = vec![digest.clone(); count]),
        ("lacks", MAX_LACKS, &|of, count| of.lacks = vec![(site, cache.clone()); count]),
        ("sites", MAX_SITES, &|of, count| of.sites = vec![site; count]),
        ("former sites", MAX_SITES, &|of, count| of.former_sites = vec![site; count]),
    ];
    for (what, most, with) in arrays {
        let with = |count| {
            let mut said = one.clone();
            with(&mut said, count);
            said
        };
        is_bounded(what, most, |count| {
            Frame::FromSender(SenderToReceiver::Hello(peer::Hello { sender: with(count), to: site }))
        });
        is_bounded(what, most, |count| {
            let (receiver, cursor) = (with(count), None);
            let welcome = peer::Welcome { version: 1, receiver, cursor, cursor_digest: 1 };
            Frame::FromReceiver(ReceiverToSender::Welcome(welcome))
        });
    }
}

#[test]
fn runs_of_a_batch_are_bounded() {
    let mut d = Draw::fixed();
    let (after, through, run) = (d.through(), d.through(), d.origin());
    is_bounded("runs", MAX_PRESENT_RUNS, |count| {
        let (vector, runs, records) = (Vector::new(), vec![run; count], vec![]);
        let batch = peer::Batch { after, through, vector, caught_up: false, runs, records };
        Frame::FromSender(SenderToReceiver::Batch(batch))
    });
}

#[test]
fn what_a_drift_check_lists_is_bounded() {
    let cache = Draw::fixed().cache();
    is_bounded("sums", DRIFT_BUCKETS, |count| {
        let sums = peer::DriftSums { cache: cache.clone(), sums: vec![7; count] };
        Frame::FromSender(SenderToReceiver::DriftSums(sums))
    });
    is_bounded("checksums", MAX_BATCH_RECORDS, |count| {
        let (seen, checksums, records) = (Vector::new(), vec![7; count], vec![]);
        let part = peer::DriftPart { cache: cache.clone(), seen, checksums, records };
        Frame::FromSender(SenderToReceiver::DriftPart(part))
    });
    is_bounded("buckets", DRIFT_BUCKETS, |count| {
        let unequal = peer::DriftUnequal { buckets: vec![7; count], left_out: None };
        Frame::FromReceiver(ReceiverToSender::DriftUnequal(unequal))
    });
    is_bounded("findings", MAX_BATCH_RECORDS, |count| {
        let findings = vec![peer::DriftFinding { at: 7, held: None }; count];
        Frame::FromReceiver(ReceiverToSender::DriftFound(peer::DriftFound { findings, left_out: None }))
    });
}

/// As a set of records is written by somebody else: tables of so many, and no record.
fn tables(origins: usize, caches: usize, nodes: usize) -> Bytes {
    let (origin, cache): (Origin, _) = (Draw::fixed().origin(), Draw::fixed().cache());
    let node = NodeName::new("n").unwrap();
    let tables = (vec![origin; origins], vec![cache; caches], vec![node; nodes]);
    let mut bytes = BytesMut::new();
    rmp_serde::encode::write(&mut (&mut bytes).writer(), &tables).unwrap();
    bytes.put_u8(0);
    bytes.freeze()
}

#[test]
fn tables_of_a_record_set_are_bounded() {
    let most = usize::from(u16::MAX);
    assert!(record_set::decode(&tables(most, most, most)).unwrap().is_empty());
    for (origins, caches, nodes) in [(most + 1, 0, 0), (0, most + 1, 0), (0, 0, most + 1)] {
        let error = record_set::decode(&tables(origins, caches, nodes)).unwrap_err();
        assert!(matches!(error, RecordSetError::Shape(_)), "{error}");
        assert!(error.to_string().contains("at most 65535"), "{error}");
    }
}

#[test]
fn a_context_is_bounded() {
    let of = |count: u64| {
        let mut record = Draw::fixed().record();
        let mut origin = Draw::fixed().origin();
        let pairs = (1..=count).map(|run| {
            origin.run.0 = run;
            (origin, record.version.clock)
        });
        record.context = pairs.collect();
        let mut bytes = BytesMut::new();
        record_set::encode([&record], &mut bytes).unwrap();
        record_set::decode(&bytes.freeze())
    };
    assert_eq!(of(MAX_CONTEXT as u64).unwrap()[0].context.len(), MAX_CONTEXT);
    let error = of(MAX_CONTEXT as u64 + 1).unwrap_err();
    assert!(error.to_string().contains("at most 8"), "{error}");
}

/// An array that says too much is refused for what it says: none of its elements is there.
#[test]
fn a_length_above_its_bound_is_refused_at_once() {
    let mut bytes = BytesMut::from(&[0x93, 0xdd][..]);
    bytes.put_u32(1 << 24);
    let error = record_set::decode(&bytes.freeze()).unwrap_err();
    assert!(error.to_string().contains("at most 65535"), "{error}");
}
