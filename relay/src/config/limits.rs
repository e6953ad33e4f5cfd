//! Every bound of the relay and every number of replication, each named once with its default and its range.

use landbridge_protocol::{frame::MAX_REQUEST_KEYS, time::Millis};

use super::{
    reader::Section,
    units::{ByteSize, OrOff},
};

/// Declares a struct of settings: each field with its default and the range that it may lie in.
macro_rules! settings {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty = $default:expr, $range:expr;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name { $($(#[$field_doc])* pub $field: $kind,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $name {
            pub(super) fn read(section: &mut Section<'_, '_>) -> Self {
                Self { $($field: section.within(stringify!($field), $default, $range),)* }
            }
        }
    };
}

const fn ms(count: u64) -> Millis {
    Millis::new(count)
}

const fn secs(count: u64) -> Millis {
    Millis::from_secs(count)
}

const fn days(count: u64) -> Millis {
    Millis::from_secs(count * 86_400)
}

settings! {
    /// `[limits]`: what one connection, one request or the relay as a whole may take.
    Limits {
        /// Key and value of an entry together, at most, in caches that don't say their own. Binds what nodes write, never
        /// what peers send.
        max_entry_bytes: ByteSize = ByteSize::mib(1), ByteSize::new(1)..=ByteSize::mib(8);
        /// Frame at most, either way. A larger one costs its sender the connection.
        max_frame_bytes: ByteSize = ByteSize::mib(4), ByteSize::kib(64)..=ByteSize::mib(16);
        /// Handshakes under way at once; further ones wait in the kernel or are dropped, and their senders try again.
        max_handshakes: usize = 256, 1..=65_536;
        /// Sessions of nodes and commands at once.
        max_sessions: usize = 1024, 1..=65_536;
        /// Of those, sessions with one certificate: who holds one can't keep out the others. Nodes may share a certificate.
        max_sessions_per_certificate: usize = 512, 1..=65_536;
        /// Connections that each peer may have to this relay; one more ends the oldest. Few are in use: of the others the
        /// relay has not yet noticed that they are gone.
        max_connections_per_peer: usize = 8, 1..=64;
        /// Streams that a peer's connection may have open: the one in use, and those that are ending.
        max_peer_streams: usize = 4, 2..=64;
        /// Commands of a peer's stream that wait for the writer; more is left unread until some are decided.
        max_peer_commands: usize = 16, 1..=1024;
        /// Answers to a peer that wait to be written; a peer that leaves more unread loses the stream.
        max_peer_answers: usize = 1024, 16..=65_536;
        /// Operators' connections at once; a command is one.
        max_operators: usize = 32, 1..=1024;
        /// An operator's connection on which an answer, or a part of a backup, is not read for so long is closed: while a
        /// backup is made the log grows.
        operator_timeout: Millis = secs(60), secs(1)..=secs(3600);
        /// Connections to the HTTP port at once; further ones wait in the kernel.
        max_http_connections: usize = 64, 1..=4096;
        /// A connection to the HTTP port is closed when it is so old, whatever it does.
        max_http_age: Millis = secs(60), secs(1)..=secs(3600);
        /// Streams that one connection may have open: its requests' and its subscriptions'.
        max_streams: usize = 256, 4..=4096;
        /// Subscriptions of one session.
        max_subscriptions: usize = 128, 1..=4096;
        /// Requests of one session that wait for their answers; more are left unread until some are answered.
        max_requests: usize = 4096, 1..=1_048_576;
        /// Answers of one stream that wait to be written; then its requests wait.
        max_unwritten_answers: usize = 256, 1..=65_536;
        /// Bytes of one session's requests under way and of its answers that are not written yet, about; more is left unread.
        /// As many again for its frames that have come in part; a session with more of those is ended.
        max_session_bytes: ByteSize = ByteSize::mib(32), ByteSize::kib(256)..=ByteSize::mib(1024);
        /// Commands that wait for the writer; who brings one more waits for a place.
        max_inbox: usize = 16_384, 16..=1_048_576;
        /// Commands that one commit may hold.
        max_commit_commands: usize = 1024, 1..=65_536;
        /// Bytes of records after which a commit is closed.
        max_commit_bytes: ByteSize = ByteSize::mib(4), ByteSize::kib(64)..=ByteSize::mib(64);
        /// Entries in one answer to a listing; the next begins where it ended. Keys, or puts, in one request.
        max_list_entries: usize = 1000, 1..=MAX_REQUEST_KEYS;
        /// Conflicts that the conflict log keeps, with both records and at most 64 KiB of each value; the oldest go first.
        max_conflicts: usize = 1000, 1..=1_000_000;
        /// Bytes that a stream may have on the way to this relay.
        stream_window_bytes: ByteSize = ByteSize::mib(1), ByteSize::kib(64)..=ByteSize::mib(64);
        /// Bytes that a connection may have on the way to this relay.
        connection_window_bytes: ByteSize = ByteSize::mib(8), ByteSize::kib(64)..=ByteSize::mib(256);
        /// Bytes that a connection keeps until the other side has acknowledged them.
        send_window_bytes: ByteSize = ByteSize::mib(8), ByteSize::kib(64)..=ByteSize::mib(256);
        /// A connection on which nothing has been heard for so long is closed.
        idle_timeout: Millis = secs(10), secs(1)..=secs(600);
        /// A connection on which nothing has been sent for so long sends a sign of life.
        keep_alive: Millis = secs(3), ms(100)..=secs(300);
        /// A connection that has not said hello for so long is closed.
        hello_timeout: Millis = secs(5), ms(100)..=secs(60);
        /// How long a relay that shuts down waits for what is under way.
        drain_timeout: Millis = secs(10), ms(100)..=secs(600);
    }
}

settings! {
    /// `[replication]`: how links behave, and what is kept for peers that are away.
    Replication {
        /// Records in a batch at most.
        max_batch_records: usize = 4096, 1..=4096;
        /// Bytes after which a batch is closed.
        max_batch_bytes: ByteSize = ByteSize::mib(1), ByteSize::kib(4)..=ByteSize::mib(8);
        /// Batches under way on a link, sent and not yet acknowledged.
        max_batches_in_flight: usize = 8, 1..=256;
        /// How often a link says that it lives, and what its wall clock shows.
        heartbeat_every: Millis = secs(1), ms(50)..=secs(60);
        /// How long a dial, with its handshakes, may take.
        connect_timeout: Millis = secs(5), ms(100)..=secs(60);
        /// The first wait before a link that broke is tried again; the next ones double, each drawn at random below that.
        backoff_min: Millis = ms(100), ms(10)..=secs(60);
        /// The longest such wait.
        backoff_max: Millis = secs(10), ms(10)..=secs(600);
        /// How long a change of a third site is left to that site's own link before this relay passes it on. Off: only what a
        /// stream that begins finds in the log.
        forward_after: OrOff<Millis> = OrOff::On(secs(2)), OrOff::On(ms(0))..=OrOff::Off;
        /// How long a fresh store waits for a peer to fill it before it serves empty, when none can be reached.
        fill_wait: Millis = secs(30), ms(0)..=days(1);
        /// How far a peer's wall clock may be off before its link is faulted.
        max_clock_skew: Millis = secs(60), ms(100)..=secs(3600);
        /// How often a link checks whether the peer holds what this relay does; a difference is told, and mended by command.
        drift_check_every: OrOff<Millis> = OrOff::On(secs(600)), OrOff::On(secs(1))..=OrOff::Off;
        /// Tombstones younger than this are kept also when every site has seen them.
        tombstone_min_age: Millis = secs(60), ms(0)..=days(365);
        /// Tombstones older than this are let go also when an isolated site has not; it reconciles on its return.
        tombstone_max_age: Millis = days(30), secs(1)..=days(3650);
        /// As many tombstones are kept for absent sites; beyond, as for `tombstone_max_age`.
        max_tombstones: usize = 1_000_000, 1..=1_000_000_000;
        /// Runs of all sites' stores that this relay keeps account of; a peer that claims changes of more is refused. Each
        /// start of a relay is a run.
        max_runs: usize = 16_384, 64..=32_767;
    }
}
