//! What a registration may ask for beyond its protocol.
//!
//! An extension ([`Extension`]) is one file here, named in [`EXTENSIONS`]. It reads its elements of `<enable/>` and
//! says what the record keeps ([`Field`]), may leave stanzas out, and adds its part to notifications.

mod encryption;
mod interface;

pub use interface::{Content, Extension, Field, Part, Record};

use minidom::Element;

use crate::engine::Silence;
use crate::stanza::Facts;
use crate::wire::request::RequestError;

/// Several extensions.
pub struct Extensions(&'static [&'static dyn Extension]);

/// All that there are.
pub static EXTENSIONS: Extensions = Extensions(&[&encryption::Encryption]);

impl Extensions {
    /// What the record keeps of `<enable/>`.
    ///
    /// # Errors
    /// What is wrong with it, for the client.
    pub fn enable(&self, enable: &Element) -> Result<Vec<(Field, String)>, RequestError> {
        let mut fields = Vec::new();
        for extension in self.0 {
            fields.extend(extension.enable(enable)?);
        }
        Ok(fields)
    }

    /// Whether the registration has asked for any.
    pub fn are_asked(&self, record: &dyn Record) -> bool {
        self.asked(record).next().is_some()
    }

    /// Why one of them leaves a stanza out.
    pub fn silence(&self, record: &dyn Record, stanza: &Facts) -> Option<Silence> {
        self.asked(record)
            .find_map(|extension| extension.silence(record, stanza))
    }

    /// Whether notifications carry content.
    pub fn carry_content(&self, record: &dyn Record) -> bool {
        self.asked(record)
            .any(|extension| extension.carries_content(record))
    }

    /// Their parts of a `<notification/>`.
    pub fn parts(&self, record: &dyn Record, content: &Content) -> Vec<Part> {
        self.asked(record)
            .flat_map(|extension| extension.parts(record, content))
            .collect()
    }

    fn asked(&self, record: &dyn Record) -> impl Iterator<Item = &'static dyn Extension> {
        let all = self.0.iter().copied();
        all.filter(move |extension| extension.is_asked(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stanza::{Importance, Key};

    struct Named;

    impl Record for &str {
        fn is_set(&self, _: Field) -> bool {
            !self.is_empty()
        }

        fn text(&self, _: Field) -> Option<&str> {
            Some(self)
        }
    }

    impl Extension for Named {
        fn is_asked(&self, record: &dyn Record) -> bool {
            record.is_set(Field::Encryption)
        }

        fn enable(&self, enable: &Element) -> Result<Vec<(Field, String)>, RequestError> {
            let name = enable.attr("name").ok_or(RequestError::Unreadable)?;
            Ok(vec![(Field::Encryption, name.to_owned())])
        }

        fn silence(&self, record: &dyn Record, stanza: &Facts) -> Option<Silence> {
            let is_left_out = record.text(Field::Encryption) == Some("quiet")
                && stanza.importance < Importance::Important;
            is_left_out.then_some(Silence::LeftOut)
        }

        fn carries_content(&self, _: &dyn Record) -> bool {
            true
        }

        fn parts(&self, _: &dyn Record, content: &Content) -> Vec<Part> {
            vec![Part {
                name: "named",
                ns: "urn:x",
                attrs: Vec::new(),
                text: content.body.clone().unwrap_or_default(),
            }]
        }
    }

    #[test]
    fn each_has_its_say() {
        let all = Extensions(&[&encryption::Encryption, &Named]);
        let enable = |xml: &str| all.enable(&xml.parse().unwrap());
        let named = enable("<enable xmlns='urn:xmpp:push:0' name='n'/>");
        assert_eq!(named, Ok(vec![(Field::Encryption, "n".to_owned())]));
        let unnamed = enable("<enable xmlns='urn:xmpp:push:0'/>");
        assert_eq!(unnamed, Err(RequestError::Unreadable));
        let facts =
            |xml: &str| Facts::read(&xml.parse::<Element>().unwrap(), "a@b", &Key::known(1));
        let marker = facts("<message xmlns='jabber:client'/>");
        let message = facts("<message xmlns='jabber:client'><body>hi</body></message>");
        assert_eq!(all.silence(&"quiet", &marker), Some(Silence::LeftOut));
        assert_eq!(all.silence(&"quiet", &message), None);
        assert_eq!(all.silence(&"loud", &marker), None);
        assert!(all.are_asked(&"quiet") && !all.are_asked(&""));
        assert!(all.carry_content(&"quiet") && !all.carry_content(&""));
        let content = Content {
            body: Some("hi".to_owned()),
            sender: None,
        };
        let parts = all.parts(&"quiet", &content);
        assert_eq!(parts.len(), 1);
        assert_eq!((parts[0].name, &*parts[0].text), ("named", "hi"));
    }
}
