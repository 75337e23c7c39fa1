//! Another module of the server encrypts what notifications tell, and adds it to them by `cloud_notify/push`. It has
//! put its settings into the record when the registration was made.

use super::interface::{Extension, Field, Record};

/// See the module.
pub struct Encryption;

impl Extension for Encryption {
    fn is_asked(&self, record: &dyn Record) -> bool {
        record.is_set(Field::Encryption)
    }

    fn carries_content(&self, _: &dyn Record) -> bool {
        true
    }
}
