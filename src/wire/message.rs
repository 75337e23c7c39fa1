//! The notification to a push service of push2 (`urn:xmpp:push2:0`): a message.

use super::ns;
use super::publish::{Header, NONE, Writer};
use crate::stanza::Importance;

/// What the notification says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// By which the push service knows the client.
    pub client: &'a str,
    /// How much that matters which it is for.
    pub importance: Importance,
    /// The stanza, encrypted (RFC 8291), in base64.
    pub payload: Option<&'a str>,
    /// The token for a Web Push service (RFC 8292), and the key that verifies it, in base64.
    pub token: Option<(&'a str, &'a str)>,
}

impl Message<'_> {
    /// Writes the message, with what the [notification](Self::write_notification) has and the payload.
    pub fn write<W: Writer>(&self, writer: &mut W, header: &Header<'_>, notification: W::Element) {
        let attrs = [("from", header.from), ("to", header.to), ("id", header.id)];
        writer.open("message", None, &attrs);
        match self.payload {
            Some(payload) => {
                writer.open_like(notification);
                writer.open("encrypted", Some(ns::PUSH2_ENCRYPTED), NONE);
                text(writer, "payload", payload, NONE);
                writer.close();
                writer.close();
            }
            None => writer.child(notification),
        }
        writer.close();
    }

    /// Writes the `<notification/>`, but for the payload: it is the same for all that matter as much.
    pub fn write_notification<W: Writer>(&self, writer: &mut W) {
        writer.open("notification", Some(ns::PUSH2), NONE);
        text(writer, "client", self.client, NONE);
        text(writer, "priority", self.priority(), NONE);
        if self.importance == Importance::Urgent {
            writer.open("voip", None, NONE);
            writer.close();
        }
        if let Some((jwt, key)) = self.token {
            text(writer, "jwt", jwt, &[("key", key)]);
        }
        writer.close();
    }

    fn priority(&self) -> &'static str {
        match self.importance {
            Importance::Urgent => "high",
            Importance::Important => "normal",
            Importance::Unimportant => "low",
        }
    }
}

fn text<W: Writer>(writer: &mut W, name: &str, text: &str, attrs: &[(&str, &str)]) {
    writer.open(name, None, attrs);
    writer.text(text);
    writer.close();
}
