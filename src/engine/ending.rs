//! A call ends.

use std::time::Duration;

use super::about::About;
use super::account::{Account, Registration};
use super::identity::DeviceKey;
use super::reason::{Rule, Silence};
use super::rules;
use super::schedule::Schedule;
use crate::stanza::{Call, Importance};

/// What is to be done for a device about a stanza that ends a call, besides what is done about others: what is owed
/// does not ring any more; and if the device rings for it, it is told, once, or there is a reason why not.
pub(super) fn end_call<S>(
    schedule: &mut Schedule<S>,
    now: Duration,
    rule: Rule,
    account: &Account<'_>,
    registration: &Registration<'_>,
    about: About,
) -> Option<Result<About, Silence>> {
    let end = about.call.filter(|call| call.is_end())?;
    let identifier = registration.identifier;
    let key = schedule.identities.device(account.user, identifier);
    miss_calls(schedule, key, end);
    let device = schedule.devices.get_mut(key)?;
    if !device.calls.ring(now, end)? {
        return Some(Err(Silence::AlreadyPushed));
    }
    device.calls.end(end);
    let silence = rules::silence_of_end(rule, &account.of(registration), identifier);
    Some(match silence.or(registration.left_out) {
        Some(silence) => Err(silence),
        None => Ok(About {
            importance: Importance::Urgent,
            ..about
        }),
    })
}

/// What is owed is reconsidered by what comes after it: a call that is over does not ring.
fn miss_calls<S>(schedule: &mut Schedule<S>, key: DeviceKey, end: Call) {
    let Some(device) = schedule.devices.get_mut(key) else {
        return;
    };
    device.told.end_call(end);
    if let Some(waiting) = &mut device.waiting {
        waiting.end_call(end);
    }
    for id in &device.in_flight {
        if let Some(push) = schedule.in_flight.get_mut(*id)
            && push.about.end_call(end)
        {
            push.stanza = None;
        }
    }
}
