//! Namespaces.

pub use xmpp_parsers::ns::{DATA_FORMS, PUBSUB, PUSH, SID};

/// Push 2.0.
pub const PUSH2: &str = "urn:xmpp:push2:0";

/// Tigase's filters: muted chats, and rooms.
pub const FILTER_MUTED: &str = "tigase:push:filter:muted:0";
/// See [`FILTER_MUTED`].
pub const FILTER_GROUPCHAT: &str = "tigase:push:filter:groupchat:0";

/// `FORM_TYPE` of the summary in a notification (XEP-0357 section 7).
pub const PUSH_SUMMARY: &str = "urn:xmpp:push:summary";

/// A stanza that is encrypted for its notifications.
pub const PUSH2_ENCRYPTED: &str = "urn:xmpp:sce:rfc8291:0";
