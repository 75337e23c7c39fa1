//! What a push is about.

use std::time::Duration;

use super::pushed::Ids;
use super::rules::Receiver;
use crate::stanza::{Call, Importance};

/// For how long a call rings. What is owed later than that is the push for a missed one.
pub(super) const MAX_RINGING: Duration = Duration::from_mins(1);

/// What a push is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct About {
    pub ids: Ids,
    pub importance: Importance,
    /// The call that it begins, or ends.
    pub call: Option<Call>,
    /// Who learns of it without a push.
    pub receiver: Receiver,
}

impl About {
    /// No stanza that is known.
    pub fn nothing(importance: Importance) -> Self {
        Self {
            ids: [None, None],
            importance,
            call: None,
            receiver: Receiver::AnySession,
        }
    }

    /// The same, if it is not a call that `end` ends; else that it was missed. Whether it was.
    pub fn end_call(&mut self, end: Call) -> bool {
        let is_over = self.call.is_some_and(|call| end.ends(call));
        if is_over {
            self.miss_call();
        }
        is_over
    }

    /// It is too late for a call to ring, or to stop.
    pub fn miss_call(&mut self) {
        let most = if self.is_end() {
            Importance::Unimportant
        } else {
            Importance::Important
        };
        self.call = None;
        self.importance = self.importance.min(most);
    }

    /// Whether it stops a call that rings.
    pub fn is_end(&self) -> bool {
        self.importance == Importance::Urgent && self.call.is_some_and(Call::is_end)
    }

    /// How much it matters without its stanza: nothing rings then, and nothing stops.
    pub fn importance_untold(&self) -> Importance {
        let mut untold = *self;
        if self.is_end() {
            untold.miss_call();
        }
        untold.importance
    }

    /// Whether it tells of something: that a call is over is no news.
    pub fn is_news(&self) -> bool {
        self.importance_untold() >= Importance::Important
    }

    /// Both in one, as far as it matters to whoever is told of one of them.
    pub fn merge(self, other: Self) -> Self {
        let more = if other.importance > self.importance {
            other
        } else {
            self
        };
        Self {
            receiver: self.receiver.max(other.receiver),
            ..more
        }
    }
}
