//! XEP-0357 section 8: a push service ends a registration.

use minidom::Element;
use xmpp_parsers::jid::Jid;

use super::ns;

/// The node that the push service has taken away from `account` (a bare JID), if
/// this `<pubsub/>` says so.
pub fn revoked_node(pubsub: &Element, account: &str) -> Option<String> {
    if !pubsub.is("pubsub", ns::PUBSUB) {
        return None;
    }
    let node = pubsub.attr("node")?;
    pubsub
        .children()
        .any(|child| {
            child.is("affiliation", ns::PUBSUB)
                && child.attr("affiliation") == Some("none")
                && child
                    .attr("jid")
                    .and_then(|jid| Jid::new(jid).ok())
                    .is_some_and(|jid| jid.as_str() == account)
        })
        .then(|| node.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(inner: &str) -> Option<String> {
        let pubsub = format!("<pubsub xmlns='{}' node='n1'>{inner}</pubsub>", ns::PUBSUB);
        revoked_node(&pubsub.parse().unwrap(), "anna@home.test")
    }

    #[test]
    fn affiliation_none_ends_the_node_of_the_account() {
        let affiliation = "<affiliation jid='anna@home.test' affiliation='none'/>";
        assert_eq!(node(affiliation).as_deref(), Some("n1"));
        assert_eq!(
            node(&affiliation.replace("home", "HOME")).as_deref(),
            Some("n1")
        );
    }

    #[test]
    fn other_affiliations_and_other_accounts_do_not() {
        for inner in [
            "",
            "<affiliation jid='anna@home.test' affiliation='publish-only'/>",
            "<affiliation jid='rosa@home.test' affiliation='none'/>",
            "<affiliation affiliation='none'/>",
            "<affiliation xmlns='urn:x' jid='anna@home.test' affiliation='none'/>",
        ] {
            assert_eq!(node(inner), None, "{inner}");
        }
    }
}
