//! Pushes for the shim that are for no stanza.

use mlua::{Lua, LuaString, Result, Table, Value};

use super::account::{read_registration, read_sessions};
use super::host::Host;
use super::pushes::{Delayed, Published, compose, delayed, publish};
use super::reader;
use crate::engine::{Account, Occasion, PushId};
use crate::notification::{Disclosure, Push};
use crate::stanza::Importance;

/// What `ping` takes.
type Asked = (
    String,
    LuaString,
    Table,
    bool,
    Option<String>,
    Option<Value>,
);

/// `ping(user, identifier, record, listened, occasion, sessions)`: seconds to the next deadline, and a push without
/// a stanza unless the push service could not take it now. An occasion is `before-timeout` or `on-start`, where the
/// user's sessions matter; else somebody asks for it.
pub fn ping(
    lua: &Lua,
    host: &Host,
    (user, identifier, record, listened, occasion, sessions): Asked,
) -> Result<Delayed> {
    let name = identifier.to_str()?.to_owned();
    let occasion = occasion.and_then(|occasion| Occasion::from_name(&occasion));
    let occasion = occasion.unwrap_or(Occasion::Asked);
    let (id, delay) = host.act(|state, now| {
        reader::read(lua, &host.keys, (&record, sessions), |frame| {
            let record = frame.table(0)?;
            let registrations = [read_registration(&name, &record, &Disclosure::default())?];
            let (sessions, _) = read_sessions(frame.table(1).as_ref(), None);
            let account = Account {
                user: &user,
                registrations: &registrations,
                sessions: &sessions,
            };
            state.engine.ping(now, &account, 0, occasion).ok()
        })
    })?;
    let published = publish_without_stanza(lua, host, id?, identifier, &record, listened)?;
    Ok(delayed(delay, published))
}

/// The push of this id, if there is one, which is for no stanza.
pub fn publish_without_stanza(
    lua: &Lua,
    host: &Host,
    id: Option<PushId>,
    identifier: LuaString,
    record: &Table,
    listened: bool,
) -> Result<Option<Published>> {
    let Some(id) = id else {
        return Ok(None);
    };
    let name = identifier.to_str()?.to_owned();
    let push = Push::new(id, Importance::Unimportant, host.state()?.engine.count(id));
    let notification = compose(lua, host, push, &name, record, None)?;
    notification
        .map(|one| publish(lua, host, &one, identifier, record, None, listened))
        .transpose()
}
