//! What corrects a message (XEP-0308), or takes it back (XEP-0424; a moderator, XEP-0425).

use super::element::{Attr, Element};

const CORRECT: &str = "urn:xmpp:message-correct:0";
const FASTEN: &str = "urn:xmpp:fasten:0";
const MODERATE: &str = "urn:xmpp:message-moderate:0";
const RETRACT_0: &str = "urn:xmpp:message-retract:0";
const RETRACT_1: &str = "urn:xmpp:message-retract:1";

/// The id of the message that one with this child corrects or takes back.
pub(super) fn original<'a, E: Element>(child: &'a E, name: &str, ns: &str) -> Option<&'a str> {
    let is_amendment = match (name, ns) {
        ("replace", CORRECT) | ("retract", RETRACT_1) => true,
        ("apply-to", FASTEN) => takes_back(child),
        _ => false,
    };
    child.attr(Attr::Id).filter(|_| is_amendment)
}

fn takes_back<E: Element>(parent: &E) -> bool {
    let is_retraction = |child: &E| match (child.name(), &*child.ns()) {
        ("retract", RETRACT_0) => Some(()),
        ("moderated", MODERATE) => child.find_named(&["retract"], |_| Some(())),
        _ => None,
    };
    parent
        .find_named(&["retract", "moderated"], is_retraction)
        .is_some()
}
