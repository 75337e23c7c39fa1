//! What a meeting of stanzas and registrations has led to, until the shim has it settled.

use std::collections::VecDeque;

use crate::engine::{Decision, Reason, Ticket, Verdict};
use crate::notification::{Notification, Push};
use crate::stanza::{Importance, StanzaId};

/// A notification for the stanza at this place of a queue; 0 is the stanza itself.
pub struct Pending {
    pub place: usize,
    pub notification: Notification,
}

/// What has to be settled.
#[derive(Default)]
pub struct Settlement {
    pub pending: VecDeque<Pending>,
    /// Tickets, with the places of their stanzas.
    pub holds: Vec<(usize, Ticket)>,
    /// Registrations and reasons, each pair once.
    pub silent: Vec<(String, Reason)>,
    /// Stanzas that have been given an identity, to be marked with it.
    pub marks: Vec<(usize, StanzaId)>,
    /// It is a call.
    pub rings: bool,
}

impl Settlement {
    /// Takes a decision; returns the push if it is one.
    pub fn take(&mut self, place: usize, identifier: &str, decision: Decision) -> Option<Push> {
        let importance = decision.importance;
        self.rings |= importance == Importance::Urgent;
        let reason = decision.reason();
        match decision.verdict {
            Verdict::Push(id) => return Some(Push { id, importance }),
            Verdict::Hold(ticket) => self.holds.push((place, ticket)),
            Verdict::Silent(_) => {}
        }
        let noted =
            |(who, why): &(String, Reason)| who == identifier && why.phrase() == reason.phrase();
        if !self.silent.iter().any(noted) {
            self.silent.push((identifier.to_owned(), reason));
        }
        None
    }

    /// The stanza at this place has been given an identity.
    pub fn mark(&mut self, place: usize, id: StanzaId) {
        self.marks.push((place, id));
    }

    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.holds.is_empty() && self.marks.is_empty()
    }
}
