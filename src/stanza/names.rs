//! What others refer to a message by (XEP-0308, XEP-0333, XEP-0424, XEP-0490): an id, in a chat.

use std::hash::BuildHasher;

use super::element::bare;
use super::key::{Key, StanzaId};

/// Stands for a chat, the bare JID of a person or a room: a keyed hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chat(pub u64);

impl Chat {
    /// That of whoever has this JID.
    pub fn of(jid: &str, key: &Key) -> Self {
        Self(key.hash_one(("chat", bare(jid))))
    }

    /// What stands for a message of it that has this id: its own, or one that a room has given it.
    pub fn message(self, id: &str, key: &Key) -> StanzaId {
        StanzaId(key.hash_one((self.0, id)))
    }
}

/// A message, as others refer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names {
    /// Where it belongs.
    pub chat: Chat,
    /// By its id, and by the one that a room has given it (XEP-0359).
    pub ids: [Option<StanzaId>; 2],
}

impl Names {
    /// Those of a message from `from` with this id, and one that its room has given it.
    pub fn new(from: &str, id: Option<&str>, room_id: Option<StanzaId>, key: &Key) -> Self {
        let chat = Chat::of(from, key);
        let ids = [id.map(|id| chat.message(id, key)), room_id];
        Self { chat, ids }
    }
}

/// What the user has read, by whatever has told so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// All that there was has been fetched by another client.
    Everything,
    /// All that there was in a chat.
    Chat(Chat),
    /// The user has seen a message of a chat, and all before it. It is named by any of these: its id, the room's,
    /// or that of the user's archive.
    UpTo(Chat, [StanzaId; 2]),
}

impl Read {
    /// Everything; or all of a chat, up to the message of this id, or to whatever is there now.
    pub fn new(chat: Option<&str>, id: Option<&str>, key: &Key) -> Self {
        let Some(chat) = chat.map(|chat| Chat::of(chat, key)) else {
            return Self::Everything;
        };
        id.map_or(Self::Chat(chat), |id| {
            let ids = [chat.message(id, key), StanzaId::archived(id, key)];
            Self::UpTo(chat, ids)
        })
    }
}
