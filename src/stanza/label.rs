//! What an administrator may know of a stanza: nothing of what it says.

use arrayvec::ArrayString;

use super::call::Call;
use super::element::{Attr, Element, bare, is_request};

/// What an administrator may know of a stanza.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Label {
    /// What it is.
    pub kind: Kind,
    /// Its `id`, cut to this many bytes: a UUID is whole.
    pub id: ArrayString<36>,
    /// The domain of who sent it, cut to this many bytes.
    pub from: ArrayString<38>,
}

/// What a stanza is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// A message to one recipient.
    #[default]
    Message,
    /// A message of a room.
    Groupchat,
    /// A message of type `headline`.
    Headline,
    /// A message of type `error`.
    Error,
    /// The beginning of a call.
    Call,
    /// The end of a call.
    CallEnd,
    /// A request to see the user's presence.
    Subscription,
    /// Other presence.
    Presence,
    /// An IQ, or something unknown.
    Iq,
}

impl Label {
    /// That of a message.
    pub(super) fn of_message(
        kind: Option<&str>,
        call: Option<Call>,
        id: Option<&str>,
        from: Option<&str>,
    ) -> Self {
        let kind = match (kind, call) {
            (_, Some(Call::Ends(_))) => Kind::CallEnd,
            (_, Some(Call::Begins(_))) => Kind::Call,
            (Some("groupchat"), _) => Kind::Groupchat,
            (Some("headline"), _) => Kind::Headline,
            (Some("error"), _) => Kind::Error,
            _ => Kind::Message,
        };
        Self::new(kind, id, from)
    }

    /// That of another stanza.
    pub(super) fn of<E: Element>(stanza: &E) -> Self {
        let kind = match stanza.name() {
            "presence" if is_request(stanza) => Kind::Subscription,
            "presence" => Kind::Presence,
            "message" => Kind::Message, // A carbon copy of nothing
            _ => Kind::Iq,
        };
        let [id, from] = stanza.attrs([Attr::Id, Attr::From]);
        Self::new(kind, id, from)
    }

    fn new(kind: Kind, id: Option<&str>, from: Option<&str>) -> Self {
        Self {
            kind,
            id: cut(id.unwrap_or_default()),
            from: cut(from.map_or("", domain)),
        }
    }
}

impl Kind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Groupchat => "group message",
            Self::Headline => "headline",
            Self::Error => "error",
            Self::Call => "call",
            Self::CallEnd => "end of a call",
            Self::Subscription => "subscription request",
            Self::Presence => "presence",
            Self::Iq => "iq",
        }
    }
}

fn domain(jid: &str) -> &str {
    let bare = bare(jid);
    bare.split_once('@').map_or(bare, |(_, domain)| domain)
}

/// As much as there is room for, in whole characters.
pub fn cut<const N: usize>(text: &str) -> ArrayString<N> {
    ArrayString::from(&text[..text.floor_char_boundary(N)]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stanza::{Facts, Key};

    #[test]
    fn it_has_the_id_and_the_domain_alone() {
        for (from, domain) in [
            (Some("rosa@home.test/phone@x"), "home.test"),
            (Some("room.test/rosa"), "room.test"),
            (Some("home.test"), "home.test"),
            (None, ""),
        ] {
            let label = Label::new(Kind::Message, Some("id 1"), from);
            assert_eq!((&*label.id, &*label.from), ("id 1", domain));
        }
    }

    #[test]
    fn it_says_what_the_stanza_is() {
        let jmi =
            |name| format!("<message><{name} xmlns='urn:xmpp:jingle-message:0' id='c'/></message>");
        for (xml, name) in [
            ("<message/>", "message"),
            ("<message type='chat'/>", "message"),
            ("<message type='groupchat'/>", "group message"),
            ("<message type='headline'/>", "headline"),
            ("<message type='error'/>", "error"),
            (&*jmi("propose"), "call"),
            (&*jmi("retract"), "end of a call"),
            ("<presence/>", "presence"),
            ("<presence type='subscribe'/>", "subscription request"),
            ("<presence type='subscribed'/>", "presence"),
            ("<iq/>", "iq"),
            (
                "<message><sent xmlns='urn:xmpp:carbons:2'/></message>",
                "message",
            ),
        ] {
            let (start, end) = xml.split_at(xml.find(['>', '/', ' ']).unwrap_or_default());
            let from = " xmlns='jabber:client' from='rosa@home.test'";
            let stanza = format!("{start}{from}{end}");
            let stanza: minidom::Element = stanza.parse().unwrap();
            let label = Facts::read(&stanza, "anna@home.test", &Key::known(1)).label;
            assert_eq!(
                (label.kind.name(), &*label.from),
                (name, "home.test"),
                "{xml}"
            );
        }
    }

    #[test]
    fn it_is_cut_between_characters() {
        let label = Label::new(Kind::Message, Some(&"ä€".repeat(20)), None);
        assert_eq!(
            &*label.id,
            "ä€".repeat(7),
            "35 bytes, and the next character has two"
        );
    }
}
