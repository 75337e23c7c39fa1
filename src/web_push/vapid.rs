//! RFC 8292: who sends, as a token that the push service can check.

use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Map, Value};

use super::key_error::KeyError;
use crate::wire::base64;

/// How long a token is valid. More than a day is refused (RFC 8292 section 2).
const LIFETIME: Duration = Duration::from_hours(12);

/// The client's private key, as long as it is needed.
pub struct Signer(EcdsaKeyPair);

impl Signer {
    /// By the key in PKCS#8.
    ///
    /// # Errors
    /// If it is no key of P-256.
    pub fn new(pkcs8: &[u8]) -> Result<Self, KeyError> {
        if !is_whole(pkcs8) {
            return Err(KeyError::Private);
        }
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)
            .map(Self)
            .map_err(|_| KeyError::Private)
    }

    /// What the token can be checked by: an uncompressed point in base64.
    pub fn public_key(&self) -> String {
        base64::encode(self.0.public_key())
    }

    /// Signed by ES256 (RFC 7518 section 3.4). `subject` is whom to contact, if the client names nobody; `now` is in seconds
    /// since 1970.
    ///
    /// # Errors
    /// If the key cannot sign.
    pub fn token(
        &self,
        claims: &[(String, String)],
        subject: &str,
        now: u64,
    ) -> Result<String, KeyError> {
        let header = base64::encode_url_safe(r#"{"typ":"JWT","alg":"ES256"}"#);
        let claims = base64::encode_url_safe(payload(claims, subject, now));
        let signed = format!("{header}.{claims}");
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = signature.map_err(|_| KeyError::Private)?;
        let signature = base64::encode_url_safe(signature);
        Ok(format!("{signed}.{signature}"))
    }
}

/// Nothing follows: the library would not look. The length of what is DER takes one byte or, from 128 on, two; no key of
/// P-256 needs more.
fn is_whole(der: &[u8]) -> bool {
    match der {
        [_, 0x81, length, rest @ ..] | [_, length, rest @ ..] => rest.len() == usize::from(*length),
        _ => false,
    }
}

/// The client's claims, but for those that say when the token is valid.
fn payload(claims: &[(String, String)], subject: &str, now: u64) -> String {
    let mut payload = Map::new();
    payload.insert("sub".to_owned(), subject.into());
    for (name, value) in claims {
        payload.insert(name.clone(), value.as_str().into());
    }
    payload.remove("iat");
    payload.remove("nbf");
    payload.insert("exp".to_owned(), (now + LIFETIME.as_secs()).into());
    Value::Object(payload).to_string()
}

#[cfg(test)]
mod tests;
