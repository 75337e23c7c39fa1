//! What is to be done about a stanza and a registration.

use std::time::Duration;

use super::about::About;
use super::identity::{DeviceKey, PushId, ServiceKey};
use super::reason::{Cause, Reason, Rule, Silence};
use crate::stanza::Importance;

/// What is to be done about a stanza and a registration.
#[derive(Debug, PartialEq, Eq)]
pub struct Decision {
    /// The registration's place in [`Account::registrations`](super::Account::registrations).
    pub registration: usize,
    /// The rule by which the stanza has met it.
    pub rule: Rule,
    /// How much the stanza matters.
    pub importance: Importance,
    /// What to do.
    pub verdict: Verdict,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Publish now, under this id.
    Push(PushId),
    /// Not yet: hand the stanza over to [`Engine::hold`](super::Engine::hold).
    Hold(Ticket),
    /// No push, and why.
    Silent(Silence),
}

impl Decision {
    /// Why.
    pub fn reason(&self) -> Reason {
        match &self.verdict {
            Verdict::Push(_) => Reason::Pushed,
            Verdict::Hold(ticket) => Reason::Held {
                cause: ticket.cause,
                until: ticket.until,
            },
            Verdict::Silent(silence) => Reason::Silent(*silence),
        }
    }
}

/// The place of a stanza that has to wait; see [`Engine::hold`](super::Engine::hold).
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub struct Ticket {
    pub(super) device: DeviceKey,
    pub(super) about: About,
    pub(super) wait: Wait,
    pub(super) cause: Cause,
    /// Until when, if that is known.
    pub(super) until: Option<Duration>,
}

/// What a stanza has to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    Until(Duration),
    Room,
    SignOfLife(ServiceKey),
}

impl Wait {
    /// Until when, if that is known.
    pub fn until(self) -> Option<Duration> {
        match self {
            Self::Until(until) => Some(until),
            Self::Room | Self::SignOfLife(_) => None,
        }
    }
}
