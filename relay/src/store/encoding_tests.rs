use landbridge_protocol::{
    name::{CacheName, NodeName, SiteName},
    record::{ClientId, Key, WriteToken},
    time::Timestamp,
    vector::Vector,
};

use super::*;

fn version(clock: u64) -> Version {
    Version {
        clock: Clock::from_bits(clock),
        origin: Origin { site: SiteName::new("site1").unwrap(), run: RunId(clock % 3) },
    }
}

fn commit(count: u64) -> Commit {
    let cache = CacheName::new("sessions").unwrap();
    let record = |n: u64| match n % 5 {
        4 => LogRecord::Forgotten { cache: cache.clone(), key: Key::new(n.to_string()).unwrap() },
        kind => LogRecord::Record(Record {
            cache: cache.clone(),
            key: (kind != 3).then(|| Key::new(n.to_string()).unwrap()),
            kind: Kind::from_number(kind as u8 + 1).unwrap(),
            version: version(n + 10),
            birth: version(n),
            deadline: n.is_multiple_of(2).then_some(Timestamp::from_millis(n + 1)),
            max_idle: None,
            token: Some(WriteToken { client: ClientId(7), number: n }),
            node: n.is_multiple_of(3).then(|| NodeName::new("node11").unwrap()),
            context: [(version(n).origin, Clock::from_bits(n + 1))].into_iter().collect(),
            flags: 0,
            value: if kind == 0 { vec![n as u8; n as usize * 40].into() } else { Bytes::new() },
        }),
    };
    let header = CommitHeader {
        first: Sequence::new(100),
        last: Sequence::new(100 + 2 * count),
        clock: Clock::from_bits(5),
        seen: [(version(1).origin, Clock::from_bits(5))].into_iter().collect(),
        dropped: Vector::new(),
        outdone: Clock::from_bits(3),
        cursors: Vec::new(),
        runs: Vec::new(),
        filled: true,
        caches: Vec::new(),
    };
    Commit { header, records: (0..count).map(|n| (Sequence::new(100 + 2 * n), record(n))).collect() }
}

#[test]
fn a_commit_comes_back_as_it_was() {
    for count in [0, 1, 31, 32, 33, 300] {
        let commit = commit(count);
        let bytes = encode(&commit);
        assert_eq!(decode(&bytes).unwrap(), commit);
        for (sequence, record) in &commit.records {
            assert_eq!(decode_one(&bytes, *sequence).unwrap().as_ref(), Some(record));
            assert_eq!(decode_one(&bytes, sequence.next()).unwrap(), None);
        }
        assert_eq!(range(&bytes).unwrap(), (commit.header.first, commit.header.last));
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_seen() {
    let bytes = encode(&commit(6));
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&changed.into()).is_err(), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert!(decode(&bytes.slice(..length)).is_err(), "length {length}");
        // Without the outer checksum too there is an error or a record, never a panic.
        let _ = decode_one(&bytes.slice(..length), Sequence::new(100));
    }
}

#[test]
fn a_newer_format_is_told_by_its_number() {
    let mut bytes = encode(&commit(1)).to_vec();
    bytes[5] = 2;
    let checksum = crc32fast::hash(&bytes[4..]);
    bytes[..4].copy_from_slice(&checksum.to_be_bytes());
    assert_eq!(decode(&bytes.into()), Err(DecodeError::Newer(2)));
}

#[test]
fn the_bytes_on_disk_do_not_change() {
    let bytes = encode(&commit(3));
    assert_eq!(
        &bytes[4..36],
        &[
            0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 100, 0, 0, 0, 0, 0, 0, 0, 106, //
            0, 0, 0, bytes[27], 0, 0, 0, 3, 0, 0, 0, 1,
        ]
    );
}

/// Ten thousand inputs of random bytes and ten thousand mutated commits with a checksum that fits: an error or a commit,
/// never a panic.
#[test]
fn hostile_bytes_are_errors() {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let good = encode(&commit(40));
    let mut commits = 0;
    for number in 0..20_000 {
        let mut bytes = if number % 2 == 0 {
            (0..random() % 400).map(|_| random() as u8).collect()
        } else {
            let mut bytes = good.to_vec();
            for _ in 0..1 + random() % 4 {
                let at = 4 + (random() % (bytes.len() as u64 - 4)) as usize;
                bytes[at] = random() as u8;
            }
            if random() % 4 == 0 {
                bytes.truncate((random() % bytes.len() as u64) as usize);
            }
            bytes
        };
        if bytes.len() > 4 {
            let checksum = crc32fast::hash(&bytes[4..]);
            bytes[..4].copy_from_slice(&checksum.to_be_bytes());
        }
        let bytes = Bytes::from(bytes);
        commits += u32::from(decode(&bytes).is_ok());
        let one = decode_one(&bytes, Sequence::new(101));
        commits += u32::from(one.is_ok_and(|found| found.is_some()));
    }
    assert!(commits > 0, "mutations that change nothing of weight must still decode, or nothing was tried");
}

#[test]
fn the_header_of_a_commit_without_records_is_all_of_it() {
    let Commit { header, .. } = decode(&encode(&commit(3))).unwrap();
    let bytes = encode(&Commit { header, records: Vec::new() });
    assert_eq!(header_bytes(&bytes), bytes.len() as u64);
    assert!(header_bytes(&encode(&commit(3))) < encode(&commit(3)).len() as u64);
}
