//! The rate limit of rules (b) and (c): a token bucket per device.

use std::time::Duration;

use super::device::Pace;
use crate::stanza::Importance;

/// How many pushes a device may still get. A device that has not been seen for a minute has
/// a full bucket.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bucket {
    /// Pushes beyond the steady rate; more than the size where calls have overdrawn it.
    spent: f64,
    at: Duration,
}

impl Bucket {
    /// Takes a token, or says when there will be one. Calls may overdraw the bucket by as much
    /// as it holds: they must not wait, but cannot be a flood either.
    ///
    /// `per_minute` is both the size and the rate; 0 means no limit.
    pub fn pace(&mut self, now: Duration, per_minute: u32, importance: Importance) -> Pace {
        if per_minute == 0 {
            return Pace::Now;
        }
        self.refill(now, per_minute);
        let size = f64::from(per_minute);
        let limit = if importance == Importance::Urgent {
            2.0 * size
        } else {
            size
        };
        if self.spent + 1.0 <= limit {
            self.spent += 1.0;
            Pace::Now
        } else {
            let missing = self.spent + 1.0 - size;
            Pace::Later(now + Duration::from_secs_f64(missing * 60.0 / size))
        }
    }

    /// Takes a token, whether or not there is one.
    pub fn spend(&mut self, now: Duration, per_minute: u32) {
        self.refill(now, per_minute);
        self.spent += 1.0;
    }

    /// Gives the last token back.
    pub fn refund(&mut self) {
        self.spent = (self.spent - 1.0).max(0.0);
    }

    fn refill(&mut self, now: Duration, per_minute: u32) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        let size = f64::from(per_minute);
        // The limit may have been lowered since.
        self.spent = (self.spent.min(2.0 * size) - passed * size / 60.0).max(0.0);
        self.at = now;
    }
}
