//! Importance, urgency and identity of a stanza.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use super::{Attr, Element};

mod ns {
    pub const CARBONS: &str = "urn:xmpp:carbons:2";
    pub const CALL_INVITES: &str = "urn:xmpp:call-invites:0";
    pub const CONFERENCE: &str = "jabber:x:conference";
    pub const DELAY: &str = "urn:xmpp:delay";
    pub const EME: &str = "urn:xmpp:eme:0";
    pub const FORWARD: &str = "urn:xmpp:forward:0";
    pub const JMI: &str = "urn:xmpp:jingle-message:0";
    pub const MUC_USER: &str = "http://jabber.org/protocol/muc#user";
    pub const SID: &str = "urn:xmpp:sid:0";
}

/// Elements that stand for end-to-end encrypted content: XEP-0384 in its four
/// namespaces, XEP-0027, XEP-0373, and XEP-0380 alone.
const ENCRYPTED: [(&str, &str); 7] = [
    ("encrypted", "eu.siacs.conversations.axolotl"),
    ("encrypted", "urn:xmpp:omemo:0"),
    ("encrypted", "urn:xmpp:omemo:1"),
    ("encrypted", "urn:xmpp:omemo:2"),
    ("x", "jabber:x:encrypted"),
    ("openpgp", "urn:xmpp:openpgp:0"),
    ("encryption", ns::EME),
];

/// The names of all children that matter.
const NAMES: [&str; 10] = [
    "body",
    "delay",
    "encrypted",
    "encryption",
    "invite",
    "openpgp",
    "propose",
    "stanza-id",
    "subject",
    "x",
];

/// How much a stanza matters to the person who holds the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Importance {
    /// Nothing to show: chat states, receipts, presence.
    Unimportant,
    /// The device should show something.
    Important,
    /// It must not wait: a call. An urgent stanza is important, too.
    Urgent,
}

/// What a stanza is recognised by, in however many clones the server handles it.
///
/// A keyed hash, so that nobody outside can make two stanzas look the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StanzaId(pub u64);

impl StanzaId {
    /// The identity of a stanza that the user's archive knows by `id` (XEP-0313, XEP-0359).
    pub fn archived(id: &str, key: &RandomState) -> Self {
        Self(key.hash_one(("archive", id)))
    }
}

/// All that the rules know of a stanza.
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// How much it matters.
    pub importance: Importance,
    /// It is a `<message/>`.
    pub message: bool,
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
}

impl Facts {
    /// Reads a stanza that is for `account` (its bare JID).
    pub fn read<E: Element>(stanza: &E, account: &str, key: &RandomState) -> Self {
        with_message(stanza, account, |message, sent| {
            let mut facts = read_message(message, account, key);
            if sent {
                facts.importance = Importance::Unimportant;
            }
            Some(facts)
        })
        .unwrap_or(Self {
            importance: Importance::Unimportant,
            message: false,
            id: None,
            content: None,
            redelivered: false,
            to_account: true,
            note_to_self: false,
        })
    }
}

/// Whether a stanza that is no carbon copy may be a call: quicker than reading all the facts, and
/// never wrong if it says no.
pub fn is_call<E: Element>(stanza: &E) -> bool {
    let call = |child: &E| matches!(child.name(), "propose" | "invite").then_some(());
    stanza.find_map(call).is_some()
}

/// What the clones of a stanza have in common that waits in the stream management queues of
/// several sessions: all its content, and the time when `mod_smacks` stamped them (XEP-0203).
pub fn queued_id<E: Element>(stanza: &E, account: &str, key: &RandomState) -> Option<StanzaId> {
    let mut stamp = None;
    let mut content = key.build_hasher();
    let from = stanza.attr(Attr::From);
    // Each carbon copy has an address of its own.
    let to = stanza.attr(Attr::To).filter(|_| from != Some(account));
    (stanza.name(), from, to, stanza.attr(Attr::Type)).hash(&mut content);
    stanza.find_map(|child| {
        if child.is("delay", ns::DELAY) && child.attr(Attr::From) == Some(account) {
            stamp = child.attr(Attr::Stamp).map(str::to_owned);
        } else {
            (child.name(), child.ns(), child.text()).hash(&mut content);
        }
        None::<()>
    });
    stamp.map(|stamp| StanzaId(key.hash_one((account, content.finish(), stamp))))
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
    // Anybody may write such an element; only our own server's counts (XEP-0280 section 11).
    if stanza.attr(Attr::From).is_none_or(|from| from == account) {
        let copied = stanza.find_map(|copy| {
            let sent = copy.is("sent", ns::CARBONS);
            if !sent && !copy.is("received", ns::CARBONS) {
                return None;
            }
            copy.find_map(|forwarded| {
                if !forwarded.is("forwarded", ns::FORWARD) {
                    return None;
                }
                forwarded
                    .find_map(|message| (message.name() == "message").then(|| read(message, sent)))
            })
        });
        if let Some(result) = copied {
            return result;
        }
    }
    read(stanza, false)
}

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "one for each kind of child")]
struct Children {
    archive_id: Option<StanzaId>,
    body: Option<u64>,
    call: bool,
    encrypted: bool,
    invitation: bool,
    redelivered: bool,
    subject: bool,
}

fn read_message<E: Element>(message: &E, account: &str, key: &RandomState) -> Facts {
    let children = read_children(message, account, key);
    let [kind, from, to, id] = message.attrs([Attr::Type, Attr::From, Attr::To, Attr::Id]);

    let to_account = to.is_none_or(|to| bare(to) == account);
    let content = Some(StanzaId(key.hash_one((kind, from, id, children.body))));
    Facts {
        importance: importance(kind, &children),
        message: true,
        id: children.archive_id.or_else(|| id.and(content)),
        content,
        redelivered: children.redelivered,
        to_account,
        note_to_self: to_account && from.is_none_or(|from| bare(from) == account),
    }
}

fn importance(kind: Option<&str>, children: &Children) -> Importance {
    // XEP-0045 section 8.1: a subject without a body changes the room's subject.
    let subject_change = children.subject && children.body.is_none();
    match kind {
        Some("error" | "headline") => Importance::Unimportant,
        Some("groupchat") if subject_change => Importance::Unimportant,
        _ if children.call => Importance::Urgent,
        _ if children.body.is_some() || children.encrypted || children.invitation => {
            Importance::Important
        }
        _ => Importance::Unimportant,
    }
}

fn read_children<E: Element>(message: &E, account: &str, key: &RandomState) -> Children {
    let mut found = Children::default();
    message.find_map(|child| {
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
    key: &RandomState,
) {
    let name = child.name();
    // Most children are none of these, and a namespace takes time to look up.
    if !NAMES.contains(&name) {
        return;
    }
    match (name, &*child.ns()) {
        ("body", ns) if ns == message.ns() => {
            let mut hasher = key.build_hasher();
            let mut empty = true;
            child.each_text(|piece| {
                empty &= piece.is_empty();
                piece.hash(&mut hasher);
            });
            if !empty {
                found.body = Some(hasher.finish());
            }
        }
        ("subject", ns) if ns == message.ns() => found.subject = true,
        ("propose", ns::JMI) | ("invite", ns::CALL_INVITES) => found.call = true,
        ("x", ns::CONFERENCE) => found.invitation = true,
        ("x", ns::MUC_USER) => {
            found.invitation |= child
                .find_map(|invite| invite.is("invite", ns::MUC_USER).then_some(()))
                .is_some();
        }
        ("stanza-id", ns::SID) if child.attr(Attr::By) == Some(account) => {
            if let Some(id) = child.attr(Attr::Id) {
                found.archive_id = Some(StanzaId::archived(id, key));
            }
        }
        ("delay", ns::DELAY) => {
            let host = account.split_once('@').map_or(account, |(_, host)| host);
            found.redelivered |= child.attr(Attr::From) == Some(host);
        }
        name_and_ns => found.encrypted |= ENCRYPTED.contains(&name_and_ns),
    }
}

fn bare(jid: &str) -> &str {
    jid.split_once('/').map_or(jid, |(bare, _)| bare)
}

#[cfg(test)]
mod tests;
