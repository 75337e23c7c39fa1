//! Tokens are made once an hour, not for each push.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use lru::LruCache;
use zeroize::Zeroizing;

use super::key_error::KeyError;
use super::vapid::Signer;
use crate::wire::base64;

/// For how long a token is used.
const RENEWAL: Duration = Duration::from_hours(1);

/// How many tokens are known.
const MAX_TOKENS: usize = 50_000;
/// How many bytes they take, about.
const MAX_BYTES: usize = 32 * 1024 * 1024;
/// What a token takes besides.
const OVERHEAD: usize = 192;

/// Who sends (RFC 8292).
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Signed.
    pub jwt: String,
    /// What it can be checked by: an uncompressed point in base64.
    pub key: String,
}

impl Token {
    fn bytes(&self) -> usize {
        OVERHEAD + self.jwt.len() + self.key.len()
    }
}

/// What a token is made of. Nobody can tell the private key from it.
type Origin = [u8; SHA256_OUTPUT_LEN];

struct Known {
    token: Arc<Token>,
    made: u64,
}

/// The tokens of a host. The one that has been used least recently goes first, and is made again at need.
pub struct Tokens {
    known: LruCache<Origin, Known>,
    bytes: usize,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            known: LruCache::unbounded(),
            bytes: 0,
        }
    }
}

impl Tokens {
    /// A token that is valid at `now` and for some hours, see [`Signer::token`]. `jwt_key` is PKCS#8 in base64.
    ///
    /// # Errors
    /// If it is no key of P-256.
    pub fn get(
        &mut self,
        jwt_key: &str,
        claims: &[(String, String)],
        subject: &str,
        now: u64,
    ) -> Result<Arc<Token>, KeyError> {
        let origin = origin(jwt_key, claims, subject);
        if let Some(known) = self.known.get(&origin)
            && (known.made..known.made + RENEWAL.as_secs()).contains(&now)
        {
            return Ok(Arc::clone(&known.token));
        }
        let pkcs8 = Zeroizing::new(base64::decode(jwt_key).ok_or(KeyError::Private)?);
        let signer = Signer::new(&pkcs8)?;
        let token = Arc::new(Token {
            jwt: signer.token(claims, subject, now)?,
            key: signer.public_key(),
        });
        self.learn(origin, Arc::clone(&token), now);
        Ok(token)
    }

    fn learn(&mut self, origin: Origin, token: Arc<Token>, made: u64) {
        self.bytes += token.bytes();
        if let Some(old) = self.known.put(origin, Known { token, made }) {
            self.bytes -= old.token.bytes();
        }
        while self.known.len() > MAX_TOKENS || self.bytes > MAX_BYTES {
            let Some((_, oldest)) = self.known.pop_lru() else {
                break;
            };
            self.bytes -= oldest.token.bytes();
        }
    }
}

/// Each part with its length, so that no two tokens look the same.
fn origin(jwt_key: &str, claims: &[(String, String)], subject: &str) -> Origin {
    let claims = claims
        .iter()
        .flat_map(|(name, value)| [name.as_str(), value.as_str()]);
    let mut hash = Context::new(&SHA256);
    for part in [jwt_key, subject].into_iter().chain(claims) {
        hash.update(&part.len().to_le_bytes());
        hash.update(part.as_bytes());
    }
    let mut origin = Origin::default();
    origin.copy_from_slice(hash.finish().as_ref());
    origin
}

#[cfg(test)]
mod tests;
