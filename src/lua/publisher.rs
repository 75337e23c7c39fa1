//! Notifications become publishes (XEP-0357 section 7), as Prosody stanzas.

use std::cell::RefCell;

use mlua::{Function, Lua, Result, Table, Value};

use super::dom::{self, Room};
use super::reader::{self, Keys};
use super::writer;
use crate::notification::{Disclosure, Notification, Protocol};
use crate::wire::options::{Submitted, submitted};
use crate::wire::publish::{Header, Payload};

/// What pushes have in common as long as nobody will change it.
#[derive(Clone)]
struct Common {
    item: Table,
    /// Record -> its `<pubsub/>`; weak keys.
    publishes: Table,
}

/// Writes publishes.
pub struct Publisher {
    /// The host that sends them.
    from: String,
    /// That of Prosody's stanzas.
    metatable: Table,
    /// `st.deserialize`.
    deserialize: Function,
    /// What unimportant and important pushes have in common that tell nothing else.
    common: RefCell<[Option<Common>; 2]>,
}

impl Publisher {
    pub fn new(from: String, metatable: Table, deserialize: Function) -> Self {
        Self {
            from,
            metatable,
            deserialize,
            common: RefCell::default(),
        }
    }

    /// What notifications say by themselves has changed.
    pub fn forget_common(&self) {
        self.common.take();
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
        let Protocol::Push0 = notification.protocol;
        let pubsub = if is_shared && !notification.is_telling() {
            self.shared_pubsub(lua, keys, notification, record, disclosure)?
        } else {
            let item = writer::item(lua, &self.metatable, &notification.payload(disclosure))?;
            let options = self.options(lua, keys, record)?;
            writer::pubsub(lua, &self.metatable, &notification.node, item, options)?
        };
        let header = Header {
            id: &notification.id.to_string(),
            from: &self.from,
            to: &notification.to,
        };
        writer::iq(lua, &self.metatable, &header, pubsub)
    }

    /// The `<pubsub/>` of all pushes to a registration that tell nothing else.
    fn shared_pubsub(
        &self,
        lua: &Lua,
        keys: &Keys,
        notification: &Notification,
        record: &Table,
        disclosure: &Disclosure,
    ) -> Result<Table> {
        let Common { item, publishes } = self.common(
            lua,
            notification.important,
            &notification.payload(disclosure),
        )?;
        if let Some(pubsub) = publishes.raw_get(record)? {
            return Ok(pubsub);
        }
        let options = self.options(lua, keys, record)?;
        let pubsub = writer::pubsub(lua, &self.metatable, &notification.node, item, options)?;
        publishes.raw_set(record, &pubsub)?;
        Ok(pubsub)
    }

    fn common(&self, lua: &Lua, important: bool, payload: &Payload<'_>) -> Result<Common> {
        let kind = usize::from(important);
        if let Some(common) = &self.common.borrow()[kind] {
            return Ok(common.clone());
        }
        let weak = lua.create_table()?;
        weak.raw_set("__mode", "k")?;
        let publishes = lua.create_table()?;
        publishes.set_metatable(Some(weak))?;
        let common = Common {
            item: writer::item(lua, &self.metatable, payload)?,
            publishes,
        };
        self.common.borrow_mut()[kind] = Some(common.clone());
        Ok(common)
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
