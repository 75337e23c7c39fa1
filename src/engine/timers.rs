//! Every deadline that the engine can have.

use std::collections::BTreeSet;
use std::time::Duration;

use super::identity::{DeviceKey, PushId, ServiceKey};

/// What happens at a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A push has not been answered in time.
    Answer(PushId),
    /// What waits for a device is to be pushed.
    Waiting(DeviceKey),
    /// A push service that is left alone may be probed.
    Probe(ServiceKey),
    /// A push service that is back gets the next helping of owed pushes.
    Helping(ServiceKey),
    /// A hibernated session of a device is about to end.
    Wake(DeviceKey),
}

/// The deadlines in their order.
#[derive(Debug, Default)]
pub(super) struct Timers(BTreeSet<(Duration, Timer)>);

impl Timers {
    pub fn set(&mut self, at: Duration, timer: Timer) {
        self.0.insert((at, timer));
    }

    pub fn unset(&mut self, at: Duration, timer: Timer) {
        self.0.remove(&(at, timer));
    }

    pub fn next(&self) -> Option<Duration> {
        self.0.first().map(|(at, _)| *at)
    }

    /// The first one that is not later than `now`.
    pub fn pop(&mut self, now: Duration) -> Option<Timer> {
        self.next().filter(|at| *at <= now)?;
        self.0.pop_first().map(|(_, timer)| timer)
    }
}
