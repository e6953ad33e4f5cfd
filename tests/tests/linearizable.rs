//! What one relay promises its own site: reads, writes and conditional writes of a key take effect one at a time, between
//! call and answer, through `kill -9` and restart. Judged on what real sessions saw, by a checker that others wrote.
//! For long: `cargo run --release -p landbridge-tests --bin histories -- --rounds 500 --seed 1`.

use landbridge_tests::linear::contest;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_sessions_see_of_a_key_is_linearizable_through_kills() {
    let (mut operations, mut unanswered) = (0, 0);
    contest::run(3, 5, |round| {
        operations += round.operations;
        unanswered += round.unanswered;
    })
    .await;
    assert!(operations > 300 && unanswered > 0, "{operations} operations, {unanswered} without an answer");
}
