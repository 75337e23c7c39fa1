//! RFC 8291: `aes128gcm` (RFC 8188), with keys that nobody but the device has, and no other message.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, Tag, UnboundKey};
use aws_lc_rs::agreement::{ECDH_P256, ParsedPublicKey, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use thiserror::Error;
use zeroize::Zeroizing;

use super::key_error::KeyError;

/// The longest text.
pub const MAX_PLAINTEXT: usize = RECORD_SIZE as usize - HEADER - LAST.len() - TAG;

/// Of the whole message, for push services need not take more (RFC 8291 section 4).
const RECORD_SIZE: u32 = 4096;
/// An uncompressed point.
const POINT: u8 = 65;
/// Salt, record size, and the sender's public key with its length (RFC 8188 section 2.1).
const HEADER: usize = 16 + 4 + 1 + POINT as usize;
/// Ends the text of the last record, here the only one (RFC 8188 section 2).
const LAST: [u8; 1] = [2];
const TAG: usize = 16;

/// Uncompressed points begin so (SEC 1 section 2.3.3).
const UNCOMPRESSED: u8 = 4;

/// Why a text has not been encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EncryptError {
    /// Over [`MAX_PLAINTEXT`].
    #[error("The text is longer than {MAX_PLAINTEXT} bytes")]
    TooLong,
    /// There are no random numbers, for one.
    #[error("The cryptographic library has failed")]
    Failed,
}

type Point = [u8; POINT as usize];
/// It is no more than it was once it is dropped.
type Secret<const SIZE: usize> = Zeroizing<[u8; SIZE]>;

/// A device that messages can be encrypted to.
pub struct Subscription {
    ua_public: Point,
    auth_secret: Secret<16>,
}

impl Subscription {
    /// By the names of RFC 8291. Web browsers call them `p256dh` and `auth`.
    ///
    /// # Errors
    /// If `ua_public` is not an uncompressed point of P-256, or `auth_secret` not 16 bytes.
    pub fn new(ua_public: &[u8], auth_secret: &[u8]) -> Result<Self, KeyError> {
        let ua_public: Point = ua_public.try_into().map_err(|_| KeyError::Public)?;
        let point = UnparsedPublicKey::new(&ECDH_P256, ua_public);
        if ua_public[0] != UNCOMPRESSED || ParsedPublicKey::try_from(point).is_err() {
            return Err(KeyError::Public);
        }
        let auth_secret = auth_secret.try_into().map_err(|_| KeyError::Secret)?;
        Ok(Self {
            ua_public,
            auth_secret: Zeroizing::new(auth_secret),
        })
    }

    /// A header and one record, never twice the same.
    ///
    /// # Errors
    /// If the text is longer than [`MAX_PLAINTEXT`], or there are no random numbers.
    pub fn encrypt(&self, plaintext: &[u8]) -> Result<Vec<u8>, EncryptError> {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|_| EncryptError::Failed)?;
        let as_private = PrivateKey::generate(&ECDH_P256).map_err(|_| EncryptError::Failed)?;
        self.encrypt_with(&as_private, salt, plaintext)
    }

    /// `as_private` and `salt` are for one message alone.
    fn encrypt_with(
        &self,
        as_private: &PrivateKey,
        salt: [u8; 16],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, EncryptError> {
        if plaintext.len() > MAX_PLAINTEXT {
            return Err(EncryptError::TooLong);
        }
        let as_public = as_private.compute_public_key();
        let as_public = as_public.map_err(|_| EncryptError::Failed)?;
        let ua_public = UnparsedPublicKey::new(&ECDH_P256, self.ua_public);
        let ikm = agree(as_private, ua_public, EncryptError::Failed, |ecdh_secret| {
            self.ikm(ecdh_secret, as_public.as_ref())
        })?;

        let mut message = Vec::with_capacity(HEADER + plaintext.len() + LAST.len() + TAG);
        message.extend(salt);
        message.extend(RECORD_SIZE.to_be_bytes());
        message.push(POINT);
        message.extend(as_public.as_ref());
        message.extend(plaintext);
        message.extend(LAST);
        let tag = Keys::derive(&ikm, salt)?.encrypt(&mut message[HEADER..])?;
        message.extend(tag.as_ref());
        Ok(message)
    }

    /// What the keys of the message are derived from (RFC 8291 section 3.4).
    fn ikm(&self, ecdh_secret: &[u8], as_public: &[u8]) -> Result<Secret<32>, EncryptError> {
        let info = [b"WebPush: info\0", &self.ua_public[..], as_public];
        derive(&*self.auth_secret, ecdh_secret, &info)
    }
}

/// Of one record (RFC 8188 sections 2.2 and 2.3).
struct Keys {
    content: Secret<16>,
    nonce: Secret<12>,
}

impl Keys {
    fn derive(ikm: &[u8; 32], salt: [u8; 16]) -> Result<Self, EncryptError> {
        Ok(Self {
            content: derive(&salt, ikm, &[b"Content-Encoding: aes128gcm\0"])?,
            nonce: derive(&salt, ikm, &[b"Content-Encoding: nonce\0"])?,
        })
    }

    /// In its place; returns the tag.
    fn encrypt(&self, record: &mut [u8]) -> Result<Tag, EncryptError> {
        let key = UnboundKey::new(&AES_128_GCM, &*self.content);
        let key = LessSafeKey::new(key.map_err(|_| EncryptError::Failed)?);
        let nonce = Nonce::assume_unique_for_key(*self.nonce);
        key.seal_in_place_separate_tag(nonce, Aad::empty(), record)
            .map_err(|_| EncryptError::Failed)
    }
}

/// So many bytes.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF (RFC 5869).
fn derive<const SIZE: usize>(
    salt: &[u8],
    ikm: &[u8],
    info: &[&[u8]],
) -> Result<Secret<SIZE>, EncryptError> {
    let mut key = Zeroizing::new([0; SIZE]);
    Salt::new(HKDF_SHA256, salt)
        .extract(ikm)
        .expand(info, Length(SIZE))
        .and_then(|expanded| expanded.fill(&mut *key))
        .map_err(|_| EncryptError::Failed)?;
    Ok(key)
}

#[cfg(test)]
mod tests;
