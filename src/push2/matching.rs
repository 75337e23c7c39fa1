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
