//! What users want of their chats, by their bookmarks: for registrations that bring no filter of their own.

use std::collections::HashMap;

use lru::LruCache;

use crate::engine::Silence;
use crate::stanza::{Attr, Content, Element, Sort, is_mentioned};
use crate::wire::bookmarks::{Bookmark, Setting};

/// How many bookmarks of a user are looked at.
pub const MAX_BOOKMARKS: usize = 10_000;

/// How many users are known.
const MAX_USERS: usize = 10_000;
/// How many bytes they take, about.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// What a user takes besides, and a chat.
const OVERHEAD: usize = 128;

/// A chat that is not notified of in any case.
#[derive(Debug)]
struct Chat {
    is_muted: bool,
    nick: Option<Box<str>>,
}

#[derive(Debug)]
struct Chats {
    by_jid: HashMap<Box<str>, Chat>,
    bytes: usize,
}

/// The settings of the users of a host, as far as they have been read. Who has been seen least recently goes first,
/// and is read again at need.
#[derive(Debug)]
pub struct ChatSettings {
    users: LruCache<Box<str>, Chats>,
    bytes: usize,
}

impl Default for ChatSettings {
    fn default() -> Self {
        Self {
            users: LruCache::unbounded(),
            bytes: 0,
        }
    }
}

impl ChatSettings {
    /// The user's bookmarks are these.
    pub fn learn(&mut self, user: &str, bookmarks: impl IntoIterator<Item = Bookmark>) {
        self.forget(user);
        let mut bytes = OVERHEAD + user.len();
        let mut by_jid = HashMap::new();
        let left_out = bookmarks
            .into_iter()
            .filter(|bookmark| bookmark.setting < Setting::Always);
        for Bookmark {
            chat,
            setting,
            nick,
        } in left_out
        {
            bytes += OVERHEAD + chat.len() + nick.as_ref().map_or(0, String::len);
            let chat_settings = Chat {
                is_muted: setting == Setting::Never,
                nick: nick.map(Into::into),
            };
            by_jid.insert(chat.into(), chat_settings);
        }
        self.bytes += bytes;
        self.users.put(user.into(), Chats { by_jid, bytes });
        while self.users.len() > MAX_USERS || self.bytes > MAX_BYTES {
            let Some((_, chats)) = self.users.pop_lru() else {
                break;
            };
            self.bytes -= chats.bytes;
        }
    }

    /// They may have changed.
    pub fn forget(&mut self, user: &str) {
        if let Some(chats) = self.users.pop(user) {
            self.bytes -= chats.bytes;
        }
    }

    /// All may have changed.
    pub fn forget_all(&mut self) {
        *self = Self::default();
    }

    /// Whether they have been read.
    pub fn is_known(&self, user: &str) -> bool {
        self.users.contains(user)
    }

    /// Whether any stanza may be left out by them: they are not known, or there are some.
    pub fn may_matter(&mut self, user: &str) -> bool {
        let chats = self.users.get(user);
        chats.is_none_or(|chats| !chats.by_jid.is_empty())
    }

    /// Whether they may leave out this stanza. Never wrong if it says no, and soon known.
    pub fn may_concern<E: Element>(&mut self, user: &str, stanza: &E) -> bool {
        let Some(chats) = self.users.get(user) else {
            return true;
        };
        if chats.by_jid.is_empty() {
            return false;
        }
        let from = stanza.attr(Attr::From).unwrap_or_default();
        let chat = from.split_once('/').map_or(from, |(bare, _)| bare);
        // A carbon copy comes from the user's own account, and is of any chat.
        let node = chat.split_once('@').map(|(node, _)| node);
        chats.by_jid.contains_key(chat) || chat.is_empty() || node == Some(user)
    }

    /// Why a stanza is left out, if it is. What comes to the user alone is as good as a mention; and what is encrypted
    /// may be one, which only the device can know.
    pub fn silence(&mut self, user: &str, account: &str, content: &Content) -> Option<Silence> {
        let chat = self.users.get(user)?.by_jid.get(content.chat())?;
        let is_for_room = content.sort == Sort::Groupchat && !content.is_encrypted;
        let is_left_out = if chat.is_muted {
            content.sort != Sort::Subscription
        } else {
            let nick = chat.nick.as_deref().unwrap_or(user);
            is_for_room && !is_mentioned(content, account, Some(nick))
        };
        is_left_out.then_some(Silence::ChatSettings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "anna@home.test";

    fn bookmark(chat: &str, setting: Setting, nick: Option<&str>) -> Bookmark {
        Bookmark {
            chat: chat.to_owned(),
            setting,
            nick: nick.map(str::to_owned),
        }
    }

    fn settings() -> ChatSettings {
        let mut settings = ChatSettings::default();
        settings.learn(
            "anna",
            [
                bookmark("muted@rooms.test", Setting::Never, None),
                bookmark("team@rooms.test", Setting::OnMention, Some("Queen")),
                bookmark("fans@rooms.test", Setting::OnMention, None),
                bookmark("all@rooms.test", Setting::Always, None),
            ],
        );
        settings
    }

    fn said(sort: Sort, from: &str, text: &str) -> Content {
        Content {
            body: Some(text.to_owned()),
            ..Content::new(sort, from)
        }
    }

    fn is_silent(content: &Content) -> bool {
        settings().silence("anna", ACCOUNT, content) == Some(Silence::ChatSettings)
    }

    #[test]
    fn nothing_of_a_chat_that_never_notifies_is_let_through() {
        for from in ["muted@rooms.test", "muted@rooms.test/Rosa"] {
            for sort in [Sort::Groupchat, Sort::Chat, Sort::Other] {
                assert!(is_silent(&said(sort, from, "anna")), "{sort:?} {from}");
            }
        }
        assert!(!is_silent(&Content::new(
            Sort::Subscription,
            "muted@rooms.test"
        )));
    }

    #[test]
    fn a_mention_is_let_through_and_so_is_what_may_be_one() {
        let team = |text| said(Sort::Groupchat, "team@rooms.test/Rosa", text);
        assert!(is_silent(&team("anna, hello")));
        assert!(!is_silent(&team("queen, hello")));
        assert!(!is_silent(&said(
            Sort::Groupchat,
            "fans@rooms.test/Rosa",
            "anna, hello"
        )));
        assert!(is_silent(&said(
            Sort::Groupchat,
            "fans@rooms.test/Rosa",
            "queen, hello"
        )));
        assert!(!is_silent(&said(
            Sort::Chat,
            "team@rooms.test/Rosa",
            "hello"
        )));
        let encrypted = Content {
            body: None,
            is_encrypted: true,
            ..team("")
        };
        assert!(!is_silent(&encrypted));
        let reply = Content {
            reply_to: Some(ACCOUNT.to_owned()),
            ..team("hello")
        };
        assert!(!is_silent(&reply));
    }

    #[test]
    fn chats_without_such_a_setting_are_as_ever() {
        for from in ["all@rooms.test/Rosa", "else@rooms.test/Rosa", "rooms.test"] {
            assert!(!is_silent(&said(Sort::Groupchat, from, "hello")), "{from}");
        }
        let muted = said(Sort::Groupchat, "muted@rooms.test/Rosa", "hello");
        assert_eq!(settings().silence("bert", ACCOUNT, &muted), None);
    }

    #[test]
    fn only_stanzas_that_may_be_left_out_are_looked_at() {
        let concerned = |settings: &mut ChatSettings, user: &str, from: &str| {
            let xml = format!("<message xmlns='jabber:client' {from}/>");
            settings.may_concern(user, &xml.parse::<minidom::Element>().unwrap())
        };
        let mut settings = settings();
        settings.learn("bert", [bookmark("all@rooms.test", Setting::Always, None)]);
        for (user, from, expected) in [
            ("anna", "from='muted@rooms.test/Rosa'", true),
            ("anna", "from='team@rooms.test'", true),
            ("anna", "from='anna@home.test'", true),
            ("anna", "", true),
            ("anna", "from='all@rooms.test/Rosa'", false),
            ("anna", "from='rosa@home.test/anna'", false),
            ("anna", "from='home.test'", false),
            ("bert", "from='muted@rooms.test'", false),
            ("bert", "", false),
            ("nobody", "from='all@rooms.test/Rosa'", true),
        ] {
            assert_eq!(
                concerned(&mut settings, user, from),
                expected,
                "{user} {from}"
            );
        }
        assert!(settings.may_matter("anna") && settings.may_matter("nobody"));
        assert!(!settings.may_matter("bert"));
    }

    #[test]
    fn what_has_changed_is_not_known() {
        let mut settings = settings();
        settings.learn("bert", []);
        assert!(settings.is_known("anna") && settings.is_known("bert"));
        settings.forget("anna");
        settings.forget("anna");
        assert!(!settings.is_known("anna") && settings.is_known("bert"));
        settings.forget_all();
        assert!(!settings.is_known("bert"));
        assert_eq!(settings.bytes, 0);
    }

    #[test]
    fn who_is_learnt_again_has_only_what_is_new() {
        let mut settings = settings();
        let before = settings.bytes;
        settings.learn("anna", [bookmark("new@rooms.test", Setting::Never, None)]);
        assert!(settings.bytes < before);
        let old = said(Sort::Groupchat, "muted@rooms.test/Rosa", "hello");
        assert_eq!(settings.silence("anna", ACCOUNT, &old), None);
    }

    #[test]
    fn there_is_a_bound_on_users() {
        let mut settings = ChatSettings::default();
        for i in 0..MAX_USERS {
            settings.learn(&format!("user{i}"), []);
        }
        assert!(!settings.may_matter("user0"));
        settings.learn("another", []);
        assert!(settings.is_known("user0") && !settings.is_known("user1"));
        assert_eq!(settings.users.len(), MAX_USERS);
    }

    #[test]
    fn there_is_a_bound_on_bytes() {
        let mut settings = ChatSettings::default();
        let nick = "n".repeat(1023);
        let many = |user: usize| {
            let nick = nick.clone();
            (0..MAX_BOOKMARKS).map(move |i| {
                let chat = format!("{user}.{i}@{}.test", "r".repeat(1000));
                bookmark(&chat, Setting::OnMention, Some(&nick))
            })
        };
        for user in 0..4 {
            settings.learn(&format!("user{user}"), many(user));
            assert!(settings.bytes <= MAX_BYTES, "{}", settings.bytes);
        }
        assert!(settings.is_known("user3") && !settings.is_known("user0"));
        settings.forget_all();
        let sum = |settings: &ChatSettings| {
            settings
                .users
                .iter()
                .map(|(_, chats)| chats.bytes)
                .sum::<usize>()
        };
        for user in 0..5 {
            settings.learn("anna", many(user).take(user));
            assert_eq!(settings.bytes, sum(&settings));
        }
    }
}
