//! One subscription, from its first frame to its last.

use bytes::{Bytes, BytesMut};
use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::{
        RelayToNode,
        node::{EventKind, Subscribe, Subscribed},
    },
    name::{CacheName, SiteName},
    position::Sequence,
    record::{Kind, Record},
    token::ResumeToken,
    vector::Vector,
};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::{
    event::{bare, kind_of, told},
    feed::Feed,
    standing::{Log, Standing, is_nowhere, nowhere},
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

/// What becomes of a record.
enum Weighed {
    /// It is told.
    Told,
    /// It is not; what is told in its place lies at `head` at the latest.
    Skipped { head: Sequence },
    /// It is a message that expired before it was told.
    Lost,
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
        let log = self.log();
        let start = published.borrow_and_update().clone();
        let token = subscribe.from.as_ref().map(|bytes| ResumeToken::from_bytes(&bytes.0));
        let token = token.transpose().map_err(|error| Refusal::new(ErrorCode::BadArgument, error.to_string()))?;
        let resumed = token.as_ref().and_then(|token| self.resumed(token, &start));
        let gap = token.is_some() && resumed.is_none();
        let snapshot = gap || (token.is_none() && subscribe.snapshot);
        let mut standing = resumed.unwrap_or_else(|| Standing::at(log, self.cache.clone(), &start));
        let token = if snapshot { nowhere(log.origin) } else { standing.token() };
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

    fn log(&self) -> Log {
        Log { origin: self.feed.origin(), former: self.feed.former() }
    }

    /// Where a token goes on: in the log from its sequence where that is good; from the beginning of the log, less what its
    /// V covers, where it is of another site's relay or of a run that did not end in order. `None`: what was missed can't be
    /// told any more.
    fn resumed(&self, token: &ResumeToken, published: &Published) -> Option<Standing> {
        let dropped = self.feed.dropped();
        if is_nowhere(token) || self.has_missed(token, &dropped) {
            return None;
        }
        let (log, cache) = (self.log(), self.cache.clone());
        let own = token.origin.site == self.feed.site();
        let goes_on = if own {
            // What was told of a store that is wiped by now, or of the end that it has lost, may be nowhere: that must be said.
            self.feed.had(&token.origin, token.sequence) && published.seen.includes(&token.seen)
        } else {
            // Another site may be ahead. What this site alone keeps, that V does not speak for.
            self.feed.replicates(&self.cache, token.origin.site)
        };
        let mut standing = if own && self.feed.continues(&token.origin) {
            Standing::resumed(log, cache, token.clone(), published.head)
        } else {
            Standing::anew(log, cache, token.seen.clone(), published)
        };
        standing.knows_gone(&dropped);
        goes_on.then_some(standing)
    }

    /// Whether removals may have been let go that the token does not cover. Those of a site that has none of this cache,
    /// nor had when the token was made, are of other caches.
    fn has_missed(&self, token: &ResumeToken, dropped: &Vector) -> bool {
        let concerns = |site: SiteName| {
            site == self.feed.site()
                || self.feed.replicates(&self.cache, site)
                || token.seen.iter().any(|(origin, _)| origin.site == site)
        };
        dropped.iter().any(|(origin, clock)| token.seen.clock(&origin) < clock && concerns(origin.site))
    }

    /// The live entries. The log is then read from where it stood before the first of them was: what changes meanwhile is
    /// told again or for the first time, and nothing is missed.
    async fn snapshot(&mut self, token: Bytes) -> Result<(), End> {
        let mut after = None;
        let merge = self.feed.merge(&self.cache);
        loop {
            let page = self.feed.page(&self.cache, after.as_ref(), READ_BYTES).await?;
            after = page.records.last().and_then(|record| record.key.clone());
            for record in page.records {
                self.say(&RelayToNode::Event(told(record, EventKind::Created, merge, token.clone()))).await?;
            }
            if !page.more || after.is_none() {
                return Ok(());
            }
        }
    }

    /// For a subscriber so far behind that removals were let go, or messages expired, before it came to them, and where a
    /// reconcile has taken away what leaves no record.
    async fn begin_again(&mut self, standing: &mut Standing) -> Result<(), End> {
        let (log, published) = (self.log(), self.feed.published().borrow().clone());
        let dropped = self.feed.dropped();
        let token = nowhere(log.origin);
        self.say(&RelayToNode::Event(bare(EventKind::Gap, token.clone()))).await?;
        self.snapshot(token).await?;
        *standing = Standing::at(log, self.cache.clone(), &published);
        standing.knows_gone(&dropped);
        self.say(&RelayToNode::Event(bare(EventKind::SnapshotEnd, standing.token()))).await
    }

    /// A part of the log. `false`: something of it can't be told any more.
    async fn tell_more(&mut self, standing: &mut Standing) -> Result<bool, End> {
        let published = self.feed.published().borrow().clone();
        let merge = self.feed.merge(&self.cache);
        let read = self.feed.read(standing.sequence(), READ_BYTES).await?;
        let is_news = |sequence, record: &Record| record.cache == self.cache && !standing.was_told(sequence, record);
        let last = read.records.iter().rfind(|(sequence, record)| is_news(*sequence, record)).map(|(last, _)| *last);
        for (sequence, record) in read.records {
            if record.cache != self.cache || standing.was_told(sequence, &record) {
                continue;
            }
            // Asked for each just before it is told: the subscriber may have kept this task waiting since the last.
            match self.weigh(standing, sequence, &record) {
                Weighed::Told => {}
                Weighed::Skipped { head } => {
                    standing.skip(head);
                    continue;
                }
                Weighed::Lost => return Ok(false),
            }
            let mut token = standing.tell(sequence);
            if last == Some(sequence) && !standing.has_missed(&self.feed.dropped()) {
                // Nothing of this part is left to be told: the subscriber need not wait for the next event to know that.
                token = standing.token_through(read.through, &published);
            }
            let kind = kind_of(&record);
            self.say(&RelayToNode::Event(told(record, kind, merge, token))).await?;
        }
        // Before V moves on: what was let go by now is missing from this part.
        if standing.has_missed(&self.feed.dropped()) {
            return Ok(false);
        }
        standing.through(read.through, &published);
        Ok(true)
    }

    /// What the event says must be readable: the record is the held one, and not past its deadline. The mark of one that is
    /// past its deadline is told whatever V covers.
    fn weigh(&self, standing: &Standing, sequence: Sequence, record: &Record) -> Weighed {
        if let Err(head) = self.feed.holds(sequence, record) {
            return Weighed::Skipped { head };
        }
        let overdue = record.kind == Kind::Live && record.is_expired(self.feed.now());
        let untold = overdue || (record.kind == Kind::Mark && !standing.has_told(&record.version));
        if untold && self.feed.has_messages(&self.cache) {
            Weighed::Lost
        } else if overdue {
            Weighed::Skipped { head: Sequence::ZERO }
        } else {
            Weighed::Told
        }
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
