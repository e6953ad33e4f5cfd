//! Promise 1 on a sick disk: a store of which bits flipped is whole, or refused and mended by `--recover`; never wrong.
//! Many rounds: `cargo run --release -p landbridge-tests --bin crash_loop -- --flip-bits --rounds 200 --seed 1`.

use landbridge_tests::faults::flips::{self, Outcome};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_with_flipped_bits_is_whole_or_refused_and_never_wrong() {
    let (mut rounds, mut refused) = (0, 0);
    flips::run(4, 11, |round| {
        rounds = round.number;
        refused += u32::from(round.outcome != Outcome::Complete);
    })
    .await;
    assert_eq!(rounds, 4);
    assert!(refused > 0, "flips that nobody minds show nothing");
}
