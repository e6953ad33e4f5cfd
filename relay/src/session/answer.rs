//! What becomes of one request.

use std::sync::Arc;

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::node::{self, Entry, GetAll, KeyRef, List, Operation, Outcome, PutAll, Reply, Request},
    name::CacheName,
    record::{Key, WriteToken},
};
use tokio::sync::watch;

use super::{
    hello::Introduced,
    permission::{Access, permit},
    shelf::{PageOf, Shelf},
    terms::Terms,
};
use crate::{
    certs::Role,
    config::Limits,
    engine::command::{Answer, Command},
    metrics::{self, Bound, Metrics},
};

/// Bytes that an answer's frame has around its entries, at most, per entry and once.
const FRAME_SLACK: usize = 4096;

/// Bytes of a small answer, and of a command on its way to the writer besides keys and values, about.
const COMMAND_BYTES: usize = 512;

/// Answers the requests of one session.
#[derive(Debug)]
pub struct Answering<S> {
    /// The store.
    pub shelf: Arc<S>,
    /// Who asks.
    pub session: Introduced,
    /// As what it is connected.
    pub role: Role,
    /// The caches there are by now.
    pub terms: watch::Receiver<Arc<Terms>>,
    /// The bounds of this session.
    pub limits: Limits,
    /// What is counted.
    pub metrics: Metrics,
}

impl<S: Shelf> Answering<S> {
    /// The answer to a request. Reads are answered at once from what is committed; a write is answered when it is durable,
    /// and others may be asked for and answered meanwhile.
    pub async fn answer(&self, request: Request) -> Result<Reply, Refusal> {
        if !matches!(request, Request::Ping) {
            self.shelf.ready()?;
        }
        match request {
            Request::Ping => Ok(Reply::Pong),
            Request::Get(KeyRef { cache, key }) => {
                self.permit(&cache, Access::Read)?;
                self.shelf.entry(&cache, &key).map(Reply::Entry)
            }
            Request::Contains(KeyRef { cache, key }) => {
                self.permit(&cache, Access::Read)?;
                Ok(Reply::Found(self.shelf.contains(&cache, &key)))
            }
            Request::GetAll(asked) => self.entries(asked).map(Reply::Entries),
            Request::Size(of) => {
                self.permit(&of.cache, Access::Read)?;
                Ok(Reply::Size(self.shelf.size(&of.cache)))
            }
            Request::List(list) => self.page(list).await.map(Reply::Page),
            Request::Write(write) => {
                self.check_write(&write)?;
                self.write(write).await.map(Reply::Written)
            }
            Request::PutAll(puts) => self.put_all(puts).await.map(Reply::WrittenAll),
            Request::Clear(node::Clear { cache, token, retry }) => {
                self.permit(&cache, Access::Write)?;
                self.written(Command::Clear { node: self.session.node.clone(), cache, token, retry })
                    .await
                    .map(Reply::Written)
            }
        }
    }

    /// Bytes that a request may take besides its own frame, the answer among them: about for writes, at most for reads.
    pub fn room(&self, request: &Request) -> usize {
        let value = match request {
            Request::Get(KeyRef { cache, key }) => self.shelf.value_bytes(cache, key),
            Request::Write(write) if write.return_previous => self.shelf.value_bytes(&write.cache, &write.key),
            Request::GetAll(_) | Request::List(_) => self.limits.max_frame_bytes.as_usize(),
            Request::PutAll(puts) => puts.entries.len() * COMMAND_BYTES,
            Request::Write(_) | Request::Contains(_) | Request::Size(_) | Request::Clear(_) | Request::Ping => 0,
        };
        value + COMMAND_BYTES
    }

    /// Whether the session may subscribe to that cache, now.
    pub fn may_listen(&self, cache: &CacheName) -> Result<(), Refusal> {
        self.shelf.ready()?;
        self.permit(cache, Access::Listen)
    }

    fn permit(&self, cache: &CacheName, access: Access) -> Result<(), Refusal> {
        permit(&self.session, self.role, &self.terms.borrow(), cache, access).map(drop)
    }

    fn entries(&self, asked: GetAll) -> Result<Vec<Entry>, Refusal> {
        self.permit(&asked.cache, Access::Read)?;
        self.check_count(asked.keys.len())?;
        let room = self.limits.max_frame_bytes.as_usize().saturating_sub(FRAME_SLACK);
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for key in &asked.keys {
            let Some(entry) = self.shelf.entry(&asked.cache, key)? else { continue };
            bytes += weight(&entry);
            if bytes > room && !entries.is_empty() {
                self.metrics.bound_hit(Bound::FrameBytes);
                let text = format!("the first {} of these entries fill an answer; ask for fewer keys", entries.len());
                return Err(Refusal::new(ErrorCode::FrameTooLarge, text));
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    async fn page(&self, list: List) -> Result<node::Page, Refusal> {
        self.permit(&list.cache, Access::Read)?;
        let wanted = usize::try_from(list.limit).unwrap_or(usize::MAX);
        if wanted == 0 {
            return Err(Refusal::new(ErrorCode::BadArgument, "a page of no entries: ask for one at least"));
        }
        let entries = wanted.min(self.limits.max_list_entries);
        if entries < wanted {
            self.metrics.bound_hit(Bound::ListEntries);
        }
        let bytes = self.limits.max_frame_bytes.as_usize() / 2;
        let List { cache, prefix, after, values, .. } = list;
        self.shelf.page(PageOf { cache, prefix, after, entries, bytes, values }).await
    }

    async fn put_all(&self, puts: PutAll) -> Result<Vec<landbridge_protocol::version::Version>, Refusal> {
        let PutAll { cache, lifespan, token, retry, entries } = puts;
        self.check_count(entries.len())?;
        let put = |(number, (key, value)): (u64, (Key, landbridge_protocol::blob::Blob))| {
            let token = WriteToken { number: token.number.saturating_add(number), ..token };
            let write = node::Write::new(Operation::Put, cache.clone(), key, token, value.0);
            node::Write { lifespan, retry, ..write }
        };
        let writes: Vec<node::Write> = (0..).zip(entries).map(put).collect();
        // All are looked at before the first is done.
        writes.iter().try_for_each(|write| self.check_write(write))?;
        if writes.is_empty() {
            self.permit(&cache, Access::Write)?;
        }
        // Each has its place before the next one asks for one: they are decided in the order in which they stand here.
        let mut under_way = Vec::with_capacity(writes.len());
        for write in writes {
            let node = self.session.node.clone();
            under_way.push(self.shelf.place(Command::Write { node, write }).await);
        }
        let mut versions = Vec::with_capacity(under_way.len());
        for decided in under_way {
            versions.push(outcome(decided.await.unwrap_or_else(|_| Err(writer_gone()))?)?.version);
        }
        let unversioned = || Refusal::new(ErrorCode::Internal, "an unconditional put was not done");
        versions.into_iter().map(|version| version.ok_or_else(unversioned)).collect()
    }

    fn check_count(&self, keys: usize) -> Result<(), Refusal> {
        let most = self.limits.max_list_entries;
        if keys <= most {
            return Ok(());
        }
        self.metrics.bound_hit(Bound::ListEntries);
        Err(Refusal::new(ErrorCode::BadArgument, format!("{keys} keys in one request; there may be {most}")))
    }

    fn check_write(&self, write: &node::Write) -> Result<(), Refusal> {
        let terms = self.terms.borrow();
        let cache = permit(&self.session, self.role, &terms, &write.cache, Access::Write)?;
        let bad = |text: &str| Err(Refusal::new(ErrorCode::BadArgument, text));
        if write.max_idle.is_some() {
            return bad("max_idle is not in this version; use a lifespan");
        }
        let on_version = matches!(write.operation, Operation::ReplaceIfVersion | Operation::RemoveIfVersion);
        if on_version != write.expected.is_some() {
            return bad("a version is expected by replace_if_version and remove_if_version, and by nothing else");
        }
        let removes = matches!(write.operation, Operation::Remove | Operation::RemoveIfVersion);
        if removes && !write.value.is_empty() {
            return bad("a removal carries no value");
        }
        let most = cache.max_entry_bytes.as_usize();
        if write.value.len() > most {
            self.metrics.bound_hit(Bound::EntryBytes);
            let text = format!("a value of {} bytes; {} takes {most} (max_entry_bytes)", write.value.len(), cache.name);
            return Err(Refusal::new(ErrorCode::EntryTooLarge, text));
        }
        Ok(())
    }

    async fn write(&self, write: node::Write) -> Result<Outcome, Refusal> {
        self.written(Command::Write { node: self.session.node.clone(), write }).await
    }

    async fn written(&self, command: Command) -> Result<Outcome, Refusal> {
        let decided = self.shelf.place(command).await;
        outcome(decided.await.unwrap_or_else(|_| Err(writer_gone()))?)
    }
}

/// The command had its place, and the writer ended before it got there.
fn writer_gone() -> Refusal {
    Refusal::new(ErrorCode::ShuttingDown, "the relay is shutting down; try again when it is back")
}

fn outcome(answer: Answer) -> Result<Outcome, Refusal> {
    match answer {
        Answer::Written(outcome) => Ok(outcome),
        other => Err(Refusal::new(ErrorCode::Internal, format!("the writer answered a write with {other:?}"))),
    }
}

/// Bytes of an entry in an answer, about.
fn weight(entry: &Entry) -> usize {
    entry.key.as_bytes().len() + entry.value.len() + 128
}

/// How a request's end is counted.
pub fn outcome_of(answered: &Result<Reply, Refusal>) -> metrics::Outcome {
    match answered {
        Err(_) => metrics::Outcome::Refused,
        Ok(Reply::Entry(None) | Reply::Found(false)) => metrics::Outcome::Missing,
        Ok(Reply::Written(Outcome { done: false, .. })) => metrics::Outcome::Failed,
        Ok(_) => metrics::Outcome::Done,
    }
}

#[cfg(test)]
mod tests;
