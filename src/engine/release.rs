//! What waited for a device goes out when it is its turn.

use std::time::Duration;

use super::account::{Account, Registration};
use super::device::Device;
use super::identity::{DeviceKey, DeviceName, PushId};
use super::reason::{Cause, Reason, Silence};
use super::schedule::Schedule;
use super::sending::{nobody_was_woken, obstacle, send};
use super::waiting::{Chosen, Until, Waiting};
use crate::stanza::Importance;

/// A device whose registration cannot be read tries again after as long as one that failed so often.
const POSTPONED: u32 = 4;

/// When a device has another turn that nobody has taken.
const ANOTHER_TURN: Duration = Duration::from_secs(1);

/// A push that waited and is to be published now.
#[derive(Debug, PartialEq, Eq)]
pub struct Released<S> {
    /// Its id.
    pub id: PushId,
    /// The stanza that it is for, if there is one and it is still known.
    pub stanza: Option<S>,
    /// How much that matters.
    pub importance: Importance,
}

/// It is this device's turn.
pub(super) fn turn<S>(
    schedule: &mut Schedule<S>,
    now: Duration,
    key: DeviceKey,
) -> Option<DeviceName> {
    let waiting = schedule.waiting(key)?;
    let (until, cause) = (waiting.until, waiting.cause);
    let service = match until {
        Until::Service { service, .. } => Some(service),
        Until::Turn { service, .. } => service,
        Until::Time(_) | Until::Answer(_) | Until::Room => None,
    };
    schedule.pass_turn(now, until);
    let again = now + ANOTHER_TURN;
    schedule.set_until(now, key, Until::Turn { service, again }, cause);
    schedule.devices.get(key).map(Device::name)
}

/// What has become of what waited for a device whose turn it was.
pub(super) type Turned<S> = Result<Released<S>, Option<Reason>>;

/// Publishes what waited for a device, unless it has come back meanwhile or another push has spoken for it: then
/// the error says so.
pub(super) fn release<S>(
    schedule: &mut Schedule<S>,
    now: Duration,
    account: &Account<'_>,
    registration: &Registration<'_>,
) -> Turned<S> {
    let identities = &schedule.identities;
    let key = identities.device(account.user, registration.identifier);
    let service = identities.service(registration.jid);
    let turned = match decide(schedule, now, account, registration, key) {
        Some(Fate::Push) => push(schedule, now, account.user, registration, key).ok_or(None),
        Some(Fate::Wait(until, cause)) => {
            schedule.set_until(now, key, until, cause);
            let until = schedule.waiting(key).and_then(Waiting::due);
            Err(Some(Reason::Held { cause, until }))
        }
        Some(Fate::Drop(silence)) => {
            schedule.drop_waiting(key);
            Err(Some(Reason::Silent(silence)))
        }
        // It gets the stanzas by its session; should that die before, they are met again.
        Some(Fate::Forget) => {
            schedule.leave_waiting(key);
            Err(Some(Reason::Silent(Silence::Returned)))
        }
        None => Err(None),
    };
    // It may have been this device's turn to probe the service.
    schedule.end_turn(now, service);
    turned
}

/// What becomes of what waits for a device whose turn it is.
enum Fate {
    Push,
    Wait(Until, Cause),
    /// It need not be pushed any more.
    Drop(Silence),
    /// It need not be pushed now.
    Forget,
}

fn decide<S>(
    schedule: &mut Schedule<S>,
    now: Duration,
    account: &Account<'_>,
    registration: &Registration<'_>,
    key: DeviceKey,
) -> Option<Fate> {
    let device = schedule.devices.get_mut(key)?;
    let waiting = device
        .waiting
        .as_mut()
        .filter(|waiting| waiting.is_due(now))?;
    waiting.end_old_calls(now);
    let waiting = device.waiting.as_ref()?;
    let cause = waiting.cause;
    if waiting
        .receiver()
        .is_there(account, registration.identifier)
    {
        return Some(Fate::Forget);
    }
    let is_too_old = is_too_old(waiting, now, schedule.options.retry_age);
    // A push cannot speak for content that only another one would bring.
    let is_spoken_for = cause == Cause::Window
        && device.spoke_since(waiting.since)
        && !(registration.content && waiting.is_important());
    if is_too_old {
        return Some(Fate::Drop(Silence::TooOld));
    }
    if is_spoken_for {
        return Some(Fate::Drop(Silence::Served));
    }
    if let Some(wait) = registration.suspended {
        // One trial at a time.
        let is_under_way = !device.in_flight.is_empty();
        if is_under_way || !wait.is_zero() {
            let wait = wait.max(schedule.options.retry_min);
            return Some(Fate::Wait(Until::Time(now + wait), Cause::Suspension));
        }
    }
    let Some(importance) = waiting.next_importance() else {
        return Some(Fate::Drop(Silence::Served));
    };
    let Some((wait, obstacle)) =
        obstacle(schedule, now, key, registration, account.user, importance)
    else {
        return Some(Fate::Push);
    };
    let until = schedule.join(now, key, wait);
    Some(Fate::Wait(until, cause.max(obstacle)))
}

/// Whether a device is not owed any more what waits for it.
fn is_too_old<S>(waiting: &Waiting<S>, now: Duration, retry_age: Duration) -> bool {
    waiting.cause == Cause::Debt && now > waiting.latest + retry_age
}

fn push<S>(
    schedule: &mut Schedule<S>,
    now: Duration,
    user: &str,
    registration: &Registration<'_>,
    key: DeviceKey,
) -> Option<Released<S>> {
    let mut waiting = schedule.leave_waiting(key)?;
    let Chosen {
        stanza,
        about,
        since,
    } = waiting.take_most_important()?;
    let id = send(schedule, now, key, registration, user, about, since);
    schedule.stand_by(id, waiting);
    Some(Released {
        id,
        stanza,
        importance: about.importance,
    })
}

/// A device's turn has come, but its registration cannot be read: not yet, until it is too old.
pub(super) fn postpone<S>(schedule: &mut Schedule<S>, now: Duration, user: &str, identifier: &str) {
    let key = schedule.identities.device(user, identifier);
    // The store may be away for long, and all who are owed something read it.
    let until = Until::Time(now + schedule.backoff(POSTPONED));
    let waiting = schedule.waiting(key);
    if let Some(waiting) = waiting.filter(|waiting| waiting.is_due(now)) {
        let (cause, before) = (waiting.cause, waiting.until);
        if is_too_old(waiting, now, schedule.options.retry_age) {
            schedule.drop_waiting(key);
        } else {
            schedule.set_until(now, key, until, cause);
        }
        schedule.pass_turn(now, before);
    } else {
        // It may have had a turn, and is back since.
        let device = schedule.devices.get(key);
        if let Some(service) = device.and_then(|device| device.service) {
            schedule.end_turn(now, service);
        }
    }
}

/// A listener has vetoed a push: it never left, and speaks for nothing.
pub(super) fn vetoed<S>(schedule: &mut Schedule<S>, now: Duration, id: PushId) {
    let Some(push) = schedule.take_in_flight(now, id) else {
        return;
    };
    nobody_was_woken(schedule, id, &push);
    schedule.wake(push.service, now);
    let Some(device) = schedule.devices.get_mut(id.device) else {
        return;
    };
    device.meter.refund();
    if let Some(id) = push.about.ids[0] {
        device.told.forget(id);
    }
    let waiting = schedule.waiting(id.device);
    let Some(waiting) = waiting.filter(|waiting| waiting.is_standing_by_for(id)) else {
        return;
    };
    // The next candidate has its turn. Without one, the rest may be met again.
    if waiting.is_empty() {
        schedule.leave_waiting(id.device);
    } else {
        let cause = waiting.cause;
        schedule.set_until(now, id.device, Until::Time(now), cause);
    }
}
