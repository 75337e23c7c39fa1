//! Parses Prosody's stanza tables into [`minidom::Element`]s. For rare paths: it takes
//! several times as long as reading on the stack.

use minidom::Element;
use minidom::rxml::{Namespace, NcName};
use mlua::{Table, Value};

use crate::wire::publish::is_xml_text;
use crate::wire::request::RequestError;

/// The largest tree, in elements, and the deepest.
const MAX_ELEMENTS: usize = 4096;
const MAX_DEPTH: usize = 16;

/// The element that `table` is. `None` if it is none that XML could say, or too large or deep.
pub fn element(table: &Table) -> Option<Element> {
    read(table).ok()
}

/// The same, with what is wrong with it.
pub fn read(table: &Table) -> Result<Element, RequestError> {
    let mut room = Room {
        elements: MAX_ELEMENTS,
        is_exceeded: false,
    };
    parse(table, "jabber:client", MAX_DEPTH, &mut room).ok_or(if room.is_exceeded {
        RequestError::TooLarge
    } else {
        RequestError::Unreadable
    })
}

struct Room {
    elements: usize,
    is_exceeded: bool,
}

impl Room {
    /// Room for what is one level further down, if there is any.
    fn take(&mut self, depth: usize) -> Option<usize> {
        let room = self.elements.checked_sub(1).zip(depth.checked_sub(1));
        self.is_exceeded |= room.is_none();
        let (elements, depth) = room?;
        self.elements = elements;
        Some(depth)
    }
}

fn parse(table: &Table, ns: &str, depth: usize, room: &mut Room) -> Option<Element> {
    let depth = room.take(depth)?;
    let name = NcName::try_from(table.raw_get::<String>("name").ok()?).ok()?;
    let attr: Table = table.raw_get("attr").ok()?;
    let ns = attr
        .raw_get::<Option<String>>("xmlns")
        .ok()?
        .unwrap_or_else(|| ns.to_owned());
    let mut element = Element::bare(name.as_str(), &*ns);
    for pair in attr.pairs::<String, String>() {
        let (name, value) = pair.ok()?;
        if !is_xml_text(&value) {
            return None;
        }
        match NcName::try_from(&*name) {
            Ok(name) if name == "xmlns" => {}
            Ok(name) => element.set_attr(Namespace::NONE, name, value),
            // One with a namespace has no meaning here, but the form is sent as it is.
            Err(_) => is_qualified(&name).then_some(())?,
        }
    }
    for child in table.sequence_values::<Value>() {
        match child.ok()? {
            Value::Table(child) => {
                element.append_child(parse(&child, &ns, depth, room)?);
            }
            Value::String(text) => {
                let text = text.to_str().ok()?;
                element.append_text_node(Some(&*text).filter(|text| is_xml_text(text))?);
            }
            _ => return None,
        }
    }
    Some(element)
}

/// Whether this is how Prosody names an attribute with a namespace: "xml:lang" and the like, or
/// the namespace, \1 and the name.
fn is_qualified(name: &str) -> bool {
    let local = match name.split_once('\x01') {
        Some((ns, local)) => is_xml_text(ns).then_some(local),
        None => name.strip_prefix("xml:"),
    };
    local.is_some_and(|local| NcName::try_from(local).is_ok())
}
