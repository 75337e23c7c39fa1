//! The rules' view of a parsed element.

use std::borrow::Cow;

use minidom::Element as Dom;

use super::element::{Attr, Element};

impl Element for Dom {
    fn name(&self) -> &str {
        Self::name(self)
    }

    fn ns(&self) -> Cow<'_, str> {
        Cow::Owned(Self::ns(self))
    }

    fn attr(&self, attr: Attr) -> Option<&str> {
        Self::attr(
            self,
            match attr {
                Attr::By => "by",
                Attr::ClientType => "client-type",
                Attr::From => "from",
                Attr::Id => "id",
                Attr::IdentityCategory => "identity-category",
                Attr::IdentityType => "identity-type",
                Attr::Jid => "jid",
                Attr::Media => "media",
                Attr::Stamp => "stamp",
                Attr::To => "to",
                Attr::Type => "type",
                Attr::Uri => "uri",
                Attr::Video => "video",
            },
        )
    }

    fn find_map<T>(&self, visit: impl FnMut(&Self) -> Option<T>) -> Option<T> {
        self.children().find_map(visit)
    }

    fn each_text(&self, visit: impl FnMut(&str)) {
        self.texts().for_each(visit);
    }
}
