//! Records survive being bytes, and share the memory of what they were read from.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use bytes::{Bytes, BytesMut};
use landbridge_protocol::{
    frame::MAX_BATCH_RECORDS,
    name::{CacheName, NodeName, SiteName},
    record::{ClientId, Key, Kind, Record, WriteToken},
    record_set::{RecordSetError, decode, decode_at, encode},
    time::Timestamp,
    vector::Vector,
    version::{Clock, Origin, RunId, Version},
};

fn version(clock: u64, site: &str) -> Version {
    Version {
        clock: Clock::from_bits(clock),
        origin: Origin { site: SiteName::new(site).unwrap(), run: RunId(clock % 3) },
    }
}

fn record(n: u64) -> Record {
    Record {
        cache: CacheName::new(if n.is_multiple_of(2) { "sessions" } else { "work" }).unwrap(),
        key: Some(Key::new(format!("key-{n}")).unwrap()),
        kind: Kind::Live,
        version: version(100 + n, "site1"),
        birth: version(50, "site2"),
        deadline: n.is_multiple_of(3).then(|| Timestamp::from_millis(n + 1)),
        max_idle: None,
        token: n.is_multiple_of(2).then_some(WriteToken { client: ClientId(n), number: 7 }),
        node: (!n.is_multiple_of(4)).then(|| NodeName::new(&format!("node{n}")).unwrap()),
        context: Vector::from_iter([(version(3, "site3").origin, Clock::from_bits(9))]),
        flags: 1,
        value: Bytes::from(vec![n as u8; n as usize * 10]),
    }
}

#[test]
fn records_come_back_as_they_were() {
    let records: Vec<Record> = (0..20).map(record).collect();
    let mut bytes = BytesMut::new();
    encode(&records, &mut bytes).unwrap();
    let bytes = bytes.freeze();
    let back = decode(&bytes).unwrap();
    assert_eq!(back, records);
    let value = &back[19].value;
    assert!(bytes.as_ptr_range().contains(&value.as_ptr()), "the value was copied");
}

#[test]
fn each_record_comes_back_by_itself() {
    let mut records: Vec<Record> = (0..20).map(record).collect();
    records.push(Record { value: Bytes::from(vec![1; 70_000]), ..record(20) });
    let clear = Record::bare(records[0].cache.clone(), None, Kind::Clear, version(7, "site3"));
    records.push(clear);
    let mut bytes = BytesMut::new();
    encode(&records, &mut bytes).unwrap();
    let bytes = bytes.freeze();
    for (at, record) in records.iter().enumerate() {
        assert_eq!(decode_at(&bytes, at).unwrap().as_ref(), Some(record));
    }
    assert_eq!(decode_at(&bytes, records.len()).unwrap(), None);
    let value = decode_at(&bytes, 19).unwrap().unwrap().value;
    assert!(bytes.as_ptr_range().contains(&value.as_ptr()), "the value was copied");
    let cut = bytes.slice(..bytes.len() - 1);
    assert!(matches!(decode_at(&cut, records.len() - 1), Err(RecordSetError::Short)));
    let mut flipped = bytes.to_vec();
    let in_value = flipped.windows(100).position(|bytes| bytes == [1; 100]).unwrap();
    flipped[in_value] ^= 1;
    assert!(matches!(decode_at(&flipped.into(), 20), Err(RecordSetError::Checksum { record: 20, .. })));
}

#[test]
fn a_flipped_bit_of_a_value_is_found() {
    let mut bytes = BytesMut::new();
    encode(&[record(9)], &mut bytes).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    assert!(matches!(decode(&bytes.freeze()), Err(RecordSetError::Checksum { record: 0, .. })));
}

#[test]
fn bytes_after_the_last_record_are_refused() {
    let mut bytes = BytesMut::new();
    encode(&[record(1)], &mut bytes).unwrap();
    bytes.extend_from_slice(b"x");
    assert!(matches!(decode(&bytes.freeze()), Err(RecordSetError::Trailing)));
}

#[test]
fn more_records_than_a_batch_has_are_neither_written_nor_read() {
    let tiny = Record { value: Bytes::new(), ..record(1) };
    let mut bytes = BytesMut::new();
    assert!(encode(std::iter::repeat_n(&tiny, MAX_BATCH_RECORDS + 1), &mut bytes).is_err());
    let mut bytes = BytesMut::new();
    encode(std::iter::repeat_n(&tiny, MAX_BATCH_RECORDS), &mut bytes).unwrap();
    let full = bytes.freeze();
    assert_eq!(decode(&full).unwrap().len(), MAX_BATCH_RECORDS);
    // One more, as somebody else may write it: the count, a u16 of MessagePack, lies behind the tables.
    let count = [0xcd, 0x10, 0x00];
    let at = full.windows(3).position(|bytes| bytes == count).unwrap();
    let mut more = full.to_vec();
    more[at + 2] = 1;
    assert!(matches!(decode(&more.into()), Err(RecordSetError::TooMany(4097))));
}
