//! When operations begin: as fast as answers come, or at a rate whatever they take.
//!
//! A timer of the runtime wakes at whole milliseconds only, so a thread keeps the pace; it grants what is due, and a
//! worker that takes a grant learns when it should have begun.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;

/// Grants operations; cheap to clone.
#[derive(Debug, Clone)]
pub(super) enum Pace {
    /// At once.
    Closed,
    /// One after the other, this far apart.
    Open {
        /// When the first one begins.
        begin: Instant,
        /// From one to the next.
        interval: Duration,
        /// Grants that are due and not taken.
        due: Arc<Semaphore>,
        /// Grants taken.
        taken: Arc<AtomicU64>,
    },
}

impl Pace {
    /// From now until `end`.
    pub(super) fn start(interval: Option<Duration>, end: Instant) -> Self {
        let Some(interval) = interval else { return Self::Closed };
        let (begin, due) = (Instant::now(), Arc::new(Semaphore::new(0)));
        let grants = due.clone();
        thread::spawn(move || {
            let mut granted = 0_u64;
            while Instant::now() < end && !grants.is_closed() {
                let of_now = count(begin.elapsed(), interval);
                grants.add_permits(of_now.saturating_sub(granted) as usize);
                granted = granted.max(of_now);
                thread::sleep(at(begin, interval, granted).saturating_duration_since(Instant::now()));
            }
            grants.close();
        });
        Self::Open { begin, interval, due, taken: Arc::default() }
    }

    /// Waits for the next operation; tells when it should begin. Nothing where none is to begin any more.
    pub(super) async fn next(&self, end: Instant) -> Option<Instant> {
        match self {
            Self::Closed => Some(Instant::now()).filter(|now| *now < end),
            Self::Open { begin, interval, due, taken } => {
                due.acquire().await.ok()?.forget();
                Some(at(*begin, *interval, taken.fetch_add(1, Ordering::Relaxed)))
            }
        }
    }
}

/// Operations that begin within `elapsed`.
fn count(elapsed: Duration, interval: Duration) -> u64 {
    (elapsed.as_nanos() / interval.as_nanos().max(1)) as u64 + 1
}

fn at(begin: Instant, interval: Duration, number: u64) -> Instant {
    begin + Duration::from_nanos(interval.as_nanos() as u64 * number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_begin_as_the_rate_says() {
        let interval = Duration::from_micros(200);
        assert_eq!(count(Duration::ZERO, interval), 1);
        assert_eq!(count(Duration::from_micros(199), interval), 1);
        assert_eq!(count(Duration::from_micros(200), interval), 2);
        assert_eq!(count(Duration::from_secs(1), interval), 5001);
    }

    #[tokio::test]
    async fn a_late_operation_learns_when_it_should_have_begun() {
        let (interval, end) = (Duration::from_millis(1), Instant::now() + Duration::from_millis(20));
        let pace = Pace::start(Some(interval), end);
        let Pace::Open { begin, .. } = &pace else { unreachable!("a rate was named") };
        let mut begins = Vec::new();
        while let Some(at) = pace.next(end).await {
            begins.push(at);
        }
        assert!(begins.len() >= 2, "{begins:?}");
        for (number, at) in begins.iter().enumerate() {
            assert_eq!(*at, *begin + interval * number as u32);
        }
    }
}
