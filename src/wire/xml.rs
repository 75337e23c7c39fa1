//! XML as text, up to so many bytes. minidom's own writer has no bound, and panics at what XML cannot say.

use minidom::rxml::{Namespace, NcNameStr};
use minidom::{Element, Node};

use super::publish::{is_xml_text, xml_text};

/// XML that is being written. What writes returns nothing where there is no room for it.
pub struct Xml {
    text: String,
    room: usize,
    prefixes: usize,
}

/// How many bytes a byte of character data takes.
pub fn written(byte: u8) -> usize {
    escaped(byte)
        .filter(|_| is_special(byte))
        .map_or(1, str::len)
}

/// Whether it is escaped in character data, too.
fn is_special(byte: u8) -> bool {
    !matches!(byte, b'\'' | b'\t' | b'\n')
}

/// What stands for a byte in an attribute. There, parsers replace white space that is not escaped; everywhere they
/// replace the end of a line (XML 1.0 sections 2.11 and 3.3.3).
fn escaped(byte: u8) -> Option<&'static str> {
    Some(match byte {
        b'&' => "&amp;",
        b'<' => "&lt;",
        b'>' => "&gt;",
        b'\'' => "&apos;",
        b'\t' => "&#9;",
        b'\n' => "&#10;",
        b'\r' => "&#13;",
        _ => return None,
    })
}

impl Xml {
    /// Nothing yet, and never more than `room` bytes.
    pub fn new(room: usize) -> Self {
        Self {
            text: String::with_capacity(room),
            room,
            prefixes: 0,
        }
    }

    /// What has been written.
    pub fn into_text(self) -> String {
        self.text
    }

    /// How many bytes there is still room for.
    pub fn left(&self) -> usize {
        self.room - self.text.len()
    }

    /// The place that is written to next.
    pub fn place(&self) -> usize {
        self.text.len()
    }

    /// Writes what is XML already.
    pub fn raw(&mut self, xml: &str) -> Option<()> {
        (xml.len() <= self.left()).then(|| self.text.push_str(xml))
    }

    /// Writes character data.
    pub fn text(&mut self, text: &str) -> Option<()> {
        self.escape(text, is_special)
    }

    /// Writes character data at an earlier place, between tags.
    pub fn text_at(&mut self, place: usize, text: &str) -> Option<()> {
        let rest = self.text.split_off(place);
        self.text(text)?;
        self.raw(&rest)
    }

    /// Writes an element, with all that is in it, into one of the namespace `outer`. What XML cannot say is left out.
    pub fn element(&mut self, element: &Element, outer: &str) -> Option<()> {
        if !is_expressible(element) {
            return Some(());
        }
        self.start(element, outer)?;
        self.attrs(element, |_| true)?;
        self.rest(element)
    }

    /// Writes the rest of an element whose attributes have been written.
    pub fn rest(&mut self, element: &Element) -> Option<()> {
        if element.nodes().next().is_none() {
            return self.raw("/>");
        }
        self.raw(">")?;
        let inner = element.ns();
        for node in element.nodes() {
            match node {
                Node::Element(child) => self.element(child, &inner)?,
                Node::Text(text) => self.text(text)?,
            }
        }
        self.end(element)
    }

    /// Writes the beginning of an element that is [expressible](is_expressible).
    pub fn start(&mut self, element: &Element, outer: &str) -> Option<()> {
        self.raw("<")?;
        self.raw(element.name())?;
        if element.has_ns(outer) {
            return Some(());
        }
        self.raw(" xmlns='")?;
        self.value(&element.ns())
    }

    /// Writes those of its attributes that are wanted.
    pub fn attrs(&mut self, element: &Element, is_wanted: impl Fn(&str) -> bool) -> Option<()> {
        let attrs = element.attrs().iter();
        attrs
            .filter(|((_, name), _)| is_wanted(name))
            .try_for_each(|((ns, name), value)| self.attr(ns, name, value))
    }

    /// Writes an attribute.
    pub fn attr(&mut self, ns: &Namespace, name: &NcNameStr, value: &str) -> Option<()> {
        let declares = ns.is_none() && name.as_str() == "xmlns";
        if declares || *ns == Namespace::XMLNS || !is_xml_text(ns) {
            return Some(());
        }
        if *ns == Namespace::XML {
            self.raw(" xml:")?;
        } else if ns.is_some() {
            self.prefixes += 1;
            let prefix = format!("n{}", self.prefixes);
            self.raw(" xmlns:")?;
            self.raw(&prefix)?;
            self.raw("='")?;
            self.value(ns)?;
            self.raw(" ")?;
            self.raw(&prefix)?;
            self.raw(":")?;
        } else {
            self.raw(" ")?;
        }
        self.raw(name)?;
        self.raw("='")?;
        self.value(value)
    }

    /// Writes the end of an element that is not empty.
    pub fn end(&mut self, element: &Element) -> Option<()> {
        self.raw("</")?;
        self.raw(element.name())?;
        self.raw(">")
    }

    fn value(&mut self, value: &str) -> Option<()> {
        self.escape(value, |_| true)?;
        self.raw("'")
    }

    fn escape(&mut self, text: &str, is_special: impl Fn(u8) -> bool) -> Option<()> {
        let text = xml_text(text);
        if text.len() > self.left() {
            return None;
        }
        let mut done = 0;
        for (at, byte) in text.bytes().enumerate() {
            if let Some(escaped) = escaped(byte).filter(|_| is_special(byte)) {
                self.raw(&text[done..at])?;
                self.raw(escaped)?;
                done = at + 1;
            }
        }
        self.raw(&text[done..])
    }
}

/// Whether XML can say the element: not every text is a name, or a namespace, and two belong to XML itself.
pub fn is_expressible(element: &Element) -> bool {
    let reserved = [Namespace::XML, Namespace::XMLNS];
    let ns = element.ns();
    <&NcNameStr>::try_from(element.name()).is_ok()
        && is_xml_text(&ns)
        && !reserved.iter().any(|reserved| **reserved == *ns)
}
