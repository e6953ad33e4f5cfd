//! Promises 1 and 5: what was acknowledged survives `kill -9`, at both sites, and listeners miss nothing.
//! Fifty rounds: `cargo run --release -p landbridge-tests --bin crash_loop -- --rounds 50 --seed 1`.

use landbridge_tests::crash;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_relays_are_killed() {
    let mut rounds = 0;
    crash::run(4, 7, |round| {
        assert!(round.writes > 0, "a round without writes shows nothing");
        rounds = round.number;
    })
    .await;
    assert_eq!(rounds, 4);
}
