//! What an account looks like at the moment of an event.

use std::time::Duration;

use super::reason::Silence;
use crate::stanza::Importance;

/// A user, the registrations and the sessions.
#[derive(Debug, Clone, Copy)]
pub struct Account<'a> {
    /// The user name (the localpart).
    pub user: &'a str,
    /// All registrations, suspended ones among them.
    pub registrations: &'a [Registration<'a>],
    /// All sessions of the user, whatever they are attached to.
    pub sessions: &'a [Session<'a>],
}

/// One (user, push service, node).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registration<'a> {
    /// `jid .. "<" .. (node or "")`.
    pub identifier: &'a str,
    /// The push service: where publishes go to and answers must come from.
    pub jid: &'a str,
    /// Its pushes carry content (encrypted, or with the body), so that one important
    /// stanza cannot speak for another.
    pub content: bool,
    /// It is told of each call, of its beginning and of its end.
    pub calls: bool,
    /// Why an extension that the client has asked for leaves the stanza out.
    pub left_out: Option<Silence>,
    /// It is suspended, and for how long before the next trial.
    pub suspended: Option<Duration>,
    /// The text by which its push service knows the device, where that answers errors alone (push2); none where it
    /// answers each push (XEP-0357).
    pub client: Option<&'a str>,
}

impl Registration<'_> {
    /// Whether a push that matters so much says something that no other does.
    pub fn is_telling(&self, importance: Importance) -> bool {
        self.content || self.calls && importance == Importance::Urgent
    }
}

/// A session, as its fields say at the moment of the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session<'a> {
    /// The registrations that it is attached to, one of each protocol.
    pub identifiers: [Option<&'a str>; 2],
    /// How it is connected.
    pub connection: Connection,
}

impl Session<'_> {
    /// Whether it is attached to the registration.
    pub fn is_attached(&self, identifier: &str) -> bool {
        self.identifiers.contains(&Some(identifier))
    }

    /// Whether both are attached to the same registration.
    pub fn shares_registration(&self, other: &Self) -> bool {
        let mut own = self.identifiers.into_iter().flatten();
        own.any(|identifier| other.is_attached(identifier))
    }
}

/// How a session is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// Connected.
    Live {
        /// The client has not answered a request for acknowledgement (XEP-0198) in time.
        ack_overdue: bool,
        /// It has sent presence, with a priority of zero or more (RFC 6121 section 8.5.2): it receives
        /// what is sent to the bare JID.
        available: bool,
    },
    /// Connection gone, resumable (XEP-0198).
    Hibernated,
    /// It ends while the event is fired: nothing reaches the client through it any more.
    Gone,
}

impl Account<'_> {
    /// What counts of it for a registration: one that is suspended has no sessions, whoever has
    /// attached some.
    pub(super) fn of(self, registration: &Registration<'_>) -> Self {
        if registration.suspended.is_some() {
            Self {
                sessions: &[],
                ..self
            }
        } else {
            self
        }
    }

    /// Whether a session of the registration is live, with no acknowledgement overdue.
    pub fn is_online(&self, identifier: &str) -> bool {
        self.has(identifier, |connection| {
            matches!(
                connection,
                Connection::Live {
                    ack_overdue: false,
                    ..
                }
            )
        })
    }

    /// Whether a session of the registration is live and available, with no acknowledgement overdue.
    pub fn is_receiving(&self, identifier: &str) -> bool {
        self.has(identifier, |connection| {
            connection
                == Connection::Live {
                    ack_overdue: false,
                    available: true,
                }
        })
    }

    /// Whether a session of the registration is live and available.
    pub fn is_available(&self, identifier: &str) -> bool {
        self.has(identifier, |connection| {
            matches!(
                connection,
                Connection::Live {
                    available: true,
                    ..
                }
            )
        })
    }

    /// Whether a session of the registration is live.
    pub fn is_live(&self, identifier: &str) -> bool {
        self.has(identifier, |connection| {
            matches!(connection, Connection::Live { .. })
        })
    }

    /// Whether a session of the registration hibernates.
    pub fn is_hibernated(&self, identifier: &str) -> bool {
        self.has(identifier, |connection| {
            connection == Connection::Hibernated
        })
    }

    fn has(&self, identifier: &str, is: impl Fn(Connection) -> bool) -> bool {
        self.sessions
            .iter()
            .any(|session| session.is_attached(identifier) && is(session.connection))
    }
}
