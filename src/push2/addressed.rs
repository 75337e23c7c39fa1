//! Whom a message is for, among those in a chat.

use crate::stanza::{Content, is_named, is_reply};

/// Whether a message is for the user in particular.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
