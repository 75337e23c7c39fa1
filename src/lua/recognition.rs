//! What a stanza is recognised by, when another rule meets it again.

use mlua::RegistryKey;

use super::reader::{Key, Stanza, TableRef};
use crate::engine::{Engine, Session};
use crate::stanza::{Facts, StanzaId, queued};

/// A stanza, and what it is recognised by.
#[derive(Clone, Copy)]
pub struct Known {
    pub facts: Facts,
    pub id: StanzaId,
    /// It had no identity before.
    pub is_new: bool,
}

/// Whose stanzas they are, and how those without an identity get one.
pub struct Recipient<'a> {
    /// The bare JID of the account.
    pub account: String,
    /// The session, if others of its device may have clones of the stanzas in its queue.
    twins_of: Option<&'a TableRef<'a>>,
}

impl<'a> Recipient<'a> {
    pub fn new(user: &str, host: &str) -> Self {
        Self {
            account: [user, "@", host].concat(),
            twins_of: None,
        }
    }

    /// For the queue of `session`, which is attached to these registrations.
    pub fn of(
        user: &str,
        host: &str,
        session: &'a TableRef<'a>,
        own: usize,
        sessions: &[Session<'_>],
    ) -> Self {
        let own = sessions.get(own);
        let twins = |other: &&Session<'_>| own.is_some_and(|own| own.shares_registration(other));
        Self {
            twins_of: (sessions.iter().filter(twins).count() > 1).then_some(session),
            ..Self::new(user, host)
        }
    }

    /// Whether others of the device may have clones of the stanzas.
    pub fn has_twins(&self) -> bool {
        self.twins_of.is_some()
    }

    fn make(&self, engine: &mut Engine<RegistryKey>, stanza: &Stanza<'_>) -> StanzaId {
        let twin = self.twins_of.and_then(|session| {
            let queued = queued(stanza, &self.account, engine.key())?;
            Some((queued, session.address()))
        });
        match twin {
            Some((queued, session)) => engine.twin_id(queued, session),
            None => engine.new_id(),
        }
    }
}

/// Recognises a stanza, or gives it an identity.
pub fn recognise(
    engine: &mut Engine<RegistryKey>,
    table: &TableRef<'_>,
    stanza: &Stanza<'_>,
    recipient: &Recipient<'_>,
) -> Known {
    let facts = Facts::read(stanza, &recipient.account, engine.key());
    let mark = || {
        table
            .integer(Key::PushId)
            .map(|mark| StanzaId(mark.cast_unsigned()))
    };
    let id = facts.id.or_else(mark);
    Known {
        facts,
        id: id.unwrap_or_else(|| recipient.make(engine, stanza)),
        is_new: id.is_none(),
    }
}
