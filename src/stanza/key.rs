//! The secret of all identities.

use std::hash::{BuildHasher, RandomState};

use siphasher::sip::SipHasher13;

/// The key of all hashes that stand for something: nobody outside can make two things look the same.
#[derive(Debug, Clone)]
pub struct Key {
    words: (u64, u64),
}

impl Key {
    /// A key that nobody knows.
    pub fn random() -> Self {
        let random = RandomState::new();
        Self {
            words: (random.hash_one(0), random.hash_one(1)),
        }
    }

    /// A key that is known, for tests that are to be repeated.
    pub fn known(seed: u64) -> Self {
        Self { words: (seed, 0) }
    }
}

impl BuildHasher for Key {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.words.0, self.words.1)
    }
}

/// What a stanza is recognised by, in however many clones the server handles it.
///
/// A keyed hash, so that nobody outside can make two stanzas look the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StanzaId(pub u64);

impl StanzaId {
    /// The identity of a stanza that the user's archive knows by `id` (XEP-0313, XEP-0359).
    pub fn archived(id: &str, key: &Key) -> Self {
        Self(key.hash_one(("archive", id)))
    }

    /// The identity of a message that `account` (a bare JID) has sent to a room with this `id`.
    pub fn said(account: &str, room: &str, id: &str, key: &Key) -> Self {
        Self(key.hash_one(("said", account, room, id)))
    }

    /// The identity of somebody's request to see the user's presence (RFC 6121 section 3.1), as long as it is
    /// pending. `from` is a bare JID.
    pub fn request(from: &str, key: &Key) -> Self {
        Self(key.hash_one(("request", from)))
    }
}
