//! The user has read something on another device: one that was told of it need not show it any more.

use std::time::Duration;

use super::about::About;
use super::account::{Account, Registration};
use super::face::Engine;
use super::identity::{DeviceKey, PushId};
use super::pings::ping;
use super::reason::{Cause, Occasion, Reason};
use super::schedule::Schedule;
use super::trail::Event;
use super::waiting::Waiting;
use crate::stanza::{Importance, Read};

impl<S> Engine<S> {
    /// The user has read something on another device, or fetched it. If nothing is unread any more of what this one
    /// was told of, and its client has `asked` to know that, it is told once: the push that does that, unless it has
    /// to wait.
    pub fn displayed(
        &mut self,
        now: Duration,
        account: &Account<'_>,
        registration: usize,
        read: Read,
        asked: bool,
    ) -> Option<PushId> {
        let registration = &account.registrations[registration];
        let Reading { is_dropped, push } =
            displayed(&mut self.schedule, now, account, registration, read, asked);
        let (user, identifier) = (account.user, registration.identifier);
        if is_dropped {
            self.witness.add(now, user, identifier, Event::READ);
        }
        let push = push?;
        let reason = push.err().unwrap_or(Reason::Pushed);
        self.witness.add(now, user, identifier, Event::Read(reason));
        push.ok()
    }

    /// How many messages a push under way tells of; 0 if there is nothing unread any more.
    pub fn count(&self, id: PushId) -> u32 {
        self.schedule.in_flight.get(id).map_or(1, |push| push.count)
    }
}

/// What comes of it for a device.
struct Reading {
    /// What waited has been read.
    is_dropped: bool,
    /// The push that tells the device that all is read, or why there is none yet. Nothing if there need not be one.
    push: Option<Result<PushId, Reason>>,
}

/// The user has read something. `asked`: the client wants to be told once all is read.
fn displayed<S>(
    schedule: &mut Schedule<S>,
    now: Duration,
    account: &Account<'_>,
    registration: &Registration<'_>,
    read: Read,
    asked: bool,
) -> Reading {
    let key = schedule
        .identities
        .device(account.user, registration.identifier);
    let is_dropped = clear(schedule, now, key, read);
    let mut reading = Reading {
        is_dropped,
        push: None,
    };
    let seen = account.of(registration);
    let is_away = registration.suspended.is_none() && !seen.is_live(registration.identifier);
    let Some(device) = schedule.devices.get_mut(key) else {
        return reading;
    };
    device.told.is_asked = asked;
    // The next push says so, whatever it is for.
    if device.told.is_stale() && is_away && device.held().is_none() {
        reading.push = Some(ping(schedule, now, account, registration, Occasion::Asked));
    }
    reading
}

/// Whether anything has waited, and need not be pushed any more.
fn clear<S>(schedule: &mut Schedule<S>, now: Duration, key: DeviceKey, read: Read) -> bool {
    let Some(device) = schedule.devices.get_mut(key) else {
        return false;
    };
    let told = &mut device.told;
    let held = device.waiting.as_ref().filter(|one| one.is_waiting());
    let is_held = |id| held.is_some_and(|one| one.ids.contains(id));
    let others_wait = held.is_some_and(Waiting::has_news);
    let was_unread = told.has_any();
    told.read(read, is_held, others_wait);
    // What another client has fetched is not known any more, and need not have been seen: its push may be under way.
    let is_seen = matches!(read, Read::UpTo(..));
    let is_idle = device.in_flight.is_empty() && device.waiting.is_none();
    told.was_fetched = !is_idle && (told.was_fetched || !is_seen);
    // Pushes that have failed are merged: as long as anything is unread, each of them may be for it.
    if told.was_fetched || !is_seen || !was_unread || told.has_any() {
        return false;
    }
    for id in &device.in_flight {
        if let Some(push) = schedule.in_flight.get_mut(*id)
            && push.about.is_news()
        {
            push.epoch = None;
            push.stanza = None;
            device.spoke.take_if(|spoke| spoke.by == *id);
        }
    }
    let Some(waiting) = device.waiting.as_mut().filter(|one| one.has_news()) else {
        return false;
    };
    let has_waited = waiting.is_waiting();
    waiting.was_read();
    if !waiting.is_empty() {
        return false;
    }
    if waiting.cause == Cause::Suspension {
        waiting.add(now, About::nothing(Importance::Unimportant), None);
        return false;
    }
    schedule.drop_waiting(key);
    has_waited
}
