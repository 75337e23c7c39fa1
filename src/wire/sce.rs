//! What a device gets of a stanza: an envelope (XEP-0420) with as much of it as a push service carries.

use std::mem;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use minidom::Element;
use xmpp_parsers::ns;

use super::publish::xml_text;
use super::text::{ELLIPSIS, head};
use super::xml::{Xml, is_expressible, written};
use crate::stanza::bare;

/// What is left of 4096 bytes, which push services of phones carry, for an encrypted envelope in base64 in JSON.
pub const LIMIT: usize = 2847;

/// How long an envelope can be, besides its limit.
pub const SIZES: [usize; 3] = [512, 1024, 2048];

const HEAD: &str =
    "<envelope xmlns='urn:xmpp:sce:1'><content><forwarded xmlns='urn:xmpp:forward:0'>";
const TAIL: &str = "</forwarded></content>";
const PADDING: [&str; 2] = ["<rpad>", "</rpad>"];
const END: &str = "</envelope>";

const REFERENCE: &str = "urn:xmpp:reference:0";

/// What a device makes something of, besides what has a [rank](Rank) of its own.
const KNOWN: [&str; 18] = [
    "eu.siacs.conversations.axolotl",
    "http://jabber.org/protocol/nick",
    "jabber:x:encrypted",
    "jabber:x:oob",
    "urn:xmpp:delay",
    "urn:xmpp:eme:0",
    "urn:xmpp:fasten:0", // Of version 0 of XEP-0424
    "urn:xmpp:message-correct:0",
    "urn:xmpp:message-retract:1",
    "urn:xmpp:omemo:0",
    "urn:xmpp:omemo:1",
    "urn:xmpp:omemo:2",
    "urn:xmpp:openpgp:0",
    "urn:xmpp:reactions:0",
    REFERENCE,
    "urn:xmpp:reply:0",
    "urn:xmpp:sce:0",
    "urn:xmpp:sce:1",
];

/// A file or a call that is described at greater length goes first.
const SMALL: usize = 1024;

/// The children of a stanza that may be left of it, those that count most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// What the account's archive knows it by (XEP-0359).
    ArchiveId,
    /// A call, an invitation to a room, or what a room knows its message by.
    Vital,
    Body,
    Known,
    /// Which part of the body repeats what another child says (XEP-0428).
    Fallback,
    /// The body in another language.
    Translation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attributes {
    All,
    /// `from`, `id`, `to` and `type`.
    Core,
    /// The same, `from` without its resource.
    WithoutResource,
    /// The same without `id`.
    WithoutId,
}

/// What is left of a stanza: children up to a rank. A body beside which there is no fallback may be cut.
struct Step(Rank, Attributes);

/// The first of these that there is room for is taken.
const STEPS: [Step; 11] = [
    Step(Rank::Translation, Attributes::All),
    Step(Rank::Fallback, Attributes::All),
    Step(Rank::Known, Attributes::All),
    Step(Rank::Body, Attributes::All),
    Step(Rank::Vital, Attributes::All),
    Step(Rank::Vital, Attributes::Core),
    Step(Rank::Vital, Attributes::WithoutResource),
    Step(Rank::Vital, Attributes::WithoutId),
    Step(Rank::ArchiveId, Attributes::Core),
    Step(Rank::ArchiveId, Attributes::WithoutResource),
    Step(Rank::ArchiveId, Attributes::WithoutId),
];

/// The envelope of a stanza for `account` (its bare JID), in no more than `limit` bytes, if need be with less of the
/// stanza. What names it in the account's archive is never left out. `None` if there is no room for that.
pub fn envelope(stanza: &Element, account: &str, limit: usize) -> Option<String> {
    if !is_expressible(stanza) {
        return None;
    }
    let room = limit.checked_sub(TAIL.len() + END.len())?;
    let whole = || {
        let mut xml = Xml::new(room);
        xml.raw(HEAD)?;
        xml.element(stanza, ns::FORWARD)?;
        Some(xml)
    };
    let mut envelope = whole()
        .or_else(|| reduced(stanza, account, room))?
        .into_text();
    envelope.push_str(TAIL);
    pad(&mut envelope, limit);
    envelope.push_str(END);
    Some(envelope)
}

/// Pads to the next size that there is room for the padding in. What is too long for that is almost as long as the
/// limit.
fn pad(envelope: &mut String, limit: usize) {
    let [start, end] = PADDING;
    let overhead = start.len() + end.len();
    let length = envelope.len() + END.len();
    let sizes = SIZES
        .into_iter()
        .filter(|size| *size < limit)
        .chain([limit]);
    let mut rooms = sizes.filter_map(|size| size.checked_sub(length));
    let room = rooms.find(|room| *room == 0 || *room >= overhead);
    let Some(room) = room.and_then(|room| room.checked_sub(overhead)) else {
        return;
    };
    let mut random = vec![0; (room * 3).div_ceil(4)];
    if getrandom::fill(&mut random).is_err() {
        return;
    }
    envelope.push_str(start);
    let place = envelope.len();
    STANDARD_NO_PAD.encode_string(random, envelope);
    envelope.truncate(place + room);
    envelope.push_str(end);
}

fn reduced(stanza: &Element, account: &str, room: usize) -> Option<Xml> {
    let mut has_body = false;
    let children: Vec<_> = stanza
        .children()
        .filter_map(|child| match rank(child, stanza, account)? {
            Rank::Body if mem::replace(&mut has_body, true) => Some((Rank::Translation, child)),
            rank => Some((rank, child)),
        })
        .collect();
    STEPS
        .iter()
        .find_map(|step| step.write(stanza, &children, room))
}

fn rank(child: &Element, stanza: &Element, account: &str) -> Option<Rank> {
    if !is_expressible(child) {
        return None;
    }
    let ns = child.ns();
    let is_core = stanza.has_ns(&*ns);
    let is_small = || Xml::new(SMALL).element(child, "").is_some();
    let is_by_room = || {
        let from = stanza
            .attr("from")
            .filter(|_| stanza.attr("type") == Some("groupchat"));
        from.is_some_and(|from| child.attr("by") == Some(bare(from))) && is_small()
    };
    match (child.name(), &*ns) {
        ("stanza-id", ns::SID) if child.attr("by") == Some(account) => Some(Rank::ArchiveId),
        ("stanza-id", ns::SID) => is_by_room().then_some(Rank::Vital),
        ("body", _) if is_core => Some(Rank::Body),
        ("subject" | "thread", _) if is_core => Some(Rank::Known),
        (_, ns::JINGLE_MESSAGE | "urn:xmpp:call-invites:0" | "jabber:x:conference") => {
            is_small().then_some(Rank::Vital)
        }
        (_, ns::MUC_USER) => {
            let invites = child.has_child("invite", ns::MUC_USER);
            (invites && is_small()).then_some(Rank::Vital)
        }
        (_, "urn:xmpp:sfs:0" | "urn:xmpp:stickers:0") => is_small().then_some(Rank::Known),
        (_, "urn:xmpp:fallback:0") => Some(Rank::Fallback),
        (_, ns) => KNOWN.contains(&ns).then_some(Rank::Known),
    }
}

impl Step {
    fn write(&self, stanza: &Element, children: &[(Rank, &Element)], room: usize) -> Option<Xml> {
        let Self(last, attributes) = *self;
        let ns = stanza.ns();
        let mut body = None;
        let mut xml = Xml::new(room);
        xml.raw(HEAD)?;
        attributes.write(&mut xml, stanza)?;
        xml.raw(">")?;
        for (rank, child) in children.iter().filter(|(rank, _)| *rank <= last) {
            if last >= Rank::Fallback {
                xml.element(child, &ns)?;
            } else if *rank == Rank::Body {
                xml.start(child, &ns)?;
                xml.attrs(child, |_| true)?;
                xml.raw(">")?;
                body = Some((xml.place(), child.text()));
                xml.end(child)?;
            } else {
                // What a reference is to may not be there any more.
                let refers = child.has_ns(REFERENCE);
                xml.start(child, &ns)?;
                xml.attrs(child, |name| !(refers && ["begin", "end"].contains(&name)))?;
                xml.rest(child)?;
            }
        }
        xml.end(stanza)?;
        if let Some((place, text)) = body {
            let text = cut(&text, xml.left())?;
            xml.text_at(place, &text)?;
        }
        Some(xml)
    }
}

impl Attributes {
    /// Writes the beginning of a stanza, with what is left of its attributes.
    fn write(self, xml: &mut Xml, stanza: &Element) -> Option<()> {
        xml.start(stanza, ns::FORWARD)?;
        if self == Self::All {
            return xml.attrs(stanza, |_| true);
        }
        for ((ns, name), value) in stanza.attrs() {
            let value = match name.as_str() {
                _ if ns.is_some() => continue,
                "from" if self != Self::Core => bare(value),
                "id" if self == Self::WithoutId => continue,
                "from" | "id" | "to" | "type" => value,
                _ => continue,
            };
            xml.attr(ns, name, value)?;
        }
        Some(())
    }
}

/// What a body says without what it quotes, or the beginning of that, in no more than `room` bytes.
fn cut(body: &str, room: usize) -> Option<String> {
    let mut body = unquoted(&xml_text(body));
    if head(&body, room, written).len() < body.len() {
        let room = room.checked_sub(ELLIPSIS.len())?;
        body.truncate(head(&body, room, written).len());
        if body.is_empty() {
            return None;
        }
        body.push_str(ELLIPSIS);
    }
    Some(body)
}

/// A text without the lines that quote another (XEP-0393 section 5.1.3), unless there are no others.
fn unquoted(text: &str) -> String {
    let is_quoted = |line: &&str| line.starts_with("> ") || line.trim_end() == ">";
    let lines: Vec<_> = text.split('\n').filter(|line| !is_quoted(line)).collect();
    let rest = lines.join("\n");
    match rest.trim_matches('\n') {
        "" => text.to_owned(),
        rest => rest.to_owned(),
    }
}

#[cfg(test)]
mod tests;
