//! What outlives a restart: what devices are owed, and which push services fail.

use std::time::Duration;

use super::about::About;
use super::answer::Fault;
use super::device::Device;
use super::failing::Failing;
use super::identity::{DeviceKey, DeviceName};
use super::reason::Cause;
use super::registering;
use super::schedule::Schedule;
use super::service_state::FailingService;
use super::suspension;
use super::taken;
use super::waiting::{Until, Waiting};
use crate::stanza::Importance;

/// What a device is owed, to outlive the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// Whose device it is.
    pub device: DeviceName,
    /// Its push service, if that is known.
    pub service: Option<Box<str>>,
    /// How much the most important stanza matters.
    pub importance: Importance,
    /// Time since the last one came.
    pub age: Duration,
    /// Time until the next attempt.
    pub due_in: Duration,
    /// Transient failures in a row.
    pub failures: u32,
    /// Time since the first of them.
    pub failing_for: Duration,
    /// Whether the registration is suspended.
    pub suspended: bool,
}

/// What all devices are owed, and the push services that are failing, for how long. What has been
/// sent and is not answered is among it, unless the answer could only be an error: nobody will be there to take it.
pub(super) fn owed<S>(schedule: &Schedule<S>, now: Duration) -> (Vec<Owed>, Vec<FailingService>) {
    let owed = |(key, device): (DeviceKey, &Device<S>)| {
        let waiting = taken::owed_at_end(schedule, device);
        let unanswered = unanswered(schedule, device);
        let importance = waiting.and_then(Waiting::importance_untold);
        let importance = importance.max(unanswered.map(|(importance, _)| importance))?;
        let latest = waiting.map(|one| one.latest);
        let latest = latest.max(unanswered.map(|(_, since)| since))?;
        let due_in = match waiting.map(|one| one.until) {
            Some(Until::Time(due)) => due.saturating_sub(now),
            Some(Until::Service { retry, .. }) => {
                retry.map_or(Duration::ZERO, |retry| retry.saturating_sub(now))
            }
            Some(Until::Turn { .. } | Until::Room) => Duration::ZERO,
            Some(Until::Answer(_)) | None => schedule.options.retry_min,
        };
        let service = device.service.and_then(|key| schedule.services.jid(key));
        Some((
            key,
            Owed {
                device: device.name(),
                service: service.map(Into::into),
                importance,
                age: now.saturating_sub(latest),
                due_in,
                failures: device.failing.attempts,
                failing_for: now.saturating_sub(device.failing.since),
                suspended: waiting.is_some_and(|one| one.cause == Cause::Suspension),
            },
        ))
    };
    let mut devices: Vec<_> = schedule.devices.iter().filter_map(owed).collect();
    devices.sort_by_key(|(key, owed)| (owed.due_in, *key));
    let devices = devices.into_iter().map(|(_, owed)| owed).collect();
    (devices, schedule.services.failing(now))
}

/// How much that matters which was sent to a device and is not answered, and when it came.
fn unanswered<S>(schedule: &Schedule<S>, device: &Device<S>) -> Option<(Importance, Duration)> {
    let pushes = device
        .in_flight
        .iter()
        .filter_map(|id| schedule.in_flight.get(*id));
    pushes
        .filter(|push| !push.is_silent() && push.epoch == Some(device.epoch) && push.is_owed())
        .map(|push| (push.about.importance_untold(), push.since))
        .reduce(|one, other| (one.0.max(other.0), one.1.max(other.1)))
}

/// A device was owed this before a restart. `place` is its place among the others: not all of
/// them shall go out at once. Whether it still is.
pub(super) fn restore<S>(
    schedule: &mut Schedule<S>,
    now: Duration,
    owed: &Owed,
    place: usize,
) -> bool {
    let DeviceName { user, identifier } = &owed.device;
    let key = schedule.identities.device(user, identifier);
    if owed.age > schedule.options.retry_age && !owed.suspended {
        return false;
    }
    let turn = u32::try_from(place).unwrap_or(u32::MAX) / schedule.options.recovery_rate.max(1);
    let (cause, longest) = if owed.suspended {
        (Cause::Suspension, suspension::LONGEST)
    } else {
        (Cause::Debt, schedule.options.retry_max)
    };
    let due_in = owed.due_in.min(longest);
    let due = now + due_in.max(Duration::from_secs(turn.into()));
    let device = schedule.device(now, key, user, identifier);
    if device.waiting.is_some() {
        return false;
    }
    if owed.importance >= Importance::Important {
        device.told.add_other();
    }
    device.failing = Failing {
        attempts: owed.failures,
        since: now.saturating_sub(owed.failing_for),
        at: now,
        ..Failing::default()
    };
    let came = now.saturating_sub(owed.age);
    schedule.wait(key, || {
        let mut waiting = Waiting::new(came, Until::Time(due), cause);
        waiting.add(came, About::nothing(owed.importance), None);
        waiting
    });
    let mut until = Until::Time(due);
    // Of those that an older version has stored the identifiers say it.
    let jid = owed.service.as_deref();
    let jid = jid.or_else(|| registering::service_of(identifier));
    if let Some(jid) = jid.filter(|_| !owed.suspended) {
        let service = schedule.identities.service(jid);
        schedule.services.remember(service, jid);
        until = match schedule.join_queue(now, service, key, Fault::Route) {
            Until::Service { service, place, .. } => Until::Service {
                service,
                place,
                retry: Some(due),
            },
            _ => until,
        };
    }
    schedule.set_until(now, key, until, cause);
    schedule.measure(now, key);
    if let Until::Service { service, .. } = until {
        // The caller asks who is waited for once it has restored everything.
        schedule.services.watch(service);
    }
    true
}

/// A push service was failing before a restart.
pub(super) fn restore_service<S>(
    schedule: &mut Schedule<S>,
    now: Duration,
    failing: &FailingService,
) {
    let key = schedule.identities.service(&failing.jid);
    schedule.services.restore(key, failing, now);
}
