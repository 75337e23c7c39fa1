//! A notification: what a push tells its push service, whatever has led to it.
//!
//! It is composed here alone, from the push that the engine has decided on, the registration and the stanza, if
//! there is one. [`crate::wire::publish`] writes it for the protocol of the registration (`urn:xmpp:push:0`).

use crate::engine::{PushId, normalised};
use crate::stanza::{self, Element, Importance};
use crate::wire::publish::{Summary, xml_text};

/// The longest message text that goes into a notification, in bytes.
const MAX_BODY: usize = 4096;

/// What notifications may tell the push service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disclosure {
    /// `push_notification_with_body`: the text of messages.
    pub body: bool,
    /// `push_notification_with_sender`: who wrote them.
    pub sender: bool,
    /// `push_notification_important_body`: the text instead.
    pub important_body: Option<String>,
}

impl Disclosure {
    /// Whether notifications tell anything of a stanza.
    pub fn tells_of_stanzas(&self) -> bool {
        self.body || self.sender
    }
}

/// Where a notification goes to, as the record of the registration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// The registration.
    pub identifier: &'a str,
    /// The push service.
    pub jid: &'a str,
    /// Its node; empty if there is none.
    pub node: &'a str,
}

/// A push that the engine has decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Push {
    /// Its id.
    pub id: PushId,
    /// How much that matters which it is for.
    pub importance: Importance,
}

/// A notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The push.
    pub id: PushId,
    /// The registration.
    pub identifier: Box<str>,
    /// The push service, as it stands on stanzas.
    pub to: Box<str>,
    /// Its node; empty if there is none.
    pub node: Box<str>,
    /// Whether what it is for is important.
    pub important: bool,
    /// The text of the message, if it is told.
    body: Option<Box<str>>,
    /// Who wrote it, if that is told.
    sender: Option<Box<str>>,
}

impl Notification {
    /// The notification of a push for `stanza`, which `account` (a bare JID) has received.
    pub fn compose<E: Element>(
        push: Push,
        target: Target<'_>,
        stanza: Option<(&E, &str)>,
        disclosure: &Disclosure,
    ) -> Self {
        let important = push.importance >= Importance::Important;
        let told = stanza.filter(|_| important);
        let body = told
            .filter(|_| disclosure.body)
            .and_then(|(stanza, account)| stanza::body(stanza, account));
        let sender = told
            .filter(|_| disclosure.sender)
            .and_then(|(stanza, account)| stanza::sender(stanza, account));
        Self {
            id: push.id,
            identifier: target.identifier.into(),
            to: normalised(target.jid).into(),
            node: xml_text(target.node).into(),
            important,
            body: body.map(|body| xml_text(cut(&body)).into()),
            sender: sender.map(|sender| xml_text(&sender).into()),
        }
    }

    /// Whether it tells something that others do not.
    pub fn is_telling(&self) -> bool {
        self.body.is_some() || self.sender.is_some()
    }

    /// What it says.
    pub fn summary<'a>(&'a self, disclosure: &'a Disclosure) -> Summary<'a> {
        let usual = disclosure.important_body.as_deref();
        Summary {
            body: self.body.as_deref().or(usual.filter(|_| self.important)),
            sender: self.sender.as_deref(),
        }
    }
}

fn cut(body: &str) -> &str {
    &body[..body.floor_char_boundary(MAX_BODY)]
}
