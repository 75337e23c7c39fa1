//! What the matches of a push2 registration want, as its record has them. They may have thousands of chats, which Lua
//! finds among in no time, but not without making strings: through handles.

use mlua::{Result, Table, Value};

use super::reader::Key;
use super::requests::text;
use crate::engine::Silence;
use crate::notification::Protocol;
use crate::push2::{Event, Filter, Profile, SendProfile, Wish, filters_for, silence_of};
use crate::wire::request::MAX_MATCHES;

/// Whether it is the record of a registration of push2.
pub fn is_push2(record: &Table) -> bool {
    Protocol::of(text(record, Key::Protocol.name()).as_deref()) == Some(Protocol::Push2)
}

/// All matches of a registration, for a stanza.
pub struct Matches {
    all: Vec<(Wish, Table)>,
    /// Any of them says something of any chat.
    pub have_filters: bool,
    /// What any of them wants of this chat depends on whom a message is for.
    pub are_personal: bool,
}

impl Matches {
    /// Those for what comes from there. Whatever is none is passed over.
    pub fn read(record: &Table, from: &str) -> Result<Self> {
        let mut found = Self {
            all: Vec::new(),
            have_filters: false,
            are_personal: false,
        };
        let Value::Table(matches) = record.raw_get(Key::Matches.name())? else {
            return Ok(found);
        };
        for one in matches.sequence_values().take(MAX_MATCHES) {
            let Value::Table(one) = one? else {
                continue;
            };
            let profile = text(&one, "match").and_then(|uri| Profile::from_uri(&uri));
            let Some(profile) = profile else {
                continue;
            };
            let chats: Value = one.raw_get("chats")?;
            let chats = chats.as_table().filter(|chats| !chats.is_empty());
            found.have_filters |= chats.is_some();
            let filter = chats.and_then(|chats| filter(chats, from));
            found.are_personal |= filter.is_some_and(|filter| filter.mention || filter.reply);
            let wish = Wish {
                profile,
                grace: one.raw_get("grace").ok(),
                filter,
            };
            found.all.push((wish, one));
        }
        Ok(found)
    }

    /// Why none of them wants a stanza.
    pub fn silence(&self, event: &Event) -> Option<Silence> {
        silence_of(self.all.iter().map(|(wish, _)| *wish), event)
    }

    /// The first that has the stanza sent, encrypted, of those that want it.
    pub fn sending(&self, event: &Event) -> Option<&Table> {
        let mut wanting = self.all.iter().filter(|(wish, one)| {
            text(one, Key::Send.name()).as_deref() == Some(SendProfile::WebPush.uri())
                && wish.silence(event).is_none()
        });
        wanting.next().map(|(_, one)| one)
    }
}

/// What is said of the chat: by the full JID, the bare one, or the host.
fn filter(chats: &Table, from: &str) -> Option<Filter> {
    let mut said = filters_for(from).filter_map(|jid| {
        let filter: Value = chats.raw_get(jid).ok()?;
        let filter = filter.as_table()?;
        Some(Filter {
            mention: filter.raw_get("mention").unwrap_or_default(),
            reply: filter.raw_get("reply").unwrap_or_default(),
        })
    });
    said.next()
}
