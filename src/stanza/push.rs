//! Stanzas that are pushes themselves (XEP-0357).

use super::element::Element;

pub(super) const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
const PUSH: &str = "urn:xmpp:push:0";

/// Whether an IQ publishes a notification (XEP-0357 section 7).
pub(super) fn is_publish<E: Element>(iq: &E) -> bool {
    iq.find_named(&["pubsub"], |pubsub| {
        (pubsub.ns() == PUBSUB && has_notification(pubsub, "publish")).then_some(())
    })
    .is_some()
}

/// Whether there is a notification (XEP-0357) in an item of `list`.
pub(super) fn has_notification<E: Element>(parent: &E, list: &str) -> bool {
    parent
        .find_named(&[list], |list| {
            list.find_named(&["item"], |item| {
                item.find_named(&["notification"], |notification| {
                    (notification.ns() == PUSH).then_some(())
                })
            })
        })
        .is_some()
}
