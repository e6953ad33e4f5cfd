//! A byte-rate limit: what was sent puts off what is sent next.

use landbridge_protocol::time::{Millis, Timestamp};

/// The pace of one link. Pure: what is sent is told to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pace {
    /// Bytes a second; `None`: as fast as it goes.
    limit: Option<u64>,
    /// Thousandths of bytes that are sent and not yet paid for by time, as of then.
    debt: u64,
    at: Timestamp,
}

impl Pace {
    /// Nothing is sent yet.
    pub(super) fn new(limit: Option<u64>) -> Self {
        Self { limit: limit.map(|limit| limit.max(1)), debt: 0, at: Timestamp::ZERO }
    }

    /// Whether there is a limit at all.
    pub(super) fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// So many bytes go out.
    pub(super) fn spend(&mut self, bytes: usize, now: Timestamp) {
        self.pay(now);
        if self.limit.is_some() {
            self.debt = self.debt.saturating_add((bytes as u64).saturating_mul(1000));
        }
    }

    /// When the next bytes may go; `None`: now.
    pub(super) fn until(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.pay(now);
        let limit = self.limit.filter(|_| self.debt > 0)?;
        Some(now.after(Millis::new(self.debt.div_ceil(limit))))
    }

    /// How many bytes one batch is made of, so that it does not go out in leaps of many seconds.
    pub(super) fn batch_bytes(&self, most: usize) -> usize {
        let quarter = self.limit.map(|limit| usize::try_from(limit / 4).unwrap_or(usize::MAX).max(1));
        quarter.map_or(most, |quarter| most.min(quarter))
    }

    fn pay(&mut self, now: Timestamp) {
        let paid = now.since(self.at).get().saturating_mul(self.limit.unwrap_or(0));
        self.debt = self.debt.saturating_sub(paid);
        // Also where the clock was set back: else nothing would be paid until it is where it was.
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + ms)
    }

    #[test]
    fn over_any_while_no_more_goes_than_the_limit_and_one_batch() {
        let mut pace = Pace::new(Some(10_000));
        let (mut now, mut sent) = (0, 0);
        while now < 60_000 {
            match pace.until(at(now)) {
                Some(until) => now = until.since(at(0)).get(),
                None => {
                    pace.spend(777, at(now));
                    sent += 777;
                }
            }
        }
        // A wait is whole milliseconds, and what is left of the last is not saved up.
        assert!((594_000..=600_000 + 777).contains(&sent), "{sent}");
    }

    #[test]
    fn what_was_not_used_is_not_saved_up_and_a_clock_that_goes_back_forgives_nothing() {
        let mut pace = Pace::new(Some(1_000));
        assert_eq!(pace.until(at(0)), None);
        pace.spend(500, at(3_600_000));
        assert_eq!(pace.until(at(3_600_000)), Some(at(3_600_500)));
        assert_eq!(pace.until(at(3_600_500)), None);
        pace.spend(500, at(3_600_500));
        assert_eq!(pace.until(at(0)), Some(at(500)), "nor does it wait for the clock to be where it was");
        assert_eq!(pace.until(at(500)), None);
        assert_eq!(pace.batch_bytes(1 << 20), 250);
    }

    #[test]
    fn without_a_limit_everything_goes_at_once() {
        let mut pace = Pace::new(None);
        pace.spend(usize::MAX, at(0));
        assert_eq!((pace.until(at(0)), pace.batch_bytes(77)), (None, 77));
    }
}
