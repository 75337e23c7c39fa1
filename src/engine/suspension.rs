//! Registrations that are suspended: nothing is pushed but a trial now and then.
//!
//! XEP-0357 section 7.1 allows to try again after a day. It is kept in the user's record, so times
//! are those of the wall clock.

use std::time::Duration;

/// A day, in seconds.
const DAY: i64 = 24 * 3600;

/// How often the pause before a trial is doubled.
const DOUBLINGS: u32 = 4;

/// The longest pause.
pub(super) const LONGEST: Duration = Duration::from_hours(24 << DOUBLINGS);

/// After so many seconds of trials that have failed the registration goes.
const REMOVED_AFTER: i64 = 30 * DAY;

/// The suspension of a registration, as its record has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspension {
    /// Since when, in seconds since 1970.
    pub since: i64,
    /// Trials that have failed.
    pub trials: u32,
    /// When the next trial may be, in seconds since 1970.
    pub until: i64,
}

impl Suspension {
    /// The suspension after another failure at `now`: the first trial is after a day, each later one
    /// after twice as long. `None` if there have been trials for thirty days: the registration has to go.
    pub fn after(previous: Option<Self>, now: i64) -> Option<Self> {
        let (since, trials) = match previous {
            None => (now, 0),
            Some(previous) => (previous.since.min(now), previous.trials.saturating_add(1)),
        };
        if now.saturating_sub(since) >= REMOVED_AFTER {
            return None;
        }
        let pause = DAY.saturating_mul(1 << trials.min(DOUBLINGS));
        Some(Self {
            since,
            trials,
            until: now.saturating_add(pause),
        })
    }

    /// Seconds until the next trial. However the clock is set, it is not further away than the pauses
    /// that [`Self::after`] makes.
    pub fn remaining(self, now: i64) -> u64 {
        let longest = DAY.saturating_mul(1 << self.trials.min(DOUBLINGS));
        let remaining = self.until.saturating_sub(now).clamp(0, longest);
        remaining.unsigned_abs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_come_after_a_day_then_less_often_and_end_after_thirty() {
        let first = Suspension::after(None, 1000).unwrap();
        assert_eq!((first.since, first.trials), (1000, 0));
        assert_eq!(first.remaining(1000), 24 * 3600);
        let mut now = 1000;
        let mut suspension = first;
        let mut pauses = Vec::new();
        loop {
            let pause = suspension.remaining(now);
            pauses.push(pause / 86400);
            now += i64::try_from(pause).unwrap();
            match Suspension::after(Some(suspension), now) {
                Some(next) => suspension = next,
                None => break,
            }
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16]);
        assert_eq!((now - 1000) / DAY, 31);
    }

    #[test]
    fn a_clock_that_jumps_delays_no_trial_beyond_its_pause() {
        let suspension = Suspension::after(None, 1_000_000).unwrap();
        assert_eq!(suspension.remaining(0), 24 * 3600);
        assert_eq!(suspension.remaining(i64::MAX), 0);
        let odd = Suspension {
            since: i64::MAX,
            trials: u32::MAX,
            until: i64::MIN,
        };
        assert_eq!(odd.remaining(i64::MAX), 0);
        assert_eq!(Suspension::after(Some(odd), 10).unwrap().since, 10);
    }
}
