//! Whom a message is for, among those in a chat.

use crate::stanza::{Content, is_named, is_reply};

/// Whether a message is for the user in particular.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Addressed {
    /// It names the user.
    pub is_mentioned: bool,
    /// It replies to a message of the user.
    pub is_reply: bool,
}

impl Addressed {
    /// `account` is the user's bare JID; in a room where the nickname is not known, it is the name of the account.
    /// Nobody can read here what is encrypted: it mentions nobody in its text.
    pub fn read(content: &Content, account: &str, nick: Option<&str>) -> Self {
        let localpart = account.split_once('@').map(|(localpart, _)| localpart);
        let nick = nick.or(localpart);
        Self {
            is_mentioned: is_named(content, account, nick),
            is_reply: is_reply(content, account, nick),
        }
    }
}

/// By which JIDs there may be a filter for what comes from one, the first that there is counts: itself, without its
/// resource, its host.
pub fn filters_for(from: &str) -> impl Iterator<Item = &str> {
    let bare = from.split_once('/').map_or(from, |(bare, _)| bare);
    let host = bare.split_once('@').map_or(bare, |(_, host)| host);
    [from, bare, host].into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stanza::Sort;

    const ACCOUNT: &str = "anna@home.test";

    fn said(body: &str) -> Content {
        Content {
            body: Some(body.to_owned()),
            ..Content::new(Sort::Groupchat, "team@rooms.test/Rosa")
        }
    }

    fn read(content: &Content, nick: Option<&str>) -> (bool, bool) {
        let Addressed {
            is_mentioned,
            is_reply,
        } = Addressed::read(content, ACCOUNT, nick);
        (is_mentioned, is_reply)
    }

    #[test]
    fn who_has_no_nickname_has_the_name_of_the_account() {
        assert_eq!(read(&said("Hi Anna"), None), (true, false));
        assert_eq!(read(&said("Hi Annabel"), None), (false, false));
        assert_eq!(read(&said("Hi Anna"), Some("Queen")), (false, false));
        assert_eq!(read(&said("Hi queen"), Some("Queen")), (true, false));
        let mentions = vec!["xmpp:anna@home.test".to_owned()];
        let content = Content {
            mentions,
            ..said("Hi you")
        };
        assert_eq!(read(&content, Some("Queen")), (true, false));
    }

    #[test]
    fn a_reply_is_no_mention() {
        for (to, expected) in [
            (ACCOUNT, true),
            ("team@rooms.test/anna", true),
            ("team@rooms.test/Rosa", false),
            ("bert@home.test", false),
        ] {
            let content = Content {
                reply_to: Some(to.to_owned()),
                ..said("Hi")
            };
            assert_eq!(read(&content, None), (false, expected), "{to}");
        }
    }

    #[test]
    fn the_nearest_filter_is_asked_first() {
        let filters = |from| filters_for(from).collect::<Vec<_>>();
        let expected = ["team@rooms.test/a@b/c", "team@rooms.test", "rooms.test"];
        assert_eq!(filters("team@rooms.test/a@b/c"), expected);
        assert_eq!(filters("rooms.test"), ["rooms.test"; 3]);
        assert_eq!(
            filters("rooms.test/x@y"),
            ["rooms.test/x@y", "rooms.test", "rooms.test"]
        );
    }
}
