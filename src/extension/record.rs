//! What the record of a registration keeps for extensions, in the form of the community's modules where there
//! is one.

/// A field of a record that an extension keeps something in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// `encryption`: a table.
    Encryption,
    /// `algorithm` in it.
    Algorithm,
    /// `key_base64` in it.
    Secret,
    /// `max_size` in it, in bytes.
    MaxSize,
    /// `priority`.
    Priority,
    /// `jingle`.
    Jingle,
    /// `away`.
    Away,
    /// `filter_unknown`.
    FilterUnknown,
    /// `muted_jids`: a set of bare JIDs.
    MutedJids,
    /// `groupchat_rules`: by room, `when` (`always`, `mentioned`, `never`) and `nick`.
    GroupchatRules,
    /// `sequence`: every registration has it that was made here.
    Sequence,
}

/// The value of a field, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// True.
    Set,
    /// A string.
    Text(String),
    /// A number.
    Number(u32),
    /// A table.
    Table(Vec<(Field, Kept)>),
    /// Each of them -> true.
    Chats(Vec<String>),
    /// Each room -> `{ when, nick }`.
    Rooms(Vec<(String, Room)>),
}

/// What a client wants of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// `allow`, as the client wrote it.
    pub when: String,
    /// The user's nickname in it.
    pub nick: Option<String>,
}

/// What a record says that extensions are asked for by.
pub trait Asked {
    /// Whether a field is there and is not false.
    fn is_set(&self, field: Field) -> bool;

    /// Whether the client has brought filters of its own, whoever carries them out.
    fn has_filters(&self) -> bool {
        [
            Field::FilterUnknown,
            Field::MutedJids,
            Field::GroupchatRules,
        ]
        .iter()
        .any(|field| self.is_set(*field))
    }
}

impl dyn Asked + '_ {
    /// Whether it has asked the community's modules for something. They keep nothing of the priority and of calls,
    /// for which the same clients ask along with that; and Siskin asks once only.
    pub fn has_asked_community(&self) -> bool {
        const THEIRS: [Field; 4] = [
            Field::Encryption,
            Field::GroupchatRules,
            Field::MutedJids,
            Field::FilterUnknown,
        ];
        let has_asked = THEIRS.into_iter().any(|field| self.is_set(field));
        has_asked && !self.is_set(Field::Sequence)
    }
}

/// The record of a registration.
pub trait Record: Asked {
    /// A field that is a string.
    fn text(&self, field: Field) -> Option<&str>;
    /// A field that is a whole number.
    fn number(&self, field: Field) -> Option<i64>;
    /// Lends `look` a field that is a table.
    fn inside(&self, field: Field, look: &mut dyn FnMut(&dyn Record));
}

/// What a registration has chosen for the chat that a stanza belongs to, and what filters want to know besides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chosen {
    /// The account's bare JID.
    pub account: String,
    /// The chat, or who invites to it, is among the muted ones.
    pub is_muted: bool,
    /// Whether the sender is in the user's roster. Not asked where no filter wants to know.
    pub is_unknown: bool,
    /// What it says of the room, if it is one.
    pub room: Rooms,
}

/// What a registration says of a room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Rooms {
    /// Nothing of any room.
    #[default]
    Any,
    /// It names others.
    Others,
    /// It names this one.
    Named(Room),
}
