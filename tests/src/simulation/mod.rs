//! Whole sites in simulation: the real relay (sessions, links, listeners, the writer) and the real client over real QUIC,
//! on a network, disks, clocks and random numbers that follow from a seed.
//!
//! ```text
//!            ┌ nodes (client) ┐   ┌ listeners (client) ┐           faults: kills, wiped and old disks, failed flushes,
//!            └───────┬────────┘   └─────────┬──────────┘           full disks, lost entries, cut and bad ways, clocks,
//!                    ▼      QUIC            ▼                      links offline, sites that come and go, certificates
//!            ┌──────────── network: datagrams ─────────┐
//!            ▼                                         ▼
//!        relay of site1  ◄──────── QUIC ────────►  relay of site2 ...   each: clock, machine, disk
//!            │ log                                     │ log
//!            ▼                                         ▼
//!          history ◄── what is durable, asked, answered, told ── the checks go by this alone
//! ```
//!
//! [`plan`] says what is to happen and [`draw`] draws it, [`world`] and [`scene`] have it happen, [`checks`] say which promise
//! was broken, [`mutation`] breaks one on purpose, [`shorten`] leaves out of a run that failed what it does not need to fail.
//!
//! tokio's own clock is the virtual one: it stands while any task can run. There are no threads, so that a seed is a run.
//! What is not simulated: threads (the relay's are tasks here, over the same code), the operating system's sockets and
//! files, sled, HTTP, operators' connections.

pub mod certificates;
pub mod checks;
pub mod clock;
pub mod dice;
pub mod disk;
pub mod draw;
pub mod files;
pub mod history;
pub mod listeners;
pub mod machine;
pub mod mutation;
pub mod network;
pub mod nodes;
pub mod plan;
pub mod relay;
pub mod scene;
pub mod shorten;
pub mod world;

use std::{
    cell::{Cell, RefCell},
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

use self::{
    checks::{Broken, Promise, check},
    mutation::Mutation,
    plan::Plan,
    world::{End, Run},
};

thread_local! {
    /// What the last panic of this thread said. A task's panic is caught by the runtime, and must not go unseen.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
    static SIMULATING: Cell<bool> = const { Cell::new(false) };
}

/// Goes through a plan, and says whether a promise was broken.
pub fn judge(plan: &Plan, mutation: Option<Mutation>) -> (Run, Result<(), Broken>) {
    watch_panics();
    PANIC.set(None);
    SIMULATING.set(true);
    let run = panic::catch_unwind(AssertUnwindSafe(|| world::run(plan, mutation)));
    SIMULATING.set(false);
    let panicked = PANIC.take().map(|how| Broken { promise: Promise::Sound, how });
    match (run, panicked) {
        (Ok(run), None) => {
            let verdict = check(plan, &run);
            (run, verdict)
        }
        (Ok(run), Some(broken)) => (run, Err(broken)),
        (Err(_), broken) => {
            let broken = broken.unwrap_or(Broken { promise: Promise::Sound, how: "a panic".into() });
            (Run { history: Vec::new(), end: End::default(), lasted_ms: 0, datagrams: 0 }, Err(broken))
        }
    }
}

fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if SIMULATING.get() {
                PANIC.set(Some(info.to_string()));
            } else {
                before(info);
            }
        }));
    });
}
