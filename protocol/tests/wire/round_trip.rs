//! What is encoded comes back as it was, whatever it is.

use bytes::{Bytes, BytesMut};
use landbridge_protocol::{
    error::ErrorCode,
    frame::{
        DecodeError, EncodeError, FrameCodec, FrameKind, MAX_FRAME_BYTES, NodeToRelay, RawFrame, RelayToNode, node,
    },
    record_set,
    token::ResumeToken,
    version::Version,
};
use proptest::prelude::*;
use tokio_util::codec::{Decoder, Encoder};

use crate::{draw::Draw, samples::sample};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_frame_comes_back(seed: u64, request: u64) {
        for kind in FrameKind::ALL {
            let frame = sample(*kind, &mut Draw::seeded(seed));
            let raw = frame.raw(request);
            prop_assert_eq!(raw.kind, kind.number());
            let of_peers = raw.kind >> 8 == 2 || raw.kind >> 8 == 3;
            prop_assert_eq!(raw.request, if of_peers { 0 } else { request });
            prop_assert_eq!(frame.decoder()(&raw).unwrap(), frame);
        }
    }

    #[test]
    fn records_come_back(seed: u64, count in 0usize..40) {
        let mut draw = Draw::seeded(seed);
        let records: Vec<_> = (0..count).map(|_| draw.record()).collect();
        let mut bytes = BytesMut::new();
        record_set::encode(&records, &mut bytes).unwrap();
        prop_assert_eq!(record_set::decode(&bytes.freeze()).unwrap(), records);
    }

    #[test]
    fn tokens_and_versions_come_back(seed: u64) {
        let mut draw = Draw::seeded(seed);
        let (token, version) = (draw.resume(), draw.version());
        prop_assert_eq!(ResumeToken::from_bytes(&token.to_bytes()).unwrap(), token);
        prop_assert_eq!(version.to_string().parse::<Version>().unwrap(), version);
    }

    /// However a stream is cut into reads, the same frames are cut from it.
    #[test]
    fn reads_of_any_length_give_the_same_frames(seed: u64, cuts in prop::collection::vec(1usize..200, 1..30)) {
        let frames: Vec<RawFrame> =
            FrameKind::ALL.iter().map(|kind| sample(*kind, &mut Draw::seeded(seed)).raw(seed)).collect();
        let mut codec = FrameCodec::new(MAX_FRAME_BYTES);
        let mut stream = BytesMut::new();
        for frame in &frames {
            codec.encode(frame.clone(), &mut stream).unwrap();
        }
        let (mut arrived, mut cut, mut cuts) = (BytesMut::new(), Vec::new(), cuts.into_iter().cycle());
        while !stream.is_empty() {
            let bytes = cuts.next().unwrap().min(stream.len());
            arrived.extend_from_slice(&stream.split_to(bytes));
            while let Some(frame) = codec.decode(&mut arrived).unwrap() {
                cut.push(frame);
            }
        }
        prop_assert_eq!(cut, frames);
        prop_assert!(codec.decode_eof(&mut arrived).unwrap().is_none());
    }
}

#[test]
fn values_share_the_memory_of_their_frame() {
    let mut draw = Draw::seeded(3);
    let event = node::Event {
        kind: node::EventKind::Created,
        key: Some(draw.key()),
        version: Some(draw.version()),
        birth: None,
        node: None,
        deadline: None,
        token: Bytes::from_static(b"token"),
        value: Bytes::from(vec![9; 4000]),
    };
    let mut bytes = BytesMut::new();
    RelayToNode::Event(event).encode(0, &mut bytes).unwrap();
    let raw = FrameCodec::new(MAX_FRAME_BYTES).decode(&mut bytes).unwrap().unwrap();
    let RelayToNode::Event(event) = RelayToNode::decode(&raw).unwrap() else { panic!("not an event") };
    for blob in [&event.value, &event.token, &event.key.unwrap().into_bytes()] {
        assert!(raw.body.as_ptr_range().contains(&blob.as_ptr()), "{} bytes were copied", blob.len());
    }
}

#[test]
fn a_frame_too_large_is_an_error_and_leaves_nothing_behind() {
    let mut draw = Draw::seeded(1);
    let write = NodeToRelay::Request(node::Request::PutAll(node::PutAll {
        cache: draw.cache(),
        lifespan: None,
        token: draw.token(),
        retry: None,
        entries: vec![(draw.key(), landbridge_protocol::blob::Blob(vec![0; MAX_FRAME_BYTES].into()))],
    }));
    let mut into = BytesMut::from(&b"before"[..]);
    assert!(matches!(write.encode(1, &mut into), Err(EncodeError::TooLarge { limit: MAX_FRAME_BYTES })));
    assert_eq!(&into[..], b"before");
}

#[test]
fn a_frame_above_the_configured_bound_is_refused_by_number() {
    let frame = RawFrame { kind: FrameKind::Get.number(), request: 1, body: Bytes::from(vec![0; 100]) };
    let mut into = BytesMut::new();
    let refused = FrameCodec::new(64).encode(frame.clone(), &mut into).unwrap_err();
    assert_eq!(refused.refusal().code(), Some(ErrorCode::FrameTooLarge));
    assert!(into.is_empty());
    FrameCodec::new(4096).encode(frame, &mut into).unwrap();
    let refused = FrameCodec::new(64).decode(&mut into).unwrap_err();
    assert_eq!(refused.refusal().code(), Some(ErrorCode::FrameTooLarge));
}

#[test]
fn an_unknown_kind_and_one_of_another_conversation_are_unsupported() {
    for kind in [0xffff, FrameKind::Batch.number(), FrameKind::Event.number()] {
        let refused = NodeToRelay::decode(&RawFrame { kind, request: 1, body: Bytes::new() }).unwrap_err();
        assert!(matches!(refused, DecodeError::Unsupported { kind: said } if said == kind));
        assert_eq!(refused.refusal().code(), Some(ErrorCode::Unsupported));
    }
}
