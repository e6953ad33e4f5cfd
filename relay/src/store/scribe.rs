//! The log's own end: carries out what the writer orders, in the order in which it was ordered, and decides nothing.
//!
//! It runs in a thread of its own, so that the writer decides the next group while the disk takes the last one. What a
//! rewrite has taken over from other commits goes from its old place only after a flush has made the new one durable; it
//! waits for the next commit's.

use std::mem;

use bytes::Bytes;
use landbridge_protocol::position::Sequence;

use super::{
    conflicts::Notes,
    log::{Log, LogError},
};

/// What the log is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    /// Adds a commit and makes it durable, with all that was ordered before.
    Append {
        /// Its first sequence.
        first: Sequence,
        /// Its bytes.
        bytes: Bytes,
        /// Conflicts that it decides: they are told before what loses by them is gone.
        notes: Notes,
    },
    /// Makes durable what the conflict log keeps of a group without a commit.
    Keep(Notes),
    /// Puts a commit in place of one or more.
    Rewrite {
        /// The first sequence of all of them.
        first: Sequence,
        /// The new bytes.
        bytes: Bytes,
        /// Those that it has taken in: they go once the new one is durable.
        merged: Vec<Sequence>,
    },
    /// Makes durable what was rewritten, where no commit is at hand that would.
    Settle,
    /// Ends the log in order.
    Close {
        /// The head.
        head: Sequence,
    },
}

/// What is left of an order when its bytes are written.
pub(super) enum Left {
    Flush,
    /// And the end of the log, with the head.
    Close(Sequence),
}

/// See the module.
pub(super) struct Scribe {
    log: Box<dyn Log>,
    /// Taken in by rewrites that are not known to be durable.
    merged: Vec<Sequence>,
    /// Taken in by rewrites that are.
    outlived: Vec<Sequence>,
    /// Why nothing is done any more.
    failed: Option<String>,
}

impl Scribe {
    pub(super) fn new(log: Box<dyn Log>) -> Self {
        Self { log, merged: Vec::new(), outlived: Vec::new(), failed: None }
    }

    /// Does what was ordered. After a failure the log is not touched again, and every order fails.
    pub(super) fn carry_out(&mut self, order: Order) -> Result<(), String> {
        match self.write(order)? {
            Some(left) => self.settle(left),
            None => Ok(()),
        }
    }

    /// The first half of what was ordered: all but the flush. Gives what is left, where anything is.
    pub(super) fn write(&mut self, order: Order) -> Result<Option<Left>, String> {
        self.guarded(|scribe| match order {
            Order::Append { first, bytes, notes } => {
                notes.write(&mut *scribe.log)?;
                scribe.log.append(first, bytes)?;
                Ok(Some(Left::Flush))
            }
            Order::Keep(notes) => {
                notes.write(&mut *scribe.log)?;
                Ok(Some(Left::Flush))
            }
            Order::Rewrite { first, bytes, merged } => {
                scribe.log.rewrite(first, bytes)?;
                scribe.merged.extend(merged);
                Ok(None)
            }
            Order::Settle => Ok(Some(Left::Flush)),
            Order::Close { head } => Ok(Some(Left::Close(head))),
        })
    }

    /// The second half.
    pub(super) fn settle(&mut self, left: Left) -> Result<(), String> {
        let closing = matches!(left, Left::Close(_));
        let end = self.guarded(|scribe| match left {
            Left::Flush => scribe.flush(),
            Left::Close(head) => scribe.log.close(head),
        });
        if let (true, Err(error)) = (closing, &end) {
            tracing::error!(%error, "the log was not closed in order; nothing that was answered is lost");
        }
        end
    }

    /// Takes out what has outlived its use. Nobody waits for it: it comes after those who wait for an order were told.
    pub(super) fn tidy(&mut self) -> Result<(), String> {
        self.guarded(|scribe| {
            mem::take(&mut scribe.outlived).into_iter().try_for_each(|first| scribe.log.remove(first))
        })
    }

    fn flush(&mut self) -> Result<(), LogError> {
        self.log.flush()?;
        self.outlived.append(&mut self.merged);
        Ok(())
    }

    fn guarded<T>(&mut self, act: impl FnOnce(&mut Self) -> Result<T, LogError>) -> Result<T, String> {
        if let Some(reason) = &self.failed {
            return Err(reason.clone());
        }
        act(self).map_err(|error| self.failed.insert(error.to_string()).clone())
    }
}
