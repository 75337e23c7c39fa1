//! `tigase:push:filter:ignore-unknown:0`: nothing from whom the user's roster does not know.

use minidom::Element;

use super::interface::Extension;
use super::others::Community;
use super::record::{Asked, Chosen, Field, Kept};
use crate::engine::Silence;
use crate::stanza::{Content, Sort};
use crate::wire::request::RequestError;

const NS: &str = "tigase:push:filter:ignore-unknown:0";

/// See the module.
pub struct Unknown;

impl Extension for Unknown {
    fn features(&self) -> &'static [&'static str] {
        &[NS]
    }

    fn community(&self) -> Option<Community> {
        Some(Community::Filters)
    }

    fn is_asked(&self, record: &dyn Asked) -> bool {
        record.is_set(Field::FilterUnknown)
    }

    fn enable(&self, enable: &Element) -> Result<Vec<(Field, Kept)>, RequestError> {
        let is_there = enable.has_child("ignore-unknown", NS);
        Ok(Vec::from_iter(
            is_there.then_some((Field::FilterUnknown, Kept::Set)),
        ))
    }

    fn is_filter(&self) -> bool {
        true
    }

    fn silence(&self, chosen: &Chosen, _: &Content) -> Option<Silence> {
        chosen.is_unknown.then_some(Silence::UnknownSender)
    }
}

/// The bare JID that has to be in the roster of `account`, for whatever people send. Rooms are joined, not known; the
/// account itself and its server are no strangers.
pub fn stranger<'c>(content: &'c Content, account: &str) -> Option<&'c str> {
    if !matches!(content.sort, Sort::Chat | Sort::Subscription) || content.sent_to.is_some() {
        return None;
    }
    let sender = content
        .invited_by
        .as_deref()
        .unwrap_or_else(|| content.chat());
    let is_own = sender == account
        || account
            .split_once('@')
            .is_some_and(|(_, host)| sender == host);
    (!is_own).then_some(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "anna@home.test";

    #[test]
    fn it_is_asked_for_by_an_element() {
        let enable = |child: &str| {
            let xml = format!("<enable xmlns='urn:xmpp:push:0'>{child}</enable>");
            Unknown.enable(&xml.parse().unwrap())
        };
        assert_eq!(
            enable("<ignore-unknown xmlns='tigase:push:filter:ignore-unknown:0'/>"),
            Ok(vec![(Field::FilterUnknown, Kept::Set)])
        );
        assert_eq!(enable("<ignore-unknown xmlns='urn:x'/>"), Ok(Vec::new()));
    }

    #[test]
    fn people_have_to_be_known() {
        let content = Content::new(Sort::Chat, "bert@away.test/pc");
        assert_eq!(stranger(&content, ACCOUNT), Some("bert@away.test"));
        let invited_by = Some("rosa@away.test".to_owned());
        let invitation = Content {
            invited_by,
            ..content
        };
        assert_eq!(stranger(&invitation, ACCOUNT), Some("rosa@away.test"));
        let request = Content::new(Sort::Subscription, "bert@away.test");
        assert_eq!(stranger(&request, ACCOUNT), Some("bert@away.test"));
        let elsewhere = Content::new(Sort::Chat, "away.test");
        assert_eq!(stranger(&elsewhere, ACCOUNT), Some("away.test"));
    }

    #[test]
    fn rooms_the_account_and_its_server_are_no_strangers() {
        for (sort, from) in [
            (Sort::Groupchat, "team@rooms.test/Rosa"),
            (Sort::Other, "bert@away.test/pc"),
            (Sort::Chat, "anna@home.test/pc"),
            (Sort::Chat, "home.test"),
        ] {
            assert_eq!(stranger(&Content::new(sort, from), ACCOUNT), None, "{from}");
        }
        let sent = Content {
            sent_to: Some("bert@away.test".to_owned()),
            ..Content::new(Sort::Chat, "anna@home.test/pc")
        };
        assert_eq!(stranger(&sent, ACCOUNT), None);
    }

    #[test]
    fn a_stranger_is_left_out() {
        let content = Content::new(Sort::Chat, "bert@away.test/pc");
        let mut chosen = Chosen::default();
        assert_eq!(Unknown.silence(&chosen, &content), None);
        chosen.is_unknown = true;
        assert_eq!(
            Unknown.silence(&chosen, &content),
            Some(Silence::UnknownSender)
        );
    }
}
