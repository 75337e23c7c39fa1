//! Pushes under way and what comes back.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use xmpp_parsers::jid::Jid;

use super::device::DeviceKey;
use super::{Due, Engine};

/// The id of a push: the `id` of its IQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PushId(pub(super) u64);

impl fmt::Display for PushId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "push-{:016x}", self.0)
    }
}

impl FromStr for PushId {
    type Err = ();

    fn from_str(id: &str) -> Result<Self, ()> {
        let digits = id
            .strip_prefix("push-")
            .filter(|digits| digits.len() == 16)
            .ok_or(())?;
        u64::from_str_radix(digits, 16).map(Self).map_err(|_| ())
    }
}

/// What a push service said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The IQ result.
    Result,
    /// An error, with its type and defined condition (RFC 6120 section 8.3), as far as it has them.
    Error {
        /// `cancel`, `wait`, …
        kind: Option<&'a str>,
        /// `item-not-found`, …
        condition: Option<&'a str>,
    },
}

impl Answer<'_> {
    /// Whether the fault lies with the registration. Whatever may pass does not count.
    fn is_permanent(self) -> bool {
        match self {
            Self::Result => false,
            Self::Error { kind, condition } => {
                matches!(kind, Some("auth" | "cancel" | "continue" | "modify"))
                    && !matches!(
                        condition,
                        Some(
                            "internal-server-error"
                                | "recipient-unavailable"
                                | "remote-server-not-found"
                                | "remote-server-timeout"
                                | "resource-constraint"
                                | "service-unavailable"
                        )
                    )
            }
        }
    }
}

/// What an answer means for the registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whose device it is.
    pub device: Due,
    /// Permanent errors in a row.
    pub errors: u32,
    /// A permanent error has been counted.
    pub refused: bool,
    /// `push_max_errors` is reached: the registration has to go.
    pub ended: bool,
}

pub(super) struct InFlight {
    pub device: DeviceKey,
    pub jid: Box<str>,
    /// It has taken a token from the device's bucket.
    pub metered: bool,
    pub deadline: Duration,
}

impl<S> Engine<S> {
    /// Takes an answer to a push. `None` if it is none: not an id of ours, not (or no longer)
    /// awaited, or not from the JID that was asked.
    pub fn answered(&mut self, id: &str, from: &str, answer: Answer<'_>) -> Option<Report> {
        let id = id.parse().ok()?;
        if !is_same_jid(&self.in_flight.get(&id)?.jid, from) {
            return None;
        }
        let push = self.take_in_flight(id)?;
        let max_errors = self.options.max_errors;
        let due = self.due(push.device)?;
        let device = self.devices.get_mut(&push.device)?;
        let refused = answer.is_permanent();
        if answer == Answer::Result {
            device.errors = 0;
        } else if refused {
            device.errors = device.errors.saturating_add(1);
        }
        Some(Report {
            device: due,
            errors: device.errors,
            refused,
            ended: refused && device.errors >= max_errors,
        })
    }
}

/// Stores may hold JIDs that an older version did not normalise (RFC 7622); addresses on
/// stanzas always are.
fn is_same_jid(asked: &str, from: &str) -> bool {
    asked == from || Jid::new(asked).is_ok_and(|asked| asked.as_str() == from)
}
