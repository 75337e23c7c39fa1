//! What the engine remembers of a device.

use std::collections::VecDeque;
use std::time::Duration;

use super::delivery::PushId;
use super::rate::Bucket;
use super::waiting::{Cause, Ids, Waiting};
use crate::stanza::{Importance, StanzaId};

/// How many stanzas a device is known to have been pushed for. A stanza that is older was met
/// by all the rules long ago; `smacks_max_queue_size` is 500 by default.
pub(super) const MAX_PUSHED: usize = 640;

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
    /// Pushes that wait for an answer.
    pub in_flight: u32,
    /// Permanent errors in a row.
    pub errors: u32,
    /// Transient failures in a row: attempts, however many pushes failed together.
    pub failures: u32,
    /// When the last of them was.
    pub failed_at: Duration,
    pub pushed: Pushed,
    pub spoke: Option<Spoke>,
    pub bucket: Bucket,
    pub waiting: Option<Waiting<S>>,
}

/// An important push of rule (a), which speaks for what follows shortly after.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spoke {
    pub at: Duration,
    pub until: Duration,
    pub by: PushId,
}

impl<S> Device<S> {
    pub fn new(user: &str, identifier: &str, epoch: u64) -> Self {
        Self {
            user: user.into(),
            identifier: identifier.into(),
            epoch,
            generation: epoch,
            in_flight: 0,
            errors: 0,
            failures: 0,
            failed_at: Duration::ZERO,
            pushed: Pushed::default(),
            spoke: None,
            bucket: Bucket::default(),
            waiting: None,
        }
    }

    /// Whether to forget it would lose a push.
    pub fn is_busy(&self) -> bool {
        self.in_flight > 0 || self.waiting.is_some()
    }

    /// Notes that an attempt has failed whose push was sent at `sent`.
    pub fn fail(&mut self, now: Duration, sent: Duration) {
        if self.failures == 0 || sent > self.failed_at {
            self.failures = self.failures.saturating_add(1);
            self.failed_at = now;
        }
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
                .is_some_and(|waiting| waiting.knows(id))
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
}

/// What a device was pushed for, the latest [`MAX_PUSHED`] stanzas at least. Most have one identity, and
/// none has more than two.
#[derive(Debug, Default)]
pub(super) struct Pushed(VecDeque<StanzaId>);

impl Pushed {
    pub fn contains(&self, id: StanzaId) -> bool {
        let (older, newer) = self.0.as_slices();
        newer.contains(&id) || older.contains(&id)
    }

    pub fn add(&mut self, ids: Ids) {
        for id in ids.into_iter().flatten() {
            if self.contains(id) {
                continue;
            }
            if self.0.len() == 2 * MAX_PUSHED {
                self.0.pop_front();
            }
            self.0.push_back(id);
        }
    }

    pub fn remove(&mut self, ids: Ids) {
        self.0.retain(|id| !ids.contains(&Some(*id)));
    }

    pub fn extend(&mut self, all: impl IntoIterator<Item = Ids>) {
        all.into_iter().for_each(|ids| self.add(ids));
    }
}
