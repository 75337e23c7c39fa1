//! A stanza as the rules see it.

use std::borrow::Cow;

use super::keys::Key;
use super::size;
use super::table::TableRef;
use crate::stanza::{Attr, Element};

impl From<Attr> for Key {
    fn from(attr: Attr) -> Self {
        match attr {
            Attr::By => Self::By,
            Attr::ClientType => Self::ClientType,
            Attr::From => Self::From,
            Attr::Id => Self::Id,
            Attr::IdentityCategory => Self::IdentityCategory,
            Attr::IdentityType => Self::IdentityType,
            Attr::Jid => Self::Jid,
            Attr::Media => Self::Media,
            Attr::Stamp => Self::Stamp,
            Attr::To => Self::To,
            Attr::Type => Self::Type,
            Attr::Uri => Self::Uri,
            Attr::Video => Self::Video,
        }
    }
}

/// A Prosody stanza (or an element in one) as the rules see it.
pub struct Stanza<'f> {
    table: TableRef<'f>,
    /// The namespace of the parent.
    inherited: &'f str,
}

impl<'f> Stanza<'f> {
    /// Calls `f` with the stanza that `table` is. The view is lent, for it must not outlive the
    /// table's place on the stack.
    pub fn with<R>(table: &TableRef<'f>, f: impl FnOnce(&Self) -> R) -> R {
        Self::inside(table, "jabber:client", f)
    }

    fn inside<R>(table: &TableRef<'f>, inherited: &'f str, f: impl FnOnce(&Self) -> R) -> R {
        f(&Self {
            table: table.again(),
            inherited,
        })
    }

    /// Whether it takes no more memory than so many bytes, as far as can be said.
    pub fn is_within(&self, bytes: usize) -> bool {
        size::is_within(&self.table, bytes)
    }

    /// Prosody leaves `xmlns` out where it is that of the parent.
    fn namespace(&self) -> &'f str {
        let own = self.table.with(Key::Attr, |attr| attr.str(Key::Xmlns));
        own.flatten().unwrap_or(self.inherited)
    }
}

impl Element for Stanza<'_> {
    fn name(&self) -> &str {
        self.table.str(Key::Name).unwrap_or_default()
    }

    fn ns(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.namespace())
    }

    fn attr(&self, attr: Attr) -> Option<&str> {
        let [value] = self.attrs([attr]);
        value
    }

    fn attrs<const N: usize>(&self, attrs: [Attr; N]) -> [Option<&str>; N] {
        self.table
            .with(Key::Attr, |values| {
                attrs.map(|attr| values.str(attr.into()))
            })
            .unwrap_or([None; N])
    }

    fn find_map<T>(&self, mut visit: impl FnMut(&Self) -> Option<T>) -> Option<T> {
        let ns = self.namespace();
        self.table
            .with(Key::Tags, |tags| {
                (1..=tags.len()).find_map(|place| {
                    tags.with_entry(place, |tag| Self::inside(tag, ns, &mut visit))
                        .flatten()
                })
            })
            .flatten()
    }

    /// As the default, but looks at the names of many children in less time.
    fn find_named<T>(
        &self,
        names: &[&str],
        mut visit: impl FnMut(&Self) -> Option<T>,
    ) -> Option<T> {
        let mut ns = None;
        self.table
            .with(Key::Tags, |tags| {
                (1..=tags.len()).find_map(|place| {
                    let name = tags.name_of_entry(place)?;
                    if !names.iter().any(|wanted| wanted.as_bytes() == name) {
                        return None;
                    }
                    let inherited = *ns.get_or_insert_with(|| self.namespace());
                    tags.with_entry(place, |tag| Self::inside(tag, inherited, &mut visit))
                        .flatten()
                })
            })
            .flatten()
    }

    fn each_text(&self, mut visit: impl FnMut(&str)) {
        for place in 1..=self.table.len() {
            if let Some(text) = self.table.entry_str(place) {
                visit(text);
            }
        }
    }
}
