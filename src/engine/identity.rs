//! What stands for devices, push services and pushes: keyed hashes, so that nobody outside can make two of
//! them look the same.

use std::borrow::Cow;
use std::fmt;
use std::hash::BuildHasher;
use std::str::FromStr;

use xmpp_parsers::jid::Jid;

use crate::stanza::{Key, StanzaId};

/// Stands for one (user, identifier).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct DeviceKey(pub u64);

/// Stands for the JID of a push service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ServiceKey(pub u64);

/// Stands for a client of a push service, by the text by which that knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ClientKey(pub u64);

/// The id of a push: the `id` of its IQ. It says whose it is, so that an answer that comes too
/// late can still be told from a wrong one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PushId {
    pub(super) device: DeviceKey,
    pub(super) nonce: u64,
}

impl fmt::Display for PushId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "push-{:016x}{:016x}", self.device.0, self.nonce)
    }
}

impl FromStr for PushId {
    type Err = ();

    fn from_str(id: &str) -> Result<Self, ()> {
        let digits = id.strip_prefix("push-").ok_or(())?;
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if digits.len() != 32 || !is_hex {
            return Err(());
        }
        let (device, nonce) = digits.split_at(16);
        Ok(Self {
            device: DeviceKey(u64::from_str_radix(device, 16).map_err(|_| ())?),
            nonce: u64::from_str_radix(nonce, 16).map_err(|_| ())?,
        })
    }
}

/// A device by its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceName {
    /// The user name.
    pub user: Box<str>,
    /// The registration's identifier.
    pub identifier: Box<str>,
}

/// Makes identities.
pub(super) struct Identities {
    key: Key,
    count: u64,
}

impl Identities {
    pub fn new(key: Key) -> Self {
        Self { key, count: 0 }
    }

    /// The secret of all identities.
    pub fn key(&self) -> &Key {
        &self.key
    }

    pub fn device(&self, user: &str, identifier: &str) -> DeviceKey {
        DeviceKey(self.key.hash_one((user, identifier)))
    }

    pub fn service(&self, jid: &str) -> ServiceKey {
        self.normalised_service(&normalised(jid))
    }

    /// The same for a JID that is normalised (RFC 7622).
    pub fn normalised_service(&self, jid: &str) -> ServiceKey {
        ServiceKey(self.key.hash_one(jid))
    }

    /// Only this service can say something of the client.
    pub fn client(&self, service: ServiceKey, client: &str) -> ClientKey {
        ClientKey(self.key.hash_one((service, client)))
    }

    /// Stands for a user.
    pub fn user(&self, user: &str) -> u64 {
        self.key.hash_one(user)
    }

    /// Fits into the 53 bits that all Luas have for a whole number.
    pub fn stanza(&mut self) -> StanzaId {
        StanzaId(self.unique("stanza") >> 11)
    }

    pub fn push(&mut self, device: DeviceKey) -> PushId {
        let nonce = self.unique("push");
        PushId { device, nonce }
    }

    /// The number of something: each is greater than the last.
    pub fn next_number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// Between 1 and 1.5.
    #[expect(clippy::cast_precision_loss, reason = "jitter")]
    pub fn jitter(&mut self) -> f64 {
        1.0 + (self.unique("jitter") >> 33) as f64 / f64::from(u32::MAX)
    }

    /// A number that nobody outside can foresee.
    fn unique(&mut self, what: &str) -> u64 {
        let count = self.next_number();
        self.key.hash_one((what, count))
    }
}

/// The JID of a push service as it stands on stanzas (RFC 7622). Stores may hold some that an older
/// version has not normalised.
pub fn normalised(jid: &str) -> Cow<'_, str> {
    let is_plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    // A host name, as almost all of them are.
    if jid.len() < 254
        && jid
            .as_bytes()
            .split(|byte| *byte == b'.')
            .all(|label| !label.is_empty() && label.len() < 64 && label.iter().all(is_plain))
    {
        return Cow::Borrowed(jid);
    }
    Jid::new(jid).map_or(Cow::Borrowed(jid), |jid| Cow::Owned(jid.to_string()))
}
