//! What a stanza says: what notifications tell of it, and what filters look at.

use super::call;
use super::element::{Attr, Element, bare, is_request};
use super::facts;

/// XEP-0372.
const REFERENCE: &str = "urn:xmpp:reference:0";
/// XEP-0461.
const REPLY: &str = "urn:xmpp:reply:0";
/// XEP-0249.
const CONFERENCE: &str = "jabber:x:conference";
/// XEP-0045.
const MUC_USER: &str = "http://jabber.org/protocol/muc#user";

/// How many references are looked at.
const MAX_MENTIONS: usize = 64;

/// What kind of stanza it is, for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// A message to the person alone, be it by a room.
    Chat,
    /// A message in a room.
    Groupchat,
    /// Somebody asks to see the person's presence (RFC 6121 section 3.1).
    Subscription,
    /// Anything else.
    Other,
}

/// What a stanza says, or the one that a carbon copy carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// What kind of stanza it is.
    pub sort: Sort,
    /// Who has sent it, as it stands on the stanza; the account itself if that says nothing.
    pub from: String,
    /// The text, unless that is a fallback for what is encrypted. Never empty.
    pub body: Option<String>,
    /// It carries what only its recipient can read.
    pub is_encrypted: bool,
    /// What it says of a call.
    pub call: Option<call::Content>,
    /// Whom it mentions: URIs (XEP-0372).
    pub mentions: Vec<String>,
    /// Whose message it replies to (XEP-0461): a JID.
    pub reply_to: Option<String>,
    /// Who invites to a room, if a room says so (XEP-0045 section 7.8.2): a JID.
    pub invited_by: Option<String>,
    /// The room that whoever has sent it invites to (XEP-0249): a JID.
    pub invited_to: Option<String>,
    /// Whom the account itself has sent it to.
    pub sent_to: Option<String>,
}

impl Content {
    /// Reads a stanza that is for `account` (its bare JID).
    pub fn read<E: Element>(stanza: &E, account: &str) -> Self {
        facts::with_message(stanza, account, |message, _| {
            Some(read_message(message, account))
        })
        .unwrap_or_else(|| {
            let sort = if is_request(stanza) {
                Sort::Subscription
            } else {
                Sort::Other
            };
            Self::new(sort, stanza.attr(Attr::From).unwrap_or(account))
        })
    }

    /// One that says nothing.
    pub fn new(sort: Sort, from: &str) -> Self {
        Self {
            sort,
            from: from.to_owned(),
            body: None,
            is_encrypted: false,
            call: None,
            mentions: Vec::new(),
            reply_to: None,
            invited_by: None,
            invited_to: None,
            sent_to: None,
        }
    }

    /// The chat that it belongs to, the bare JID of a person or a room.
    pub fn chat(&self) -> &str {
        bare(self.sent_to.as_ref().unwrap_or(&self.from))
    }

    /// Whether it says that a call is over, or taken.
    pub fn ends_call(&self) -> bool {
        self.call.as_ref().is_some_and(|call| !call.begins())
    }

    /// The resource of whoever has sent it: in a room, the nickname.
    pub fn nickname(&self) -> Option<&str> {
        self.from.split_once('/').map(|(_, resource)| resource)
    }
}

fn read_message<E: Element>(message: &E, account: &str) -> Content {
    let [kind, from, to] = message.attrs([Attr::Type, Attr::From, Attr::To]);
    let sort = match kind {
        Some("groupchat") => Sort::Groupchat,
        Some("error" | "headline") => Sort::Other,
        _ => Sort::Chat,
    };
    let mut content = Content::new(sort, from.unwrap_or(account));
    content.sent_to = to
        .filter(|_| bare(&content.from) == account)
        .map(str::to_owned);
    content.is_encrypted = facts::is_encrypted(message);
    message.find_map(|child| {
        read_child(&mut content, message, child);
        None::<()>
    });
    content
}

fn read_child<E: Element>(content: &mut Content, message: &E, child: &E) {
    match (child.name(), &*child.ns()) {
        ("body", ns) if ns == message.ns() && content.body.is_none() => {
            let text = Some(child.text()).filter(|_| !content.is_encrypted);
            content.body = text.filter(|text| !text.is_empty()).map(Into::into);
        }
        ("reference", REFERENCE) if child.attr(Attr::Type) == Some("mention") => {
            let uri = child.attr(Attr::Uri).map(str::to_owned);
            let has_room = content.mentions.len() < MAX_MENTIONS;
            content.mentions.extend(uri.filter(|_| has_room));
        }
        ("reply", REPLY) => content.reply_to = child.attr(Attr::To).map(str::to_owned),
        ("x", CONFERENCE) => content.invited_to = child.attr(Attr::Jid).map(str::to_owned),
        // Whoever has a resource is no room, and speaks for nobody
        ("x", MUC_USER) if content.nickname().is_none() => {
            content.invited_by = child.find_named(&["invite"], |invite| {
                invite.attr(Attr::From).map(str::to_owned)
            });
        }
        (name, ns) if content.call.is_none() => {
            content.call = call::content(child, name, ns, message.attr(Attr::Id));
        }
        _ => {}
    }
}
