//! The engine of a host, as the shim sees it.
//!
//! The engine is borrowed for a moment only, and never while Prosody is called: a push service may
//! answer inside the very call that sends the push.

use std::cell::RefCell;
use std::str::FromStr;
use std::time::Duration;

use minidom::Element;
use mlua::{Function, Lua, RegistryKey, Result, Table, UserData, UserDataMethods, Value};
use xmpp_parsers::stanza_error::DefinedCondition;

use super::meeting::{
    self, Body, Decided, Disclosure, Meeting, Push, Shared, State, decide, normalised, now,
    read_registration, read_sessions,
};
use super::reader::{self, Frame, Keys, Reply, Stanza};
use super::requests::text;
use super::{dom, writer};
use crate::engine::{Account, Answer, Due, Engine, NotifyOn, Options, PushId, Released};
use crate::stanza::Importance;
use crate::wire::publish::{Publish, Summary, xml_text};

/// `open(host, stanza metatable, st.deserialize)`: the engine of this host, with all that it
/// knows from before if there has been one.
pub fn open(lua: &Lua, (name, metatable, deserialize): (String, Table, Function)) -> Result<Host> {
    let forms = lua.create_table()?;
    let weak = lua.create_table()?;
    weak.raw_set("__mode", "k")?;
    forms.set_metatable(Some(weak))?;
    Ok(Host {
        state: Shared::of(&name),
        name,
        keys: Keys::new(lua)?,
        metatable,
        deserialize,
        forms,
        items: RefCell::default(),
    })
}

/// `close(host)`: forgets the host's engine.
pub fn close(_: &Lua, name: String) -> Result<()> {
    Shared::forget(&name);
    Ok(())
}

/// What the shim holds of a host's engine.
pub struct Host {
    state: Shared,
    name: String,
    keys: Keys,
    metatable: Table,
    deserialize: Function,
    /// Record -> its `<publish-options/>`, or false; weak keys.
    forms: Table,
    /// The `<item/>` of an unimportant and of an important push that tells nothing else.
    items: RefCell<[Option<Table>; 2]>,
}

/// Pushes, silent registrations (identifier and reason in turn), and seconds to the next
/// deadline if it is an earlier one.
type Outcome = (Option<Table>, Option<Table>, Option<f64>);

impl UserData for Host {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("configure", Self::configure);
        methods.add_method("readers", Self::readers);
        methods.add_method("outcome", Self::outcome);
        methods.add_method("release", Self::release);
        methods.add_method("ping", Self::ping);
        methods.add_method("answered", Self::answered);
        methods.add_method("expire", Self::expire);
        methods.add_method("discreet", Self::discreet);
        methods.add_method("vetoed", Self::vetoed);
        methods.add_method("back", |_, this, (user, identifier): (String, String)| {
            this.state.borrow()?.engine.back(&user, &identifier);
            Ok(())
        });
        methods.add_method(
            "enabled",
            |_, this, (user, identifier): (String, String)| {
                this.state.borrow()?.engine.enabled(&user, &identifier);
                Ok(())
            },
        );
        methods.add_method("forget", |_, this, (user, identifier): (String, String)| {
            this.state.borrow()?.engine.forget(&user, &identifier);
            Ok(())
        });
        methods.add_method("forget_user", |_, this, user: String| {
            this.state.borrow()?.engine.forget_user(&user);
            Ok(())
        });
        methods.add_method("in_flight", |_, this, ()| {
            Ok(this.state.borrow()?.engine.in_flight())
        });
    }
}

impl Host {
    /// `configure(options)`: seconds to the next deadline, if there is one.
    fn configure(_: &Lua, this: &Self, options: Table) -> Result<Option<f64>> {
        let seconds = |name| -> Result<Duration> {
            let seconds: f64 = options.get(name)?;
            Duration::try_from_secs_f64(seconds).map_err(mlua::Error::external)
        };
        let notify_on: String = options.get("push_notify_on")?;
        let engine_options = Options {
            max_errors: options.get("push_max_errors")?,
            coalesce_window: seconds("push_coalesce_window")?,
            answer_timeout: seconds("push_answer_timeout")?,
            max_per_minute: options.get("push_max_per_minute")?,
            notify_on: NotifyOn::from_name(&notify_on).unwrap_or_default(),
        };
        let important_body: String = options.get("push_notification_important_body")?;
        let disclosure = Disclosure {
            body: options.get("push_notification_with_body")?,
            sender: options.get("push_notification_with_sender")?,
            important_body: Some(important_body).filter(|body| !body.is_empty()),
        };
        this.items.take();
        let state = &mut *this.state.borrow()?;
        state.engine.configure(engine_options);
        state.disclosure = disclosure;
        state.armed = None;
        Ok(state.next_delay(now()))
    }

    /// `readers()`: the functions `archived`, `offline` and `unacked` (see [`meeting`]). They return
    /// nothing, or the reason why nobody is pushed, or true if there is something for `outcome`,
    /// and the place to go on from if there is more in the queue.
    fn readers(lua: &Lua, this: &Self, (): ()) -> Result<(Function, Function, Function)> {
        let function = |read: fn(&mut State, &str, &Frame<'_>) -> Reply| {
            let (state, name) = (this.state.clone(), this.name.clone());
            reader::function(lua, &this.keys, move |frame| match state.borrow() {
                Ok(mut state) => read(&mut state, &name, frame),
                Err(_) => Reply::Text("engine is in use"),
            })
        };
        Ok((
            function(meeting::archived)?,
            function(meeting::offline)?,
            function(meeting::unacked)?,
        ))
    }

    /// `outcome(stanza, records, listened)` after `archived` and `offline`,
    /// `outcome(queue, session, listened)` after `unacked`: what there is to do. Where nobody
    /// listens to `cloud_notify/push`, pushes say less and share what nobody will change.
    fn outcome(
        lua: &Lua,
        this: &Self,
        (stanzas, source, listened): (Table, Table, bool),
    ) -> Result<Outcome> {
        let Meeting {
            pushes,
            holds,
            silent,
            marks,
        } = std::mem::take(&mut this.state.borrow()?.meeting);
        writer::mark(lua, &stanzas, &marks)?;
        for (count, (place, ticket)) in holds.into_iter().enumerate() {
            let stanza = (count < Engine::<RegistryKey>::MAX_HELD)
                .then(|| lua.create_registry_value(at(&stanzas, place)?))
                .transpose()?;
            this.state.borrow()?.engine.hold(now(), ticket, stanza);
        }
        let write = |decided: &Decided| {
            // The records of a user, or the session with the one record that counts.
            let field = if decided.place == 0 {
                &*decided.identifier
            } else {
                "push_settings"
            };
            let original = at(&stanzas, decided.place)?;
            this.push(
                lua,
                decided,
                &source.raw_get(field)?,
                Some(&original),
                listened,
            )
        };
        let pushes = (!pushes.is_empty())
            .then(|| {
                let pushes = pushes.iter().map(write).collect::<Result<Vec<_>>>()?;
                lua.create_sequence_from(pushes)
            })
            .transpose()?;
        let silent = (!silent.is_empty())
            .then(|| {
                let pairs = silent.into_iter();
                lua.create_sequence_from(pairs.flat_map(|(who, why)| [who, why.to_owned()]))
            })
            .transpose()?;
        let delay = this.state.borrow()?.next_delay(now());
        Ok((pushes, silent, delay))
    }

    /// `release(user, identifier, record, sessions)`: what waited for a device that `expire` has
    /// named: nil, or a push with its stanza as `original`; and seconds to the next deadline.
    fn release(
        lua: &Lua,
        this: &Self,
        (user, identifier, record, sessions): (String, String, Table, Value),
    ) -> Result<(Option<Table>, Option<f64>)> {
        let jid = format!("{user}@{}", this.name);
        let (decided, original, delay) = {
            let now = now();
            let state = &mut *this.state.borrow()?;
            let State {
                engine, disclosure, ..
            } = state;
            let released = reader::read(lua, &this.keys, (&record, sessions), |frame| {
                let (sessions, _) = read_sessions(frame.table(1).as_ref(), None);
                let registration =
                    read_registration(&identifier, &frame.table(0)?, disclosure.body)?;
                let account = Account {
                    user: &user,
                    registrations: &[registration],
                    sessions: &sessions,
                };
                engine.release(now, &account, 0)
            })?;
            let Some(released) = released else {
                return Ok((None, state.next_delay(now)));
            };
            let original: Table = lua.registry_value(&released.stanza)?;
            let decided = reader::read(lua, &this.keys, (&record, &original), |frame| {
                let record = frame.table(0)?;
                let Released { id, importance, .. } = released;
                Stanza::with(&frame.table(1)?, |stanza| {
                    let push = Push {
                        id,
                        place: 0,
                        importance,
                    };
                    decide(push, &identifier, &record, Some(stanza), &jid, disclosure)
                })
            })?;
            lua.remove_registry_value(released.stanza)?;
            (decided, original, state.next_delay(now))
        };
        let push = decided
            .map(|decided| this.push(lua, &decided, &record, Some(&original), true))
            .transpose()?;
        Ok((push, delay))
    }

    /// `ping(user, identifier, record)`: a push without a stanza, and seconds to the next deadline.
    fn ping(
        lua: &Lua,
        this: &Self,
        (user, identifier, record): (String, String, Table),
    ) -> Result<(Option<Table>, Option<f64>)> {
        let (decided, delay) = {
            let now = now();
            let state = &mut *this.state.borrow()?;
            let State {
                engine, disclosure, ..
            } = state;
            let decided = reader::read(lua, &this.keys, &record, |frame| {
                let record = frame.table(0)?;
                let registrations = [read_registration(&identifier, &record, false)?];
                let account = Account {
                    user: &user,
                    registrations: &registrations,
                    sessions: &[],
                };
                let id = engine.ping(now, &account, 0);
                let push = Push {
                    id,
                    place: 0,
                    importance: Importance::Unimportant,
                };
                decide::<Stanza<'_>>(push, &identifier, &record, None, &user, disclosure)
            })?;
            (decided, state.next_delay(now))
        };
        let push = decided
            .map(|decided| this.push(lua, &decided, &record, None, true))
            .transpose()?;
        Ok((push, delay))
    }

    /// `answered(id, from, is error, type, condition)`: nil if it is no answer to a push, else
    /// `{ user, identifier, errors, refused, ended, condition }`.
    fn answered(
        lua: &Lua,
        this: &Self,
        (id, from, is_error, kind, condition): (
            Option<String>,
            Option<String>,
            bool,
            Option<String>,
            Option<String>,
        ),
    ) -> Result<Option<Table>> {
        let answer = if is_error {
            Answer::Error {
                kind: kind.as_deref(),
                condition: condition.as_deref(),
            }
        } else {
            Answer::Result
        };
        let (Some(id), Some(from)) = (id, from) else {
            return Ok(None);
        };
        let Some(report) = this.state.borrow()?.engine.answered(&id, &from, answer) else {
            return Ok(None);
        };
        let table = device_table(lua, &report.device)?;
        table.raw_set("errors", report.errors)?;
        table.raw_set("refused", report.refused)?;
        table.raw_set("ended", report.ended)?;
        table.raw_set("condition", condition.as_deref().map(defined_condition))?;
        Ok(Some(table))
    }

    /// `expire()`: devices with something due, devices whose service has not answered
    /// (both `{ user, identifier }`), seconds to the next deadline.
    fn expire(lua: &Lua, this: &Self, (): ()) -> Result<(Vec<Table>, Vec<Table>, Option<f64>)> {
        let now = now();
        let (expired, delay) = {
            let state = &mut *this.state.borrow()?;
            state.armed = None;
            (state.engine.expire(now), state.next_delay(now))
        };
        let tables = |devices: Vec<Due>| -> Result<Vec<Table>> {
            devices
                .iter()
                .map(|device| device_table(lua, device))
                .collect()
        };
        lua.expire_registry_values();
        Ok((tables(expired.due)?, tables(expired.unanswered)?, delay))
    }

    /// `discreet(push)`: its stanza once more, without text and sender of the message.
    fn discreet(lua: &Lua, this: &Self, push: Table) -> Result<Table> {
        let record: Table = push.raw_get("record")?;
        let id: String = push.raw_get("id")?;
        let important: bool = push.raw_get("important")?;
        let body = this
            .state
            .borrow()?
            .disclosure
            .important_body
            .clone()
            .filter(|_| important);
        let publish = Publish {
            id: &id,
            from: &this.name,
            to: &normalised(&text(&record, "jid").unwrap_or_default()),
            node: &xml_text(&text(&record, "node").unwrap_or_default()),
            summary: Summary {
                body: body.as_deref(),
                sender: None,
            },
        };
        writer::publish(
            lua,
            &this.metatable,
            &publish,
            None,
            this.options(lua, &record, true)?,
        )
    }

    /// `vetoed(id)`: seconds to the next deadline if it is an earlier one.
    fn vetoed(_: &Lua, this: &Self, id: String) -> Result<Option<f64>> {
        let now = now();
        let state = &mut *this.state.borrow()?;
        if let Ok(id) = PushId::from_str(&id) {
            state.engine.vetoed(now, id);
        }
        Ok(state.next_delay(now))
    }

    /// `{ id, identifier, important, stanza }`, and for listeners `{ record, original, body, sender }`
    fn push(
        &self,
        lua: &Lua,
        decided: &Decided,
        record: &Table,
        original: Option<&Table>,
        listened: bool,
    ) -> Result<Table> {
        let id = decided.id.to_string();
        let important = decided.importance >= Importance::Important;
        let usual = self
            .state
            .borrow()?
            .disclosure
            .important_body
            .clone()
            .filter(|_| important);
        let body = match &decided.body {
            Body::Usual => usual.as_deref(),
            Body::Own(body) => Some(&**body),
        };
        let publish = Publish {
            id: &id,
            from: &self.name,
            to: &decided.jid,
            node: &decided.node,
            summary: Summary {
                body,
                sender: decided.sender.as_deref(),
            },
        };
        let tells_nothing = decided.body == Body::Usual && decided.sender.is_none();
        let item = (tells_nothing && !listened)
            .then(|| self.item(lua, important, &publish.summary))
            .transpose()?;
        let options = self.options(lua, record, listened)?;
        let stanza = writer::publish(lua, &self.metatable, &publish, item, options)?;
        let push = lua.create_table_with_capacity(0, if listened { 8 } else { 4 })?;
        push.raw_set("id", &*id)?;
        push.raw_set("identifier", &*decided.identifier)?;
        push.raw_set("important", important)?;
        push.raw_set("stanza", stanza)?;
        if listened {
            push.raw_set("record", record)?;
            push.raw_set("original", original)?;
            push.raw_set("body", body)?;
            push.raw_set("sender", decided.sender.as_deref())?;
        }
        Ok(push)
    }

    /// The `<item/>` that all pushes have in common which tell nothing.
    fn item(&self, lua: &Lua, important: bool, summary: &Summary<'_>) -> Result<Table> {
        let kind = usize::from(important);
        if let Some(item) = &self.items.borrow()[kind] {
            return Ok(item.clone());
        }
        let item = writer::item(lua, &self.metatable, summary)?;
        self.items.borrow_mut()[kind] = Some(item.clone());
        Ok(item)
    }

    /// `<publish-options/>` with the form in `record`; none if there is none or it is damaged.
    /// Nobody else has a `fresh` one.
    fn options(&self, lua: &Lua, record: &Table, fresh: bool) -> Result<Option<Table>> {
        let Value::Table(form) = record.raw_get("options")? else {
            return Ok(None);
        };
        match self.forms.raw_get(record)? {
            Value::Table(options) if !fresh => return Ok(Some(options)),
            Value::Boolean(_) => return Ok(None),
            _ => {}
        }
        let form = self.deserialize.call::<Table>(form).ok();
        let form = form.filter(|form| dom::element(form).is_some());
        let options = form
            .map(|form| writer::options(lua, &self.metatable, form))
            .transpose()?;
        match &options {
            Some(options) if !fresh => self.forms.raw_set(record, options)?,
            Some(_) => {}
            None => self.forms.raw_set(record, false)?,
        }
        Ok(options)
    }
}

/// The stanza at a place in a queue, or at 0 the stanza itself.
fn at(stanzas: &Table, place: usize) -> Result<Table> {
    if place == 0 {
        Ok(stanzas.clone())
    } else {
        stanzas.raw_get(place)
    }
}

/// A peer may write anything; the log shall only have conditions of RFC 6120.
fn defined_condition(name: &str) -> &str {
    let element = Element::bare(name, xmpp_parsers::ns::XMPP_STANZAS);
    DefinedCondition::try_from(element).map_or("undefined-condition", |_| name)
}

fn device_table(lua: &Lua, device: &Due) -> Result<Table> {
    let table = lua.create_table_with_capacity(0, 6)?;
    table.raw_set("user", &*device.user)?;
    table.raw_set("identifier", &*device.identifier)?;
    Ok(table)
}
