//! Bytes from somebody who means harm: a value or an error, never a panic, and never much memory for few bytes.

use bytes::{BufMut, Bytes, BytesMut};
use landbridge_protocol::{
    error::ErrorCode,
    frame::{DecodeError, FrameCodec, FrameError, FrameKind, MAX_FRAME_BYTES, RawFrame, SenderToReceiver},
    record_set::{self, RecordSetError},
    token::ResumeToken,
    vector::MAX_VECTOR,
};
use tokio_util::codec::Decoder;

use crate::{
    draw::Draw,
    samples::{DECODERS, sample},
};

/// Inputs for each decoder and each way of making them.
const INPUTS: u64 = 10_000;

/// Changes some bytes, cuts some off, puts some in, or lets a length lie.
fn mutate(d: &mut Draw, bytes: &mut Vec<u8>) {
    for _ in 0..=d.below(3) {
        let at = d.below(bytes.len() + 1);
        match d.below(5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, d.number() as u8),
            2 => drop(bytes.splice(at..at, d.bytes())),
            3 if at < bytes.len() => bytes[at] ^= 1 << d.below(8),
            // array, string, bytes and map of 2^32 - 1: what a length bomb looks like in MessagePack
            _ => drop(bytes.splice(at..at, [d.one_of(&[0xdd, 0xdb, 0xc6, 0xdf]), 0xff, 0xff, 0xff, 0xff])),
        }
    }
}

fn random(d: &mut Draw) -> Vec<u8> {
    let mut bytes = d.bytes().to_vec();
    if d.coin() {
        mutate(d, &mut bytes);
    }
    bytes
}

/// Every kind, and some that are none.
fn any_kind(d: &mut Draw) -> u16 {
    if d.below(10) == 0 { d.number() as u16 } else { d.one_of(FrameKind::ALL).number() }
}

#[test]
fn random_bodies_harm_no_decoder() {
    let mut d = Draw::seeded(1);
    for decode in DECODERS {
        for _ in 0..INPUTS {
            let raw = RawFrame { kind: any_kind(&mut d), request: d.number(), body: random(&mut d).into() };
            if let Err(error) = decode(&raw) {
                assert!(matches!(error.refusal().code(), Some(ErrorCode::Unsupported | ErrorCode::Malformed)));
            }
        }
    }
}

#[test]
fn mutated_frames_harm_no_decoder() {
    let mut d = Draw::seeded(2);
    for kind in FrameKind::ALL {
        let mut refused = 0;
        // a conversation has several kinds: each decoder takes at least as many as this
        for round in 0..INPUTS / 2 {
            let frame = sample(*kind, &mut Draw::seeded(round % 100));
            let mut raw = frame.raw(round);
            let mut body = raw.body.to_vec();
            mutate(&mut d, &mut body);
            raw.body = body.into();
            refused += u64::from(frame.decoder()(&raw).is_err());
        }
        assert!(refused > INPUTS / 4, "{kind:?}: mutations hardly ever matter, {refused} were refused");
    }
}

#[test]
fn no_record_set_and_no_token_harms() {
    let mut d = Draw::seeded(3);
    for round in 0..INPUTS {
        let bytes = random(&mut d);
        drop(ResumeToken::from_bytes(&bytes));
        drop(record_set::decode(&bytes.into()));

        let mut good = Draw::seeded(round % 100);
        let mut token = good.resume().to_bytes().to_vec();
        mutate(&mut d, &mut token);
        drop(ResumeToken::from_bytes(&token));

        let records: Vec<_> = (0..3).map(|_| good.record()).collect();
        let mut set = BytesMut::new();
        record_set::encode(&records, &mut set).unwrap();
        let mut set = set.to_vec();
        mutate(&mut d, &mut set);
        drop(record_set::decode(&set.into()));
    }
}

#[test]
fn no_stream_harms_the_codec() {
    let mut d = Draw::seeded(4);
    for _ in 0..INPUTS {
        let mut stream = BytesMut::from(&sample(d.one_of(FrameKind::ALL), &mut d).bytes(1)[..]);
        let mut bytes = if d.coin() { random(&mut d) } else { stream.split().to_vec() };
        mutate(&mut d, &mut bytes);
        stream.put_slice(&bytes);
        let mut codec = FrameCodec::new(4096);
        while let Ok(Some(raw)) = codec.decode_eof(&mut stream) {
            assert!(raw.body.len() <= 4096);
        }
    }
}

#[test]
fn a_length_is_believed_only_as_its_bytes_arrive() {
    let mut codec = FrameCodec::new(MAX_FRAME_BYTES);
    let mut stream = BytesMut::from(&(MAX_FRAME_BYTES as u32).to_be_bytes()[..]);
    assert!(codec.decode(&mut stream).unwrap().is_none());
    assert!(stream.capacity() < 1 << 20, "{} bytes were set aside for four", stream.capacity());
    let mut stream = BytesMut::from(&[0xff; 40][..]);
    assert!(matches!(codec.decode(&mut stream), Err(FrameError::TooLarge { .. })));
    let mut stream = BytesMut::from(&[0, 0, 0, 9, 0, 0][..]);
    assert!(matches!(codec.decode(&mut stream), Err(FrameError::TooShort(9))));
}

/// The most memory that this process has set aside, used or not, in KiB, as Linux counts it.
#[cfg(target_os = "linux")]
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmPeak:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn lengths_that_lie_set_no_memory_aside() {
    let before = peak_kib();
    for lie in [[0xddu8, 0xff, 0xff, 0xff, 0xff], [0xdf, 0xff, 0xff, 0xff, 0xff], [0xc6, 0xff, 0xff, 0xff, 0xff]] {
        for kind in FrameKind::ALL {
            for lead in [&[][..], &[0x91], &[0x92], &[0x93], &[0, 0, 0, 8, 0x95], &[0, 0, 0, 1, 0xc0, 0x93]] {
                let body = Bytes::from([lead, &lie[..], &lie[..]].concat());
                let raw = RawFrame { kind: kind.number(), request: 0, body };
                assert!(DECODERS.iter().all(|decode| decode(&raw).is_err()), "{kind:?} {lead:?} {lie:?}");
            }
        }
    }
    let grown = peak_kib() - before;
    // Each lie is of 4 GiB or more. What the threads of other tests reserve meanwhile, 64 MiB an arena, is in it.
    assert!(grown < 1 << 20, "frames of a few bytes took {grown} KiB");
}

/// A vector is kept sorted; somebody who sends it backwards must not make that quadratic, nor one without end.
#[test]
fn a_vector_is_bounded_and_its_order_does_not_matter() {
    let encoded = |count: usize| {
        let mut body = BytesMut::new();
        body.put_u8(0x93);
        body.put_u8(0x92);
        body.put_slice(b"\xa5site1\x01");
        body.put_u8(0x01);
        body.put_u8(0xdd);
        body.put_u32(count as u32);
        for run in (0..count as u32).rev() {
            body.put_slice(b"\x92\x92\xa5site1\xce");
            body.put_u32(run);
            body.put_u8(1);
        }
        body.freeze()
    };
    let token = ResumeToken::from_bytes(&encoded(MAX_VECTOR)).unwrap();
    assert_eq!(token.seen.len(), MAX_VECTOR);
    let runs: Vec<u64> = token.seen.iter().map(|(origin, _)| origin.run.0).collect();
    assert!(runs.is_sorted());
    assert!(ResumeToken::from_bytes(&encoded(MAX_VECTOR + 1)).is_err());
}

#[test]
fn a_batch_of_records_with_a_bad_checksum_is_malformed() {
    let mut d = Draw::seeded(9);
    let mut records: Vec<_> = (0..8).map(|_| d.record()).collect();
    records.retain(|r| !r.value.is_empty());
    let last = records.pop().unwrap();
    let (after, through) = (d.through(), d.through());
    let batch = landbridge_protocol::frame::peer::Batch {
        after,
        through,
        vector: d.vector(2),
        caught_up: true,
        runs: vec![],
        records: vec![last],
    };
    let mut bytes = BytesMut::new();
    SenderToReceiver::Batch(batch).encode(&mut bytes).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let raw = FrameCodec::new(MAX_FRAME_BYTES).decode(&mut bytes).unwrap().unwrap();
    let error = SenderToReceiver::decode(&raw).unwrap_err();
    assert!(matches!(error, DecodeError::Records { source: RecordSetError::Checksum { record: 0, .. }, .. }));
    assert_eq!(error.refusal().code(), Some(ErrorCode::Malformed));
}
