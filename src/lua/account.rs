//! An account, as Prosody's tables have it: records of registrations, and sessions.

use std::time::Duration;

use super::clock::clock;
use super::reader::{Key, Stanza, TableRef};
use crate::engine::suspension::Suspension;
use crate::engine::{Connection, Presence, Registration, Session};
use crate::extension::{Asked, EXTENSIONS, Field, Others, Record};
use crate::notification::{Disclosure, Protocol, Target};
use crate::push2::SendProfile;
use crate::stanza::{Attr, Element};
use crate::wire::publish::is_xml_text;
use crate::wire::request::MAX_MATCHES;

impl Asked for TableRef<'_> {
    fn is_set(&self, field: Field) -> bool {
        TableRef::is_set(self, field.into())
    }
}

impl Record for TableRef<'_> {
    fn text(&self, field: Field) -> Option<&str> {
        self.str(field.into())
    }

    fn number(&self, field: Field) -> Option<i64> {
        self.integer(field.into())
    }

    fn inside(&self, field: Field, look: &mut dyn FnMut(&dyn Record)) {
        self.with(field.into(), |table| look(table));
    }
}

/// Reads what the rules need of a record; nothing if it cannot be pushed to, or a newer version has made it.
pub fn read_registration<'f>(
    identifier: &'f str,
    record: &TableRef<'f>,
    disclosure: &Disclosure,
) -> Option<Registration<'f>> {
    let registration = read_address(identifier, record)?;
    let is_push2 = registration.client.is_some();
    Some(Registration {
        content: if is_push2 {
            carries_stanzas(record)
        } else {
            disclosure.body || EXTENSIONS.carry_content(record)
        },
        calls: tells_of_calls(record, disclosure),
        ..registration
    })
}

/// Whether the device is told of each call, see [`Registration::calls`].
pub fn tells_of_calls(record: &TableRef<'_>, disclosure: &Disclosure) -> bool {
    match Protocol::of(record.str(Key::Protocol)) {
        Some(Protocol::Push0) => EXTENSIONS.tell_of_calls(record, disclosure.others),
        Some(Protocol::Push2) => carries_stanzas(record),
        None => false,
    }
}

/// The same without what extensions have to be asked for, which takes longer than all else.
pub fn read_address<'f>(identifier: &'f str, record: &TableRef<'f>) -> Option<Registration<'f>> {
    let protocol = Protocol::of(record.str(Key::Protocol))?;
    Some(Registration {
        identifier,
        jid: record.str(Key::Jid).filter(|jid| is_xml_text(jid))?,
        content: false,
        calls: false,
        left_out: None,
        suspended: record.with(Key::Suspended, |suspended| {
            let remaining = read_suspension(suspended).remaining(clock());
            Duration::from_secs(remaining)
        }),
        client: match protocol {
            Protocol::Push0 => None,
            Protocol::Push2 => Some(record.str(Key::Node)?),
        },
    })
}

/// The field of a session with the identifier of the registration that it is attached to.
pub const fn identifier_of(protocol: Protocol) -> Key {
    match protocol {
        Protocol::Push0 => Key::PushIdentifier,
        Protocol::Push2 => Key::Push2Identifier,
    }
}

/// That with its record.
pub const fn record_of(protocol: Protocol) -> Key {
    match protocol {
        Protocol::Push0 => Key::PushSettings,
        Protocol::Push2 => Key::Push2Settings,
    }
}

/// Whether the registration has a say in what becomes of a stanza: that has to be judged first.
pub fn has_say(record: &TableRef<'_>, others: Others) -> bool {
    Protocol::of(record.str(Key::Protocol)) == Some(Protocol::Push2)
        || EXTENSIONS.filter(record, others)
}

/// Whether any match of a push2 registration sends whole stanzas.
fn carries_stanzas(record: &TableRef<'_>) -> bool {
    let is_whole = |one: &TableRef<'_>| one.str(Key::Send) == Some(SendProfile::WebPush.uri());
    record.with(Key::Matches, |matches| {
        (1..=matches.len().min(MAX_MATCHES))
            .any(|place| matches.with_entry(place, is_whole) == Some(true))
    }) == Some(true)
}

/// Reads what a record says of its suspension. Whatever is damaged is as if it were long past.
fn read_suspension(suspended: &TableRef<'_>) -> Suspension {
    let trials = suspended.integer(Key::Trials).unwrap_or_default();
    Suspension {
        since: suspended.integer(Key::Since).unwrap_or_default(),
        trials: u32::try_from(trials).unwrap_or_default(),
        until: suspended.integer(Key::Until).unwrap_or_default(),
    }
}

/// Reads the sessions that are attached to anything, and `own`; and says at which place that is.
pub fn read_sessions<'f>(
    sessions: Option<&TableRef<'f>>,
    own: Option<&TableRef<'f>>,
) -> (Vec<Session<'f>>, Option<usize>) {
    let mut found = Vec::new();
    let mut place = None;
    if let Some(sessions) = sessions {
        sessions.each(|_, session| {
            if own.is_some_and(|own| own.is(session)) {
                place = Some(found.len());
            }
            found.extend(read_session(session));
        });
    }
    if let (Some(own), None) = (own, place) {
        place = Some(found.len());
        found.extend(read_session(own));
    }
    (found, place)
}

/// Reads what the sessions say of the person, whatever they are attached to.
pub fn read_presence(sessions: Option<&TableRef<'_>>) -> Vec<Presence> {
    let mut found = Vec::new();
    if let Some(sessions) = sessions {
        sessions.each(|_, session| {
            let plain = session.with(Key::Presence, |presence| Stanza::with(presence, is_plain));
            found.extend(plain.filter(|_| !has_ended(session)).map(|plain| Presence {
                live: !session.is_set(Key::Hibernating),
                receives: receives(session),
                plain,
            }));
        });
    }
    found
}

/// Reads what a session says with this presence; nothing if it does not say that it is available.
pub fn read_own_presence(presence: &TableRef<'_>) -> Option<Presence> {
    Stanza::with(presence, |presence| {
        let priority = presence.find_named(&["priority"], |priority| {
            priority.text().parse::<i64>().ok()
        });
        presence.attr(Attr::Type).is_none().then(|| Presence {
            live: true,
            receives: priority.unwrap_or(0) >= 0,
            plain: is_plain(presence),
        })
    })
}

fn is_plain(presence: &Stanza<'_>) -> bool {
    presence.find_named(&["show"], |_| Some(())).is_none()
}

/// Whether one that has sent presence receives what is sent to the bare JID (RFC 6121 section 8.5.2).
fn receives(session: &TableRef<'_>) -> bool {
    session
        .integer(Key::Priority)
        .is_some_and(|priority| priority >= 0)
}

/// Whether nothing reaches its client any more. `mod_smacks` sets `smacks` to false when it gives the queue of an
/// ending session away.
fn has_ended(session: &TableRef<'_>) -> bool {
    session.is_set(Key::Destroyed)
        || session.is_set(Key::PushStreamClosed)
        || session.is_false(Key::Smacks)
}

fn read_session<'f>(session: &TableRef<'f>) -> Option<Session<'f>> {
    let identifiers = [Key::PushIdentifier, Key::Push2Identifier].map(|key| session.str(key));
    if identifiers == [None, None] {
        return None;
    }
    let connection = if has_ended(session) {
        Connection::Gone
    } else if session.is_set(Key::Hibernating) {
        Connection::Hibernated
    } else {
        // mod_smacks clears the timer when it runs out, and sets it with the next request.
        let ack_overdue = session.is_set(Key::AwaitingAck) && !session.is_set(Key::DelayedAckTimer);
        let available = session.has_table(Key::Presence) && receives(session);
        Connection::Live {
            ack_overdue,
            available,
        }
    };
    Some(Session {
        identifiers,
        connection,
    })
}

/// Reads where the notifications of a registration go to.
pub fn read_target<'a>(identifier: &'a str, record: &'a TableRef<'_>) -> Option<Target<'a>> {
    let protocol = Protocol::of(record.str(Key::Protocol))?;
    Some(Target {
        identifier,
        protocol,
        whole: protocol == Protocol::Push2 && carries_stanzas(record),
        jid: record.str(Key::Jid)?,
        node: record.str(Key::Node).unwrap_or_default(),
        record,
    })
}
