//! What a device has been told of since it was last live, or will be with a push that waits.

use std::collections::VecDeque;

use super::about::About;
use crate::stanza::{Call, Chat, Facts, Importance, Names, Read, StanzaId};

/// How many messages are known one by one: the last ones.
const MAX_MESSAGES: usize = 64;

/// What pushes say of how many messages there are (`push_notification_count`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Counting {
    /// One.
    #[default]
    One,
    /// As many as the device has been told of since it was last live.
    Unread,
}

impl Counting {
    /// That of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "one" => Some(Self::One),
            "unread" => Some(Self::Unread),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Message {
    id: StanzaId,
    /// Nobody refers to a request or the like.
    names: Option<Names>,
    /// The call that it begins.
    call: Option<Call>,
}

impl Message {
    fn is_in(&self, chat: Chat) -> bool {
        self.names.is_some_and(|names| names.chat == chat)
    }

    fn is_named(&self, name: StanzaId) -> bool {
        let names = self.names.iter();
        self.id == name || names.flat_map(|names| names.ids).any(|id| id == Some(name))
    }
}

/// What a device has been told of. Everything important that waits for it is among that.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The oldest first.
    messages: VecDeque<Message>,
    /// So many more, of which no more is known.
    others: u32,
    /// Pushes have spoken for more that may be unread, of which nothing is known. It counts for nothing.
    pub is_vague: bool,
    /// How many pushes have told it that something is unread, since one has told it that nothing is.
    showing: u32,
    /// Its client wants to be told so.
    pub is_asked: bool,
    /// Another client has fetched what pushes are for that are under way, or wait.
    pub was_fetched: bool,
}

impl Told {
    /// An important stanza is pushed, or will be.
    pub fn add(&mut self, id: StanzaId, facts: &Facts) {
        if self.messages.len() == MAX_MESSAGES {
            self.messages.pop_front();
            self.add_other();
        }
        self.messages.push_back(Message {
            id,
            names: facts.names,
            call: facts.call,
        });
    }

    /// So is one that is not known any more.
    pub fn add_other(&mut self) {
        self.others = self.others.saturating_add(1);
    }

    /// A push has left that tells of so many messages.
    pub fn sent(&mut self, about: &About, count: u32) {
        if count == 0 {
            self.showing = 0;
        } else if about.is_news() {
            self.showing = self.showing.saturating_add(1);
        }
    }

    /// It was not taken.
    pub fn not_taken(&mut self, about: &About, count: u32) {
        if count == 0 {
            self.showing = self.showing.max(1);
        } else if about.is_news() {
            self.showing = self.showing.saturating_sub(1);
        }
    }

    /// What a push was for waits again, be it that another client has fetched it meanwhile. A push without a stanza may
    /// be for any of those that are known.
    pub fn owe(&mut self, about: &About, has_stanza: bool) {
        let is_known = self.may_have(|id| !has_stanza || about.ids[0] == Some(id));
        if about.is_news() && !is_known {
            self.add_other();
        }
    }

    /// A call that another device has taken need not be shown.
    pub fn end_call(&mut self, end: Call) {
        let is_answered = |one: &Message| one.call.is_some_and(|call| end.answers(call));
        self.messages.retain(|one| !is_answered(one));
    }

    /// The device has not been told of this, and will not be.
    pub fn forget(&mut self, id: StanzaId) {
        self.messages.retain(|one| one.id != id);
    }

    /// Whether the message that others refer to by this name is.
    pub fn has_named(&self, name: StanzaId) -> bool {
        self.messages.iter().any(|one| one.is_named(name))
    }

    /// Whether anything may be unread.
    pub fn has_any(&self) -> bool {
        self.len() > 0 || self.is_vague
    }

    /// Whether `is` holds for any that is known, or there may be others.
    pub fn may_have(&self, is: impl Fn(StanzaId) -> bool) -> bool {
        self.others > 0 || self.is_vague || self.messages.iter().any(|one| is(one.id))
    }

    /// The user has read something. What has only been fetched by another client stays if it `waits` for its push: nobody
    /// need have seen it.
    pub fn read(&mut self, read: Read, waits: impl Fn(StanzaId) -> bool, others_wait: bool) {
        match read {
            Read::Everything => {
                self.messages.retain(|one| waits(one.id));
                if !others_wait {
                    self.is_vague = false;
                    self.others = 0;
                }
            }
            Read::Chat(chat) => {
                let messages = &mut self.messages;
                messages.retain(|one| !one.is_in(chat) || waits(one.id));
            }
            Read::UpTo(chat, names) => {
                let is_it =
                    |one: &Message| one.is_in(chat) && names.iter().any(|name| one.is_named(*name));
                if let Some(last) = self.messages.iter().position(is_it) {
                    let mut place = 0..;
                    self.messages.retain(|one| {
                        place.next().is_some_and(|place| place > last) || !one.is_in(chat)
                    });
                }
            }
        }
    }

    /// Whether it shows that something is unread, and nothing is, and wants to be told so.
    pub fn is_stale(&self) -> bool {
        self.is_asked && self.showing > 0 && !self.has_any()
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        let known = u32::try_from(self.messages.len()).unwrap_or(u32::MAX);
        known.saturating_add(self.others)
    }

    /// What a push says of how many messages there are.
    pub fn count(&self, counting: Counting, importance: Importance) -> u32 {
        match counting {
            _ if importance == Importance::Unimportant && self.is_stale() => 0,
            Counting::One => 1,
            Counting::Unread => self.len().max(1),
        }
    }

    /// How much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.messages.capacity() * size_of::<Message>()
    }
}
