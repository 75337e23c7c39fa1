//! What filters say of a stanza. They may have ten thousand chats in a record, which Lua finds among in no time, but
//! not without making strings. So it is asked for where it matters only, and through handles.

use mlua::{Function, Lua, LuaString, Result, Table, Value};

use super::host::Host;
use super::reader::{self, Key, Stanza};
use super::requests::text;
use crate::engine::Silence;
use crate::extension::{Asked, Chosen, EXTENSIONS, Field, Room, Rooms};
use crate::stanza::Content;

/// `judge(user, records, stanza, load_roster)`: identifier -> the number of a reason for silence. `load_roster(user)`
/// is called if a filter wants to know the user's roster.
pub fn judge(
    lua: &Lua,
    host: &Host,
    (user, records, stanza, load_roster): (String, Table, Table, Function),
) -> Result<Table> {
    let judged = lua.create_table()?;
    let judge = Judge::new(host, user, load_roster);
    let content = judge.read(lua, &stanza)?;
    for pair in records.pairs::<Value, Value>() {
        if let (Value::String(identifier), Value::Table(record)) = pair?
            && let Some(silence) = judge.silence(&record, &content)?
        {
            judged.raw_set(identifier, silence.code())?;
        }
    }
    Ok(judged)
}

/// `judge_queue(user, record, queue, place, load_roster)`: the same for each stanza of a queue, or for a single one
/// at place 0, as the bytes of a string.
pub fn judge_queue(
    lua: &Lua,
    host: &Host,
    (user, record, queue, place, load_roster): (String, Table, Table, i64, Function),
) -> Result<LuaString> {
    let judge = Judge::new(host, user, load_roster);
    let mut judged = Vec::new();
    let mut add = |stanza: &Table| {
        let content = judge.read(lua, stanza)?;
        let silence = judge.silence(&record, &content)?;
        judged.push(silence.map_or(0, Silence::code));
        Ok::<_, mlua::Error>(())
    };
    if place == 0 {
        add(&queue)?;
    } else {
        for stanza in queue.sequence_values::<Table>() {
            add(&stanza?)?;
        }
    }
    lua.create_string(judged)
}

/// Whoever looks at stanzas for a user's registrations.
struct Judge<'a> {
    host: &'a Host,
    user: String,
    account: String,
    load_roster: Function,
}

impl<'a> Judge<'a> {
    fn new(host: &'a Host, user: String, load_roster: Function) -> Self {
        let account = format!("{user}@{}", host.name);
        Self {
            host,
            user,
            account,
            load_roster,
        }
    }

    fn read(&self, lua: &Lua, stanza: &Table) -> Result<Content> {
        let account = &*self.account;
        let content = reader::read(lua, &self.host.keys, stanza, |frame| {
            let table = frame.table(0)?;
            Some(Stanza::with(&table, |stanza| {
                Content::read(stanza, account)
            }))
        })?;
        content.ok_or_else(|| mlua::Error::runtime("it is no stanza"))
    }

    fn silence(&self, record: &Table, content: &Content) -> Result<Option<Silence>> {
        let others = self.host.state()?.disclosure.others;
        if !EXTENSIONS.filter(record, others) {
            return Ok(None);
        }
        let is_unknown = record.is_set(Field::FilterUnknown) && !self.is_in_roster(content)?;
        let chosen = Chosen {
            account: self.account.clone(),
            is_muted: is_muted(record, content),
            is_unknown,
            room: read_room(record, content),
        };
        Ok(EXTENSIONS.silence(record, others, &chosen, content))
    }

    /// Whether the user's roster has the sender (RFC 6121 section 2), and not only as one who asks to be there.
    fn is_in_roster(&self, content: &Content) -> Result<bool> {
        let sender = content
            .invited_by
            .as_deref()
            .unwrap_or_else(|| content.chat());
        let Value::Table(roster) = self.load_roster.call(&*self.user)? else {
            return Ok(false);
        };
        Ok(matches!(roster.raw_get(bare(sender))?, Value::Table(_)))
    }
}

fn bare(jid: &str) -> &str {
    jid.split_once('/').map_or(jid, |(bare, _)| bare)
}

fn is_muted(record: &Table, content: &Content) -> bool {
    let Ok(Value::Table(muted)) = record.raw_get(Key::MutedJids.name()) else {
        return false;
    };
    let is_there = |chat: &str| matches!(muted.raw_get(chat), Ok(Value::Boolean(true)));
    is_there(content.chat())
        || content
            .invited_by
            .as_deref()
            .is_some_and(|by| is_there(bare(by)))
}

fn read_room(record: &Table, content: &Content) -> Rooms {
    let Ok(Value::Table(rules)) = record.raw_get(Key::GroupchatRules.name()) else {
        return Rooms::Any;
    };
    let Ok(Value::Table(rule)) = rules.raw_get(content.chat()) else {
        return Rooms::Others;
    };
    Rooms::Named(Room {
        when: text(&rule, "when").unwrap_or_default(),
        nick: text(&rule, "nick"),
    })
}

impl Asked for Table {
    fn is_set(&self, field: Field) -> bool {
        let value = self.raw_get(Key::from(field).name());
        !matches!(value, Err(_) | Ok(Value::Nil | Value::Boolean(false)))
    }
}
