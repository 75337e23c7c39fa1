//! Registering: what clients and push services ask for, and what it means for a
//! user's records. Rare, so through handles.

use std::collections::{HashMap, HashSet};

use minidom::Element;
use mlua::{Lua, LuaString, Result, Table, Value};

use super::dom::{self, Room};
use super::reader::{self, Key, Keys};
use crate::engine::registering::{self, Record, Wanted};
use crate::engine::suspension::Suspension;
use crate::extension::{Community, EXTENSIONS, Kept, Others, Room as Wish};
use crate::notification::Protocol;
use crate::wire::archive::Fetched;
use crate::wire::request::{self, Address, RequestError};
use crate::wire::{affiliation, publish};

/// A value, or an error's type, condition and text (RFC 6120 section 8.3).
pub type Answer = (
    Option<Table>,
    Option<String>,
    Option<String>,
    Option<String>,
);

/// `enable(<enable/>, own full JID, others)`: `{ identifier, jid, node, fields }`; fields are those that extensions
/// keep in the record. Others are modules, name -> true, to which what they do is left.
pub fn enable(
    lua: &Lua,
    keys: &Keys,
    (element, own, others): (Table, String, Option<Table>),
) -> Result<Answer> {
    let others = read_others(others.as_ref());
    let asked = read_request(lua, keys, element, |element| {
        let address = request::enable(element, &own)?;
        Ok((address, EXTENSIONS.enable(element, others)?))
    });
    answer(asked?, |(address, fields)| {
        let table = as_table(lua, address)?;
        if !fields.is_empty() {
            table.set("fields", as_stored(lua, Kept::Table(fields))?)?;
        }
        Ok(table)
    })
}

/// `features(others)`: those of extensions, for the account's disco#info.
pub fn features(_: &Lua, others: Option<Table>) -> Result<Vec<&'static str>> {
    Ok(EXTENSIONS.features(read_others(others.as_ref())).collect())
}

/// Modules of the community, name -> true.
pub fn read_others(others: Option<&Table>) -> Others {
    let mut found = Others::default();
    for module in Community::ALL {
        let is_there = others.map(|others| others.raw_get::<bool>(module.module()));
        if matches!(is_there, Some(Ok(true))) {
            found.add(module);
        }
    }
    found
}

/// `disable(<disable/>)`: `{ identifier, jid, node }`.
pub fn disable(lua: &Lua, keys: &Keys, element: Table) -> Result<Answer> {
    let asked = read_request(lua, keys, element, request::disable);
    answer(asked?, |address| as_table(lua, address))
}

/// What `read` finds in an element.
pub fn read_request<T>(
    lua: &Lua,
    keys: &Keys,
    element: Table,
    read: impl FnOnce(&Element) -> std::result::Result<T, RequestError>,
) -> Result<std::result::Result<T, RequestError>> {
    let element = reader::read(lua, keys, element, |frame| dom::read_request(frame, 0))?;
    Ok(element.and_then(|element| read(&element)))
}

/// What was asked for, as a table, or the error.
pub fn answer<T>(
    asked: std::result::Result<T, RequestError>,
    as_table: impl FnOnce(T) -> Result<Table>,
) -> Result<Answer> {
    match asked {
        Ok(asked) => Ok((Some(as_table(asked)?), None, None, None)),
        Err(error) => {
            let (kind, condition) = error.stanza_error();
            let kind = error_type(&kind);
            let condition = Element::from(condition).name().to_owned();
            Ok((None, Some(kind), Some(condition), Some(error.to_string())))
        }
    }
}

fn as_table(lua: &Lua, Address { jid, node }: Address) -> Result<Table> {
    let table = lua.create_table()?;
    let identifier = registering::identifier(jid.as_str(), node.as_deref());
    table.set("identifier", identifier)?;
    table.set("jid", jid.as_str())?;
    table.set("node", node)?;
    Ok(table)
}

/// What extensions keep, as it is stored.
fn as_stored(lua: &Lua, kept: Kept) -> Result<Value> {
    let table = match kept {
        Kept::Set => return Ok(Value::Boolean(true)),
        Kept::Number(number) => return Ok(Value::Integer(number.into())),
        Kept::Text(text) => return lua.create_string(text).map(Value::String),
        Kept::Table(fields) => {
            let fields = fields.into_iter().map(|(field, kept)| {
                let name = Key::from(field).name();
                Ok((name, as_stored(lua, kept)?))
            });
            lua.create_table_from(fields.collect::<Result<Vec<_>>>()?)?
        }
        Kept::Chats(chats) => lua.create_table_from(chats.into_iter().map(|chat| (chat, true)))?,
        Kept::Rooms(rooms) => {
            let rooms = rooms.into_iter().map(|(room, Wish { when, nick })| {
                let wish = lua.create_table()?;
                wish.raw_set("when", when)?;
                wish.raw_set("nick", nick)?;
                Ok((room, wish))
            });
            lua.create_table_from(rooms.collect::<Result<Vec<_>>>()?)?
        }
    };
    Ok(Value::Table(table))
}

/// The name of an error type as it stands in the attribute.
fn error_type(kind: &xmpp_parsers::stanza_error::ErrorType) -> String {
    use xmpp_parsers::stanza_error::ErrorType;
    match kind {
        ErrorType::Auth => "auth",
        ErrorType::Cancel => "cancel",
        ErrorType::Continue => "continue",
        ErrorType::Modify => "modify",
        ErrorType::Wait => "wait",
    }
    .to_owned()
}

/// `revoked_node(<pubsub/>, bare JID)`: the node, or nil. Anybody may send the like.
pub fn revoked_node(
    lua: &Lua,
    keys: &Keys,
    (pubsub, account): (Table, String),
) -> Result<Option<String>> {
    let pubsub = reader::read(lua, keys, pubsub, |frame| dom::read(frame, 0, Room::SMALL))?;
    let pubsub = pubsub.ok();
    Ok(pubsub.and_then(|pubsub| affiliation::revoked_node(&pubsub, &account)))
}

/// `fetched(<query/>)`: whether a query of the archive fetches all up to the newest message, and of which chat, if it
/// is of a single one.
pub fn fetched(lua: &Lua, keys: &Keys, query: Table) -> Result<(bool, Option<String>)> {
    let query = reader::read(lua, keys, query, |frame| dom::read(frame, 0, Room::SMALL))?;
    Ok(match query.ok().as_ref().and_then(Fetched::by) {
        None => (false, None),
        Some(Fetched::Everything) => (true, None),
        Some(Fetched::Chat(chat)) => (true, Some(chat)),
    })
}

/// `is_xml_text(value)`: whether it is a string that XML may contain.
pub fn is_xml_text(_: &Lua, value: Value) -> Result<bool> {
    let Value::String(text) = value else {
        return Ok(false);
    };
    Ok(text.to_str().is_ok_and(|text| publish::is_xml_text(&text)))
}

/// What `admit` is asked: `records, jid, node, client id, resource, push_max_devices, now`.
type Admitted = (
    Table,
    String,
    Option<String>,
    Option<String>,
    String,
    usize,
    i64,
);

/// `admit(records, jid, node, client id, resource, push_max_devices, now)`: identifiers that have to
/// go, the timestamp and the sequence of the new record.
pub fn admit(
    _: &Lua,
    (records, jid, node, client_id, resource, max_devices, now): Admitted,
) -> Result<(Vec<String>, i64, i64)> {
    let records = read(&records);
    let wanted = Wanted {
        jid: &jid,
        node: node.as_deref(),
        client_id: client_id.as_deref(),
        resource: &resource,
    };
    let admission = registering::admit(&records, &wanted, max_devices, now);
    Ok((
        identifiers(&records, admission.displaced),
        admission.timestamp,
        admission.sequence,
    ))
}

/// `matching(records, jid, node)`: the identifiers of the registrations with this
/// service, of one node or all, whatever their protocol: they are to end.
pub fn matching(
    _: &Lua,
    (records, jid, node): (Table, String, Option<String>),
) -> Result<Vec<String>> {
    let records: Vec<_> = read_all(&records).map(|(_, record)| record).collect();
    let found = registering::matching(&records, &jid, node.as_deref());
    Ok(identifiers(&records, found))
}

/// `surplus(records, push_max_devices)`: of each protocol of which there are too many, the identifiers of
/// those whose client has newer ones and of the oldest; and of all that cannot be read, if it is too much.
pub fn surplus(_: &Lua, (records, max_devices): (Table, usize)) -> Result<Vec<LuaString>> {
    let all: Vec<_> = records
        .pairs::<LuaString, Value>()
        .filter_map(|pair| Some(pair.ok()?.0))
        .collect();
    if all.len() <= max_devices {
        return Ok(Vec::new());
    }
    let mut readable: HashMap<_, Vec<_>> = HashMap::new();
    for (protocol, record) in read_all(&records) {
        readable.entry(protocol).or_default().push(record);
    }
    let mut kept = HashSet::new();
    for of_protocol in readable.values() {
        let mut places: HashSet<_> = (0..of_protocol.len()).collect();
        for place in registering::surplus(of_protocol, max_devices) {
            places.remove(&place);
        }
        kept.extend(
            places
                .into_iter()
                .map(|place| &*of_protocol[place].identifier),
        );
    }
    let is_kept = |identifier: &LuaString| {
        let identifier = identifier.to_str();
        identifier.is_ok_and(|identifier| kept.contains(&*identifier))
    };
    Ok(all.into_iter().filter(|one| !is_kept(one)).collect())
}

/// `owned_by(records, client id, resource, even suspended)`: the identifier of the client's
/// registration.
pub fn owned_by(
    _: &Lua,
    (records, client_id, resource, even_suspended): (Table, Option<String>, String, bool),
) -> Result<Option<String>> {
    let records = read(&records);
    let found = registering::owned_by(&records, client_id.as_deref(), &resource, even_suspended);
    Ok(identifiers(&records, found).pop())
}

/// `suspend(record, condition, text, now)`: what the record has to say of its suspension, and seconds
/// until the next trial; nil if the registration has to go, and since when it was suspended. `text` may
/// have been cut in the middle of a character.
pub fn suspend(
    lua: &Lua,
    (record, condition, text, now): (Table, Option<String>, Option<LuaString>, i64),
) -> Result<(Option<Table>, i64)> {
    let before: Option<Table> = record.raw_get("suspended").ok();
    let previous = before.as_ref().map(|table| Suspension {
        since: integer(table, "since"),
        trials: u32::try_from(integer(table, "trials")).unwrap_or_default(),
        until: integer(table, "until"),
    });
    let Some(suspension) = Suspension::after(previous, now) else {
        let since = previous.map_or(now, |previous| previous.since);
        return Ok((None, since.clamp(0, now.max(0))));
    };
    let text = text.map(|text| text.to_string_lossy());
    let text = text
        .as_deref()
        .map(|text| text.trim_end_matches('\u{fffd}'));
    let table = lua.create_table()?;
    // What a newer version has to say of it stays.
    for field in before.iter().flat_map(Table::pairs::<Value, Value>) {
        let (name, value) = field?;
        table.raw_set(name, value)?;
    }
    table.set("since", suspension.since)?;
    table.set("trials", suspension.trials)?;
    table.set("until", suspension.until)?;
    table.set("condition", condition)?;
    table.set("text", text)?;
    let wait = i64::try_from(suspension.remaining(now)).unwrap_or(i64::MAX);
    Ok((Some(table), wait))
}

fn identifiers(records: &[Record], places: impl IntoIterator<Item = usize>) -> Vec<String> {
    places
        .into_iter()
        .map(|place| records[place].identifier.clone())
        .collect()
}

/// Those of a protocol that only a newer version knows are left alone.
fn read(records: &Table) -> Vec<Record> {
    read_all(records)
        .filter(|(protocol, _)| Protocol::of(protocol.as_deref()).is_some())
        .map(|(_, record)| record)
        .collect()
}

/// Registrations with the name of their protocol. Whatever is no record, or a field of the wrong type, is passed over.
fn read_all(records: &Table) -> impl Iterator<Item = (Option<String>, Record)> {
    records
        .pairs::<Value, Value>()
        .filter_map(|pair| match pair {
            Ok((Value::String(identifier), Value::Table(record))) => {
                let protocol = text(&record, "protocol");
                let jid = text(&record, "jid");
                if jid.is_none() && Protocol::of(protocol.as_deref()).is_some() {
                    return None;
                }
                let read = Record {
                    identifier: identifier.to_str().ok()?.to_owned(),
                    jid: jid.unwrap_or_default(),
                    node: text(&record, "node").unwrap_or_default(),
                    timestamp: integer(&record, "timestamp"),
                    sequence: integer(&record, "sequence"),
                    client_id: text(&record, "client_id"),
                    resource: text(&record, "resource"),
                    suspended: matches!(record.raw_get("suspended"), Ok(Value::Table(_))),
                };
                Some((protocol, read))
            }
            _ => None,
        })
}

/// A field that is a string.
pub fn text(record: &Table, field: &str) -> Option<String> {
    match record.raw_get(field) {
        Ok(Value::String(text)) => text.to_str().ok().map(|text| text.to_owned()),
        _ => None,
    }
}

fn integer(record: &Table, field: &str) -> i64 {
    match record.raw_get(field) {
        Ok(Value::Integer(number)) => number,
        #[expect(clippy::cast_possible_truncation, reason = "it saturates")]
        Ok(Value::Number(number)) => number as i64,
        _ => 0,
    }
}
