//! The bytes that one session may make the relay hold: `limits.max_session_bytes`.
//!
//! ```text
//!  frame comes in part ─► part (no room: the session is ended) ─► whole ─► take (no room: not begun, nothing more is read)
//!                                                                            │ request and room for its answer
//!  written, or the stream is gone: given back ◄── keep (the answer's bytes) ◄┘
//! ```
//!
//! Who waits for bytes holds none, and every holder gives back without taking more: nothing can wait for itself. Frames
//! in part never wait: what they lack may lie behind the very bytes that a waiting stream leaves unread.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    config::Limits,
    metrics::{Bound, Metrics},
};

/// The budget of a session.
#[derive(Debug)]
pub(super) struct Budget {
    held: Arc<Semaphore>,
    partial: Arc<Semaphore>,
    most: u32,
    metrics: Metrics,
}

/// Bytes of a budget; given back when this is dropped.
#[derive(Debug)]
pub(super) struct Held(OwnedSemaphorePermit);

impl Budget {
    pub(super) fn new(limits: &Limits, metrics: Metrics) -> Self {
        let most = u32::try_from(limits.max_session_bytes.get()).unwrap_or(u32::MAX);
        let all = || Arc::new(Semaphore::new(most as usize));
        Self { held: all(), partial: all(), most, metrics }
    }

    /// Takes so many bytes, waiting while they are held; all there are where more are asked for, so that one request is
    /// always possible.
    pub(super) async fn take(&self, bytes: usize) -> Option<Held> {
        let bytes = self.within(bytes);
        if let Ok(held) = self.held.clone().try_acquire_many_owned(bytes) {
            return Some(Held(held));
        }
        self.metrics.bound_hit(Bound::SessionBytes);
        // An error: it is closed, which nobody does.
        self.held.clone().acquire_many_owned(bytes).await.ok().map(Held)
    }

    /// Takes bytes for a frame of which a part has come; nothing where all frames in part would take more than the budget.
    pub(super) fn part(&self, bytes: usize) -> Option<Held> {
        let held = self.partial.clone().try_acquire_many_owned(self.within(bytes)).ok().map(Held);
        if held.is_none() {
            self.metrics.bound_hit(Bound::SessionPartBytes);
        }
        held
    }

    fn within(&self, bytes: usize) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX).clamp(1, self.most)
    }
}

impl Held {
    /// Gives back all but so many bytes. An answer that has outgrown the room taken for it (somebody else's write came in
    /// between) keeps what there is.
    pub(super) fn keep(&mut self, bytes: usize) {
        let more = self.0.num_permits().saturating_sub(bytes.max(1));
        drop(self.0.split(more));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ByteSize;

    fn budget() -> Budget {
        Budget::new(&Limits { max_session_bytes: ByteSize::kib(256), ..Limits::default() }, Metrics::new())
    }

    #[tokio::test]
    async fn what_is_held_is_waited_for_and_what_is_kept_is_counted() {
        let budget = Arc::new(budget());
        let mut first = budget.take(200 << 10).await.unwrap();
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.take(100 << 10).await.is_some() }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        first.keep(150 << 10);
        assert!(waiting.await.unwrap());
        assert_eq!(budget.held.available_permits(), 106 << 10);
        drop(first);
        assert_eq!(budget.held.available_permits(), 256 << 10);
    }

    #[tokio::test]
    async fn one_request_is_always_possible_and_an_answer_that_grew_keeps_what_there_is() {
        let budget = budget();
        let mut all = budget.take(usize::MAX).await.unwrap();
        all.keep(usize::MAX);
        assert_eq!(budget.held.available_permits(), 0);
        assert!(budget.part(1).is_some(), "frames in part are counted apart");
    }

    #[test]
    fn frames_in_part_do_not_wait() {
        let budget = budget();
        let first = budget.part(200 << 10);
        assert!(first.is_some() && budget.part(100 << 10).is_none());
        drop(first);
        assert!(budget.part(100 << 10).is_some());
    }
}
