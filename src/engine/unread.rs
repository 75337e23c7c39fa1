//! Stanzas that nobody has had to look at: they are witnessed all the same.

use std::time::Duration;

use super::account::Account;
use super::face::Engine;
use super::reason::{Rule, Silence};
use super::rules;
use super::trail::Event;

impl<S> Engine<S> {
    /// A stanza has been archived for which nobody is pushed, whatever it is: see [`rules::silent_unless_call`].
    pub fn archived_unread(&mut self, now: Duration, account: &Account<'_>) {
        for registration in account.registrations {
            let identifier = registration.identifier;
            if let Some(silence) = rules::archived(&account.of(registration), identifier) {
                let event = Event::unread(Rule::Archived, silence);
                self.witness.add(now, account.user, identifier, event);
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
            self.witness
                .add(now, account.user, registration.identifier, event);
        }
    }
}
