//! Deadlines that have passed.

use std::time::Duration;

use super::answer::Outcome;
use super::delivery::Report;
use super::identity::DeviceName;
use super::release::turn;
use super::schedule::Schedule;
use super::taken::unanswered;
use super::timers::Timer;

/// How many deadlines are served at once. Those that have passed as well follow after whatever else there is to do:
/// many pushes may have left for a silent service in one moment.
pub(super) const MAX_SERVED: usize = 4096;

/// What [`Engine::expire`](super::Engine::expire) found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Devices that have stanzas waiting which are due.
    pub due: Vec<DeviceName>,
    /// What has become of pushes that were not answered in time: where errors alone are answered, they are taken.
    pub unanswered: Vec<Report>,
    /// Devices that wait for a push service that nobody could reach for thirty days: their
    /// registrations are to be suspended.
    pub given_up: Vec<DeviceName>,
    /// Devices with a hibernated session that is about to end, unless it has ended already.
    pub ending: Vec<DeviceName>,
}

/// Serves the deadlines up to `now`; if there are very many, the first of them.
pub(super) fn expire<S>(schedule: &mut Schedule<S>, now: Duration) -> Expired {
    let mut expired = Expired::default();
    for _ in 0..MAX_SERVED {
        let Some(timer) = schedule.pop_timer(now) else {
            break;
        };
        match timer {
            Timer::Answer(id) => {
                expired.unanswered.extend(unanswered(schedule, now, id));
            }
            Timer::Waiting(key) => {
                let waiting = schedule.waiting(key);
                if waiting.is_some_and(|waiting| waiting.is_due(now)) {
                    expired.due.extend(turn(schedule, now, key));
                }
            }
            Timer::Probe(service) => {
                if let Some(key) = schedule.services.take_probe(service, now) {
                    expired.due.extend(turn(schedule, now, key));
                }
            }
            Timer::Helping(service) => {
                let is_dead = schedule.services.is_dead(service, now);
                for key in schedule
                    .services
                    .take_helping(service, now, &schedule.options)
                {
                    if let Some(device) = schedule.devices.get_mut(key) {
                        device.failing.released = true;
                    }
                    let due = turn(schedule, now, key);
                    if is_dead {
                        expired.given_up.extend(due);
                    } else {
                        expired.due.extend(due);
                    }
                }
                schedule.wake(service, now);
            }
            Timer::Wake(key) => expired.ending.extend(schedule.take_wake(key)),
        }
    }
    let Expired {
        unanswered,
        given_up,
        ..
    } = &mut expired;
    // A timeout has said so of some already.
    given_up.retain(|due| {
        !unanswered.iter().any(|report| {
            report.outcome == Outcome::Suspended && report.device.as_ref() == Some(due)
        })
    });
    expired
}
