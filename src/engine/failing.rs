//! Transient failures in a row, and when there have been enough.

use std::time::Duration;

/// A device that failed for so long, in so many attempts, is given up.
const DEAD_AFTER: Duration = Duration::from_hours(30 * 24);
const DEAD_FAILURES: u32 = 16;

/// Transient failures in a row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Failing {
    /// Attempts, however many pushes failed together.
    pub attempts: u32,
    /// When the first of them failed.
    pub since: Duration,
    /// When the last one did.
    pub at: Duration,
    /// A sign of life of the push service has released the device, and nothing has come of it yet.
    pub released: bool,
    /// How often nothing has come of it.
    pub in_vain: u32,
}

impl Failing {
    /// An attempt has failed whose push was sent at `sent`. After `pause` without one, nobody knows how it was
    /// meanwhile.
    pub fn fail(&mut self, now: Duration, sent: Duration, pause: Duration) {
        if self.attempts > 0 && sent <= self.at {
            return;
        }
        if self.attempts == 0 || self.at + pause < now {
            self.since = now;
        }
        self.attempts = self.attempts.saturating_add(1);
        self.at = now;
        if std::mem::take(&mut self.released) {
            self.in_vain = self.in_vain.saturating_add(1);
        }
    }

    /// What left at `sent` has been taken. Whether nothing has failed that left since: it works.
    pub fn settle(&mut self, sent: Duration) -> bool {
        let works = sent >= self.at;
        if works {
            *self = Self::default();
        }
        works
    }

    /// Whether it is time to give up.
    pub fn is_dead(&self, now: Duration) -> bool {
        self.attempts >= DEAD_FAILURES && now.saturating_sub(self.since) >= DEAD_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_fails_together_is_one_attempt() {
        let mut failing = Failing::default();
        failing.fail(at(0), at(0), at(100));
        failing.fail(at(10), at(0), at(100));
        assert_eq!((failing.attempts, failing.at), (1, at(0)));
        failing.fail(at(10), at(5), at(100));
        failing.fail(at(20), at(10), at(100));
        assert_eq!((failing.attempts, failing.since), (2, at(0)));
        failing.fail(at(20), at(11), at(100));
        let now = (failing.attempts, failing.since, failing.at);
        assert_eq!(now, (3, at(0), at(20)));
    }

    #[test]
    fn after_a_pause_it_may_have_worked_meanwhile() {
        let mut failing = Failing::default();
        failing.fail(at(10), at(5), at(100));
        assert_eq!(failing.since, at(10));
        failing.fail(at(110), at(50), at(100));
        assert_eq!(failing.since, at(10));
        failing.fail(at(211), at(150), at(100));
        assert_eq!((failing.attempts, failing.since), (3, at(211)));
    }

    #[test]
    fn so_many_failures_in_so_long_a_time_are_enough() {
        let is_dead = |attempts, now| {
            let since = at(7);
            let failing = Failing {
                attempts,
                since,
                at: since,
                ..Failing::default()
            };
            failing.is_dead(since + now)
        };
        assert!(is_dead(DEAD_FAILURES, DEAD_AFTER));
        assert!(!is_dead(DEAD_FAILURES - 1, DEAD_AFTER));
        assert!(!is_dead(DEAD_FAILURES, DEAD_AFTER.saturating_sub(at(1))));
    }
}
