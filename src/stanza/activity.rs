//! Whether somebody is at a device.

use super::element::Element;
use super::facts;

/// XEP-0085.
const CHAT_STATES: &str = "http://jabber.org/protocol/chatstates";

/// Whether a message says that whoever has sent it is active: it carries a text, or a chat state.
pub fn shows_activity<E: Element>(stanza: &E) -> bool {
    let shows = |child: &E| {
        let ns = child.ns();
        (ns == CHAT_STATES || child.name() == "body" && ns == stanza.ns()).then_some(())
    };
    stanza.name() == "message" && stanza.find_map(shows).is_some() || facts::is_encrypted(stanza)
}
