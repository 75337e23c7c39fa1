//! Parses Prosody's stanza tables into [`minidom::Element`]s. For rare paths: it takes
//! several times as long as reading on the stack.

use minidom::Element;
use minidom::rxml::{Namespace, NcName};
use mlua::{Table, Value};

use crate::wire::publish::is_xml_text;

/// The largest tree, in elements, and the deepest.
const MAX_ELEMENTS: usize = 4096;
const MAX_DEPTH: usize = 16;

/// The element that `table` is. `None` if it is none that XML could say, or too large or deep.
pub fn element(table: &Table) -> Option<Element> {
    let mut left = MAX_ELEMENTS;
    parse(table, "jabber:client", MAX_DEPTH, &mut left)
}

fn parse(table: &Table, ns: &str, depth: usize, left: &mut usize) -> Option<Element> {
    *left = left.checked_sub(1)?;
    let depth = depth.checked_sub(1)?;
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
                element.append_child(parse(&child, &ns, depth, left)?);
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
