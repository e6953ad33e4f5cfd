//! Promise 1 on a full disk: puts are refused before it is full, a commit that fails all the same ends the writing, and
//! nothing that was acknowledged is lost. Needs the right to mount a small file system, and says so where it has none.
//! Many rounds: `cargo run --release -p landbridge-tests --bin crash_loop -- --disk-full --rounds 200 --seed 1`.

use landbridge_tests::faults::full::{self, Outcome};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_disk_fills_up_in_the_middle() {
    let (mut rounds, mut refused, mut failed) = (0, 0, 0);
    let done = full::run(4, 2, |round| {
        rounds = round.number;
        refused += round.refused;
        failed += u32::from(round.outcome == Outcome::Failed);
    })
    .await;
    if !done {
        eprintln!("not tested: this process may not mount a small file system");
        return;
    }
    assert_eq!(rounds, 4);
    assert!(refused > 0 && failed > 0, "{refused} puts refused, {failed} commits failed: both have to be seen");
}
