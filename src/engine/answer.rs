//! What a push service says.

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
