//! What the next version adds, as changes of copied files. Wherever a later version's frame kind is sent, the version that
//! was agreed on is asked first: that is what the tests hold the code to.

use super::Edit;

const fn edit(file: &'static str, find: &'static str, put: &'static str) -> Edit {
    Edit { file, find, put }
}

pub(super) const EDITS: &[Edit] = &[
    edit(
        "Cargo.toml",
        r#"members = ["protocol", "relay", "client", "examples", "tests"]"#,
        r#"members = ["protocol", "relay", "client"]"#,
    ),
    edit("Cargo.toml", r#"version = "0.1.0""#, r#"version = "0.2.0""#),
    edit(
        "relay/Cargo.toml",
        r#"name = "landbridge"
path"#,
        r#"name = "landbridge-next"
path"#,
    ),
    edit(
        "protocol/src/frame/versions.rs",
        "pub const PROTOCOL_VERSION: u16 = 2;",
        "pub const PROTOCOL_VERSION: u16 = 3;",
    ),
    edit(
        "protocol/src/frame/kind.rs",
        r"    Ping = 0x0018;
",
        r"    Ping = 0x0018;
    /// New: a read that says where it comes from.
    Peek = 0x0019;
",
    ),
    edit(
        "protocol/src/frame/kind.rs",
        r"    Pong = 0x0118;
",
        r"    Pong = 0x0118;
    /// New: its answer.
    Peeked = 0x0119;
",
    ),
    edit(
        "protocol/src/frame/kind.rs",
        r"    DropProposal = 0x0207;
",
        r"    DropProposal = 0x0207;
    /// New: words from relay to relay.
    Greeting = 0x02f0;
",
    ),
    edit(
        "protocol/src/frame/node.rs",
        r"    pub member: bool,
",
        r"    pub member: bool,
    /// New: a field of a map.
    #[serde(default)]
    pub zone: Option<String>,
",
    ),
    edit(
        "protocol/src/frame/node.rs",
        r"    /// Nothing; shows that the relay answers. Answered by [`Reply::Pong`].
    Ping,
",
        r"    /// Nothing; shows that the relay answers. Answered by [`Reply::Pong`].
    Ping,
    /// New.
    Peek((KeyRef, String)),
",
    ),
    edit(
        "protocol/src/frame/node.rs",
        r"    /// To [`Request::Ping`].
    Pong,
",
        r"    /// To [`Request::Ping`].
    Pong,
    /// New.
    Peeked((Option<Entry>, String)),
",
    ),
    edit(
        "protocol/src/frame/conversation.rs",
        r"                R::Ping => put_array(FrameKind::Ping, request, into, &()),
",
        r"                R::Ping => put_array(FrameKind::Ping, request, into, &()),
                R::Peek(body) => put_array(FrameKind::Peek, request, into, body),
",
    ),
    edit(
        "protocol/src/frame/conversation.rs",
        r"            Some(FrameKind::Ping) => take::<()>(frame).map(|()| R::Ping)?,
",
        r"            Some(FrameKind::Ping) => take::<()>(frame).map(|()| R::Ping)?,
            Some(FrameKind::Peek) => R::Peek(take(frame)?),
",
    ),
    edit(
        "protocol/src/frame/conversation.rs",
        r"                R::Pong => put_array(FrameKind::Pong, request, into, &()),
",
        r"                R::Pong => put_array(FrameKind::Pong, request, into, &()),
                R::Peeked(body) => put_array(FrameKind::Peeked, request, into, body),
",
    ),
    edit(
        "protocol/src/frame/conversation.rs",
        r"            Some(FrameKind::Pong) => take::<()>(frame).map(|()| R::Pong)?,
",
        r"            Some(FrameKind::Pong) => take::<()>(frame).map(|()| R::Pong)?,
            Some(FrameKind::Peeked) => R::Peeked(take(frame)?),
",
    ),
    edit(
        "protocol/src/frame/conversation.rs",
        r"    DropProposal(peer::DropProposal),
",
        r"    DropProposal(peer::DropProposal),
    /// New.
    Greeting(String),
",
    ),
    edit(
        "protocol/src/frame/conversation.rs",
        r"            Self::DropProposal(body) => put_array(FrameKind::DropProposal, 0, into, body),
",
        r"            Self::DropProposal(body) => put_array(FrameKind::DropProposal, 0, into, body),
            Self::Greeting(body) => put_array(FrameKind::Greeting, 0, into, body),
",
    ),
    edit(
        "protocol/src/frame/conversation.rs",
        r"            Some(FrameKind::DropProposal) => take(frame).map(Self::DropProposal),
",
        r"            Some(FrameKind::DropProposal) => take(frame).map(Self::DropProposal),
            Some(FrameKind::Greeting) => take(frame).map(Self::Greeting),
",
    ),
    edit(
        "protocol/src/frame/peer.rs",
        r"    pub filling: bool,
",
        r"    pub filling: bool,
    /// New: a field of a map.
    #[serde(default)]
    pub zone: Option<String>,
",
    ),
    edit(
        "protocol/src/frame/peer.rs",
        r"    /// Hash of all that decides: merge, replicate, sites, atomic.
    pub digest: u64,
",
        r"    /// Hash of all that decides: merge, replicate, sites, atomic.
    pub digest: u64,
    /// New: a field of a map within a map.
    #[serde(default)]
    pub note: Option<String>,
",
    ),
    edit(
        "client/src/session/dial.rs",
        r"        member: settings.member,
",
        r#"        member: settings.member,
        zone: Some("a".to_owned()),
"#,
    ),
    edit(
        "client/src/session/mod.rs",
        r"    pub(crate) async fn request(&self, request: Request) -> Result<Reply, Failure> {
",
        r#"    pub(crate) async fn request(&self, request: Request) -> Result<Reply, Failure> {
        let request = match request {
            Request::Get(of) if self.version >= 3 => Request::Peek((of, "here".to_owned())),
            request => request,
        };
"#,
    ),
    edit(
        "client/src/session/mod.rs",
        r"        Ok(reply)
",
        r"        Ok(match reply {
            Reply::Peeked((entry, _)) => Reply::Entry(entry),
            reply => reply,
        })
",
    ),
    edit(
        "client/src/session/mod.rs",
        r"            Request::Get(key) | Request::Contains(key) => key.key.as_bytes().len(),
",
        r"            Request::Get(key) | Request::Contains(key) => key.key.as_bytes().len(),
            Request::Peek((key, words)) => key.key.as_bytes().len() + words.len(),
",
    ),
    edit(
        "client/src/raw.rs",
        r#"        Reply::Pong => "a pong",
"#,
        r#"        Reply::Pong => "a pong",
        Reply::Peeked(_) => "what was peeked at",
"#,
    ),
    edit(
        "relay/src/engine/introduction.rs",
        r"            filling: !self.core.filled,
",
        r#"            filling: !self.core.filled,
            zone: Some("a".to_owned()),
"#,
    ),
    edit(
        "relay/src/engine/replica.rs",
        r"    pub max_entry_bytes: u32,
",
        r"    pub max_entry_bytes: u32,
    /// New.
    pub note: Option<String>,
",
    ),
    edit(
        "relay/src/engine/digest.rs",
        "digest_with(name, cache.merge, cache.replicate) }",
        "digest_with(name, cache.merge, cache.replicate), note: cache.note.clone() }",
    ),
    edit(
        "relay/src/service/settings.rs",
        r"        max_entry_bytes: u32::try_from(cache.max_entry_bytes.get()).unwrap_or(u32::MAX),
",
        r"        max_entry_bytes: u32::try_from(cache.max_entry_bytes.get()).unwrap_or(u32::MAX),
        note: cache.note.clone(),
",
    ),
    edit(
        "relay/src/config/cache.rs",
        r"    /// Key and value of an entry together, at most.
    pub max_entry_bytes: ByteSize,
",
        r"    /// Key and value of an entry together, at most.
    pub max_entry_bytes: ByteSize,
    /// New: an option of a cache.
    pub note: Option<String>,
",
    ),
    edit(
        "relay/src/config/cache.rs",
        r"            messages: false,
            max_entry_bytes,
",
        r"            messages: false,
            max_entry_bytes,
            note: None,
",
    ),
    edit(
        "relay/src/config/cache.rs",
        r#"    let max_entry_bytes = section.within("max_entry_bytes", max_entry_bytes, ByteSize::new(1)..=ByteSize::mib(8));
"#,
        r#"    let max_entry_bytes = section.within("max_entry_bytes", max_entry_bytes, ByteSize::new(1)..=ByteSize::mib(8));
    let note = section.optional::<Parsed<String>>("note").map(|Parsed(note)| note);
"#,
    ),
    edit(
        "relay/src/config/changes.rs",
        "messages, max_entry_bytes } = cache;",
        "messages, max_entry_bytes, note: _ } = cache;",
    ),
    edit("relay/src/config/cache.rs", "messages, max_entry_bytes })", "messages, max_entry_bytes, note })"),
    edit(
        "relay/src/session/answer.rs",
        r"            Request::Ping => Ok(Reply::Pong),
",
        r#"            Request::Ping => Ok(Reply::Pong),
            Request::Peek((KeyRef { cache, key }, words)) => {
                self.permit(&cache, Access::Read)?;
                tracing::info!("peeked at");
                self.shelf.entry(&cache, &key).map(|entry| Reply::Peeked((entry, words)))
            }
"#,
    ),
    edit(
        "relay/src/session/answer.rs",
        "Request::Clear(_) | Request::Ping => 0,",
        "Request::Clear(_) | Request::Ping | Request::Peek(_) => 0,",
    ),
    edit(
        "relay/src/session/stream.rs",
        r"        Request::Get(of) | Request::Contains(of) => &of.cache,
",
        r"        Request::Get(of) | Request::Contains(of) | Request::Peek((of, _)) => &of.cache,
",
    ),
    edit(
        "relay/src/metrics/handles.rs",
        r"            Request::Get(_) => Operation::Get,
",
        r"            Request::Get(_) | Request::Peek(_) => Operation::Get,
",
    ),
    edit(
        "relay/src/engine/link/sender/handshake.rs",
        r"        self.out.push_back(send(SenderToReceiver::Start(Start { after })));
",
        r#"        self.out.push_back(send(SenderToReceiver::Start(Start { after })));
        if self.spoken.as_ref().is_some_and(|(version, _)| *version >= 3) {
            self.out.push_back(send(SenderToReceiver::Greeting("good day".to_owned())));
        }
"#,
    ),
    edit(
        "relay/src/link/receiving/conversation.rs",
        r"            SenderToReceiver::Hello(_) | SenderToReceiver::Start(_) => {
",
        r#"            SenderToReceiver::Greeting(words) => {
                tracing::info!(peer = %self.peer.site, "greeted: {words}");
                return Ok(());
            }
            SenderToReceiver::Hello(_) | SenderToReceiver::Start(_) => {
"#,
    ),
];
