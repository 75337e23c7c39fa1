//! Stanzas meet registrations: Lua functions that read on the stack and ask the engine.
//!
//! Most events lead to nothing, or to a line in the log; so these functions make no
//! value in Lua but a boolean or a string. What is to be done otherwise stays here until the shim
//! fetches it: first a [`Meeting`] with `settle`, then each push with `next_push`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mlua::RegistryKey;
use once_cell::sync::Lazy;
use parking_lot::{Mutex, MutexGuard};

use super::reader::{Frame, Key, Reader, Reply, Stanza, TableRef};
use crate::engine::rules;
use crate::engine::suspension::Suspension;
use crate::engine::{
    Account, Connection, Decision, Engine, PushId, Reason, Registration, Session, Silence, Ticket,
    Verdict, normalised,
};
use crate::stanza::{self, Facts, Importance, StanzaId, may_be_call, queued_id};
use crate::wire::publish::{is_xml_text, xml_text};

/// The longest message text that goes into a notification, in bytes.
const MAX_BODY: usize = 4096;

/// The engines of all hosts. They outlive a reload of the Lua module.
static HOSTS: Lazy<Mutex<HashMap<String, Shared>>> = Lazy::new(Mutex::default);

/// Time that never goes back, whatever happens to the clock.
static START: Lazy<Instant> = Lazy::new(Instant::now);

/// What was before the start can be said, too.
const BEFORE_START: Duration = Duration::from_hours(365 * 24);

/// The time now, for the engine.
pub fn now() -> Duration {
    BEFORE_START + START.elapsed()
}

/// Seconds since 1970, as the clock has it.
pub fn clock() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

/// What is known on behalf of a host.
#[derive(Default)]
pub struct State {
    pub engine: Engine<RegistryKey>,
    pub disclosure: Disclosure,
    /// The deadline that the shim knows of.
    pub armed: Option<Duration>,
    /// What the shim has to settle.
    pub meeting: Meeting,
    /// The pushes that the shim has to fetch, the next one last: a listener may cause others that
    /// have to be fetched before the rest.
    pub pushes: Vec<Decided>,
}

/// The state of a host, shared by all that Lua has of it.
#[derive(Clone, Default)]
pub struct Shared(Arc<Mutex<State>>);

impl Shared {
    /// The state of a host, as it was if there has been one.
    pub fn of(host: &str) -> Self {
        HOSTS.lock().entry(host.to_owned()).or_default().clone()
    }

    /// The state of a host, if there is one.
    pub fn find(host: &str) -> Option<Self> {
        HOSTS.lock().get(host).cloned()
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
    /// It is a call.
    pub rings: bool,
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

/// What Lua calls: a reader that is given the state of its host.
macro_rules! readers {
    ($($reader:ident = $read:ident),* $(,)?) => {
        $(
            #[doc = concat!("`", stringify!($read), "`, as a function for Lua.")]
            pub struct $reader;

            impl Reader for $reader {
                fn read(host: &str, frame: &Frame<'_>) -> Reply {
                    with_state(host, |state| $read(state, host, frame))
                }
            }
        )*
    };
}

readers! {
    Archived = archived,
    Offline = offline,
    Read = read,
    Unacked = unacked,
    Undelivered = undelivered,
}

fn with_state(host: &str, read: impl FnOnce(&mut State) -> Reply) -> Reply {
    let Some(shared) = Shared::find(host) else {
        return Reply::Nothing; // It has been closed
    };
    match shared.borrow() {
        Ok(mut state) => read(&mut state),
        Err(_) => Reply::Text("engine is in use"),
    }
}

/// `archived(user, records, sessions, stanza, archive id)`: rule (b).
fn archived(state: &mut State, host: &str, frame: &Frame<'_>) -> Reply {
    all_registrations(
        state,
        host,
        frame,
        rules::silent_unless_call,
        |state, account, known| {
            let id = frame
                .str(4)
                .map(|id| StanzaId::archived(id, state.engine.key()));
            state
                .engine
                .archived(now(), account, &known.facts, id.unwrap_or(known.id))
        },
    )
}

/// `undelivered(user, records, sessions, stanza)`: rule (b), once a session has ended without
/// acknowledging the stanza.
fn undelivered(state: &mut State, host: &str, frame: &Frame<'_>) -> Reply {
    let (Some(user), Some(table)) = (frame.str(0), frame.table(3)) else {
        return Reply::Nothing;
    };
    let account = format!("{user}@{host}");
    if !Stanza::with(&table, |stanza| stanza::is_archived(stanza, &account)) {
        return Reply::Text(Reason::Silent(Silence::NotArchived).phrase());
    }
    all_registrations(
        state,
        host,
        frame,
        |_| None,
        |state, account, Known { facts, id, .. }| {
            state.engine.undelivered(now(), account, facts, *id)
        },
    )
}

/// `offline(user, records, sessions, stanza, room)`: rule (c); `room` says that it is a room's message
/// to the bare JID.
fn offline(state: &mut State, host: &str, frame: &Frame<'_>) -> Reply {
    let ask = if frame.is_set(4) {
        Engine::room
    } else {
        Engine::offline
    };
    all_registrations(
        state,
        host,
        frame,
        |_| None,
        |state, account, Known { facts, id, .. }| {
            ask(&mut state.engine, now(), account, facts, *id)
        },
    )
}

/// `unacked(user, session, sessions, queue, place, listened)`: rule (a), for the registration that the
/// session is attached to. Goes through the queue from `place` up to the first push, for a
/// veto of it may change what becomes of the rest. What a push speaks for anyway is left unread.
fn unacked(state: &mut State, host: &str, frame: &Frame<'_>) -> Reply {
    queue(state, host, frame).unwrap_or(Reply::Nothing)
}

/// `read(user, session, sessions, queue)`: reads what `unacked` has left unread, so that it is
/// recognised when it is met again.
fn read(state: &mut State, host: &str, frame: &Frame<'_>) -> Reply {
    let (Some(user), Some(session), Some(queue)) = (frame.str(0), frame.table(1), frame.table(3))
    else {
        return Reply::Nothing;
    };
    let (sessions, _) = read_sessions(frame.table(2).as_ref(), Some(&session));
    let Some(identifier) = session.str(Key::PushIdentifier) else {
        return Reply::Nothing;
    };
    let new_id = NewId::of(user, host, identifier, &session, &sessions);
    let mut meeting = Meeting::default();
    let mut served = Vec::new();
    for place in 1..=queue.len() {
        queue.with_entry(place, |table| {
            Stanza::with(table, |stanza| {
                let known = recognise(&mut state.engine, table, stanza, &new_id);
                meeting.mark(place, known);
                served.push((known.id, known.facts));
            });
        });
    }
    state.engine.served(now(), user, identifier, served);
    meeting.leave(state)
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
    let sessions_table = frame.table(2);
    let (sessions, _) = read_sessions(sessions_table.as_ref(), None);
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
            && !may_be_call(stanza)
        {
            return Reply::Text(Reason::Silent(silence).phrase());
        }
        if sessions_table.is_some_and(|sessions| has_unread(&sessions)) {
            return Reply::Unread;
        }
        let new_id = NewId::new(user, host);
        let known = recognise(&mut state.engine, &table, stanza, &new_id);
        let decisions = ask(state, &account, &known);
        let mut meeting = Meeting::default();
        meeting.mark(0, known);
        for decision in decisions {
            let identifier = registrations[decision.registration].identifier;
            if let Some(id) = meeting.take(0, identifier, decision) {
                records.each(|key, record| {
                    if key == identifier {
                        let push = Push {
                            id,
                            place: 0,
                            importance: known.facts.importance,
                        };
                        let told = &state.disclosure;
                        meeting.pushes.extend(decide(
                            push,
                            key,
                            record,
                            Some(stanza),
                            &new_id.account,
                            told,
                        ));
                    }
                });
            }
        }
        meeting.leave(state)
    })
}

fn has_unread(sessions: &TableRef<'_>) -> bool {
    let mut found = false;
    sessions.each(|_, session| found |= session.has_table(Key::UnreadQueue));
    found
}

/// A queue, gone through for one registration.
struct Queue<'a, 'f> {
    table: &'a TableRef<'f>,
    record: &'a TableRef<'f>,
    account: &'a Account<'a>,
    session: usize,
    new_id: NewId<'a>,
    now: Duration,
    meeting: Meeting,
    /// How many that wait are kept as candidates for the push.
    candidates: usize,
    /// To leave something unread saves time.
    may_be_unread: bool,
    /// Something has been left unread.
    unread: bool,
}

/// So many stanzas are read at once.
const FEW: usize = 8;

fn queue(state: &mut State, host: &str, frame: &Frame<'_>) -> Option<Reply> {
    let user = frame.str(0)?;
    let (session, table) = (frame.table(1)?, frame.table(3)?);
    let place = frame.integer(4)?;
    let (sessions, own) = read_sessions(frame.table(2).as_ref(), Some(&session));
    let (own, identifier) = (own?, session.str(Key::PushIdentifier)?);
    session.with(Key::PushSettings, |record| {
        let registration = read_registration(identifier, record, state.disclosure.body)?;
        let account = Account {
            user,
            registrations: &[registration],
            sessions: &sessions,
        };
        if let Some(silence) = rules::unacked(&account, own, identifier) {
            return Some(Reply::Text(Reason::Silent(silence).phrase()));
        }
        let listened = frame.is_set(5);
        let queue = Queue {
            table: &table,
            record,
            account: &account,
            session: own,
            new_id: NewId::of(user, host, identifier, &session, &sessions),
            now: now(),
            meeting: Meeting::default(),
            candidates: if listened {
                Engine::<RegistryKey>::MAX_HELD
            } else {
                1
            },
            may_be_unread: table.len() > FEW,
            unread: false,
        };
        Some(queue.go_through(state, place))
    })?
}

impl Queue<'_, '_> {
    /// Important stanzas come first: each push speaks for all that is unimportant. So there are two
    /// passes, the second one at places below zero. Each ends at the first push.
    fn go_through(mut self, state: &mut State, place: i64) -> Reply {
        let length = i64::try_from(self.table.len()).unwrap_or(i64::MAX);
        let next = if place > 0 {
            self.important(state, place, length)
                .map(|place| if place < length { place + 1 } else { -1 })
                .or_else(|| self.unimportant(state, 1, length))
        } else {
            self.unimportant(state, place.saturating_neg(), length)
        };
        self.meeting.leave_queue(state, next, self.unread)
    }

    fn important(&mut self, state: &mut State, from: i64, length: i64) -> Option<i64> {
        let spoken_for =
            self.may_be_unread && state.engine.is_spoken_for(self.now, self.account, 0);
        (from..=length).find(|&place| {
            let account = &self.new_id.account;
            let matters = self.with(place, |_, stanza| {
                if spoken_for && !may_be_call(stanza) {
                    return false;
                }
                let least = if spoken_for {
                    Importance::Urgent
                } else {
                    Importance::Important
                };
                stanza::importance(stanza, account) >= least
            });
            if matters == Some(true) {
                self.meet(state, place);
            } else {
                self.unread |= spoken_for;
            }
            !self.meeting.pushes.is_empty()
        })
    }

    fn unimportant(&mut self, state: &mut State, from: i64, length: i64) -> Option<i64> {
        let mut held = 0;
        for place in from..=length {
            let engine = &state.engine;
            if self.may_be_unread
                && (held >= self.candidates || engine.is_spoken_for(self.now, self.account, 0))
            {
                self.unread = true;
                return None;
            }
            let account = &self.new_id.account;
            let is_important = self.with(place, |_, stanza| {
                stanza::importance(stanza, account) >= Importance::Important
            });
            if is_important != Some(false) {
                continue;
            }
            let before = self.meeting.holds.len();
            self.meet(state, place);
            held += self.meeting.holds.len() - before;
            if !self.meeting.pushes.is_empty() {
                return (place < length).then_some(-place - 1);
            }
        }
        None
    }

    fn meet(&mut self, state: &mut State, place: i64) {
        let State {
            engine, disclosure, ..
        } = state;
        let identifier = self.account.registrations[0].identifier;
        let Ok(index) = usize::try_from(place) else {
            return;
        };
        self.table.with_entry(index, |table| {
            Stanza::with(table, |stanza| {
                let known = recognise(engine, table, stanza, &self.new_id);
                self.meeting.mark(index, known);
                let Known { facts, id, .. } = &known;
                let decision = engine.unacked(self.now, self.account, 0, self.session, facts, *id);
                if let Some(id) = self.meeting.take(index, identifier, decision) {
                    let push = Push {
                        id,
                        place: index,
                        importance: facts.importance,
                    };
                    let account = &self.new_id.account;
                    let stanza = Some(stanza);
                    let decided =
                        decide(push, identifier, self.record, stanza, account, disclosure);
                    self.meeting.pushes.extend(decided);
                }
            });
        });
    }

    fn with<R>(&self, place: i64, look: impl FnOnce(&TableRef<'_>, &Stanza<'_>) -> R) -> Option<R> {
        let place = usize::try_from(place).ok()?;
        self.table.with_entry(place, |table| {
            Stanza::with(table, |stanza| look(table, stanza))
        })
    }
}

impl Meeting {
    /// Notes a decision; returns the push if it is one.
    fn take(&mut self, place: usize, identifier: &str, decision: Decision) -> Option<PushId> {
        self.rings |= decision.importance == Importance::Urgent;
        let reason = decision.reason();
        match decision.verdict {
            Verdict::Push(id) => return Some(id),
            Verdict::Hold(ticket) => self.holds.push((place, ticket)),
            Verdict::Silent(_) => {}
        }
        self.note(identifier, reason);
        None
    }

    fn mark(&mut self, place: usize, known: Known) {
        if known.is_new {
            self.marks.push((place, known.id));
        }
    }

    fn note(&mut self, identifier: &str, reason: Reason) {
        let reason = reason.phrase();
        let noted = |(who, why): &(String, &str)| who == identifier && *why == reason;
        if !self.silent.iter().any(noted) {
            self.silent.push((identifier.to_owned(), reason));
        }
    }

    fn is_idle(&self) -> bool {
        self.pushes.is_empty() && self.holds.is_empty() && self.marks.is_empty()
    }

    /// Leaves what is to be done in `state`, if anything is.
    fn leave(self, state: &mut State) -> Reply {
        match &*self.silent {
            [] if self.is_idle() => Reply::Nothing,
            [(_, reason)] if self.is_idle() => Reply::Text(reason),
            _ => {
                state.meeting = self;
                Reply::Work
            }
        }
    }

    fn leave_queue(self, state: &mut State, next: Option<i64>, unread: bool) -> Reply {
        let (text, work) = match self.leave(state) {
            Reply::Text(text) => (Some(text), false),
            reply => (None, reply == Reply::Work),
        };
        Reply::Queue {
            text,
            work,
            next,
            unread,
        }
    }
}

/// How stanzas without an identity get one.
struct NewId<'a> {
    /// The bare JID of the account.
    account: String,
    /// The session, if others of its device may have clones of the stanzas in its queue.
    twins_of: Option<&'a TableRef<'a>>,
}

impl<'a> NewId<'a> {
    fn new(user: &str, host: &str) -> Self {
        Self {
            account: format!("{user}@{host}"),
            twins_of: None,
        }
    }

    /// For the queue of `session`.
    fn of(
        user: &str,
        host: &str,
        identifier: &str,
        session: &'a TableRef<'a>,
        sessions: &[Session<'_>],
    ) -> Self {
        let attached = |other: &&Session<'_>| other.identifier == Some(identifier);
        Self {
            twins_of: (sessions.iter().filter(attached).count() > 1).then_some(session),
            ..Self::new(user, host)
        }
    }

    fn make(&self, engine: &mut Engine<RegistryKey>, stanza: &Stanza<'_>) -> StanzaId {
        let twin = self.twins_of.and_then(|session| {
            let queued = queued_id(stanza, &self.account, engine.key())?;
            Some((queued, session.address()))
        });
        match twin {
            Some((queued, session)) => engine.twin_id(queued, session),
            None => engine.new_id(),
        }
    }
}

fn recognise(
    engine: &mut Engine<RegistryKey>,
    table: &TableRef<'_>,
    stanza: &Stanza<'_>,
    new_id: &NewId<'_>,
) -> Known {
    let facts = Facts::read(stanza, &new_id.account, engine.key());
    let mark = || {
        table
            .integer(Key::PushId)
            .map(|mark| StanzaId(mark.cast_unsigned()))
    };
    let id = facts.id.or_else(mark);
    Known {
        facts,
        id: id.unwrap_or_else(|| new_id.make(engine, stanza)),
        is_new: id.is_none(),
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
        jid: record.str(Key::Jid).filter(|jid| is_xml_text(jid))?,
        content: content || record.is_set(Key::Encryption),
        suspended: record.with(Key::Suspended, |suspended| {
            let remaining = read_suspension(suspended).remaining(clock());
            Duration::from_secs(remaining)
        }),
    })
}

/// Reads what a record says of its suspension. Whatever is damaged is as if it were long past.
fn read_suspension(suspended: &TableRef<'_>) -> Suspension {
    let trials = suspended.integer(Key::Trials).unwrap_or_default();
    Suspension {
        since: suspended.integer(Key::Since).unwrap_or_default(),
        trials: u32::try_from(trials).unwrap_or_default(),
        until: suspended.integer(Key::Until).unwrap_or_default(),
    }
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
    let connection = if session.is_set(Key::Destroyed)
        || session.is_set(Key::PushStreamClosed)
        || session.is_false(Key::Smacks)
    {
        Connection::Gone
    } else if session.is_set(Key::Hibernating) {
        Connection::Hibernated
    } else {
        // mod_smacks clears the timer when it runs out, and sets it with the next request.
        let ack_overdue = session.is_set(Key::AwaitingAck) && !session.is_set(Key::DelayedAckTimer);
        let available = session.has_table(Key::Presence)
            && session.integer(Key::Priority).is_some_and(|it| it >= 0);
        Connection::Live {
            ack_overdue,
            available,
        }
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
        jid: normalised(record.str(Key::Jid)?).into_owned(),
        node: xml_text(record.str(Key::Node).unwrap_or_default()),
        importance,
        body,
        sender,
    })
}

fn cut(body: &str) -> &str {
    &body[..body.floor_char_boundary(MAX_BODY)]
}
