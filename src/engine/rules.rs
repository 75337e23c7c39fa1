//! The business rules: which registrations a stanza is for.

use super::account::{Account, Connection};
use super::reason::{Rule, Silence};
use crate::stanza::{Facts, Importance};

/// Who learns of a stanza without a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Receiver {
    /// Any session: it is in its queue, or in the archive.
    AnySession,
    /// One that is available with a priority of zero or more gets what offline storage has.
    AvailableSession,
    /// Nobody.
    Nobody,
}

impl Receiver {
    /// Who learns without a push of a stanza that `rule` meets.
    pub(super) fn of(rule: Rule, importance: Importance) -> Self {
        match rule {
            // Nobody is called by the archive.
            Rule::Archived if importance == Importance::Urgent => Self::AvailableSession,
            Rule::Unacked { .. }
            | Rule::Archived
            | Rule::Undelivered
            | Rule::Sent
            | Rule::Away
            | Rule::Subscription => Self::AnySession,
            Rule::Offline => Self::AvailableSession,
            Rule::Room => Self::Nobody,
        }
    }

    /// Whether the device has received the stanza meanwhile, or does now.
    pub(super) fn is_there(self, account: &Account<'_>, identifier: &str) -> bool {
        match self {
            Self::AnySession => account.is_online(identifier),
            Self::AvailableSession => account.is_receiving(identifier),
            Self::Nobody => false,
        }
    }
}

/// Whether `rule` leaves the registration out, and why.
pub(super) fn silence(
    rule: Rule,
    account: &Account<'_>,
    identifier: &str,
    facts: &Facts,
) -> Option<Silence> {
    match rule {
        _ if facts.push => Some(Silence::IsPush),
        Rule::Unacked { session } => unacked(account, session, identifier),
        Rule::Sent => Some(Silence::NotRecipient),
        Rule::Archived | Rule::Undelivered | Rule::Away if !facts.to_account => {
            Some(Silence::NotRecipient)
        }
        Rule::Undelivered | Rule::Away if facts.importance < Importance::Important => {
            Some(Silence::Unimportant)
        }
        Rule::Undelivered => archived(account, identifier),
        // A call must ring even where a connection has died unnoticed.
        _ if facts.importance == Importance::Urgent => None,
        Rule::Archived | Rule::Away | Rule::Subscription => archived(account, identifier),
        Rule::Offline => offline(account, identifier),
        Rule::Room => None,
    }
}

/// The same for the end of a call that rings there, whoever has sent it: what is online stops by itself.
pub(super) fn silence_of_end(
    rule: Rule,
    account: &Account<'_>,
    identifier: &str,
) -> Option<Silence> {
    match rule {
        Rule::Unacked { session } => unacked(account, session, identifier),
        _ => account.is_online(identifier).then_some(Silence::Online),
    }
}

/// Rule (a): unless another session of the same device is there to take over. Why there is no push for any
/// stanza of the queue of `account.sessions[own]`.
pub fn unacked(account: &Account<'_>, own: usize, identifier: &str) -> Option<Silence> {
    let overdue = account
        .sessions
        .get(own)
        .is_some_and(|session| matches!(session.connection, Connection::Live { .. }));
    let taken_over = account.sessions.iter().enumerate().any(|(index, session)| {
        index != own
            && session.is_attached(identifier)
            && match session.connection {
                // Of two with an overdue acknowledgement, neither proves the device alive.
                Connection::Live { ack_overdue, .. } => !(overdue && ack_overdue),
                Connection::Hibernated | Connection::Gone => false,
            }
    });
    taken_over.then_some(Silence::Online)
}

/// Why rule (b) has no push for any registration, whatever the stanza, unless it is a call.
/// `None` if it depends on the stanza.
pub fn silent_unless_call(account: &Account<'_>) -> Option<Silence> {
    let mut reasons = account
        .registrations
        .iter()
        .map(|one| archived(&account.of(one), one.identifier));
    let first = reasons.next()??;
    reasons.all(|reason| reason.is_some()).then_some(first)
}

/// Rule (b), and all that others of the user's devices may have: registrations without a live or hibernated session.
pub(super) fn archived(account: &Account<'_>, identifier: &str) -> Option<Silence> {
    if account.is_live(identifier) {
        Some(Silence::Online)
    } else if account.is_hibernated(identifier) {
        Some(Silence::Hibernated)
    } else {
        None
    }
}

/// Rule (c): registrations without a session that is live and available, for no other receives what
/// goes to offline storage. It is in no stream management queue, so a hibernated one does not learn of it.
fn offline(account: &Account<'_>, identifier: &str) -> Option<Silence> {
    account.is_available(identifier).then_some(Silence::Online)
}
