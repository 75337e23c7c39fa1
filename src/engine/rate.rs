//! The rate limit: how many pushes a device may get in any sixty seconds.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::stanza::Importance;

/// What the limit is about, in seconds.
const WINDOW: u32 = 60;

/// The pushes of the last minute, counted by the second: at most `WINDOW + 1` entries.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter(VecDeque<(u32, u32)>);

impl Meter {
    /// Until when a push has to wait; none if it may leave now. Calls may take twice as many: they must not
    /// wait, but cannot be a flood either. `per_minute` is 0 for no limit.
    pub fn wait(
        &mut self,
        now: Duration,
        per_minute: u32,
        importance: Importance,
    ) -> Option<Duration> {
        if per_minute == 0 {
            return None;
        }
        self.prune(now);
        let limit = if importance == Importance::Urgent {
            per_minute.saturating_mul(2)
        } else {
            per_minute
        };
        let mut count: u32 = self.0.iter().map(|(_, count)| count).sum();
        // The limit may have been lowered since, or calls have exceeded it.
        let mut due = None;
        for &(second, pushes) in &self.0 {
            if count < limit {
                break;
            }
            count -= pushes;
            due = Some(Duration::from_secs(u64::from(second + WINDOW + 1)));
        }
        due
    }

    /// Counts a push that leaves now.
    pub fn spend(&mut self, now: Duration) {
        self.prune(now);
        let second = second(now);
        match self.0.back_mut() {
            Some((last, count)) if *last == second => *count += 1,
            _ => self.0.push_back((second, 1)),
        }
    }

    /// The last push has not left after all.
    pub fn refund(&mut self) {
        if let Some((_, count)) = self.0.back_mut() {
            *count -= 1;
            self.0.pop_back_if(|(_, count)| *count == 0);
        }
    }

    /// Counts those of another one, too.
    pub fn absorb(&mut self, now: Duration, other: &Self) {
        let mut all = BTreeMap::new();
        for (second, count) in self.0.iter().chain(&other.0) {
            *all.entry(*second).or_default() += count;
        }
        self.0 = all.into_iter().collect();
        self.prune(now);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<(u32, u32)>()
    }

    /// Of the second that began sixty seconds ago some pushes may still count, so all of them do.
    fn prune(&mut self, now: Duration) {
        let first = second(now).saturating_sub(WINDOW);
        while self.0.front().is_some_and(|(second, _)| *second < first) {
            self.0.pop_front();
        }
    }
}

fn second(now: Duration) -> u32 {
    u32::try_from(now.as_secs()).unwrap_or(u32::MAX - WINDOW - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use Importance::{Important, Urgent};

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn what_exceeds_the_limit_waits_until_the_first_is_a_minute_old() {
        let mut meter = Meter::default();
        for n in 0..3 {
            assert_eq!(meter.wait(at(1500 + n), 3, Important), None);
            meter.spend(at(1500 + n));
        }
        assert_eq!(meter.0.len(), 1, "counted by the second");
        assert_eq!(meter.wait(at(2000), 3, Important), Some(at(62_000)));
        assert_eq!(meter.wait(at(61_999), 3, Important), Some(at(62_000)));
        assert_eq!(meter.wait(at(62_000), 3, Important), None);
    }

    #[test]
    fn calls_may_take_twice_as_many() {
        let mut meter = Meter::default();
        for _ in 0..4 {
            assert_eq!(meter.wait(at(0), 2, Urgent), None);
            meter.spend(at(0));
        }
        assert!(meter.wait(at(0), 2, Urgent).is_some());
    }

    #[test]
    fn a_lowered_limit_counts_what_was_sent_before() {
        let mut meter = Meter::default();
        (0..5).for_each(|n| meter.spend(at(n * 1000)));
        assert_eq!(meter.wait(at(5000), 2, Important), Some(at(64_000)));
        assert_eq!(meter.wait(at(5000), 0, Important), None, "no limit");
    }

    #[test]
    fn a_push_that_has_not_left_does_not_count() {
        let mut meter = Meter::default();
        meter.refund();
        meter.spend(at(0));
        meter.refund();
        assert_eq!(meter.wait(at(0), 1, Important), None);
        assert!(meter.0.is_empty());
    }

    #[test]
    fn no_moment_is_too_late() {
        let mut meter = Meter::default();
        meter.spend(Duration::MAX);
        assert!(meter.wait(Duration::MAX, 1, Important).is_some());
    }

    proptest! {
        #[test]
        fn no_sixty_seconds_hold_more(pauses in prop::collection::vec(0..9000u64, 1..400), limit in 1..20u32) {
            let mut meter = Meter::default();
            let (mut now, mut sent) = (0, Vec::new());
            for pause in pauses {
                now += pause;
                match meter.wait(at(now), limit, Important) {
                    None => {
                        meter.spend(at(now));
                        sent.push(now);
                    }
                    Some(due) => {
                        prop_assert!(due > at(now));
                        // It is no later than a second after the first of them has left the minute.
                        let first = sent[sent.len() - usize::try_from(limit).unwrap()];
                        prop_assert!(due <= at(first + 61_000));
                    }
                }
            }
            for (index, first) in sent.iter().enumerate() {
                let within = sent[index..].iter().filter(|at| **at < first + 60_000).count();
                prop_assert!(within <= usize::try_from(limit).unwrap());
            }
            prop_assert!(meter.0.len() <= 61);
        }
    }
}
