//! What the engine remembers of a device.

use std::time::Duration;

use super::delivery::PushId;
use super::pushed::Pushed;
use super::rate::Meter;
use super::waiting::{Cause, Waiting};
use crate::stanza::{Importance, StanzaId};

/// A device that failed for so long, in so many attempts, is given up.
const DEAD_AFTER: Duration = Duration::from_hours(30 * 24);
const DEAD_FAILURES: u32 = 16;

/// Stands for one (user, identifier); a keyed hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct DeviceKey(pub u64);

/// When to push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    Now,
    SpokenFor,
    Later(Duration),
}

/// What the engine remembers of a device.
pub(super) struct Device<S> {
    pub user: Box<str>,
    pub identifier: Box<str>,
    /// Another one each time that the device is back: what was pushed before is received then.
    pub epoch: u64,
    /// Another one each time that the registration is enabled.
    pub generation: u64,
    /// Pushes that wait for an answer, in the order in which they left.
    pub in_flight: Vec<PushId>,
    /// Permanent errors in a row.
    pub errors: u32,
    pub failing: Failing,
    pub pushed: Pushed,
    pub spoke: Option<Spoke>,
    pub meter: Meter,
    pub waiting: Option<Waiting<S>>,
    /// When it was last asked for.
    pub touched: Duration,
}

/// An important push of rule (a), which speaks for what follows shortly after.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spoke {
    pub at: Duration,
    pub until: Duration,
    pub by: PushId,
}

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

    /// Whether it is time to give up.
    pub fn is_dead(&self, now: Duration) -> bool {
        self.attempts >= DEAD_FAILURES && now.saturating_sub(self.since) >= DEAD_AFTER
    }
}

impl<S> Device<S> {
    pub fn new(user: &str, identifier: &str, epoch: u64) -> Self {
        Self {
            user: user.into(),
            identifier: identifier.into(),
            epoch,
            generation: epoch,
            in_flight: Vec::new(),
            errors: 0,
            failing: Failing::default(),
            pushed: Pushed::default(),
            spoke: None,
            meter: Meter::default(),
            waiting: None,
            touched: Duration::ZERO,
        }
    }

    /// Whether to forget it would lose a push.
    pub fn is_busy(&self) -> bool {
        !self.in_flight.is_empty() || self.waiting.is_some()
    }

    /// Whether the registration is suspended and waits for its trial.
    pub fn is_suspended(&self) -> bool {
        let waiting = self.waiting.as_ref();
        waiting.is_some_and(|one| one.cause == Cause::Suspension && !one.is_standing_by())
    }

    /// Whether the device has been pushed for this stanza, or will be.
    pub fn knows(&self, id: StanzaId) -> bool {
        self.pushed.contains(id)
            || self
                .waiting
                .as_ref()
                .is_some_and(|waiting| waiting.ids.contains(id))
    }

    /// The pace of rule (a).
    pub fn pace(
        &self,
        now: Duration,
        window: Duration,
        importance: Importance,
        content: bool,
    ) -> Pace {
        let spoken_for = self.is_spoken_for(now);
        match importance {
            Importance::Urgent => Pace::Now,
            Importance::Important if content || !spoken_for => Pace::Now,
            _ if spoken_for => Pace::SpokenFor,
            _ if window.is_zero() => Pace::Now,
            _ => Pace::Later(now + window),
        }
    }

    /// Whether an important push speaks for what comes now.
    pub fn is_spoken_for(&self, now: Duration) -> bool {
        self.spoke.is_some_and(|spoke| now < spoke.until)
    }

    /// Whether an important push went out at or after `since`.
    pub fn spoke_since(&self, since: Duration) -> bool {
        self.spoke.is_some_and(|spoke| spoke.at >= since)
    }

    /// How much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.user.len()
            + self.identifier.len()
            + self.in_flight.capacity() * size_of::<PushId>()
            + self.pushed.bytes()
            + self.meter.bytes()
            + self.waiting.as_ref().map_or(0, Waiting::bytes)
    }
}
