//! What a sender makes of the log fits frames, whatever the log holds.

use bytes::{Bytes, BytesMut};
use landbridge_protocol::{
    frame::{
        EncodeError, MAX_BATCH_RECORDS, MAX_ENTRY_BYTES, SenderToReceiver,
        node::{Operation, Write},
        peer::Batch,
    },
    name::{CacheName, MAX_CACHE_NAME, MAX_KEY, MAX_NODE_NAME, MAX_SITE_NAME, NodeName, SiteName},
    position::Through,
    record::{ClientId, Key, Kind, MAX_CONTEXT, Record, WriteToken},
    version::{Clock, Origin, RunId, Version},
};

use super::{
    Sender, SenderConfig, SenderOutput,
    tests::{Relay, pump},
    transfer::Transfer,
};
use crate::engine::{command::Command, header::Records};

fn encode(frame: &SenderToReceiver) -> Result<(), EncodeError> {
    frame.encode(&mut BytesMut::new())
}

/// A key of the greatest length.
fn long_key(number: usize) -> Key {
    let mut bytes = vec![b'k'; MAX_KEY];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Key::new(bytes).expect("a key")
}

#[test]
fn a_reconcile_of_the_longest_keys_fits_frames() {
    let mut relay = Relay::new("site1", "site2", 1);
    relay.step(Command::Housekeep).expect("serves");
    let keys = MAX_BATCH_RECORDS + 1;
    for number in 0..keys {
        let token = WriteToken { client: ClientId(1), number: number as u64 };
        let cache = CacheName::new("c").expect("a name");
        let write = Write::new(Operation::Remove, cache, long_key(number), token, Bytes::new());
        relay.step(Command::Write { node: NodeName::new("node11").expect("a name"), write }).expect("taken");
    }
    let (mut transfer, _) = Transfer::begin(&relay.replica);
    let (site, config) = (SiteName::new("site2").expect("a name"), SenderConfig::default());
    let (mut sent, mut last) = (0, false);
    while !last {
        let Some(SenderOutput::ReadRecords(wanted)) = transfer.wants(&site, &config, &relay.replica) else {
            panic!("it goes on")
        };
        let read = wanted.iter().map(|at| relay.log.record(*at).ok()).collect();
        let chunk = transfer.chunk(read).expect("all was read");
        encode(&chunk).expect("it fits a frame");
        let SenderToReceiver::ReconcileChunk(chunk) = chunk else { panic!("a chunk") };
        sent += chunk.records.len();
        last = chunk.through.is_none();
        transfer.taken();
    }
    assert_eq!(sent, keys);
}

/// `max_batch_bytes` is [`MAX_ENTRY_BYTES`] at most, and a batch of more than one record stays within that in keys and values.
#[test]
fn the_largest_batch_that_may_be_fits_a_frame() {
    let origin = |number: usize| {
        let name = format!("{number:0>width$}", width = MAX_SITE_NAME);
        Origin { site: SiteName::new(&name).expect("a name"), run: RunId(u64::MAX - number as u64) }
    };
    let clock = Clock::from_bits(u64::MAX);
    let node = |number: usize| NodeName::new(&format!("{number:0>width$}", width = MAX_NODE_NAME)).expect("a name");
    let cache = |number: usize| CacheName::new(&format!("{number:0>width$}", width = MAX_CACHE_NAME)).expect("a name");
    let of = |number: usize, key: Key, value: usize| {
        let first = number * (2 + MAX_CONTEXT);
        let version = Version { clock, origin: origin(first) };
        let context = (first + 2..first + 2 + MAX_CONTEXT).map(|number| (origin(number), clock)).collect();
        let bare = Record::bare(cache(number), Some(key), Kind::Live, version);
        Record {
            birth: Version { clock, origin: origin(first + 1) },
            node: Some(node(number)),
            token: Some(WriteToken { client: ClientId(u64::MAX), number: u64::MAX }),
            context,
            value: Bytes::from(vec![0; value]),
            ..bare
        }
    };
    let share = MAX_ENTRY_BYTES as usize / MAX_BATCH_RECORDS - 8;
    let many: Vec<Record> =
        (0..MAX_BATCH_RECORDS).map(|n| of(n, Key::new(n.to_be_bytes().to_vec()).expect("a key"), share)).collect();
    let one = vec![of(0, long_key(0), MAX_ENTRY_BYTES as usize)];
    for records in [many, one] {
        let vector = (100_000..100_000 + 32_767).map(|number| (origin(number), clock)).collect();
        let at = Through::default();
        let batch = Batch { after: at, through: at, vector, caught_up: true, runs: vec![origin(1); 512], records };
        encode(&SenderToReceiver::Batch(batch)).expect("it fits a frame");
    }
}

/// The receiver refuses a second one.
#[test]
fn of_a_caches_clears_only_the_one_that_is_held_goes() {
    let (mut a, mut b) = (Relay::new("site1", "site2", 1), Relay::new("site2", "site1", 2));
    let mut sender = Sender::new(b.replica.site(), SenderConfig::default(), 1);
    pump(&mut sender, &mut a, &mut b);
    pump(&mut Sender::new(a.replica.site(), SenderConfig::default(), 2), &mut b, &mut a);
    for number in 1..=3 {
        a.put(2 * number);
        let token = WriteToken { client: ClientId(1), number: 2 * number + 1 };
        let (node, cache) = (NodeName::new("node11").expect("a name"), CacheName::new("c").expect("a name"));
        a.step(Command::Clear { node, cache, token, retry: None }).expect("taken");
    }
    a.put(9);
    let batches = pump(&mut sender, &mut a, &mut b);
    let sent: Vec<Kind> = batches.iter().flat_map(|batch| &batch.records).map(|record| record.kind).collect();
    assert_eq!(sent, [Kind::Clear, Kind::Live]);
    assert!(b.replica.seen().includes(a.replica.seen()));
}
