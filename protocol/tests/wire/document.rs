//! `WIRE.md` says what the code does: every number is in it, and its worked examples are the very bytes.

use std::fmt::Write;

use bytes::{Bytes, BytesMut};
use landbridge_protocol::{
    error::ErrorCode,
    frame::{ALPN_ADMIN, ALPN_NODE, ALPN_PEER, FrameKind, MAX_FRAME_BYTES, NodeToRelay, RelayToNode, node},
    name::{CacheName, NodeName, SiteName},
    position::Sequence,
    record::{ClientId, Key, WriteToken},
    time::{Millis, Timestamp},
    token::ResumeToken,
    version::{Clock, Origin, RunId, Version},
};

const WIRE: &str = include_str!("../../WIRE.md");

/// The bytes of the n-th worked example: in each line, what stands before the bar.
fn example(n: usize) -> String {
    let block = WIRE.split("```hex\n").nth(n + 1).unwrap().split("```").next().unwrap();
    block.lines().map(|line| line.split('|').next().unwrap().replace(' ', "")).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn written() -> Version {
    let origin = Origin { site: SiteName::new("site1").unwrap(), run: RunId(0x5eed) };
    Version { clock: Clock::at(Timestamp::from_millis(1_790_000_000_000)), origin }
}

#[test]
fn every_kind_stands_in_a_row_of_its_own() {
    for kind in FrameKind::ALL {
        let row = format!("| `{:#06x}` | {kind:?} |", kind.number());
        assert_eq!(WIRE.matches(&row).count(), 1, "WIRE.md must have one row {row}");
    }
}

#[test]
fn every_error_stands_in_a_row_with_its_word_on_retries() {
    for code in ErrorCode::ALL {
        let retry = if code.is_retryable() { "yes" } else { "no" };
        let row = format!("| {} | {code:?} | {retry} |", code.number());
        assert_eq!(WIRE.matches(&row).count(), 1, "WIRE.md must have one row {row}");
    }
}

#[test]
fn transport_and_bounds_are_named() {
    for alpn in [ALPN_NODE, ALPN_PEER, ALPN_ADMIN] {
        assert!(WIRE.contains(&format!("`{}`", str::from_utf8(alpn).unwrap())));
    }
    assert!(WIRE.contains(&format!("{MAX_FRAME_BYTES} bytes")));
}

#[test]
fn the_worked_put_is_its_bytes() {
    let put = NodeToRelay::Request(node::Request::Write(node::Write {
        operation: node::Operation::Put,
        cache: CacheName::new("sessions").unwrap(),
        key: Key::new("s-7").unwrap(),
        expected: None,
        lifespan: Some(Millis::from_secs(600)),
        max_idle: None,
        token: WriteToken { client: ClientId(0xc11e), number: 1 },
        retry: None,
        return_previous: false,
        value: Bytes::from_static(b"alice"),
    }));
    let mut bytes = BytesMut::new();
    put.encode(7, &mut bytes).unwrap();
    assert_eq!(example(0), hex(&bytes));
}

#[test]
fn the_worked_event_is_its_bytes() {
    let version = written();
    let token = ResumeToken {
        origin: version.origin,
        sequence: Sequence::new(42),
        seen: [(version.origin, version.clock)].into_iter().collect(),
    };
    let event = RelayToNode::Event(node::Event {
        kind: node::EventKind::Created,
        key: Some(Key::new("s-7").unwrap()),
        version: Some(version),
        birth: None,
        node: Some(NodeName::new("node11").unwrap()),
        deadline: Some(Timestamp::from_millis(1_790_000_600_000)),
        token: token.to_bytes(),
        value: Bytes::from_static(b"alice"),
    });
    let mut bytes = BytesMut::new();
    event.encode(0, &mut bytes).unwrap();
    assert_eq!(example(1), hex(&bytes));
}
