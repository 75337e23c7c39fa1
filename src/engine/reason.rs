//! Why a device is pushed to, has to wait, or gets nothing: what a log, a trail or a count of decisions is made of.

use std::time::Duration;

use super::rules::{Rule, Silence};

/// Why stanzas wait. What comes later is the stronger reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Unimportant ones wait for the end of `push_coalesce_window`.
    Window,
    /// `push_max_per_minute` is reached.
    Rate,
    /// Too many pushes wait for an answer.
    Room,
    /// The device is owed a push that the push service could not take.
    Debt,
    /// The registration is suspended until its next trial.
    Suspension,
}

/// What has become of a stanza and a registration, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A push has left, by this rule.
    Pushed(Rule),
    /// It waits for this, and if that is known, until then.
    Held {
        /// What it waits for.
        cause: Cause,
        /// Until when, if that is known.
        until: Option<Duration>,
    },
    /// There is no push.
    Silent(Silence),
}

impl Reason {
    /// A phrase for the log.
    pub fn phrase(self) -> &'static str {
        match self {
            Self::Pushed(_) => "pushed",
            Self::Held { cause, .. } => cause.phrase(),
            Self::Silent(silence) => silence.phrase(),
        }
    }
}

impl Cause {
    fn phrase(self) -> &'static str {
        match self {
            Self::Window => "not important, waits for the end of push_coalesce_window",
            Self::Rate => "more than push_max_per_minute, waits for its turn",
            Self::Room => "too many pushes wait for an answer, waits for one",
            Self::Debt => "push service could not take the last one, waits for the next attempt",
            Self::Suspension => "registration is suspended, waits for the next trial",
        }
    }
}
