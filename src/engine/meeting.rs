//! A stanza meets a registration: the one path, whatever the rule.

use std::time::Duration;

use super::about::About;
use super::account::{Account, Registration};
use super::decision::{Ticket, Verdict, Wait};
use super::device::Pace;
use super::ending::end_call;
use super::identity::DeviceKey;
use super::pushed::Ids;
use super::reason::{Cause, Reason, Rule, Silence};
use super::rules::{self, Receiver};
use super::schedule::Schedule;
use super::sending::{obstacle, send, speak};
use super::waiting::{Until, Waiting};
use crate::stanza::{Facts, Importance, StanzaId};

/// A stanza as it meets the registrations.
#[derive(Clone, Copy)]
pub(super) struct Met<'a> {
    pub facts: &'a Facts,
    pub id: StanzaId,
    /// Another identity that it has been met by.
    pub alias: Option<StanzaId>,
    /// The user has said it in a room.
    pub is_own: bool,
}

impl<'a> Met<'a> {
    pub fn new(facts: &'a Facts, id: StanzaId) -> Self {
        Self {
            facts,
            id,
            alias: None,
            is_own: false,
        }
    }
}

/// What is to be done about a stanza that `rule` has met, for one registration of the account; and how much it
/// matters to that.
pub(super) fn meet<S>(
    schedule: &mut Schedule<S>,
    now: Duration,
    rule: Rule,
    account: &Account<'_>,
    registration: &Registration<'_>,
    met: Met<'_>,
) -> (Importance, Verdict) {
    let facts = met.facts;
    let ids = recognised_by(met.id, facts);
    let about = About {
        ids,
        importance: facts.importance,
        call: facts.call,
        receiver: Receiver::of(rule, facts.importance),
    };
    match end_call(schedule, now, rule, account, registration, about) {
        Some(Ok(about)) => {
            let verdict = push(schedule, now, rule, account, registration, met, about);
            return (about.importance, verdict);
        }
        Some(Err(silence)) => return (facts.importance, Verdict::Silent(silence)),
        None => {}
    }
    let seen = account.of(registration);
    let silence = if schedule.options.notify_on.wants(facts) {
        rules::silence(rule, &seen, registration.identifier, facts)
            .or(met.is_own.then_some(Silence::OwnMessage))
            .or(registration.left_out)
    } else {
        Some(Silence::NotWanted)
    };
    if let Some(silence) = silence {
        return (facts.importance, Verdict::Silent(silence));
    }
    let (user, identifier) = (account.user, registration.identifier);
    let key = schedule.identities.device(user, identifier);
    schedule.device(now, key, user, identifier);
    let verdict = match known_as(schedule, key, met) {
        Some(known) => Verdict::Silent(known),
        None if is_amendment(schedule, key, facts) => {
            add_pushed(schedule, now, key, [ids]);
            Verdict::Silent(Silence::Amends)
        }
        None => push(schedule, now, rule, account, registration, met, about),
    };
    (facts.importance, verdict)
}

/// A push leaves, or waits.
fn push<S>(
    schedule: &mut Schedule<S>,
    now: Duration,
    rule: Rule,
    account: &Account<'_>,
    registration: &Registration<'_>,
    met: Met<'_>,
    about: About,
) -> Verdict {
    let user = account.user;
    let key = schedule.identities.device(user, registration.identifier);
    let is_unacked = matches!(rule, Rule::Unacked { .. });
    match hindrance(
        schedule,
        now,
        key,
        registration,
        user,
        about.importance,
        is_unacked,
    ) {
        None => {}
        Some(Hindrance::SpokenFor) => {
            add_pushed(schedule, now, key, [about.ids]);
            if let Some(device) = schedule.devices.get_mut(key) {
                device.told.is_vague |= about.is_news();
            }
            return Verdict::Silent(Silence::SpokenFor);
        }
        Some(Hindrance::Wait { wait, cause, until }) => {
            tell(schedule, key, met);
            return Verdict::Hold(Ticket {
                device: key,
                about,
                wait,
                cause,
                until,
            });
        }
    }
    tell(schedule, key, met);
    let id = send(schedule, now, key, registration, user, about, now);
    // By whatever rule it rings, the device is waking. What stops it need not.
    let is_waking = is_unacked && about.importance >= Importance::Important;
    if !about.is_end() && (is_waking || about.importance == Importance::Urgent) {
        speak(schedule, now, id);
    }
    schedule.measure(now, key);
    Verdict::Push(id)
}

/// Whether rule (a) has [`Silence::SpokenFor`] for all that comes now, but for calls.
pub(super) fn is_spoken_for<S>(
    schedule: &Schedule<S>,
    now: Duration,
    user: &str,
    registration: &Registration<'_>,
) -> bool {
    let key = schedule.identities.device(user, registration.identifier);
    let importance = Importance::Important;
    debt(schedule, now, key, registration, importance).is_none()
        && pace(schedule, now, key, registration, importance) == Pace::SpokenFor
}

/// Stanzas that the device has received, or that a push has spoken for.
pub(super) fn add_pushed<S>(
    schedule: &mut Schedule<S>,
    now: Duration,
    key: DeviceKey,
    stanzas: impl IntoIterator<Item = Ids>,
) {
    if let Some(device) = schedule.devices.get_mut(key) {
        for ids in stanzas {
            device.pushed.add(ids);
        }
    }
    schedule.measure(now, key);
}

/// A stanza without an id is found again by its content, but only when it comes back from storage:
/// people do write the same thing twice.
pub(super) fn recognised_by(id: StanzaId, facts: &Facts) -> Ids {
    [Some(id), facts.content.filter(|_| facts.id.is_none())]
}

/// Why there is no push, if the device has been pushed for this, or will be.
fn known_as<S>(
    schedule: &mut Schedule<S>,
    key: DeviceKey,
    Met {
        facts, id, alias, ..
    }: Met<'_>,
) -> Option<Silence> {
    let device = schedule.devices.get_mut(key)?;
    let [_, content] = recognised_by(id, facts);
    let returned = content.filter(|_| facts.redelivered);
    let known = device.knows(id);
    let known = known.or_else(|| device.knows(returned?));
    if known.is_some() {
        return known;
    }
    let known = device.knows(alias?)?;
    device.pushed.add([Some(id), None]);
    Some(known)
}

/// Whether it corrects or takes back what the device has been told of, or will be.
fn is_amendment<S>(schedule: &Schedule<S>, key: DeviceKey, facts: &Facts) -> bool {
    let device = schedule.devices.get(key);
    let original = device.zip(facts.amends);
    original.is_some_and(|(device, original)| device.told.has_named(original))
}

/// The device is told of a stanza, now or by the push that it waits for.
fn tell<S>(schedule: &mut Schedule<S>, key: DeviceKey, Met { facts, id, .. }: Met<'_>) {
    if facts.importance >= Importance::Important
        && let Some(device) = schedule.devices.get_mut(key)
    {
        device.told.add(id, facts);
    }
}

/// What would become of an important stanza now, by rule (a) if the device hibernates.
pub(super) fn outlook<S>(
    schedule: &mut Schedule<S>,
    now: Duration,
    account: &Account<'_>,
    registration: &Registration<'_>,
) -> Reason {
    let seen = account.of(registration);
    if seen.is_live(registration.identifier) {
        return Reason::Silent(Silence::Online);
    }
    if let Some(silence) = registration.left_out {
        return Reason::Silent(silence);
    }
    let is_unacked = seen.is_hibernated(registration.identifier);
    let (user, importance) = (account.user, Importance::Important);
    let key = schedule.identities.device(user, registration.identifier);
    match hindrance(
        schedule,
        now,
        key,
        registration,
        user,
        importance,
        is_unacked,
    ) {
        None => Reason::Pushed,
        Some(Hindrance::SpokenFor) => Reason::Silent(Silence::SpokenFor),
        Some(Hindrance::Wait { cause, until, .. }) => Reason::Held { cause, until },
    }
}

/// What prevents a push now.
enum Hindrance {
    Wait {
        wait: Wait,
        cause: Cause,
        until: Option<Duration>,
    },
    SpokenFor,
}

fn hindrance<S>(
    schedule: &mut Schedule<S>,
    now: Duration,
    key: DeviceKey,
    registration: &Registration<'_>,
    user: &str,
    importance: Importance,
    is_unacked: bool,
) -> Option<Hindrance> {
    let wait = |(wait, cause): (Wait, Cause)| Hindrance::Wait {
        wait,
        cause,
        until: wait.until(),
    };
    if let Some((wait, cause)) = debt(schedule, now, key, registration, importance) {
        let owed = schedule.waiting(key).filter(|waiting| waiting.is_owed());
        let until = owed.map_or(wait.until(), Waiting::due);
        return Some(Hindrance::Wait { wait, cause, until });
    }
    if is_unacked {
        match pace(schedule, now, key, registration, importance) {
            Pace::Now => {}
            Pace::Later(due) => return Some(wait((Wait::Until(due), Cause::Window))),
            Pace::SpokenFor => return Some(Hindrance::SpokenFor),
        }
    }
    obstacle(schedule, now, key, registration, user, importance).map(wait)
}

/// What it waits for, whatever else there is: a device that is owed a push gets the next one when that is tried
/// again, and a suspended one with its trial. A call does not wait for the next attempt.
fn debt<S>(
    schedule: &Schedule<S>,
    now: Duration,
    key: DeviceKey,
    registration: &Registration<'_>,
    importance: Importance,
) -> Option<(Wait, Cause)> {
    let waiting = schedule.waiting(key);
    let is_patient = importance < Importance::Urgent || registration.suspended.is_some();
    if let Some(owed) = waiting.filter(|waiting| is_patient && waiting.is_owed()) {
        return Some((Wait::Until(now), owed.cause));
    }
    let pause = registration.suspended?;
    Some((Wait::Until(now + pause), Cause::Suspension))
}

/// The pace of rule (a).
fn pace<S>(
    schedule: &Schedule<S>,
    now: Duration,
    key: DeviceKey,
    registration: &Registration<'_>,
    importance: Importance,
) -> Pace {
    let window = schedule.options.coalesce_window;
    let device = schedule.devices.get(key);
    device.map_or(Pace::Now, |device| {
        device.pace(now, window, importance, registration.content)
    })
}

/// Keeps a stanza that has to wait.
pub(super) fn hold<S>(
    schedule: &mut Schedule<S>,
    now: Duration,
    ticket: &Ticket,
    stanza: Option<S>,
) {
    let Ticket {
        device: key,
        about,
        wait,
        cause,
        ..
    } = *ticket;
    let kept = stanza.and_then(|stanza| schedule.keeper.keep(stanza));
    if schedule.devices.get(key).is_none() {
        return; // Its registration has ended
    }
    if let Some(spoken_for) = schedule.take_standing_by(key) {
        // Should that push fail, the next one is for those, too.
        if let Until::Answer(id) = spoken_for.until
            && let Some(push) = schedule.in_flight.get_mut(id)
        {
            push.about.receiver = push.about.receiver.max(spoken_for.receiver());
        }
        if let Some(device) = schedule.devices.get_mut(key) {
            device.pushed.append(spoken_for.ids);
        }
    }
    // What waits for something that takes longer goes on waiting for it.
    let before = schedule.waiting(key);
    let goes_on = before.is_some_and(|waiting| waiting.cause >= cause);
    let new = || Waiting::new(now, Until::Time(now), cause);
    if let Some(waiting) = schedule.wait(key, new) {
        waiting.add(now, about, kept);
    }
    if !goes_on {
        let until = schedule.join(now, key, wait);
        schedule.set_until(now, key, until, cause);
    }
    schedule.measure(now, key);
}
