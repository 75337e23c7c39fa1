//! How a push service has answered lately, for administrators.

use std::time::Duration;

/// How many of the last answers are remembered.
const MAX: usize = 32;

/// How a push service has answered lately.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// How long the last answers took, in milliseconds: a ring.
    latencies: [u32; MAX],
    /// How many there were, up to twice [`MAX`].
    count: usize,
    /// What was wrong last, and when.
    complaint: Option<(&'static str, Duration)>,
}

impl Health {
    /// It has answered, after so long.
    pub fn answered(&mut self, latency: Duration) {
        self.latencies[self.count % MAX] = u32::try_from(latency.as_millis()).unwrap_or(u32::MAX);
        self.count += 1;
        if self.count == 2 * MAX {
            self.count = MAX;
        }
    }

    /// A push was not taken: the condition.
    pub fn complained(&mut self, now: Duration, condition: &'static str) {
        self.complaint = Some((condition, now));
    }

    /// The condition of the last push that was not taken, and for how long that is past.
    pub fn complaint(&self, now: Duration) -> Option<(&'static str, Duration)> {
        self.complaint
            .map(|(condition, at)| (condition, now.saturating_sub(at)))
    }

    /// The median of the last latencies and the longest of them.
    pub fn latency(&self) -> Option<(Duration, Duration)> {
        let mut latencies = self.latencies;
        let latencies = &mut latencies[..self.count.min(MAX)];
        latencies.sort_unstable();
        let time = |milliseconds: u32| Duration::from_millis(milliseconds.into());
        let median = latencies.get(latencies.len() / 2)?;
        let worst = latencies.last()?;
        Some((time(*median), time(*worst)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn only_the_last_answers_count() {
        let mut health = Health::default();
        assert_eq!(health.latency(), None);
        health.answered(MS(9000));
        assert_eq!(health.latency(), Some((MS(9000), MS(9000))));
        for latency in 1..=2 {
            health.answered(MS(latency));
        }
        assert_eq!(health.latency(), Some((MS(2), MS(9000))));
        for latency in 101..=132 {
            health.answered(MS(latency));
        }
        assert_eq!(health.latency(), Some((MS(117), MS(132))));
        for latency in 0..100 {
            health.answered(MS(latency));
        }
        assert_eq!(health.latency(), Some((MS(84), MS(99))));
        health.answered(Duration::MAX);
        assert_eq!(health.latency().unwrap().1, MS(u32::MAX.into()));
    }

    #[test]
    fn the_last_complaint_is_known_with_its_age() {
        let mut health = Health::default();
        assert_eq!(health.complaint(MS(5)), None);
        health.complained(MS(10), "gone");
        health.complained(MS(20), "forbidden");
        assert_eq!(health.complaint(MS(50)), Some(("forbidden", MS(30))));
    }
}
