//! What happens to a registration: its device is back, it is enabled, suspended, or ends.

use std::time::Duration;

use super::about::About;
use super::failing::Failing;
use super::identity::DeviceKey;
use super::reason::Cause;
use super::schedule::Schedule;
use super::told::Told;
use super::waiting::{Until, Waiting};
use crate::stanza::Importance;

/// The device is back: what waited for it has been received, and need not be pushed any more. Whether anything has.
pub(super) fn back<S>(schedule: &mut Schedule<S>, user: &str, identifier: &str) -> bool {
    let key = schedule.identities.device(user, identifier);
    schedule.take_wake(key);
    let epoch = schedule.identities.next_number();
    let Some(device) = schedule.devices.get_mut(key) else {
        return false;
    };
    device.spoke = None;
    device.failing = Failing::default();
    device.epoch = epoch;
    device.told = Told::default();
    let has_waited = device.held().is_some_and(|one| !one.is_mere_trial());
    schedule.drop_waiting(key);
    has_waited
}

/// The registration was enabled, perhaps again: its errors are forgiven, and its device is there.
pub(super) fn enabled<S>(schedule: &mut Schedule<S>, user: &str, identifier: &str) -> bool {
    let has_waited = back(schedule, user, identifier);
    let key = schedule.identities.device(user, identifier);
    let generation = schedule.identities.next_number();
    if let Some(device) = schedule.devices.get_mut(key) {
        device.errors = 0;
        device.generation = generation;
    }
    has_waited
}

/// The registration is suspended: nothing is pushed to it for `wait`, then what has come meanwhile
/// is its trial.
pub(super) fn suspend<S>(
    schedule: &mut Schedule<S>,
    now: Duration,
    user: &str,
    identifier: &str,
    wait: Duration,
) {
    let key = schedule.identities.device(user, identifier);
    schedule.take_wake(key);
    schedule.device(now, key, user, identifier);
    let until = Until::Time(now + wait);
    schedule.wait(key, || {
        let mut waiting = Waiting::new(now, until, Cause::Suspension);
        waiting.add(now, About::nothing(Importance::Unimportant), None);
        waiting
    });
    schedule.set_until(now, key, until, Cause::Suspension);
    schedule.measure(now, key);
}

/// The registration has ended.
pub(super) fn forget<S>(schedule: &mut Schedule<S>, now: Duration, user: &str, identifier: &str) {
    let key = schedule.identities.device(user, identifier);
    schedule.take_wake(key);
    schedule.forget(now, key);
}

/// The user's account has.
pub(super) fn forget_user<S>(schedule: &mut Schedule<S>, now: Duration, user: &str) {
    let devices = schedule.devices.iter();
    let own: Vec<DeviceKey> = devices
        .filter_map(|(key, device)| (&*device.user == user).then_some(key))
        .collect();
    for key in own {
        schedule.forget(now, key);
    }
    for key in schedule.wakes_of(user) {
        schedule.take_wake(key);
    }
    let owner = schedule.identities.user(user);
    schedule.devices.forget_former(owner);
}
