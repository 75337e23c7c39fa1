//! What comes back for a push, and what is owed after that.

use std::time::Duration;

use super::answer::{Answer, Fault, Outcome};
use super::device::Device;
use super::failing::Failing;
use super::identity::{DeviceName, PushId, ServiceKey};
use super::in_flight::{Attempt, InFlight};
use super::reason::Cause;
use super::schedule::Schedule;
use super::sending::nobody_was_woken;
use super::service::{Failure, Sign};
use super::service_state::ServiceChange;
use super::trail::Event;
use super::waiting::{Until, Waiting};

/// What an answer means for the registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The push.
    pub push: PushId,
    /// Whose device it is. None if its registration has ended meanwhile, or if the push was given up before: then
    /// the report is about the push service only.
    pub device: Option<DeviceName>,
    /// Permanent errors in a row.
    pub errors: u32,
    /// Those before this answer.
    pub errors_before: u32,
    /// What has become of the push.
    pub outcome: Outcome,
    /// What has become of the push service with this.
    pub service: Option<ServiceChange>,
    /// How long it took; none if no error has come, which means that it is taken.
    pub after: Option<Duration>,
    /// Whether the device is owed a push now.
    pub owed: bool,
    /// Whether it has spoken for something that waited.
    pub served: bool,
}

impl Report {
    /// The same for the witness. `condition` is that of the error, if there was one.
    pub(super) fn event(&self, condition: Option<&'static str>) -> Event {
        Event::Answered {
            outcome: self.outcome,
            condition,
            after: self.after,
            owed: self.owed,
        }
    }
}

/// Takes an answer to a push. `None` if it is none: not an id of ours, not awaited, or not from
/// the JID that was asked. `from` is normalised (RFC 7622).
pub(super) fn answered<S>(
    schedule: &mut Schedule<S>,
    now: Duration,
    id: &str,
    from: &str,
    answer: Answer<'_>,
) -> Option<Report> {
    let id = id.parse().ok()?;
    let service = schedule.identities.normalised_service(from);
    let Some(push) = schedule.in_flight.get(id) else {
        return answered_late(schedule, now, id, service, answer);
    };
    if push.service != service {
        return None;
    }
    take_answer(schedule, now, id, answer)
}

/// Takes the answer to a push that is under way, from the service that was asked.
pub(super) fn take_answer<S>(
    schedule: &mut Schedule<S>,
    now: Duration,
    id: PushId,
    answer: Answer<'_>,
) -> Option<Report> {
    let push = schedule.in_flight.get(id)?;
    let service = push.service;
    let fault = answer.fault();
    // Our own server says so at once.
    let latency = (fault != Some(Fault::Route)).then(|| now.saturating_sub(push.sent));
    let services = &mut schedule.services;
    services.answered(service, now, latency, answer.condition());
    if let Some(fault) = fault {
        return failed(schedule, now, id, fault);
    }
    settle(schedule, now, id, answer, Some(Sign::Settled))
}

/// A push has been taken, or refused for good. `sign` is that of its service.
pub(super) fn settle<S>(
    schedule: &mut Schedule<S>,
    now: Duration,
    id: PushId,
    answer: Answer<'_>,
    sign: Option<Sign>,
) -> Option<Report> {
    let push = schedule.take_in_flight(now, id)?;
    let service = push.service;
    let services = &mut schedule.services;
    let change = sign.and_then(|sign| services.alive(service, now, sign, &schedule.options));
    let is_answered = sign == Some(Sign::Settled);
    // That no error has come says nothing of what left later.
    let works_since = if is_answered { now } else { push.sent };
    schedule.drop_standing_by(id);
    let served = answer == Answer::Result
        && device_has_been_woken(schedule, now, push.attempt(id), works_since);
    if answer != Answer::Result {
        nobody_was_woken(schedule, id, &push);
    }
    let owed = is_owed(schedule, id);
    schedule.wake(service, now);
    let change = change.or_else(|| schedule.services.watch(service));
    let report = |errors, errors_before, outcome, device| Report {
        push: id,
        device,
        errors,
        errors_before,
        outcome,
        service: change,
        after: is_answered.then(|| now.saturating_sub(push.sent)),
        owed,
        served,
    };
    let max_errors = schedule.options.max_errors;
    let Some(device) = schedule.devices.get_mut(id.device) else {
        return Some(report(0, 0, Outcome::Delivered, None));
    };
    let errors_before = device.errors;
    device.failing.settle(works_since);
    // Since the push has left, the registration has been made anew: it says nothing of that.
    let is_old = push.generation != device.generation;
    let outcome = if answer == Answer::Result || is_old {
        device.errors = 0;
        if push.trial && !is_old {
            Outcome::Revived
        } else {
            Outcome::Delivered
        }
    } else {
        device.errors = device.errors.saturating_add(1);
        // Others that were under way when it was suspended are no trials.
        let is_last = push.trial || device.errors >= max_errors && !device.is_suspended();
        match (is_last, answer.is_final()) {
            (true, true) => Outcome::Removed,
            (true, false) => Outcome::Suspended,
            (false, _) => Outcome::Refused,
        }
    };
    let due = Some(device.name());
    Some(report(device.errors, errors_before, outcome, due))
}

/// A push that has been given up is answered after all: the device need not be woken again.
fn answered_late<S>(
    schedule: &mut Schedule<S>,
    now: Duration,
    id: PushId,
    service: ServiceKey,
    answer: Answer<'_>,
) -> Option<Report> {
    let device = schedule.devices.get_mut(id.device)?;
    let waiting = device.waiting.as_mut()?;
    let late = waiting.late.filter(|late| late.id == id)?;
    if late.service != service {
        return None;
    }
    if answer != Answer::Result {
        if !answer.is_sign_of_life() {
            return None;
        }
        // It has been given up, but whoever answers is alive.
        let change = schedule.alive(now, service, Sign::Heard)?;
        return Some(Report {
            push: id,
            device: None,
            errors: 0,
            errors_before: 0,
            outcome: Outcome::Failed,
            service: Some(change),
            after: Some(now.saturating_sub(late.sent)),
            owed: true,
            served: false,
        });
    }
    // What it was for is served; what came later waits on.
    waiting.settle_late();
    device.pushed.add(late.about.ids);
    device.told.sent(&late.about, 1);
    if let Until::Answer(second) = waiting.until
        && let Some(push) = schedule.in_flight.get_mut(second)
        && push.about.ids == late.about.ids
    {
        // The second one is for what came later, or for nothing any more.
        match waiting.take_most_important() {
            None => push.epoch = None,
            Some(later) => {
                device.pushed.add(later.about.ids);
                push.about = later.about;
                push.since = later.since;
                push.stanza = later.stanza.and_then(|stanza| schedule.keeper.keep(stanza));
            }
        }
    }
    // What waits may stand by for it no longer, when the registration has been suspended since.
    for other in &device.in_flight {
        if let Some(push) = schedule.in_flight.get_mut(*other)
            && late.about.ids[0].is_some()
            && push.about.ids == late.about.ids
        {
            push.epoch = None;
        }
    }
    let is_over = waiting.is_empty();
    device.failing = Failing::default();
    let errors_before = std::mem::take(&mut device.errors);
    let served = !is_over && device_has_been_woken(schedule, now, late, now);
    if is_over {
        schedule.drop_waiting(id.device);
    }
    let change = schedule.alive(now, service, Sign::Settled);
    Some(Report {
        push: id,
        device: schedule.devices.get(id.device).map(Device::name),
        errors: 0,
        errors_before,
        outcome: if late.trial {
            Outcome::Revived
        } else {
            Outcome::Delivered
        },
        service: change.or_else(|| schedule.services.watch(service)),
        after: Some(now.saturating_sub(late.sent)),
        owed: is_owed(schedule, id),
        served,
    })
}

/// A device that has just been woken is owed nothing that it learns of anyway, also of what is still under
/// way; what only another push would bring follows at once, unless one has failed since `works_since`. Whether anything
/// waited that it learns of.
fn device_has_been_woken<S>(
    schedule: &mut Schedule<S>,
    now: Duration,
    attempt: Attempt,
    works_since: Duration,
) -> bool {
    let key = attempt.id.device;
    let Some(device) = schedule.devices.get_mut(key) else {
        return false;
    };
    for other in &device.in_flight {
        if let Some(other) = schedule.in_flight.get_mut(*other)
            && attempt.speaks_for(other.sent, other.about.importance)
        {
            other.epoch = None;
        }
    }
    let Some(waiting) = &device.waiting else {
        return false;
    };
    if waiting.cause >= Cause::Debt && waiting.is_served_by(&attempt) {
        let has_waited = waiting.is_waiting();
        schedule.drop_waiting(key);
        return has_waited;
    }
    if waiting.is_owed() && works_since >= device.failing.at {
        schedule.set_until(now, key, Until::Time(now), Cause::Debt);
    }
    false
}

/// Whether the device of this push is owed one.
fn is_owed<S>(schedule: &Schedule<S>, id: PushId) -> bool {
    let waiting = schedule.waiting(id.device);
    waiting.is_some_and(|waiting| waiting.is_owed() && waiting.is_waiting())
}

/// A push was not taken, or not answered in time: the device is owed it.
pub(super) fn failed<S>(
    schedule: &mut Schedule<S>,
    now: Duration,
    id: PushId,
    fault: Fault,
) -> Option<Report> {
    let service = schedule.in_flight.get(id)?.service;
    if fault == Fault::Silence {
        let services = &mut schedule.services;
        services.answered(service, now, None, Some("no answer"));
    }
    let change = if fault == Fault::Device {
        schedule.alive(now, service, Sign::Heard)
    } else {
        service_failed(schedule, now, id, fault)
    };
    let push = schedule.take_in_flight(now, id)?;
    let after = Some(now.saturating_sub(push.sent));
    nobody_was_woken(schedule, id, &push);
    owe(schedule, now, id, push, fault);
    schedule.wake(service, now);
    let is_dead = schedule.services.is_dead(service, now);
    let device = schedule.devices.get(id.device);
    Some(Report {
        push: id,
        device: device.map(Device::name),
        errors: device.map_or(0, |device| device.errors),
        errors_before: device.map_or(0, |device| device.errors),
        outcome: if is_dead || device.is_some_and(|device| device.failing.is_dead(now)) {
            Outcome::Suspended
        } else {
            Outcome::Failed
        },
        service: change.or_else(|| schedule.services.watch(service)),
        after,
        owed: is_owed(schedule, id),
        served: false,
    })
}

fn owe<S>(schedule: &mut Schedule<S>, now: Duration, id: PushId, push: InFlight<S>, fault: Fault) {
    let retry_age = schedule.options.retry_age;
    let Some(device) = schedule.devices.get_mut(id.device) else {
        return;
    };
    // It is back, and has received all.
    if push.epoch.is_some_and(|epoch| epoch != device.epoch) {
        return schedule.drop_standing_by(id);
    }
    if push.epoch.is_some() && push.is_owed() {
        device.told.owe(&push.about, push.stanza.is_some());
        device.failing.fail(now, push.sent, retry_age);
        device.pushed.remove(push.about.ids);
        let new = || Waiting::new(push.since, Until::Answer(id), Cause::Debt);
        let attempt = push.attempt(id);
        if let Some(waiting) = schedule.wait(id.device, new) {
            waiting.give_up(push.since, attempt, push.stanza);
        }
    } else if !device
        .waiting
        .as_ref()
        .is_some_and(|one| one.is_standing_by_for(id) && !one.is_empty())
    {
        return schedule.drop_standing_by(id);
    }
    let until = schedule.join_queue(now, push.service, id.device, fault);
    let cause = if push.trial {
        Cause::Suspension
    } else {
        Cause::Debt
    };
    schedule.set_until(now, id.device, until, cause);
    schedule.measure(now, id.device);
}

fn service_failed<S>(
    schedule: &mut Schedule<S>,
    now: Duration,
    id: PushId,
    fault: Fault,
) -> Option<ServiceChange> {
    let jitter = schedule.identities.jitter();
    let push = schedule.in_flight.get(id)?;
    let failure = Failure {
        push: id,
        user: push.user,
        sent: push.sent,
        fault,
        row: push.row(),
    };
    let options = &schedule.options;
    schedule
        .services
        .failed(push.service, now, failure, options, |attempt| {
            options.backoff(attempt, jitter)
        })
}
