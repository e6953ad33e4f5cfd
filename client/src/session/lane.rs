//! A lane: one long-lived stream on which requests go pipelined and are answered by number, in any order.
//!
//! One task owns the stream and who waits on it. It reads and writes at the same time, as a relay that can't write its
//! answers may stop reading requests.

use std::collections::HashMap;

use bytes::{Buf, BytesMut};
use landbridge_protocol::{
    error::Refusal,
    frame::node::{Reply, Request},
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    task::yield_now,
};

use super::frames::{self, Stream};
use crate::error::LinkError;

/// Commands that wait for a lane to take them.
pub(super) const INBOX: usize = 256;
/// Requests encoded into one write, at most.
const COALESCED_REQUESTS: usize = 64;
/// With more bytes than this waiting to be written, no further request is taken.
const COALESCED_BYTES: usize = 256 * 1024;

/// A request, and where its answer goes.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) request: Request,
    pub(super) answer: oneshot::Sender<Result<Reply, Refusal>>,
    /// Its place among those in flight, given back with the answer.
    pub(super) _place: OwnedSemaphorePermit,
}

/// The answer's way back, and the place that the request holds until then.
struct Waiting {
    answer: oneshot::Sender<Result<Reply, Refusal>>,
    _place: OwnedSemaphorePermit,
}

struct Lane {
    waiting: HashMap<u64, Waiting>,
    out: BytesMut,
    next: u64,
}

/// Runs until the stream ends; whoever still waits then learns that the session is lost by its answer being dropped.
pub(super) async fn run(mut stream: Stream, mut commands: mpsc::Receiver<Command>) -> LinkError {
    let mut lane = Lane { waiting: HashMap::new(), out: BytesMut::new(), next: 1 };
    let mut taken = Vec::with_capacity(COALESCED_REQUESTS);
    loop {
        // All three are cancel-safe: a frame, a write or a command is taken whole or not at all.
        tokio::select! {
            biased;
            frame = stream.incoming.next() => match frame {
                Ok((request, message)) => {
                    let Some(answer) = frames::answer(message) else {
                        return stream.incoming.fault("a frame that answers no request".to_owned());
                    };
                    lane.answered(request, answer);
                }
                Err(error) => return error,
            },
            count = commands.recv_many(&mut taken, COALESCED_REQUESTS), if lane.out.len() < COALESCED_BYTES => {
                if count == 0 {
                    return stream.incoming.fault("nobody asks any more".to_owned());
                }
                taken.drain(..).for_each(|command| lane.take(command));
                // Those who ask were often woken together, and the first wakes this task: it lets the others ask, too, as each
                // packet costs more than all the rest of a small request.
                yield_now().await;
                while lane.out.len() < COALESCED_BYTES && let Ok(command) = commands.try_recv() {
                    lane.take(command);
                }
            }
            written = stream.send.write(&lane.out), if !lane.out.is_empty() => match written {
                Ok(bytes) => lane.out.advance(bytes),
                Err(error) => return stream.incoming.fault(error.to_string()),
            },
        }
    }
}

impl Lane {
    fn take(&mut self, command: Command) {
        let Command { request, answer, _place } = command;
        if answer.is_closed() {
            return;
        }
        match frames::encode(request, self.next, &mut self.out) {
            Ok(()) => drop(self.waiting.insert(self.next, Waiting { answer, _place })),
            Err(refusal) => drop(answer.send(Err(refusal))),
        }
        self.next += 1;
    }

    fn answered(&mut self, request: u64, answer: Result<Reply, Refusal>) {
        match self.waiting.remove(&request) {
            // The one who asked may be gone.
            Some(waiting) => drop(waiting.answer.send(answer)),
            None => tracing::debug!(request, "an answer to no request"),
        }
    }
}
