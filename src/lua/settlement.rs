//! What a meeting of stanzas and registrations has led to, until the shim has it settled.

use std::collections::VecDeque;

use mlua::RegistryKey;

use crate::engine::{Decision, Engine, Reason, Registration, Ticket, Verdict};
use crate::notification::{Notification, Protocol, Push};
use crate::stanza::{Importance, StanzaId};

/// Where the shim has the record of the registration.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Among the user's.
    Records,
    /// In the session, as that of this protocol.
    Session(Protocol),
}

/// A notification for the stanza at this place of a queue; 0 is the stanza itself.
pub struct Pending {
    pub place: usize,
    pub source: Source,
    pub notification: Notification,
}

/// The place of a stanza that has to wait.
pub struct Held {
    pub place: usize,
    pub ticket: Ticket,
    /// The push will carry content.
    pub content: bool,
}

/// What has to be settled.
#[derive(Default)]
pub struct Settlement {
    pub pending: VecDeque<Pending>,
    pub holds: Vec<Held>,
    /// Registrations and reasons, each pair once.
    pub silent: Vec<(String, Reason)>,
    /// Stanzas that have been given an identity, to be marked with it.
    pub marks: Vec<(usize, StanzaId)>,
    /// It is a call.
    pub rings: bool,
}

impl Settlement {
    /// Takes a decision about a registration; returns the push if it is one.
    pub fn take(
        &mut self,
        engine: &Engine<RegistryKey>,
        place: usize,
        registration: &Registration<'_>,
        decision: Decision,
    ) -> Option<Push> {
        let identifier = registration.identifier;
        let importance = decision.importance;
        self.rings |= importance == Importance::Urgent;
        let reason = decision.reason();
        match decision.verdict {
            Verdict::Push(id) => return Some(Push::new(id, importance, engine.count(id))),
            Verdict::Hold(ticket) => self.holds.push(Held {
                place,
                ticket,
                content: registration.is_telling(importance),
            }),
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
