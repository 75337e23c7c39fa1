//! The three business rules: which registrations a stanza is for.

use super::account::{Account, Connection};
use crate::stanza::{Facts, Importance};

/// The rule by which a stanza meets a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Rule (a): unacknowledged in the stream management queue of a session.
    Unacked {
        /// Its place in [`Account::sessions`].
        session: usize,
    },
    /// Rule (b): stored in the user's archive.
    Archived,
    /// Rule (b), for a stanza that is in the archive: not acknowledged by a session that has ended.
    Undelivered,
    /// Rule (c): in offline storage.
    Offline,
    /// Rule (c): a groupchat message to the bare JID.
    Room,
}

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

impl Rule {
    /// Who learns without a push of a stanza that this rule meets.
    pub(super) fn receiver(self, importance: Importance) -> Receiver {
        match self {
            // Nobody is called by the archive.
            Self::Archived if importance == Importance::Urgent => Receiver::AvailableSession,
            Self::Unacked { .. } | Self::Archived | Self::Undelivered => Receiver::AnySession,
            Self::Offline => Receiver::AvailableSession,
            Self::Room => Receiver::Nobody,
        }
    }
}

impl Receiver {
    /// Whether the device has received the stanza meanwhile, or does now.
    pub(super) fn is_there(self, account: &Account<'_>, identifier: &str) -> bool {
        match self {
            Self::AnySession => account.is_online(identifier),
            Self::AvailableSession => account.is_receiving(identifier),
            Self::Nobody => false,
        }
    }
}

/// Why there is no push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Silence {
    /// The device has a live session.
    Online,
    /// The device has a hibernated session: rule (a) takes care of it.
    Hibernated,
    /// There was a push for this stanza, or the device has received it.
    AlreadyPushed,
    /// An important push has just woken the device.
    SpokenFor,
    /// It is the user's own copy of what went to somebody else.
    NotRecipient,
    /// It is no longer on its way, and not in the archive.
    NotArchived,
    /// It has nothing to show, and its session has ended.
    Unimportant,
    /// `push_notify_on` leaves it out.
    NotWanted,
    /// It is itself a push: two who name each other as push service would wake each other for ever.
    IsPush,
}

impl Silence {
    /// A phrase for the log.
    pub(super) fn phrase(self) -> &'static str {
        match self {
            Self::Online => "device is online",
            Self::Hibernated => "device hibernates, stream management takes care of it",
            Self::AlreadyPushed => "already pushed",
            Self::SpokenFor => "device has just been woken",
            Self::NotRecipient => "user is not the recipient",
            Self::NotArchived => "not delivered, and not in the archive",
            Self::Unimportant => "not delivered, and not important",
            Self::IsPush => "stanza is itself a push",
            Self::NotWanted => "left out by push_notify_on",
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
        Rule::Archived | Rule::Undelivered if !facts.to_account => Some(Silence::NotRecipient),
        Rule::Undelivered if facts.importance < Importance::Important => Some(Silence::Unimportant),
        Rule::Undelivered => archived(account, identifier),
        // A call must ring even where a connection has died unnoticed.
        _ if facts.importance == Importance::Urgent => None,
        Rule::Archived => archived(account, identifier),
        Rule::Offline => offline(account, identifier),
        Rule::Room => None,
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
            && session.identifier == Some(identifier)
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

/// Rule (b): registrations without a live or hibernated session.
fn archived(account: &Account<'_>, identifier: &str) -> Option<Silence> {
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
