//! How much a stanza matters.

/// How much a stanza matters to the person who holds the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Importance {
    /// Nothing to show: chat states, receipts, presence.
    Unimportant,
    /// The device should show something.
    Important,
    /// It must not wait: a call. An urgent stanza is important, too.
    Urgent,
}

impl Importance {
    /// All of them, in their order.
    pub(crate) const ALL: [Self; 3] = [Self::Unimportant, Self::Important, Self::Urgent];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unimportant => "unimportant",
            Self::Important => "important",
            Self::Urgent => "urgent",
        }
    }
}
