//! A frame of each kind.

use bytes::BytesMut;
use landbridge_protocol::{
    blob::Blob,
    error::{ErrorCode, Refusal},
    frame::{
        DRIFT_BUCKETS, DecodeError, FrameCodec, FrameKind, FromAdmin, MAX_FRAME_BYTES, NodeToRelay, RawFrame,
        ReceiverToSender, RelayToNode, SenderToReceiver, ToAdmin, admin, node, peer,
    },
};
use tokio_util::codec::Decoder;

use super::draw::Draw;

/// A frame of any conversation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Frame {
    FromNode(NodeToRelay),
    ToNode(RelayToNode),
    FromSender(SenderToReceiver),
    FromReceiver(ReceiverToSender),
    ToAdmin(ToAdmin),
    FromAdmin(FromAdmin),
}

/// The decoders, each with its name.
pub(crate) type Decode = fn(&RawFrame) -> Result<Frame, DecodeError>;
pub(crate) const DECODERS: [Decode; 6] = [
    |raw| NodeToRelay::decode(raw).map(Frame::FromNode),
    |raw| RelayToNode::decode(raw).map(Frame::ToNode),
    |raw| SenderToReceiver::decode(raw).map(Frame::FromSender),
    |raw| ReceiverToSender::decode(raw).map(Frame::FromReceiver),
    |raw| ToAdmin::decode(raw).map(Frame::ToAdmin),
    |raw| FromAdmin::decode(raw).map(Frame::FromAdmin),
];

impl Frame {
    pub(crate) fn bytes(&self, request: u64) -> BytesMut {
        let mut into = BytesMut::new();
        match self {
            Self::FromNode(frame) => frame.encode(request, &mut into),
            Self::ToNode(frame) => frame.encode(request, &mut into),
            Self::FromSender(frame) => frame.encode(&mut into),
            Self::FromReceiver(frame) => frame.encode(&mut into),
            Self::ToAdmin(frame) => frame.encode(request, &mut into),
            Self::FromAdmin(frame) => frame.encode(request, &mut into),
        }
        .unwrap();
        into
    }

    /// As the codec cuts it from a stream.
    pub(crate) fn raw(&self, request: u64) -> RawFrame {
        FrameCodec::new(MAX_FRAME_BYTES).decode(&mut self.bytes(request)).unwrap().unwrap()
    }

    pub(crate) fn decoder(&self) -> Decode {
        DECODERS[match self {
            Self::FromNode(_) => 0,
            Self::ToNode(_) => 1,
            Self::FromSender(_) => 2,
            Self::FromReceiver(_) => 3,
            Self::ToAdmin(_) => 4,
            Self::FromAdmin(_) => 5,
        }]
    }
}

/// A frame of that kind. The match is exhaustive: a new kind must have its sample here.
pub(crate) fn sample(kind: FrameKind, d: &mut Draw) -> Frame {
    use FrameKind as K;
    match kind {
        K::NodeHello | K::Subscribe => Frame::FromNode(from_node(kind, d)),
        K::Get | K::Contains | K::GetAll | K::Write | K::PutAll | K::Clear | K::Size | K::List | K::Ping => {
            Frame::FromNode(NodeToRelay::Request(request(kind, d)))
        }
        K::Entry | K::Found | K::Entries | K::Written | K::WrittenAll | K::SizeIs | K::Page | K::Pong => {
            Frame::ToNode(RelayToNode::Reply(reply(kind, d)))
        }
        K::Refused => Frame::ToNode(RelayToNode::Refused(refusal(d))),
        K::NodeWelcome => Frame::ToNode(RelayToNode::Welcome(node::Welcome {
            version: 1,
            site: d.site(),
            run: d.run(),
            clock: d.clock(),
            max_frame_bytes: d.small(),
            site_view: view(d),
            relay_view: view(d),
        })),
        K::SiteView => Frame::ToNode(RelayToNode::SiteView(view(d))),
        K::RelayView => Frame::ToNode(RelayToNode::RelayView(view(d))),
        K::Subscribed => Frame::ToNode(RelayToNode::Subscribed(node::Subscribed { token: d.bytes() })),
        K::Event => Frame::ToNode(RelayToNode::Event(event(d))),
        K::PeerHello | K::Start | K::Batch | K::Heartbeat | K::ReconcileBegin | K::ReconcileChunk | K::DropProposal => {
            Frame::FromSender(from_sender(kind, d))
        }
        K::DriftSums | K::DriftPart | K::DriftRepair | K::DriftEnd | K::DriftAsk => Frame::FromSender(drift(kind, d)),
        K::PeerWelcome | K::Ack | K::ReconcileAck | K::DropAnswer => Frame::FromReceiver(from_receiver(kind, d)),
        K::DriftUnequal | K::DriftFound | K::DriftRepaired => Frame::FromReceiver(from_receiver(kind, d)),
        K::AdminHello => Frame::ToAdmin(ToAdmin::Hello(admin::Hello {
            version_min: 1,
            version_max: 2,
            site: d.site(),
            software: d.text(),
        })),
        K::AdminRequest => {
            let peer = d.site();
            Frame::ToAdmin(ToAdmin::Request(match d.below(7) {
                0 => admin::Request::Status,
                4 => admin::Request::Backup,
                1 => admin::Request::TakeOffline { peer },
                2 => admin::Request::BringOnline { peer },
                5 => reload_asked(d),
                6 => drift_asked(d),
                _ => conflicts_asked(d),
            }))
        }
        K::AdminWelcome => Frame::FromAdmin(FromAdmin::Welcome(admin::Welcome { version: 1, site: d.site() })),
        K::AdminReport => Frame::FromAdmin(FromAdmin::Report(report(d))),
    }
}

pub(crate) fn refusal(d: &mut Draw) -> Refusal {
    Refusal::new(d.one_of(ErrorCode::ALL), d.text())
}

fn view(d: &mut Draw) -> node::View {
    node::View { number: d.number(), members: d.many(4, |d| d.node().to_string()) }
}

fn entry(d: &mut Draw) -> node::Entry {
    node::Entry { key: d.key(), version: d.version(), deadline: d.maybe(Draw::wall), value: d.bytes() }
}

fn from_node(kind: FrameKind, d: &mut Draw) -> NodeToRelay {
    if kind == FrameKind::Subscribe {
        let from = d.maybe(|d| landbridge_protocol::blob::Blob(d.resume().to_bytes()));
        return NodeToRelay::Subscribe(node::Subscribe { cache: d.cache(), from, snapshot: d.coin() });
    }
    NodeToRelay::Hello(node::Hello {
        version_min: 1,
        version_max: 3,
        site: d.site(),
        home: d.site(),
        node: d.node(),
        member: d.coin(),
        software: d.text(),
    })
}

fn request(kind: FrameKind, d: &mut Draw) -> node::Request {
    use node::{Operation as O, Request as R};
    let operations = [O::Put, O::PutIfAbsent, O::Replace, O::ReplaceIfVersion, O::Remove, O::RemoveIfVersion];
    match kind {
        FrameKind::Get => R::Get(node::KeyRef { cache: d.cache(), key: d.key() }),
        FrameKind::Contains => R::Contains(node::KeyRef { cache: d.cache(), key: d.key() }),
        FrameKind::GetAll => R::GetAll(node::GetAll { cache: d.cache(), keys: d.many(5, Draw::key) }),
        FrameKind::Write => R::Write(node::Write {
            operation: d.one_of(&operations),
            cache: d.cache(),
            key: d.key(),
            expected: d.maybe(Draw::version),
            lifespan: d.maybe(Draw::span),
            max_idle: d.maybe(Draw::span),
            token: d.token(),
            retry: d.maybe(Draw::clock),
            return_previous: d.coin(),
            value: d.bytes(),
        }),
        FrameKind::PutAll => R::PutAll(node::PutAll {
            cache: d.cache(),
            lifespan: d.maybe(Draw::span),
            token: d.token(),
            retry: d.maybe(Draw::clock),
            entries: d.many(5, |d| (d.key(), landbridge_protocol::blob::Blob(d.bytes()))),
        }),
        FrameKind::Clear => R::Clear(node::Clear { cache: d.cache(), token: d.token(), retry: d.maybe(Draw::clock) }),
        FrameKind::Size => R::Size(node::CacheRef { cache: d.cache() }),
        FrameKind::List => R::List(node::List {
            cache: d.cache(),
            prefix: d.bytes(),
            after: d.maybe(Draw::key),
            limit: d.small(),
            values: d.coin(),
        }),
        _ => R::Ping,
    }
}

fn reply(kind: FrameKind, d: &mut Draw) -> node::Reply {
    use node::Reply as R;
    match kind {
        FrameKind::Entry => R::Entry(d.maybe(entry)),
        FrameKind::Found => R::Found(d.coin()),
        FrameKind::Entries => R::Entries(d.many(4, entry)),
        FrameKind::Written => R::Written(node::Outcome {
            done: d.coin(),
            version: d.maybe(Draw::version),
            existed: d.coin(),
            previous: d.maybe(entry),
        }),
        FrameKind::WrittenAll => R::WrittenAll(d.many(4, Draw::version)),
        FrameKind::SizeIs => R::Size(d.number()),
        FrameKind::Page => R::Page(node::Page { entries: d.many(4, entry), more: d.coin() }),
        _ => R::Pong,
    }
}

fn event(d: &mut Draw) -> node::Event {
    use node::EventKind as E;
    node::Event {
        kind: d.one_of(&[E::Gap, E::Created, E::Modified, E::Removed, E::Expired, E::Cleared, E::SnapshotEnd]),
        key: d.maybe(Draw::key),
        version: d.maybe(Draw::version),
        birth: d.maybe(Draw::version),
        node: d.maybe(Draw::node),
        deadline: d.maybe(Draw::wall),
        token: d.resume().to_bytes(),
        value: d.bytes(),
    }
}

pub(crate) fn introduction(d: &mut Draw) -> peer::Introduction {
    peer::Introduction {
        version_min: 1,
        version_max: 2,
        site: d.site(),
        run: d.run(),
        wall: d.wall(),
        seen: d.vector(5),
        dropped: d.vector(5),
        head: d.sequence(),
        runs: d.many(3, Draw::origin),
        caches: d.many(3, |d| peer::CacheDigest { cache: d.cache(), merge: d.merge(), digest: d.number() }),
        filling: d.coin(),
        lacks: d.many(3, |d| (d.site(), d.cache())),
        software: d.text(),
        sites: d.many(3, Draw::site),
        former_sites: d.many(3, Draw::site),
    }
}

fn from_sender(kind: FrameKind, d: &mut Draw) -> SenderToReceiver {
    use SenderToReceiver as S;
    match kind {
        FrameKind::PeerHello => S::Hello(peer::Hello { sender: introduction(d), to: d.site() }),
        FrameKind::Start => S::Start(peer::Start { after: d.through() }),
        FrameKind::Batch => S::Batch(peer::Batch {
            after: d.through(),
            through: d.through(),
            vector: d.vector(5),
            caught_up: d.coin(),
            runs: d.many(3, Draw::origin),
            records: d.many(12, Draw::record),
        }),
        FrameKind::Heartbeat => {
            S::Heartbeat(peer::Heartbeat { wall: d.wall(), past: d.wall(), echo: d.wall(), seen: d.vector(5) })
        }
        FrameKind::ReconcileBegin => {
            S::ReconcileBegin(peer::ReconcileBegin { seen: d.vector(5), dropped: d.vector(5), head: d.sequence() })
        }
        FrameKind::ReconcileChunk => {
            let place = |d: &mut Draw| peer::Place { cache: d.cache(), key: d.maybe(Draw::key) };
            S::ReconcileChunk(peer::ReconcileChunk {
                after: d.maybe(place),
                through: d.maybe(place),
                records: d.many(12, Draw::record),
            })
        }
        _ => S::DropProposal(peer::DropProposal {
            round: d.number(),
            isolated: d.site(),
            dropped: d.vector(5),
            isolated_seen: d.vector(5),
        }),
    }
}

fn drift(kind: FrameKind, d: &mut Draw) -> SenderToReceiver {
    use SenderToReceiver as S;
    match kind {
        FrameKind::DriftSums => {
            S::DriftSums(peer::DriftSums { cache: d.cache(), sums: d.many(DRIFT_BUCKETS, Draw::number) })
        }
        FrameKind::DriftPart => S::DriftPart(peer::DriftPart {
            cache: d.cache(),
            seen: d.vector(5),
            checksums: d.many(12, Draw::small),
            records: d.many(12, Draw::record),
        }),
        FrameKind::DriftRepair => {
            let (cache, seen) = (d.cache(), d.vector(5));
            S::DriftRepair(peer::DriftRepair { cache, seen, records: d.many(12, Draw::record) })
        }
        FrameKind::DriftEnd => S::DriftEnd(peer::DriftEnd { ask: d.number(), cache: d.maybe(Draw::cache) }),
        _ => S::DriftAsk(peer::DriftAsk { ask: d.number(), cache: d.maybe(Draw::cache), repair: d.coin() }),
    }
}

fn from_receiver(kind: FrameKind, d: &mut Draw) -> ReceiverToSender {
    use ReceiverToSender as R;
    match kind {
        FrameKind::PeerWelcome => R::Welcome(peer::Welcome {
            version: 1,
            receiver: introduction(d),
            cursor: d.maybe(Draw::cursor),
            cursor_digest: d.number(),
        }),
        FrameKind::Ack => R::Ack(peer::Ack { through: d.through() }),
        FrameKind::DriftUnequal => {
            let buckets = d.many(DRIFT_BUCKETS, |d| d.small() as u8);
            R::DriftUnequal(peer::DriftUnequal { buckets, left_out: d.maybe(Draw::text) })
        }
        FrameKind::DriftFound => {
            let finding = |d: &mut Draw| peer::DriftFinding { at: d.small(), held: d.maybe(Draw::version) };
            R::DriftFound(peer::DriftFound { findings: d.many(12, finding), left_out: d.maybe(Draw::text) })
        }
        FrameKind::DriftRepaired => R::DriftRepaired(peer::DriftRepaired { taken: d.small() }),
        FrameKind::ReconcileAck => R::ReconcileAck(peer::ReconcileAck { done: d.coin() }),
        _ => R::DropAnswer(peer::DropAnswer { round: d.number(), agreed: d.coin(), isolated_seen: d.vector(5) }),
    }
}

fn link(d: &mut Draw) -> admin::LinkReport {
    admin::LinkReport {
        peer: d.site(),
        address: "127.0.0.1:13232".into(),
        state: "streaming".into(),
        detail: d.text(),
        incoming: d.coin(),
        lag_changes: d.number(),
        lag_seconds: f64::from(d.small()) / 8.0,
        skew_ms: d.maybe(|d| -i64::from(d.small())),
        version: d.maybe(|d| d.small() as u16),
        software: d.maybe(|d| d.text()),
        differences: d.many(3, Draw::text),
        drift: d.maybe(|d| {
            Box::new(admin::DriftSummary {
                checked: d.maybe(Draw::wall),
                why_not: d.maybe(Draw::text),
                there: d.many(3, |d| (d.cache(), d.number())),
                here: d.many(3, |d| (d.cache(), d.number())),
            })
        }),
    }
}

pub(crate) fn drift_asked(d: &mut Draw) -> admin::Request {
    admin::Request::Drift { peer: d.maybe(Draw::site), cache: d.maybe(Draw::cache), repair: d.coin(), begin: d.coin() }
}

pub(crate) fn drift_told(d: &mut Draw) -> admin::Drift {
    let cache = |d: &mut Draw| admin::DriftCache {
        cache: d.cache(),
        found: d.number(),
        repaired: d.number(),
        left_out: d.maybe(Draw::text),
    };
    let record = |d: &mut Draw| admin::DriftRecord {
        cache: d.cache(),
        key: d.maybe(Draw::key),
        kind: "live".into(),
        version: d.version().to_string(),
        holds: "older".into(),
        held: d.maybe(|d| d.version().to_string()),
    };
    let side = |d: &mut Draw| admin::DriftSide {
        asked: d.number(),
        checked: d.maybe(Draw::wall),
        caches: d.many(3, cache),
        records: d.many(3, record),
    };
    let link = |d: &mut Draw| admin::LinkDrift {
        peer: d.site(),
        asked: d.number(),
        why_not: d.maybe(Draw::text),
        why_not_here: d.maybe(Draw::text),
        there: side(d),
        here: side(d),
    };
    admin::Drift { links: d.many(3, link) }
}

pub(crate) fn conflicts_asked(d: &mut Draw) -> admin::Request {
    admin::Request::Conflicts { cache: d.maybe(Draw::cache), after: d.number(), limit: d.small() }
}

pub(crate) fn conflicts(d: &mut Draw) -> admin::Conflicts {
    let side = |d: &mut Draw| admin::ConflictRecord {
        kind: "live".into(),
        version: d.origin().to_string(),
        birth: d.origin().to_string(),
        node: d.maybe(Draw::node),
        deadline: d.maybe(Draw::wall),
        context: d.many(3, |d| (d.origin().to_string(), d.number())),
        value: Blob(d.key().into_bytes()),
        value_bytes: d.number(),
    };
    let conflict = |d: &mut Draw| admin::ConflictReport {
        number: d.number(),
        at: d.wall(),
        cache: d.cache(),
        key: d.key(),
        merge: "latest".into(),
        because: "later".into(),
        peer: d.site(),
        winner: d.maybe(side),
        loser: side(d),
    };
    admin::Conflicts { conflicts: d.many(3, conflict), more_after: d.maybe(Draw::number) }
}

pub(crate) fn backup_part(d: &mut Draw) -> admin::BackupPart {
    admin::BackupPart { bytes: Blob(d.bytes()), through: d.number(), head: d.number(), last: d.coin() }
}

pub(crate) fn reload_asked(d: &mut Draw) -> admin::Request {
    admin::Request::Reload { file: d.maybe(Draw::text) }
}

pub(crate) fn reloaded(d: &mut Draw) -> admin::Reloaded {
    admin::Reloaded { file: d.text(), changes: d.many(3, Draw::text), warnings: d.many(3, Draw::text) }
}

fn report(d: &mut Draw) -> admin::Report {
    match d.below(8) {
        0 => return admin::Report::Link(link(d)),
        4 => return admin::Report::Conflicts(conflicts(d)),
        5 => return admin::Report::Backup(backup_part(d)),
        6 => return admin::Report::Reloaded(reloaded(d)),
        7 => return admin::Report::Drift(drift_told(d)),
        _ => {}
    }
    admin::Report::Status(Box::new(admin::Status {
        site: d.site(),
        origin: d.origin().to_string(),
        software: d.text(),
        ready: d.coin(),
        not_ready_because: d.maybe(Draw::text),
        head: d.number(),
        uptime_ms: d.number(),
        log_live_bytes: d.number(),
        log_dead_bytes: d.number(),
        seen: d.many(3, |d| (d.origin().to_string(), d.number())),
        dropped: d.many(3, |d| (d.origin().to_string(), d.number())),
        sessions: d.many(3, |d| admin::SessionReport {
            node: d.node(),
            site: d.site(),
            member: d.coin(),
            address: "127.0.0.1:40000".into(),
            subscriptions: d.small(),
            connected_ms: d.number(),
        }),
        links: d.many(3, link),
        caches: d.many(3, |d| admin::CacheReport {
            name: d.cache(),
            merge: "remove_wins".into(),
            replicate: "async".into(),
            entries: d.number(),
            tombstones: d.number(),
            bytes: d.number(),
            conflicts: d.number(),
        }),
        site_view: d.text(),
        relay_view: d.text(),
        former_sites: d.many(3, Draw::site),
        certificates: d.many(3, |d| admin::CertificateReport {
            certificate: "trust_nodes".into(),
            site: d.site(),
            ends: d.wall(),
        }),
        warnings: d.many(3, Draw::text),
    }))
}
