//! `tigase:push:filter:muted:0`: nothing from chats that the client has muted, people and rooms alike.

use minidom::Element;

use super::chats;
use super::interface::Extension;
use super::others::Community;
use super::record::{Asked, Chosen, Field, Kept};
use crate::engine::Silence;
use crate::stanza::Content;
use crate::wire::ns;
use crate::wire::request::RequestError;

/// See the module.
pub struct Muted;

impl Extension for Muted {
    fn features(&self) -> &'static [&'static str] {
        &[ns::FILTER_MUTED]
    }

    fn community(&self) -> Option<Community> {
        Some(Community::Filters)
    }

    fn is_asked(&self, record: &dyn Asked) -> bool {
        record.is_set(Field::MutedJids)
    }

    fn enable(&self, enable: &Element) -> Result<Vec<(Field, Kept)>, RequestError> {
        let chats = chats::entries(enable, "muted", ns::FILTER_MUTED, "item")?.unwrap_or_default();
        if chats.is_empty() {
            return Ok(Vec::new());
        }
        let chats = chats.into_iter().map(|(chat, _)| chat).collect();
        Ok(vec![(Field::MutedJids, Kept::Chats(chats))])
    }

    fn is_filter(&self) -> bool {
        true
    }

    fn silence(&self, chosen: &Chosen, _: &Content) -> Option<Silence> {
        chosen.is_muted.then_some(Silence::Muted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enable(items: &str) -> Result<Vec<(Field, Kept)>, RequestError> {
        let muted = format!("<muted xmlns='tigase:push:filter:muted:0'>{items}</muted>");
        Muted.enable(
            &format!("<enable xmlns='urn:xmpp:push:0'>{muted}</enable>")
                .parse()
                .unwrap(),
        )
    }

    #[test]
    fn chats_are_kept_as_bare_jids() {
        let kept = enable("<item jid='Spam@ELSE.test/x'/><other/><item jid='team@rooms.test'/>");
        let chats = ["spam@else.test", "team@rooms.test"].map(str::to_owned);
        assert_eq!(
            kept,
            Ok(vec![(Field::MutedJids, Kept::Chats(chats.to_vec()))])
        );
        assert_eq!(enable(""), Ok(Vec::new()));
    }

    #[test]
    fn each_is_a_jid() {
        for jid in ["", "jid=''", "jid='@'", "jid='a b@c.test'"] {
            let items = format!("<item jid='a@b.test'/><item {jid}/>");
            assert_eq!(enable(&items), Err(RequestError::MalformedChat), "{jid}");
        }
    }

    #[test]
    fn a_muted_chat_is_left_out() {
        let content = Content::new(crate::stanza::Sort::Chat, "bert@away.test/pc");
        let mut chosen = Chosen::default();
        assert_eq!(Muted.silence(&chosen, &content), None);
        chosen.is_muted = true;
        assert_eq!(Muted.silence(&chosen, &content), Some(Silence::Muted));
    }
}
