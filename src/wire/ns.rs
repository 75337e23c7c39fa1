//! Namespaces.

pub use xmpp_parsers::ns::{DATA_FORMS, PUBSUB, PUSH};

/// `FORM_TYPE` of the summary in a notification (XEP-0357 section 7).
pub const PUSH_SUMMARY: &str = "urn:xmpp:push:summary";
