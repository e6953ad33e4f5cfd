//! Promise 1 on a full disk: puts are refused before it is full, a commit that fails all the same ends the writing, and
//! nothing that was acknowledged is lost. Needs the right to mount a small file system, and says so where it has none.
//! Many rounds: `cargo run --release -p landbridge-tests --bin crash_loop -- --disk-full --rounds 200 --seed 1`.

use std::ops::ControlFlow;

use landbridge_tests::faults::full::{self, Outcome};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_disk_fills_up_in_the_middle() {
    // A commit fails in one round of five or so: while there is room in the journal removals go on, with no byte left on the disk.
    let (mut rounds, mut refused, mut failed, mut went_on) = (0, 0, 0, 0);
    let done = full::run(60, 2, |round| {
        rounds = round.number;
        refused += round.refused;
        match round.outcome {
            Outcome::Failed => failed += 1,
            Outcome::WentOn => went_on += 1,
        }
        if rounds >= 4 && refused > 0 && failed > 0 && went_on > 0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .await;
    if !done {
        eprintln!("not tested: this process may not mount a small file system");
        return;
    }
    assert!(
        refused > 0 && failed > 0 && went_on > 0,
        "{rounds} rounds, {refused} puts refused, {failed} commits failed, {went_on} times it went on: all have to be seen"
    );
}
