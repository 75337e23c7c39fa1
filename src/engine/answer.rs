//! What a push service says, and what becomes of a push with that.

/// The defined conditions of RFC 6120 section 8.3.3.
pub(super) const CONDITIONS: [&str; 22] = [
    "bad-request",
    "conflict",
    "feature-not-implemented",
    "forbidden",
    "gone",
    "internal-server-error",
    "item-not-found",
    "jid-malformed",
    "not-acceptable",
    "not-allowed",
    "not-authorized",
    "policy-violation",
    "recipient-unavailable",
    "redirect",
    "registration-required",
    "remote-server-not-found",
    "remote-server-timeout",
    "resource-constraint",
    "service-unavailable",
    "subscription-required",
    "undefined-condition",
    "unexpected-request",
];

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

/// What has become of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The service has taken it.
    Delivered,
    /// The same, and the registration was suspended: it is in force again.
    Revived,
    /// A transient failure, or no answer in time: the device is owed a push, unless it is back.
    Failed,
    /// A permanent error, which counts.
    Refused,
    /// The last one of `push_max_errors`, or a trial has failed: the registration is to be
    /// suspended ([`Engine::suspend`](super::Engine::suspend)).
    Suspended,
    /// The same, and the service says that the node is dead: the registration has to go.
    Removed,
}

impl Outcome {
    /// All of them, in their order.
    pub(super) const ALL: [Self; 6] = [
        Self::Delivered,
        Self::Revived,
        Self::Failed,
        Self::Refused,
        Self::Suspended,
        Self::Removed,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Revived => "revived",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Suspended => "suspended",
            Self::Removed => "removed",
        }
    }
}

/// Whose fault it is that a push was not taken. None of them counts towards `push_max_errors`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// There is no way to the service.
    Route,
    /// The service does not answer.
    Silence,
    /// The service speaks of itself.
    Service,
    /// The service speaks of this registration.
    Device,
}

impl Answer<'_> {
    /// Whose fault it is; none for a result and for an error that blames the registration for good.
    pub(super) fn fault(self) -> Option<Fault> {
        let Self::Error { kind, condition } = self else {
            return None;
        };
        match condition {
            Some("remote-server-not-found" | "remote-server-timeout") => Some(Fault::Route),
            Some("internal-server-error" | "service-unavailable") => Some(Fault::Service),
            Some("recipient-unavailable" | "resource-constraint") => Some(Fault::Device),
            _ => match kind {
                Some("auth" | "cancel" | "continue" | "modify") => None,
                _ => Some(Fault::Device),
            },
        }
    }

    /// The condition of an error. A peer may write anything; only those that are defined are passed on.
    pub fn condition(self) -> Option<&'static str> {
        let Self::Error { condition, .. } = self else {
            return None;
        };
        let mut defined = CONDITIONS.into_iter();
        let found = defined.find(|defined| condition == Some(*defined));
        Some(found.unwrap_or("undefined-condition"))
    }

    /// Whether the service says that the node is dead for good.
    pub(super) fn is_final(self) -> bool {
        matches!(
            self,
            Self::Error {
                condition: Some("item-not-found" | "gone"),
                ..
            }
        )
    }

    /// Whether whoever says this is alive, and not our own server that bounces a push, nor a service that says
    /// that it does not work.
    pub(super) fn is_sign_of_life(self) -> bool {
        self.fault().is_none_or(|fault| fault == Fault::Device)
    }
}
