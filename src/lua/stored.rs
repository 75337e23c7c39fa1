//! Rules (b) and (c): a stanza meets all registrations of its recipient.

use super::account::{
    has_say, read_address, read_presence, read_registration, read_sessions, read_target,
    tells_of_calls,
};
use super::clock::now;
use super::reader::{Frame, Key, Reply, Stanza, TableRef};
use super::recognition::{Known, Recipient, recognise};
use super::settlement::{Pending, Settlement, Source};
use super::state::State;
use crate::engine::{
    Account, Decision, Engine, Presence, Reason, Registration, Rule, Silence, rules,
};
use crate::extension::Asked;
use crate::notification::{Notification, Push};
use crate::stanza::{self, Attr, Element, Importance, StanzaId, may_be_call, may_concern_call};

/// `archived(user, records, sessions, stanza, archive id, judged)`: rule (b). Judged is what filters say of it, see
/// [`super::judging`].
pub fn archived(state: &mut State, host: &str, frame: &Frame<'_>) -> Reply {
    all_registrations(
        state,
        host,
        frame,
        |state, account, records, stanza| {
            let silence = rules::silent_unless_call(account)?;
            if may_be_call(stanza) || ends_call(state, account.user, records, stanza, host) {
                return None;
            }
            state.engine.archived_unread(now(), account);
            Some(silence)
        },
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

/// Whether it may end a call that is to stop ringing somewhere.
fn ends_call(
    state: &State,
    user: &str,
    records: &TableRef<'_>,
    stanza: &Stanza<'_>,
    host: &str,
) -> bool {
    may_concern_call(stanza, &format!("{user}@{host}")) && {
        let mut is_told = false;
        records.each(|_, record| is_told |= tells_of_calls(record, &state.disclosure));
        is_told
    }
}

/// `sent(user, records, sessions, stanza)`: a message of the account itself to somebody else, which no archive has:
/// it may end a call.
pub fn sent(state: &mut State, host: &str, frame: &Frame<'_>) -> Reply {
    all_registrations(
        state,
        host,
        frame,
        |_, account, _, stanza| {
            let account = format!("{}@{host}", account.user);
            let is_end =
                may_concern_call(stanza, &account) && !stanza::is_archived(stanza, &account);
            (!is_end).then_some(Silence::NotRecipient)
        },
        |state, account, Known { facts, id, .. }| state.engine.sent(now(), account, facts, *id),
    )
}

/// `undelivered(user, records, sessions, stanza, nil, judged)`: rule (b), once a session has ended without
/// acknowledging the stanza.
pub fn undelivered(state: &mut State, host: &str, frame: &Frame<'_>) -> Reply {
    all_registrations(
        state,
        host,
        frame,
        |state, account, _, stanza| {
            if stanza::is_archived(stanza, &format!("{}@{host}", account.user)) {
                return None;
            }
            let (rule, silence) = (Rule::Undelivered, Silence::NotArchived);
            state.engine.left_unread(now(), rule, account, silence, 1);
            Some(silence)
        },
        |state, account, Known { facts, id, .. }| {
            state.engine.undelivered(now(), account, facts, *id)
        },
    )
}

/// `offline(user, records, sessions, stanza, room, judged)`: rule (c); `room` says that it is a room's message
/// to the bare JID.
pub fn offline(state: &mut State, host: &str, frame: &Frame<'_>) -> Reply {
    let ask = if frame.is_set(4) {
        Engine::room
    } else {
        Engine::offline
    };
    all_registrations(
        state,
        host,
        frame,
        |_, _, _, _| None,
        |state, account, Known { facts, id, .. }| {
            ask(&mut state.engine, now(), account, facts, *id)
        },
    )
}

/// `away(user, records, sessions, stanza, nil, judged)`: a message that sessions of the user receive, for the
/// registrations that want to know of it while nobody looks at those.
pub fn away(state: &mut State, host: &str, frame: &Frame<'_>) -> Reply {
    if !Presence::is_away(&read_presence(frame.table(2).as_ref())) {
        return Reply::Nothing;
    }
    let concerns = frame.table(3).is_some_and(|table| {
        let account = frame.str(0).map(|user| [user, "@", host].concat());
        Stanza::with(&table, |stanza| {
            stanza.attr(Attr::Type) != Some("groupchat")
                && stanza::importance(stanza, &account.unwrap_or_default())
                    > Importance::Unimportant
        })
    });
    if !concerns {
        return Reply::Nothing;
    }
    some_registrations(
        state,
        host,
        frame,
        |record| record.is_set(Key::Away),
        |_, _, _, _| None,
        |state, account, Known { facts, id, .. }| state.engine.away(now(), account, facts, *id),
        None,
    )
}

/// `subscription(user, records, sessions, stanza, requests, judged)`: somebody asks to see the presence of the user,
/// whom so many ask now.
pub fn subscription(state: &mut State, host: &str, frame: &Frame<'_>) -> Reply {
    if !Presence::is_offline(&read_presence(frame.table(2).as_ref())) {
        return Reply::Nothing;
    }
    let requests = frame.integer(4).and_then(|count| u32::try_from(count).ok());
    some_registrations(
        state,
        host,
        frame,
        |_| true,
        |_, _, _, _| None,
        |state, account, Known { facts, id, .. }| {
            state.engine.subscription(now(), account, facts, *id)
        },
        requests,
    )
}

/// `left_unread` says what can be said without reading the stanza.
fn all_registrations(
    state: &mut State,
    host: &str,
    frame: &Frame<'_>,
    left_unread: impl FnOnce(&mut State, &Account<'_>, &TableRef<'_>, &Stanza<'_>) -> Option<Silence>,
    ask: impl FnOnce(&mut State, &Account<'_>, &Known) -> Vec<Decision>,
) -> Reply {
    some_registrations(state, host, frame, |_| true, left_unread, ask, None)
}

/// Those that are wanted; `requests` is for their pushes.
fn some_registrations(
    state: &mut State,
    host: &str,
    frame: &Frame<'_>,
    is_wanted: impl Fn(&TableRef<'_>) -> bool,
    left_unread: impl FnOnce(&mut State, &Account<'_>, &TableRef<'_>, &Stanza<'_>) -> Option<Silence>,
    ask: impl FnOnce(&mut State, &Account<'_>, &Known) -> Vec<Decision>,
    requests: Option<u32>,
) -> Reply {
    let (Some(user), Some(records), Some(table)) = (frame.str(0), frame.table(1), frame.table(3))
    else {
        return Reply::Nothing;
    };
    let sessions_table = frame.table(2);
    let (sessions, _) = read_sessions(sessions_table.as_ref(), None);
    let mut addresses = Vec::new();
    records.each(|identifier, record| {
        if is_wanted(record) {
            addresses.extend(read_address(identifier, record));
        }
    });
    Stanza::with(&table, |stanza| {
        let account = Account {
            user,
            registrations: &addresses,
            sessions: &sessions,
        };
        if let Some(silence) = left_unread(state, &account, &records, stanza) {
            return Reply::Text(Reason::Silent(silence).phrase());
        }
        let mut registrations = Vec::new();
        let mut have_filters = false;
        records.each(|identifier, record| {
            if is_wanted(record) {
                registrations.extend(read_registration(identifier, record, &state.disclosure));
                have_filters |= has_say(record, state.disclosure.others);
            }
        });
        let account = Account {
            registrations: &registrations,
            ..account
        };
        let judged = frame.table(5);
        let is_unread = sessions_table.is_some_and(|sessions| has_unread(&sessions));
        let is_to_be_judged = |state: &mut State| {
            have_filters || {
                let settings = &mut state.chat_settings;
                settings.may_concern(user, stanza) && has_any_without_filters(&records)
            }
        };
        if is_unread || judged.is_none() && is_to_be_judged(state) {
            return Reply::Incomplete;
        }
        let recipient = Recipient::new(user, host);
        let known = recognise(&mut state.engine, &table, stanza, &recipient);
        let left = judged.map(|judged| with_judgements(&registrations, &judged));
        let account = Account {
            registrations: left.as_ref().unwrap_or(&registrations),
            ..account
        };
        let decisions = ask(state, &account, &known);
        let mut settlement = Settlement::default();
        if known.is_new {
            settlement.mark(0, known.id);
        }
        for decision in decisions {
            let registration = &registrations[decision.registration];
            if let Some(push) = settlement.take(&state.engine, 0, registration, decision) {
                let push = Push {
                    pending_subscriptions: requests,
                    ..push
                };
                let stanza = Some((stanza, &*recipient.account));
                let told = &state.disclosure;
                records.each(|key, record| {
                    if key == registration.identifier
                        && let Some(target) = read_target(key, record)
                    {
                        settlement.pending.push_back(Pending {
                            place: 0,
                            source: Source::Records,
                            notification: Notification::compose(push, target, stanza, told),
                        });
                    }
                });
            }
        }
        state.leave(settlement)
    })
}

/// The registrations for this stanza, which filters may leave out.
fn with_judgements<'f>(
    registrations: &[Registration<'f>],
    judged: &TableRef<'_>,
) -> Vec<Registration<'f>> {
    let mut registrations = registrations.to_vec();
    judged.each_integer(|key, code| {
        for one in &mut registrations {
            if one.identifier == key {
                one.left_out = Silence::from_code(code);
            }
        }
    });
    registrations
}

/// Whether there are registrations that the user's settings are for.
fn has_any_without_filters(records: &TableRef<'_>) -> bool {
    let mut found = false;
    records.each(|_, record| found |= !record.has_filters());
    found
}

fn has_unread(sessions: &TableRef<'_>) -> bool {
    let mut found = false;
    sessions.each(|_, session| found |= session.has_table(Key::UnreadQueue));
    found
}
