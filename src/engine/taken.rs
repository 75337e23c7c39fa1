//! Push services that answer errors alone: a push that no error comes for has been taken.

use std::collections::HashSet;
use std::time::Duration;

use super::answer::{Answer, Fault};
use super::delivery::{Report, failed, settle, take_answer};
use super::device::Device;
use super::identity::PushId;
use super::in_flight::InFlight;
use super::reason::Cause;
use super::schedule::Schedule;
use super::service::Sign;
use super::waiting::Waiting;

/// Takes an error that does not say which push it answers: the last one under way to `client`, as `from` knows it.
/// `None` if there is none.
pub(super) fn answered_without_id<S>(
    schedule: &mut Schedule<S>,
    now: Duration,
    from: &str,
    client: &str,
    answer: Answer<'_>,
) -> Option<Report> {
    let service = schedule.identities.normalised_service(from);
    let client = schedule.identities.client(service, client);
    let id = schedule.in_flight.newest_for(client)?;
    take_answer(schedule, now, id, answer)
}

/// No answer has come to a push in time.
pub(super) fn unanswered<S>(
    schedule: &mut Schedule<S>,
    now: Duration,
    id: PushId,
) -> Option<Report> {
    let push = schedule.in_flight.get(id)?;
    if push.is_silent() {
        let is_probe = schedule.services.is_probed_by(push.service, id);
        let sign = if is_probe {
            Sign::UnopposedProbe(push.sent)
        } else {
            Sign::Unopposed(push.sent)
        };
        settle(schedule, now, id, Answer::Result, Some(sign))
    } else {
        failed(schedule, now, id, Fault::Silence)
    }
}

/// The connection of a component has ended: what it has not answered will not be answered.
pub(super) fn disconnected<S>(
    schedule: &mut Schedule<S>,
    now: Duration,
    host: &str,
) -> Vec<Report> {
    let there: HashSet<_> = schedule.services.at_host(host).into_iter().collect();
    if there.is_empty() {
        return Vec::new();
    }
    let is_there = |push: &InFlight<S>| there.contains(&push.service);
    let mut lost: Vec<_> = schedule
        .in_flight
        .iter()
        .filter(|(_, push)| is_there(push))
        .map(|(id, push)| (push.sent, id))
        .collect();
    lost.sort_unstable();
    lost.into_iter()
        .filter_map(|(_, id)| {
            let push = schedule.in_flight.get(id)?;
            if push.is_silent() {
                return settle(schedule, now, id, Answer::Result, None);
            }
            let condition = Some("remote-server-timeout");
            let services = &mut schedule.services;
            services.answered(push.service, now, None, condition);
            failed(schedule, now, id, Fault::Route)
        })
        .collect()
}

/// What a device is owed if nothing answers any more: what waits, unless a push that no error has come for brings it.
pub(super) fn owed_at_end<'a, S>(
    schedule: &Schedule<S>,
    device: &'a Device<S>,
) -> Option<&'a Waiting<S>> {
    let waiting = device.waiting.as_ref()?;
    let is_brought = |id: &PushId| {
        let push = schedule.in_flight.get(*id).filter(|push| push.is_silent());
        push.is_some_and(|push| {
            waiting.is_standing_by_for(*id)
                || waiting.cause >= Cause::Debt && waiting.is_served_by(&push.attempt(*id))
        })
    };
    (!device.in_flight.iter().any(is_brought)).then_some(waiting)
}
