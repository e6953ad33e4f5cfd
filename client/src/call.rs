//! A call: one operation with its deadline, its retries, and the care that a write is done once.
//!
//! A read is simply asked again. A write goes out again under the same token; where an earlier try may have reached the
//! relay, it says so with the relay's clock from before that try, and the relay answers as it answered then.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::node::{Clear, PutAll, Reply, Request, Write},
    version::Clock,
};
use tokio::sync::watch;

use crate::{
    backoff::Backoff,
    client::Shared,
    error::{Error, LinkError},
    session::{Ended, Failure, Link, Session},
};

/// A request that can be made again for another try.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    Read(Request),
    Write(Write),
    PutAll(PutAll),
    Clear(Clear),
}

impl Call {
    /// The request of a try. `unseen` is the relay's clock from before the first try whose answer was not seen.
    fn request(&self, unseen: Option<Clock>) -> Request {
        match self {
            Self::Read(request) => request.clone(),
            Self::Write(write) => Request::Write(Write { retry: unseen, ..write.clone() }),
            Self::PutAll(put) => Request::PutAll(PutAll { retry: unseen, ..put.clone() }),
            Self::Clear(clear) => Request::Clear(Clear { retry: unseen, ..clear.clone() }),
        }
    }
}

impl Shared {
    /// Does it within the deadline, or says why not.
    pub(crate) async fn call(&self, call: Call) -> Result<Reply, Error> {
        let sent = AtomicBool::new(false);
        let mut refused = None;
        match tokio::time::timeout(self.timeout, self.tries(call, &sent, &mut refused)).await {
            Ok(done) => done,
            Err(_) => Err(match refused {
                Some(refusal) => Error::from(refusal),
                None => Error::TimedOut { after: self.timeout, sent: sent.into_inner(), cause: self.trouble() },
            }),
        }
    }

    /// `refused` keeps the last refusal, where that was the last that was heard.
    async fn tries(&self, call: Call, sent: &AtomicBool, refused: &mut Option<Refusal>) -> Result<Reply, Error> {
        let mut link = self.link.clone();
        let mut backoff = Backoff::new(self.chance.next());
        let (mut unseen, mut lost) = (None, None);
        loop {
            let session = live(&mut link, lost).await?;
            let before = session.clock();
            sent.store(true, Ordering::Relaxed);
            match session.request(call.request(unseen)).await {
                Ok(reply) => return Ok(reply),
                Err(Failure::TooLarge { bytes, limit }) => return Err(Error::TooLarge { bytes, limit }),
                Err(Failure::Refused(refusal)) if passes_soon(&refusal) => {
                    *refused = Some(refusal);
                    tokio::time::sleep(backoff.next()).await;
                }
                Err(Failure::Refused(refusal)) => return Err(refusal.into()),
                Err(Failure::Lost) => {
                    *refused = None;
                    unseen.get_or_insert(before);
                    lost = Some(session.number);
                }
            }
        }
    }

    /// What keeps the link down, if it is.
    fn trouble(&self) -> Option<Arc<LinkError>> {
        match &*self.link.borrow() {
            Link::Down(cause) => cause.clone(),
            Link::Up(_) | Link::Ended(_) => None,
        }
    }
}

/// A live session; not the one that is known to be lost.
pub(crate) async fn live(link: &mut watch::Receiver<Link>, lost: Option<u64>) -> Result<Arc<Session>, Error> {
    loop {
        match &*link.borrow_and_update() {
            Link::Up(session) if Some(session.number) != lost => return Ok(Arc::clone(session)),
            Link::Up(_) | Link::Down(_) => {}
            Link::Ended(Ended::Fenced(refusal)) => return Err(Error::Fenced(refusal.clone())),
            Link::Ended(Ended::Closed) => return Err(Error::Closed),
        }
        if link.changed().await.is_err() {
            return Err(match &*link.borrow() {
                Link::Ended(Ended::Fenced(refusal)) => Error::Fenced(refusal.clone()),
                _ => Error::Closed,
            });
        }
    }
}

/// Whether a refusal is worth waiting out within a deadline of seconds.
pub(crate) fn passes_soon(refusal: &Refusal) -> bool {
    matches!(
        refusal.code(),
        Some(ErrorCode::NotReady | ErrorCode::Busy | ErrorCode::ShuttingDown | ErrorCode::ClockAhead)
    )
}
