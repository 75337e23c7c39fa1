//! What each device waits for, and until when.
//!
//! The devices, the push services that they wait for, the pushes under way and the timers belong together: this is
//! the only place where a device begins to wait, where what it waits for is set, and where it is left.

use std::time::Duration;

use super::answer::Fault;
use super::decision::Wait;
use super::device::Device;
use super::devices::Devices;
use super::failing::Failing;
use super::identity::{DeviceKey, DeviceName, Identities, PushId, ServiceKey};
use super::in_flight::{InFlight, PushesInFlight};
use super::kept::Keeper;
use super::options::Options;
use super::reason::Cause;
use super::service::{Next, Sign};
use super::service_state::ServiceChange;
use super::services::Services;
use super::timers::{Timer, Timers};
use super::waiting::{Until, Waiting};
use super::wakes::Wakes;
use crate::stanza::{Importance, Key};

/// All that waits, and what it waits for.
pub(super) struct Schedule<S> {
    pub options: Options,
    pub identities: Identities,
    pub devices: Devices<S>,
    pub in_flight: PushesInFlight<S>,
    pub services: Services,
    pub keeper: Keeper,
    timers: Timers,
    wakes: Wakes,
}

/// What a device waits for.
impl<S> Schedule<S> {
    /// What waits for a device.
    pub fn waiting(&self, key: DeviceKey) -> Option<&Waiting<S>> {
        self.devices.get(key)?.waiting.as_ref()
    }

    /// What waits for a device, from now on if nothing has before: [`Self::set_until`] follows.
    pub fn wait(
        &mut self,
        key: DeviceKey,
        new: impl FnOnce() -> Waiting<S>,
    ) -> Option<&mut Waiting<S>> {
        Some(self.devices.get_mut(key)?.waiting.get_or_insert_with(new))
    }

    /// A push of the device has spoken for something that nobody has read.
    pub fn spoke_for_more(&mut self, user: &str, identifier: &str) {
        let key = self.identities.device(user, identifier);
        if let Some(device) = self.devices.get_mut(key) {
            device.told.is_vague = true;
        }
    }

    /// What has waited stands by for a push that has just left.
    pub fn stand_by(&mut self, id: PushId, mut waiting: Waiting<S>) {
        if let Some(device) = self.devices.get_mut(id.device) {
            waiting.until = Until::Answer(id);
            device.waiting = Some(waiting);
        }
    }

    /// Takes what stands by for a push of the device.
    pub fn take_standing_by(&mut self, key: DeviceKey) -> Option<Waiting<S>> {
        let device = self.devices.get_mut(key)?;
        device.waiting.take_if(|waiting| waiting.is_standing_by())
    }

    /// Until when a device has to wait that meets with this. It joins the queue of a service that it waits for:
    /// [`Self::set_until`] follows.
    pub fn join(&mut self, now: Duration, key: DeviceKey, wait: Wait) -> Until {
        match wait {
            Wait::Until(due) => Until::Time(due),
            Wait::Room => Until::Room,
            Wait::SignOfLife(service) => self.join_queue(now, service, key, Fault::Route),
        }
    }

    /// A device that has just failed, or may not try now, joins the queue of its service: until when it waits.
    pub fn join_queue(
        &mut self,
        now: Duration,
        service: ServiceKey,
        key: DeviceKey,
        fault: Fault,
    ) -> Until {
        let device = self.devices.get_mut(key);
        let failing = device.map_or_else(Failing::default, |device| {
            device.service = Some(service);
            device.failing
        });
        let waiting = self.waiting(key);
        let is_call = waiting.is_some_and(|one| one.importance() == Some(Importance::Urgent));
        let again = now + self.backoff(failing.attempts);
        let is_out = self.services.is_out(service);
        match self.services.join(service, key, is_call, failing, fault) {
            Some(place) => Until::Service {
                service,
                place,
                retry: (!is_out || place.is_own_matter()).then_some(again),
            },
            None => Until::Time(again),
        }
    }

    /// Makes what waits for a device wait for this. The only place that leaves what it has waited for.
    pub fn set_until(&mut self, now: Duration, key: DeviceKey, until: Until, cause: Cause) {
        let Some(waiting) = self
            .devices
            .get_mut(key)
            .and_then(|device| device.waiting.as_mut())
        else {
            return;
        };
        let before = std::mem::replace(&mut waiting.until, until);
        waiting.cause = cause;
        if before != until {
            self.leave(key, before);
        }
        match until {
            Until::Time(due) => self.timers.set(due, Timer::Waiting(key)),
            Until::Turn { again, .. } => self.timers.set(again, Timer::Waiting(key)),
            Until::Service { service, retry, .. } => {
                if let Some(retry) = retry {
                    self.timers.set(retry, Timer::Waiting(key));
                }
                self.wake(service, now);
            }
            Until::Answer(_) | Until::Room => {}
        }
    }

    fn leave(&mut self, key: DeviceKey, until: Until) {
        match until {
            Until::Time(due) => self.timers.unset(due, Timer::Waiting(key)),
            Until::Turn { again, .. } => self.timers.unset(again, Timer::Waiting(key)),
            Until::Service {
                service,
                place,
                retry,
            } => {
                if let Some(retry) = retry {
                    self.timers.unset(retry, Timer::Waiting(key));
                }
                self.services.leave(service, place);
            }
            Until::Answer(_) | Until::Room => {}
        }
    }

    /// Takes what waits for a device, which waits for nothing any more.
    pub fn leave_waiting(&mut self, key: DeviceKey) -> Option<Waiting<S>> {
        let waiting = self.devices.get_mut(key)?.waiting.take()?;
        self.leave(key, waiting.until);
        Some(waiting)
    }

    /// Nothing waits for the device any more: it knows, or learns otherwise.
    pub fn drop_waiting(&mut self, key: DeviceKey) {
        let waiting = self.leave_waiting(key);
        if let (Some(device), Some(waiting)) = (self.devices.get_mut(key), waiting) {
            device.pushed.append(waiting.ids);
            self.devices.measure(key);
        }
    }

    /// What stood by for a push that has left for good need not be pushed.
    pub fn drop_standing_by(&mut self, id: PushId) {
        let waiting = self.waiting(id.device);
        if waiting.is_some_and(|waiting| waiting.is_standing_by_for(id)) {
            self.drop_waiting(id.device);
        }
    }

    /// The time until another attempt: exponential, with jitter.
    pub fn backoff(&mut self, attempt: u32) -> Duration {
        let jitter = self.identities.jitter();
        self.options.backoff(attempt, jitter)
    }
}

/// Whom devices wait for.
impl<S> Schedule<S> {
    /// A push service gives a sign of life: what is owed there goes out, paced by `push_recovery_rate`.
    pub fn alive(
        &mut self,
        now: Duration,
        service: ServiceKey,
        sign: Sign,
    ) -> Option<ServiceChange> {
        let change = self.services.alive(service, now, sign, &self.options);
        self.wake(service, now);
        change
    }

    /// Sets the timer that those who wait for a service wait for.
    pub fn wake(&mut self, service: ServiceKey, now: Duration) {
        match self.services.next(service, now) {
            Next::Nothing => {}
            Next::Probe(at) => self.timers.set(at, Timer::Probe(service)),
            Next::Helping(at) => self.timers.set(at, Timer::Helping(service)),
        }
    }

    /// Whoever had a turn to probe a service has not taken it, or has: it is that of another device.
    pub fn end_turn(&mut self, now: Duration, service: ServiceKey) {
        self.services.turn_is_over(service);
        self.wake(service, now);
    }

    /// The same, should what a device waited for have been such a turn.
    pub fn pass_turn(&mut self, now: Duration, until: Until) {
        if let Until::Turn {
            service: Some(service),
            ..
        } = until
        {
            self.end_turn(now, service);
        }
    }

    /// A push is awaited from now on.
    pub fn add_in_flight(&mut self, id: PushId, mut push: InFlight<S>, jid: &str) {
        let place = push.client.map(|(_, place)| place);
        let services = &mut self.services;
        push.after = services.sent(push.service, jid, push.sent, id, place);
        self.timers.set(push.deadline, Timer::Answer(id));
        self.in_flight.insert(id, push);
    }

    /// The time of a push is over now.
    pub fn hasten(&mut self, now: Duration, id: PushId) {
        if let Some(before) = self.in_flight.hasten(now, id) {
            self.timers.unset(before, Timer::Answer(id));
            self.timers.set(now, Timer::Answer(id));
        }
    }

    /// A push is not awaited any more. That makes room for another one.
    pub fn take_in_flight(&mut self, now: Duration, id: PushId) -> Option<InFlight<S>> {
        let push = self.in_flight.remove(id)?;
        self.timers.unset(push.deadline, Timer::Answer(id));
        self.services.settled(push.service, id, push.is_silent());
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

    /// The next deadline.
    pub fn deadline(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// The first deadline that is not later than `now`: it has been served.
    pub fn pop_timer(&mut self, now: Duration) -> Option<Timer> {
        self.timers.pop(now)
    }
}

/// When devices are woken whose sessions are about to end.
impl<S> Schedule<S> {
    /// The device is named at this time, and at no other.
    pub fn plan_wake(&mut self, at: Duration, device: DeviceName) {
        let key = self.identities.device(&device.user, &device.identifier);
        if let Some(before) = self.wakes.set(key, at, device) {
            self.timers.unset(before, Timer::Wake(key));
        }
        self.timers.set(at, Timer::Wake(key));
    }

    /// Its time has come, or need not come any more.
    pub fn take_wake(&mut self, key: DeviceKey) -> Option<DeviceName> {
        let (at, device) = self.wakes.take(key)?;
        self.timers.unset(at, Timer::Wake(key));
        Some(device)
    }

    /// The devices of a user for which one is planned.
    pub fn wakes_of(&self, user: &str) -> Vec<DeviceKey> {
        self.wakes.of(user).collect()
    }
}

/// What is remembered of devices.
impl<S> Schedule<S> {
    pub fn new(options: Options, key: Key) -> Self {
        Self {
            options,
            services: Services::new(key.clone()),
            identities: Identities::new(key),
            devices: Devices::default(),
            in_flight: PushesInFlight::default(),
            keeper: Keeper::default(),
            timers: Timers::default(),
            wakes: Wakes::default(),
        }
    }

    /// A device, which is remembered from now on. It has been asked for.
    pub fn device(
        &mut self,
        now: Duration,
        key: DeviceKey,
        user: &str,
        identifier: &str,
    ) -> &mut Device<S> {
        let epoch = self.identities.next_number();
        let identities = &self.identities;
        self.devices.get_or_insert(
            key,
            now,
            || identities.user(user),
            || Device::new(user, identifier, epoch),
        )
    }

    /// Takes note of how much is remembered of a device, and forgets others that there is no room for.
    pub fn measure(&mut self, now: Duration, key: DeviceKey) {
        self.devices.measure(key);
        let besides = self.services.bytes() + self.in_flight.bytes();
        while let Some(key) = self.devices.surplus(now, besides) {
            self.forget(now, key);
        }
    }

    /// Forgets a device.
    pub fn forget(&mut self, now: Duration, key: DeviceKey) {
        let identities = &self.identities;
        let owner = |user: &str| identities.user(user);
        let Some(device) = self.devices.remove(key, now, owner) else {
            return;
        };
        if let Some(waiting) = device.waiting {
            self.leave(key, waiting.until);
            self.pass_turn(now, waiting.until);
        }
        // What is under way may still say something of the service, but no bound is exceeded by ending
        // registrations.
        let user = self.identities.user(&device.user);
        for id in device.in_flight {
            if (self.in_flight.exceeds(user) || self.services.is_full())
                && let Some(push) = self.take_in_flight(now, id)
            {
                self.wake(push.service, now);
            }
        }
    }
}
