//! `tigase:push:jingle:0`: notifications say which call begins, and which is over, so that the device stops ringing.

use minidom::Element;

use super::interface::{Extension, News};
use super::others::{Community, Others};
use super::record::{Asked, Field, Kept, Record};
use crate::stanza::CallContent;
use crate::wire::publish::{Part, xml_text};
use crate::wire::request::RequestError;

const NS: &str = "tigase:push:jingle:0";

/// See the module.
pub struct Jingle;

impl Extension for Jingle {
    fn features(&self) -> &'static [&'static str] {
        &[NS]
    }

    fn announced_by(&self) -> Option<Community> {
        Some(Community::Encrypted)
    }

    fn is_asked(&self, record: &dyn Asked) -> bool {
        record.is_set(Field::Jingle) || record.has_asked_community()
    }

    fn enable(&self, enable: &Element) -> Result<Vec<(Field, Kept)>, RequestError> {
        let is_asked = enable.has_child("jingle", NS);
        Ok(is_asked
            .then_some((Field::Jingle, Kept::Set))
            .into_iter()
            .collect())
    }

    /// The community's module would encrypt the end of a call as a message.
    fn tells_of_calls(&self, record: &dyn Asked, others: Others) -> bool {
        !(others.has(Some(Community::Encrypted)) && record.is_set(Field::Encryption))
    }

    fn parts(&self, _: &dyn Record, news: &News<'_>) -> Vec<Part> {
        let call = news.important().and_then(|content| content.call.as_ref());
        call.map(part).into_iter().collect()
    }
}

/// It has the words of XEP-0353, also for a call of XEP-0482.
fn part(call: &CallContent) -> Part {
    let action = match call.action {
        "invite" => "propose",
        "left" => "finish",
        action => action,
    };
    let mut attrs = vec![("action", action.to_owned())];
    if let Some(id) = &call.id {
        attrs.push(("sid", xml_text(id).into_owned()));
    }
    let media = call.media.iter().map(|media| Part {
        name: "media",
        text: media.name().to_owned(),
        ..Part::default()
    });
    Part {
        name: "jingle",
        ns: Some(NS),
        attrs,
        children: media.collect(),
        ..Part::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stanza::{Content, Importance, Media, Sort};

    fn call(action: &'static str, id: Option<&str>, media: &[Media]) -> Content {
        let call = CallContent {
            action,
            id: id.map(str::to_owned),
            media: media.to_vec(),
        };
        Content {
            call: Some(call),
            ..Content::new(Sort::Chat, "rosa@away.test/phone")
        }
    }

    struct Nothing;

    impl Asked for Nothing {
        fn is_set(&self, _: Field) -> bool {
            false
        }
    }

    impl Record for Nothing {
        fn text(&self, _: Field) -> Option<&str> {
            None
        }

        fn number(&self, _: Field) -> Option<i64> {
            None
        }

        fn inside(&self, _: Field, _: &mut dyn FnMut(&dyn Record)) {}
    }

    fn parts(importance: Importance, content: &Content) -> Vec<Part> {
        let news = News {
            importance,
            content: Some(content),
            count: 1,
            pending_subscriptions: None,
        };
        Jingle.parts(&Nothing, &news)
    }

    #[test]
    fn the_part_names_the_call_and_what_becomes_of_it() {
        for (action, named, media) in [
            ("propose", "propose", &[Media::Audio, Media::Video][..]),
            ("invite", "propose", &[Media::Audio]),
            ("retract", "retract", &[]),
            ("left", "finish", &[]),
        ] {
            let found = parts(Importance::Urgent, &call(action, Some("c1"), media));
            let [part] = &found[..] else {
                panic!("{found:?}")
            };
            assert_eq!((part.name, part.ns), ("jingle", Some(NS)));
            let attrs = vec![("action", named.to_owned()), ("sid", "c1".to_owned())];
            assert_eq!(part.attrs, attrs);
            let names: Vec<_> = part.children.iter().map(|one| &*one.text).collect();
            let media: Vec<_> = media.iter().map(|media| media.name()).collect();
            assert_eq!(names, media);
        }
        let unnamed = parts(Importance::Urgent, &call("left", None, &[]));
        assert_eq!(unnamed[0].attrs.len(), 1);
    }

    #[test]
    fn there_is_none_for_anything_else() {
        let message = Content::new(Sort::Chat, "rosa@away.test/phone");
        assert_eq!(parts(Importance::Important, &message), []);
        let end = call("retract", Some("c1"), &[]);
        assert_eq!(parts(Importance::Unimportant, &end), []);
    }

    #[test]
    fn whoever_asks_for_it_keeps_it() {
        for (child, fields) in [
            (
                "<jingle xmlns='tigase:push:jingle:0'/>",
                vec![(Field::Jingle, Kept::Set)],
            ),
            ("<jingle xmlns='urn:x'/>", vec![]),
            ("", vec![]),
        ] {
            let enable = format!("<enable xmlns='urn:xmpp:push:0'>{child}</enable>");
            assert_eq!(
                Jingle.enable(&enable.parse().unwrap()).unwrap(),
                fields,
                "{child}"
            );
        }
    }

    struct Asks(&'static [Field]);

    impl Asked for Asks {
        fn is_set(&self, field: Field) -> bool {
            self.0.contains(&field)
        }
    }

    #[test]
    fn ends_are_not_told_where_the_community_s_module_would_encrypt_them() {
        let mut others = Others::default();
        let encrypts = Asks(&[Field::Jingle, Field::Encryption]);
        assert!(Jingle.tells_of_calls(&encrypts, others));
        others.add(Community::Encrypted);
        assert!(!Jingle.tells_of_calls(&encrypts, others));
        assert!(Jingle.tells_of_calls(&Asks(&[Field::Jingle]), others));
    }
}
