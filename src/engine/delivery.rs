//! Pushes under way, what comes back, and what is tried again.

use std::collections::HashSet;
use std::fmt;
use std::hash::BuildHasher;
use std::str::FromStr;
use std::time::Duration;

use super::device::{DeviceKey, Failing};
use super::service::{Failure, ServiceChange, ServiceKey, Sign};
use super::timers::Timer;
use super::waiting::{About, Cause, Kept, Until, Waiting};
use super::{Due, Engine};
use crate::stanza::Importance;

/// The id of a push: the `id` of its IQ. It says whose it is, so that an answer that comes too
/// late can still be told from a wrong one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PushId {
    pub(super) device: DeviceKey,
    pub(super) nonce: u64,
}

impl fmt::Display for PushId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "push-{:016x}{:016x}", self.device.0, self.nonce)
    }
}

impl FromStr for PushId {
    type Err = ();

    fn from_str(id: &str) -> Result<Self, ()> {
        let digits = id.strip_prefix("push-").ok_or(())?;
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if digits.len() != 32 || !is_hex {
            return Err(());
        }
        let (device, nonce) = digits.split_at(16);
        Ok(Self {
            device: DeviceKey(u64::from_str_radix(device, 16).map_err(|_| ())?),
            nonce: u64::from_str_radix(nonce, 16).map_err(|_| ())?,
        })
    }
}

/// What a push service said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The IQ result.
    Result,
    /// An error, with its type and defined condition (RFC 6120 section 8.3), as far as it has them.
    Error {
        /// `cancel`, `wait`, …
        kind: Option<&'a str>,
        /// `item-not-found`, …
        condition: Option<&'a str>,
    },
}

/// Whose fault it is that a push was not taken. None of them counts towards removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// There is no way to the service.
    Route,
    /// The service does not answer.
    Silence,
    /// The service speaks of itself.
    Service,
    /// The service speaks of this registration.
    Device,
}

impl Answer<'_> {
    /// Whose fault it is; none for a result and for an error that blames the registration for good.
    fn fault(self) -> Option<Fault> {
        let Self::Error { kind, condition } = self else {
            return None;
        };
        match condition {
            Some("remote-server-not-found" | "remote-server-timeout") => Some(Fault::Route),
            Some("internal-server-error" | "service-unavailable") => Some(Fault::Service),
            Some("recipient-unavailable" | "resource-constraint") => Some(Fault::Device),
            _ => match kind {
                Some("auth" | "cancel" | "continue" | "modify") => None,
                _ => Some(Fault::Device),
            },
        }
    }

    /// Whether the service says that the node is dead for good.
    fn is_final(self) -> bool {
        matches!(
            self,
            Self::Error {
                condition: Some("item-not-found" | "gone"),
                ..
            }
        )
    }
}

/// What has become of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The service has taken it.
    Delivered,
    /// The same, and the registration was suspended: it is in force again.
    Revived,
    /// A transient failure, or no answer in time: the device is owed a push, unless it is back.
    Failed,
    /// A permanent error, which counts.
    Refused,
    /// The last one of `push_max_errors`, or a trial has failed: the registration is to be
    /// suspended ([`Engine::suspend`]).
    Suspended,
    /// The same, and the service says that the node is dead: the registration has to go.
    Removed,
}

/// What an answer means for the registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The push.
    pub push: PushId,
    /// Whose device it is. None if its registration has ended meanwhile, or if the push was given up before: then
    /// the report is about the push service only.
    pub device: Option<Due>,
    /// Permanent errors in a row.
    pub errors: u32,
    /// Those before this answer.
    pub errors_before: u32,
    /// What has become of the push.
    pub outcome: Outcome,
    /// What has become of the push service with this.
    pub service: Option<ServiceChange>,
}

/// How much memory a push takes that waits for its answer, in bytes, with its places in tables.
pub(super) const IN_FLIGHT: usize = 512;

/// A push that waits for its answer.
pub(super) struct InFlight<S> {
    pub service: ServiceKey,
    /// That of its device; none if another push has woken that meanwhile.
    pub epoch: Option<u64>,
    /// That of its device.
    pub generation: u64,
    /// When that came which it is for.
    pub since: Duration,
    pub sent: Duration,
    pub deadline: Duration,
    /// Stands for its user.
    pub user: u64,
    /// It carries content, so that it speaks for nothing else.
    pub content: bool,
    /// The registration is suspended, and this is to find out whether it works again.
    pub trial: bool,
    pub about: About,
    /// What it is for, to be pushed again if need be.
    pub stanza: Option<Kept<S>>,
}

impl<S> Engine<S> {
    /// Takes an answer to a push. `None` if it is none: not an id of ours, not awaited, or not from
    /// the JID that was asked. `from` is normalised (RFC 7622).
    pub fn answered(
        &mut self,
        now: Duration,
        id: &str,
        from: &str,
        answer: Answer<'_>,
    ) -> Option<Report> {
        let id = id.parse().ok()?;
        let service = ServiceKey(self.key.hash_one(from));
        let Some(push) = self.in_flight.get(&id) else {
            return self.answered_late(now, id, service, answer);
        };
        if push.service != service {
            return None;
        }
        if let Some(fault) = answer.fault() {
            return self.failed(now, id, fault);
        }
        let change = self
            .services
            .alive(service, now, Sign::Settled, &self.options);
        let push = self.take_in_flight(now, id)?;
        self.drop_standing_by(id);
        if answer == Answer::Result {
            self.device_has_been_woken(now, push.attempt(id));
        } else {
            self.nobody_was_woken(id);
        }
        self.wake(service, now);
        let change = change.or_else(|| self.services.watch(service));
        let report = |errors, errors_before, outcome, device| Report {
            push: id,
            device,
            errors,
            errors_before,
            outcome,
            service: change,
        };
        let max_errors = self.options.max_errors;
        let Some(device) = self.devices.get_mut(id.device) else {
            return Some(report(0, 0, Outcome::Delivered, None));
        };
        let errors_before = device.errors;
        device.failing = Failing::default();
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
        let due = Some(Due::of(device));
        Some(report(device.errors, errors_before, outcome, due))
    }

    /// A push that has been given up is answered after all: the device need not be woken again.
    fn answered_late(
        &mut self,
        now: Duration,
        id: PushId,
        service: ServiceKey,
        answer: Answer<'_>,
    ) -> Option<Report> {
        let device = self.devices.get_mut(id.device)?;
        let waiting = device.waiting.as_mut()?;
        let late = waiting.late.filter(|late| late.id == id)?;
        if late.service != service {
            return None;
        }
        if answer != Answer::Result {
            if !answer.fault().is_none_or(|fault| fault == Fault::Device) {
                return None;
            }
            // It has been given up, but whoever answers is alive.
            let change = self.alive(now, service, Sign::Heard)?;
            return Some(Report {
                push: id,
                device: None,
                errors: 0,
                errors_before: 0,
                outcome: Outcome::Failed,
                service: Some(change),
            });
        }
        // What it was for is served; what came later waits on.
        waiting.settle_late();
        device.pushed.add(late.about.ids);
        if let Until::Answer(second) = waiting.until
            && let Some(push) = self.in_flight.get_mut(&second)
            && push.about.ids == late.about.ids
        {
            // The second one is for what came later, or for nothing any more.
            match waiting.take_most_important() {
                None => push.epoch = None,
                Some(later) => {
                    device.pushed.add(later.about.ids);
                    push.about = later.about;
                    push.since = later.since;
                    push.stanza = later.stanza.and_then(|stanza| self.keeper.keep(stanza));
                }
            }
        }
        // What waits may stand by for it no longer, when the registration has been suspended since.
        for other in &device.in_flight {
            if let Some(push) = self.in_flight.get_mut(other)
                && late.about.ids[0].is_some()
                && push.about.ids == late.about.ids
            {
                push.epoch = None;
            }
        }
        let is_over = waiting.is_empty();
        device.failing = Failing::default();
        let errors_before = std::mem::take(&mut device.errors);
        if is_over {
            self.drop_waiting(id.device);
        } else {
            self.device_has_been_woken(now, late);
        }
        let change = self.alive(now, service, Sign::Settled);
        Some(Report {
            push: id,
            device: self.due(id.device),
            errors: 0,
            errors_before,
            outcome: if late.trial {
                Outcome::Revived
            } else {
                Outcome::Delivered
            },
            service: change.or_else(|| self.services.watch(service)),
        })
    }

    /// A device that has just been woken is owed nothing that it learns of anyway, also of what is still under
    /// way; what only another push would bring follows at once.
    fn device_has_been_woken(&mut self, now: Duration, attempt: Attempt) {
        let key = attempt.id.device;
        let Some(device) = self.devices.get_mut(key) else {
            return;
        };
        for other in &device.in_flight {
            if let Some(other) = self.in_flight.get_mut(other)
                && attempt.speaks_for(other.sent, other.about.importance)
            {
                other.epoch = None;
            }
        }
        let Some(waiting) = &device.waiting else {
            return;
        };
        if waiting.cause >= Cause::Debt && waiting.is_served_by(&attempt) {
            self.drop_waiting(key);
        } else if waiting.is_owed() {
            self.set_until(now, key, Until::Time(now), Cause::Debt);
        }
    }

    /// A push has not been taken: it does not speak for what follows.
    pub(super) fn nobody_was_woken(&mut self, id: PushId) {
        if let Some(device) = self.devices.get_mut(id.device) {
            device.spoke.take_if(|spoke| spoke.by == id);
        }
    }

    /// A push was not taken, or not answered in time: the device is owed it.
    pub(super) fn failed(&mut self, now: Duration, id: PushId, fault: Fault) -> Option<Report> {
        let service = self.in_flight.get(&id)?.service;
        let change = if fault == Fault::Device {
            self.alive(now, service, Sign::Heard)
        } else {
            self.service_failed(now, id, fault)
        };
        let push = self.take_in_flight(now, id)?;
        self.nobody_was_woken(id);
        self.owe(now, id, push, fault);
        self.wake(service, now);
        let is_dead = self.services.is_dead(service, now);
        let device = self.devices.get(id.device);
        Some(Report {
            push: id,
            device: device.map(Due::of),
            errors: device.map_or(0, |device| device.errors),
            errors_before: device.map_or(0, |device| device.errors),
            outcome: if is_dead || device.is_some_and(|device| device.failing.is_dead(now)) {
                Outcome::Suspended
            } else {
                Outcome::Failed
            },
            service: change.or_else(|| self.services.watch(service)),
        })
    }

    /// The connection of a component has ended: what it has not answered will not be answered.
    pub fn disconnected(&mut self, now: Duration, host: &str) -> Vec<Report> {
        let there: HashSet<_> = self.services.at_host(host).into_iter().collect();
        if there.is_empty() {
            return Vec::new();
        }
        let is_there = |push: &InFlight<S>| there.contains(&push.service);
        let mut lost: Vec<_> = self
            .in_flight
            .iter()
            .filter(|(_, push)| is_there(push))
            .map(|(id, push)| (push.sent, *id))
            .collect();
        lost.sort_unstable();
        lost.into_iter()
            .filter_map(|(_, id)| self.failed(now, id, Fault::Route))
            .collect()
    }

    fn owe(&mut self, now: Duration, id: PushId, push: InFlight<S>, fault: Fault) {
        let retry_age = self.options.retry_age;
        let Some(device) = self.devices.get_mut(id.device) else {
            return;
        };
        // It is back, and has received all.
        if push.epoch.is_some_and(|epoch| epoch != device.epoch) {
            return self.drop_standing_by(id);
        }
        if push.epoch.is_some() {
            device.failing.fail(now, push.sent, retry_age);
            device.pushed.remove(push.about.ids);
            let waiting = device
                .waiting
                .get_or_insert_with(|| Waiting::new(push.since, Until::Answer(id), Cause::Debt));
            waiting.give_up(push.since, push.attempt(id), push.stanza);
        } else if !device
            .waiting
            .as_ref()
            .is_some_and(|one| one.is_standing_by_for(id) && !one.is_empty())
        {
            return self.drop_standing_by(id);
        }
        let until = self.until_alive(now, push.service, id.device, fault);
        let cause = if push.trial {
            Cause::Suspension
        } else {
            Cause::Debt
        };
        self.set_until(now, id.device, until, cause);
        self.measure(now, id.device);
    }

    /// Until when a device waits that has just failed, or may not try now.
    pub(super) fn until_alive(
        &mut self,
        now: Duration,
        service: ServiceKey,
        key: DeviceKey,
        fault: Fault,
    ) -> Until {
        let device = self.devices.get(key);
        let failing = device.map_or_else(Failing::default, |device| device.failing);
        let waiting = device.and_then(|device| device.waiting.as_ref());
        let is_call = waiting.is_some_and(|one| one.importance() == Some(Importance::Urgent));
        let again = now + self.backoff(failing.attempts);
        let is_out = self.services.is_out(service);
        match self.services.queue(service, key, is_call, failing, fault) {
            Some(place) => Until::Service {
                service,
                place,
                retry: (!is_out || place.is_own_matter()).then_some(again),
            },
            None => Until::Time(again),
        }
    }

    /// The time until another attempt: exponential, with jitter.
    pub(super) fn backoff(&mut self, attempt: u32) -> Duration {
        let jitter = self.jitter();
        self.options.backoff(attempt, jitter)
    }

    fn service_failed(&mut self, now: Duration, id: PushId, fault: Fault) -> Option<ServiceChange> {
        let jitter = self.jitter();
        let push = self.in_flight.get(&id)?;
        let failure = Failure {
            push: id,
            user: push.user,
            sent: push.sent,
            fault,
        };
        let options = &self.options;
        self.services
            .failed(push.service, now, failure, options, |attempt| {
                options.backoff(attempt, jitter)
            })
    }

    /// Between 1 and 1.5.
    #[expect(clippy::cast_precision_loss, reason = "jitter")]
    fn jitter(&mut self) -> f64 {
        1.0 + (self.unique("jitter") >> 33) as f64 / f64::from(u32::MAX)
    }

    /// The push is not awaited any more. That makes room for another one.
    pub(super) fn take_in_flight(&mut self, now: Duration, id: PushId) -> Option<InFlight<S>> {
        let push = self.in_flight.remove(&id)?;
        self.timers.unset(push.deadline, Timer::Answer(id));
        self.services.settled(push.service, id);
        if let Some(count) = self.users_in_flight.get_mut(&push.user) {
            *count -= 1;
            if *count == 0 {
                self.users_in_flight.remove(&push.user);
            }
        }
        if let Some(device) = self.devices.get_mut(id.device) {
            device.in_flight.retain(|other| *other != id);
            if let Some(waiting) = &device.waiting
                && waiting.until == Until::Room
            {
                let cause = waiting.cause;
                self.set_until(now, id.device, Until::Time(now), cause);
            }
        }
        Some(push)
    }
}

/// A push that has left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    pub id: PushId,
    pub service: ServiceKey,
    pub sent: Duration,
    pub about: About,
    pub content: bool,
    pub trial: bool,
}

impl Attempt {
    /// Whether a device that this push has woken learns of something that came, or was sent, at `at`, too.
    pub fn speaks_for(&self, at: Duration, importance: Importance) -> bool {
        !self.content && self.sent >= at && self.about.importance >= importance
    }
}

impl<S> InFlight<S> {
    fn attempt(&self, id: PushId) -> Attempt {
        Attempt {
            id,
            service: self.service,
            sent: self.sent,
            about: self.about,
            content: self.content,
            trial: self.trial,
        }
    }
}
