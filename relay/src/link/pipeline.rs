//! Commands under way to the writer: given in order, ended in order, several at a time.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
};

use crate::engine::command::Decided;

type Deciding = Pin<Box<dyn Future<Output = Decided> + Send + Sync>>;

/// Commands under way, each with a note of what its answer is for.
///
/// The writer's inbox serves those who wait for a place in the order in which they came, and every command is polled in
/// order: so they get to the writer in the order in which they were pushed.
pub(super) struct Pipeline<T> {
    waiting: VecDeque<(T, Slot)>,
}

enum Slot {
    Deciding(Deciding),
    Decided(Decided),
}

impl<T> Pipeline<T> {
    pub(super) fn new() -> Self {
        Self { waiting: VecDeque::new() }
    }

    pub(super) fn push(&mut self, note: T, deciding: impl Future<Output = Decided> + Send + Sync + 'static) {
        self.waiting.push_back((note, Slot::Deciding(Box::pin(deciding))));
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The oldest command's end; pending while there is none. Nothing is lost when this is cancelled.
    pub(super) async fn next(&mut self) -> (T, Decided) {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(T, Decided)> {
        for (_, slot) in &mut self.waiting {
            if let Slot::Deciding(deciding) = slot
                && let Poll::Ready(decided) = deciding.as_mut().poll(cx)
            {
                *slot = Slot::Decided(decided);
            }
        }
        match self.waiting.pop_front() {
            Some((note, Slot::Decided(decided))) => Poll::Ready((note, decided)),
            Some(undecided) => {
                self.waiting.push_front(undecided);
                Poll::Pending
            }
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::engine::command::Answer;

    #[tokio::test]
    async fn ends_come_in_order_however_they_are_decided() {
        let mut pipeline = Pipeline::new();
        let (mut doors, mut notes) = (Vec::new(), Vec::new());
        for note in 0..3 {
            let (open, opened) = oneshot::channel::<()>();
            doors.push(open);
            pipeline.push(note, async move {
                opened.await.expect("opened");
                Ok(Answer::Done)
            });
        }
        let mut soonest_first = doors.into_iter();
        let first = soonest_first.next().unwrap();
        for open in soonest_first {
            open.send(()).unwrap();
        }
        tokio::select! {
            biased;
            _ = pipeline.next() => panic!("the first has not ended"),
            () = std::future::ready(()) => (),
        }
        first.send(()).unwrap();
        while pipeline.len() > 0 {
            notes.push(pipeline.next().await.0);
        }
        assert_eq!(notes, [0, 1, 2]);
    }
}
