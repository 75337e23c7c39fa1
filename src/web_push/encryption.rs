//! RFC 8291: `aes128gcm` (RFC 8188), with keys that nobody but the device has, and no other message.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes128Gcm, Nonce};
use hkdf::Hkdf;
use p256::ecdh::diffie_hellman;
use p256::elliptic_curve::Generate;
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::{NonZeroScalar, PublicKey};
use sha2::Sha256;
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

/// Why a text has not been encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EncryptError {
    /// Over [`MAX_PLAINTEXT`].
    #[error("The text is longer than {MAX_PLAINTEXT} bytes")]
    TooLong,
    /// Without them there is no key.
    #[error("The system has given no random numbers")]
    NoRandomNumbers,
    /// Never seen.
    #[error("The cipher has failed")]
    Cipher,
}

type Salt = [u8; 16];

/// A device that messages can be encrypted to.
pub struct Subscription {
    ua_public: PublicKey,
    auth_secret: Zeroizing<[u8; 16]>,
}

impl Subscription {
    /// By the names of RFC 8291. Web browsers call them `p256dh` and `auth`.
    ///
    /// # Errors
    /// If `ua_public` is not an uncompressed point of P-256, or `auth_secret` not 16 bytes.
    pub fn new(ua_public: &[u8], auth_secret: &[u8]) -> Result<Self, KeyError> {
        if ua_public.len() != usize::from(POINT) {
            return Err(KeyError::Public);
        }
        let ua_public = PublicKey::from_sec1_bytes(ua_public).map_err(|_| KeyError::Public)?;
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
        let mut salt = Salt::default();
        getrandom::fill(&mut salt).map_err(|_| EncryptError::NoRandomNumbers)?;
        let key = NonZeroScalar::try_generate().map_err(|_| EncryptError::NoRandomNumbers)?;
        self.encrypt_with(&Zeroizing::new(key), salt, plaintext)
    }

    /// `as_private` and `salt` are for one message alone.
    fn encrypt_with(
        &self,
        as_private: &NonZeroScalar,
        salt: Salt,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, EncryptError> {
        if plaintext.len() > MAX_PLAINTEXT {
            return Err(EncryptError::TooLong);
        }
        let as_public = PublicKey::from_secret_scalar(as_private);
        let ecdh_secret = diffie_hellman(as_private, self.ua_public.as_affine());
        let ikm = self.ikm(ecdh_secret.raw_secret_bytes(), &as_public)?;
        let keys = Keys::derive(&ikm, salt)?;

        let mut message = Vec::with_capacity(HEADER + plaintext.len() + LAST.len() + TAG);
        message.extend(salt);
        message.extend(RECORD_SIZE.to_be_bytes());
        message.push(POINT);
        message.extend(as_public.to_sec1_point(false).as_bytes());
        message.extend(plaintext);
        message.extend(LAST);
        let tag = keys.encrypt(&mut message[HEADER..])?;
        message.extend(tag);
        Ok(message)
    }

    /// What the keys of the message are derived from (RFC 8291 section 3.4).
    fn ikm(&self, ecdh_secret: &[u8], as_public: &PublicKey) -> Result<Secret<32>, EncryptError> {
        let ua_public = self.ua_public.to_sec1_point(false);
        let as_public = as_public.to_sec1_point(false);
        let info = [
            b"WebPush: info\0",
            ua_public.as_bytes(),
            as_public.as_bytes(),
        ];
        derive(&*self.auth_secret, ecdh_secret, &info)
    }
}

/// Of one record (RFC 8188 sections 2.2 and 2.3).
struct Keys {
    content: Secret<16>,
    nonce: Secret<12>,
}

impl Keys {
    fn derive(ikm: &[u8; 32], salt: Salt) -> Result<Self, EncryptError> {
        Ok(Self {
            content: derive(&salt, ikm, &[b"Content-Encoding: aes128gcm\0"])?,
            nonce: derive(&salt, ikm, &[b"Content-Encoding: nonce\0"])?,
        })
    }

    /// In its place; returns the tag.
    fn encrypt(&self, record: &mut [u8]) -> Result<[u8; TAG], EncryptError> {
        let nonce = Nonce::from(*self.nonce);
        Aes128Gcm::new((&*self.content).into())
            .encrypt_inout_detached(&nonce, &[], record.into())
            .map(Into::into)
            .map_err(|_| EncryptError::Cipher)
    }
}

/// It is no more than it was once it is dropped.
type Secret<const SIZE: usize> = Zeroizing<[u8; SIZE]>;

/// HKDF (RFC 5869).
fn derive<const SIZE: usize>(
    salt: &[u8],
    ikm: &[u8],
    info: &[&[u8]],
) -> Result<Secret<SIZE>, EncryptError> {
    let mut key = Zeroizing::new([0; SIZE]);
    Hkdf::<Sha256>::new(Some(salt), ikm)
        .expand_multi_info(info, &mut *key)
        .map_err(|_| EncryptError::Cipher)?;
    Ok(key)
}

#[cfg(test)]
mod tests;
