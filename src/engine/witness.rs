//! Who has to know what happens: the trail of the user, and the counters. They are told here alone, so that neither
//! is forgotten.

use std::time::Duration;

use super::counts::Counts;
use super::delivery::Report;
use super::identity::DeviceName;
use super::registering;
use super::trail::{Event, Trail};

/// The trails of a host's users, and its counters.
pub(super) struct Witness {
    trail: Trail,
    counts: Counts,
}

impl Witness {
    /// One that keeps trails, or not; it counts in any case.
    pub fn new(has_trail: bool) -> Self {
        Self {
            trail: Trail::new(has_trail),
            counts: Counts::default(),
        }
    }

    /// Turns the trails on or off.
    pub fn turn_trail(&mut self, is_on: bool) {
        self.trail.turn(is_on);
    }

    /// Something has happened to a device.
    pub fn add(&mut self, now: Duration, user: &str, identifier: &str, event: Event) {
        self.add_many(now, user, identifier, event, 1);
    }

    /// The same so many times.
    pub fn add_many(
        &mut self,
        now: Duration,
        user: &str,
        identifier: &str,
        event: Event,
        count: u32,
    ) {
        if count > 0 {
            let is_push2 = registering::is_push2(identifier);
            self.counts.add(&event, count, is_push2);
            self.trail.add(now, user, identifier, event, count);
        }
    }

    /// A push is over; `condition` is that of the error, if there was one. That its registration has ended makes it no
    /// less of an answer.
    pub fn report(&mut self, now: Duration, report: &Report, condition: Option<&'static str>) {
        let event = report.event(condition);
        match &report.device {
            Some(DeviceName { user, identifier }) => {
                self.add(now, user, identifier, event);
                if report.served {
                    self.add(now, user, identifier, Event::SERVED);
                }
            }
            None => self.counts.add(&event, 1, false),
        }
    }

    /// Forgets a user.
    pub fn forget(&mut self, user: &str) {
        self.trail.forget(user);
    }

    pub fn trail(&self) -> &Trail {
        &self.trail
    }

    pub fn counts(&mut self) -> &mut Counts {
        &mut self.counts
    }
}
