//! What there is, and what would be: for administrators, statistics and tests. The rules are elsewhere.

use std::time::Duration;

use super::account::Account;
use super::face::Engine;
use super::meeting;
use super::reason::{Reason, Rule, Silence};
use super::rules;
use super::trail::{Entry, Event};

/// The trail.
impl<S> Engine<S> {
    /// What has happened to a user's devices, newest last, as far as it is remembered.
    pub fn trail(&self, user: &str) -> Vec<Entry<'_>> {
        self.trail.of(user)
    }

    /// What would become of an important message for a registration now.
    pub fn outlook(&mut self, now: Duration, account: &Account<'_>, registration: usize) -> Reason {
        let registration = &account.registrations[registration];
        meeting::outlook(&mut self.schedule, now, account, registration)
    }

    /// A stanza has been archived for which nobody is pushed, whatever it is: see [`rules::silent_unless_call`].
    pub fn archived_unread(&mut self, now: Duration, account: &Account<'_>) {
        for registration in account.registrations {
            let identifier = registration.identifier;
            if let Some(silence) = rules::archived(&account.of(registration), identifier) {
                let event = Event::unread(Rule::Archived, silence);
                self.trail.add(now, account.user, identifier, event);
            }
        }
    }

    /// A stanza has been left out for all registrations of the account, without a look at it.
    pub fn left_unread(
        &mut self,
        now: Duration,
        rule: Rule,
        account: &Account<'_>,
        silence: Silence,
    ) {
        for registration in account.registrations {
            let event = Event::unread(rule, silence);
            self.trail
                .add(now, account.user, registration.identifier, event);
        }
    }
}

/// What there is.
impl<S> Engine<S> {
    /// How many pushes wait for an answer.
    pub fn in_flight(&self) -> usize {
        self.schedule.in_flight.len()
    }

    /// How many devices there are with something that waits.
    pub fn waiting(&self) -> usize {
        let devices = self.schedule.devices.iter();
        devices.filter(|(_, one)| one.waiting.is_some()).count()
    }

    /// The JIDs of the push services whose signs of life are waited for, and of no others.
    pub fn services_watched(&mut self) -> Vec<String> {
        self.schedule.services.watched()
    }

    /// The JIDs of the push services that are left alone because they failed.
    pub fn services_out(&self) -> Vec<String> {
        self.schedule.services.out()
    }

    /// How many push services there is something to be known of: a push under way, a failure.
    pub fn services(&self) -> usize {
        self.schedule.services.len()
    }

    /// Whether this is the id of a push that waits for its answer.
    pub fn is_in_flight(&self, id: &str) -> bool {
        let in_flight = &self.schedule.in_flight;
        id.parse().is_ok_and(|id| in_flight.contains(id))
    }
}
