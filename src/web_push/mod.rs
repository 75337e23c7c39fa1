//! Web Push's cryptography: messages that only the device can read (RFC 8291), and tokens that tell its push service who
//! sends them (RFC 8292).

mod encryption;
mod key_error;
mod tokens;
mod vapid;

pub use encryption::{EncryptError, MAX_PLAINTEXT, Subscription};
pub use key_error::KeyError;
pub use tokens::{Token, Tokens};
pub use vapid::Signer;
