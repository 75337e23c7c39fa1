//! What an extension is.

use minidom::Element;

use super::others::{Community, Others};
use super::record::{Asked, Chosen, Field, Kept, Record};
use crate::engine::Silence;
use crate::stanza::{Content, Importance};
use crate::wire::publish::Part;
use crate::wire::request::RequestError;

/// What there is to be told by a notification.
#[derive(Debug, Clone, Copy)]
pub struct News<'a> {
    /// How much what it is for matters.
    pub importance: Importance,
    /// What that says, if it is for a stanza that is known.
    pub content: Option<&'a Content>,
    /// The number for `message-count`.
    pub count: u32,
    /// How many ask to see the user's presence, where it is about that.
    pub pending_subscriptions: Option<u32>,
}

impl News<'_> {
    /// What an important stanza says.
    pub fn important(&self) -> Option<&Content> {
        self.content
            .filter(|_| self.importance >= Importance::Important)
    }
}

/// An extension. What it does not do it need not say.
pub trait Extension: Sync {
    /// Its features in the account's disco#info.
    fn features(&self) -> &'static [&'static str] {
        &[]
    }

    /// The community's module that does the same, and is left to do it where it is loaded.
    fn community(&self) -> Option<Community> {
        None
    }

    /// The community's module that announces the same features.
    fn announced_by(&self) -> Option<Community> {
        self.community()
    }

    /// Whether the registration has asked for it. Only then it has a say in what becomes of stanzas.
    fn is_asked(&self, record: &dyn Asked) -> bool;

    /// What the record keeps of its elements in `<enable/>`. Asked of each, whatever the client wants.
    ///
    /// # Errors
    /// What is wrong with them, for the client.
    fn enable(&self, _enable: &Element) -> Result<Vec<(Field, Kept)>, RequestError> {
        Ok(Vec::new())
    }

    /// Whether it leaves some stanzas out: [`Self::silence`] has to be asked.
    fn is_filter(&self) -> bool {
        false
    }

    /// Why it leaves a stanza out.
    fn silence(&self, _chosen: &Chosen, _content: &Content) -> Option<Silence> {
        None
    }

    /// Whether notifications carry content, so that one important stanza cannot speak for another.
    fn carries_content(&self, _record: &dyn Record) -> bool {
        false
    }

    /// Whether notifications tell of each call, of its beginning and of its end, so that the end is pushed, too, and
    /// no such push speaks for another.
    fn tells_of_calls(&self, _record: &dyn Asked, _others: Others) -> bool {
        false
    }

    /// Its parts of a `<notification/>`. What tells something of a message needs [`Self::carries_content`], or
    /// [`Self::tells_of_calls`]: a push that says something of its own speaks for no other.
    fn parts(&self, _record: &dyn Record, _news: &News<'_>) -> Vec<Part> {
        Vec::new()
    }

    /// Whether its parts, if there are any, stand in place of the summary form.
    fn replaces_summary(&self) -> bool {
        false
    }

    /// Whether the summary form must not tell anything of a stanza.
    fn keeps_secret(&self) -> bool {
        false
    }
}
