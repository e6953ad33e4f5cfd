//! Tells callers the ends of their commands, in crowds: a thread that wakes many tasks of the runtime one by one pays for
//! each as for the first, so it hands the crowd to a task, which wakes them from within.

use tokio::{
    runtime::Handle,
    sync::{
        mpsc::{UnboundedSender, unbounded_channel},
        oneshot,
    },
};

use crate::engine::command::Decided;

/// So few are told directly: the way over the task takes longer.
const FEW: usize = 4;

/// Where the end of each command of a group is told.
pub(super) type Answers = Vec<oneshot::Sender<Decided>>;

type Crowd = (Answers, Vec<Decided>);

/// See the module. It ends with its runtime, or when it is dropped and all is told.
pub(super) struct Answering(Option<UnboundedSender<Crowd>>);

impl Answering {
    /// With a task, where there is a runtime.
    pub(super) fn start() -> Self {
        let Ok(runtime) = Handle::try_current() else { return Self(None) };
        let (crowds, mut given) = unbounded_channel::<Crowd>();
        runtime.spawn(async move {
            while let Some(crowd) = given.recv().await {
                tell(crowd);
            }
        });
        Self(Some(crowds))
    }

    /// Tells each.
    pub(super) fn tell(&self, answers: Answers, decided: Vec<Decided>) {
        let crowd = (answers, decided);
        match &self.0 {
            Some(crowds) if crowd.0.len() > FEW => {
                // The runtime has ended, where it comes back; so have those who wait, but for threads of other kinds.
                if let Err(back) = crowds.send(crowd) {
                    tell(back.0);
                }
            }
            _ => tell(crowd),
        }
    }
}

fn tell((answers, decided): Crowd) {
    // The last first: one who waits for several in turn sleeps until the first is there, and finds the others.
    for (answer, decided) in answers.into_iter().zip(decided).rev() {
        // Who asked may have gone; the command stands all the same.
        drop(answer.send(decided));
    }
}
