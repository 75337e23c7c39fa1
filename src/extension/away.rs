//! `tigase:push:away:0`: pushes also for what the user's other devices receive, while nobody looks at them.

use minidom::Element;

use super::interface::Extension;
use super::record::{Asked, Field, Kept};
use crate::wire::request::RequestError;

/// See the module. Its rule is [`Rule::Away`](crate::engine::Rule::Away).
pub struct Away;

impl Extension for Away {
    fn features(&self) -> &'static [&'static str] {
        &["tigase:push:away:0"]
    }

    fn is_asked(&self, record: &dyn Asked) -> bool {
        record.is_set(Field::Away)
    }

    fn enable(&self, enable: &Element) -> Result<Vec<(Field, Kept)>, RequestError> {
        let is_set = matches!(enable.attr("away"), Some("true" | "1"));
        Ok(is_set
            .then_some((Field::Away, Kept::Set))
            .into_iter()
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_an_attribute_of_the_request() {
        for (attribute, is_asked) in [
            ("", false),
            ("away='true'", true),
            ("away='1'", true),
            ("away='false'", false),
            ("away='0'", false),
            ("away=''", false),
        ] {
            let enable = format!("<enable xmlns='urn:xmpp:push:0' jid='push.test' {attribute}/>");
            let kept = Away.enable(&enable.parse().unwrap());
            let wanted = is_asked.then_some((Field::Away, Kept::Set));
            assert_eq!(kept, Ok(Vec::from_iter(wanted)), "{attribute}");
        }
    }
}
