//! What the engine remembers of a device.

use std::collections::VecDeque;
use std::time::Duration;

use super::delivery::PushId;
use super::rate::Bucket;
use crate::stanza::{Importance, StanzaId};

/// How many stanzas a device is known to have been pushed for. A stanza that is older was met
/// by all the rules long ago; `smacks_max_queue_size` is 500 by default.
const MAX_PUSHED: usize = 640;

/// How many waiting stanzas are kept, for the case that listeners veto the first of them.
pub(super) const MAX_WAITING: usize = 64;

/// All that a stanza is recognised by.
pub(super) type Ids = [Option<StanzaId>; 2];

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
    /// Permanent errors in a row.
    pub errors: u32,
    pub pushed: Pushed,
    pub spoke: Option<Spoke>,
    pub bucket: Bucket,
    pub held: Option<Held<S>>,
}

/// An important push of rule (a), which speaks for what follows shortly after.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spoke {
    pub at: Duration,
    pub until: Duration,
    pub by: PushId,
}

impl<S> Device<S> {
    pub fn new(user: &str, identifier: &str) -> Self {
        Self {
            user: user.into(),
            identifier: identifier.into(),
            errors: 0,
            pushed: Pushed::default(),
            spoke: None,
            bucket: Bucket::default(),
            held: None,
        }
    }

    /// Whether the device has been pushed for this stanza, or will be.
    pub fn knows(&self, id: StanzaId) -> bool {
        self.pushed.contains(id)
            || self
                .held
                .as_ref()
                .is_some_and(|held| held.ids.iter().any(|ids| ids.contains(&Some(id))))
    }

    /// The pace of rule (a).
    pub fn pace(
        &self,
        now: Duration,
        window: Duration,
        importance: Importance,
        content: bool,
    ) -> Pace {
        let spoken_for = self.spoke.is_some_and(|spoke| now < spoke.until);
        match importance {
            Importance::Urgent => Pace::Now,
            Importance::Important if content || !spoken_for => Pace::Now,
            _ if spoken_for => Pace::SpokenFor,
            _ if window.is_zero() => Pace::Now,
            _ => Pace::Later(now + window),
        }
    }

    /// Whether an important push went out at or after `since`.
    pub fn spoke_since(&self, since: Duration) -> bool {
        self.spoke.is_some_and(|spoke| spoke.at >= since)
    }
}

/// The stanzas that a device was pushed for, the latest [`MAX_PUSHED`] of them.
#[derive(Debug, Default)]
pub(super) struct Pushed(VecDeque<Ids>);

impl Pushed {
    pub fn contains(&self, id: StanzaId) -> bool {
        self.0.iter().any(|ids| ids.contains(&Some(id)))
    }

    pub fn add(&mut self, ids: Ids) {
        if self.0.len() == MAX_PUSHED {
            self.0.pop_front();
        }
        self.0.push_back(ids);
    }

    pub fn extend(&mut self, all: impl IntoIterator<Item = Ids>) {
        all.into_iter().for_each(|ids| self.add(ids));
    }
}

/// A stanza that waits to be pushed.
pub(super) struct Waiting<S> {
    pub stanza: S,
    pub ids: Ids,
    pub importance: Importance,
}

/// The stanzas that wait for a device's next push.
pub(super) struct Held<S> {
    /// The most important ones, candidates for the push.
    waiting: Vec<Waiting<S>>,
    /// All that the push will speak for, once it has left.
    pub ids: Vec<Ids>,
    /// When the first one came.
    pub since: Duration,
    /// When to push. `None` while one of them is on its way and the others stand by.
    pub due: Option<Duration>,
    /// It takes a token from the bucket.
    pub metered: bool,
    standing_by_for: Option<PushId>,
}

impl<S> Held<S> {
    pub fn new(since: Duration, due: Duration, metered: bool) -> Self {
        Self {
            waiting: Vec::new(),
            ids: Vec::new(),
            since,
            due: Some(due),
            metered,
            standing_by_for: None,
        }
    }

    /// Adds a stanza; without one the push will only speak for it.
    pub fn add(&mut self, ids: Ids, importance: Importance, stanza: Option<S>) {
        if self.ids.len() < MAX_PUSHED {
            self.ids.push(ids);
        }
        let Some(stanza) = stanza else { return };
        if self.waiting.len() == MAX_WAITING {
            let less = self
                .waiting
                .iter()
                .rposition(|other| other.importance < importance);
            let Some(less) = less else { return };
            self.waiting.remove(less);
        }
        self.waiting.push(Waiting {
            stanza,
            ids,
            importance,
        });
    }

    /// Whether one of the candidates is important.
    pub fn is_important(&self) -> bool {
        self.waiting
            .iter()
            .any(|waiting| waiting.importance >= Importance::Important)
    }

    /// The first one of the highest importance.
    pub fn take_most_important(&mut self) -> Option<Waiting<S>> {
        let highest = self
            .waiting
            .iter()
            .map(|waiting| waiting.importance)
            .max()?;
        let first = self
            .waiting
            .iter()
            .position(|waiting| waiting.importance == highest)?;
        Some(self.waiting.remove(first))
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn stand_by(&mut self, id: PushId) {
        self.due = None;
        self.standing_by_for = Some(id);
    }

    pub fn is_standing_by_for(&self, id: PushId) -> bool {
        self.due.is_none() && self.standing_by_for == Some(id)
    }
}
