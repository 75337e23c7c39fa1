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
        // "xml:lang" and the like have a namespace, and no meaning here.
        if name != "xmlns"
            && let Ok(name) = NcName::try_from(name)
        {
            element.set_attr(
                Namespace::NONE,
                name,
                Some(value).filter(|value| is_xml_text(value))?,
            );
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
