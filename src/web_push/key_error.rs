//! Keys that are none.

use thiserror::Error;

/// What is wrong with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Compressed, at infinity, off the curve, or none at all.
    #[error("The public key is not an uncompressed point of P-256, 65 bytes")]
    Public,
    /// Too short or too long.
    #[error("The authentication secret is not 16 bytes")]
    Secret,
    /// Not PKCS#8, or of another kind or curve.
    #[error("The private key is not one of P-256, in PKCS#8")]
    Private,
}
