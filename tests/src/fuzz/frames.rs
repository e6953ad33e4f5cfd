//! A valid frame of any kind, drawn from a seed: it comes back as it was; and with some of its bytes changed it gives another
//! frame, or an error.

#[allow(dead_code, reason = "what the protocol's own tests use of it")]
#[expect(clippy::unwrap_used, reason = "in a test a panic is the report")]
#[path = "../../../protocol/tests/wire/draw.rs"]
mod draw;
#[allow(dead_code, reason = "what the protocol's own tests use of it")]
#[expect(clippy::unwrap_used, reason = "in a test a panic is the report")]
#[path = "../../../protocol/tests/wire/samples.rs"]
mod samples;

use landbridge_protocol::frame::FrameKind;

use crate::decoders;

/// Takes a kind (one byte), a seed (eight), and changes: a place (two bytes) and what is put there (one).
///
/// # Panics
/// When a frame does not come back as it was.
pub fn run(input: &[u8]) {
    let Some((kind, rest)) = input.split_first() else { return };
    let Some((seed, changes)) = rest.split_first_chunk() else { return };
    let kind = FrameKind::ALL[usize::from(*kind) % FrameKind::ALL.len()];
    let frame = samples::sample(kind, &mut draw::Draw::seeded(u64::from_be_bytes(*seed)));
    let raw = frame.raw(7);
    assert_eq!(frame.decoder()(&raw).ok(), Some(frame));
    let mut changed = raw.body.to_vec();
    for change in changes.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([change[0], change[1]]));
        match at.checked_rem(changed.len()) {
            Some(at) => changed[at] = change[2],
            None => changed.push(change[2]),
        }
    }
    let mut other = kind.number().to_be_bytes().to_vec();
    other.append(&mut changed);
    decoders::decode(&[&[0], &other[..]].concat());
}
