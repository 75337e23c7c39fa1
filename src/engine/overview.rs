//! What there is, for administrators and tests: nothing changes by being looked at.

use std::time::Duration;

use super::account::Account;
use super::face::Engine;
use super::meeting;
use super::reason::{Cause, Reason};
use super::service_state::ServiceStatus;
use super::trail::Entry;

/// How a device is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceStatus {
    /// Permanent errors in a row.
    pub errors: u32,
    /// Attempts in a row that the push service could not take.
    pub failures: u32,
    /// How many messages it has been told of, or will be, since it was last live.
    pub told: u32,
    /// Pushes that wait for their answers.
    pub in_flight: usize,
    /// For how long something waits for a push, and why.
    pub waiting: Option<(Duration, Cause)>,
}

impl<S> Engine<S> {
    /// How a device is served, if anything is known of it.
    pub fn device(&self, now: Duration, user: &str, identifier: &str) -> Option<DeviceStatus> {
        let key = self.schedule.identities.device(user, identifier);
        let device = self.schedule.devices.get(key)?;
        Some(DeviceStatus {
            errors: device.errors,
            failures: device.failing.attempts,
            told: device.told.len(),
            in_flight: device.in_flight.len(),
            waiting: device
                .held()
                .map(|one| (now.saturating_sub(one.since), one.cause)),
        })
    }

    /// How all push services do that there is something to be known of.
    pub fn services(&self, now: Duration) -> Vec<ServiceStatus> {
        self.schedule.services.statuses(now)
    }

    /// The same of one of them.
    pub fn service(&self, now: Duration, jid: &str) -> Option<ServiceStatus> {
        let key = self.schedule.identities.service(jid);
        self.schedule.services.status(key, now)
    }

    /// What has happened to a user's devices, newest last, as far as it is remembered.
    pub fn trail(&self, user: &str) -> Vec<Entry<'_>> {
        self.witness.trail().of(user)
    }

    /// What would become of an important message for a registration now.
    pub fn outlook(&mut self, now: Duration, account: &Account<'_>, registration: usize) -> Reason {
        let registration = &account.registrations[registration];
        meeting::outlook(&mut self.schedule, now, account, registration)
    }

    /// How many pushes wait for an answer.
    pub fn in_flight(&self) -> usize {
        self.schedule.in_flight.len()
    }

    /// How many devices there are with something that waits.
    pub fn waiting(&self) -> usize {
        let devices = self.schedule.devices.iter();
        devices.filter(|(_, one)| one.waiting.is_some()).count()
    }

    /// The JIDs of the push services that are left alone because they failed.
    pub fn services_out(&self) -> Vec<String> {
        self.schedule.services.out()
    }

    /// How many push services there are with a push under way, or a failure.
    pub fn services_busy(&self) -> usize {
        self.schedule.services.len()
    }

    /// Whether this is the id of a push that waits for its answer.
    pub fn is_in_flight(&self, id: &str) -> bool {
        let in_flight = &self.schedule.in_flight;
        id.parse().is_ok_and(|id| in_flight.contains(id))
    }
}
