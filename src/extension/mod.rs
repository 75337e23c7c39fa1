//! What a registration may ask for beyond its protocol.
//!
//! An extension ([`Extension`]) is one file here, named in [`EXTENSIONS`]. It reads its elements of `<enable/>` and
//! says what the record keeps ([`Field`]), may leave stanzas out, and adds its part to notifications.

mod away;
mod chats;
mod encryption;
mod groupchat;
mod interface;
mod jingle;
mod muted;
mod others;
mod priority;
mod reading;
mod record;
mod unknown;

pub use interface::{Extension, News};
pub use others::{Community, Others};
pub use reading::NotifyRead;
pub use record::{Asked, Chosen, Field, Kept, Record, Room, Rooms};
pub use unknown::stranger;

use minidom::Element;

use crate::engine::Silence;
use crate::stanza::Content;
use crate::wire::publish::Part;
use crate::wire::request::RequestError;

/// Several extensions. Whether one is asked is looked up in the record, so that comes last.
pub struct Extensions(&'static [&'static dyn Extension]);

/// All that there are.
pub static EXTENSIONS: Extensions = Extensions(&[
    &muted::Muted,
    &unknown::Unknown,
    &groupchat::Groupchat,
    &encryption::Encryption,
    &priority::Priority,
    &jingle::Jingle,
    &away::Away,
]);

impl Extensions {
    /// Their features in the account's disco#info, but for what others do.
    pub fn features(&self, others: Others) -> impl Iterator<Item = &'static str> {
        let all = self.0.iter();
        let ours = all.filter(move |extension| !others.has(extension.announced_by()));
        ours.flat_map(|extension| extension.features().iter().copied())
    }

    /// What the record keeps of `<enable/>`.
    ///
    /// # Errors
    /// What is wrong with it, for the client.
    pub fn enable(
        &self,
        enable: &Element,
        others: Others,
    ) -> Result<Vec<(Field, Kept)>, RequestError> {
        let mut fields = Vec::new();
        for extension in self.ours(others) {
            fields.extend(extension.enable(enable)?);
        }
        Ok(fields)
    }

    /// Whether the registration has asked for any that leaves stanzas out.
    pub fn filter(&self, record: &dyn Asked, others: Others) -> bool {
        let mut filters = self.ours(others).filter(|one| one.is_filter());
        filters.any(|extension| extension.is_asked(record))
    }

    /// Why one of them leaves a stanza out.
    pub fn silence(
        &self,
        record: &dyn Asked,
        others: Others,
        chosen: &Chosen,
        content: &Content,
    ) -> Option<Silence> {
        self.asked(record, others)
            .find_map(|extension| extension.silence(chosen, content))
    }

    /// Whether notifications carry content, whoever writes it.
    pub fn carry_content(&self, record: &dyn Record) -> bool {
        self.0
            .iter()
            .any(|extension| extension.carries_content(record) && extension.is_asked(record))
    }

    /// Whether the summary form must not tell anything of a stanza, whoever tells it.
    pub fn keep_secret(&self, record: &dyn Asked) -> bool {
        self.0
            .iter()
            .any(|extension| extension.keeps_secret() && extension.is_asked(record))
    }

    /// Whether notifications tell of each call.
    pub fn tell_of_calls(&self, record: &dyn Asked, others: Others) -> bool {
        self.ours(others)
            .any(|extension| extension.tells_of_calls(record, others) && extension.is_asked(record))
    }

    /// Their parts of a `<notification/>`, and whether the summary form is left out for them.
    pub fn parts(&self, record: &dyn Record, others: Others, news: &News<'_>) -> (Vec<Part>, bool) {
        let mut parts = Vec::new();
        let mut is_replaced = false;
        for extension in self.asked(record, others) {
            let found = extension.parts(record, news);
            is_replaced |= !found.is_empty() && extension.replaces_summary();
            parts.extend(found);
        }
        (parts, is_replaced)
    }

    fn ours(&self, others: Others) -> impl Iterator<Item = &'static dyn Extension> {
        let all = self.0.iter().copied();
        all.filter(move |extension| !others.has(extension.community()))
    }

    fn asked(
        &self,
        record: &dyn Asked,
        others: Others,
    ) -> impl Iterator<Item = &'static dyn Extension> {
        self.ours(others)
            .filter(move |extension| extension.is_asked(record))
    }
}
