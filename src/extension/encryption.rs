//! `tigase:push:encrypt:0`: notifications tell what is in a message, and only the device can read it.

use super::interface::Extension;
use super::others::Community;
use super::record::{Asked, Field, Record};

/// See the module.
pub struct Encryption;

impl Extension for Encryption {
    fn community(&self) -> Option<Community> {
        Some(Community::Encrypted)
    }

    fn is_asked(&self, record: &dyn Asked) -> bool {
        record.is_set(Field::Encryption)
    }

    fn carries_content(&self, _: &dyn Record) -> bool {
        true
    }
}
