//! What the rules may ask of a stanza, and what they decide from it.
//!
//! [`Element`] has two faces: a Prosody stanza table (in the Lua binding) and a
//! [`minidom::Element`](::minidom::Element) (for tests and for rare paths). [`Facts::read`] is all that the
//! rules ever see of a stanza.

mod activity;
mod amendment;
mod call;
mod clones;
mod content;
mod element;
mod facts;
mod importance;
mod key;
mod label;
mod mention;
mod minidom;
mod names;
mod push;

pub use activity::shows_activity;
pub use call::{Call, Content as CallContent, Media, Party};
pub use clones::{Queued, queued};
pub use content::{Content, Sort};
pub use element::{Attr, Element, bare};
pub use facts::{Facts, importance, is_archived, may_be_call};
pub use importance::Importance;
pub use key::{Key, StanzaId};
pub use label::{Kind, Label, cut};
pub use mention::{is_mentioned, is_named, is_reply};
pub use names::{Chat, Names, Read};

/// Whether a message, or the one in a carbon copy, may begin or end a call: quicker than reading what it says,
/// and never wrong if it says no.
pub fn may_concern_call<E: Element>(stanza: &E, account: &str) -> bool {
    let concerns = |child: &E| match child.name() {
        "received" | "sent" => facts::with_message(stanza, account, |message, _| {
            message.find_named(&call::NAMES[..call::COPIES], |_| Some(()))
        }),
        _ => Some(()),
    };
    stanza.name() == "message" && stanza.find_named(&call::NAMES, concerns).is_some()
}
