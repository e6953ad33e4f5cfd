//! One subscription, from its first frame to its last.

use bytes::{Bytes, BytesMut};
use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::{
        RelayToNode,
        node::{EventKind, Subscribe, Subscribed},
    },
    name::CacheName,
    position::Sequence,
    record::{Kind, Record},
    token::ResumeToken,
};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::{
    event::{bare, kind_of, told},
    feed::Feed,
    standing::{Standing, is_nowhere, nowhere},
};
use crate::engine::command::Published;

/// Bytes of the log, or of a snapshot, that are read for one subscriber at once.
const READ_BYTES: usize = 256 << 10;
/// Bytes that are written at once.
const WRITE_BYTES: usize = 64 << 10;

/// Why a subscription ends that was not stopped.
#[derive(Debug)]
enum End {
    /// The subscriber is gone.
    Gone,
    /// The store can't be read, or the cache is there no more.
    Refused(Refusal),
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        End::Refused(refusal)
    }
}

/// Serves a subscription until `stop`, until the subscriber is gone, until it is `refused`, or until the store fails; then the
/// stream is ended.
pub async fn serve<F: Feed, W: AsyncWrite + Unpin>(
    feed: &F,
    subscribe: Subscribe,
    request: u64,
    stream: W,
    stop: CancellationToken,
    refused: impl Future<Output = Refusal>,
) {
    let mut telling = Telling { feed, cache: subscribe.cache.clone(), request, stream, unwritten: BytesMut::new() };
    let ended = tokio::select! {
        biased;
        () = stop.cancelled() => return,
        refusal = refused => Err(End::Refused(refusal)),
        ended = telling.run(subscribe) => ended,
    };
    if let Err(End::Refused(refusal)) = ended {
        tracing::info!(cache = %telling.cache, "subscription ended: {refusal}");
        let _gone = telling.say(&RelayToNode::Refused(refusal)).await;
        let _gone = telling.flush().await;
    }
    let _gone = telling.stream.shutdown().await;
}

struct Telling<'a, F, W> {
    feed: &'a F,
    cache: CacheName,
    request: u64,
    stream: W,
    unwritten: BytesMut,
}

impl<F: Feed, W: AsyncWrite + Unpin> Telling<'_, F, W> {
    async fn run(&mut self, subscribe: Subscribe) -> Result<(), End> {
        let mut published = self.feed.published();
        let origin = self.feed.origin();
        let start = published.borrow_and_update().clone();
        let token = subscribe.from.as_ref().map(|bytes| ResumeToken::from_bytes(&bytes.0));
        let token = token.transpose().map_err(|error| Refusal::new(ErrorCode::BadArgument, error.to_string()))?;
        let resumed = token.as_ref().and_then(|token| self.resumed(token, &start));
        let gap = token.is_some() && resumed.is_none();
        let snapshot = gap || (token.is_none() && subscribe.snapshot);
        let mut standing = resumed.unwrap_or_else(|| Standing::at(origin, &start));
        let token = if snapshot { nowhere(origin) } else { standing.token() };
        self.say(&RelayToNode::Subscribed(Subscribed { token: token.clone() })).await?;
        if gap {
            self.say(&RelayToNode::Event(bare(EventKind::Gap, token.clone()))).await?;
        }
        if snapshot {
            self.snapshot(token).await?;
            self.say(&RelayToNode::Event(bare(EventKind::SnapshotEnd, standing.token()))).await?;
        }
        self.flush().await?;
        loop {
            let now = published.borrow_and_update().clone();
            while standing.sequence() < now.head {
                if !self.tell_more(&mut standing).await? {
                    self.begin_again(&mut standing).await?;
                }
            }
            standing.through(standing.sequence(), &now);
            self.flush().await?;
            if published.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    /// Where a token goes on: in the log from its sequence where that is good; from the beginning of the log, less what its
    /// V covers, where it is of another site's relay or of a run that did not end in order. `None`: what was missed can't be
    /// told any more.
    fn resumed(&self, token: &ResumeToken, published: &Published) -> Option<Standing> {
        if is_nowhere(token) || !token.seen.includes(&self.feed.dropped()) {
            return None;
        }
        let origin = self.feed.origin();
        if token.sequence <= published.head && self.feed.continues(&token.origin) {
            return Some(Standing::resumed(origin, token.clone(), published.head));
        }
        let goes_on = if token.origin.site == self.feed.site() {
            // What the token speaks for and this relay does not know, a wiped store has lost: that must be said.
            published.seen.includes(&token.seen)
        } else {
            // Another site may be ahead. What this site alone keeps, that V does not speak for.
            self.feed.replicates(&self.cache, token.origin.site)
        };
        goes_on.then(|| Standing::anew(origin, token.seen.clone(), published))
    }

    /// The live entries. The log is then read from where it stood before the first of them was: what changes meanwhile is
    /// told again or for the first time, and nothing is missed.
    async fn snapshot(&mut self, token: Bytes) -> Result<(), End> {
        let mut after = None;
        loop {
            let page = self.feed.page(&self.cache, after.as_ref(), READ_BYTES).await?;
            after = page.records.last().and_then(|record| record.key.clone());
            for record in page.records {
                self.say(&RelayToNode::Event(told(record, EventKind::Created, token.clone()))).await?;
            }
            if !page.more || after.is_none() {
                return Ok(());
            }
        }
    }

    /// For a subscriber so far behind that removals were let go before it came to them, and where a reconcile has taken
    /// away what leaves no record.
    async fn begin_again(&mut self, standing: &mut Standing) -> Result<(), End> {
        let (origin, published) = (self.feed.origin(), self.feed.published().borrow().clone());
        let dropped = self.feed.dropped();
        let token = nowhere(origin);
        self.say(&RelayToNode::Event(bare(EventKind::Gap, token.clone()))).await?;
        self.snapshot(token).await?;
        *standing = Standing::at(origin, &published);
        standing.told_anew(&dropped);
        self.say(&RelayToNode::Event(bare(EventKind::SnapshotEnd, standing.token()))).await
    }

    /// A part of the log. `false`: something of it can't be told any more.
    async fn tell_more(&mut self, standing: &mut Standing) -> Result<bool, End> {
        let published = self.feed.published().borrow().clone();
        let read = self.feed.read(standing.sequence(), READ_BYTES).await?;
        let is_news = |sequence, record: &Record| record.cache == self.cache && !standing.was_told(sequence, record);
        let last = read.records.iter().rfind(|(sequence, record)| is_news(*sequence, record)).map(|(last, _)| *last);
        for (sequence, record) in read.records {
            if record.cache != self.cache || standing.was_told(sequence, &record) {
                continue;
            }
            // Asked for each just before it is told: the subscriber may have kept this task waiting since the last.
            if let Err(head) = self.can_be_told(sequence, &record) {
                standing.skip(head);
                continue;
            }
            let mut token = standing.tell(sequence);
            if last == Some(sequence) && !standing.has_missed(&self.feed.dropped()) {
                // Nothing of this part is left to be told: the subscriber need not wait for the next event to know that.
                token = standing.token_through(read.through, &published);
            }
            let kind = kind_of(&record);
            self.say(&RelayToNode::Event(told(record, kind, token))).await?;
        }
        // Before V moves on: what was let go by now is missing from this part.
        if standing.has_missed(&self.feed.dropped()) {
            return Ok(false);
        }
        standing.through(read.through, &published);
        Ok(true)
    }

    /// Whether what the event says can be read: the record is the held one, and not past its deadline. Else where what is
    /// told in its place lies at the latest. The mark of one that is past its deadline is told whatever V covers.
    fn can_be_told(&self, sequence: Sequence, record: &Record) -> Result<(), Sequence> {
        self.feed.holds(sequence, record)?;
        let overdue = record.kind == Kind::Live && record.is_expired(self.feed.now());
        if overdue { Err(Sequence::ZERO) } else { Ok(()) }
    }

    async fn say(&mut self, frame: &RelayToNode) -> Result<(), End> {
        let encoded = frame.encode(self.request, &mut self.unwritten);
        encoded.map_err(|error| Refusal::new(ErrorCode::Internal, error.to_string()))?;
        if self.unwritten.len() >= WRITE_BYTES { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), End> {
        let written = self.stream.write_all_buf(&mut self.unwritten).await;
        written.map_err(|_| End::Gone)
    }
}
