//! The trail: what has been decided for a user's devices and what has come back, for whoever asks why a phone
//! stayed silent. Of a stanza it holds nothing but its [`Label`] and how much it matters.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::time::Duration;

use arrayvec::ArrayString;
use lru::LruCache;

use super::answer::Outcome;
use super::reason::{Occasion, Reason, Rule, Silence};
use crate::stanza::{Importance, Label};

/// How many entries there are of a user: the last ones.
pub(super) const MAX_ENTRIES: usize = 32;

/// How long the identifiers of a user may be all together, in bytes: some phones need a tenth of that. A few users with
/// long ones shall not take the trails of all others.
const MAX_NAMES: usize = 8192;

/// How much memory the trails of a host may take, in bytes: the users who were active least recently have none.
const MAX_BYTES: usize = 32 << 20;

/// What a user takes besides names and entries, and what an identifier does, as measured.
const OVERHEAD: usize = 288;
const OVERHEAD_OF_IDENTIFIER: usize = 48;

/// Something that has happened to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A stanza has met the registration.
    Met {
        /// By this rule.
        rule: Rule,
        /// How much it matters, and what may be known of it; nothing if nobody has had to look at it.
        stanza: Option<(Importance, Label)>,
        /// What has become of it.
        reason: Reason,
    },
    /// What had waited has had its turn.
    Turn {
        /// How much that mattered, if it has been pushed.
        importance: Option<Importance>,
        /// It was the trial of a suspended registration.
        trial: bool,
        /// What has become of it.
        reason: Reason,
    },
    /// It had its turn, but its registration could not be read.
    Unreadable,
    /// A stanza has come, but the user's registrations could not be read. It is nobody's device: its name is empty.
    Blind,
    /// There was an occasion for a push without a stanza.
    Ping(Occasion, Reason),
    /// All is read that the device was told of: a push that tells it so.
    Read(Reason),
    /// A listener has vetoed a push, for this reason.
    Vetoed(ArrayString<48>),
    /// A listener has failed: the push has left without text and sender.
    Discreet,
    /// The device is owed a push from before a restart.
    Restored,
    /// A push is over.
    Answered {
        /// What has become of it.
        outcome: Outcome,
        /// The condition of the error; none for a result, or if there was no answer.
        condition: Option<&'static str>,
        /// How long it took; none if no error has come, which means that it is taken.
        after: Option<Duration>,
        /// Whether the device is owed a push now.
        owed: bool,
    },
}

/// An event, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The registration's identifier.
    pub identifier: &'a str,
    /// When it happened first.
    pub since: Duration,
    /// When it happened last.
    pub at: Duration,
    /// How often it has happened in a row.
    pub count: u32,
    /// What.
    pub event: Event,
}

/// The trails of a host's users.
pub(super) struct Trail {
    users: LruCache<String, Steps>,
    bytes: usize,
    max_bytes: usize,
    is_on: bool,
}

impl Trail {
    /// One that is kept, or not.
    pub fn new(is_on: bool) -> Self {
        Self {
            users: LruCache::sparse(NonZeroUsize::MAX),
            bytes: 0,
            max_bytes: MAX_BYTES,
            is_on,
        }
    }

    /// Turns it on or off.
    pub fn turn(&mut self, is_on: bool) {
        if is_on != self.is_on {
            *self = Self::new(is_on);
        }
    }

    /// Something has happened to a device, so many times.
    pub fn add(&mut self, now: Duration, user: &str, identifier: &str, event: Event, count: u32) {
        if !self.is_on {
            return;
        }
        let steps = self.users.get_or_insert_mut_ref(user, Steps::default);
        let before = steps.bytes(user);
        steps.add(now, identifier, event, count);
        self.bytes = self.bytes - before + steps.bytes(user);
        while self.bytes > self.max_bytes
            && let Some((user, steps)) = self.users.pop_lru()
        {
            self.bytes -= steps.bytes(&user);
        }
    }

    /// How much memory they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets a user.
    pub fn forget(&mut self, user: &str) {
        if let Some(steps) = self.users.pop(user) {
            self.bytes -= steps.bytes(user);
        }
    }

    /// What has happened to a user's devices, newest last.
    pub fn of(&self, user: &str) -> Vec<Entry<'_>> {
        let Some(steps) = self.users.peek(user) else {
            return Vec::new();
        };
        let mut entries: Vec<_> = steps.entries().collect();
        entries.sort_by_key(|entry| entry.at);
        entries
    }
}

/// The trail of a user.
#[derive(Default)]
struct Steps {
    /// The registrations that there are entries of, and perhaps some more.
    identifiers: Vec<Box<str>>,
    /// How long their names are, in bytes.
    names: usize,
    last: VecDeque<Step>,
}

struct Step {
    /// Its place among the identifiers.
    device: usize,
    since: Duration,
    at: Duration,
    count: u32,
    event: Event,
}

impl Steps {
    fn add(&mut self, now: Duration, identifier: &str, event: Event, count: u32) {
        let device = self.device(identifier);
        // As long as it is silent, whatever for: several rules meet each stanza.
        let mut before = self
            .last
            .iter_mut()
            .rev()
            .filter(|step| step.device == device)
            .take_while(|step| step.event.is_silence());
        if let Some(same) = before.find(|step| step.event.goes_on_as(&event)) {
            same.at = now;
            same.count = same.count.saturating_add(count);
            same.event = event;
            return;
        }
        let length = self.last.len();
        if length == MAX_ENTRIES {
            self.last.pop_front();
        } else if length == self.last.capacity() {
            self.last.reserve_exact(length.max(1)); // Most users are seldom active
        }
        self.last.push_back(Step {
            device,
            since: now,
            at: now,
            count,
            event,
        });
    }

    fn device(&mut self, identifier: &str) -> usize {
        let known = self.identifiers.iter().position(|one| **one == *identifier);
        if let Some(device) = known {
            return device;
        }
        while (self.identifiers.len() > MAX_ENTRIES || self.names + identifier.len() > MAX_NAMES)
            && self.make_room()
        {}
        self.names += identifier.len();
        self.identifiers.reserve_exact(1);
        self.identifiers.push(identifier.into());
        self.identifiers.len() - 1
    }

    /// Forgets a registration that there are no entries of, or else the oldest entry. Returns whether there was one.
    fn make_room(&mut self) -> bool {
        let is_unused = |device: &usize| self.last.iter().all(|step| step.device != *device);
        let Some(unused) = (0..self.identifiers.len()).find(is_unused) else {
            return self.last.pop_front().is_some();
        };
        self.names -= self.identifiers.remove(unused).len();
        for step in &mut self.last {
            step.device -= usize::from(step.device > unused);
        }
        true
    }

    /// How much memory it takes; `user` is whose it is.
    fn bytes(&self, user: &str) -> usize {
        if self.last.is_empty() {
            return 0; // It is not there yet
        }
        OVERHEAD
            + user.len()
            + self.names
            + self.identifiers.len() * (size_of::<Box<str>>() + OVERHEAD_OF_IDENTIFIER)
            + self.last.capacity() * size_of::<Step>()
    }

    fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.last.iter().map(|step| Entry {
            identifier: &self.identifiers[step.device],
            since: step.since,
            at: step.at,
            count: step.count,
            event: step.event,
        })
    }
}

impl Event {
    /// The device is back before the turn of what waited for it.
    pub(super) const RETURNED: Self = Self::dropped(Silence::Returned);

    /// Another push has spoken for what waited for it.
    pub(super) const SERVED: Self = Self::dropped(Silence::Served);

    /// The user has read what waited for it on another device.
    pub(super) const READ: Self = Self::dropped(Silence::ReadElsewhere);

    const fn dropped(silence: Silence) -> Self {
        Self::Turn {
            importance: None,
            trial: false,
            reason: Reason::Silent(silence),
        }
    }

    /// A stanza has been left out without a look at it.
    pub(super) fn unread(rule: Rule, silence: Silence) -> Self {
        Self::Met {
            rule,
            stanza: None,
            reason: Reason::Silent(silence),
        }
    }

    /// Whether nothing has come of a stanza.
    fn is_silence(&self) -> bool {
        match self {
            Self::Met { reason, .. } => matches!(reason, Reason::Silent(_)),
            Self::Blind => true,
            _ => false,
        }
    }

    /// Whether `next` is the same silence once more.
    fn goes_on_as(&self, next: &Self) -> bool {
        let importance = |stanza: &Option<(Importance, Label)>| stanza.as_ref().map(|one| one.0);
        match (self, next) {
            (
                Self::Met {
                    rule,
                    stanza,
                    reason: Reason::Silent(silence),
                },
                Self::Met {
                    rule: next_rule,
                    stanza: next_stanza,
                    reason: Reason::Silent(next_silence),
                },
            ) => {
                silence == next_silence
                    && rule == next_rule
                    && importance(stanza) == importance(next_stanza)
            }
            (Self::Blind, Self::Blind) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stanza::Importance::{Important, Unimportant};

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn silent(importance: Importance, silence: Silence) -> Event {
        Event::Met {
            rule: Rule::Archived,
            stanza: Some((importance, Label::default())),
            reason: Reason::Silent(silence),
        }
    }

    fn trail() -> Trail {
        Trail::new(true)
    }

    /// What the counter says is what is there.
    fn check_bytes(trail: &Trail) {
        let bytes = trail.users.iter().map(|(user, steps)| steps.bytes(user));
        assert_eq!(trail.bytes(), bytes.sum::<usize>());
        for (_, steps) in &trail.users {
            let names = steps.identifiers.iter().map(|one| one.len());
            assert_eq!(steps.names, names.sum::<usize>());
        }
    }

    /// What the trail of a user with these registrations takes, each with so many entries.
    fn bytes_of(user: &str, identifiers: &[&str], entries: usize) -> usize {
        let mut trail = trail();
        for _ in 0..entries {
            for identifier in identifiers {
                trail.add(at(0), user, identifier, Event::Discreet, 1);
            }
        }
        trail.bytes()
    }

    #[test]
    fn what_it_takes_is_counted() {
        let step = size_of::<Step>();
        let identifier = size_of::<Box<str>>() + OVERHEAD_OF_IDENTIFIER;
        let one = bytes_of("anna", &["node"], 1);
        assert_eq!(one, OVERHEAD + 4 + 4 + identifier + step);
        assert_eq!(bytes_of("annabella", &["node"], 1), one + 5);
        assert_eq!(bytes_of("anna", &["longer node"], 1), one + 7);
        assert_eq!(bytes_of("anna", &["node"], 2), one + step);
        let two = bytes_of("anna", &["node", "more"], 1);
        assert_eq!(two, one + 4 + identifier + step);
    }

    #[test]
    fn a_silence_that_goes_on_is_one_entry() {
        let mut trail = trail();
        let online = silent(Important, Silence::Online);
        for (second, identifier, event) in [
            (1, "one", online),
            (2, "other", Event::Restored),
            (3, "one", online),
            (4, "one", silent(Unimportant, Silence::Online)),
            (5, "one", silent(Unimportant, Silence::Hibernated)),
            (6, "one", silent(Unimportant, Silence::Online)),
            (7, "one", Event::Discreet),
            (8, "one", Event::Discreet),
            (9, "one", silent(Unimportant, Silence::Hibernated)),
            (10, "", Event::Blind),
            (11, "", Event::Blind),
        ] {
            trail.add(at(second), "anna", identifier, event, 1);
        }
        let entries = trail.of("anna");
        let times = entries
            .iter()
            .map(|one| (one.since, one.at, one.count, one.identifier));
        assert_eq!(
            times.collect::<Vec<_>>(),
            [
                (at(2), at(2), 1, "other"),
                (at(1), at(3), 2, "one"),
                (at(5), at(5), 1, "one"),
                (at(4), at(6), 2, "one"),
                (at(7), at(7), 1, "one"),
                (at(8), at(8), 1, "one"),
                (at(9), at(9), 1, "one"),
                (at(10), at(11), 2, ""),
            ]
        );
        check_bytes(&trail);
    }

    #[test]
    fn the_last_ones_stay() {
        let mut trail = trail();
        let entries = u64::try_from(MAX_ENTRIES).unwrap();
        for second in 0..100 + entries {
            let identifier = format!("node {second}");
            trail.add(at(second), "anna", &identifier, Event::Discreet, 1);
        }
        let kept = trail.of("anna");
        assert_eq!(kept.len(), MAX_ENTRIES);
        for (entry, second) in kept.iter().zip(100..) {
            assert_eq!(
                (entry.at, entry.identifier),
                (at(second), &*format!("node {second}"))
            );
        }
        assert_eq!(
            trail.users.peek("anna").unwrap().identifiers.len(),
            MAX_ENTRIES + 1
        );
        check_bytes(&trail);
    }

    #[test]
    fn long_identifiers_take_room_from_their_own_user_alone() {
        let mut trail = trail();
        for (round, length) in (0..).zip([MAX_NAMES / 3, 10, MAX_NAMES, 2 * MAX_NAMES]) {
            for second in 100 * round..100 * (round + 1) {
                let identifier = format!("{second:>length$}");
                trail.add(at(second), "anna", &identifier, Event::Discreet, 1);
                let kept = trail.of("anna");
                let names: usize = kept.iter().map(|entry| entry.identifier.len()).sum();
                assert!(names <= MAX_NAMES || kept.len() == 1);
                assert_eq!(kept.last().unwrap().identifier, identifier);
                check_bytes(&trail);
            }
            let steps = trail.users.peek("anna").unwrap();
            assert!(steps.last.len() >= (MAX_NAMES / length).clamp(1, MAX_ENTRIES));
            let names: usize = steps.identifiers.iter().map(|name| name.len()).sum();
            assert_eq!(steps.names, names);
        }
    }

    #[test]
    fn the_least_active_user_has_none() {
        let mut trail = trail();
        trail.add(at(0), "anna", "node", Event::Discreet, 1);
        trail.max_bytes = 3 * trail.bytes;
        for user in ["bert", "carl", "anna", "dora"] {
            trail.add(at(1), user, "node", Event::Discreet, 1);
            assert!(trail.bytes <= trail.max_bytes);
        }
        check_bytes(&trail);
        assert!(trail.of("bert").is_empty());
        assert_eq!(trail.of("anna").len(), 2);
        trail.forget("anna");
        assert!(trail.of("anna").is_empty());
        check_bytes(&trail);
    }

    #[test]
    fn turned_off_it_forgets() {
        let mut trail = trail();
        trail.add(at(0), "anna", "node", Event::Discreet, 1);
        trail.turn(true);
        assert_eq!(trail.of("anna").len(), 1);
        trail.turn(false);
        trail.add(at(0), "anna", "node", Event::Discreet, 1);
        trail.turn(true);
        assert!(trail.of("anna").is_empty());
        check_bytes(&trail);
    }

    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<Step>() <= 192, "{}", size_of::<Step>());
    }
}
