//! What the rules may ask of an XML element.

use std::borrow::Cow;

/// The attributes that the rules look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attr {
    /// `by` of a `<stanza-id/>` (XEP-0359).
    By,
    /// `client-type` of a notification setting (XEP-0492, version 0.1).
    ClientType,
    /// `from` of a stanza or of a `<delay/>` (XEP-0203).
    From,
    /// `id` of a stanza, of a `<stanza-id/>` or of an `<item/>` (XEP-0060).
    Id,
    /// `identity-category` of a notification setting (XEP-0492).
    IdentityCategory,
    /// `identity-type` of one.
    IdentityType,
    /// `jid` of an `<x/>` that invites to a room (XEP-0249).
    Jid,
    /// `media` of a `<description/>` (XEP-0167).
    Media,
    /// `stamp` of a `<delay/>`.
    Stamp,
    /// `to` of a stanza, or of a `<reply/>` (XEP-0461).
    To,
    /// `type` of a stanza, or of a `<reference/>` (XEP-0372).
    Type,
    /// `uri` of a `<reference/>`.
    Uri,
    /// `video` of an `<invite/>` (XEP-0482).
    Video,
}

/// An XML element, as far as the rules need one.
pub trait Element {
    /// The local name.
    fn name(&self) -> &str;

    /// The namespace; an element without one of its own has its parent's.
    fn ns(&self) -> Cow<'_, str>;

    /// The value of an attribute.
    fn attr(&self, attr: Attr) -> Option<&str>;

    /// The values of several attributes.
    fn attrs<const N: usize>(&self, attrs: [Attr; N]) -> [Option<&str>; N] {
        attrs.map(|attr| self.attr(attr))
    }

    /// Visits the child elements in order until `visit` returns something.
    fn find_map<T>(&self, visit: impl FnMut(&Self) -> Option<T>) -> Option<T>;

    /// Visits the child elements with one of these local names.
    fn find_named<T>(
        &self,
        names: &[&str],
        mut visit: impl FnMut(&Self) -> Option<T>,
    ) -> Option<T> {
        self.find_map(|child| {
            names
                .contains(&child.name())
                .then(|| visit(child))
                .flatten()
        })
    }

    /// Visits the pieces of character data directly inside.
    fn each_text(&self, visit: impl FnMut(&str));

    /// All character data directly inside.
    fn text(&self) -> Cow<'_, str> {
        let mut text = String::new();
        self.each_text(|piece| text.push_str(piece));
        Cow::Owned(text)
    }

    /// Whether this is the element `name` in `ns`.
    fn is(&self, name: &str, ns: &str) -> bool {
        self.name() == name && self.ns() == ns
    }
}

/// Whether somebody asks to see the user's presence (RFC 6121 section 3.1).
pub(super) fn is_request<E: Element>(stanza: &E) -> bool {
    stanza.name() == "presence" && stanza.attr(Attr::Type) == Some("subscribe")
}

/// A JID without its resource.
pub fn bare(jid: &str) -> &str {
    jid.split_once('/').map_or(jid, |(bare, _)| bare)
}
