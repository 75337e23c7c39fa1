//! The profiles that `<match/>` and `<send/>` may name, each by its URI.

use crate::wire::ns::PUSH2;

/// All that the account's disco#info tells of it.
pub const FEATURES: [&str; 7] = [
    PUSH2,
    Profile::ALL[0].uri(),
    Profile::ALL[1].uri(),
    Profile::ALL[2].uri(),
    Profile::ALL[3].uri(),
    SendProfile::ALL[0].uri(),
    SendProfile::ALL[1].uri(),
];

/// Which stanzas a `<match/>` is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Every one.
    All,
    /// Those that the device should show, or that must not wait.
    Important,
    /// Those that are stored in the user's archive.
    Archived,
    /// Those of them that have a text, be it encrypted.
    ArchivedWithBody,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::All,
        Self::Important,
        Self::Archived,
        Self::ArchivedWithBody,
    ];

    /// What it is called.
    pub const fn uri(self) -> &'static str {
        match self {
            Self::All => "urn:xmpp:push2:match:all",
            Self::Important => "urn:xmpp:push2:match:important",
            Self::Archived => "urn:xmpp:push2:match:archived",
            Self::ArchivedWithBody => "urn:xmpp:push2:match:archived-with-body",
        }
    }

    /// The one that is called so.
    pub fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.uri() == uri)
    }
}

/// How notifications tell of a stanza.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendProfile {
    /// Not at all.
    NotifyOnly,
    /// Whole, encrypted to the device (XEP-0420, RFC 8291), with a token for its push service (RFC 8292).
    WebPush,
}

impl SendProfile {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::NotifyOnly, Self::WebPush];

    /// What it is called: the namespace of `<send/>`.
    pub const fn uri(self) -> &'static str {
        match self {
            Self::NotifyOnly => "urn:xmpp:push2:send:notify-only:0",
            Self::WebPush => "urn:xmpp:push2:send:sce+rfc8291+rfc8292:0",
        }
    }

    /// The one that is called so.
    pub fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.uri() == uri)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_one_profile() {
        for profile in Profile::ALL {
            assert_eq!(Profile::from_uri(profile.uri()), Some(profile));
            assert_eq!(SendProfile::from_uri(profile.uri()), None);
            assert!(FEATURES.contains(&profile.uri()));
        }
        for send in SendProfile::ALL {
            assert_eq!(SendProfile::from_uri(send.uri()), Some(send));
            assert!(FEATURES.contains(&send.uri()));
        }
        for uri in [
            "",
            PUSH2,
            "urn:xmpp:push2:match:All",
            "urn:xmpp:push2:match:",
        ] {
            assert_eq!(Profile::from_uri(uri), None);
        }
        assert_eq!(FEATURES[0], "urn:xmpp:push2:0");
    }
}
