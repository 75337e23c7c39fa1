//! What a query of the archive (XEP-0313) fetches.

use minidom::Element;

const MAM: &str = "urn:xmpp:mam:2";
const DATA: &str = "jabber:x:data";
const RSM: &str = "http://jabber.org/protocol/rsm";

/// Whose messages a query fetches up to the newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// All.
    Everything,
    /// Those of a chat.
    Chat(String),
}

impl Fetched {
    /// That of a query. `None` if it fetches something older, or single messages: whoever pages back through a chat
    /// looks for what has been there before, and whoever asks for the last one only wants to know where the
    /// archive ends.
    pub fn by(query: &Element) -> Option<Self> {
        let form = query.get_child("x", DATA);
        let set = query.get_child("set", RSM);
        let field = |name: &str| {
            let mut fields = form.into_iter().flat_map(Element::children);
            let field = fields.find(|one| one.attr("var") == Some(name))?;
            Some(field.get_child("value", DATA)?.text())
        };
        let paging = |name: &str| Some(set?.get_child(name, RSM)?.text());
        let is_limited = ["end", "ids", "before-id", "{urn:xmpp:mam:2}ids"]
            .into_iter()
            .any(|name| field(name).is_some());
        let is_older = paging("before").is_some_and(|id| !id.is_empty());
        let is_one = paging("max").is_some_and(|max| matches!(max.trim(), "0" | "1"));
        if !query.is("query", MAM) || is_limited || is_older || is_one {
            return None;
        }
        Some(field("with").map_or(Self::Everything, Self::Chat))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(fields: &str, set: &str) -> Option<Fetched> {
        let query = format!(
            "<query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
             <value>urn:xmpp:mam:2</value></field>{fields}</x><set xmlns='http://jabber.org/protocol/rsm'>{set}</set></query>"
        );
        Fetched::by(&query.parse().unwrap())
    }

    fn field(name: &str, value: &str) -> String {
        format!("<field var='{name}'><value>{value}</value></field>")
    }

    #[test]
    fn what_catches_up_fetches_everything() {
        let start = field("start", "2026-01-01T00:00:00Z");
        for (fields, set) in [
            ("", ""),
            ("", "<max>50</max>"),
            ("", "<max>50</max><after>a1</after>"),
            ("", "<max>50</max><before/>"),
            (&*start, "<max>50</max>"),
            (&*start, "<max>50</max><before></before>"),
        ] {
            assert_eq!(by(fields, set), Some(Fetched::Everything), "{fields}{set}");
        }
        let plain = "<query xmlns='urn:xmpp:mam:2'/>".parse().unwrap();
        assert_eq!(Fetched::by(&plain), Some(Fetched::Everything));
        let with = field("with", "rosa@home.test");
        let chat = Fetched::Chat("rosa@home.test".to_owned());
        assert_eq!(by(&with, "<max>50</max><before/>"), Some(chat));
    }

    #[test]
    fn what_looks_back_does_not() {
        let end = field("end", "2026-01-01T00:00:00Z");
        let ids = field("ids", "a1");
        let before_id = field("before-id", "a1");
        for (fields, set) in [
            (&*end, "<max>50</max>"),
            (&*ids, ""),
            (&*before_id, ""),
            ("", "<max>50</max><before>a1</before>"),
            ("", "<max>0</max>"),
            ("", "<max>1</max><before/>"),
        ] {
            assert_eq!(by(fields, set), None, "{fields}{set}");
        }
        let other = "<query xmlns='urn:xmpp:mam:1'/>".parse().unwrap();
        assert_eq!(Fetched::by(&other), None);
    }
}
