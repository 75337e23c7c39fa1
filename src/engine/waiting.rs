//! What waits for a device's next push: for the end of a window, for a token, because the push service
//! could not take it, or for the trial of a suspended registration.

use std::time::Duration;

use super::about::{About, MAX_RINGING};
use super::identity::{PushId, ServiceKey};
use super::in_flight::Attempt;
use super::kept::Kept;
use super::pushed::Pushed;
use super::queue::Place;
use super::reason::Cause;
use super::rules::Receiver;
use crate::stanza::{Call, Importance};

/// How many waiting stanzas of a device are kept, for the case that listeners veto the first of
/// them. The others are only counted.
pub(super) const MAX_CANDIDATES: usize = 16;

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

/// One of several stanzas that a push could be for.
#[derive(Debug)]
struct Candidate<S> {
    kept: Kept<S>,
    about: About,
    since: Duration,
}

/// What a push is for.
pub(super) struct Chosen<S> {
    pub stanza: Option<S>,
    pub about: About,
    /// When it came.
    pub since: Duration,
}

/// The stanzas that wait for a device's next push.
#[derive(Debug)]
pub(super) struct Waiting<S> {
    candidates: Vec<Candidate<S>>,
    /// Those that are not kept, with the identity of one of them.
    rest: Option<About>,
    /// What the push was for that was given up last, if that is not kept. A late answer settles this, and
    /// nothing that came since.
    given_up: Option<About>,
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
            given_up: None,
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
    pub fn add(&mut self, came: Duration, about: About, kept: Option<Kept<S>>) {
        self.latest = self.latest.max(came);
        self.ids.add(about.ids);
        let dropped = match kept {
            None => Some(about),
            Some(kept) => {
                self.candidates.push(Candidate {
                    kept,
                    about,
                    since: came,
                });
                self.drop_least_important()
            }
        };
        if let Some(dropped) = dropped {
            self.set_aside(dropped);
        }
    }

    /// Adds what a push was for that has been given up.
    pub fn give_up(&mut self, came: Duration, push: Attempt, kept: Option<Kept<S>>) {
        if let Some(before) = self.given_up.take() {
            self.add_to_rest(before);
        }
        self.late = Some(push);
        self.add(came, push.about, kept);
    }

    fn set_aside(&mut self, mut about: About) {
        about.importance = about.importance_untold();
        let is_given_up = self.late.is_some_and(|late| late.about.ids == about.ids);
        if is_given_up && self.given_up.is_none() {
            self.given_up = Some(about);
        } else {
            self.add_to_rest(about);
        }
    }

    fn add_to_rest(&mut self, about: About) {
        self.rest = Some(self.rest.map_or(about, |rest| rest.merge(about)));
    }

    fn drop_least_important(&mut self) -> Option<About> {
        if self.candidates.len() <= MAX_CANDIDATES {
            return None;
        }
        // The latest of those that matter least.
        let place = (0..self.candidates.len())
            .rev()
            .min_by_key(|&place| self.candidates[place].about.importance)?;
        Some(self.candidates.remove(place).about)
    }

    /// The push that was given up last has been answered: what it was for need not be pushed any more.
    pub fn settle_late(&mut self) {
        if let Some(late) = self.late.take() {
            self.candidates
                .retain(|one| one.about.ids != late.about.ids);
            self.given_up = None;
        }
    }

    /// Calls that `end` ends have been missed: they do not ring any more.
    pub fn end_call(&mut self, end: Call) {
        self.miss_calls(|about, _| about.end_call(end));
        for about in self.rest.iter_mut().chain(&mut self.given_up) {
            about.end_call(end);
        }
    }

    /// So have those that have rung for too long.
    pub fn end_old_calls(&mut self, now: Duration) {
        self.miss_calls(|about, since| {
            let is_over = about.importance == Importance::Urgent && now > since + MAX_RINGING;
            if is_over {
                about.miss_call();
            }
            is_over
        });
        if now > self.latest + MAX_RINGING {
            for about in self.rest.iter_mut().chain(&mut self.given_up) {
                about.miss_call();
            }
        }
    }

    /// What rings by its stanza must not be pushed with it.
    fn miss_calls(&mut self, mut is_over: impl FnMut(&mut About, Duration) -> bool) {
        let over = self
            .candidates
            .extract_if(.., |one| is_over(&mut one.about, one.since));
        let over: Vec<_> = over.map(|one| one.about).collect();
        for about in over {
            self.set_aside(about);
        }
    }

    /// How much the most important one matters.
    pub fn importance(&self) -> Option<Importance> {
        self.all().map(|about| about.importance).max()
    }

    /// The same, once the stanzas are lost.
    pub fn importance_untold(&self) -> Option<Importance> {
        self.all().map(About::importance_untold).max()
    }

    /// How much the next push matters: without its stanza nothing rings.
    pub fn next_importance(&self) -> Option<Importance> {
        let highest = self.importance()?;
        let mut kept = self.candidates.iter();
        let is_kept = kept.any(|one| one.about.importance == highest);
        Some(if is_kept {
            highest
        } else {
            highest.min(Importance::Important)
        })
    }

    /// Who learns of all of them without a push.
    pub fn receiver(&self) -> Receiver {
        let all = self.all().map(|about| about.receiver);
        all.max().unwrap_or(Receiver::AnySession)
    }

    fn all(&self) -> impl Iterator<Item = &About> {
        self.candidates
            .iter()
            .map(|one| &one.about)
            .chain(&self.rest)
            .chain(&self.given_up)
    }

    pub fn is_important(&self) -> bool {
        self.importance() >= Some(Importance::Important)
    }

    /// Whether the device is told of something by it.
    pub fn has_news(&self) -> bool {
        self.all().any(About::is_news)
    }

    /// Whether a device that this push has woken learns of all that waits.
    pub fn is_served_by(&self, push: &Attempt) -> bool {
        self.importance()
            .is_none_or(|importance| push.speaks_for(self.latest, importance))
    }

    pub fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }

    /// Takes the first one of the highest importance; one that is kept, if possible.
    pub fn take_most_important(&mut self) -> Option<Chosen<S>> {
        let highest = self.importance()?;
        let place = self
            .candidates
            .iter()
            .position(|one| one.about.importance == highest);
        let Some(place) = place else {
            let mut about = match (self.rest.take(), self.given_up.take()) {
                // It is more than what was given up.
                (Some(rest), Some(given_up)) => About {
                    ids: rest.ids,
                    ..rest.merge(given_up)
                },
                (rest, given_up) => rest.or(given_up)?,
            };
            // Without its stanza nothing rings.
            about.importance = about.importance.min(Importance::Important);
            return Some(Chosen {
                stanza: None,
                about,
                since: self.latest,
            });
        };
        let Candidate { kept, about, since } = self.candidates.remove(place);
        Some(Chosen {
            stanza: Some(kept.into_stanza()),
            about,
            since,
        })
    }

    /// The user has read all of it that matters.
    pub fn was_read(&mut self) {
        self.candidates.retain(|one| !one.about.is_news());
        self.rest.take_if(|about| about.is_news());
        self.given_up.take_if(|about| about.is_news());
    }

    pub fn is_due(&self, now: Duration) -> bool {
        matches!(self.until, Until::Turn { .. }) || self.due().is_some_and(|due| due <= now)
    }

    /// When its time comes, if that is known.
    pub fn due(&self) -> Option<Duration> {
        match self.until {
            Until::Time(due) => Some(due),
            Until::Service { retry, .. } => retry,
            Until::Answer(_) | Until::Room | Until::Turn { .. } => None,
        }
    }

    pub fn is_standing_by(&self) -> bool {
        matches!(self.until, Until::Answer(_))
    }

    pub fn is_standing_by_for(&self, id: PushId) -> bool {
        self.until == Until::Answer(id)
    }

    /// Whether there is something that waits, and does not stand by for a push that has left.
    pub fn is_waiting(&self) -> bool {
        !self.is_standing_by() && !self.is_empty()
    }

    /// Whether there is nothing but the trial of a suspended registration.
    pub fn is_mere_trial(&self) -> bool {
        self.cause == Cause::Suspension && self.ids.is_empty()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::answer::Fault;
    use crate::engine::failing::Failing;
    use crate::engine::identity::DeviceKey;
    use crate::engine::kept::Keeper;
    use crate::engine::queue::Queue;
    use crate::stanza::StanzaId;
    use Importance::{Important, Unimportant, Urgent};

    const KEEPER: fn(u64) -> Option<Kept<u64>> = |stanza| Keeper::default().keep(stanza);

    fn about(importance: Importance, id: u64) -> About {
        About {
            ids: [Some(StanzaId(id)), None],
            ..About::nothing(importance)
        }
    }

    fn waiting() -> Waiting<u64> {
        Waiting::new(Duration::ZERO, Until::Room, Cause::Room)
    }

    #[test]
    fn a_call_rings_for_a_minute_also_if_its_stanza_is_not_kept() {
        for kept in [None, KEEPER(1)] {
            let mut waiting = waiting();
            waiting.add(Duration::ZERO, about(Urgent, 1), kept);
            waiting.end_old_calls(MAX_RINGING);
            assert_eq!(waiting.importance(), Some(Urgent));
            waiting.end_old_calls(MAX_RINGING + Duration::from_nanos(1));
            assert_eq!(waiting.importance(), Some(Important));
            let chosen = waiting.take_most_important().unwrap();
            assert_eq!(chosen.stanza, None, "it would ring");
        }
    }

    #[test]
    fn what_matters_less_is_not_a_missed_call() {
        let mut waiting = waiting();
        waiting.add(Duration::ZERO, about(Unimportant, 1), None);
        waiting.add(Duration::ZERO, about(Important, 2), KEEPER(2));
        waiting.end_old_calls(MAX_RINGING * 2);
        assert_eq!(waiting.take_most_important().unwrap().stanza, Some(2));
        assert_eq!(waiting.importance(), Some(Unimportant));
    }

    #[test]
    fn the_first_of_the_most_important_are_kept() {
        let mut waiting = waiting();
        waiting.add(Duration::ZERO, about(Unimportant, 0), KEEPER(0));
        let last = u64::try_from(MAX_CANDIDATES).unwrap() + 1;
        for id in 1..=last {
            waiting.add(Duration::ZERO, about(Important, id), KEEPER(id));
        }
        let taken = std::iter::from_fn(|| waiting.take_most_important());
        let taken: Vec<_> = taken.map(|one| one.stanza).collect();
        // The one that matters least went, then the latest.
        let mut expected: Vec<_> = (1..last).map(Some).collect();
        expected.push(None);
        assert_eq!(taken, expected);
    }

    #[test]
    fn what_is_not_kept_is_one_push_for_all_that_matter() {
        let mut waiting = waiting();
        let add = |waiting: &mut Waiting<u64>, importance, id, receiver| {
            let about = About {
                receiver,
                ..about(importance, id)
            };
            waiting.add(Duration::from_secs(id), about, None);
        };
        add(&mut waiting, Unimportant, 1, Receiver::AvailableSession);
        add(&mut waiting, Important, 2, Receiver::AnySession);
        add(&mut waiting, Important, 3, Receiver::AnySession);
        add(&mut waiting, Unimportant, 4, Receiver::AnySession);
        assert_eq!(waiting.receiver(), Receiver::AvailableSession);
        assert!(waiting.is_important() && !waiting.is_empty());
        let chosen = waiting.take_most_important().unwrap();
        assert_eq!(
            (chosen.stanza, chosen.since),
            (None, Duration::from_secs(4))
        );
        assert_eq!(chosen.about.ids, about(Important, 2).ids);
        assert!(waiting.is_empty() && !waiting.is_important());
    }

    #[test]
    fn a_call_that_ends_is_missed_whether_kept_or_not() {
        let call = |begins: bool, id| {
            let party = crate::stanza::Party::new(id, 7, false);
            if begins {
                Call::Begins(party)
            } else {
                Call::Ends(party)
            }
        };
        let rings = |id| About {
            call: Some(call(true, id)),
            ..about(Urgent, id)
        };
        for (kept, other) in [(KEEPER(1), None), (None, KEEPER(2))] {
            let mut waiting = waiting();
            waiting.add(Duration::ZERO, rings(1), kept);
            waiting.end_call(call(false, 3));
            assert_eq!(waiting.importance(), Some(Urgent), "another one");
            waiting.end_call(call(false, 1));
            assert_eq!(waiting.importance(), Some(Important));
            waiting.add(Duration::ZERO, rings(2), other);
            waiting.end_call(call(false, 1));
            assert_eq!(waiting.importance(), Some(Urgent));
        }
    }

    #[test]
    fn when_it_is_due_depends_on_what_it_waits_for() {
        let place = || {
            let mut queue = Queue::default();
            queue.join(DeviceKey(1), false, Failing::default(), Fault::Route, false)
        };
        let service = |retry| Until::Service {
            service: ServiceKey(1),
            place: place(),
            retry,
        };
        let push = PushId {
            device: DeviceKey(1),
            nonce: 1,
        };
        let other = PushId { nonce: 2, ..push };
        let again = Duration::from_secs(99);
        let now = Duration::from_secs(10);
        for (until, due) in [
            (Until::Time(now), true),
            (Until::Time(now + MAX_RINGING), false),
            (service(Some(now)), true),
            (service(Some(again)), false),
            (service(None), false),
            (
                Until::Turn {
                    service: None,
                    again,
                },
                true,
            ),
            (Until::Answer(push), false),
            (Until::Room, false),
        ] {
            for cause in [Cause::Window, Cause::Room, Cause::Debt, Cause::Suspension] {
                let waiting = Waiting::<u64>::new(now, until, cause);
                assert_eq!(waiting.is_due(now), due, "{until:?}");
                let stands_by = until == Until::Answer(push);
                assert_eq!(waiting.is_standing_by(), stands_by);
                assert_eq!(waiting.is_standing_by_for(push), stands_by);
                assert!(!waiting.is_standing_by_for(other));
                assert_eq!(waiting.is_owed(), cause >= Cause::Debt && !stands_by);
            }
        }
    }

    #[test]
    fn all_that_it_takes_is_counted() {
        let mut waiting = waiting();
        assert_eq!(waiting.bytes(), 0);
        waiting.add(Duration::ZERO, about(Important, 1), KEEPER(1));
        let candidates = waiting.candidates.capacity() * size_of::<Candidate<u64>>();
        assert_eq!(waiting.bytes(), waiting.ids.bytes() + candidates);
        assert!(waiting.ids.bytes() > 0 && candidates > 0);
    }
}
