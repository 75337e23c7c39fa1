//! The administrator's choices.

use std::time::Duration;

use super::told::Counting;
use crate::stanza::{Facts, Importance};

/// Which stanzas may wake a device (`push_notify_on`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NotifyOn {
    /// Every stanza that the rules meet.
    #[default]
    All,
    /// Messages only.
    Messages,
    /// Important messages only.
    Important,
}

impl NotifyOn {
    /// The choice of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "all" => Some(Self::All),
            "messages" => Some(Self::Messages),
            "important" => Some(Self::Important),
            _ => None,
        }
    }

    pub(super) fn wants(self, stanza: &Facts) -> bool {
        match self {
            Self::All => true,
            Self::Messages => stanza.message,
            Self::Important => stanza.importance >= Importance::Important,
        }
    }
}

/// The administrator's choices, as far as they concern the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `push_max_errors`: permanent errors in a row that suspend a registration.
    pub max_errors: u32,
    /// `push_coalesce_window`: for how long an important push of rule (a), or a call, speaks for what follows.
    pub coalesce_window: Duration,
    /// `push_answer_timeout`: how long a push service may take to answer.
    pub answer_timeout: Duration,
    /// `push_max_per_minute`: pushes per device in any sixty seconds; 0 for no limit.
    pub max_per_minute: u32,
    /// `push_notify_on`.
    pub notify_on: NotifyOn,
    /// `push_retry_min`: the time until the second attempt after a transient failure.
    pub retry_min: Duration,
    /// `push_retry_max`: the longest time between two attempts.
    pub retry_max: Duration,
    /// `push_retry_age`: for how long a device is owed a push.
    pub retry_age: Duration,
    /// `push_max_failures`: failures in a row that speak against a push service, after which it is left
    /// alone; 0 for never.
    pub max_failures: u32,
    /// `push_max_in_flight`: pushes to one push service that may wait for an answer.
    pub max_in_flight: usize,
    /// `push_recovery_rate`: owed pushes per second to a push service that is back.
    pub recovery_rate: u32,
    /// `push_wake_before_timeout`: how long before a hibernated session ends its device is woken; zero for never.
    pub wake_before_timeout: Duration,
    /// `push_notification_count`.
    pub counting: Counting,
    /// `push_trace`: the trail is kept.
    pub trace: bool,
}

impl Options {
    /// The time until another attempt: exponential. `jitter`, from 1 on, keeps those apart that
    /// failed together.
    pub(super) fn backoff(&self, attempt: u32, jitter: f64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(30);
        let base = self.retry_min.saturating_mul(1 << doublings);
        let longest = self.retry_max.max(self.retry_min);
        base.min(longest).mul_f64(jitter).min(longest)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_errors: 16,
            coalesce_window: Duration::from_secs(1),
            answer_timeout: Duration::from_mins(2),
            max_per_minute: 60,
            notify_on: NotifyOn::All,
            retry_min: Duration::from_secs(5),
            retry_max: Duration::from_mins(30),
            retry_age: Duration::from_hours(24),
            max_failures: 5,
            max_in_flight: 4096,
            recovery_rate: 50,
            wake_before_timeout: Duration::ZERO,
            counting: Counting::One,
            trace: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_have_the_names_that_are_documented() {
        let named = ["all", "messages", "important", "none"].map(NotifyOn::from_name);
        let expected = [NotifyOn::All, NotifyOn::Messages, NotifyOn::Important];
        assert_eq!(named[..3], expected.map(Some));
        assert_eq!(named[3], None);
    }
}
