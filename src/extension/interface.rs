//! What an extension is.

use minidom::Element;

use crate::engine::Silence;
use crate::stanza::Facts;
use crate::wire::request::RequestError;

/// A field of a record that an extension keeps something in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// See [`super::encryption`].
    Encryption,
}

/// The record of a registration.
pub trait Record {
    /// Whether a field is there and is not false.
    fn is_set(&self, field: Field) -> bool;
    /// A field that is a string.
    fn text(&self, field: Field) -> Option<&str>;
}

/// One that has asked for nothing.
impl Record for () {
    fn is_set(&self, _: Field) -> bool {
        false
    }

    fn text(&self, _: Field) -> Option<&str> {
        None
    }
}

/// What there is to be told of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// Its text.
    pub body: Option<String>,
    /// Who wrote it.
    pub sender: Option<String>,
}

/// What an extension adds to a `<notification/>`: an element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its local name.
    pub name: &'static str,
    /// Its namespace.
    pub ns: &'static str,
    /// Its attributes.
    pub attrs: Vec<(&'static str, String)>,
    /// Its character data.
    pub text: String,
}

/// An extension. What it does not do it need not say.
pub trait Extension: Sync {
    /// Whether the registration has asked for it. Only then it has a say in what becomes of stanzas.
    fn is_asked(&self, record: &dyn Record) -> bool;

    /// What the record keeps of its elements in `<enable/>`. Asked of each, whatever the client wants.
    ///
    /// # Errors
    /// What is wrong with them, for the client.
    fn enable(&self, _enable: &Element) -> Result<Vec<(Field, String)>, RequestError> {
        Ok(Vec::new())
    }

    /// Why it leaves a stanza out.
    fn silence(&self, _record: &dyn Record, _stanza: &Facts) -> Option<Silence> {
        None
    }

    /// Whether notifications carry content, so that one important stanza cannot speak for another.
    fn carries_content(&self, _record: &dyn Record) -> bool {
        false
    }

    /// Its parts of a `<notification/>`, for a message that matters. Only with [`Self::carries_content`]: a push
    /// that says something of its own speaks for no other.
    fn parts(&self, _record: &dyn Record, _content: &Content) -> Vec<Part> {
        Vec::new()
    }
}
