//! Every decoder of bytes from outside, as fuzzers call it: any bytes give a value or an error, never a panic, and a value
//! comes back as it was when it is written and read again.
//!
//! The first byte of an input says which decoder it is for; the fuzzer of `tests/fuzz` and the test of its corpus use the same
//! inputs.

use std::{fs, path::Path};

use bytes::{BufMut, Bytes, BytesMut};
use landbridge_client::Profile;
use landbridge_protocol::{
    frame::{FrameCodec, FromAdmin, NodeToRelay, RawFrame, ReceiverToSender, RelayToNode, SenderToReceiver, ToAdmin},
    name::{CacheName, NodeName, SiteName},
    position::Sequence,
    record_set,
    token::ResumeToken,
    version::Version,
};
use landbridge_relay::{
    config::{RelayConfig, parse_size, parse_span},
    store::{backup, encoding, journal::blocks},
};
use tempfile::TempDir;
use tokio_util::codec::Decoder as _;

/// The request that frames bear which have one.
const REQUEST: u64 = 7;

/// A decoder of bytes from outside.
#[derive(Debug, Clone, Copy)]
pub struct Decoder {
    /// Its name, and that of the directory of its inputs.
    pub name: &'static str,
    /// Decodes.
    ///
    /// # Panics
    /// When a value does not come back as it was.
    pub decode: fn(&[u8]),
}

/// All of them; the first byte of an input is the place in this list.
pub const DECODERS: [Decoder; 9] = [
    Decoder { name: "frame", decode: frame },
    Decoder { name: "stream", decode: stream },
    Decoder { name: "record_set", decode: records },
    Decoder { name: "token", decode: token },
    Decoder { name: "commit", decode: commit },
    Decoder { name: "configuration", decode: configuration },
    Decoder { name: "profile", decode: profile },
    Decoder { name: "backup", decode: restored },
    Decoder { name: "journal", decode: journal },
];

/// Gives an input to the decoder that it is for; which one that was.
pub fn decode(input: &[u8]) -> Option<&'static Decoder> {
    let (which, rest) = input.split_first()?;
    let decoder = DECODERS.get(usize::from(*which))?;
    (decoder.decode)(rest);
    Some(decoder)
}

/// A kind and a body, for each conversation.
fn frame(input: &[u8]) {
    let Some((kind, body)) = input.split_first_chunk() else { return };
    let raw = RawFrame { kind: u16::from_be_bytes(*kind), request: REQUEST, body: Bytes::copy_from_slice(body) };
    macro_rules! comes_back {
        ($conversation:ident, $encode:expr) => {
            if let Ok(frame) = $conversation::decode(&raw) {
                let mut bytes = BytesMut::new();
                let encode: fn(&$conversation, &mut BytesMut) -> _ = $encode;
                encode(&frame, &mut bytes).expect("what fitted a frame fits one again");
                // Length, kind and request come before the body.
                let again = RawFrame { body: bytes.freeze().slice(14..), ..raw.clone() };
                assert_eq!($conversation::decode(&again).ok(), Some(frame));
            }
        };
    }
    comes_back!(NodeToRelay, |frame, into| frame.encode(REQUEST, into));
    comes_back!(RelayToNode, |frame, into| frame.encode(REQUEST, into));
    comes_back!(SenderToReceiver, |frame, into| frame.encode(into));
    comes_back!(ReceiverToSender, |frame, into| frame.encode(into));
    comes_back!(ToAdmin, |frame, into| frame.encode(REQUEST, into));
    comes_back!(FromAdmin, |frame, into| frame.encode(REQUEST, into));
}

/// How a stream is cut into reads does not matter to what frames are in it.
fn stream(input: &[u8]) {
    const MAX_BYTES: usize = 4096;
    let frames = |reads: &mut dyn Iterator<Item = &[u8]>| {
        let (mut codec, mut arrived, mut frames) = (FrameCodec::new(MAX_BYTES), BytesMut::new(), Vec::new());
        for read in reads {
            arrived.put_slice(read);
            loop {
                match codec.decode(&mut arrived) {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(_) => return frames,
                }
            }
        }
        frames
    };
    let whole = frames(&mut [input].into_iter());
    assert!(whole.iter().all(|frame| frame.body.len() <= MAX_BYTES));
    assert_eq!(whole, frames(&mut input.chunks(3)));
}

fn records(input: &[u8]) {
    if let Ok(records) = record_set::decode(&Bytes::copy_from_slice(input)) {
        let mut bytes = BytesMut::new();
        record_set::encode(&records, &mut bytes).expect("what was a set is one again");
        assert_eq!(record_set::decode(&bytes.freeze()).ok(), Some(records));
    }
}

/// A token of a listener; and as text: versions and names.
fn token(input: &[u8]) {
    if let Ok(token) = ResumeToken::from_bytes(input) {
        let again = ResumeToken::from_bytes(&token.to_bytes()).expect("a token that was written");
        assert_eq!(again, token);
    }
    let Ok(text) = str::from_utf8(input) else { return };
    if let Ok(version) = text.parse::<Version>() {
        assert_eq!(version.to_string().parse().ok(), Some(version));
    }
    assert!(SiteName::new(text).is_ok_and(|name| name.as_str() == text) || SiteName::new(text).is_err());
    assert!(NodeName::new(text).is_ok_and(|name| name.as_str() == text) || NodeName::new(text).is_err());
    assert!(CacheName::new(text).is_ok_and(|name| name.as_str() == text) || CacheName::new(text).is_err());
}

/// A commit of the log: as it is, and with the checksum that it would have.
fn commit(input: &[u8]) {
    let bytes = Bytes::copy_from_slice(input);
    let mut right = BytesMut::from(input);
    if right.len() >= 4 {
        let checksum = crc32fast::hash(&right[4..]);
        right[..4].copy_from_slice(&checksum.to_be_bytes());
    }
    for bytes in [bytes, right.freeze()] {
        let decoded = encoding::decode(&bytes);
        let (header, range) = (encoding::decode_header(&bytes), encoding::range(&bytes));
        for at in [0, 1, 2, u64::MAX >> 1] {
            drop(encoding::decode_one(&bytes, Sequence::new(at)));
        }
        let Ok(commit) = decoded else { continue };
        assert_eq!(header.as_ref(), Ok(&commit.header));
        assert_eq!(range, Ok((commit.header.first, commit.header.last)));
        for (sequence, record) in &commit.records {
            let one = encoding::decode_one(&bytes, *sequence).expect("all could be read").expect("it is there");
            assert_eq!(one, *record);
        }
        assert_eq!(encoding::decode(&encoding::encode(&commit)), Ok(commit));
    }
}

/// A file of the journal: as it is, and with the checksums that its headers and first block would have. Behind whole blocks
/// anything may lie that is none.
fn journal(input: &[u8]) {
    const PAGE: usize = 4096;
    let mut right = input.to_vec();
    let set = |right: &mut [u8], at: usize, checksum: u32| right[at..at + 4].copy_from_slice(&checksum.to_be_bytes());
    for at in [0, PAGE] {
        if let Some(header) = right.get(at + 4..at + 40) {
            let checksum = crc32fast::hash(header);
            set(&mut right, at, checksum);
        }
    }
    let block = 2 * PAGE;
    if let Some(length) = right.get(block + 4..block + 8).and_then(|length| length.try_into().ok()) {
        let end = (block + 24).saturating_add(u32::from_be_bytes(length) as usize);
        if let (Some(salt), Some(block_bytes)) = (right.get(24..32), right.get(block + 4..end)) {
            let checksum = crc32fast::hash(&[salt, block_bytes].concat());
            set(&mut right, block, checksum);
        }
    }
    for bytes in [input, &right] {
        let Ok((_, count)) = blocks(bytes) else { continue };
        assert!(count == 0 || bytes.len() > (1 + count as usize) * PAGE, "a block has a page of its own");
        let longer = [bytes, &[0xa5; PAGE][..]].concat();
        assert!(blocks(&longer).is_err() || blocks(&longer).is_ok_and(|(_, more)| more == count));
    }
}

fn configuration(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    drop((parse_size(text), parse_span(text)));
    drop(RelayConfig::parse(text, Path::new("/etc/landbridge")));
}

fn profile(input: &[u8]) {
    let dir = scratch();
    let file = dir.path().join("profile.toml");
    fs::write(&file, input).expect("a temporary file");
    drop(Profile::load(file));
}

/// A backup makes a whole store, or none.
fn restored(mut input: &[u8]) {
    let parent = scratch();
    let dir = parent.path().join("restored");
    let site: SiteName = "site1".parse().expect("a site's name");
    let restored = backup::restore(&mut input, site, &dir, |_| {});
    assert_eq!(dir.exists(), restored.is_ok(), "{restored:?}");
    let beside = fs::read_dir(parent.path()).expect("a temporary directory").count();
    assert_eq!(beside, usize::from(restored.is_ok()), "something was left beside it");
}

/// A directory, in memory where there is such a file system; gone with what is in it when it is dropped.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    made.expect("a temporary directory")
}
