//! Promise 1 while a wiped relay is filled and logs are compacted: kills in the middle of that lose nothing.
//! Many rounds: `cargo run --release -p landbridge-tests --bin crash_loop -- --transfer --rounds 200 --seed 1`.

use landbridge_tests::faults::transfer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_a_relay_is_killed_while_it_is_filled() {
    let (mut rounds, mut in_transfer) = (0, 0);
    transfer::run(2, 3, |round| {
        rounds = round.number;
        in_transfer += round.in_transfer;
    })
    .await;
    assert_eq!(rounds, 2);
    assert!(in_transfer > 0, "no kill hit a transfer");
}
