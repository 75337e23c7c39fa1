//! Parses Prosody's stanza tables into [`minidom::Element`]s. For rare paths: the rules read
//! the tables themselves, which takes less time.

use minidom::Element;
use minidom::rxml::{Namespace, NcName};

use super::reader::{Child, Frame, Key, TableRef};
use crate::wire::publish::is_xml_text;
use crate::wire::push2::{is_filter, is_match};
use crate::wire::request::{
    MAX_CHATS, MAX_CHATS_BYTES, MAX_FILTERS, MAX_FILTERS_BYTES, RequestError, is_chats,
};

/// How much is read before that is given up.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    elements: usize,
    depth: usize,
    /// Of names, attributes and text.
    bytes: usize,
}

impl Room {
    /// For what a client may ask, or a store may have.
    pub const LARGE: Self = Self {
        elements: 4096,
        depth: 16,
        bytes: 256 * 1024,
    };
    /// For all lists of chats in a request. Prosody has a namespace on each entry.
    const CHATS: Self = Self {
        elements: 2 * (MAX_CHATS + 1),
        depth: Self::LARGE.depth,
        bytes: 4 * MAX_CHATS_BYTES,
    };
    /// For all filters in a request of Push 2.0.
    const FILTERS: Self = Self {
        elements: 3 * MAX_FILTERS,
        depth: Self::LARGE.depth,
        bytes: 4 * MAX_FILTERS_BYTES,
    };
    /// For what anybody may send.
    pub const SMALL: Self = Self {
        elements: 16,
        depth: 4,
        bytes: 8 * 1024,
    };

    fn take(&mut self, bytes: usize) -> Result<(), RequestError> {
        self.bytes = self
            .bytes
            .checked_sub(bytes)
            .ok_or(RequestError::TooLarge)?;
        Ok(())
    }
}

/// The element that the argument at `place` is.
///
/// # Errors
/// If it is none that XML could say, or there is no `room` for it.
pub fn read(frame: &Frame<'_>, place: i32, mut room: Room) -> Result<Element, RequestError> {
    let table = frame.table(place).ok_or(RequestError::Unreadable)?;
    parse(&table, "jabber:client", &mut room)
}

/// The request that the argument at `place` is. What would be too long a list of chats, or of filters, is not read to its
/// end.
///
/// # Errors
/// As for [`read`].
pub fn read_request(frame: &Frame<'_>, place: i32) -> Result<Element, RequestError> {
    let table = frame.table(place).ok_or(RequestError::Unreadable)?;
    let mut chats = Room::CHATS;
    let mut filters = Filters::default();
    let mut room = Room::LARGE;
    parse_with(&table, "jabber:client", &mut room, |child, ns, room| {
        if child_is(child, ns, is_chats) {
            parse(child, ns, &mut chats).map_err(too_large_is(RequestError::TooManyChats))
        } else if child_is(child, ns, is_match) {
            parse_with(child, ns, room, |child, ns, room| {
                if child_is(child, ns, is_filter) {
                    filters.parse(child, ns)
                } else {
                    parse(child, ns, room)
                }
            })
        } else {
            parse(child, ns, room)
        }
    })
}

/// How many more filters are read.
struct Filters {
    count: usize,
    room: Room,
}

impl Default for Filters {
    fn default() -> Self {
        Self {
            count: MAX_FILTERS,
            room: Room::FILTERS,
        }
    }
}

impl Filters {
    fn parse(&mut self, table: &TableRef<'_>, ns: &str) -> Result<Element, RequestError> {
        let count = self.count.checked_sub(1);
        self.count = count.ok_or(RequestError::TooManyFilters)?;
        parse(table, ns, &mut self.room).map_err(too_large_is(RequestError::TooManyFilters))
    }
}

fn child_is(child: &TableRef<'_>, ns: &str, is: fn(&str, &str) -> bool) -> bool {
    let own_ns = child.with(Key::Attr, |attr| attr.str(Key::Xmlns));
    let name = child.str(Key::Name).unwrap_or_default();
    is(name, own_ns.flatten().unwrap_or(ns))
}

fn too_large_is(what: RequestError) -> impl FnOnce(RequestError) -> RequestError {
    move |error| match error {
        RequestError::TooLarge => what,
        other => other,
    }
}

fn parse(table: &TableRef<'_>, inherited: &str, room: &mut Room) -> Result<Element, RequestError> {
    parse_with(table, inherited, room, parse)
}

fn parse_with(
    table: &TableRef<'_>,
    inherited: &str,
    room: &mut Room,
    mut parse_child: impl FnMut(&TableRef<'_>, &str, &mut Room) -> Result<Element, RequestError>,
) -> Result<Element, RequestError> {
    room.depth = room.depth.checked_sub(1).ok_or(RequestError::TooLarge)?;
    let elements = room.elements.checked_sub(1);
    room.elements = elements.ok_or(RequestError::TooLarge)?;
    let name = table.str(Key::Name).ok_or(RequestError::Unreadable)?;
    room.take(name.len())?;
    let name = NcName::try_from(name).map_err(|_| RequestError::Unreadable)?;
    let mut element = table
        .with(Key::Attr, |attr| {
            let ns = attr.str(Key::Xmlns).unwrap_or(inherited);
            room.take(ns.len())?;
            let mut element = Element::bare(name.as_str(), ns);
            let mut outcome = Ok(());
            let all_strings = attr.all_strings(|name, value| {
                outcome = room.take(name.len() + value.len()).and_then(|()| {
                    set_attr(&mut element, name, value).ok_or(RequestError::Unreadable)
                });
                outcome.is_ok()
            });
            outcome?;
            all_strings
                .then_some(element)
                .ok_or(RequestError::Unreadable)
        })
        .ok_or(RequestError::Unreadable)??;
    let ns = element.ns();
    for place in 1..=table.len() {
        let child = table.with_child(place, |child| match child {
            Child::Element(child) => {
                element.append_child(parse_child(child, &ns, room)?);
                Ok(())
            }
            Child::Text(text) => {
                room.take(text.len())?;
                let text = Some(text).filter(|text| is_xml_text(text));
                element.append_text_node(text.ok_or(RequestError::Unreadable)?);
                Ok(())
            }
        });
        child.ok_or(RequestError::Unreadable)??;
    }
    room.depth += 1;
    Ok(element)
}

/// Prosody names an attribute with a namespace "xml:lang" and the like, or by the namespace, \1 and
/// the name.
fn set_attr(element: &mut Element, name: &str, value: &str) -> Option<()> {
    if !is_xml_text(value) {
        return None;
    }
    if name == "xmlns" {
        return Some(());
    }
    let (ns, name) = match name.split_once('\x01') {
        Some((ns, name)) => (
            is_xml_text(ns).then(|| Namespace::from(ns.to_owned()))?,
            name,
        ),
        None => match name.strip_prefix("xml:") {
            Some(name) => (Namespace::XML, name),
            None => (Namespace::NONE, name),
        },
    };
    element.set_attr(ns, NcName::try_from(name).ok()?, value.to_owned());
    Some(())
}
