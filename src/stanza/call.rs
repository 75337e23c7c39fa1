//! What begins a call, and what ends it (XEP-0353, XEP-0482).

use std::hash::BuildHasher;

use super::element::{Attr, Element, bare};
use super::key::Key;

const JMI: &str = "urn:xmpp:jingle-message:0";
const CALL_INVITES: &str = "urn:xmpp:call-invites:0";

/// XEP-0167.
const RTP: &str = "urn:xmpp:jingle:apps:rtp:1";

/// The names of the elements that say that there is no call any more, whoever sends them; the
/// last three only where the account itself does: another of its devices has taken the call, or not.
pub(super) const ENDS: [&str; 6] = ["retract", "finish", "left", "proceed", "accept", "reject"];
const ENDS_OF_CALLER: usize = 3;

/// The names of all elements that say something of a call; then those of carbon copies, which may have one inside.
pub(super) const NAMES: [&str; 10] = [
    "propose", "invite", "retract", "finish", "left", "proceed", "accept", "reject", "received",
    "sent",
];
pub(super) const COPIES: usize = 8;

/// A call that a message begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Somebody calls.
    Begins(Party),
    /// The caller has given up, or another device of the account has answered.
    Ends(Party),
}

/// Who says something about which call, as keyed hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Party {
    id: u64,
    who: u64,
    /// It is the account itself.
    own: bool,
}

impl Party {
    /// Somebody who says something about the call `id`; both stand for something. `own`: it is the account.
    pub fn new(id: u64, who: u64, own: bool) -> Self {
        Self { id, who, own }
    }
}

/// What a child of a message says of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said {
    begins: bool,
    by_caller: bool,
    /// XEP-0482 has the id of the invitation, which is the message's own, in what ends it.
    id: Option<u64>,
}

/// What a message says of a call, for whoever is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The name of the element: `propose`, `retract` and the like.
    pub action: &'static str,
    /// The id of the call; that of an invitation (XEP-0482) is the message's.
    pub id: Option<String>,
    /// What it is about to carry: audio, video, or both. Nothing if it is no beginning, and never then.
    pub media: Vec<Media>,
}

/// What a call carries (XEP-0167).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Media {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

impl Media {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }
}

/// What this child of the message `id` says of a call, in words.
pub(super) fn content<E: Element>(
    child: &E,
    name: &str,
    ns: &str,
    id: Option<&str>,
) -> Option<Content> {
    if ns != JMI && ns != CALL_INVITES {
        return None;
    }
    let action = NAMES[..COPIES].iter().find(|known| **known == name)?;
    let begins = begins(name, ns);
    let own_id = child.attr(Attr::Id).filter(|_| !begins || ns == JMI);
    Some(Content {
        action,
        id: own_id.or(id.filter(|_| begins)).map(str::to_owned),
        media: if begins { media(child) } else { Vec::new() },
    })
}

impl Content {
    /// Whether it is the beginning of a call.
    pub fn begins(&self) -> bool {
        !self.media.is_empty()
    }
}

/// What a call is about to carry. One that does not say so is one to talk.
fn media<E: Element>(begin: &E) -> Vec<Media> {
    let mut media = Vec::new();
    begin.find_named(&["description"], |description| {
        if description.ns() == RTP {
            match description.attr(Attr::Media) {
                Some("audio") => media.push(Media::Audio),
                Some("video") => media.push(Media::Video),
                _ => {}
            }
        }
        None::<()>
    });
    if matches!(begin.attr(Attr::Video), Some("true" | "1")) {
        media.extend([Media::Audio, Media::Video]);
    }
    media.sort_unstable();
    media.dedup();
    if media.is_empty() {
        media.push(Media::Audio);
    }
    media
}

impl Call {
    /// Whether this is the end of what `other` begins. Nobody ends a stranger's call.
    pub fn ends(self, other: Self) -> bool {
        let (Self::Ends(end), Self::Begins(begin)) = (self, other) else {
            return false;
        };
        end.id == begin.id && (end.own || end.who == begin.who)
    }

    /// Whether another device of the account has taken what `other` begins, or does not want to.
    pub fn answers(self, other: Self) -> bool {
        matches!(self, Self::Ends(party) if party.own) && self.ends(other)
    }

    /// Whether it is an end.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Ends(_))
    }
}

/// Whether this child of a message begins a call.
pub(super) fn begins(name: &str, ns: &str) -> bool {
    matches!((name, ns), ("propose", JMI) | ("invite", CALL_INVITES))
}

/// What this child of a message says of a call, if anything.
pub(super) fn read<E: Element>(child: &E, name: &str, ns: &str, key: &Key) -> Option<Said> {
    let begins = begins(name, ns);
    let place = ENDS.iter().position(|end| *end == name);
    if !begins && (place.is_none() || ns != JMI && ns != CALL_INVITES) {
        return None;
    }
    let id = child
        .attr(Attr::Id)
        .filter(|_| !(begins && ns == CALL_INVITES));
    Some(Said {
        begins,
        by_caller: place.is_some_and(|place| place < ENDS_OF_CALLER),
        id: id.map(|id| key.hash_one(id)),
    })
}

impl Said {
    /// The same as what the message `id` of `from` says to `account`.
    pub fn by(
        self,
        from: Option<&str>,
        id: Option<&str>,
        account: &str,
        key: &Key,
    ) -> Option<Call> {
        let id = self
            .id
            .or_else(|| id.filter(|_| self.begins).map(|id| key.hash_one(id)))?;
        let who = from.map_or(account, bare);
        let party = Party {
            id,
            who: key.hash_one(who),
            own: who == account,
        };
        if self.begins {
            Some(Call::Begins(party))
        } else {
            (party.own || self.by_caller).then_some(Call::Ends(party))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stanza::Facts;

    const ACCOUNT: &str = "anna@home.test";

    fn call(from: &str, id: &str, child: &str) -> Option<Call> {
        let xml =
            format!("<message xmlns='jabber:client' from='{from}' id='{id}'>{child}</message>");
        Facts::read(
            &xml.parse::<minidom::Element>().unwrap(),
            ACCOUNT,
            &Key::known(1),
        )
        .call
    }

    fn jmi(from: &str, name: &str, id: &str) -> Option<Call> {
        call(from, "m", &format!("<{name} xmlns='{JMI}' id='{id}'/>"))
    }

    const CALLER: &str = "rosa@home.test/phone";
    const OWN: &str = "anna@home.test/desk";

    #[test]
    fn the_caller_may_give_up_and_the_account_may_answer() {
        let begin = jmi(CALLER, "propose", "c1").unwrap();
        assert!(matches!(begin, Call::Begins(_)));
        for name in ["retract", "finish"] {
            assert!(
                jmi("rosa@home.test/tablet", name, "c1")
                    .unwrap()
                    .ends(begin),
                "{name}"
            );
        }
        for name in ["retract", "finish", "proceed", "accept", "reject"] {
            assert!(jmi(OWN, name, "c1").unwrap().ends(begin), "{name}");
        }
    }

    #[test]
    fn nobody_else_ends_it() {
        let begin = jmi(CALLER, "propose", "c1").unwrap();
        assert!(!jmi("eve@home.test", "retract", "c1").unwrap().ends(begin));
        assert!(!jmi(CALLER, "retract", "c2").unwrap().ends(begin));
        assert!(!jmi(CALLER, "propose", "c1").unwrap().ends(begin));
        for name in ["proceed", "accept", "reject"] {
            assert_eq!(jmi(CALLER, name, "c1"), None, "{name}");
        }
        assert_eq!(
            call(
                CALLER,
                "m",
                "<retract xmlns='urn:xmpp:message-retract:1' id='c1'/>"
            ),
            None
        );
        assert_eq!(jmi(CALLER, "ringing", "c1"), None);
        let failed = "<message xmlns='jabber:client' type='error' from='rosa@home.test'>\
            <retract xmlns='urn:xmpp:jingle-message:0' id='c1'/></message>";
        let failed: minidom::Element = failed.parse().unwrap();
        assert_eq!(Facts::read(&failed, ACCOUNT, &Key::known(1)).call, None);
    }

    #[test]
    fn what_it_says_has_an_id_and_what_it_carries() {
        let content = |child: &str| {
            let xml = format!("<message xmlns='jabber:client' id='m1'>{child}</message>");
            let message: minidom::Element = xml.parse().unwrap();
            let call = crate::stanza::Content::read(&message, ACCOUNT)
                .call
                .unwrap();
            (call.action, call.id.unwrap_or_default(), call.media)
        };
        let rtp = |media| format!("<description xmlns='{RTP}' media='{media}'/>");
        let (audio, video) = (rtp("audio"), rtp("video"));
        let jmi = |name, inside: &str| format!("<{name} xmlns='{JMI}' id='c1'>{inside}</{name}>");
        let invite = |attrs| format!("<invite xmlns='{CALL_INVITES}' {attrs}/>");
        let both = vec![Media::Audio, Media::Video];
        for (child, action, id, media) in [
            (
                jmi("propose", &format!("{video}{audio}{audio}")),
                "propose",
                "c1",
                both.clone(),
            ),
            (jmi("propose", &video), "propose", "c1", vec![Media::Video]),
            (jmi("propose", ""), "propose", "c1", vec![Media::Audio]),
            (invite("video='true'"), "invite", "m1", both),
            (
                invite("video='false' id='x'"),
                "invite",
                "m1",
                vec![Media::Audio],
            ),
            (jmi("retract", &audio), "retract", "c1", vec![]),
            (
                format!("<left xmlns='{CALL_INVITES}' id='m0'/>"),
                "left",
                "m0",
                vec![],
            ),
            (
                format!("<left xmlns='{CALL_INVITES}'/>"),
                "left",
                "",
                vec![],
            ),
        ] {
            assert_eq!(content(&child), (action, id.to_owned(), media), "{child}");
        }
    }

    #[test]
    fn an_invitation_is_known_by_the_id_of_its_message() {
        let child = |name, id| format!("<{name} xmlns='{CALL_INVITES}' {id}/>");
        let begin = call(CALLER, "m1", &child("invite", "")).unwrap();
        for (from, name) in [
            (CALLER, "retract"),
            (CALLER, "left"),
            (OWN, "accept"),
            (OWN, "reject"),
        ] {
            let end = call(from, "m2", &child(name, "id='m1'")).unwrap();
            assert!(end.ends(begin), "{name}");
        }
        assert_eq!(call(CALLER, "m2", &child("accept", "id='m1'")), None);
    }

    #[test]
    fn what_the_account_has_sent_comes_as_a_carbon_copy() {
        let begin = jmi(CALLER, "propose", "c1").unwrap();
        let copy = format!(
            "<message xmlns='jabber:client' from='{ACCOUNT}'><sent xmlns='urn:xmpp:carbons:2'>\
             <forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='{OWN}' to='{CALLER}'>\
             <reject xmlns='{JMI}' id='c1'/></message></forwarded></sent></message>"
        );
        let facts = Facts::read(
            &copy.parse::<minidom::Element>().unwrap(),
            ACCOUNT,
            &Key::known(1),
        );
        assert!(facts.call.unwrap().ends(begin));
    }
}
