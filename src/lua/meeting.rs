//! Stanzas meet registrations: Lua functions that read on the stack and ask the engine.
//!
//! Most events lead to nothing, or to a line in the log; so these functions make no
//! value in Lua but a boolean or a string. What is to be done otherwise stays here as a
//! [`Meeting`] until the shim fetches it with `outcome`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mlua::RegistryKey;
use once_cell::sync::Lazy;
use parking_lot::{Mutex, MutexGuard};
use xmpp_parsers::jid::Jid;

use super::reader::{Frame, Key, Reply, Stanza, TableRef};
use crate::engine::{
    Account, Connection, Decision, Engine, PushId, Registration, Session, Silence, Ticket, Verdict,
};
use crate::stanza::{self, Attr, Element, Facts, Importance, StanzaId, is_call, queued_id};
use crate::wire::publish::xml_text;

/// The longest message text that goes into a notification, in bytes.
const MAX_BODY: usize = 4096;

/// The engines of all hosts. They outlive a reload of the Lua module.
static HOSTS: Lazy<Mutex<HashMap<String, Shared>>> = Lazy::new(Mutex::default);

/// Time that never goes back, whatever happens to the clock.
static START: Lazy<Instant> = Lazy::new(Instant::now);

/// The time now, for the engine.
pub fn now() -> Duration {
    START.elapsed()
}

/// What is known on behalf of a host.
#[derive(Default)]
pub struct State {
    pub engine: Engine<RegistryKey>,
    pub disclosure: Disclosure,
    /// The deadline that the shim knows of.
    pub armed: Option<Duration>,
    /// What the shim has to fetch.
    pub meeting: Meeting,
}

/// The state of a host, shared by all that Lua has of it.
#[derive(Clone, Default)]
pub struct Shared(Arc<Mutex<State>>);

impl Shared {
    /// The state of a host, as it was if there has been one.
    pub fn of(host: &str) -> Self {
        HOSTS.lock().entry(host.to_owned()).or_default().clone()
    }

    /// Forgets all about a host.
    pub fn forget(host: &str) {
        HOSTS.lock().remove(host);
    }

    /// The state, unless somebody is at it: a finaliser that Lua runs at a bad moment shall
    /// get an error, and not stop the server.
    pub fn borrow(&self) -> mlua::Result<MutexGuard<'_, State>> {
        self.0
            .try_lock()
            .ok_or_else(|| mlua::Error::runtime("the engine is in use"))
    }
}

impl State {
    /// Seconds to the next deadline, if it is earlier than the one that the shim knows of.
    pub fn next_delay(&mut self, now: Duration) -> Option<f64> {
        let next = self.engine.deadline()?;
        if self.armed.is_some_and(|armed| armed <= next) {
            return None;
        }
        self.armed = Some(next);
        Some(next.saturating_sub(now).as_secs_f64())
    }
}

/// What notifications may tell the push service.
#[derive(Default)]
pub struct Disclosure {
    pub body: bool,
    pub sender: bool,
    pub important_body: Option<String>,
}

/// The text in a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// `push_notification_important_body`, or none for what is not important.
    Usual,
    /// The message's own.
    Own(String),
}

/// A push that has been decided on, with all that the publish needs.
pub struct Decided {
    pub id: PushId,
    /// That of its stanza: in a queue from 1, or 0.
    pub place: usize,
    pub identifier: String,
    pub jid: String,
    pub node: String,
    pub importance: Importance,
    pub body: Body,
    pub sender: Option<String>,
}

/// What a meeting of stanzas and registrations has led to.
#[derive(Default)]
pub struct Meeting {
    pub pushes: Vec<Decided>,
    /// Tickets, with the places of their stanzas.
    pub holds: Vec<(usize, Ticket)>,
    /// Registrations and reasons, each pair once.
    pub silent: Vec<(String, &'static str)>,
    /// Stanzas that have been given an identity, to be marked with it.
    pub marks: Vec<(usize, StanzaId)>,
}

/// A push that the engine has decided on.
#[derive(Clone, Copy)]
pub struct Push {
    pub id: PushId,
    /// That of its stanza.
    pub place: usize,
    pub importance: Importance,
}

/// A stanza, and what it is recognised by.
#[derive(Clone, Copy)]
struct Known {
    facts: Facts,
    id: StanzaId,
    /// It had no identity before.
    is_new: bool,
}

/// `archived(user, records, sessions, stanza, archive id)`: rule (b).
pub fn archived(state: &mut State, host: &str, frame: &Frame<'_>) -> Reply {
    let ask = |state: &mut State, account: &Account<'_>, known: &Known| {
        let id = frame
            .str(4)
            .map(|id| StanzaId::archived(id, state.engine.key()));
        state
            .engine
            .archived(now(), account, &known.facts, id.unwrap_or(known.id))
    };
    all_registrations(
        state,
        host,
        frame,
        Engine::<RegistryKey>::silent_unless_call,
        ask,
    )
}

/// `offline(user, records, sessions, stanza)`: rule (c).
pub fn offline(state: &mut State, host: &str, frame: &Frame<'_>) -> Reply {
    let ask = |state: &mut State, account: &Account<'_>, known: &Known| {
        state.engine.offline(now(), account, &known.facts, known.id)
    };
    all_registrations(state, host, frame, |_| None, ask)
}

/// `unacked(user, session, sessions, queue, place)`: rule (a), for the registration that the
/// session is attached to. Goes through the queue from `place` up to the first push, for a veto
/// of it may change what becomes of the rest.
pub fn unacked(state: &mut State, host: &str, frame: &Frame<'_>) -> Reply {
    queue(state, host, frame).unwrap_or(Reply::Nothing)
}

/// `silent_unless_call` says what can be said without a look at the stanza.
fn all_registrations(
    state: &mut State,
    host: &str,
    frame: &Frame<'_>,
    silent_unless_call: impl FnOnce(&Account<'_>) -> Option<Silence>,
    ask: impl FnOnce(&mut State, &Account<'_>, &Known) -> Vec<Decision>,
) -> Reply {
    let (Some(user), Some(records), Some(table)) = (frame.str(0), frame.table(1), frame.table(3))
    else {
        return Reply::Nothing;
    };
    let (sessions, _) = read_sessions(frame.table(2).as_ref(), None);
    let mut registrations = Vec::new();
    records.each(|identifier, record| {
        registrations.extend(read_registration(identifier, record, state.disclosure.body));
    });
    let account = Account {
        user,
        registrations: &registrations,
        sessions: &sessions,
    };
    Stanza::with(&table, |stanza| {
        if let Some(silence) = silent_unless_call(&account)
            && !is_call(stanza)
        {
            return Reply::Text(silence.reason());
        }
        let jid = format!("{user}@{host}");
        let known = recognise(&mut state.engine, &table, stanza, &jid, Engine::new_id);
        let decisions = ask(state, &account, &known);
        let mut meeting = Meeting::default();
        for Decision {
            registration,
            verdict,
        } in decisions
        {
            let identifier = registrations[registration].identifier;
            if let Some(push) = meeting.take(0, known, identifier, verdict) {
                records.each(|key, record| {
                    if key == identifier {
                        let told = &state.disclosure;
                        meeting
                            .pushes
                            .extend(decide(push, key, record, Some(stanza), &jid, told));
                    }
                });
            }
        }
        meeting.reply(state, None)
    })
}

fn queue(state: &mut State, host: &str, frame: &Frame<'_>) -> Option<Reply> {
    let user = frame.str(0)?;
    let (session, queue) = (frame.table(1)?, frame.table(3)?);
    let place = usize::try_from(frame.integer(4)?).ok()?;
    let (sessions, own) = read_sessions(frame.table(2).as_ref(), Some(&session));
    let (own, identifier) = (own?, session.str(Key::PushIdentifier)?);
    let attached = sessions
        .iter()
        .filter(|other| other.identifier == Some(identifier));
    let has_twins = attached.count() > 1;
    let jid = format!("{user}@{host}");
    session.with(Key::PushSettings, |record| {
        let registration = read_registration(identifier, record, state.disclosure.body)?;
        let registrations = [registration];
        let account = Account {
            user,
            registrations: &registrations,
            sessions: &sessions,
        };
        let now = now();
        let mut meeting = Meeting::default();
        let stopped = (place..=queue.len()).find(|&place| {
            let State {
                engine, disclosure, ..
            } = state;
            queue.with_entry(place, |table| {
                Stanza::with(table, |stanza| {
                    if is_own_push(engine, stanza, host) {
                        return meeting.note(identifier, Silence::OwnPush);
                    }
                    let known = recognise(engine, table, stanza, &jid, |engine| {
                        let twin = has_twins.then(|| queued_id(stanza, &jid, engine.key()));
                        match twin.flatten() {
                            Some(twin) => engine.twin_id(twin, session.address()),
                            None => engine.new_id(),
                        }
                    });
                    let verdict = engine.unacked(now, &account, 0, own, &known.facts, known.id);
                    if let Some(push) = meeting.take(place, known, identifier, verdict) {
                        let decided =
                            decide(push, identifier, record, Some(stanza), &jid, disclosure);
                        meeting.pushes.extend(decided);
                    }
                });
            });
            !meeting.pushes.is_empty()
        });
        let next = stopped
            .filter(|&place| place < queue.len())
            .map(|place| place + 1);
        Some(meeting.reply(state, next))
    })?
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
                return Some(Push {
                    id,
                    place,
                    importance: known.facts.importance,
                });
            }
            Verdict::Hold(ticket) => self.holds.push((place, ticket)),
            Verdict::Silent(silence) => self.note(identifier, silence),
        }
        None
    }

    fn note(&mut self, identifier: &str, silence: Silence) {
        let reason = silence.reason();
        let noted = |(who, why): &(String, &str)| who == identifier && *why == reason;
        if !self.silent.iter().any(noted) {
            self.silent.push((identifier.to_owned(), reason));
        }
    }

    /// Leaves what is to be done in `state`, if anything is.
    fn reply(self, state: &mut State, next: Option<usize>) -> Reply {
        let is_idle = self.pushes.is_empty() && self.holds.is_empty() && self.marks.is_empty();
        match &*self.silent {
            [] if is_idle => Reply::Nothing,
            [(_, reason)] if is_idle => Reply::Text(reason),
            _ => {
                state.meeting = self;
                Reply::Work(next)
            }
        }
    }
}

/// A user of this server may name another one as push service. If that one hibernates, the push
/// itself must not be a reason for a push, and so on for ever.
fn is_own_push(engine: &Engine<RegistryKey>, stanza: &Stanza<'_>, host: &str) -> bool {
    stanza.name() == "iq"
        && stanza.attr(Attr::From) == Some(host)
        && stanza
            .attr(Attr::Id)
            .is_some_and(|id| engine.is_in_flight(id))
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

/// Reads what the rules need of a record; nothing if it cannot be pushed to.
pub fn read_registration<'f>(
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

/// Reads the sessions that are attached to anything, and `own`; and says at which place that is.
pub fn read_sessions<'f>(
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
            found.extend(read_session(session));
        });
    }
    if let (Some(own), None) = (own, place) {
        place = Some(found.len());
        found.extend(read_session(own));
    }
    (found, place)
}

fn read_session<'f>(session: &TableRef<'f>) -> Option<Session<'f>> {
    let identifier = Some(session.str(Key::PushIdentifier)?);
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
    Some(Session {
        identifier,
        connection,
    })
}

/// Reads what the publish needs.
pub fn decide<E: stanza::Element>(
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
    let body = important
        .filter(|_| disclosure.body)
        .and_then(|stanza| stanza::body(stanza, account))
        .map_or(Body::Usual, |body| Body::Own(xml_text(cut(&body))));
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
pub fn normalised(jid: &str) -> String {
    Jid::new(jid).map_or_else(|_| xml_text(jid), |jid| jid.to_string())
}

fn cut(body: &str) -> &str {
    &body[..body.floor_char_boundary(MAX_BODY)]
}
