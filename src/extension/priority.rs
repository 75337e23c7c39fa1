//! `tigase:push:priority:0`: notifications say whether the user has to be alerted.

use minidom::Element;

use super::interface::{Extension, News};
use super::others::Community;
use super::record::{Asked, Field, Kept, Record};
use crate::stanza::Importance;
use crate::wire::publish::Part;
use crate::wire::request::RequestError;

const NS: &str = "tigase:push:priority:0";

/// See the module.
pub struct Priority;

impl Extension for Priority {
    fn features(&self) -> &'static [&'static str] {
        &[NS]
    }

    fn community(&self) -> Option<Community> {
        Some(Community::PriorityTag)
    }

    fn is_asked(&self, record: &dyn Asked) -> bool {
        record.is_set(Field::Priority) || record.has_asked_community()
    }

    fn enable(&self, enable: &Element) -> Result<Vec<(Field, Kept)>, RequestError> {
        let is_asked = enable.has_child("priority", NS);
        Ok(is_asked
            .then_some((Field::Priority, Kept::Set))
            .into_iter()
            .collect())
    }

    fn parts(&self, _: &dyn Record, news: &News<'_>) -> Vec<Part> {
        let is_high = news.importance >= Importance::Important;
        vec![Part {
            name: "priority",
            ns: Some(NS),
            text: if is_high { "high" } else { "low" }.to_owned(),
            is_usual: true,
            ..Part::default()
        }]
    }
}
