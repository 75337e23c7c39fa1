//! What waits for a device's next push: for the end of a window, for a token, because the push service
//! could not take it, or for the trial of a suspended registration.

use std::sync::Arc;
use std::time::Duration;

use super::delivery::{Attempt, PushId};
use super::pushed::{Ids, Pushed};
use super::service::{Place, ServiceKey};
use crate::stanza::Importance;

/// How many waiting stanzas of a device are kept, for the case that listeners veto the first of
/// them. The others are only counted.
pub(super) const MAX_CANDIDATES: usize = 16;

/// How many stanzas are kept for all devices together. A push without its stanza still wakes.
const MAX_KEPT: usize = 4096;

/// For how long a call rings. What is owed later than that is the push for a missed one.
const MAX_RINGING: Duration = Duration::from_mins(1);

/// Stanzas are kept as long as there is room.
#[derive(Debug, Default)]
pub(super) struct Keeper(Arc<()>);

/// A stanza that is kept.
#[derive(Debug)]
pub(super) struct Kept<S> {
    stanza: S,
    _room: Arc<()>,
}

impl Keeper {
    pub fn keep<S>(&self, stanza: S) -> Option<Kept<S>> {
        (Arc::strong_count(&self.0) <= MAX_KEPT).then(|| Kept {
            stanza,
            _room: self.0.clone(),
        })
    }
}

/// Until when stanzas wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// A moment.
    Time(Duration),
    /// The answer to the push that speaks for them.
    Answer(PushId),
    /// The answer to any push of the device: too many are under way.
    Room,
    /// A sign of life of the push service; `retry` is when the device tries again by itself.
    Service {
        service: ServiceKey,
        place: Place,
        retry: Option<Duration>,
    },
    /// It is the device's turn: see [`crate::engine::Engine::release`]. If nobody takes it, it comes
    /// `again`.
    Turn {
        service: Option<ServiceKey>,
        again: Duration,
    },
}

/// Why stanzas wait. What comes later is the stronger reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// Unimportant ones wait for the end of `push_coalesce_window`.
    Window,
    /// `push_max_per_minute` is reached.
    Rate,
    /// Too many pushes wait for an answer.
    Room,
    /// The device is owed a push that the push service could not take.
    Debt,
    /// The registration is suspended until its next trial.
    Suspension,
}

/// One of several stanzas that a push could be for.
#[derive(Debug)]
struct Candidate<S> {
    kept: Kept<S>,
    ids: Ids,
    importance: Importance,
    since: Duration,
}

/// What a push is for.
pub(super) struct Chosen<S> {
    pub stanza: Option<S>,
    pub ids: Ids,
    pub importance: Importance,
    /// When it came.
    pub since: Duration,
}

/// The stanzas that wait for a device's next push.
#[derive(Debug)]
pub(super) struct Waiting<S> {
    candidates: Vec<Candidate<S>>,
    /// How much those matter that are not kept, with the identity of one of them.
    rest: Option<(Importance, Ids)>,
    /// All that the push will speak for, once it has left.
    pub ids: Pushed,
    /// When the first one came.
    pub since: Duration,
    /// When the last one came.
    pub latest: Duration,
    pub until: Until,
    pub cause: Cause,
    /// The push that was given up last: it may be answered yet.
    pub late: Option<Attempt>,
}

impl<S> Waiting<S> {
    pub fn new(now: Duration, until: Until, cause: Cause) -> Self {
        Self {
            candidates: Vec::new(),
            rest: None,
            ids: Pushed::default(),
            since: now,
            latest: now,
            until,
            cause,
            late: None,
        }
    }

    /// Adds a stanza; without one the push will only speak for it. `came` is when it came, however
    /// often it was tried since.
    pub fn add(&mut self, came: Duration, ids: Ids, importance: Importance, kept: Option<Kept<S>>) {
        self.latest = self.latest.max(came);
        self.ids.add(ids);
        let dropped = match kept {
            None => Some((importance, ids)),
            Some(kept) => {
                self.candidates.push(Candidate {
                    kept,
                    ids,
                    importance,
                    since: came,
                });
                self.drop_least_important()
            }
        };
        if let Some(dropped) = dropped
            && self.rest.is_none_or(|rest| rest.0 < dropped.0)
        {
            self.rest = Some(dropped);
        }
    }

    fn drop_least_important(&mut self) -> Option<(Importance, Ids)> {
        if self.candidates.len() <= MAX_CANDIDATES {
            return None;
        }
        // The latest of those that matter least.
        let place = (0..self.candidates.len())
            .rev()
            .min_by_key(|&place| self.candidates[place].importance)?;
        let dropped = self.candidates.remove(place);
        Some((dropped.importance, dropped.ids))
    }

    /// This one need not be pushed any more.
    pub fn remove(&mut self, ids: Ids) {
        self.candidates.retain(|one| one.ids != ids);
        self.rest.take_if(|(_, rest)| *rest == ids);
    }

    /// How much the most important one matters.
    pub fn importance(&self) -> Option<Importance> {
        let kept = self.candidates.iter().map(|one| one.importance).max();
        kept.max(self.rest.map(|(importance, _)| importance))
    }

    pub fn is_important(&self) -> bool {
        self.importance() >= Some(Importance::Important)
    }

    /// Whether a device that this push has woken learns of all that waits.
    pub fn is_served_by(&self, push: &Attempt) -> bool {
        self.importance()
            .is_none_or(|importance| push.speaks_for(self.latest, importance))
    }

    pub fn is_empty(&self) -> bool {
        self.candidates.is_empty() && self.rest.is_none()
    }

    /// Takes the first one of the highest importance; one that is kept, if possible.
    pub fn take_most_important(&mut self, now: Duration) -> Option<Chosen<S>> {
        let highest = self.importance()?;
        let place = self
            .candidates
            .iter()
            .position(|one| one.importance == highest);
        let Some(place) = place else {
            let (importance, ids) = self.rest.take()?;
            return Some(Chosen {
                stanza: None,
                ids,
                importance: importance.min(Importance::Important),
                since: self.latest,
            });
        };
        let Candidate {
            kept,
            ids,
            importance,
            since,
        } = self.candidates.remove(place);
        let is_over = importance == Importance::Urgent && now > since + MAX_RINGING;
        Some(Chosen {
            stanza: (!is_over).then_some(kept.stanza),
            ids,
            importance: if is_over {
                Importance::Important
            } else {
                importance
            },
            since,
        })
    }

    pub fn is_due(&self, now: Duration) -> bool {
        match self.until {
            Until::Time(due)
            | Until::Service {
                retry: Some(due), ..
            } => due <= now,
            Until::Turn { .. } => true,
            Until::Answer(_) | Until::Room | Until::Service { retry: None, .. } => false,
        }
    }

    pub fn is_standing_by(&self) -> bool {
        matches!(self.until, Until::Answer(_))
    }

    pub fn is_standing_by_for(&self, id: PushId) -> bool {
        self.until == Until::Answer(id)
    }

    /// Whether an attempt has to succeed before anything else is pushed.
    pub fn is_owed(&self) -> bool {
        self.cause >= Cause::Debt && !self.is_standing_by()
    }

    /// How much memory it takes, in bytes, but for the stanzas.
    pub fn bytes(&self) -> usize {
        self.ids.bytes() + self.candidates.capacity() * size_of::<Candidate<S>>()
    }
}
