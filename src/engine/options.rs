//! The administrator's choices.

use std::time::Duration;

use crate::stanza::{Facts, Importance};

/// Which stanzas may wake a device (`push_notify_on`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NotifyOn {
    /// Every stanza that the rules meet.
    #[default]
    All,
    /// Messages only.
    Messages,
    /// Important messages only.
    Important,
}

impl NotifyOn {
    /// The choice of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "all" => Some(Self::All),
            "messages" => Some(Self::Messages),
            "important" => Some(Self::Important),
            _ => None,
        }
    }

    pub(super) fn wants(self, stanza: &Facts) -> bool {
        match self {
            Self::All => true,
            Self::Messages => stanza.message,
            Self::Important => stanza.importance >= Importance::Important,
        }
    }
}

/// The administrator's choices, as far as they concern the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `push_max_errors`: permanent errors in a row that end a registration.
    pub max_errors: u32,
    /// `push_coalesce_window`: for how long an important push of rule (a) speaks for what follows.
    pub coalesce_window: Duration,
    /// `push_answer_timeout`: how long a push service may take to answer.
    pub answer_timeout: Duration,
    /// `push_max_per_minute`: pushes by rules (b) and (c) per device; 0 for no limit.
    pub max_per_minute: u32,
    /// `push_notify_on`.
    pub notify_on: NotifyOn,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_errors: 16,
            coalesce_window: Duration::from_secs(1),
            answer_timeout: Duration::from_mins(2),
            max_per_minute: 60,
            notify_on: NotifyOn::All,
        }
    }
}
