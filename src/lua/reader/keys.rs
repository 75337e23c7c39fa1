//! The names of the fields that are read.

use mlua::ffi::lua_Integer;
use mlua::{Lua, Result, Table};

use crate::extension::Field;

/// The field names that are read, in the order of [`Keys`].
macro_rules! keys {
    ($($key:ident = $name:literal),* $(,)?) => {
        /// A field name.
        #[allow(missing_docs)]
        #[derive(Debug, Clone, Copy)]
        pub enum Key { $($key),* }

        const NAMES: &[&str] = &[$($name),*];
    };
}

keys! {
    Algorithm = "algorithm",
    Attr = "attr",
    AwaitingAck = "awaiting_ack",
    Away = "away",
    By = "by",
    ClientType = "client-type",
    DelayedAckTimer = "delayed_ack_timer",
    Destroyed = "destroyed",
    Encryption = "encryption",
    FilterUnknown = "filter_unknown",
    From = "from",
    GroupchatRules = "groupchat_rules",
    Hibernating = "hibernating",
    Id = "id",
    IdentityCategory = "identity-category",
    IdentityType = "identity-type",
    Jid = "jid",
    Jingle = "jingle",
    Matches = "matches",
    MaxSize = "max_size",
    Media = "media",
    MutedJids = "muted_jids",
    Name = "name",
    Node = "node",
    Presence = "presence",
    Priority = "priority",
    Protocol = "protocol",
    Push2Identifier = "push2_identifier",
    Push2Settings = "push2_settings",
    PushArchiveId = "_push_archive_id",
    PushId = "_push_id",
    PushIdentifier = "push_identifier",
    PushSettings = "push_settings",
    PushStreamClosed = "push_stream_closed",
    Smacks = "smacks",
    Secret = "key_base64",
    Send = "send",
    Sequence = "sequence",
    Since = "since",
    Stamp = "stamp",
    Suspended = "suspended",
    Tags = "tags",
    To = "to",
    Trials = "trials",
    Type = "type",
    Uri = "uri",
    UnreadQueue = "unread_queue",
    Until = "until",
    Video = "video",
    Xmlns = "xmlns",
}

impl Key {
    /// Its place in the table of [`Keys`].
    pub(super) const fn place(self) -> lua_Integer {
        self as lua_Integer + 1
    }
}

impl Key {
    /// The name.
    pub const fn name(self) -> &'static str {
        NAMES[self as usize]
    }
}

impl From<Field> for Key {
    fn from(field: Field) -> Self {
        match field {
            Field::Encryption => Self::Encryption,
            Field::Algorithm => Self::Algorithm,
            Field::Secret => Self::Secret,
            Field::MaxSize => Self::MaxSize,
            Field::Priority => Self::Priority,
            Field::Jingle => Self::Jingle,
            Field::Away => Self::Away,
            Field::FilterUnknown => Self::FilterUnknown,
            Field::MutedJids => Self::MutedJids,
            Field::GroupchatRules => Self::GroupchatRules,
            Field::Sequence => Self::Sequence,
        }
    }
}

/// The field names as Lua strings, so that looking one up allocates nothing.
pub struct Keys(Table);

impl Keys {
    /// Makes them.
    pub fn new(lua: &Lua) -> Result<Self> {
        lua.create_sequence_from(NAMES.iter().copied()).map(Self)
    }

    pub(super) const fn table(&self) -> &Table {
        &self.0
    }
}
