//! What happens to registrations, to push services and to the server itself: they come, fail, and go.

use std::time::Duration;

use super::delivery::Report;
use super::face::Engine;
use super::identity::DeviceName;
use super::registration;
use super::restart::{self, Owed};
use super::service::Sign;
use super::service_state::{FailingService, ServiceChange};
use super::taken;
use super::trail::Event;
use crate::stanza::StanzaId;

/// Registrations and push services.
impl<S> Engine<S> {
    /// The device is back: its session was resumed, or a new one has been attached. What waited
    /// for it has been received, and need not be pushed any more.
    pub fn back(&mut self, now: Duration, user: &str, identifier: &str) {
        if registration::back(&mut self.schedule, user, identifier) {
            self.witness.add(now, user, identifier, Event::RETURNED);
        }
    }

    /// The registration was enabled, perhaps again: its errors are forgiven, and its device is
    /// there. What it was pushed for stays known.
    pub fn enabled(&mut self, now: Duration, user: &str, identifier: &str) {
        if registration::enabled(&mut self.schedule, user, identifier) {
            self.witness.add(now, user, identifier, Event::RETURNED);
        }
    }

    /// `from` (a bare JID) asks to see the user's presence, and no earlier request is pending: what the device has
    /// been told of that one does not count.
    pub fn asked_anew(&mut self, user: &str, identifier: &str, from: &str) {
        let key = self.schedule.identities.device(user, identifier);
        let request = StanzaId::request(from, self.key());
        if let Some(device) = self.schedule.devices.get_mut(key) {
            device.pushed.remove([Some(request), None]);
        }
    }

    /// The registration is suspended: nothing is pushed to it for `wait`, then what has come meanwhile
    /// is its trial.
    pub fn suspend(&mut self, now: Duration, user: &str, identifier: &str, wait: Duration) {
        registration::suspend(&mut self.schedule, now, user, identifier, wait);
    }

    /// Forgets a registration that has ended.
    pub fn forget(&mut self, now: Duration, user: &str, identifier: &str) {
        registration::forget(&mut self.schedule, now, user, identifier);
    }

    /// Forgets everything about a user.
    pub fn forget_user(&mut self, now: Duration, user: &str) {
        registration::forget_user(&mut self.schedule, now, user);
        self.witness.forget(user);
    }

    /// A sign of life: `from` is a push service that a stanza has come from. What is owed there goes out,
    /// paced by `push_recovery_rate`.
    pub fn heard(&mut self, now: Duration, from: &str) -> Option<ServiceChange> {
        let service = self.schedule.identities.service(from);
        self.schedule.alive(now, service, Sign::Heard)
    }

    /// The same: there is a connection with `host` now.
    pub fn connected(&mut self, now: Duration, host: &str) -> Vec<ServiceChange> {
        let there = self.schedule.services.at_host(host).into_iter();
        there
            .filter_map(|service| self.schedule.alive(now, service, Sign::Connected))
            .collect()
    }

    /// The connection of a component has ended: what it has not answered will not be answered. Where it answers errors
    /// alone, that is taken.
    pub fn disconnected(&mut self, now: Duration, host: &str) -> Vec<Report> {
        let reports = taken::disconnected(&mut self.schedule, now, host);
        for report in &reports {
            let condition = report.after.map(|_| "remote-server-timeout");
            self.witness.report(now, report, condition);
        }
        reports
    }

    /// What all devices are owed, and the push services that are failing, for how long. What has been
    /// sent and is not answered is among it, unless the answer could only be an error: nobody will be there to take it.
    pub fn owed(&self, now: Duration) -> (Vec<Owed>, Vec<FailingService>) {
        restart::owed(&self.schedule, now)
    }

    /// A device was owed this before a restart. `place` is its place among the others: not all of
    /// them shall go out at once.
    pub fn restore(&mut self, now: Duration, owed: &Owed, place: usize) {
        if restart::restore(&mut self.schedule, now, owed, place) {
            let DeviceName { user, identifier } = &owed.device;
            self.witness.add(now, user, identifier, Event::Restored);
        }
    }

    /// A push service was failing before a restart.
    pub fn restore_service(&mut self, now: Duration, failing: &FailingService) {
        restart::restore_service(&mut self.schedule, now, failing);
    }

    /// The JIDs of the push services whose signs of life are waited for, and of no others.
    pub fn services_watched(&mut self) -> Vec<String> {
        self.schedule.services.watched()
    }
}
