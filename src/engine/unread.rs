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

    /// So many stanzas have been left out for all registrations of the account, without a look at them.
    pub fn left_unread(
        &mut self,
        now: Duration,
        rule: Rule,
        account: &Account<'_>,
        silence: Silence,
        count: u32,
    ) {
        for registration in account.registrations {
            if silence == Silence::SpokenFor && count > 0 {
                self.schedule
                    .spoke_for_more(account.user, registration.identifier);
            }
            let event = Event::unread(rule, silence);
            self.witness
                .add_many(now, account.user, registration.identifier, event, count);
        }
    }

    /// A stanza has come for a user whose registrations cannot be read.
    pub fn blind(&mut self, now: Duration, user: &str) {
        self.witness.add(now, user, "", Event::Blind);
    }
}
