//! Pushes under way, what comes back, and what is tried again.

use std::fmt;
use std::hash::BuildHasher;
use std::str::FromStr;
use std::time::Duration;

use super::device::DeviceKey;
use super::service::{Failure, ServiceChange, ServiceKey};
use super::timers::Timer;
use super::waiting::{Cause, Ids, Kept, Until, Waiting};
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

impl Answer<'_> {
    /// Whether the fault lies with the registration. Whatever may pass does not count.
    fn is_permanent(self) -> bool {
        match self {
            Self::Result => false,
            Self::Error { kind, condition } => {
                matches!(kind, Some("auth" | "cancel" | "continue" | "modify"))
                    && !matches!(
                        condition,
                        Some(
                            "internal-server-error"
                                | "recipient-unavailable"
                                | "remote-server-not-found"
                                | "remote-server-timeout"
                                | "resource-constraint"
                                | "service-unavailable"
                        )
                    )
            }
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
    /// Whose device it is. None if its registration has ended meanwhile: then the report is about the
    /// push service only.
    pub device: Option<Due>,
    /// Permanent errors in a row.
    pub errors: u32,
    /// Those before this answer.
    pub errors_before: u32,
    /// What has become of the push.
    pub outcome: Outcome,
    /// The push service has begun or ceased to fail with this.
    pub service: Option<ServiceChange>,
}

impl Report {
    fn of_service(push: PushId, outcome: Outcome, change: ServiceChange) -> Self {
        Self {
            push,
            device: None,
            errors: 0,
            errors_before: 0,
            outcome,
            service: Some(change),
        }
    }
}

/// A push that waits for its answer.
pub(super) struct InFlight<S> {
    pub service: ServiceKey,
    /// That of its device; none if an earlier attempt at the same has been answered meanwhile.
    pub epoch: Option<u64>,
    /// That of its device.
    pub generation: u64,
    /// When that came which it is for.
    pub since: Duration,
    pub sent: Duration,
    pub deadline: Duration,
    /// It has taken a token from the device's bucket.
    pub metered: bool,
    /// It carries content, so that it speaks for nothing else.
    pub content: bool,
    /// The registration is suspended, and this is to find out whether it works again.
    pub trial: bool,
    pub ids: Ids,
    pub importance: Importance,
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
        if answer != Answer::Result && !answer.is_permanent() {
            let reached = !matches!(
                answer,
                Answer::Error {
                    condition: Some("remote-server-not-found" | "remote-server-timeout"),
                    ..
                }
            );
            return self.failed(now, id, reached);
        }
        let change = self.services.works(service, now);
        let push = self.take_in_flight(id)?;
        self.drop_standing_by(id);
        self.wake(service, now);
        let max_errors = self.options.max_errors;
        let Some(device) = self.devices.get_mut(&id.device) else {
            return change.map(|change| Report::of_service(id, Outcome::Delivered, change));
        };
        let errors_before = device.errors;
        device.failures = 0;
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
        let errors = device.errors;
        if answer == Answer::Result {
            self.device_has_been_woken(now, id, &push);
        }
        Some(Report {
            push: id,
            device: self.due(id.device),
            errors,
            errors_before,
            outcome,
            service: change,
        })
    }

    /// A push that has been given up is answered after all: the device need not be woken again.
    fn answered_late(
        &mut self,
        now: Duration,
        id: PushId,
        service: ServiceKey,
        answer: Answer<'_>,
    ) -> Option<Report> {
        let device = self.devices.get_mut(&id.device)?;
        let waiting = device.waiting.as_mut()?;
        let late = waiting.late.take_if(|late| late.id == id)?;
        if late.service != service || answer != Answer::Result {
            waiting.late = Some(late);
            return None;
        }
        // What it was for is served; what came later waits on.
        waiting.remove(late.ids);
        device.pushed.add(late.ids);
        if let Until::Answer(second) = waiting.until
            && let Some(push) = self.in_flight.get_mut(&second)
        {
            push.epoch.take_if(|_| push.ids == late.ids);
        }
        let is_served = waiting.cause == Cause::Debt && waiting.is_served_by(&late);
        if is_served || late.trial || waiting.is_empty() {
            self.drop_waiting(id.device);
        }
        let change = self.services.works(service, now);
        self.wake(service, now);
        let device = self.devices.get_mut(&id.device)?;
        device.failures = 0;
        let errors_before = std::mem::take(&mut device.errors);
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
            service: change,
        })
    }

    /// A device that has just been woken is owed nothing that it learns of anyway; what only another
    /// push would bring follows at once.
    fn device_has_been_woken(&mut self, now: Duration, id: PushId, push: &InFlight<S>) {
        let key = id.device;
        let Some(device) = self.devices.peek_mut(&key) else {
            return;
        };
        let Some(waiting) = device.waiting.as_ref().filter(|one| one.is_owed()) else {
            return;
        };
        if waiting.is_served_by(&push.attempt(id)) {
            self.drop_waiting(key);
        } else {
            self.set_until(now, key, Until::Time(now), Cause::Debt);
        }
    }

    /// A push was not taken, or not answered in time: the device is owed it. `reached`: the push service
    /// itself says so.
    pub(super) fn failed(&mut self, now: Duration, id: PushId, reached: bool) -> Option<Report> {
        let service = self.in_flight.get(&id)?.service;
        let change = self.service_failed(now, id, reached);
        let is_left_alone = change.is_some();
        let push = self.take_in_flight(id)?;
        let report = match self.devices.peek(&id.device) {
            Some(device) => Some(Report {
                push: id,
                device: Some(Due::of(device)),
                errors: device.errors,
                errors_before: device.errors,
                outcome: if self.services.is_dead(service, now) {
                    Outcome::Suspended
                } else {
                    Outcome::Failed
                },
                service: change,
            }),
            None => change.map(|change| Report::of_service(id, Outcome::Failed, change)),
        };
        self.owe(now, id, push);
        if is_left_alone {
            self.await_service(now, service);
        }
        self.wake(service, now);
        report
    }

    /// A service is left alone from now on: those who wait for another attempt of their own wait for
    /// its recovery with the others.
    fn await_service(&mut self, now: Duration, service: ServiceKey) {
        for key in self.services.take_retrying(service) {
            let device = self.devices.peek(&key);
            let waits = |waiting: &Waiting<S>| {
                waiting.cause == Cause::Debt
                    && matches!(waiting.until, Until::Time(_))
                    && waiting.late.is_some_and(|late| late.service == service)
            };
            if device
                .and_then(|one| one.waiting.as_ref())
                .is_some_and(waits)
            {
                let until = self.until_service(now, service, key);
                self.set_until(now, key, until, Cause::Debt);
            }
        }
    }

    fn owe(&mut self, now: Duration, id: PushId, push: InFlight<S>) {
        let Some(device) = self.devices.get_mut(&id.device) else {
            return;
        };
        // It is back, and has received all.
        if push.epoch.is_some_and(|epoch| epoch != device.epoch) {
            return self.drop_standing_by(id);
        }
        device.fail(now, push.sent);
        let failures = device.failures;
        if push.epoch.is_some() {
            device.pushed.remove(push.ids);
            let waiting = device
                .waiting
                .get_or_insert_with(|| Waiting::new(push.since, Until::Answer(id), Cause::Debt));
            waiting.late = Some(push.attempt(id));
            waiting.add(push.since, push.ids, push.importance, push.stanza);
        } else if device.waiting.as_ref().is_none_or(Waiting::is_empty) {
            return self.drop_standing_by(id);
        }
        let until = if self.services.is_out(push.service) {
            self.until_service(now, push.service, id.device)
        } else {
            self.services.retries(push.service, id.device);
            Until::Time(now + self.backoff(failures))
        };
        let cause = if push.trial {
            Cause::Suspension
        } else {
            Cause::Debt
        };
        self.set_until(now, id.device, until, cause);
    }

    /// The time until another attempt: exponential, with jitter.
    pub(super) fn backoff(&mut self, attempt: u32) -> Duration {
        let jitter = self.jitter();
        self.options.backoff(attempt, jitter)
    }

    fn service_failed(
        &mut self,
        now: Duration,
        id: PushId,
        reached: bool,
    ) -> Option<ServiceChange> {
        let jitter = self.jitter();
        let push = self.in_flight.get(&id)?;
        let failure = Failure {
            push: id,
            sent: push.sent,
            reached,
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

    /// The push is not awaited any more.
    pub(super) fn take_in_flight(&mut self, id: PushId) -> Option<InFlight<S>> {
        let push = self.in_flight.remove(&id)?;
        self.timers.unset(push.deadline, Timer::Answer(id));
        self.services.settled(push.service, id);
        if let Some(device) = self.devices.peek_mut(&id.device) {
            device.in_flight = device.in_flight.saturating_sub(1);
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
    pub ids: Ids,
    pub importance: Importance,
    pub content: bool,
    pub trial: bool,
}

impl<S> InFlight<S> {
    fn attempt(&self, id: PushId) -> Attempt {
        Attempt {
            id,
            service: self.service,
            sent: self.sent,
            ids: self.ids,
            importance: self.importance,
            content: self.content,
            trial: self.trial,
        }
    }
}
