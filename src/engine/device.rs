//! What the engine remembers of a device.

use std::collections::VecDeque;
use std::time::Duration;

use super::delivery::PushId;
use super::rate::Bucket;
use super::waiting::{Ids, Waiting};
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
    /// Pushes that wait for an answer.
    pub in_flight: u32,
    /// Permanent errors in a row.
    pub errors: u32,
    /// Transient failures in a row.
    pub failures: u32,
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
            in_flight: 0,
            errors: 0,
            failures: 0,
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

/// What a device was pushed for, the latest [`MAX_PUSHED`] stanzas: most have one identity.
#[derive(Debug, Default)]
pub(super) struct Pushed(VecDeque<StanzaId>);

impl Pushed {
    pub fn contains(&self, id: StanzaId) -> bool {
        let (older, newer) = self.0.as_slices();
        newer.contains(&id) || older.contains(&id)
    }

    pub fn add(&mut self, ids: Ids) {
        for id in ids.into_iter().flatten() {
            if self.0.len() == MAX_PUSHED {
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
