//! A session: one connection to one relay, its control stream, its request streams ("lanes"), and who keeps it alive.
//!
//! ```text
//!            watch: Down | Up(session) | Ended
//!   driver ────────────────────────────────────▶ calls, listeners
//!     │ dials (dial.rs)                               │ command            │ stream of its own
//!     ▼                                               ▼                    ▼
//!   control stream: hello, views, refusals        lane.rs: pipelined    subscriptions, large requests
//! ```

mod dial;
pub(crate) mod driver;
pub(crate) mod frames;
mod lane;

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use landbridge_protocol::{
    error::Refusal,
    frame::node::{Outcome, Reply, Request},
    name::SiteName,
    version::Clock,
};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::error::LinkError;

/// Requests of one session that are not answered yet, at most; more wait for a place.
const MAX_IN_FLIGHT: usize = 4096;
/// A request of more bytes goes on a stream of its own, so that it doesn't hold up small ones.
const LARGE_BYTES: usize = 64 * 1024;
/// What a request's frame has besides keys and values, at most, an entry.
const FRAME_OVERHEAD_BYTES: usize = 256;

/// What calls and listeners see of the connection.
#[derive(Debug, Clone)]
pub(crate) enum Link {
    /// None, for now; and why, once a try has failed.
    Down(Option<Arc<LinkError>>),
    /// A live session, or one whose end is not noticed yet.
    Up(Arc<Session>),
    /// There won't be one any more.
    Ended(Ended),
}

/// Why there won't be a session any more.
#[derive(Debug, Clone)]
pub(crate) enum Ended {
    /// A newer client has taken over.
    Fenced(Refusal),
    /// The client was closed.
    Closed,
}

/// A connection over which the hello was answered. Its tasks are the driver's.
#[derive(Debug)]
pub(crate) struct Session {
    /// Distinguishes the sessions of one client.
    pub(crate) number: u64,
    pub(crate) relay: Arc<str>,
    site: SiteName,
    /// The protocol version that was agreed on: nothing that a later one has brought is sent.
    version: u16,
    connection: quinn::Connection,
    max_frame_bytes: usize,
    lanes: Vec<mpsc::Sender<lane::Command>>,
    next_lane: AtomicUsize,
    places: Arc<Semaphore>,
    /// The greatest clock heard of this relay.
    heard: AtomicU64,
}

/// Why a request was not answered.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was: with a refusal.
    Refused(Refusal),
    /// The connection was lost; whether the relay has seen the request is not known.
    Lost,
    /// It is longer than the relay takes, and was not sent.
    TooLarge { bytes: usize, limit: usize },
}

impl Session {
    pub(crate) fn site(&self) -> SiteName {
        self.site
    }

    /// The relay's clock as last heard on this session. What is written from now on has a later one.
    pub(crate) fn clock(&self) -> Clock {
        Clock::from_bits(self.heard.load(Ordering::Acquire))
    }

    /// Asks, and waits for the answer. Cancel-safe: the answer to a dropped call is taken and thrown away.
    pub(crate) async fn request(&self, request: Request) -> Result<Reply, Failure> {
        let bytes = request_bytes(&request);
        if bytes > self.max_frame_bytes {
            return Err(Failure::TooLarge { bytes, limit: self.max_frame_bytes });
        }
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| Failure::Lost)?;
        let reply = if bytes > LARGE_BYTES || is_bulky(&request) {
            let reply = frames::ask(&self.connection, &self.relay, request).await;
            drop(place);
            reply?
        } else {
            let (answer, answered) = oneshot::channel();
            let lane = self.next_lane.fetch_add(1, Ordering::Relaxed) % self.lanes.len();
            let command = lane::Command { request, answer, _place: place };
            self.lanes[lane].send(command).await.map_err(|_| Failure::Lost)?;
            answered.await.map_err(|_| Failure::Lost)?.map_err(Failure::Refused)?
        };
        self.hear(&reply);
        Ok(reply)
    }

    /// A stream of its own, for a subscription.
    pub(crate) async fn open(&self) -> Result<frames::Stream, LinkError> {
        frames::open(&self.connection, &self.relay).await
    }

    /// Whether the connection has not ended, as far as is known here.
    pub(crate) fn is_open(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    /// Requests that are not answered yet.
    fn in_flight(&self) -> usize {
        MAX_IN_FLIGHT - self.places.available_permits()
    }

    fn hear(&self, reply: &Reply) {
        let clock = match reply {
            Reply::Written(Outcome { version: Some(version), .. }) => version.clock,
            Reply::WrittenAll(versions) => versions.iter().map(|v| v.clock).max().unwrap_or(Clock::ZERO),
            _ => return,
        };
        self.heard.fetch_max(clock.bits(), Ordering::AcqRel);
    }
}

/// Bytes of a request's frame, at most.
fn request_bytes(request: &Request) -> usize {
    FRAME_OVERHEAD_BYTES
        + match request {
            Request::Get(key) | Request::Contains(key) => key.key.as_bytes().len(),
            Request::GetAll(get) => get.keys.iter().map(|key| key.as_bytes().len() + 5).sum(),
            Request::Write(write) => write.key.as_bytes().len() + write.value.len(),
            Request::PutAll(put) => {
                put.entries.iter().map(|(key, value)| key.as_bytes().len() + value.0.len() + 16).sum()
            }
            Request::List(list) => list.prefix.len() + list.after.as_ref().map_or(0, |key| key.as_bytes().len()),
            Request::Clear(_) | Request::Size(_) | Request::Ping => 0,
        }
}

/// Whether the answer may be large.
fn is_bulky(request: &Request) -> bool {
    matches!(request, Request::GetAll(_) | Request::List(_))
}
