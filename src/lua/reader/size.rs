//! How much memory a stanza takes, as far as can be said.

use super::keys::Key;
use super::table::{Child, TableRef};

/// How deep a stanza is looked into, and what an element takes at least, in bytes.
const DEEPEST: usize = 32;
const ELEMENT: usize = 256;
/// What an attribute takes besides its name and value: its place in a table that is half empty.
const ATTRIBUTE: usize = 80;

/// Whether an element takes no more than so many `bytes`.
pub fn is_within(element: &TableRef<'_>, mut bytes: usize) -> bool {
    takes(element, &mut bytes, DEEPEST)
}

/// Takes from `left` what an element takes. Whether there was enough.
fn takes(element: &TableRef<'_>, left: &mut usize, depth: usize) -> bool {
    let mut bytes = ELEMENT;
    element.with(Key::Attr, |attr| {
        attr.all_strings(|name, value| {
            bytes += ATTRIBUTE + name.len() + value.len();
            true
        })
    });
    let Some((mut rest, depth)) = left.checked_sub(bytes).zip(depth.checked_sub(1)) else {
        return false;
    };
    let fits = (1..=element.len()).all(|place| {
        let fits = element.with_child(place, |child| match child {
            Child::Element(child) => takes(child, &mut rest, depth),
            Child::Text(text) => rest
                .checked_sub(text.len())
                .map(|left| rest = left)
                .is_some(),
        });
        fits.unwrap_or(true)
    });
    *left = rest;
    fits
}
