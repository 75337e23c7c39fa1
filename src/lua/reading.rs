//! What the user has read, or fetched, on another device.

use mlua::{Lua, LuaString, Result, Table, Value};

use super::account::{read_own_presence, read_presence, read_registration, read_sessions};
use super::host::Host;
use super::pings::publish_without_stanza;
use super::pushes::{Delayed, delayed};
use super::reader;
use super::state::State;
use crate::engine::{Account, Presence};
use crate::stanza::Read;

/// `displayed(user, identifier, record, sessions, listened, chat, id)`: the user has read a chat up to the message of this
/// id; without an id all of it has been fetched by another client, and without a chat everything. Seconds to the next
/// deadline, and the push that tells the device that all is read, if it has to know that now.
pub fn displayed(
    lua: &Lua,
    host: &Host,
    (user, identifier, record, sessions, listened, chat, id): (
        String,
        LuaString,
        Table,
        Value,
        bool,
        Option<String>,
        Option<String>,
    ),
) -> Result<Delayed> {
    let name = identifier.to_str()?.to_owned();
    let (id, delay) = host.act(|state, now| {
        let State {
            engine, disclosure, ..
        } = state;
        reader::read(lua, &host.keys, (&record, sessions), |frame| {
            let (sessions, _) = read_sessions(frame.table(1).as_ref(), None);
            let record = frame.table(0)?;
            let account = Account {
                user: &user,
                registrations: &[read_registration(&name, &record, disclosure)?],
                sessions: &sessions,
            };
            let asked = disclosure.read.includes(&record);
            let read = Read::new(chat.as_deref(), id.as_deref(), engine.key());
            engine.displayed(now, &account, 0, read, asked)
        })
    })?;
    let published = publish_without_stanza(lua, host, id?, identifier, &record, listened)?;
    Ok(delayed(delay, published))
}

/// `is_back(presence, sessions)`: whether the user, none of whose sessions is plainly available, is so with this.
pub fn is_back(lua: &Lua, host: &Host, (presence, sessions): (Table, Value)) -> Result<bool> {
    reader::read(lua, &host.keys, (presence, sessions), |frame| {
        let now = frame
            .table(0)
            .and_then(|presence| read_own_presence(&presence));
        let before = read_presence(frame.table(1).as_ref());
        now.is_some_and(|now| Presence::is_back(now, &before))
    })
}
