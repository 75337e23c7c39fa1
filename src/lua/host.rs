//! The engine of a host, as the shim sees it.
//!
//! Every method takes what it needs at that moment from Prosody's tables, asks the engine,
//! and returns what to do. The engine is never borrowed while Prosody is called: a push
//! service may answer inside the very call that sends the push.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use minidom::Element;
use mlua::{Function, Lua, RegistryKey, Result, Table, UserData, UserDataMethods, Value};
use once_cell::sync::Lazy;
use parking_lot::Mutex;
use xmpp_parsers::jid::Jid;
use xmpp_parsers::stanza_error::DefinedCondition;

use super::dom;
use super::reader::{self, Key, Keys, Stanza, TableRef};
use super::writer;
use crate::engine::{
    Account, Answer, Connection, Decision, Due, Engine, NotifyOn, Options, PushId, Registration,
    Released, Session, Ticket, Verdict,
};
use crate::stanza::{self, Facts, Importance, StanzaId, queued_id};
use crate::wire::publish::{Publish, Summary, xml_text};

/// The longest message text that goes into a notification, in bytes.
const MAX_BODY: usize = 4096;

/// The engines of all hosts. They outlive a reload of the Lua module.
static HOSTS: Lazy<Mutex<HashMap<String, Arc<Mutex<State>>>>> = Lazy::new(Mutex::default);

/// Time that never goes back, whatever happens to the clock.
static START: Lazy<Instant> = Lazy::new(Instant::now);

#[derive(Default)]
struct State {
    engine: Engine<RegistryKey>,
    disclosure: Disclosure,
    /// The deadline that the shim knows of.
    armed: Option<Duration>,
}

/// What notifications may tell the push service.
#[derive(Default)]
struct Disclosure {
    body: bool,
    sender: bool,
    important_body: Option<String>,
}

/// `open(host, stanza metatable, st.deserialize)`: the engine of this host, with all that it
/// knows from before if there has been one.
pub fn open(lua: &Lua, (name, metatable, deserialize): (String, Table, Function)) -> Result<Host> {
    let state = Arc::clone(HOSTS.lock().entry(name.clone()).or_default());
    let forms = lua.create_table()?;
    let weak = lua.create_table()?;
    weak.raw_set("__mode", "k")?;
    forms.set_metatable(Some(weak))?;
    Ok(Host {
        state,
        name,
        keys: Keys::new(lua)?,
        metatable,
        deserialize,
        forms,
    })
}

/// `close(host)`: forgets the host's engine.
pub fn close(_: &Lua, name: String) -> Result<()> {
    HOSTS.lock().remove(&name);
    Ok(())
}

/// What the shim holds of a host's engine.
pub struct Host {
    state: Arc<Mutex<State>>,
    name: String,
    keys: Keys,
    metatable: Table,
    deserialize: Function,
    /// Record -> its options form as a stanza, or false; weak keys.
    forms: Table,
}

/// A push that has been decided on, with all that the publish needs.
struct Decided {
    id: PushId,
    /// That of its stanza.
    place: usize,
    identifier: String,
    jid: String,
    node: String,
    importance: Importance,
    body: Option<String>,
    sender: Option<String>,
}

/// Returned by the methods that meet a stanza: pushes, silent registrations (identifier and
/// reason in turn), and the seconds to the next deadline if it is an earlier one.
type Outcome = (Option<Table>, Option<Table>, Option<f64>);

/// The same, and the place in the queue to go on from.
type QueueOutcome = (Option<Table>, Option<Table>, Option<f64>, Option<usize>);

/// What a meeting of stanzas and registrations has led to.
#[derive(Default)]
struct Meeting {
    pushes: Vec<Decided>,
    /// Tickets, with the places of their stanzas.
    holds: Vec<(usize, Ticket)>,
    /// Registrations and reasons, each pair once.
    silent: Vec<(String, &'static str)>,
    /// Stanzas that have been given an identity, to be marked with it.
    marks: Vec<(usize, StanzaId)>,
    delay: Option<f64>,
}

/// A push that the engine has decided on.
#[derive(Clone, Copy)]
struct Push {
    id: PushId,
    /// That of its stanza.
    place: usize,
    importance: Importance,
}

/// A stanza, and what it is recognised by.
#[derive(Clone, Copy)]
struct Known {
    facts: Facts,
    id: StanzaId,
    /// It had no identity before.
    is_new: bool,
}

/// `new_id` makes an identity for a stanza that has none yet.
fn recognise(
    engine: &mut Engine<RegistryKey>,
    table: &TableRef<'_>,
    stanza: &Stanza<'_>,
    account: &str,
    new_id: impl FnOnce(&mut Engine<RegistryKey>) -> StanzaId,
) -> Known {
    let facts = Facts::read(stanza, account, engine.key());
    let mark = || {
        table
            .integer(Key::PushId)
            .map(|mark| StanzaId(mark.cast_unsigned()))
    };
    match facts.id.or_else(mark) {
        Some(id) => Known {
            facts,
            id,
            is_new: false,
        },
        None => Known {
            facts,
            id: new_id(engine),
            is_new: true,
        },
    }
}

impl Meeting {
    /// Notes a verdict; returns the push if it is one.
    fn take(
        &mut self,
        place: usize,
        known: Known,
        identifier: &str,
        verdict: Verdict,
    ) -> Option<Push> {
        if known.is_new && self.marks.last().is_none_or(|(marked, _)| *marked != place) {
            self.marks.push((place, known.id));
        }
        match verdict {
            Verdict::Push(id) => {
                let importance = known.facts.importance;
                return Some(Push {
                    id,
                    place,
                    importance,
                });
            }
            Verdict::Hold(ticket) => self.holds.push((place, ticket)),
            Verdict::Silent(silence) => {
                let reason = silence.reason();
                if !self
                    .silent
                    .iter()
                    .any(|known| *known == (identifier.to_owned(), reason))
                {
                    self.silent.push((identifier.to_owned(), reason));
                }
            }
        }
        None
    }

    /// Marks the stanzas and sees to what has to wait.
    fn conclude(
        &mut self,
        lua: &Lua,
        engine: &mut Engine<RegistryKey>,
        armed: &mut Option<Duration>,
        now: Duration,
        stanza: impl Fn(usize) -> Result<Table>,
    ) -> Result<()> {
        for (place, StanzaId(id)) in self.marks.drain(..) {
            stanza(place)?.raw_set("_push_id", id.cast_signed())?;
        }
        for (place, ticket) in self.holds.drain(..) {
            engine.hold(now, ticket, || {
                lua.create_registry_value(stanza(place).ok()?).ok()
            });
        }
        self.delay = next_delay(engine, armed, now);
        Ok(())
    }
}

impl UserData for Host {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("configure", Self::configure);
        methods.add_method("archived", Self::archived);
        methods.add_method("offline", Self::offline);
        methods.add_method("unacked", Self::unacked);
        methods.add_method("release", Self::release);
        methods.add_method("ping", Self::ping);
        methods.add_method("answered", Self::answered);
        methods.add_method("expire", Self::expire);
        methods.add_method("discreet", Self::discreet);
        methods.add_method("vetoed", Self::vetoed);
        methods.add_method("back", |_, this, (user, identifier): (String, String)| {
            this.state.lock().engine.back(&user, &identifier);
            Ok(())
        });
        methods.add_method(
            "enabled",
            |_, this, (user, identifier): (String, String)| {
                this.state.lock().engine.enabled(&user, &identifier);
                Ok(())
            },
        );
        methods.add_method("forget", |_, this, (user, identifier): (String, String)| {
            this.state.lock().engine.forget(&user, &identifier);
            Ok(())
        });
        methods.add_method("forget_user", |_, this, user: String| {
            this.state.lock().engine.forget_user(&user);
            Ok(())
        });
        methods.add_method("in_flight", |_, this, ()| {
            Ok(this.state.lock().engine.in_flight())
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
            max_devices: options.get("push_max_devices")?,
            coalesce_window: seconds("push_coalesce_window")?,
            answer_timeout: seconds("push_answer_timeout")?,
            max_per_minute: options.get("push_max_per_minute")?,
            notify_on: NotifyOn::from_name(&notify_on).unwrap_or_default(),
        };
        let important_body: String = options.get("push_notification_important_body")?;
        let State {
            engine,
            disclosure,
            armed,
        } = &mut *this.state.lock();
        engine.configure(engine_options);
        *disclosure = Disclosure {
            body: options.get("push_notification_with_body")?,
            sender: options.get("push_notification_with_sender")?,
            important_body: Some(important_body).filter(|body| !body.is_empty()),
        };
        *armed = None;
        Ok(next_delay(engine, armed, START.elapsed()))
    }

    /// `archived(user, records, sessions, stanza, archive id)`: rule (b).
    fn archived(
        lua: &Lua,
        this: &Self,
        (user, records, sessions, stanza, archive_id): (String, Table, Value, Table, String),
    ) -> Result<Outcome> {
        let args = (&*user, &records, sessions, &stanza);
        let meeting = this.meet(lua, args, |engine, now, account, known| {
            engine.archived(now, account, &known.facts, &archive_id)
        })?;
        this.outcome(
            lua,
            meeting,
            |_| Ok(stanza.clone()),
            |who| records.raw_get(who),
        )
    }

    /// `offline(user, records, sessions, stanza)`: rule (c).
    fn offline(
        lua: &Lua,
        this: &Self,
        (user, records, sessions, stanza): (String, Table, Value, Table),
    ) -> Result<Outcome> {
        let args = (&*user, &records, sessions, &stanza);
        let meeting = this.meet(lua, args, |engine, now, account, known| {
            engine.offline(now, account, &known.facts, known.id)
        })?;
        this.outcome(
            lua,
            meeting,
            |_| Ok(stanza.clone()),
            |who| records.raw_get(who),
        )
    }

    /// `unacked(user, session, sessions, queue, place)`: rule (a), for the registration that the
    /// session is attached to. Goes through the queue from `place` up to the first
    /// push, for a veto of it may change what becomes of the rest; the fourth result is the place
    /// to go on from, if there is more.
    fn unacked(
        lua: &Lua,
        this: &Self,
        (user, session, sessions, queue, place): (String, Table, Value, Table, usize),
    ) -> Result<QueueOutcome> {
        let now = START.elapsed();
        let jid = this.account(&user);
        let mut meeting = Meeting::default();
        let mut next = None;
        {
            let State {
                engine,
                disclosure,
                armed,
            } = &mut *this.state.lock();
            reader::read(lua, &this.keys, (sessions, &session, &queue), |frame| {
                let (session, queue) = (frame.table(1)?, frame.table(2)?);
                let (sessions, own) = read_sessions(frame.table(0).as_ref(), Some(&session));
                let identifier = session.str(Key::PushIdentifier)?;
                let attached = sessions
                    .iter()
                    .filter(|other| other.identifier == Some(identifier));
                let has_twins = attached.count() > 1;
                session.with(Key::PushSettings, |record| {
                    let registration = read_registration(identifier, record, disclosure.body)?;
                    let registrations = [registration];
                    let account = Account {
                        user: &user,
                        registrations: &registrations,
                        sessions: &sessions,
                    };
                    for place in place..=queue.len() {
                        let pushed = queue.with_entry(place, |table| {
                            Stanza::with(table, |stanza| {
                                let known = recognise(engine, table, stanza, &jid, |engine| {
                                    let twin = has_twins
                                        .then(|| queued_id(stanza, &jid, engine.key()))
                                        .flatten();
                                    match twin {
                                        Some(twin) => engine.twin_id(twin, session.address()),
                                        None => engine.new_id(),
                                    }
                                });
                                let Known { facts, id, .. } = &known;
                                let verdict = engine.unacked(now, &account, 0, own?, facts, *id);
                                meeting.take(place, known, identifier, verdict).map(|push| {
                                    decide(push, identifier, record, Some(stanza), &jid, disclosure)
                                })
                            })
                        });
                        if let Some(decided) = pushed.flatten() {
                            meeting.pushes.extend(decided);
                            next = (place < queue.len()).then_some(place + 1);
                            break;
                        }
                    }
                    Some(())
                })
            })?;
            meeting.conclude(lua, engine, armed, now, |place| queue.raw_get(place))?;
        }
        let record = |_: &str| session.raw_get("push_settings");
        let (pushes, silent, delay) =
            this.outcome(lua, meeting, |place| queue.raw_get(place), record)?;
        Ok((pushes, silent, delay, next))
    }

    /// `release(user, identifier, record, sessions)`: what waited for a device that `expire` has
    /// named: nil, or a push with its stanza as `original`; and seconds to the next deadline.
    fn release(
        lua: &Lua,
        this: &Self,
        (user, identifier, record, sessions): (String, String, Table, Value),
    ) -> Result<(Option<Table>, Option<f64>)> {
        let account = this.account(&user);
        let (decided, original, delay) = {
            let now = START.elapsed();
            let State {
                engine,
                disclosure,
                armed,
            } = &mut *this.state.lock();
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
            let delay = next_delay(engine, armed, now);
            let Some(released) = released else {
                return Ok((None, delay));
            };
            let original: Table = lua.registry_value(&released.stanza)?;
            let decided = reader::read(lua, &this.keys, (&record, &original), |frame| {
                let record = frame.table(0)?;
                let Released { id, importance, .. } = released;
                let push = Push {
                    id,
                    place: 0,
                    importance,
                };
                Stanza::with(&frame.table(1)?, |stanza| {
                    decide(
                        push,
                        &identifier,
                        &record,
                        Some(stanza),
                        &account,
                        disclosure,
                    )
                })
            })?;
            lua.remove_registry_value(released.stanza)?;
            (decided, original, delay)
        };
        let Some(decided) = decided else {
            return Ok((None, delay));
        };
        Ok((
            Some(this.push(lua, &decided, &record, Some(&original))?),
            delay,
        ))
    }

    /// `ping(user, identifier, record)`: a push without a stanza, and seconds to the next deadline.
    fn ping(
        lua: &Lua,
        this: &Self,
        (user, identifier, record): (String, String, Table),
    ) -> Result<(Option<Table>, Option<f64>)> {
        let (decided, delay) = {
            let now = START.elapsed();
            let State {
                engine,
                disclosure,
                armed,
            } = &mut *this.state.lock();
            let decided = reader::read(lua, &this.keys, &record, |frame| {
                let record = frame.table(0)?;
                let registration = read_registration(&identifier, &record, false)?;
                let registrations = [registration];
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
                decide::<Stanza<'_>>(push, &identifier, &record, None, account.user, disclosure)
            })?;
            (decided, next_delay(engine, armed, now))
        };
        let push = decided
            .map(|decided| this.push(lua, &decided, &record, None))
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
        let Some(report) = this.state.lock().engine.answered(&id, &from, answer) else {
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
        let now = START.elapsed();
        let (expired, delay) = {
            let State { engine, armed, .. } = &mut *this.state.lock();
            *armed = None;
            (engine.expire(now), next_delay(engine, armed, now))
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
            .lock()
            .disclosure
            .important_body
            .clone()
            .filter(|_| important);
        let publish = Publish {
            id: &id,
            from: &this.name,
            to: &normalised(&record.raw_get::<String>("jid")?),
            node: &xml_text(
                &record
                    .raw_get::<Option<String>>("node")?
                    .unwrap_or_default(),
            ),
            summary: Summary {
                body: body.as_deref(),
                sender: None,
            },
        };
        writer::write(lua, &this.metatable, &publish, this.options_form(&record)?)
    }

    /// `vetoed(id)`: seconds to the next deadline if it is an earlier one.
    fn vetoed(_: &Lua, this: &Self, id: String) -> Result<Option<f64>> {
        let now = START.elapsed();
        let State { engine, armed, .. } = &mut *this.state.lock();
        if let Ok(id) = PushId::from_str(&id) {
            engine.vetoed(now, id);
        }
        Ok(next_delay(engine, armed, now))
    }

    fn account(&self, user: &str) -> String {
        format!("{user}@{}", self.name)
    }

    /// Rules (b) and (c): has `ask` put the stanza and all registrations to the engine.
    fn meet(
        &self,
        lua: &Lua,
        (user, records, sessions, stanza): (&str, &Table, Value, &Table),
        ask: impl FnOnce(&mut Engine<RegistryKey>, Duration, &Account<'_>, &Known) -> Vec<Decision>,
    ) -> Result<Meeting> {
        let now = START.elapsed();
        let jid = self.account(user);
        let mut meeting = Meeting::default();
        let State {
            engine,
            disclosure,
            armed,
        } = &mut *self.state.lock();
        reader::read(lua, &self.keys, (sessions, records, stanza), |frame| {
            let (records, table) = (frame.table(1)?, frame.table(2)?);
            let (sessions, _) = read_sessions(frame.table(0).as_ref(), None);
            let mut registrations = Vec::new();
            records.each(|identifier, record| {
                registrations.extend(read_registration(identifier, record, disclosure.body));
            });
            let account = Account {
                user,
                registrations: &registrations,
                sessions: &sessions,
            };
            Stanza::with(&table, |stanza| {
                let known = recognise(engine, &table, stanza, &jid, Engine::new_id);
                for Decision {
                    registration,
                    verdict,
                } in ask(engine, now, &account, &known)
                {
                    let identifier = registrations[registration].identifier;
                    if let Some(push) = meeting.take(0, known, identifier, verdict) {
                        records.each(|key, record| {
                            if key == identifier {
                                meeting.pushes.extend(decide(
                                    push,
                                    key,
                                    record,
                                    Some(stanza),
                                    &jid,
                                    disclosure,
                                ));
                            }
                        });
                    }
                }
            });
            Some(())
        })?;
        meeting.conclude(lua, engine, armed, now, |_| Ok(stanza.clone()))?;
        Ok(meeting)
    }

    /// Writes the publishes.
    fn outcome(
        &self,
        lua: &Lua,
        meeting: Meeting,
        original: impl Fn(usize) -> Result<Table>,
        record: impl Fn(&str) -> Result<Table>,
    ) -> Result<Outcome> {
        let pushes = meeting
            .pushes
            .iter()
            .map(|decided| {
                self.push(
                    lua,
                    decided,
                    &record(&decided.identifier)?,
                    Some(&original(decided.place)?),
                )
            })
            .collect::<Result<Vec<_>>>()?;
        let pushes = (!pushes.is_empty())
            .then(|| lua.create_sequence_from(pushes))
            .transpose()?;
        let silent = (!meeting.silent.is_empty())
            .then(|| {
                let pairs = meeting.silent.into_iter();
                lua.create_sequence_from(pairs.flat_map(|(who, why)| [who, why.to_owned()]))
            })
            .transpose()?;
        Ok((pushes, silent, meeting.delay))
    }

    /// `{ id, identifier, record, original, stanza, important, body, sender }`
    fn push(
        &self,
        lua: &Lua,
        decided: &Decided,
        record: &Table,
        original: Option<&Table>,
    ) -> Result<Table> {
        let id = decided.id.to_string();
        let publish = Publish {
            id: &id,
            from: &self.name,
            to: &decided.jid,
            node: &decided.node,
            summary: Summary {
                body: decided.body.as_deref(),
                sender: decided.sender.as_deref(),
            },
        };
        let options = self.options_form(record)?;
        let stanza = writer::write(lua, &self.metatable, &publish, options)?;
        let push = lua.create_table_with_capacity(0, 8)?;
        push.raw_set("id", &*id)?;
        push.raw_set("identifier", &*decided.identifier)?;
        push.raw_set("record", record)?;
        push.raw_set("original", original)?;
        push.raw_set("stanza", stanza)?;
        push.raw_set("important", decided.importance >= Importance::Important)?;
        push.raw_set("body", decided.body.as_deref())?;
        push.raw_set("sender", decided.sender.as_deref())?;
        Ok(push)
    }

    /// The options form in `record` as a stanza; none if there is none or it is damaged.
    fn options_form(&self, record: &Table) -> Result<Option<Table>> {
        let options: Value = record.raw_get("options")?;
        let Value::Table(options) = options else {
            return Ok(None);
        };
        match self.forms.raw_get(record)? {
            Value::Table(form) => Ok(Some(form)),
            Value::Boolean(_) => Ok(None),
            _ => {
                let form = self.deserialize.call::<Table>(options).ok();
                let form = form.filter(|form| dom::element(form).is_some());
                match &form {
                    Some(form) => self.forms.raw_set(record, form)?,
                    None => self.forms.raw_set(record, false)?,
                }
                Ok(form)
            }
        }
    }
}

/// Seconds to the next deadline, if it is earlier than the one that the shim knows of.
fn next_delay<S>(engine: &Engine<S>, armed: &mut Option<Duration>, now: Duration) -> Option<f64> {
    let next = engine.deadline()?;
    if armed.is_some_and(|armed| armed <= next) {
        return None;
    }
    *armed = Some(next);
    Some(next.saturating_sub(now).as_secs_f64())
}

fn read_registration<'f>(
    identifier: &'f str,
    record: &TableRef<'f>,
    content: bool,
) -> Option<Registration<'f>> {
    Some(Registration {
        identifier,
        jid: record.str(Key::Jid)?,
        content: content || record.is_set(Key::Encryption),
    })
}

fn read_sessions<'f>(
    sessions: Option<&TableRef<'f>>,
    own: Option<&TableRef<'f>>,
) -> (Vec<Session<'f>>, Option<usize>) {
    let mut found = Vec::new();
    let mut place = None;
    if let Some(sessions) = sessions {
        sessions.each(|_, session| {
            if own.is_some_and(|own| own.is(session)) {
                place = Some(found.len());
            }
            found.push(read_session(session));
        });
    }
    if let (Some(own), None) = (own, place) {
        place = Some(found.len());
        found.push(read_session(own));
    }
    (found, place)
}

fn read_session<'f>(session: &TableRef<'f>) -> Session<'f> {
    // mod_smacks sets `smacks` to false when it gives the queue of an ending session away.
    let connection = if session.is_set(Key::Destroyed) || session.is_false(Key::Smacks) {
        Connection::Gone
    } else if session.is_set(Key::Hibernating) {
        Connection::Hibernated
    } else {
        // mod_smacks clears the timer when it runs out, and sets it with the next request.
        let ack_overdue = session.is_set(Key::AwaitingAck) && !session.is_set(Key::DelayedAckTimer);
        Connection::Live { ack_overdue }
    };
    Session {
        identifier: session.str(Key::PushIdentifier),
        connection,
    }
}

fn decide<E: stanza::Element>(
    Push {
        id,
        place,
        importance,
    }: Push,
    identifier: &str,
    record: &TableRef<'_>,
    stanza: Option<&E>,
    account: &str,
    disclosure: &Disclosure,
) -> Option<Decided> {
    let important = stanza.filter(|_| importance >= Importance::Important);
    let body = important.and_then(|stanza| {
        let body = disclosure
            .body
            .then(|| stanza::body(stanza, account))
            .flatten();
        body.map(|body| xml_text(cut(&body)))
            .or_else(|| disclosure.important_body.clone())
    });
    let sender = important
        .filter(|_| disclosure.sender)
        .and_then(|stanza| stanza::sender(stanza, account))
        .map(|sender| xml_text(&sender));
    Some(Decided {
        id,
        place,
        identifier: identifier.to_owned(),
        jid: normalised(record.str(Key::Jid)?),
        node: xml_text(record.str(Key::Node).unwrap_or_default()),
        importance,
        body,
        sender,
    })
}

/// Stores may hold JIDs that an older version has not normalised (RFC 7622).
fn normalised(jid: &str) -> String {
    Jid::new(jid).map_or_else(|_| xml_text(jid), |jid| jid.to_string())
}

fn cut(body: &str) -> &str {
    &body[..body.floor_char_boundary(MAX_BODY)]
}

/// A peer may write anything; the log shall only have conditions of RFC 6120.
fn defined_condition(name: &str) -> &str {
    let element = Element::bare(name, xmpp_parsers::ns::XMPP_STANZAS);
    DefinedCondition::try_from(element).map_or("undefined-condition", |_| name)
}

fn device_table(lua: &Lua, device: &Due) -> Result<Table> {
    let table = lua.create_table_with_capacity(0, 5)?;
    table.raw_set("user", &*device.user)?;
    table.raw_set("identifier", &*device.identifier)?;
    Ok(table)
}
