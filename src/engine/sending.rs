//! Whether a push may leave for a device now, and its leaving.

use std::time::Duration;

use super::about::About;
use super::account::Registration;
use super::decision::Wait;
use super::device::Spoke;
use super::identity::{DeviceKey, PushId};
use super::in_flight::InFlight;
use super::reason::Cause;
use super::schedule::Schedule;
use crate::stanza::{Call, Importance};

/// What prevents that a push leaves for a device now, whatever it is for.
pub(super) fn obstacle<S>(
    schedule: &mut Schedule<S>,
    now: Duration,
    key: DeviceKey,
    registration: &Registration<'_>,
    user: &str,
    importance: Importance,
) -> Option<(Wait, Cause)> {
    let Schedule {
        options,
        identities,
        devices,
        in_flight,
        services,
        ..
    } = schedule;
    let service = identities.service(registration.jid);
    let is_call = importance == Importance::Urgent;
    let device = devices.get_mut(key)?;
    // Nothing that others have met with keeps a device from being pushed to.
    let at_once = is_call || device.failing.attempts == 0;
    if !services.admits(service, now, at_once) {
        return Some((Wait::SignOfLife(service), Cause::Debt));
    }
    // What no error comes for is taken: no other push waits for that.
    if registration.client.is_none() && !device.in_flight.is_empty() {
        let has_room = in_flight.has_room(identities.user(user), is_call, false)
            && (is_call || services.awaited_from(service) < options.max_in_flight);
        if !has_room {
            return Some((Wait::Room, Cause::Room));
        }
    }
    let due = device.meter.wait(now, options.max_per_minute, importance)?;
    Some((Wait::Until(due), Cause::Rate))
}

/// A push leaves for a device; its answer is awaited. `since` is when that came which it is for.
pub(super) fn send<S>(
    schedule: &mut Schedule<S>,
    now: Duration,
    key: DeviceKey,
    registration: &Registration<'_>,
    user: &str,
    about: About,
    since: Duration,
) -> PushId {
    let id = loop {
        let id = schedule.identities.push(key);
        if !schedule.in_flight.contains(id) {
            break id;
        }
    };
    let service = schedule.identities.service(registration.jid);
    let mut client = None;
    if let Some(text) = registration.client {
        make_room(schedule, now, key, user, about.importance);
        let identities = &mut schedule.identities;
        client = Some((identities.client(service, text), identities.next_number()));
    }
    let mut push = InFlight {
        service,
        user: schedule.identities.user(user),
        epoch: None,
        generation: 0,
        since,
        sent: now,
        deadline: now + schedule.options.answer_timeout,
        count: 1,
        content: registration.is_telling(about.importance),
        trial: registration.suspended.is_some(),
        client,
        after: 0,
        is_over: false,
        about,
        stanza: None,
    };
    let is_limited = schedule.options.max_per_minute > 0;
    if let Some(device) = schedule.devices.get_mut(key) {
        device.service = Some(service);
        device.in_flight.push(id);
        device.was_woken = true;
        device.pushed.add(about.ids);
        if is_limited {
            device.meter.spend(now);
        }
        push.count = device
            .told
            .count(schedule.options.counting, about.importance);
        device.told.sent(&about, push.count);
        if let Some(call @ Call::Begins(_)) = about.call
            && registration.calls
            && about.importance == Importance::Urgent
        {
            device.calls.add(now, call, id);
        }
        push.epoch = Some(device.epoch);
        push.generation = device.generation;
    }
    schedule.add_in_flight(id, push, registration.jid);
    id
}

/// No error is awaited any more for the first push of a device whose service answers errors alone, if there are too many.
fn make_room<S>(
    schedule: &mut Schedule<S>,
    now: Duration,
    key: DeviceKey,
    user: &str,
    importance: Importance,
) {
    let owner = schedule.identities.user(user);
    let is_call = importance == Importance::Urgent;
    if schedule.in_flight.has_room(owner, is_call, true) {
        return;
    }
    let is_awaited = |id: &&PushId| {
        let push = schedule.in_flight.get(**id);
        push.is_some_and(|push| !push.is_over)
    };
    let device = schedule.devices.get(key);
    let first = device.and_then(|device| device.in_flight.iter().find(is_awaited));
    if let Some(&first) = first {
        schedule.hasten(now, first);
    }
}

/// A push speaks for what follows it shortly after.
pub(super) fn speak<S>(schedule: &mut Schedule<S>, now: Duration, id: PushId) {
    let until = now + schedule.options.coalesce_window;
    if let Some(device) = schedule.devices.get_mut(id.device) {
        device.spoke = Some(Spoke {
            at: now,
            until,
            by: id,
        });
    }
}

/// A push has not been taken: it does not speak for what follows, nothing rings, and nothing has been told.
pub(super) fn nobody_was_woken<S>(schedule: &mut Schedule<S>, id: PushId, push: &InFlight<S>) {
    if let Some(device) = schedule.devices.get_mut(id.device) {
        device.spoke.take_if(|spoke| spoke.by == id);
        device.calls.remove(id);
        if push.epoch == Some(device.epoch) {
            device.told.not_taken(&push.about, push.count);
        }
    }
}
