//! A notification: what a push tells its push service, whatever has led to it.
//!
//! It is composed here alone, from the push that the engine has decided on, the registration and the stanza, if
//! there is one. Its [`Protocol`] says who writes it.

use crate::engine::{PushId, normalised};
use crate::extension::{Content, EXTENSIONS, Part, Record};
use crate::stanza::{self, Element, Importance};
use crate::wire::publish::{self, Summary, xml_text};

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

/// How a registration is notified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `urn:xmpp:push:0` (XEP-0357): [`crate::wire::publish`].
    Push0,
}

impl Protocol {
    /// That of a record, which names one if it is not XEP-0357. None is known for one that a newer version has made.
    pub fn of(name: Option<&str>) -> Option<Self> {
        match name {
            None => Some(Self::Push0),
            Some(_) => None,
        }
    }
}

/// Where a notification goes to, as the record of the registration says.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The registration.
    pub identifier: &'a str,
    /// How it is notified.
    pub protocol: Protocol,
    /// The push service.
    pub jid: &'a str,
    /// Its node; empty if there is none.
    pub node: &'a str,
    /// All else, for extensions.
    pub record: &'a dyn Record,
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
    /// How it is notified.
    pub protocol: Protocol,
    /// The push service, as it stands on stanzas.
    pub to: Box<str>,
    /// Its node; empty if there is none.
    pub node: Box<str>,
    /// Whether what it is for is important.
    pub important: bool,
    /// Whether it carries content, for an extension.
    pub content: bool,
    /// What the push service is told of the message.
    told: Content,
    /// What extensions add.
    parts: Vec<Part>,
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
        let carries_content = EXTENSIONS.carry_content(target.record);
        let body = told
            .filter(|_| disclosure.body || carries_content)
            .and_then(|(stanza, account)| stanza::body(stanza, account));
        let sender = told
            .filter(|_| disclosure.sender || carries_content)
            .and_then(|(stanza, account)| stanza::sender(stanza, account));
        let content = Content { body, sender };
        let parts = if carries_content && important {
            EXTENSIONS.parts(target.record, &content)
        } else {
            Vec::new()
        };
        let Content { body, sender } = content;
        let body = body.filter(|_| disclosure.body);
        let sender = sender.filter(|_| disclosure.sender);
        Self {
            id: push.id,
            identifier: target.identifier.into(),
            protocol: target.protocol,
            to: normalised(target.jid).into(),
            node: xml_text(target.node).into(),
            important,
            content: carries_content,
            told: Content {
                body: body.map(|body| xml_text(cut(&body)).into_owned()),
                sender: sender.map(|sender| xml_text(&sender).into_owned()),
            },
            parts,
        }
    }

    /// Whether it tells something that others do not.
    pub fn is_telling(&self) -> bool {
        self.told != Content::default() || !self.parts.is_empty()
    }

    /// What it says.
    pub fn summary<'a>(&'a self, disclosure: &'a Disclosure) -> Summary<'a> {
        let usual = disclosure.important_body.as_deref();
        let usual = usual.filter(|_| self.important);
        Summary {
            body: self.told.body.as_deref().or(usual),
            sender: self.told.sender.as_deref(),
            parts: self.parts.iter().map(as_written).collect(),
        }
    }
}

fn as_written(part: &Part) -> publish::Part<'_> {
    let attrs = part.attrs.iter();
    publish::Part {
        name: part.name,
        ns: part.ns,
        attrs: attrs.map(|(name, value)| (*name, &**value)).collect(),
        text: &part.text,
    }
}

fn cut(body: &str) -> &str {
    &body[..body.floor_char_boundary(MAX_BODY)]
}
