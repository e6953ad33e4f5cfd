//! Promise 6 with a third site: while all links are up nothing is sent twice, and one that is frozen costs the others
//! nothing. `third_site` in `src/bin` measures both at length.

use std::time::Duration;

use landbridge_tests::measure;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_all_links_up_each_record_goes_to_each_site_once() {
    // So long that no busy machine makes a link lag as much. What is not known by then to be at the third site is passed on.
    let sum = measure::forwarding("7s", 300, Duration::from_secs(3), Duration::from_secs(8)).await;
    assert_eq!(sum.records, 2.0 * 900.0, "{sum:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_site_costs_the_others_nothing_and_catches_up() {
    let seen = measure::frozen(100, Duration::from_secs(4)).await;
    for (without, with) in seen.without.iter().zip(&seen.with) {
        assert_eq!((without.count(), with.count()), (400, 400), "the same rate");
        // Far from what waiting for the frozen one would take, however busy the machine is.
        let (half, most) = (with.share(0.5), with.share(0.99));
        assert!(half < without.share(0.5) * 3 + Duration::from_millis(20), "{with}; without: {without}");
        assert!(most < without.share(0.99) * 3 + Duration::from_millis(200), "{with}; without: {without}");
    }
    assert_eq!(seen.entries, 2 * 400);
}
