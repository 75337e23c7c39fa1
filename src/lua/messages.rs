//! Notifications become messages (push2), as Prosody stanzas.

use std::sync::Arc;

use minidom::Element;
use minidom::rxml::{Namespace, NcName};
use mlua::{Lua, Result, Table, Value};
use xmpp_parsers::ns::{CARBONS, FORWARD};

use super::clock::clock;
use super::dom::{self, Room};
use super::host::Host;
use super::judging::{self, Said};
use super::matches::Matches;
use super::reader::{self, Key};
use super::requests::text;
use super::state::State;
use crate::notification::Notification;
use crate::web_push::{Subscription, Token};
use crate::wire::message::Message;
use crate::wire::publish::is_xml_text;
use crate::wire::request::MAX_CLAIMS_BYTES;
use crate::wire::{base64, ns, push2, sce};

/// A stanza that is pushed for, and the sessions of who has received it.
#[derive(Clone, Copy)]
pub struct Original<'a> {
    pub stanza: &'a Table,
    pub sessions: Option<&'a Table>,
}

/// What a match has sent: the encrypted stanza, in base64, and the token that comes with it.
struct Sent {
    payload: String,
    token: Option<Arc<Token>>,
}

/// The message of a notification to the registration in `record`, for the stanza `original` if there is one.
pub fn write(
    lua: &Lua,
    host: &Host,
    notification: &Notification,
    record: &Table,
    original: Option<Original<'_>>,
) -> Result<Table> {
    let original = original.filter(|_| notification.content);
    let account = &*notification.account;
    let sent = original.map(|original| send(lua, host, record, original, account));
    let sent = sent.transpose()?.flatten();
    let token = sent.as_ref().and_then(|sent| sent.token.as_ref());
    let message = Message {
        client: &notification.node,
        importance: notification.importance,
        payload: sent.as_ref().map(|sent| &*sent.payload),
        token: token.map(|token| (&*token.jwt, &*token.key)),
    };
    host.publisher.message(lua, notification, record, &message)
}

/// What the first match sends that wants the stanza, and has it sent whole.
fn send(
    lua: &Lua,
    host: &Host,
    record: &Table,
    Original {
        stanza: original,
        sessions,
    }: Original<'_>,
    account: &str,
) -> Result<Option<Sent>> {
    let said = judging::read(lua, host, original, account)?;
    let matches = Matches::read(record, &said.content.from)?;
    // Who is active is about whether there is a push, not about what it says.
    let event = said.event(&matches, account, sessions, None)?;
    let Some(sending) = matches.sending(&event) else {
        return Ok(None);
    };
    let Some(subscription) = subscription(sending) else {
        return Ok(None);
    };
    let stanza = stanza(lua, host, original, account, &said)?;
    let Some(envelope) = sce::envelope(&stanza, account, sce::LIMIT) else {
        return Ok(None);
    };
    let payload = subscription.encrypt(envelope.as_bytes());
    let payload = payload.map_err(mlua::Error::external)?;
    Ok(Some(Sent {
        payload: base64::encode(&payload),
        token: token(host, sending)?,
    }))
}

/// Who can decrypt it. Nobody, if the record is damaged.
fn subscription(sending: &Table) -> Option<Subscription> {
    let key = |field| base64::decode(&text(sending, field)?);
    Subscription::new(&key("ua_public")?, &key("auth_secret")?).ok()
}

/// The stanza as the device is to see it: with the archive's id (XEP-0359), and with both addresses.
fn stanza(lua: &Lua, host: &Host, original: &Table, account: &str, said: &Said) -> Result<Element> {
    let (read, archive_id) = reader::read(lua, &host.keys, original, |frame| {
        let id = frame
            .table(0)
            .and_then(|table| table.str(Key::PushArchiveId));
        (dom::read(frame, 0, Room::LARGE), id.map(str::to_owned))
    })?;
    let mut stanza = read.map_or_else(|_| said.skeleton(), |read| copied(read, account));
    for (name, value) in [("from", &*said.content.from), ("to", account)] {
        if stanza.attr(name).is_none() {
            set_attr(&mut stanza, name, value);
        }
    }
    if let Some(id) = archive_id {
        let mut stanza_id = Element::bare("stanza-id", ns::SID);
        set_attr(&mut stanza_id, "by", account);
        set_attr(&mut stanza_id, "id", &id);
        stanza.append_child(stanza_id);
    }
    Ok(stanza)
}

/// The message in a carbon copy (XEP-0280), and anything else as it is.
fn copied(stanza: Element, account: &str) -> Element {
    let copied = stanza
        .get_child("received", CARBONS)
        .filter(|_| stanza.attr("from") == Some(account))
        .and_then(|received| received.get_child("forwarded", FORWARD))
        .and_then(|forwarded| forwarded.get_child("message", "jabber:client"))
        .cloned();
    copied.unwrap_or(stanza)
}

fn set_attr(element: &mut Element, name: &str, value: &str) {
    if let Ok(name) = NcName::try_from(name)
        && is_xml_text(value)
    {
        element.set_attr(Namespace::NONE, name, value.to_owned());
    }
}

/// The token, where the client has given a key for that (RFC 8292).
fn token(host: &Host, sending: &Table) -> Result<Option<Arc<Token>>> {
    let Some(key) = text(sending, "jwt_key") else {
        return Ok(None);
    };
    let mut claims = Vec::new();
    if let Value::Table(table) = sending.raw_get("jwt_claims")? {
        for pair in table.pairs::<String, String>().flatten() {
            claims.push(pair);
        }
    }
    claims.sort_unstable();
    if push2::size(&claims) > MAX_CLAIMS_BYTES {
        return Ok(None); // No client could ask for it
    }
    let State {
        tokens, contact, ..
    } = &mut *host.state()?;
    let now = u64::try_from(clock()).unwrap_or_default();
    Ok(tokens.get(&key, &claims, contact, now).ok())
}
