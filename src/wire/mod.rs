//! XEP-0357 on the wire, as typed values.

pub mod affiliation;
pub mod options;
pub mod publish;
pub mod request;

/// Namespaces.
pub mod ns {
    pub use xmpp_parsers::ns::{DATA_FORMS, PUBSUB, PUSH};

    /// `FORM_TYPE` of the summary in a notification (XEP-0357 section 7).
    pub const PUSH_SUMMARY: &str = "urn:xmpp:push:summary";
}
