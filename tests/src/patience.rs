//! Waiting for a condition: the one place where tests are patient.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep};

/// How long anything may take. Far more than it needs, as machines are busy; a test that passes never waits so long.
pub const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits until `look` gives something, and gives it on.
///
/// # Panics
/// When it has given nothing for [`PATIENCE`]; says what was awaited.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "waited {PATIENCE:?} in vain for: {what}");
        sleep(LOOK_EVERY).await;
    }
}

/// As [`until`], for what needs no waiting to be looked at.
pub async fn until_true(what: &str, mut look: impl FnMut() -> bool) {
    until(what, || {
        let seen = look().then_some(());
        async move { seen }
    })
    .await;
}
