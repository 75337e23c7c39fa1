//! A notification: what a push tells its push service, whatever has led to it.
//!
//! It is composed here alone, from the push that the engine has decided on, the registration and the stanza, if
//! there is one. Its [`Protocol`] says who writes it.

use crate::engine::{PushId, normalised};
use crate::extension::{EXTENSIONS, News, NotifyRead, Others, Record};
use crate::stanza::{Content, Element, Importance};
use crate::wire::publish::{Part, Payload, Summary, xml_text};

/// The longest message text that goes into a notification, in bytes.
const MAX_BODY: usize = 4096;

/// What notifications may tell the push service, and who makes parts of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disclosure {
    /// `push_notification_with_body`: the text of messages.
    pub body: bool,
    /// `push_notification_with_sender`: who wrote them.
    pub sender: bool,
    /// `push_notification_important_body`: the text instead.
    pub important_body: Option<String>,
    /// Who is told that all has been read elsewhere.
    pub read: NotifyRead,
    /// What is left to other modules.
    pub others: Others,
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
    /// `urn:xmpp:push2:0`: [`crate::wire::message`].
    Push2,
}

impl Protocol {
    /// All that there are.
    pub const ALL: [Self; 2] = [Self::Push0, Self::Push2];

    /// That of a record, which names one if it is not XEP-0357. None is known for one that a newer version has made.
    pub fn of(name: Option<&str>) -> Option<Self> {
        match name {
            None => Some(Self::Push0),
            Some("push2") => Some(Self::Push2),
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
    /// Its node, or the text by which it knows the client (push2); empty if there is none.
    pub node: &'a str,
    /// Its notifications carry whole stanzas.
    pub whole: bool,
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
    /// How many messages it tells of; 0 if there is nothing unread any more.
    pub count: u32,
    /// How many ask to see the user's presence, if it is about that.
    pub pending_subscriptions: Option<u32>,
}

impl Push {
    /// A push that tells of so many messages.
    pub fn new(id: PushId, importance: Importance, count: u32) -> Self {
        Self {
            id,
            importance,
            count,
            pending_subscriptions: None,
        }
    }
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
    /// Its node, or the text by which it knows the client (push2); empty if there is none.
    pub node: Box<str>,
    /// How much that matters which it is for.
    pub importance: Importance,
    /// Whether it carries content.
    pub content: bool,
    /// The account (a bare JID) that has received the stanza; empty if it is for none.
    pub account: Box<str>,
    /// The fields of the summary form.
    told: Told,
    /// What extensions add.
    parts: Vec<Part>,
    /// They stand in place of the form.
    is_form_replaced: bool,
}

/// What the summary form tells besides what all have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Told {
    body: Option<String>,
    sender: Option<String>,
    /// Not one.
    count: Option<String>,
    pending_subscriptions: Option<String>,
    /// A call is over: there is nothing to show.
    is_end: bool,
}

impl Notification {
    /// The notification of a push for `stanza`, which `account` (a bare JID) has received.
    pub fn compose<E: Element>(
        push: Push,
        target: Target<'_>,
        stanza: Option<(&E, &str)>,
        disclosure: &Disclosure,
    ) -> Self {
        match target.protocol {
            Protocol::Push0 => Self::publish(push, target, stanza, disclosure),
            Protocol::Push2 => {
                let account = stanza.map_or("", |(_, account)| account);
                Self::bare(push, target, account, target.whole)
            }
        }
    }

    /// One that says nothing yet.
    fn bare(push: Push, target: Target<'_>, account: &str, content: bool) -> Self {
        Self {
            id: push.id,
            identifier: target.identifier.into(),
            protocol: target.protocol,
            to: normalised(target.jid).into(),
            node: xml_text(target.node).into(),
            importance: push.importance,
            content,
            account: account.into(),
            told: Told::default(),
            parts: Vec::new(),
            is_form_replaced: false,
        }
    }

    fn publish<E: Element>(
        push: Push,
        target: Target<'_>,
        stanza: Option<(&E, &str)>,
        disclosure: &Disclosure,
    ) -> Self {
        let important = push.importance >= Importance::Important;
        let is_call = push.importance == Importance::Urgent;
        let carries_content = EXTENSIONS.carry_content(target.record)
            || is_call && EXTENSIONS.tell_of_calls(target.record, disclosure.others);
        let content = stanza
            .filter(|_| important && (carries_content || disclosure.tells_of_stanzas()))
            .map(|(stanza, account)| Content::read(stanza, account));
        let news = News {
            importance: push.importance,
            content: content.as_ref(),
            count: push.count,
            pending_subscriptions: push.pending_subscriptions,
        };
        let (parts, is_form_replaced) = EXTENSIONS.parts(target.record, disclosure.others, &news);
        let shown = content.as_ref();
        let shown = shown.filter(|_| !EXTENSIONS.keep_secret(target.record));
        let body = shown.filter(|_| disclosure.body);
        let body = body.and_then(|content| content.body.as_deref());
        let sender = shown.filter(|_| disclosure.sender);
        Self {
            told: Told {
                body: body.map(|body| xml_text(cut(body)).into_owned()),
                sender: sender.map(|content| xml_text(&content.from).into_owned()),
                count: (push.count != 1).then(|| push.count.to_string()),
                pending_subscriptions: push.pending_subscriptions.map(|count| count.to_string()),
                is_end: is_call && content.as_ref().is_some_and(Content::ends_call),
            },
            parts,
            is_form_replaced,
            ..Self::bare(push, target, "", carries_content)
        }
    }

    /// Whether what it is for is important.
    pub fn is_important(&self) -> bool {
        self.importance >= Importance::Important
    }

    /// Whether it tells something that others do not which are as important.
    pub fn is_telling(&self) -> bool {
        self.told != Told::default() || self.parts.iter().any(|part| !part.is_usual)
    }

    /// What its form says, be it left out or not.
    pub fn summary<'a>(&'a self, disclosure: &'a Disclosure) -> Summary<'a> {
        let told = &self.told;
        let usual = disclosure.important_body.as_deref();
        let usual = usual.filter(|_| self.is_important() && !told.is_end);
        Summary {
            count: told.count.as_deref().unwrap_or("1"),
            pending_subscriptions: told.pending_subscriptions.as_deref(),
            body: told.body.as_deref().or(usual),
            sender: told.sender.as_deref(),
        }
    }

    /// What it says.
    pub fn payload<'a>(&'a self, disclosure: &'a Disclosure) -> Payload<'a> {
        let summary = Some(self.summary(disclosure));
        Payload {
            summary: summary.filter(|_| !self.is_form_replaced),
            parts: &self.parts,
        }
    }
}

fn cut(body: &str) -> &str {
    &body[..body.floor_char_boundary(MAX_BODY)]
}
