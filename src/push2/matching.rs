//! Whether a `<match/>` is for a stanza.

use super::profiles::Profile;
use crate::engine::Silence;
use crate::stanza::Importance;

/// A stanza that has come, and what there is about it.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// How much it matters.
    pub importance: Importance,
    /// It is in the user's archive.
    pub is_archived: bool,
    /// It has a text, or encrypted content.
    pub has_body: bool,
    /// It is about a call.
    pub is_call: bool,
    /// For how many seconds the user has done nothing on any other device, if anything ever.
    pub active: Option<u32>,
    /// It mentions the user.
    pub is_mentioned: bool,
    /// It replies to a message of the user.
    pub is_reply: bool,
}

/// What is wanted of a chat: only what mentions the user, or replies; with neither, nothing at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filter {
    /// `<mention/>`.
    pub mention: bool,
    /// `<reply/>`.
    pub reply: bool,
}

impl Filter {
    fn silence(self, event: &Event) -> Option<Silence> {
        if self == Self::default() {
            return Some(Silence::Muted);
        }
        let is_wanted = self.mention && event.is_mentioned || self.reply && event.is_reply;
        (!is_wanted).then_some(Silence::NotMentioned)
    }
}

/// A `<match/>`, as far as it is about the chat of a stanza.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// Which stanzas it is about.
    pub profile: Profile,
    /// For how many seconds after the user has been active on another device it wants none, but for calls.
    pub grace: Option<u32>,
    /// What it wants of this chat, if not all.
    pub filter: Option<Filter>,
}

impl Wish {
    /// Why it does not want to know of the stanza, if so.
    pub fn silence(&self, event: &Event) -> Option<Silence> {
        if !self.is_about(event) {
            return Some(Silence::NotMatched);
        }
        if !event.is_call && self.is_in_grace(event.active) {
            return Some(Silence::Grace);
        }
        self.filter.and_then(|filter| filter.silence(event))
    }

    fn is_about(&self, event: &Event) -> bool {
        match self.profile {
            Profile::All => true,
            Profile::Important => event.importance >= Importance::Important,
            Profile::Archived => event.is_archived,
            Profile::ArchivedWithBody => event.is_archived && event.has_body,
        }
    }

    fn is_in_grace(&self, active: Option<u32>) -> bool {
        self.grace
            .zip(active)
            .is_some_and(|(grace, active)| active < grace)
    }
}

/// Why nothing of a registration's `<match/>`es wants to know of the stanza, if so: the reason of the one that is nearest
/// to it.
pub fn silence_of(wishes: impl IntoIterator<Item = Wish>, event: &Event) -> Option<Silence> {
    let mut nearest = Silence::NotMatched;
    for wish in wishes {
        let silence = wish.silence(event)?;
        if nearness(silence) > nearness(nearest) {
            nearest = silence;
        }
    }
    Some(nearest)
}

/// How much of what a `<match/>` demands is given.
fn nearness(silence: Silence) -> u8 {
    match silence {
        Silence::NotMentioned => 3,
        Silence::Muted => 2,
        Silence::Grace => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: Event = Event {
        importance: Importance::Important,
        is_archived: true,
        has_body: true,
        is_call: false,
        active: None,
        is_mentioned: false,
        is_reply: false,
    };
    const WISH: Wish = Wish {
        profile: Profile::All,
        grace: None,
        filter: None,
    };

    const fn filter(mention: bool, reply: bool) -> Filter {
        Filter { mention, reply }
    }

    #[test]
    fn a_profile_is_about_some_stanzas() {
        let unimportant = Event {
            importance: Importance::Unimportant,
            ..EVENT
        };
        let urgent = Event {
            importance: Importance::Urgent,
            ..EVENT
        };
        let fleeting = Event {
            is_archived: false,
            ..EVENT
        };
        let empty = Event {
            has_body: false,
            ..EVENT
        };
        for (profile, others) in [
            (Profile::All, [true; 5]),
            (Profile::Important, [true, false, true, true, true]),
            (Profile::Archived, [true, true, true, false, true]),
            (Profile::ArchivedWithBody, [true, true, true, false, false]),
        ] {
            let events = [EVENT, unimportant, urgent, fleeting, empty];
            let wanted = events.map(|event| Wish { profile, ..WISH }.silence(&event));
            let expected = others.map(|is_about| (!is_about).then_some(Silence::NotMatched));
            assert_eq!(wanted, expected, "{profile:?}");
        }
    }

    #[test]
    fn there_is_peace_for_a_time_but_for_calls() {
        let wish = Wish {
            grace: Some(120),
            ..WISH
        };
        for (active, expected) in [
            (None, None),
            (Some(0), Some(Silence::Grace)),
            (Some(119), Some(Silence::Grace)),
            (Some(120), None),
            (Some(u32::MAX), None),
        ] {
            let event = Event { active, ..EVENT };
            assert_eq!(wish.silence(&event), expected, "{active:?}");
            assert_eq!(WISH.silence(&event), None);
            let none = Wish {
                grace: Some(0),
                ..WISH
            };
            assert_eq!(none.silence(&event), None);
            let call = Event {
                is_call: true,
                ..event
            };
            assert_eq!(wish.silence(&call), None);
        }
    }

    #[test]
    fn a_filter_lets_through_what_it_names() {
        let not = Some(Silence::NotMentioned);
        for (filter, is_mentioned, is_reply, expected) in [
            (None, false, false, None),
            (Some(filter(false, false)), true, true, Some(Silence::Muted)),
            (Some(filter(true, false)), false, true, not),
            (Some(filter(true, false)), true, false, None),
            (Some(filter(false, true)), true, false, not),
            (Some(filter(false, true)), false, true, None),
            (Some(filter(true, true)), false, false, not),
            (Some(filter(true, true)), true, false, None),
            (Some(filter(true, true)), false, true, None),
        ] {
            let wish = Wish { filter, ..WISH };
            let event = Event {
                is_mentioned,
                is_reply,
                ..EVENT
            };
            assert_eq!(wish.silence(&event), expected, "{filter:?}");
            let call = Event {
                is_call: true,
                ..event
            };
            assert_eq!(wish.silence(&call), expected, "a call, {filter:?}");
        }
    }

    #[test]
    fn what_a_stanza_lacks_first_is_the_reason() {
        let event = Event {
            is_archived: false,
            active: Some(0),
            ..EVENT
        };
        let wish = Wish {
            profile: Profile::Archived,
            grace: Some(60),
            filter: Some(filter(false, false)),
        };
        assert_eq!(wish.silence(&event), Some(Silence::NotMatched));
        let all = Wish {
            profile: Profile::All,
            ..wish
        };
        assert_eq!(all.silence(&event), Some(Silence::Grace));
        let no_grace = Wish { grace: None, ..all };
        assert_eq!(no_grace.silence(&event), Some(Silence::Muted));
    }

    #[test]
    fn one_wish_is_enough_and_else_the_nearest_tells_why() {
        let event = Event {
            is_archived: false,
            active: Some(0),
            ..EVENT
        };
        let not_matched = Wish {
            profile: Profile::Archived,
            ..WISH
        };
        let grace = Wish {
            grace: Some(60),
            ..WISH
        };
        let muted = Wish {
            filter: Some(filter(false, false)),
            ..WISH
        };
        let not_mentioned = Wish {
            filter: Some(filter(true, false)),
            ..WISH
        };
        let reasons = [
            (not_matched, Silence::NotMatched),
            (grace, Silence::Grace),
            (muted, Silence::Muted),
            (not_mentioned, Silence::NotMentioned),
        ];
        for (i, (first, _)) in reasons.into_iter().enumerate() {
            for (j, (second, _)) in reasons.into_iter().enumerate() {
                let silence = silence_of([first, second], &event);
                assert_eq!(silence, Some(reasons[i.max(j)].1));
            }
            assert_eq!(silence_of([first, WISH], &event), None);
            assert_eq!(silence_of([WISH, first], &event), None);
        }
        assert_eq!(silence_of([], &event), Some(Silence::NotMatched));
    }
}
