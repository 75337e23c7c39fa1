//! Whose devices are told that the user has read everything on another one.

use super::record::{Asked, Field};

/// Tigase's set: whoever asks for any of these knows what a notification without messages means.
const TIGASE: [Field; 6] = [
    Field::Encryption,
    Field::Priority,
    Field::MutedJids,
    Field::GroupchatRules,
    Field::Jingle,
    Field::Away,
];

/// `push_notify_read`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NotifyRead {
    /// Those that ask for any of Tigase's extensions.
    #[default]
    Asked,
    /// All.
    All,
    /// None.
    None,
}

impl NotifyRead {
    /// The choice of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "asked" => Some(Self::Asked),
            "true" => Some(Self::All),
            "false" => Some(Self::None),
            _ => None,
        }
    }

    /// Whether the device of this registration is among them.
    pub fn includes(self, record: &dyn Asked) -> bool {
        match self {
            Self::Asked => TIGASE.into_iter().any(|field| record.is_set(field)),
            Self::All => true,
            Self::None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One(Field);

    impl Asked for One {
        fn is_set(&self, field: Field) -> bool {
            field == self.0
        }
    }

    #[test]
    fn whoever_speaks_tigases_protocols_has_asked() {
        for field in TIGASE {
            assert!(NotifyRead::Asked.includes(&One(field)));
            assert!(!NotifyRead::None.includes(&One(field)));
        }
        for field in [Field::FilterUnknown, Field::Algorithm] {
            assert!(!NotifyRead::Asked.includes(&One(field)));
            assert!(NotifyRead::All.includes(&One(field)));
        }
    }

    #[test]
    fn choices_have_the_names_that_are_documented() {
        let named = ["asked", "true", "false", "none"].map(NotifyRead::from_name);
        let expected = [NotifyRead::Asked, NotifyRead::All, NotifyRead::None];
        assert_eq!(named[..3], expected.map(Some));
        assert_eq!(named[3], None);
    }
}
