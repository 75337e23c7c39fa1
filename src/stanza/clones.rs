//! What the clones of a stanza have in common that waits in the stream management queues of several sessions.

use std::hash::{BuildHasher, Hash, Hasher};
use std::str::FromStr;

use xmpp_parsers::date::DateTime;

use super::element::{Attr, Element};
use super::key::{Key, StanzaId};

/// XEP-0203.
const DELAY: &str = "urn:xmpp:delay";

/// What tells the clones of a stanza that waits in the stream management queues of several sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queued {
    /// All its content.
    pub content: StanzaId,
    /// When `mod_smacks` stamped it (XEP-0203), in seconds. A second may end between two clones.
    pub second: i64,
}

/// What tells the clones of a stanza; `None` if `mod_smacks` has not stamped it.
pub fn queued<E: Element>(stanza: &E, account: &str, key: &Key) -> Option<Queued> {
    let mut stamp = None;
    let mut content = key.build_hasher();
    let from = stanza.attr(Attr::From);
    // Each carbon copy has an address of its own.
    let to = stanza.attr(Attr::To).filter(|_| from != Some(account));
    (stanza.name(), from, to, stanza.attr(Attr::Type)).hash(&mut content);
    stanza.find_map(|child| {
        if child.is("delay", DELAY) && child.attr(Attr::From) == Some(account) {
            stamp = child
                .attr(Attr::Stamp)
                .and_then(|stamp| DateTime::from_str(stamp).ok());
        } else {
            (child.name(), child.ns()).hash(&mut content);
            child.each_text(|piece| piece.hash(&mut content));
        }
        None::<()>
    });
    stamp.map(|DateTime(stamp)| Queued {
        content: StanzaId(key.hash_one((account, content.finish()))),
        second: stamp.timestamp(),
    })
}
