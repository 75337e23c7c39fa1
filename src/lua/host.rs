//! The engine of a host, as the shim sees it.
//!
//! The engine is borrowed for a moment only, and never while Prosody is called: a push service may
//! answer inside the very call that sends the push.

use std::cell::RefCell;
use std::str::FromStr;
use std::time::Duration;

use minidom::Element;
use mlua::{
    Function, Lua, LuaString, RegistryKey, Result, Table, UserData, UserDataMethods, Value,
};
use xmpp_parsers::stanza_error::DefinedCondition;

use super::dom::{self, Room};
use super::meeting::{
    self, Body, Decided, Disclosure, Meeting, Push, Shared, State, decide, now, read_registration,
    read_sessions,
};
use super::reader::{self, Keys, Stanza};
use super::requests::text;
use super::writer;
use crate::engine::{
    Account, Answer, Due, Engine, FailingService, NotifyOn, Options, Outcome, Owed, PushId,
    Released, Report, ServiceChange, ServiceState, normalised,
};
use crate::stanza::Importance;
use crate::wire::options::{Submitted, submitted};
use crate::wire::publish::{Header, Summary, xml_text};

/// The largest stanza that is kept in case it has to be pushed again, in bytes.
const MAX_KEPT_BYTES: usize = 16 * 1024;

/// How many devices are taken over from a store.
const MAX_RESTORED: usize = 131_072;

/// The longest time that a store may name.
const MAX_TIME: Duration = Duration::from_hours(1000 * 24);

/// `open(host, stanza metatable, st.deserialize)`: the engine of this host, with all that it
/// knows from before if there has been one.
pub fn open(lua: &Lua, (name, metatable, deserialize): (String, Table, Function)) -> Result<Host> {
    Ok(Host {
        state: Shared::of(&name),
        name,
        keys: Keys::new(lua)?,
        metatable,
        deserialize,
        shared: RefCell::default(),
    })
}

/// `close(host)`: forgets the host's engine.
pub fn close(_: &Lua, name: String) -> Result<()> {
    Shared::forget(&name);
    Ok(())
}

/// How many pushes there are, registrations that get none and why, seconds to the next deadline, and how long a
/// call rings.
type Settled = (usize, Option<Table>, Option<f64>, Option<u64>);

type Readers = (Function, Function, Function, Function, Function);

/// What the shim holds of a host's engine.
pub struct Host {
    state: Shared,
    name: String,
    keys: Keys,
    metatable: Table,
    deserialize: Function,
    /// What unimportant and important pushes have in common that tell nothing else.
    shared: RefCell<[Option<Common>; 2]>,
}

/// What pushes have in common as long as nobody will change it.
#[derive(Clone)]
struct Common {
    item: Table,
    /// Record -> its `<pubsub/>`; weak keys.
    publishes: Table,
}

/// A push for the shim: its stanza, the registration's identifier, whether it is important; and for
/// listeners `{ record, original, body, sender }`.
type Published = (Table, LuaString, bool, Option<Table>);

/// Seconds to the next deadline if it is an earlier one, and a push if there is one.
type Delayed = (
    Option<f64>,
    Option<Table>,
    Option<LuaString>,
    bool,
    Option<Table>,
);

impl UserData for Host {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("configure", Self::configure);
        methods.add_method("readers", Self::readers);
        methods.add_method("settle", Self::settle);
        methods.add_method("next_push", Self::next_push);
        methods.add_method("release", Self::release);
        methods.add_method("ping", Self::ping);
        methods.add_method("answered", Self::answered);
        methods.add_method("expire", Self::expire);
        methods.add_method("heard", Self::heard);
        methods.add_method("connected", Self::connected);
        methods.add_method("disconnected", Self::disconnected);
        methods.add_method("discreet", Self::discreet);
        methods.add_method("vetoed", Self::vetoed);
        methods.add_method("postpone", Self::postpone);
        methods.add_method("suspend", Self::suspend);
        methods.add_method("owed", Self::owed);
        methods.add_method("restore", Self::restore);
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
            this.state
                .borrow()?
                .engine
                .forget(now(), &user, &identifier);
            Ok(())
        });
        methods.add_method("forget_user", |_, this, user: String| {
            this.state.borrow()?.engine.forget_user(now(), &user);
            Ok(())
        });
        methods.add_method("in_flight", |_, this, ()| {
            Ok(this.state.borrow()?.engine.in_flight())
        });
        methods.add_method("out", |_, this, ()| {
            Ok(this.state.borrow()?.engine.services_out())
        });
        methods.add_method("watched", |_, this, ()| {
            Ok(this.state.borrow()?.engine.services_watched())
        });
        methods.add_method("waiting", |_, this, ()| {
            Ok(this.state.borrow()?.engine.waiting())
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
            retry_min: seconds("push_retry_min")?,
            retry_max: seconds("push_retry_max")?,
            retry_age: seconds("push_retry_age")?,
            max_failures: options.get("push_max_failures")?,
            max_in_flight: options.get("push_max_in_flight")?,
            recovery_rate: options.get("push_recovery_rate")?,
        };
        let important_body: String = options.get("push_notification_important_body")?;
        let disclosure = Disclosure {
            body: options.get("push_notification_with_body")?,
            sender: options.get("push_notification_with_sender")?,
            important_body: Some(important_body).filter(|body| !body.is_empty()),
        };
        this.shared.take();
        let state = &mut *this.state.borrow()?;
        state.engine.configure(engine_options);
        state.disclosure = disclosure;
        state.armed = None;
        Ok(state.next_delay(now()))
    }

    /// `readers()`: the functions `archived`, `offline`, `unacked`, `read` and `undelivered` (see
    /// [`meeting`]). The first two and the last return nothing, or the reason why nobody is pushed, or true
    /// if there is something to settle, or false if the user's queues have to be read first.
    fn readers(lua: &Lua, this: &Self, (): ()) -> Result<Readers> {
        let (keys, host) = (&this.keys, &this.name);
        Ok((
            reader::function::<meeting::Archived>(lua, keys, host)?,
            reader::function::<meeting::Offline>(lua, keys, host)?,
            reader::function::<meeting::Unacked>(lua, keys, host)?,
            reader::function::<meeting::Read>(lua, keys, host)?,
            reader::function::<meeting::Undelivered>(lua, keys, host)?,
        ))
    }

    /// `settle(stanza or queue, listened)` after a reader has said that there is something to do: the number
    /// of pushes to fetch with `next_push`, the registrations that get none and why (identifier and
    /// reason in turn), seconds to the next deadline if it is an earlier one, and if it is a call, for how
    /// many it rings.
    fn settle(lua: &Lua, this: &Self, (stanzas, listened): (Table, bool)) -> Result<Settled> {
        let Meeting {
            pushes,
            holds,
            silent,
            marks,
            rings,
        } = std::mem::take(&mut this.state.borrow()?.meeting);
        writer::mark(lua, &stanzas, &marks)?;
        for (count, (place, ticket)) in holds.into_iter().enumerate() {
            let stanza = if count < Engine::<RegistryKey>::MAX_HELD {
                this.kept(lua, &at(&stanzas, place)?, listened)?
            } else {
                None
            };
            this.state.borrow()?.engine.hold(now(), ticket, stanza);
        }
        let silent = (!silent.is_empty())
            .then(|| {
                let pairs = silent.into_iter();
                lua.create_sequence_from(pairs.flat_map(|(who, why)| [who, why.to_owned()]))
            })
            .transpose()?;
        let count = pushes.len();
        let state = &mut *this.state.borrow()?;
        state.pushes.extend(pushes.into_iter().rev());
        let rings = rings.then_some(Engine::<RegistryKey>::MAX_RINGING.as_secs());
        Ok((count, silent, state.next_delay(now()), rings))
    }

    /// `next_push(stanza or queue, source, listened)`: a push. Source is the user's records, or the
    /// session with the one that counts. Where nobody listens to `cloud_notify/push`, pushes
    /// share what nobody will change.
    fn next_push(
        lua: &Lua,
        this: &Self,
        (stanzas, source, listened): (Table, Table, bool),
    ) -> Result<Published> {
        let decided = this.state.borrow()?.pushes.pop();
        let decided = decided.ok_or_else(|| mlua::Error::runtime("there is no push"))?;
        let (identifier, record) = if decided.place == 0 {
            writer::entry(lua, &source, &decided.identifier)?
        } else {
            (
                source.raw_get("push_identifier")?,
                source.raw_get("push_settings")?,
            )
        };
        let original = at(&stanzas, decided.place)?;
        this.publish(
            lua,
            &decided,
            identifier,
            &record,
            Some(&original),
            listened,
        )
    }

    /// `release(user, identifier, record, sessions, listened)`: seconds to the next deadline, and what waited
    /// for a device that `expire` has named: a push, its original, or nothing.
    fn release(
        lua: &Lua,
        this: &Self,
        (user, identifier, record, sessions, listened): (String, LuaString, Table, Value, bool),
    ) -> Result<Delayed> {
        let jid = format!("{user}@{}", this.name);
        let name = identifier.to_str()?.to_owned();
        let now = now();
        let released = {
            let state = &mut *this.state.borrow()?;
            let State {
                engine, disclosure, ..
            } = state;
            let released = reader::read(lua, &this.keys, (&record, sessions), |frame| {
                let (sessions, _) = read_sessions(frame.table(1).as_ref(), None);
                let record = frame.table(0)?;
                let Some(registration) = read_registration(&name, &record, disclosure.body) else {
                    engine.forget(now, &user, &name); // Nobody can be pushed to there
                    return None;
                };
                let account = Account {
                    user: &user,
                    registrations: &[registration],
                    sessions: &sessions,
                };
                engine.release(now, &account, 0)
            })?;
            (released, state.next_delay(now))
        };
        let (
            Some(Released {
                id,
                stanza,
                importance,
            }),
            delay,
        ) = released
        else {
            lua.expire_registry_values();
            return Ok(delayed(released.1, None));
        };
        let original: Option<Table> = stanza
            .as_ref()
            .map(|stanza| lua.registry_value(stanza))
            .transpose()?;
        let push = Push {
            id,
            place: 0,
            importance,
        };
        let decided = {
            let state = &mut *this.state.borrow()?;
            if let Some(stanza) = stanza {
                state.engine.keep(id, stanza);
            }
            let told = &state.disclosure;
            reader::read(lua, &this.keys, (&record, original.as_ref()), |frame| {
                let record = frame.table(0)?;
                match frame.table(1) {
                    Some(original) => Stanza::with(&original, |stanza| {
                        decide(push, &name, &record, Some(stanza), &jid, told)
                    }),
                    None => decide::<Stanza<'_>>(push, &name, &record, None, &jid, told),
                }
            })?
        };
        let published = decided
            .map(|decided| {
                this.compose(
                    lua,
                    &decided,
                    identifier,
                    &record,
                    original.as_ref(),
                    listened,
                )
            })
            .transpose()?;
        Ok(delayed(delay, published))
    }

    /// `ping(user, identifier, record, listened)`: seconds to the next deadline, and a push without a stanza
    /// unless the push service could not take it now.
    fn ping(
        lua: &Lua,
        this: &Self,
        (user, identifier, record, listened): (String, LuaString, Table, bool),
    ) -> Result<Delayed> {
        let name = identifier.to_str()?.to_owned();
        let (decided, delay) = {
            let now = now();
            let state = &mut *this.state.borrow()?;
            let State {
                engine, disclosure, ..
            } = state;
            let decided = reader::read(lua, &this.keys, &record, |frame| {
                let record = frame.table(0)?;
                let registrations = [read_registration(&name, &record, false)?];
                let account = Account {
                    user: &user,
                    registrations: &registrations,
                    sessions: &[],
                };
                let push = Push {
                    id: engine.ping(now, &account, 0)?,
                    place: 0,
                    importance: Importance::Unimportant,
                };
                decide::<Stanza<'_>>(push, &name, &record, None, &user, disclosure)
            })?;
            (decided, state.next_delay(now))
        };
        let published = decided
            .map(|decided| this.compose(lua, &decided, identifier, &record, None, listened))
            .transpose()?;
        Ok(delayed(delay, published))
    }

    /// `answered(id, from, is error, type, condition)`: nil if it is no answer to a push; else its
    /// outcome, seconds to the next deadline, and where there is more to say a report.
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
    ) -> Result<(Option<&'static str>, Option<f64>, Option<Table>)> {
        let answer = if is_error {
            Answer::Error {
                kind: kind.as_deref(),
                condition: condition.as_deref(),
            }
        } else {
            Answer::Result
        };
        let (Some(id), Some(from)) = (id, from) else {
            return Ok((None, None, None));
        };
        let now = now();
        let (report, delay) = {
            let state = &mut *this.state.borrow()?;
            let report = state.engine.answered(now, &id, &from, answer);
            (report, state.next_delay(now))
        };
        // Whatever the push was kept for can be collected: there may be no deadline for long.
        lua.expire_registry_values();
        let Some(report) = report else {
            return Ok((None, delay, None));
        };
        let outcome = outcome_name(report.outcome);
        if report.outcome == Outcome::Delivered
            && report.errors_before == 0
            && report.service.is_none()
        {
            return Ok((Some(outcome), delay, None));
        }
        let table = report_table(lua, &report)?;
        table.raw_set("condition", condition.as_deref().map(defined_condition))?;
        Ok((Some(outcome), delay, Some(table)))
    }

    /// `expire()`: seconds to the next deadline; devices with something due (`{ user, identifier }`);
    /// reports of pushes that were not answered in time; devices whose push service is given up.
    #[expect(clippy::type_complexity, reason = "what a Lua function returns")]
    fn expire(
        lua: &Lua,
        this: &Self,
        (): (),
    ) -> Result<(Option<f64>, Vec<Table>, Vec<Table>, Vec<Table>)> {
        let now = now();
        let (expired, delay) = {
            let state = &mut *this.state.borrow()?;
            state.armed = None;
            (state.engine.expire(now), state.next_delay(now))
        };
        lua.expire_registry_values();
        let devices = |devices: &[Due]| -> Result<Vec<Table>> {
            let tables = devices.iter().map(|device| device_table(lua, device));
            tables.collect()
        };
        let reports = expired.unanswered.iter();
        let reports: Result<_> = reports.map(|report| report_table(lua, report)).collect();
        Ok((
            delay,
            devices(&expired.due)?,
            reports?,
            devices(&expired.given_up)?,
        ))
    }

    /// `heard(from)`: a push service has sent something. Seconds to the next deadline if it is an earlier
    /// one, and what has become of the service.
    fn heard(lua: &Lua, this: &Self, from: String) -> Result<(Option<f64>, Option<Table>)> {
        let now = now();
        let (change, delay) = {
            let state = &mut *this.state.borrow()?;
            (state.engine.heard(now, &from), state.next_delay(now))
        };
        let change = change.map(|change| change_table(lua, &change));
        Ok((delay, change.transpose()?))
    }

    /// `connected(host)`: there is a connection with it now. Seconds to the next deadline if it is an earlier
    /// one, and what has become of the push services there.
    fn connected(lua: &Lua, this: &Self, host: String) -> Result<(Option<f64>, Vec<Table>)> {
        let now = now();
        let (changes, delay) = {
            let state = &mut *this.state.borrow()?;
            (state.engine.connected(now, &host), state.next_delay(now))
        };
        let changes = changes.iter().map(|change| change_table(lua, change));
        Ok((delay, changes.collect::<Result<_>>()?))
    }

    /// `disconnected(host)`: the connection of a component has ended. Seconds to the next deadline if it is
    /// an earlier one, and reports of the pushes that were on their way there.
    fn disconnected(lua: &Lua, this: &Self, host: String) -> Result<(Option<f64>, Vec<Table>)> {
        let now = now();
        let (reports, delay) = {
            let state = &mut *this.state.borrow()?;
            (state.engine.disconnected(now, &host), state.next_delay(now))
        };
        let reports = reports.iter().map(|report| report_table(lua, report));
        Ok((delay, reports.collect::<Result<_>>()?))
    }

    /// `discreet(stanza, record, important)`: a push once more, without text and sender of the message.
    fn discreet(
        lua: &Lua,
        this: &Self,
        (stanza, record, important): (Table, Table, bool),
    ) -> Result<Table> {
        let attr: Table = stanza.raw_get("attr")?;
        let id: String = attr.raw_get("id")?;
        let jid = xml_text(&normalised(&text(&record, "jid").unwrap_or_default()));
        let node = xml_text(&text(&record, "node").unwrap_or_default());
        let item = this.common(lua, important)?.item;
        let options = this.options(lua, &record)?;
        let pubsub = writer::pubsub(lua, &this.metatable, &node, item, options)?;
        let header = Header {
            id: &id,
            from: &this.name,
            to: &jid,
        };
        writer::iq(lua, &this.metatable, &header, pubsub)
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

    /// `postpone(user, identifier)`: its record cannot be read. Seconds to the next deadline.
    fn postpone(_: &Lua, this: &Self, (user, identifier): (String, String)) -> Result<Option<f64>> {
        let now = now();
        let state = &mut *this.state.borrow()?;
        state.engine.postpone(now, &user, &identifier);
        Ok(state.next_delay(now))
    }

    /// `suspend(user, identifier, seconds)`: seconds to the next deadline.
    fn suspend(
        _: &Lua,
        this: &Self,
        (user, identifier, wait): (String, String, u64),
    ) -> Result<Option<f64>> {
        let now = now();
        let state = &mut *this.state.borrow()?;
        let wait = Duration::from_secs(wait);
        state.engine.suspend(now, &user, &identifier, wait);
        Ok(state.next_delay(now))
    }

    /// `owed()`: what is owed and which push services fail, as plain data for the store; nil if
    /// there is nothing. Times are in seconds.
    fn owed(lua: &Lua, this: &Self, (): ()) -> Result<Option<Table>> {
        let (owed, failing) = this.state.borrow()?.engine.owed(now());
        if owed.is_empty() && failing.is_empty() {
            return Ok(None);
        }
        let devices = owed.iter().map(|owed| {
            let table = device_table(lua, &owed.device)?;
            let important = owed.importance >= Importance::Important;
            table.raw_set("important", important)?;
            table.raw_set("age", owed.age.as_secs())?;
            table.raw_set("due_in", owed.due_in.as_secs())?;
            table.raw_set("failures", owed.failures)?;
            table.raw_set("failing_for", owed.failing_for.as_secs())?;
            table.raw_set("suspended", owed.suspended)?;
            Ok(table)
        });
        let services = failing.iter().map(|failing| {
            let table = lua.create_table()?;
            table.raw_set("jid", &*failing.jid)?;
            table.raw_set("failures", failing.failures)?;
            table.raw_set("age", failing.age.as_secs())?;
            Ok(table)
        });
        let all = lua.create_table()?;
        all.raw_set("devices", devices.collect::<Result<Vec<_>>>()?)?;
        all.raw_set("services", services.collect::<Result<Vec<_>>>()?)?;
        Ok(Some(all))
    }

    /// `restore(owed, elapsed)`: what `owed` said so many seconds ago. Whatever of it cannot be read is
    /// passed over. How many devices are owed something, and seconds to the next deadline.
    fn restore(_: &Lua, this: &Self, (all, elapsed): (Table, u64)) -> Result<(usize, Option<f64>)> {
        let now = now();
        let elapsed = Duration::from_secs(elapsed);
        let seconds = |table: &Table, name: &str| {
            match table.raw_get(name) {
                Ok(Value::Integer(seconds)) => {
                    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
                }
                Ok(Value::Number(seconds)) => {
                    Duration::try_from_secs_f64(seconds).unwrap_or_default()
                }
                _ => Duration::ZERO,
            }
            .min(MAX_TIME)
        };
        let list = |name: &str| {
            let list: Option<Table> = all.raw_get(name).ok();
            let entries = list.into_iter().flat_map(|list| {
                let entries = list.sequence_values::<Table>();
                entries.filter_map(Result::ok).collect::<Vec<_>>()
            });
            entries.take(MAX_RESTORED)
        };
        let state = &mut *this.state.borrow()?;
        for table in list("services") {
            if let Some(jid) = text(&table, "jid") {
                let failing = FailingService {
                    jid: jid.into(),
                    failures: table.raw_get("failures").unwrap_or(1),
                    age: seconds(&table, "age") + elapsed,
                };
                state.engine.restore_service(now, &failing);
            }
        }
        for (place, table) in list("devices").enumerate() {
            let (Some(user), Some(identifier)) = (text(&table, "user"), text(&table, "identifier"))
            else {
                continue;
            };
            let owed = Owed {
                device: Due {
                    user: user.into(),
                    identifier: identifier.into(),
                },
                importance: if matches!(table.raw_get("important"), Ok(Value::Boolean(true))) {
                    Importance::Important
                } else {
                    Importance::Unimportant
                },
                age: seconds(&table, "age") + elapsed,
                due_in: seconds(&table, "due_in").saturating_sub(elapsed),
                failures: table.raw_get("failures").unwrap_or(0),
                failing_for: seconds(&table, "failing_for") + elapsed,
                suspended: matches!(table.raw_get("suspended"), Ok(Value::Boolean(true))),
            };
            state.engine.restore(now, &owed, place);
        }
        Ok((state.engine.waiting(), state.next_delay(now)))
    }

    /// A push for a stanza, which is kept in case it has to be pushed again.
    fn publish(
        &self,
        lua: &Lua,
        decided: &Decided,
        identifier: LuaString,
        record: &Table,
        original: Option<&Table>,
        listened: bool,
    ) -> Result<Published> {
        if let Some(original) = original
            && let Some(key) = self.kept(lua, original, listened)?
        {
            self.state.borrow()?.engine.keep(decided.id, key);
        }
        self.compose(lua, decided, identifier, record, original, listened)
    }

    /// Keeps a stanza, where a later push would need it: to say what it says, or for listeners.
    fn kept(&self, lua: &Lua, stanza: &Table, listened: bool) -> Result<Option<RegistryKey>> {
        let is_told = {
            let told = &self.state.borrow()?.disclosure;
            told.body || told.sender
        };
        if !is_told && !listened {
            return Ok(None);
        }
        let is_small = reader::read(lua, &self.keys, stanza, |frame| {
            let table = frame.table(0);
            table.is_some_and(|table| {
                Stanza::with(&table, |stanza| stanza.is_within(MAX_KEPT_BYTES))
            })
        })?;
        is_small
            .then(|| lua.create_registry_value(stanza))
            .transpose()
    }

    fn compose(
        &self,
        lua: &Lua,
        decided: &Decided,
        identifier: LuaString,
        record: &Table,
        original: Option<&Table>,
        listened: bool,
    ) -> Result<Published> {
        let important = decided.importance >= Importance::Important;
        let usual = self.state.borrow()?.disclosure.important_body.clone();
        let summary = Summary {
            body: match &decided.body {
                Body::Usual => usual.as_deref().filter(|_| important),
                Body::Own(body) => Some(&**body),
            },
            sender: decided.sender.as_deref(),
        };
        let tells_nothing = decided.body == Body::Usual && decided.sender.is_none();
        let pubsub = if tells_nothing && !listened {
            self.shared_pubsub(lua, decided, record, important)?
        } else {
            let item = writer::item(lua, &self.metatable, &summary)?;
            let options = self.options(lua, record)?;
            writer::pubsub(lua, &self.metatable, &decided.node, item, options)?
        };
        let id = decided.id.to_string();
        let header = Header {
            id: &id,
            from: &self.name,
            to: &decided.jid,
        };
        let stanza = writer::iq(lua, &self.metatable, &header, pubsub)?;
        let details = listened
            .then(|| {
                let details = lua.create_table_with_capacity(0, 4)?;
                details.raw_set("record", record)?;
                details.raw_set("original", original)?;
                details.raw_set("body", summary.body)?;
                details.raw_set("sender", summary.sender)?;
                Ok::<_, mlua::Error>(details)
            })
            .transpose()?;
        Ok((stanza, identifier, important, details))
    }

    /// The `<pubsub/>` of all pushes to a registration that tell nothing else.
    fn shared_pubsub(
        &self,
        lua: &Lua,
        decided: &Decided,
        record: &Table,
        important: bool,
    ) -> Result<Table> {
        let Common { item, publishes } = self.common(lua, important)?;
        if let Some(pubsub) = publishes.raw_get(record)? {
            return Ok(pubsub);
        }
        let options = self.options(lua, record)?;
        let pubsub = writer::pubsub(lua, &self.metatable, &decided.node, item, options)?;
        publishes.raw_set(record, &pubsub)?;
        Ok(pubsub)
    }

    fn common(&self, lua: &Lua, important: bool) -> Result<Common> {
        let kind = usize::from(important);
        if let Some(common) = &self.shared.borrow()[kind] {
            return Ok(common.clone());
        }
        let body = self.state.borrow()?.disclosure.important_body.clone();
        let summary = Summary {
            body: body.as_deref().filter(|_| important),
            sender: None,
        };
        let weak = lua.create_table()?;
        weak.raw_set("__mode", "k")?;
        let publishes = lua.create_table()?;
        publishes.set_metatable(Some(weak))?;
        let common = Common {
            item: writer::item(lua, &self.metatable, &summary)?,
            publishes,
        };
        self.shared.borrow_mut()[kind] = Some(common.clone());
        Ok(common)
    }

    /// `<publish-options/>` with the form in `record`, of whatever type, as one that is submitted;
    /// none if there is none or it is damaged.
    fn options(&self, lua: &Lua, record: &Table) -> Result<Option<Table>> {
        let Value::Table(form) = record.raw_get("options")? else {
            return Ok(None);
        };
        let Ok(form) = self.deserialize.call::<Table>(form) else {
            return Ok(None);
        };
        let element = reader::read(lua, &self.keys, &form, |frame| {
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

fn delayed(delay: Option<f64>, push: Option<Published>) -> Delayed {
    match push {
        Some((stanza, identifier, important, details)) => {
            (delay, Some(stanza), Some(identifier), important, details)
        }
        None => (delay, None, None, false, None),
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
    let table = lua.create_table_with_capacity(0, 4)?;
    table.raw_set("user", &*device.user)?;
    table.raw_set("identifier", &*device.identifier)?;
    Ok(table)
}

fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Delivered => "delivered",
        Outcome::Revived => "revived",
        Outcome::Failed => "failed",
        Outcome::Refused => "refused",
        Outcome::Suspended => "suspended",
        Outcome::Removed => "removed",
    }
}

/// `{ user, identifier, outcome, errors, service }`, without user and identifier if the
/// registration has ended meanwhile.
fn report_table(lua: &Lua, report: &Report) -> Result<Table> {
    let table = match &report.device {
        Some(device) => device_table(lua, device)?,
        None => lua.create_table()?,
    };
    table.raw_set("outcome", outcome_name(report.outcome))?;
    table.raw_set("errors", report.errors)?;
    if let Some(change) = &report.service {
        table.raw_set("service", change_table(lua, change)?)?;
    }
    Ok(table)
}

/// `{ jid, state, failures, owed }`.
fn change_table(lua: &Lua, change: &ServiceChange) -> Result<Table> {
    let table = lua.create_table_with_capacity(0, 4)?;
    table.raw_set("jid", &*change.jid)?;
    table.raw_set(
        "state",
        match change.state {
            ServiceState::Failing => "failing",
            ServiceState::Out => "out",
            ServiceState::Back => "back",
            ServiceState::Well => "well",
        },
    )?;
    table.raw_set("failures", change.failures)?;
    table.raw_set("owed", change.owed)?;
    Ok(table)
}
