//! A relay small enough to misbehave on demand: one map, no durability, answers in order or not at all.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
};

use bytes::{Bytes, BytesMut};
use landbridge_client::{Client, ClientBuilder, Identity};
use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::{
        ALPN_NODE, FrameCodec, MAX_FRAME_BYTES, NodeToRelay, RelayToNode,
        node::{self, EventKind, Operation, Outcome, Reply, Request, View},
    },
    name::SiteName,
    record::{Key, WriteToken},
    version::{Clock, Origin, RunId, Version},
};
use quinn::{Connection, Endpoint, RecvStream, SendStream, crypto::rustls::QuicServerConfig};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::PrivateKeyDer;
use tokio::sync::watch;
use tokio_util::codec::FramedRead;

/// A certificate authority, and what it has signed for a relay and a node of `site1` and `site2`.
pub(crate) struct Certificates {
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { ca: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        (CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.ca).unwrap(), key)
    }

    pub(crate) fn node(&self) -> Identity {
        let (certificate, key) = self.sign("node11");
        Identity::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes(), self.ca.pem().as_bytes())
            .unwrap()
    }

    fn server(&self, site: &str) -> quinn::ServerConfig {
        let (certificate, key) = self.sign(site);
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.ca.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let nodes =
            rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(nodes.unwrap())
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        config.alpn_protocols = vec![ALPN_NODE.to_vec()];
        quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(config).unwrap()))
    }
}

/// What the relay does with the next request that it would answer.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Does it, and cuts the connection instead of answering.
    CutAfterDoing,
    /// Refuses it.
    Refuse(Refusal),
}

#[derive(Default)]
struct Store {
    entries: BTreeMap<Key, node::Entry>,
    /// What each write was answered, and with which `retry` its tries came.
    written: HashMap<WriteToken, Outcome>,
    retries: Vec<Option<Clock>>,
    clock: u64,
    log: Vec<node::Event>,
    faults: Vec<Fault>,
    connections: Vec<Connection>,
    subscribes: Vec<node::Subscribe>,
}

/// A running relay.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) site: SiteName,
    pub(crate) address: SocketAddr,
    endpoint: Endpoint,
    store: Arc<Mutex<Store>>,
    head: Arc<watch::Sender<usize>>,
}

impl Peer {
    pub(crate) fn start(certificates: &Certificates, site: &str) -> Self {
        let endpoint = Endpoint::server(certificates.server(site), ([127, 0, 0, 1], 0).into()).unwrap();
        let address = endpoint.local_addr().unwrap();
        let head = Arc::new(watch::channel(0).0);
        let site = SiteName::new(site).unwrap();
        let peer = Self {
            site,
            address,
            endpoint,
            store: Arc::new(Mutex::new(Store { clock: 1000, ..Store::default() })),
            head,
        };
        tokio::spawn(peer.clone().accept());
        peer
    }

    /// A client's builder, with this relay as its home.
    pub(crate) fn client(&self, certificates: &Certificates) -> ClientBuilder {
        Client::builder().site(self.site.as_str()).node("node11").relay(self.address).identity(certificates.node())
    }

    pub(crate) fn fail_next(&self, fault: Fault) {
        self.store.lock().unwrap().faults.push(fault);
    }

    /// Closes every connection, as a relay that refuses them for this reason.
    pub(crate) fn cut(&self, code: ErrorCode) {
        for connection in self.store.lock().unwrap().connections.drain(..) {
            connection.close(u32::from(code.number()).into(), b"cut by the test");
        }
    }

    /// Takes no further connection, and closes those that are.
    pub(crate) fn stop(&self) {
        self.endpoint.close(u32::from(ErrorCode::ShuttingDown.number()).into(), b"stopped by the test");
    }

    /// The `retry` of every write that came in.
    pub(crate) fn retries(&self) -> Vec<Option<Clock>> {
        self.store.lock().unwrap().retries.clone()
    }

    /// The `from` of every subscription that came in.
    pub(crate) fn subscribed_from(&self) -> Vec<Option<Bytes>> {
        self.store.lock().unwrap().subscribes.iter().map(|s| s.from.clone().map(|blob| blob.0)).collect()
    }

    async fn accept(self) {
        while let Some(incoming) = self.endpoint.accept().await {
            let peer = self.clone();
            tokio::spawn(async move {
                let Ok(connection) = incoming.await else { return };
                peer.store.lock().unwrap().connections.push(connection.clone());
                while let Ok((send, recv)) = connection.accept_bi().await {
                    tokio::spawn(peer.clone().serve(connection.clone(), send, recv));
                }
            });
        }
    }

    async fn serve(self, connection: Connection, mut send: SendStream, recv: RecvStream) {
        let mut frames = FramedRead::new(recv, FrameCodec::new(MAX_FRAME_BYTES));
        let next = |frames: &mut FramedRead<RecvStream, FrameCodec>, cx: &mut std::task::Context<'_>| {
            futures_core::Stream::poll_next(Pin::new(frames), cx)
        };
        while let Some(Ok(frame)) = std::future::poll_fn(|cx| next(&mut frames, cx)).await {
            let reply = match NodeToRelay::decode(&frame).unwrap() {
                NodeToRelay::Hello(_) => RelayToNode::Welcome(self.welcome()),
                NodeToRelay::Subscribe(subscribe) => return self.tell(send, subscribe).await,
                NodeToRelay::Request(request) => match self.answer(request) {
                    Some(reply) => reply,
                    None => return connection.close(0_u32.into(), b"cut by the test"),
                },
            };
            if say(&mut send, frame.request, &reply).await.is_err() {
                return;
            }
        }
        // The views would follow here; the stream stays open until the client lets go of it.
        let _ = send.stopped().await;
    }

    fn welcome(&self) -> node::Welcome {
        let view = |members: &[&str]| View { number: 0, members: members.iter().map(|m| (*m).to_owned()).collect() };
        node::Welcome {
            version: 1,
            site: self.site,
            run: RunId(1),
            clock: Clock::from_bits(self.store.lock().unwrap().clock),
            max_frame_bytes: 2 << 20,
            site_view: view(&["node11", "node12"]),
            relay_view: view(&[self.site.as_str()]),
        }
    }

    /// Events from the token's place on, as they come.
    async fn tell(self, mut send: SendStream, subscribe: node::Subscribe) {
        let mut head = self.head.subscribe();
        let now = *head.borrow_and_update();
        let mut at = match &subscribe.from {
            Some(token) => std::str::from_utf8(&token.0).unwrap().parse().unwrap(),
            None => now,
        };
        self.store.lock().unwrap().subscribes.push(subscribe);
        let token = Bytes::from(at.to_string());
        let mut message = RelayToNode::Subscribed(node::Subscribed { token });
        loop {
            if say(&mut send, 1, &message).await.is_err() {
                return;
            }
            while at == self.store.lock().unwrap().log.len() {
                if head.changed().await.is_err() {
                    return;
                }
            }
            message = RelayToNode::Event(self.store.lock().unwrap().log[at].clone());
            at += 1;
        }
    }

    /// `None`: the connection is cut.
    fn answer(&self, request: Request) -> Option<RelayToNode> {
        let mut store = self.store.lock().unwrap();
        let fault = store.faults.pop();
        if let Some(Fault::Refuse(refusal)) = fault {
            return Some(RelayToNode::Refused(refusal));
        }
        let reply = match request {
            Request::Get(get) => Reply::Entry(store.entries.get(&get.key).cloned()),
            Request::Write(write) => Reply::Written(store.write(self.site, write)),
            Request::PutAll(put) => Reply::WrittenAll(put.entries.iter().map(|_| store.version(self.site)).collect()),
            Request::List(list) => Reply::Page(store.page(&list)),
            Request::Size(_) => Reply::Size(store.entries.len() as u64),
            other => panic!("the test relay does not know {other:?}"),
        };
        self.head.send_replace(store.log.len());
        if matches!(fault, Some(Fault::CutAfterDoing)) { None } else { Some(RelayToNode::Reply(reply)) }
    }
}

impl Store {
    fn version(&mut self, site: SiteName) -> Version {
        self.clock += 1;
        Version { clock: Clock::from_bits(self.clock), origin: Origin { site, run: RunId(1) } }
    }

    fn page(&self, list: &node::List) -> node::Page {
        let after = |key: &Key| list.after.as_ref().is_none_or(|after| key > after);
        let mut found = self.entries.values().filter(|entry| after(&entry.key));
        let entries: Vec<_> = found.by_ref().take(list.limit as usize).cloned().collect();
        node::Page { entries, more: found.next().is_some() }
    }

    fn write(&mut self, site: SiteName, write: node::Write) -> Outcome {
        self.retries.push(write.retry);
        if let Some(outcome) = self.written.get(&write.token) {
            assert!(write.retry.is_some(), "a token came twice, and the second does not say that it is a retry");
            return outcome.clone();
        }
        let present = self.entries.get(&write.key).cloned();
        let holds = match write.operation {
            Operation::Put | Operation::Remove => true,
            Operation::PutIfAbsent => present.is_none(),
            Operation::Replace => present.is_some(),
            Operation::ReplaceIfVersion | Operation::RemoveIfVersion => {
                present.as_ref().map(|entry| entry.version) == write.expected
            }
        };
        let version = holds.then(|| self.version(site));
        let outcome = Outcome { done: holds, version, existed: present.is_some(), previous: present };
        if let Some(version) = version {
            self.apply(&write, version, outcome.existed);
        }
        self.written.insert(write.token, outcome.clone());
        outcome
    }

    fn apply(&mut self, write: &node::Write, version: Version, existed: bool) {
        let kind = match (write.operation, existed) {
            (Operation::Remove | Operation::RemoveIfVersion, _) => EventKind::Removed,
            (_, true) => EventKind::Modified,
            (_, false) => EventKind::Created,
        };
        let (key, value) = (write.key.clone(), write.value.clone());
        match kind {
            EventKind::Removed => drop(self.entries.remove(&key)),
            _ => {
                drop(self.entries.insert(
                    key.clone(),
                    node::Entry { key: key.clone(), version, deadline: None, value: value.clone() },
                ))
            }
        }
        let token = Bytes::from((self.log.len() + 1).to_string());
        self.log.push(node::Event {
            kind,
            key: Some(key),
            version: Some(version),
            birth: None,
            node: None,
            deadline: None,
            token,
            value,
        });
    }
}

async fn say(send: &mut SendStream, request: u64, message: &RelayToNode) -> Result<(), quinn::WriteError> {
    let mut bytes = BytesMut::new();
    message.encode(request, &mut bytes).unwrap();
    send.write_all(&bytes).await
}
