//! Notifications become publishes (XEP-0357 section 7), as Prosody stanzas.

use std::cell::RefCell;

use mlua::{Function, Lua, Result, Table, Value};

use super::dom::{self, Room};
use super::reader::{self, Keys};
use super::writer;
use crate::notification::{Disclosure, Notification};
use crate::stanza::Importance;
use crate::wire::message::Message;
use crate::wire::options::{Submitted, submitted};
use crate::wire::publish::{Header, Part, Payload};

/// What pushes have in common as long as nobody will change it.
#[derive(Clone)]
struct Common {
    item: Table,
    /// Record -> its `<pubsub/>`; weak keys.
    publishes: Table,
}

/// A kind of pushes that have everything in common.
struct Kind {
    important: bool,
    parts: Vec<Part>,
    common: Common,
}

/// Writes publishes.
pub struct Publisher {
    /// The host that sends them.
    from: String,
    /// That of Prosody's stanzas.
    metatable: Table,
    /// `st.deserialize`.
    deserialize: Function,
    /// Those that tell nothing else: they differ in how important they are, and in whether that is said.
    kinds: RefCell<Vec<Kind>>,
    /// Record -> its `<publish-options/>`, or false; weak keys.
    options: RefCell<Option<Table>>,
    /// For each importance, record -> its `<notification/>`; weak keys.
    notifications: RefCell<Vec<(Importance, Table)>>,
}

impl Publisher {
    pub fn new(from: String, metatable: Table, deserialize: Function) -> Self {
        Self {
            from,
            metatable,
            deserialize,
            kinds: RefCell::default(),
            options: RefCell::default(),
            notifications: RefCell::default(),
        }
    }

    /// What notifications say by themselves has changed.
    pub fn forget_common(&self) {
        self.kinds.take();
    }

    /// The publish of a notification to the registration in `record`. `is_shared`: nobody will change it.
    pub fn publish(
        &self,
        lua: &Lua,
        keys: &Keys,
        notification: &Notification,
        record: &Table,
        disclosure: &Disclosure,
        is_shared: bool,
    ) -> Result<Table> {
        let payload = notification.payload(disclosure);
        let node = &*notification.node;
        let pubsub = if is_shared && !notification.is_telling() {
            self.shared_pubsub(lua, keys, notification, record, &payload)?
        } else {
            let item = writer::item(lua, &self.metatable, &payload)?;
            let options = if is_shared {
                self.shared_options(lua, keys, record)?
            } else {
                self.options(lua, keys, record)?
            };
            writer::pubsub(lua, &self.metatable, node, item, options)?
        };
        let header = Header {
            id: &notification.id.to_string(),
            from: &self.from,
            to: &notification.to,
        };
        writer::iq(lua, &self.metatable, &header, pubsub)
    }

    /// The message of a notification to the registration in `record`. Nobody will change it.
    pub fn message(
        &self,
        lua: &Lua,
        notification: &Notification,
        record: &Table,
        message: &Message<'_>,
    ) -> Result<Table> {
        let shared = self.shared_notification(lua, record, message)?;
        let header = Header {
            id: &notification.id.to_string(),
            from: &self.from,
            to: &notification.to,
        };
        writer::message(lua, &self.metatable, &header, message, shared)
    }

    /// The `<notification/>` of all messages to a registration that matter as much, as long as the token is the same.
    fn shared_notification(
        &self,
        lua: &Lua,
        record: &Table,
        message: &Message<'_>,
    ) -> Result<Table> {
        let known = self.notifications(lua, message.importance)?;
        if let Value::Table(notification) = known.raw_get(record)?
            && has_token(&notification, message.token)?
        {
            return Ok(notification);
        }
        let notification = writer::notification(lua, &self.metatable, message)?;
        known.raw_set(record, &notification)?;
        Ok(notification)
    }

    fn notifications(&self, lua: &Lua, importance: Importance) -> Result<Table> {
        let mut all = self.notifications.borrow_mut();
        if let Some((_, known)) = all.iter().find(|(one, _)| *one == importance) {
            return Ok(known.clone());
        }
        let known = by_record(lua)?;
        all.push((importance, known.clone()));
        Ok(known)
    }

    /// The `<pubsub/>` of all pushes to a registration that tell nothing else.
    fn shared_pubsub(
        &self,
        lua: &Lua,
        keys: &Keys,
        notification: &Notification,
        record: &Table,
        payload: &Payload<'_>,
    ) -> Result<Table> {
        let Common { item, publishes } = self.common(lua, notification.is_important(), payload)?;
        if let Some(pubsub) = publishes.raw_get(record)? {
            return Ok(pubsub);
        }
        let options = self.options(lua, keys, record)?;
        let pubsub = writer::pubsub(lua, &self.metatable, &notification.node, item, options)?;
        publishes.raw_set(record, &pubsub)?;
        Ok(pubsub)
    }

    fn common(&self, lua: &Lua, important: bool, payload: &Payload<'_>) -> Result<Common> {
        let is_same = |kind: &&Kind| kind.important == important && kind.parts == payload.parts;
        if let Some(kind) = self.kinds.borrow().iter().find(is_same) {
            return Ok(kind.common.clone());
        }
        let common = Common {
            item: writer::item(lua, &self.metatable, payload)?,
            publishes: by_record(lua)?,
        };
        self.kinds.borrow_mut().push(Kind {
            important,
            parts: payload.parts.to_vec(),
            common: common.clone(),
        });
        Ok(common)
    }

    /// [`Self::options`] that all pushes to a registration share: nobody will change them.
    fn shared_options(&self, lua: &Lua, keys: &Keys, record: &Table) -> Result<Option<Table>> {
        let known = self.options.borrow().clone();
        let known = known.map_or_else(|| by_record(lua), Ok)?;
        let options = match known.raw_get(record)? {
            Value::Table(options) => Some(options),
            Value::Nil => {
                let options = self.options(lua, keys, record)?;
                let value = options.clone().map_or(Value::Boolean(false), Value::Table);
                known.raw_set(record, value)?;
                options
            }
            _ => None,
        };
        *self.options.borrow_mut() = Some(known);
        Ok(options)
    }

    /// `<publish-options/>` with the form in `record`, of whatever type, as one that is submitted;
    /// none if there is none or it is damaged.
    fn options(&self, lua: &Lua, keys: &Keys, record: &Table) -> Result<Option<Table>> {
        let Value::Table(form) = record.raw_get("options")? else {
            return Ok(None);
        };
        let Ok(form) = self.deserialize.call::<Table>(form) else {
            return Ok(None);
        };
        let element = reader::read(lua, keys, &form, |frame| {
            dom::read(frame, 0, Room::LARGE).ok()
        })?;
        let form = match element.and_then(submitted) {
            Some(Submitted::AsItIs) => {
                let attr: Table = form.raw_get("attr")?;
                attr.raw_set("type", "submit")?;
                form
            }
            Some(Submitted::Fields(fields)) => writer::form(lua, &self.metatable, &fields)?,
            None => return Ok(None),
        };
        writer::options(lua, &self.metatable, form).map(Some)
    }
}

/// Whether the last child of a `<notification/>` is this token, or is none.
fn has_token(notification: &Table, token: Option<(&str, &str)>) -> Result<bool> {
    let Value::Table(last) = notification.raw_get(notification.raw_len())? else {
        return Ok(false);
    };
    let is = |value: Value, text: &str| value.as_string().is_some_and(|string| *string == text);
    Ok(match token {
        Some((jwt, _)) => is(last.raw_get(1)?, jwt),
        None => !is(last.raw_get("name")?, "jwt"),
    })
}

/// A table that holds no record.
fn by_record(lua: &Lua) -> Result<Table> {
    let weak = lua.create_table()?;
    weak.raw_set("__mode", "k")?;
    let table = lua.create_table()?;
    table.set_metatable(Some(weak))?;
    Ok(table)
}
