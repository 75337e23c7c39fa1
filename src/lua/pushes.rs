//! Pushes for the shim: what a meeting has led to, what has waited, and pings.

use std::str::FromStr;
use std::sync::Arc;

use mlua::{Lua, LuaString, RegistryKey, Result, Table, Value};

use super::account::{identifier_of, read_registration, read_sessions, read_target, record_of};
use super::clock::now;
use super::host::Host;
use super::messages::{self, Original};
use super::reader::{self, Key, Stanza};
use super::settlement::{Pending, Settlement, Source};
use super::state::State;
use super::writer;
use crate::engine::{Account, Engine, PushId, Reason, Released};
use crate::notification::{Notification, Protocol, Push, Target};
use crate::stanza::Importance;
use crate::wire::publish::xml_text;

/// The largest stanza that is kept in case it has to be pushed again, in bytes.
const MAX_KEPT_BYTES: usize = 16 * 1024;

/// A push for the shim: its stanza, the registration's identifier, whether it is important; and for
/// listeners `{ record, original, count, body, sender }`.
pub type Published = (Table, LuaString, bool, Option<Table>);

/// Seconds to the next deadline if it is an earlier one, and a push if there is one.
pub type Delayed = (
    Option<f64>,
    Option<Table>,
    Option<LuaString>,
    bool,
    Option<Table>,
);

/// How many pushes there are, registrations that get none and why, seconds to the next deadline, how long a call
/// rings, and the first push.
type Settled = (
    usize,
    Option<Table>,
    Option<f64>,
    Option<u64>,
    Option<Table>,
    Option<LuaString>,
    bool,
    Option<Table>,
);

/// `settle(stanza or queue, source, listened, sessions)` after a reader has said that there is something to do: the number
/// of pushes, the registrations that get none and why (identifier and reason in turn), seconds to the next
/// deadline if it is an earlier one, if it is a call, for how many it rings; and the first push. Source is the
/// user's records, or the session with the one that counts. Where nobody listens to `cloud_notify/push`,
/// pushes share what nobody will change.
pub fn settle(
    lua: &Lua,
    host: &Host,
    (stanzas, source, listened, sessions): (Table, Table, bool, Option<Table>),
) -> Result<Settled> {
    let Settlement {
        mut pending,
        holds,
        silent,
        marks,
        rings,
    } = std::mem::take(&mut host.state()?.settlement);
    writer::mark(lua, &stanzas, &marks)?;
    for (count, held) in holds.into_iter().enumerate() {
        let stanza = if count < Engine::<RegistryKey>::MAX_HELD {
            let original = at(&stanzas, held.place)?;
            kept(lua, host, &original, listened || held.content)?
        } else {
            None
        };
        // The deadline is told once, with all of them.
        host.state()?.engine.hold(now(), held.ticket, stanza);
    }
    let silent = (!silent.is_empty())
        .then(|| pairs(lua, &silent))
        .transpose()?;
    let count = pending.len();
    let first = pending.pop_front();
    let ((), delay) = host.act(|state, _| {
        for pending in pending.into_iter().rev() {
            state.pending.push_front(pending);
        }
    })?;
    let rings = rings.then_some(Engine::<RegistryKey>::MAX_RINGING.as_secs());
    let sessions = sessions.as_ref();
    let first = first
        .map(|first| publish_pending(lua, host, &first, &stanzas, &source, listened, sessions));
    Ok(match first.transpose()? {
        Some((stanza, identifier, important, details)) => {
            let (stanza, identifier) = (Some(stanza), Some(identifier));
            (
                count, silent, delay, rings, stanza, identifier, important, details,
            )
        }
        None => (count, silent, delay, rings, None, None, false, None),
    })
}

/// Registrations and reasons in turn.
fn pairs(lua: &Lua, silent: &[(String, Reason)]) -> Result<Table> {
    let table = lua.create_table_with_capacity(2 * silent.len(), 0)?;
    for (identifier, reason) in silent {
        table.raw_push(&**identifier)?;
        table.raw_push(reason.phrase())?;
    }
    Ok(table)
}

/// `next_push(stanza or queue, source, listened, sessions)`: another push of the same.
pub fn next_push(
    lua: &Lua,
    host: &Host,
    (stanzas, source, listened, sessions): (Table, Table, bool, Option<Table>),
) -> Result<Published> {
    let pending = host.state()?.pending.pop_front();
    let pending = pending.ok_or_else(|| mlua::Error::runtime("there is no push"))?;
    let sessions = sessions.as_ref();
    publish_pending(lua, host, &pending, &stanzas, &source, listened, sessions)
}

fn publish_pending(
    lua: &Lua,
    host: &Host,
    Pending {
        place,
        source: kind,
        notification,
    }: &Pending,
    stanzas: &Table,
    source: &Table,
    listened: bool,
    sessions: Option<&Table>,
) -> Result<Published> {
    let (identifier, record) = match kind {
        Source::Records => writer::entry(lua, source, &notification.identifier)?,
        Source::Session(protocol) => (
            source.raw_get(identifier_of(*protocol).name())?,
            source.raw_get(record_of(*protocol).name())?,
        ),
    };
    let original = at(stanzas, *place)?;
    if let Some(key) = kept(lua, host, &original, listened || notification.content)? {
        host.state()?.engine.keep(notification.id, key);
    }
    let original = Original {
        stanza: &original,
        sessions,
    };
    publish(
        lua,
        host,
        notification,
        identifier,
        &record,
        Some(original),
        listened,
    )
}

/// `release(user, identifier, record, sessions, listened)`: seconds to the next deadline, and what waited
/// for a device that `expire` has named: a push, its original, or nothing.
pub fn release(
    lua: &Lua,
    host: &Host,
    (user, identifier, record, sessions, listened): (String, LuaString, Table, Value, bool),
) -> Result<Delayed> {
    let name = identifier.to_str()?.to_owned();
    let (released, delay) = host.act(|state, now| {
        let State {
            engine, disclosure, ..
        } = state;
        reader::read(lua, &host.keys, (&record, &sessions), |frame| {
            let (sessions, _) = read_sessions(frame.table(1).as_ref(), None);
            let record = frame.table(0)?;
            let Some(registration) = read_registration(&name, &record, disclosure) else {
                engine.forget(now, &user, &name); // Nobody can be pushed to there
                return None;
            };
            let account = Account {
                user: &user,
                registrations: &[registration],
                sessions: &sessions,
            };
            engine.release(now, &account, 0)
        })
    })?;
    let Some(Released {
        id,
        stanza,
        importance,
    }) = released?
    else {
        lua.expire_registry_values();
        return Ok(delayed(delay, None));
    };
    let original: Option<Table> = stanza
        .as_ref()
        .map(|stanza| lua.registry_value(stanza))
        .transpose()?;
    if let Some(stanza) = stanza {
        host.state()?.engine.keep(id, stanza);
    }
    let push = Push::new(id, importance, host.state()?.engine.count(id));
    let account = format!("{user}@{}", host.name);
    let original = original.as_ref();
    let received = original.map(|original| (original, &*account));
    let notification = compose(lua, host, push, &name, &record, received)?;
    let original = original.map(|stanza| Original {
        stanza,
        sessions: sessions.as_table(),
    });
    let published = notification
        .map(|one| publish(lua, host, &one, identifier, &record, original, listened))
        .transpose()?;
    Ok(delayed(delay, published))
}

/// `discreet(id, record, important)`: a push once more, without text and sender of the message.
pub fn discreet(
    lua: &Lua,
    host: &Host,
    (id, record, important): (String, Table, bool),
) -> Result<Table> {
    let id = PushId::from_str(&id).map_err(|()| mlua::Error::runtime("it is no push"))?;
    let importance = if important {
        Importance::Important
    } else {
        Importance::Unimportant
    };
    let (told, count) = {
        let mut state = host.state()?;
        state.engine.was_discreet(now(), id);
        (Arc::clone(&state.disclosure), state.engine.count(id))
    };
    let push = Push::new(id, importance, count);
    let notification = reader::read(lua, &host.keys, &record, |frame| {
        let record = frame.table(0)?;
        let target = Target {
            identifier: "",
            protocol: Protocol::Push0,
            whole: false,
            jid: &xml_text(record.str(Key::Jid).unwrap_or_default()),
            node: record.str(Key::Node).unwrap_or_default(),
            record: &record,
        };
        let compose = Notification::compose::<Stanza<'_>>;
        Some(compose(push, target, None, &told))
    })?;
    let notification = notification.ok_or_else(|| mlua::Error::runtime("it is no record"))?;
    let publisher = &host.publisher;
    publisher.publish(lua, &host.keys, &notification, &record, &told, false)
}

/// `vetoed(id, reason)`: seconds to the next deadline if it is an earlier one.
pub fn vetoed(_: &Lua, host: &Host, (id, reason): (String, Option<String>)) -> Result<Option<f64>> {
    let ((), delay) = host.act(|state, now| {
        if let Ok(id) = PushId::from_str(&id) {
            state
                .engine
                .vetoed(now, id, reason.as_deref().unwrap_or_default());
        }
    })?;
    Ok(delay)
}

/// The notification of a push to the registration in `record`; if it is for a stanza, that and the bare JID of
/// the account that has received it.
pub fn compose(
    lua: &Lua,
    host: &Host,
    push: Push,
    identifier: &str,
    record: &Table,
    received: Option<(&Table, &str)>,
) -> Result<Option<Notification>> {
    let told = &host.state()?.disclosure;
    let (original, account) = received.unzip();
    let account = account.unwrap_or_default();
    reader::read(lua, &host.keys, (record, original), |frame| {
        let record = frame.table(0)?;
        let target = read_target(identifier, &record)?;
        Some(match frame.table(1) {
            Some(original) => Stanza::with(&original, |stanza| {
                Notification::compose(push, target, Some((stanza, account)), told)
            }),
            None => Notification::compose::<Stanza<'_>>(push, target, None, told),
        })
    })
}

/// A notification for the shim.
pub fn publish(
    lua: &Lua,
    host: &Host,
    notification: &Notification,
    identifier: LuaString,
    record: &Table,
    original: Option<Original<'_>>,
    listened: bool,
) -> Result<Published> {
    let important = notification.is_important();
    if notification.protocol == Protocol::Push2 {
        let message = messages::write(lua, host, notification, record, original)?;
        return Ok((message, identifier, important, None));
    }
    let told = Arc::clone(&host.state()?.disclosure);
    let publisher = &host.publisher;
    let stanza = publisher.publish(lua, &host.keys, notification, record, &told, !listened)?;
    let details = listened
        .then(|| {
            let summary = notification.summary(&told);
            let details = lua.create_table_with_capacity(0, 5)?;
            details.raw_set("record", record)?;
            details.raw_set("original", original.map(|original| original.stanza))?;
            details.raw_set("count", summary.count)?;
            details.raw_set("body", summary.body)?;
            details.raw_set("sender", summary.sender)?;
            Ok::<_, mlua::Error>(details)
        })
        .transpose()?;
    Ok((stanza, identifier, important, details))
}

/// Keeps a stanza, where a later push would need it: to say what it says, or for others (`needed`).
fn kept(lua: &Lua, host: &Host, stanza: &Table, needed: bool) -> Result<Option<RegistryKey>> {
    if !needed && !host.state()?.disclosure.tells_of_stanzas() {
        return Ok(None);
    }
    let is_small = reader::read(lua, &host.keys, stanza, |frame| {
        let table = frame.table(0);
        table.is_some_and(|table| Stanza::with(&table, |stanza| stanza.is_within(MAX_KEPT_BYTES)))
    })?;
    is_small
        .then(|| lua.create_registry_value(stanza))
        .transpose()
}

/// The stanza at a place in a queue, or at 0 the stanza itself.
fn at(stanzas: &Table, place: usize) -> Result<Table> {
    if place == 0 {
        Ok(stanzas.clone())
    } else {
        stanzas.raw_get(place)
    }
}

pub fn delayed(delay: Option<f64>, push: Option<Published>) -> Delayed {
    match push {
        Some((stanza, identifier, important, details)) => {
            (delay, Some(stanza), Some(identifier), important, details)
        }
        None => (delay, None, None, false, None),
    }
}
