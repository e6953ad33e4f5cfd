//! Frames, there and back.

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput};
use landbridge_protocol::{
    frame::{
        FrameCodec, MAX_FRAME_BYTES, NodeToRelay, RelayToNode,
        node::{Event, EventKind, Request},
    },
    position::Sequence,
    token::ResumeToken,
    vector::Vector,
    version::{Clock, Origin, RunId, Version},
};
use tokio_util::codec::Decoder;

use crate::bed::{NOW, VALUE_BYTES, key, node, site, write};

pub(crate) fn all(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec");
    group.throughput(Throughput::Elements(1));
    let request = NodeToRelay::Request(Request::Write(write(1)));
    group.bench_function("encode a put", |b| {
        b.iter_batched_ref(BytesMut::new, |into| request.encode(1, into).expect("it fits"), BatchSize::SmallInput);
    });
    let mut frame = BytesMut::new();
    request.encode(1, &mut frame).expect("it fits");
    group.bench_function("cut and decode a put", |b| {
        let mut codec = FrameCodec::new(MAX_FRAME_BYTES);
        b.iter_batched(
            || BytesMut::from(&frame[..]),
            |mut bytes| {
                let raw = codec.decode(&mut bytes).expect("a frame").expect("a whole one");
                NodeToRelay::decode(&raw).expect("a put")
            },
            BatchSize::SmallInput,
        );
    });
    let event = RelayToNode::Event(event());
    group.bench_function("encode an event", |b| {
        b.iter_batched_ref(BytesMut::new, |into| event.encode(1, into).expect("it fits"), BatchSize::SmallInput);
    });
    group.finish();
}

fn event() -> Event {
    let origin = Origin { site: site("site1"), run: RunId(1) };
    let version = Version { clock: Clock::at(NOW), origin };
    let seen: Vector = [(origin, version.clock)].into_iter().collect();
    Event {
        kind: EventKind::Modified,
        key: Some(key(1)),
        version: Some(version),
        birth: None,
        node: Some(node()),
        deadline: None,
        token: ResumeToken { origin, sequence: Sequence::new(1), seen }.to_bytes(),
        value: Bytes::from(vec![7; VALUE_BYTES]),
    }
}
