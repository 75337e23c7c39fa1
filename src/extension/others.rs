//! The community's modules that do what extensions do here.

/// A module of the community.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Community {
    /// `mod_cloud_notify_encrypted`.
    Encrypted,
    /// `mod_cloud_notify_filters`.
    Filters,
    /// `mod_cloud_notify_priority_tag`.
    PriorityTag,
    /// `mod_push2`: no extension, but all of `urn:xmpp:push2:0`.
    Push2,
}

impl Community {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Encrypted,
        Self::Filters,
        Self::PriorityTag,
        Self::Push2,
    ];

    /// The name of the module.
    pub fn module(self) -> &'static str {
        match self {
            Self::Encrypted => "cloud_notify_encrypted",
            Self::Filters => "cloud_notify_filters",
            Self::PriorityTag => "cloud_notify_priority_tag",
            Self::Push2 => "push2",
        }
    }
}

/// Those that are loaded for a host: what they do is left to them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Others([bool; Community::ALL.len()]);

impl Others {
    /// One more.
    pub fn add(&mut self, module: Community) {
        self.0[module as usize] = true;
    }

    /// Whether it is among them.
    pub fn has(self, module: Option<Community>) -> bool {
        module.is_some_and(|module| self.0[module as usize])
    }
}
