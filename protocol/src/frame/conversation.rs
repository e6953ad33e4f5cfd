//! The conversations: which frames go in which direction, and how each body is written.
//!
//! Hellos, refusals and everything of operators are named maps, which tolerate fields that they don't know. The rest
//! is positional: an array of exactly the fields that its kind has.

use bytes::{Buf, BufMut, BytesMut};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    DecodeError, EncodeError, MAX_BATCH_RECORDS, MAX_PRESENT_RUNS, RawFrame, admin, codec::put_frame, kind::FrameKind,
    node, peer,
};
use crate::{blob, bounded::Bounded, error::Refusal, record::Record, record_set};

fn put_array(kind: FrameKind, request: u64, into: &mut BytesMut, body: &impl Serialize) -> Result<(), EncodeError> {
    put_frame(kind.number(), request, into, |into| rmp_serde::encode::write(&mut into.writer(), body))
}

fn put_map(kind: FrameKind, request: u64, into: &mut BytesMut, body: &impl Serialize) -> Result<(), EncodeError> {
    put_frame(kind.number(), request, into, |into| rmp_serde::encode::write_named(&mut into.writer(), body))
}

/// A body of two parts: a positional head, its length before it, and records behind it.
fn put_records(
    kind: FrameKind,
    request: u64,
    into: &mut BytesMut,
    head: &impl Serialize,
    records: &[Record],
) -> Result<(), EncodeError> {
    put_frame(kind.number(), request, into, |into| {
        let begin = into.len();
        into.put_u32(0);
        rmp_serde::encode::write(&mut into.writer(), head)?;
        let bytes = u32::try_from(into.len() - begin - 4).expect("a head is a few vectors");
        into[begin..begin + 4].copy_from_slice(&bytes.to_be_bytes());
        record_set::encode(records, into)
    })
}

fn take<T: DeserializeOwned>(frame: &RawFrame) -> Result<T, DecodeError> {
    blob::decode(&frame.body).map_err(|source| DecodeError::Malformed { kind: frame.kind, source })
}

fn take_records<T: DeserializeOwned>(frame: &RawFrame) -> Result<(T, Vec<Record>), DecodeError> {
    let malformed = |source| DecodeError::Malformed { kind: frame.kind, source };
    let short = || malformed(rmp_serde::decode::Error::LengthMismatch(0));
    let mut body = frame.body.clone();
    let head_bytes = body.try_get_u32().map_err(|_| short())? as usize;
    if head_bytes > body.len() {
        return Err(short());
    }
    let head = blob::decode(&body.split_to(head_bytes)).map_err(malformed)?;
    let records = record_set::decode(&body).map_err(|source| DecodeError::Records { kind: frame.kind, source })?;
    Ok((head, records))
}

fn unsupported(frame: &RawFrame) -> DecodeError {
    DecodeError::Unsupported { kind: frame.kind }
}

/// What a node sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeToRelay {
    /// Begins the session.
    Hello(node::Hello),
    /// Asks.
    Request(node::Request),
    /// Begins a subscription.
    Subscribe(node::Subscribe),
}

impl NodeToRelay {
    /// Appends the whole frame.
    pub fn encode(&self, request: u64, into: &mut BytesMut) -> Result<(), EncodeError> {
        use node::Request as R;
        match self {
            Self::Hello(hello) => put_map(FrameKind::NodeHello, request, into, hello),
            Self::Subscribe(body) => put_array(FrameKind::Subscribe, request, into, body),
            Self::Request(asked) => match asked {
                R::Get(body) => put_array(FrameKind::Get, request, into, body),
                R::Contains(body) => put_array(FrameKind::Contains, request, into, body),
                R::GetAll(body) => put_array(FrameKind::GetAll, request, into, body),
                R::Write(body) => put_array(FrameKind::Write, request, into, body),
                R::PutAll(body) => put_array(FrameKind::PutAll, request, into, body),
                R::Clear(body) => put_array(FrameKind::Clear, request, into, body),
                R::Size(body) => put_array(FrameKind::Size, request, into, body),
                R::List(body) => put_array(FrameKind::List, request, into, body),
                R::Ping => put_array(FrameKind::Ping, request, into, &()),
            },
        }
    }

    /// Reads a frame's body.
    pub fn decode(frame: &RawFrame) -> Result<Self, DecodeError> {
        use node::Request as R;
        let asked = match FrameKind::from_number(frame.kind) {
            Some(FrameKind::NodeHello) => return take(frame).map(Self::Hello),
            Some(FrameKind::Subscribe) => return take(frame).map(Self::Subscribe),
            Some(FrameKind::Get) => R::Get(take(frame)?),
            Some(FrameKind::Contains) => R::Contains(take(frame)?),
            Some(FrameKind::GetAll) => R::GetAll(take(frame)?),
            Some(FrameKind::Write) => R::Write(take(frame)?),
            Some(FrameKind::PutAll) => R::PutAll(take(frame)?),
            Some(FrameKind::Clear) => R::Clear(take(frame)?),
            Some(FrameKind::Size) => R::Size(take(frame)?),
            Some(FrameKind::List) => R::List(take(frame)?),
            Some(FrameKind::Ping) => take::<()>(frame).map(|()| R::Ping)?,
            _ => return Err(unsupported(frame)),
        };
        Ok(Self::Request(asked))
    }
}

/// What a relay sends to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayToNode {
    /// Answers the hello.
    Welcome(node::Welcome),
    /// Answers a request.
    Reply(node::Reply),
    /// Answers [`NodeToRelay::Subscribe`].
    Subscribed(node::Subscribed),
    /// Something changed.
    Event(node::Event),
    /// The site view is now this.
    SiteView(node::View),
    /// The relay view is now this.
    RelayView(node::View),
    /// In place of any answer.
    Refused(Refusal),
}

impl RelayToNode {
    /// Appends the whole frame.
    pub fn encode(&self, request: u64, into: &mut BytesMut) -> Result<(), EncodeError> {
        use node::Reply as R;
        match self {
            Self::Welcome(body) => put_map(FrameKind::NodeWelcome, request, into, body),
            Self::SiteView(body) => put_map(FrameKind::SiteView, request, into, body),
            Self::RelayView(body) => put_map(FrameKind::RelayView, request, into, body),
            Self::Refused(body) => put_map(FrameKind::Refused, request, into, body),
            Self::Subscribed(body) => put_array(FrameKind::Subscribed, request, into, body),
            Self::Event(body) => put_array(FrameKind::Event, request, into, body),
            Self::Reply(reply) => match reply {
                R::Entry(body) => put_array(FrameKind::Entry, request, into, body),
                R::Found(body) => put_array(FrameKind::Found, request, into, body),
                R::Entries(body) => put_array(FrameKind::Entries, request, into, body),
                R::Written(body) => put_array(FrameKind::Written, request, into, body),
                R::WrittenAll(body) => put_array(FrameKind::WrittenAll, request, into, body),
                R::Size(body) => put_array(FrameKind::SizeIs, request, into, body),
                R::Page(body) => put_array(FrameKind::Page, request, into, body),
                R::Pong => put_array(FrameKind::Pong, request, into, &()),
            },
        }
    }

    /// Reads a frame's body.
    pub fn decode(frame: &RawFrame) -> Result<Self, DecodeError> {
        use node::Reply as R;
        let reply = match FrameKind::from_number(frame.kind) {
            Some(FrameKind::NodeWelcome) => return take(frame).map(Self::Welcome),
            Some(FrameKind::SiteView) => return take(frame).map(Self::SiteView),
            Some(FrameKind::RelayView) => return take(frame).map(Self::RelayView),
            Some(FrameKind::Refused) => return take(frame).map(Self::Refused),
            Some(FrameKind::Subscribed) => return take(frame).map(Self::Subscribed),
            Some(FrameKind::Event) => return take(frame).map(Self::Event),
            Some(FrameKind::Entry) => R::Entry(take(frame)?),
            Some(FrameKind::Found) => R::Found(take(frame)?),
            Some(FrameKind::Entries) => R::Entries(take(frame)?),
            Some(FrameKind::Written) => R::Written(take(frame)?),
            Some(FrameKind::WrittenAll) => R::WrittenAll(take(frame)?),
            Some(FrameKind::SizeIs) => R::Size(take(frame)?),
            Some(FrameKind::Page) => R::Page(take(frame)?),
            Some(FrameKind::Pong) => take::<()>(frame).map(|()| R::Pong)?,
            _ => return Err(unsupported(frame)),
        };
        Ok(Self::Reply(reply))
    }
}

/// What the dialling relay of a link sends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SenderToReceiver {
    /// Begins a handshake.
    Hello(peer::Hello),
    /// Where the sender goes on.
    Start(peer::Start),
    /// Records.
    Batch(peer::Batch),
    /// The sender's wall clock, and how far its own records are sent.
    Heartbeat(peer::Heartbeat),
    /// A reconcile begins.
    ReconcileBegin(peer::ReconcileBegin),
    /// A range of keys of it.
    ReconcileChunk(peer::ReconcileChunk),
    /// Asks the receiver to hold G before a forced drop.
    DropProposal(peer::DropProposal),
    /// Whether the receiver holds of a cache what the sender does.
    DriftSums(peer::DriftSums),
    /// What the sender holds where the sums are unequal.
    DriftPart(peer::DriftPart),
    /// What the receiver was found to lack.
    DriftRepair(peer::DriftRepair),
    /// The drift check is done.
    DriftEnd(peer::DriftEnd),
    /// The receiver is asked for the check of the other way.
    DriftAsk(peer::DriftAsk),
}

impl SenderToReceiver {
    /// Appends the whole frame; these carry no request id.
    pub fn encode(&self, into: &mut BytesMut) -> Result<(), EncodeError> {
        match self {
            Self::Hello(body) => put_map(FrameKind::PeerHello, 0, into, body),
            Self::Start(body) => put_array(FrameKind::Start, 0, into, body),
            Self::Heartbeat(body) => put_array(FrameKind::Heartbeat, 0, into, body),
            Self::ReconcileBegin(body) => put_array(FrameKind::ReconcileBegin, 0, into, body),
            Self::DropProposal(body) => put_array(FrameKind::DropProposal, 0, into, body),
            Self::DriftSums(body) => put_array(FrameKind::DriftSums, 0, into, body),
            Self::DriftEnd(body) => put_array(FrameKind::DriftEnd, 0, into, body),
            Self::DriftAsk(body) => put_array(FrameKind::DriftAsk, 0, into, body),
            Self::DriftPart(p) => {
                put_records(FrameKind::DriftPart, 0, into, &(&p.cache, &p.seen, &p.checksums), &p.records)
            }
            Self::DriftRepair(r) => put_records(FrameKind::DriftRepair, 0, into, &(&r.cache, &r.seen), &r.records),
            Self::Batch(b) => {
                let head = (b.after, b.through, &b.vector, b.caught_up, &b.runs);
                put_records(FrameKind::Batch, 0, into, &head, &b.records)
            }
            Self::ReconcileChunk(c) => {
                put_records(FrameKind::ReconcileChunk, 0, into, &(&c.after, &c.through), &c.records)
            }
        }
    }

    /// Reads a frame's body.
    pub fn decode(frame: &RawFrame) -> Result<Self, DecodeError> {
        match FrameKind::from_number(frame.kind) {
            Some(FrameKind::PeerHello) => take(frame).map(Self::Hello),
            Some(FrameKind::Start) => take(frame).map(Self::Start),
            Some(FrameKind::Heartbeat) => take(frame).map(Self::Heartbeat),
            Some(FrameKind::ReconcileBegin) => take(frame).map(Self::ReconcileBegin),
            Some(FrameKind::DropProposal) => take(frame).map(Self::DropProposal),
            Some(FrameKind::DriftSums) => take(frame).map(Self::DriftSums),
            Some(FrameKind::DriftEnd) => take(frame).map(Self::DriftEnd),
            Some(FrameKind::DriftAsk) => take(frame).map(Self::DriftAsk),
            Some(FrameKind::DriftPart) => {
                let ((cache, seen, Bounded::<_, MAX_BATCH_RECORDS>(checksums)), records) = take_records(frame)?;
                Ok(Self::DriftPart(peer::DriftPart { cache, seen, checksums, records }))
            }
            Some(FrameKind::DriftRepair) => {
                let ((cache, seen), records) = take_records(frame)?;
                Ok(Self::DriftRepair(peer::DriftRepair { cache, seen, records }))
            }
            Some(FrameKind::Batch) => {
                let (head, records) = take_records(frame)?;
                let (after, through, vector, caught_up, Bounded::<_, MAX_PRESENT_RUNS>(runs)) = head;
                Ok(Self::Batch(peer::Batch { after, through, vector, caught_up, runs, records }))
            }
            Some(FrameKind::ReconcileChunk) => {
                let ((after, through), records) = take_records(frame)?;
                Ok(Self::ReconcileChunk(peer::ReconcileChunk { after, through, records }))
            }
            _ => Err(unsupported(frame)),
        }
    }
}

/// What the dialled relay of a link sends back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(clippy::large_enum_variant, reason = "they are made one at a time, and none is kept")]
pub enum ReceiverToSender {
    /// Answers the hello.
    Welcome(peer::Welcome),
    /// Committed through here.
    Ack(peer::Ack),
    /// Answers a heartbeat.
    Heartbeat(peer::Heartbeat),
    /// Answers a chunk of a reconcile.
    ReconcileAck(peer::ReconcileAck),
    /// Answers a drop proposal.
    DropAnswer(peer::DropAnswer),
    /// Answers sums.
    DriftUnequal(peer::DriftUnequal),
    /// Answers a part of what the sender holds.
    DriftFound(peer::DriftFound),
    /// Answers a repair.
    DriftRepaired(peer::DriftRepaired),
    /// The end of the stream, and why.
    Refused(Refusal),
}

impl ReceiverToSender {
    /// Appends the whole frame; these carry no request id.
    pub fn encode(&self, into: &mut BytesMut) -> Result<(), EncodeError> {
        match self {
            Self::Welcome(body) => put_map(FrameKind::PeerWelcome, 0, into, body),
            Self::Refused(body) => put_map(FrameKind::Refused, 0, into, body),
            Self::Ack(body) => put_array(FrameKind::Ack, 0, into, body),
            Self::Heartbeat(body) => put_array(FrameKind::Heartbeat, 0, into, body),
            Self::ReconcileAck(body) => put_array(FrameKind::ReconcileAck, 0, into, body),
            Self::DropAnswer(body) => put_array(FrameKind::DropAnswer, 0, into, body),
            Self::DriftUnequal(body) => put_array(FrameKind::DriftUnequal, 0, into, body),
            Self::DriftFound(body) => put_array(FrameKind::DriftFound, 0, into, body),
            Self::DriftRepaired(body) => put_array(FrameKind::DriftRepaired, 0, into, body),
        }
    }

    /// Reads a frame's body.
    pub fn decode(frame: &RawFrame) -> Result<Self, DecodeError> {
        match FrameKind::from_number(frame.kind) {
            Some(FrameKind::PeerWelcome) => take(frame).map(Self::Welcome),
            Some(FrameKind::Refused) => take(frame).map(Self::Refused),
            Some(FrameKind::Ack) => take(frame).map(Self::Ack),
            Some(FrameKind::Heartbeat) => take(frame).map(Self::Heartbeat),
            Some(FrameKind::ReconcileAck) => take(frame).map(Self::ReconcileAck),
            Some(FrameKind::DropAnswer) => take(frame).map(Self::DropAnswer),
            Some(FrameKind::DriftUnequal) => take(frame).map(Self::DriftUnequal),
            Some(FrameKind::DriftFound) => take(frame).map(Self::DriftFound),
            Some(FrameKind::DriftRepaired) => take(frame).map(Self::DriftRepaired),
            _ => Err(unsupported(frame)),
        }
    }
}

/// What an operator's command sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToAdmin {
    /// Begins.
    Hello(admin::Hello),
    /// Asks.
    Request(admin::Request),
}

impl ToAdmin {
    /// Appends the whole frame.
    pub fn encode(&self, request: u64, into: &mut BytesMut) -> Result<(), EncodeError> {
        match self {
            Self::Hello(body) => put_map(FrameKind::AdminHello, request, into, body),
            Self::Request(body) => put_map(FrameKind::AdminRequest, request, into, body),
        }
    }

    /// Reads a frame's body.
    pub fn decode(frame: &RawFrame) -> Result<Self, DecodeError> {
        match FrameKind::from_number(frame.kind) {
            Some(FrameKind::AdminHello) => take(frame).map(Self::Hello),
            Some(FrameKind::AdminRequest) => take(frame).map(Self::Request),
            _ => Err(unsupported(frame)),
        }
    }
}

/// What a relay answers to an operator's command.
#[derive(Debug, Clone, PartialEq)]
pub enum FromAdmin {
    /// Answers the hello.
    Welcome(admin::Welcome),
    /// Answers a request.
    Report(admin::Report),
    /// In place of any answer.
    Refused(Refusal),
}

impl FromAdmin {
    /// Appends the whole frame.
    pub fn encode(&self, request: u64, into: &mut BytesMut) -> Result<(), EncodeError> {
        match self {
            Self::Welcome(body) => put_map(FrameKind::AdminWelcome, request, into, body),
            Self::Report(body) => put_map(FrameKind::AdminReport, request, into, body),
            Self::Refused(body) => put_map(FrameKind::Refused, request, into, body),
        }
    }

    /// Reads a frame's body.
    pub fn decode(frame: &RawFrame) -> Result<Self, DecodeError> {
        match FrameKind::from_number(frame.kind) {
            Some(FrameKind::AdminWelcome) => take(frame).map(Self::Welcome),
            Some(FrameKind::AdminReport) => take(frame).map(Self::Report),
            Some(FrameKind::Refused) => take(frame).map(Self::Refused),
            _ => Err(unsupported(frame)),
        }
    }
}
