//! Importance, urgency and identity of a stanza.

use std::hash::{BuildHasher, Hash, Hasher};

use super::amendment;
use super::call::{self, Call, Said};
use super::element::{Attr, Element, bare, is_request};
use super::importance::Importance;
use super::key::{Key, StanzaId};
use super::label::Label;
use super::names::{Chat, Names};
use super::push;

mod ns {
    pub const CARBONS: &str = "urn:xmpp:carbons:2";
    pub const CONFERENCE: &str = "jabber:x:conference";
    pub const DELAY: &str = "urn:xmpp:delay";
    pub const EME: &str = "urn:xmpp:eme:0";
    pub const FORWARD: &str = "urn:xmpp:forward:0";
    pub const MUC_USER: &str = "http://jabber.org/protocol/muc#user";
    pub const OOB: &str = "jabber:x:oob";
    pub const OPENPGP: &str = "urn:xmpp:openpgp:0";
    pub const PGP: &str = "jabber:x:encrypted";
    pub const PUBSUB_EVENT: &str = "http://jabber.org/protocol/pubsub#event";
    pub const PUSH_2: &str = "urn:xmpp:push2:0";
    pub const REACTIONS: &str = "urn:xmpp:reactions:0";
    pub const SFS: &str = "urn:xmpp:sfs:0";
    pub const SID: &str = "urn:xmpp:sid:0";
    pub const STICKERS: &str = "urn:xmpp:stickers:0";
}

/// XEP-0384 in its four namespaces.
const OMEMO: [&str; 4] = [
    "eu.siacs.conversations.axolotl",
    "urn:xmpp:omemo:0",
    "urn:xmpp:omemo:1",
    "urn:xmpp:omemo:2",
];

/// The names of all children that matter.
const NAMES: [&str; 23] = [
    "accept",
    "apply-to",
    "body",
    "delay",
    "encrypted",
    "encryption",
    "event",
    "file-sharing",
    "finish",
    "invite",
    "left",
    "notification",
    "openpgp",
    "proceed",
    "propose",
    "reactions",
    "reject",
    "replace",
    "retract",
    "stanza-id",
    "sticker",
    "subject",
    "x",
];

/// The names of one child at least of all that is important; of a carbon copy, too.
const IMPORTANT_NAMES: [&str; 10] = [
    "body",
    "encrypted",
    "encryption",
    "file-sharing",
    "invite",
    "openpgp",
    "propose",
    "received",
    "sticker",
    "x",
];

/// All that the rules know of a stanza.
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// How much it matters.
    pub importance: Importance,
    /// It is a `<message/>`.
    pub message: bool,
    /// It is itself a push notification, or a node's news of one.
    pub push: bool,
    /// The call that it begins or ends.
    pub call: Option<Call>,
    /// What it is recognised by. `None` for one that carries neither an archive id nor
    /// an `id`: only the very same table is the same stanza then.
    pub id: Option<StanzaId>,
    /// What a message is recognised by when offline storage gives it back: its content.
    pub content: Option<StanzaId>,
    /// The server itself has stored and delayed it (XEP-0203): it may have been met before.
    pub redelivered: bool,
    /// The account itself is the recipient; not so for its own copy of what it has sent.
    pub to_account: bool,
    /// A message from the account to itself, of which the archive keeps two copies.
    pub note_to_self: bool,
    /// For a message of a room: what it is recognised by if the account itself has sent it there.
    pub said: Option<StanzaId>,
    /// What others refer to it by, if it is important.
    pub names: Option<Names>,
    /// What stands for the message that it corrects (XEP-0308) or takes back (XEP-0424).
    pub amends: Option<StanzaId>,
    /// What an administrator may know of it.
    pub label: Label,
}

impl Facts {
    /// Reads a stanza that is for `account` (its bare JID).
    pub fn read<E: Element>(stanza: &E, account: &str, key: &Key) -> Self {
        with_message(stanza, account, |message, sent| {
            Some(read_message(message, account, key, sent))
        })
        .unwrap_or_else(|| Self {
            importance: importance_without_message(stanza),
            message: false,
            push: stanza.name() == "iq" && push::is_publish(stanza),
            call: None,
            id: request_id(stanza, key),
            content: None,
            redelivered: false,
            to_account: true,
            note_to_self: false,
            said: None,
            names: None,
            amends: None,
            label: Label::of(stanza),
        })
    }
}

/// How much a stanza matters, as [`Facts::read`] has it, without what it is recognised by.
pub fn importance<E: Element>(stanza: &E, account: &str) -> Importance {
    if stanza.find_named(&IMPORTANT_NAMES, may_matter).is_none() {
        return importance_without_message(stanza);
    }
    with_message(stanza, account, |message, sent| {
        let children = read_children(message, account, None);
        if sent || !children.matters() {
            return Some(Importance::Unimportant);
        }
        let kind = message.attr(Attr::Type);
        Some(importance_of(kind, &children, sent))
    })
    .unwrap_or_else(|| importance_without_message(stanza))
}

/// Of what is no message only a request to see the user's presence is for a person.
fn importance_without_message<E: Element>(stanza: &E) -> Importance {
    if is_request(stanza) {
        Importance::Important
    } else {
        Importance::Unimportant
    }
}

/// A request that is pending is sent again whenever the user comes online.
fn request_id<E: Element>(stanza: &E, key: &Key) -> Option<StanzaId> {
    let from = stanza.attr(Attr::From).filter(|_| is_request(stanza))?;
    Some(StanzaId::request(bare(from), key))
}

/// Whether `account`'s archive has the message (XEP-0359), be it in a carbon copy.
pub fn is_archived<E: Element>(stanza: &E, account: &str) -> bool {
    let is_own = |id: &E| id.ns() == ns::SID && id.attr(Attr::By) == Some(account);
    with_message(stanza, account, |message, _| {
        message.find_named(&["stanza-id"], |id| is_own(id).then_some(()))
    })
    .is_some()
}

/// Whether a stanza may be a call, or a carbon copy of one: quicker than reading how much it matters,
/// and never wrong if it says no.
pub fn may_be_call<E: Element>(stanza: &E) -> bool {
    stanza
        .find_named(&["propose", "invite", "received"], may_matter)
        .is_some()
}

/// Receipts (XEP-0184) are frequent, and have the name of carbon copies.
fn may_matter<E: Element>(child: &E) -> Option<()> {
    (child.name() != "received" || child.ns() == ns::CARBONS).then_some(())
}

/// Whether the body of a message is a fallback for encrypted content (XEP-0380).
pub(super) fn is_encrypted<E: Element>(message: &E) -> bool {
    message
        .find_named(&["encrypted", "encryption", "openpgp", "x"], |child| {
            match (child.name(), &*child.ns()) {
                ("encrypted", ns) => OMEMO.contains(&ns),
                ("encryption", ns::EME) | ("openpgp", ns::OPENPGP) | ("x", ns::PGP) => true,
                _ => false,
            }
            .then_some(())
        })
        .is_some()
}

/// Calls `read` with the message that counts: `stanza` itself or, where it is a carbon copy
/// (XEP-0280) of the account's own making, the message in it and whether it is a sent one.
/// `None` if `stanza` is no message.
pub(super) fn with_message<E: Element, T>(
    stanza: &E,
    account: &str,
    read: impl Fn(&E, bool) -> Option<T>,
) -> Option<T> {
    if stanza.name() != "message" {
        return None;
    }
    let copied = stanza.find_named(&["received", "sent"], |copy| {
        // Anybody may write such an element; only our own server's counts (XEP-0280 section 11).
        if copy.ns() != ns::CARBONS || stanza.attr(Attr::From).is_some_and(|from| from != account) {
            return None;
        }
        let sent = copy.name() == "sent";
        copy.find_named(&["forwarded"], |forwarded| {
            if forwarded.ns() != ns::FORWARD {
                return None;
            }
            forwarded.find_named(&["message"], |message| Some(read(message, sent)))
        })
    });
    copied.unwrap_or_else(|| read(stanza, false))
}

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "one for each kind of child")]
struct Children {
    /// It corrects or takes back another message.
    amends: bool,
    /// Which one, by its id.
    amended: Option<StanzaId>,
    archive_id: Option<StanzaId>,
    /// It is there and not empty.
    body: bool,
    body_hash: u64,
    /// It begins a call.
    call: bool,
    /// The id that its room has given it.
    room_id: Option<StanzaId>,
    said: Option<Said>,
    /// Something to show, whatever the body says.
    content: bool,
    /// The name of an encryption (XEP-0380).
    encryption: bool,
    /// OMEMO for the sake of its keys (XEP-0384): a body or the name beside it shows nothing.
    keys: bool,
    push: bool,
    /// XEP-0444. Whatever stands beside it is for clients that do not know of it.
    reaction: bool,
    redelivered: bool,
    subject: bool,
}

fn read_message<E: Element>(message: &E, account: &str, key: &Key, sent: bool) -> Facts {
    let children = read_children(message, account, Some(key));
    let [kind, from, to, id] = message.attrs([Attr::Type, Attr::From, Attr::To, Attr::Id]);

    let to_account = to.is_none_or(|to| bare(to) == account);
    let content = Some(StanzaId(key.hash_one((kind, from, id, children.body_hash))));
    let call = children
        .said
        .filter(|_| kind != Some("error"))
        .and_then(|said| said.by(from, id, account, key));
    let importance = importance_of(kind, &children, sent);
    Facts {
        importance,
        message: true,
        push: children.push,
        call,
        id: children.archive_id.or_else(|| id.and(content)),
        content,
        redelivered: children.redelivered,
        to_account,
        note_to_self: to_account && from.is_none_or(|from| bare(from) == account),
        said: from
            .zip(id)
            .filter(|_| kind == Some("groupchat"))
            .map(|(from, id)| StanzaId::said(account, bare(from), id, key)),
        names: (importance >= Importance::Important)
            .then(|| Names::new(from.unwrap_or(account), id, children.room_id, key)),
        amends: children.amended.filter(|_| !sent),
        label: Label::of_message(kind, call, id, from),
    }
}

impl Children {
    /// Whether there is any that makes a message important, if anything else does not prevent it.
    fn matters(&self) -> bool {
        self.call || self.has_content()
    }

    fn has_content(&self) -> bool {
        !self.reaction && (self.content || (self.body || self.encryption) && !self.keys)
    }
}

/// `sent`: it is the message in a carbon copy of what the account has sent itself.
fn importance_of(kind: Option<&str>, children: &Children, sent: bool) -> Importance {
    // XEP-0045 section 8.1: a subject without a body changes the room's subject.
    let subject_change = children.subject && !children.body;
    match kind {
        _ if sent => Importance::Unimportant,
        Some("error" | "headline") => Importance::Unimportant,
        Some("groupchat") if subject_change => Importance::Unimportant,
        _ if children.call => Importance::Urgent,
        // It wakes nobody by itself: its original has, or the device has received that.
        _ if children.amends => Importance::Unimportant,
        _ if children.has_content() => Importance::Important,
        _ => Importance::Unimportant,
    }
}

/// `key` is for what the message is recognised by, which is not read without.
fn read_children<E: Element>(message: &E, account: &str, key: Option<&Key>) -> Children {
    let mut found = Children::default();
    // Most children are none of these, and a namespace takes time to look up.
    message.find_named(&NAMES, |child| {
        read_child(&mut found, message, child, account, key);
        None::<()>
    });
    found
}

fn read_child<E: Element>(
    found: &mut Children,
    message: &E,
    child: &E,
    account: &str,
    key: Option<&Key>,
) {
    match (child.name(), &*child.ns()) {
        ("body", ns) if ns == message.ns() => {
            let mut hasher = key.map(BuildHasher::build_hasher);
            child.each_text(|piece| {
                found.body |= !piece.is_empty();
                if let Some(hasher) = &mut hasher {
                    piece.hash(hasher);
                }
            });
            found.body_hash = hasher.map_or(0, |hasher| hasher.finish());
        }
        ("subject", ns) if ns == message.ns() => found.subject = true,
        ("x", ns::CONFERENCE | ns::PGP)
        | ("openpgp", ns::OPENPGP)
        | ("file-sharing", ns::SFS)
        | ("sticker", ns::STICKERS) => found.content = true,
        ("x", ns::MUC_USER) => found.content |= has_child(child, "invite"),
        ("x", ns::OOB) => found.content |= has_child(child, "url"),
        ("encrypted", ns) if OMEMO.contains(&ns) => {
            if has_child(child, "payload") {
                found.content = true;
            } else {
                found.keys = true;
            }
        }
        ("encryption", ns::EME) => found.encryption = true,
        ("notification", ns::PUSH_2) => found.push = true,
        ("reactions", ns::REACTIONS) => found.reaction = true,
        ("event", ns::PUBSUB_EVENT) => found.push |= push::has_notification(child, "items"),
        ("stanza-id", ns::SID) => {
            if let ([Some(by), Some(id)], Some(key)) = (child.attrs([Attr::By, Attr::Id]), key) {
                if by == account {
                    found.archive_id = Some(StanzaId::archived(id, key));
                } else if message
                    .attr(Attr::From)
                    .is_some_and(|from| bare(from) == by)
                {
                    found.room_id = Some(Chat::of(by, key).message(id, key));
                }
            }
        }
        ("delay", ns::DELAY) => {
            let host = account.split_once('@').map_or(account, |(_, host)| host);
            found.redelivered |= child.attr(Attr::From) == Some(host);
        }
        (name, ns) => {
            if let Some(original) = amendment::original(child, name, ns) {
                found.amends = true;
                let from = message.attr(Attr::From).unwrap_or(account);
                found.amended = key.map(|key| Chat::of(from, key).message(original, key));
            }
            found.call |= call::begins(name, ns);
            found.said = key
                .and_then(|key| call::read(child, name, ns, key))
                .or(found.said);
        }
    }
}

fn has_child<E: Element>(parent: &E, name: &str) -> bool {
    parent.find_named(&[name], |_| Some(())).is_some()
}

#[cfg(test)]
mod tests;
