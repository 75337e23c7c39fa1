//! Rule (a): what a session has not acknowledged meets its registration.

use std::time::Duration;

use super::account::{
    has_say, identifier_of, read_registration, read_sessions, read_target, record_of,
};
use super::clock::now;
use super::reader::{Frame, Reply, Stanza, TableRef};
use super::recognition::{Known, Recipient, recognise};
use super::settlement::{Pending, Settlement, Source};
use super::state::State;
use crate::chat_settings::ChatSettings;
use crate::engine::{Account, Engine, Reason, Registration, Rule, Silence, rules};
use crate::extension::Asked;
use crate::notification::{Notification, Protocol};
use crate::stanza::{self, Importance, may_concern_call};
use mlua::RegistryKey;

/// `unacked(user, session, sessions, queue, place, listened, judged, push2)`: rule (a), for the registration that the
/// session is attached to, be it that of push2. Goes through the queue from `place` up to the first push, for a
/// veto of it may change what becomes of the rest. What a push speaks for anyway is left unread. At place 0 a
/// stanza takes the place of the queue. Judged is what filters say of each, see [`super::judging`].
pub fn unacked(state: &mut State, host: &str, frame: &Frame<'_>) -> Reply {
    go_through(state, host, frame).unwrap_or(Reply::Nothing)
}

/// `read(user, session, sessions, queue)`: reads what `unacked` has left unread, so that it is
/// recognised when it is met again.
pub fn read(state: &mut State, host: &str, frame: &Frame<'_>) -> Reply {
    let (Some(user), Some(session), Some(queue)) = (frame.str(0), frame.table(1), frame.table(3))
    else {
        return Reply::Nothing;
    };
    let (sessions, own) = read_sessions(frame.table(2).as_ref(), Some(&session));
    let Some(own) = own else {
        return Reply::Nothing;
    };
    let identifiers = Protocol::ALL.map(|one| session.str(identifier_of(one)));
    let recipient = Recipient::of(user, host, &session, own, &sessions);
    let mut settlement = Settlement::default();
    let mut served = Vec::new();
    for place in 1..=queue.len() {
        with_entry(&queue, place, |table, stanza| {
            let known = recognise(&mut state.engine, table, stanza, &recipient);
            if known.is_new {
                settlement.mark(place, known.id);
            }
            served.push((known.id, known.facts));
        });
    }
    for identifier in identifiers.into_iter().flatten() {
        state.engine.served(now(), user, identifier, served.clone());
    }
    state.leave(settlement)
}

/// A queue, gone through for one registration.
struct Queue<'a, 'f> {
    table: &'a TableRef<'f>,
    protocol: Protocol,
    record: &'a TableRef<'f>,
    /// What filters say, by place, the first one being that of the only one.
    judged: &'a [u8],
    account: &'a Account<'a>,
    session: usize,
    recipient: Recipient<'a>,
    now: Duration,
    settlement: Settlement,
    /// How many that wait are kept as candidates for the push.
    candidates: usize,
    /// To leave something unread saves time.
    may_be_unread: bool,
    /// A push speaks for all of it, but for calls.
    spoken_for: bool,
    /// Something has been left unread.
    unread: bool,
    /// So many have been, because the push speaks for them.
    passed_over: u32,
}

/// So many stanzas are read at once.
const FEW: usize = 8;

fn go_through(state: &mut State, host: &str, frame: &Frame<'_>) -> Option<Reply> {
    let user = frame.str(0)?;
    let (session, table) = (frame.table(1)?, frame.table(3)?);
    let place = frame.integer(4)?;
    let (sessions, own) = read_sessions(frame.table(2).as_ref(), Some(&session));
    let protocol = Protocol::ALL[usize::from(frame.is_set(7))];
    let (own, identifier) = (own?, session.str(identifier_of(protocol))?);
    session.with(record_of(protocol), |record| {
        let registration = read_registration(identifier, record, &state.disclosure)?;
        let account = Account {
            user,
            registrations: &[registration],
            sessions: &sessions,
        };
        if let Some(silence) = rules::unacked(&account, own, identifier) {
            let rule = Rule::Unacked { session: own };
            let length = if place == 0 { 1 } else { table.len() };
            let count = u32::try_from(length).unwrap_or(u32::MAX);
            state
                .engine
                .left_unread(now(), rule, &account, silence, count);
            return Some(Reply::Text(Reason::Silent(silence).phrase()));
        }
        let judged = frame.bytes(6);
        let is_incomplete = judged.is_none()
            && (has_say(record, state.disclosure.others)
                || may_concern(&mut state.chat_settings, user, &table, place)
                    && !record.has_filters());
        let recipient = Recipient::of(user, host, &session, own, &sessions);
        let may_be_unread = if place == 0 {
            !recipient.has_twins() // Who would meet it before it is read
        } else {
            table.len() > FEW
        };
        let now = now();
        let queue = Queue {
            table: &table,
            protocol,
            record,
            judged: judged.unwrap_or_default(),
            account: &account,
            session: own,
            recipient,
            now,
            settlement: Settlement::default(),
            candidates: if frame.is_set(5) {
                Engine::<RegistryKey>::MAX_HELD
            } else {
                1
            },
            may_be_unread,
            spoken_for: may_be_unread && state.engine.is_spoken_for(now, &account, 0),
            unread: false,
            passed_over: 0,
        };
        if is_incomplete && (place != 0 || !queue.is_passed_over(place)) {
            return Some(Reply::Incomplete);
        }
        Some(queue.go_through(state, place))
    })?
}

/// Whether the user's settings may leave out any of it.
fn may_concern(settings: &mut ChatSettings, user: &str, table: &TableRef<'_>, place: i64) -> bool {
    let mut places = if place == 0 { 0..=0 } else { 1..=table.len() };
    settings.may_matter(user)
        && places.any(|place| {
            with_entry(table, place, |_, stanza| settings.may_concern(user, stanza)) == Some(true)
        })
}

impl Queue<'_, '_> {
    /// Important stanzas come first: each push speaks for all that is unimportant. So there are two
    /// passes, the second one at places below zero. Each ends at the first push.
    fn go_through(mut self, state: &mut State, place: i64) -> Reply {
        let length = i64::try_from(self.table.len()).unwrap_or(i64::MAX);
        let next = if place == 0 || (place, length) == (1, 1) {
            self.single(state, place);
            None
        } else if place > 0 {
            self.important(state, place, length)
                .map(|place| if place < length { place + 1 } else { -1 })
                .or_else(|| self.unimportant(state, 1, length))
        } else {
            self.unimportant(state, place.saturating_neg(), length)
        };
        let rule = Rule::Unacked {
            session: self.session,
        };
        let (silence, count) = (Silence::SpokenFor, self.passed_over);
        let engine = &mut state.engine;
        engine.left_unread(self.now, rule, self.account, silence, count);
        let (text, work) = match state.leave(self.settlement) {
            Reply::Text(text) => (Some(text), false),
            Reply::Nothing if self.passed_over > 0 => {
                (Some(Reason::Silent(Silence::SpokenFor).phrase()), false)
            }
            reply => (None, reply == Reply::Work),
        };
        Reply::Queue {
            text,
            work,
            next,
            unread: self.unread,
        }
    }

    fn single(&mut self, state: &mut State, place: i64) {
        if self.is_passed_over(place) {
            self.pass_over();
        } else {
            self.meet(state, place);
        }
    }

    fn important(&mut self, state: &mut State, from: i64, length: i64) -> Option<i64> {
        (from..=length).find(|&place| {
            if self.is_passed_over(place) {
                self.pass_over();
            } else if self.spoken_for || self.is_important(place) {
                self.meet(state, place);
            }
            !self.settlement.pending.is_empty()
        })
    }

    fn unimportant(&mut self, state: &mut State, from: i64, length: i64) -> Option<i64> {
        let mut held = 0;
        for place in from..=length {
            if self.spoken_for || self.may_be_unread && held >= self.candidates {
                self.unread = true;
                return None;
            }
            if self.is_important(place) {
                continue;
            }
            let before = self.settlement.holds.len();
            self.meet(state, place);
            held += self.settlement.holds.len() - before;
            if !self.settlement.pending.is_empty() {
                return (place < length).then_some(-place - 1);
            }
        }
        None
    }

    fn pass_over(&mut self) {
        self.unread = true;
        self.passed_over += 1;
    }

    /// Whether a push speaks for the stanza anyway, and it ends no call.
    fn is_passed_over(&self, place: i64) -> bool {
        let account = &self.recipient.account;
        self.spoken_for
            && self.with(place, |stanza| !may_concern_call(stanza, account)) != Some(false)
    }

    fn is_important(&self, place: i64) -> bool {
        let account = &self.recipient.account;
        // What has to stop ringing comes first, too.
        let is_told = self.account.registrations[0].calls;
        let matters = |stanza: &Stanza<'_>| {
            stanza::importance(stanza, account) >= Importance::Important
                || is_told && may_concern_call(stanza, account)
        };
        self.with(place, matters) == Some(true)
    }

    fn meet(&mut self, state: &mut State, place: i64) {
        let State {
            engine, disclosure, ..
        } = state;
        let Ok(index) = usize::try_from(place) else {
            return;
        };
        with_entry(self.table, index, |table, stanza| {
            let Known { facts, id, is_new } = recognise(engine, table, stanza, &self.recipient);
            if is_new {
                self.settlement.mark(index, id);
            }
            let judged = self.judged.get(index.saturating_sub(1));
            let registration = Registration {
                left_out: judged.and_then(|code| Silence::from_code((*code).into())),
                ..self.account.registrations[0]
            };
            let account = Account {
                registrations: &[registration],
                ..*self.account
            };
            let decision = engine.unacked(self.now, &account, 0, self.session, &facts, id);
            if let Some(push) = self.settlement.take(engine, index, &registration, decision)
                && let Some(target) = read_target(registration.identifier, self.record)
            {
                let stanza = Some((stanza, &*self.recipient.account));
                self.settlement.pending.push_back(Pending {
                    place: index,
                    source: Source::Session(self.protocol),
                    notification: Notification::compose(push, target, stanza, disclosure),
                });
            }
        });
    }

    fn with<R>(&self, place: i64, look: impl FnOnce(&Stanza<'_>) -> R) -> Option<R> {
        let place = usize::try_from(place).ok()?;
        with_entry(self.table, place, |_, stanza| look(stanza))
    }
}

/// Calls `look` with the stanza at a place of a queue; at 0 with `table` itself.
fn with_entry<'f, R>(
    table: &TableRef<'f>,
    place: usize,
    look: impl FnOnce(&TableRef<'f>, &Stanza<'f>) -> R,
) -> Option<R> {
    let look = |table: &TableRef<'f>| Stanza::with(table, |stanza| look(table, stanza));
    if place == 0 {
        Some(look(table))
    } else {
        table.with_entry(place, look)
    }
}
