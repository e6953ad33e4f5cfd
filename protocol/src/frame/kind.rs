//! The numbers of all frame kinds, in one place. A number never changes meaning; a new meaning gets a new number.

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        /// What a frame is. The high byte tells the conversation: 0 and 1 nodes, 2 and 3 peers, 4 and 5 operators.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum FrameKind { $($(#[$doc])* $name = $number,)* }

        impl FrameKind {
            /// Every kind, by number.
            pub const ALL: &'static [FrameKind] = &[$(FrameKind::$name,)*];
        }
    };
}

kinds! {
    /// [`super::node::Hello`]
    NodeHello = 0x0001;
    /// [`super::node::Request::Get`]
    Get = 0x0010;
    /// [`super::node::Request::Contains`]
    Contains = 0x0011;
    /// [`super::node::Request::GetAll`]
    GetAll = 0x0012;
    /// [`super::node::Request::Write`]
    Write = 0x0013;
    /// [`super::node::Request::PutAll`]
    PutAll = 0x0014;
    /// [`super::node::Request::Clear`]
    Clear = 0x0015;
    /// [`super::node::Request::Size`]
    Size = 0x0016;
    /// [`super::node::Request::List`]
    List = 0x0017;
    /// [`super::node::Request::Ping`]
    Ping = 0x0018;
    /// [`super::node::Subscribe`]
    Subscribe = 0x0020;
    /// A [`crate::error::Refusal`], in any conversation, in place of any answer.
    Refused = 0x0100;
    /// [`super::node::Welcome`]
    NodeWelcome = 0x0101;
    /// The site view, pushed with request id 0.
    SiteView = 0x0102;
    /// The relay view, pushed with request id 0.
    RelayView = 0x0103;
    /// [`super::node::Reply::Entry`]
    Entry = 0x0110;
    /// [`super::node::Reply::Found`]
    Found = 0x0111;
    /// [`super::node::Reply::Entries`]
    Entries = 0x0112;
    /// [`super::node::Reply::Written`]
    Written = 0x0113;
    /// [`super::node::Reply::WrittenAll`]
    WrittenAll = 0x0114;
    /// [`super::node::Reply::Size`]
    SizeIs = 0x0116;
    /// [`super::node::Reply::Page`]
    Page = 0x0117;
    /// [`super::node::Reply::Pong`]
    Pong = 0x0118;
    /// [`super::node::Subscribed`]
    Subscribed = 0x0120;
    /// [`super::node::Event`]
    Event = 0x0121;
    /// [`super::peer::Hello`]
    PeerHello = 0x0201;
    /// [`super::peer::Start`]
    Start = 0x0202;
    /// [`super::peer::Batch`]
    Batch = 0x0203;
    /// [`super::peer::Heartbeat`], in both directions.
    Heartbeat = 0x0204;
    /// [`super::peer::ReconcileBegin`]
    ReconcileBegin = 0x0205;
    /// [`super::peer::ReconcileChunk`]
    ReconcileChunk = 0x0206;
    /// [`super::peer::DropProposal`]
    DropProposal = 0x0207;
    /// [`super::peer::DriftSums`]
    DriftSums = 0x0208;
    /// [`super::peer::DriftPart`]
    DriftPart = 0x0209;
    /// [`super::peer::DriftRepair`]
    DriftRepair = 0x020a;
    /// [`super::peer::DriftEnd`]
    DriftEnd = 0x020b;
    /// [`super::peer::DriftAsk`]
    DriftAsk = 0x020c;
    /// [`super::peer::Welcome`]
    PeerWelcome = 0x0301;
    /// [`super::peer::Ack`]
    Ack = 0x0303;
    /// [`super::peer::ReconcileAck`]
    ReconcileAck = 0x0306;
    /// [`super::peer::DropAnswer`]
    DropAnswer = 0x0307;
    /// [`super::peer::DriftUnequal`]
    DriftUnequal = 0x0308;
    /// [`super::peer::DriftFound`]
    DriftFound = 0x0309;
    /// [`super::peer::DriftRepaired`]
    DriftRepaired = 0x030a;
    /// [`super::admin::Hello`]
    AdminHello = 0x0401;
    /// [`super::admin::Request`]
    AdminRequest = 0x0402;
    /// [`super::admin::Welcome`]
    AdminWelcome = 0x0501;
    /// [`super::admin::Report`]
    AdminReport = 0x0502;
}

impl FrameKind {
    /// The number on the wire.
    pub fn number(self) -> u16 {
        self as u16
    }

    /// The kind of that number.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.number() == number)
    }
}
