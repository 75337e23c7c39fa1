//! The publish to the push service (XEP-0357 section 7).

use std::borrow::Cow;

use super::ns;

/// Where a tree of elements is written to: a Prosody stanza, or an [`minidom::Element`].
pub trait Writer {
    /// An element that exists already.
    type Element;

    /// Starts an element. Without `ns` it is in the namespace of its parent.
    fn open<V: AsRef<str>>(&mut self, name: &str, ns: Option<&str>, attrs: &[(&str, V)]);
    /// Starts an element that begins as this one does: with all that it has, which both share.
    fn open_like(&mut self, element: Self::Element);
    /// Writes character data.
    fn text(&mut self, text: &str);
    /// Adds an element that exists already.
    fn child(&mut self, element: Self::Element);
    /// Ends the element that was started last.
    fn close(&mut self);
}

/// No attributes.
pub const NONE: &[(&str, &str)] = &[];

/// The IQ of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its id.
    pub id: &'a str,
    /// The host that sends it.
    pub from: &'a str,
    /// The push service.
    pub to: &'a str,
}

/// What a notification says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Payload<'a> {
    /// The form, if there is one.
    pub summary: Option<Summary<'a>>,
    /// What there is besides.
    pub parts: &'a [Part],
}

/// The form in a notification. Fields without a value are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary<'a> {
    /// `message-count`.
    pub count: &'a str,
    /// `pending-subscription-count`.
    pub pending_subscriptions: Option<&'a str>,
    /// `last-message-body`.
    pub body: Option<&'a str>,
    /// `last-message-sender`.
    pub sender: Option<&'a str>,
}

/// An element of a `<notification/>` besides the summary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// Its local name.
    pub name: &'static str,
    /// Its namespace; none for that of the element around it.
    pub ns: Option<&'static str>,
    /// Its attributes.
    pub attrs: Vec<(&'static str, String)>,
    /// Its character data.
    pub text: String,
    /// The elements in it.
    pub children: Vec<Part>,
    /// Whether it is the same in all notifications that are as important.
    pub is_usual: bool,
}

impl Default for Summary<'_> {
    fn default() -> Self {
        Self {
            count: "1",
            pending_subscriptions: None,
            body: None,
            sender: None,
        }
    }
}

/// Whether XML may contain this text (XML 1.0 section 2.2).
pub fn is_xml_text(text: &str) -> bool {
    text.chars().all(is_xml_char)
}

/// What is left of a text when all is taken away that XML may not contain. No peer can send
/// the like, but a damaged store can have it, and it would break the stream.
pub fn xml_text(text: &str) -> Cow<'_, str> {
    if is_xml_text(text) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().filter(|&char| is_xml_char(char)).collect())
}

fn is_xml_char(char: char) -> bool {
    matches!(char, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

impl Header<'_> {
    /// Writes the IQ around a `<pubsub/>`.
    pub fn write<W: Writer>(&self, writer: &mut W, pubsub: W::Element) {
        let attrs = [
            ("type", "set"),
            ("from", self.from),
            ("to", self.to),
            ("id", self.id),
        ];
        writer.open("iq", None, &attrs);
        writer.child(pubsub);
        writer.close();
    }
}

/// Writes the `<pubsub/>`, which is the same for all pushes to a registration that say the same.
/// `node` is empty for a registration without one (XEP-0060 demands the attribute); `options` is the
/// `<publish-options/>` with the client's own form.
pub fn write_pubsub<W: Writer>(
    writer: &mut W,
    node: &str,
    item: W::Element,
    options: Option<W::Element>,
) {
    writer.open("pubsub", Some(ns::PUBSUB), NONE);
    writer.open("publish", None, &[("node", node)]);
    writer.child(item);
    writer.close();
    if let Some(options) = options {
        writer.child(options);
    }
    writer.close();
}

impl Payload<'_> {
    /// Writes the `<item/>`, which is the same for all publishes that say the same.
    pub fn write_item<W: Writer>(&self, writer: &mut W) {
        writer.open("item", None, NONE);
        writer.open("notification", Some(ns::PUSH), NONE);
        if let Some(summary) = &self.summary {
            summary.write(writer);
        }
        for part in self.parts {
            part.write(writer);
        }
        writer.close();
        writer.close();
    }
}

impl Part {
    /// Writes it.
    pub fn write<W: Writer>(&self, writer: &mut W) {
        writer.open(self.name, self.ns, &self.attrs);
        if !self.text.is_empty() {
            writer.text(&self.text);
        }
        for child in &self.children {
            child.write(writer);
        }
        writer.close();
    }
}

impl Summary<'_> {
    fn write<W: Writer>(&self, writer: &mut W) {
        writer.open("x", Some(ns::DATA_FORMS), &[("type", "form")]);
        field(
            writer,
            &[("var", "FORM_TYPE"), ("type", "hidden")],
            ns::PUSH_SUMMARY,
        );
        field(writer, &[("var", "message-count")], self.count);
        if let Some(count) = self.pending_subscriptions {
            field(writer, &[("var", "pending-subscription-count")], count);
        }
        if let Some(sender) = self.sender {
            field(writer, &[("var", "last-message-sender")], sender);
        }
        if let Some(body) = self.body {
            field(writer, &[("var", "last-message-body")], body);
        }
        writer.close();
    }
}

fn field<W: Writer>(writer: &mut W, attrs: &[(&str, &str)], value: &str) {
    writer.open("field", None, attrs);
    writer.open("value", None, NONE);
    writer.text(value);
    writer.close();
    writer.close();
}

#[cfg(test)]
mod tests {
    use minidom::Element;
    use minidom::rxml::{Namespace, NcName};
    use xmpp_parsers::iq::Iq;
    use xmpp_parsers::pubsub::PubSub;
    use xmpp_parsers::push::Notification;

    use super::*;
    use crate::wire::options::{Submitted, submitted, write_form};

    struct Dom {
        ns: &'static str,
        open: Vec<Element>,
        done: Option<Element>,
    }

    impl Writer for Dom {
        type Element = Element;

        fn open<V: AsRef<str>>(&mut self, name: &str, ns: Option<&str>, attrs: &[(&str, V)]) {
            let parent = self.open.last().map(Element::ns);
            let ns = ns
                .map(str::to_owned)
                .or(parent)
                .unwrap_or_else(|| self.ns.into());
            let mut element = Element::bare(name, ns);
            for (name, value) in attrs {
                element.set_attr(
                    Namespace::NONE,
                    NcName::try_from(*name).unwrap(),
                    value.as_ref(),
                );
            }
            self.open.push(element);
        }

        fn open_like(&mut self, element: Element) {
            self.open.push(element);
        }

        fn text(&mut self, text: &str) {
            self.open.last_mut().unwrap().append_text_node(text);
        }

        fn child(&mut self, element: Element) {
            self.open.last_mut().unwrap().append_child(element);
        }

        fn close(&mut self) {
            let element = self.open.pop().unwrap();
            match self.open.last_mut() {
                Some(parent) => drop(parent.append_child(element)),
                None => self.done = Some(element),
            }
        }
    }

    const FORM: &str = "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
        <value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
        <field var='secret'><value>s3-91b</value></field></x>";

    fn publish(summary: Summary<'_>, node: &str, options: Option<&str>) -> Element {
        let header = Header {
            id: "push-1",
            from: "home.test",
            to: "push.test",
        };
        let options = options.map(|form| {
            let xml = format!(
                "<publish-options xmlns='{}'>{form}</publish-options>",
                ns::PUBSUB
            );
            xml.parse().unwrap()
        });
        let payload = Payload {
            summary: Some(summary),
            parts: &[],
        };
        let item = written(ns::PUBSUB, |writer| payload.write_item(writer));
        let pubsub = written(ns::PUBSUB, |writer| {
            write_pubsub(writer, node, item, options);
        });
        written("jabber:client", |writer| header.write(writer, pubsub))
    }

    /// What `write` has written where the namespace is `ns`.
    fn written(ns: &'static str, write: impl FnOnce(&mut Dom)) -> Element {
        let mut writer = Dom {
            ns,
            open: Vec::new(),
            done: None,
        };
        write(&mut writer);
        writer.done.unwrap()
    }

    fn parsed(iq: &Element) -> (xmpp_parsers::pubsub::pubsub::Publish, Option<Element>) {
        let Ok(Iq::Set { payload, .. }) = Iq::try_from(iq.clone()) else {
            panic!("not a set")
        };
        match PubSub::try_from(payload) {
            Ok(PubSub::Publish {
                publish,
                publish_options,
            }) => (
                publish,
                publish_options
                    .and_then(|options| options.form)
                    .map(Element::from),
            ),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn parses_as_strict_services_do() {
        let summary = Summary {
            body: Some("New <Message> & more"),
            sender: Some("rosa@home.test"),
            ..Summary::default()
        };
        for options in [None, Some(FORM)] {
            for node in ["n1", ""] {
                let (publish, form) = parsed(&publish(summary, node, options));
                assert_eq!(publish.node.0, node);
                assert_eq!(form.is_some(), options.is_some());
                let payload = publish.items[0].payload.clone().unwrap();
                let notification = Notification::try_from(payload).unwrap();
                let form = notification.form.unwrap();
                assert_eq!(form.form_type(), Some(ns::PUSH_SUMMARY));
                let value = |var: &str| {
                    let field = form.fields.iter().find(|f| f.var.as_deref() == Some(var));
                    field.map(|field| field.values.clone())
                };
                assert_eq!(value("message-count"), Some(vec!["1".into()]));
                assert_eq!(
                    value("last-message-body"),
                    Some(vec!["New <Message> & more".into()])
                );
                assert_eq!(
                    value("last-message-sender"),
                    Some(vec!["rosa@home.test".into()])
                );
                assert!(notification.payloads.is_empty());
            }
        }
    }

    #[test]
    fn a_form_that_strict_services_cannot_read_is_submitted_so_that_they_can() {
        for broken in [
            FORM.replace(
                "</field></x>",
                "</field><field><value>v</value></field></x>",
            ),
            FORM.replace("var='secret'", "var='secret' type='secret'"),
            FORM.replace(
                "<field var='secret'>",
                "<field var='FORM_TYPE'/><field var='secret'>",
            ),
        ] {
            let broken: Element = broken.parse().unwrap();
            let Some(Submitted::Fields(fields)) = submitted(broken) else {
                panic!("it is as it was")
            };
            let form = written(ns::PUBSUB, |writer| write_form(writer, &fields));
            assert_eq!(form, FORM.parse().unwrap());
            let (_, form) = parsed(&publish(
                Summary::default(),
                "n1",
                Some(&String::from(&form)),
            ));
            assert!(form.is_some());
        }
    }

    #[test]
    fn text_is_what_xml_may_contain() {
        assert_eq!(
            xml_text("a\0b\u{1}c\td\u{fffe}e\u{1f600}"),
            "abc\tde\u{1f600}"
        );
        assert!(matches!(xml_text("a\tb"), Cow::Borrowed("a\tb")));
        assert!(is_xml_text("a\n\u{fffd}") && !is_xml_text("\u{b}") && !is_xml_text("\u{ffff}"));
    }

    #[test]
    fn fields_without_a_value_are_left_out() {
        let xml = String::from(&publish(Summary::default(), "n1", None));
        assert!(xml.contains("message-count"));
        assert!(!xml.contains("last-message"));
        assert!(!xml.contains("publish-options"));
    }

    #[test]
    fn the_options_stand_beside_the_publish() {
        let iq = publish(Summary::default(), "n1", Some(FORM));
        let pubsub = iq.get_child("pubsub", ns::PUBSUB).unwrap();
        let names: Vec<_> = pubsub.children().map(Element::name).collect();
        assert_eq!(names, ["publish", "publish-options"]);
        assert_eq!(
            pubsub
                .get_child("publish-options", ns::PUBSUB)
                .unwrap()
                .children()
                .next(),
            Some(&FORM.parse().unwrap())
        );
        assert_eq!(iq.attr("type"), Some("set"));
        assert_eq!(iq.attr("from"), Some("home.test"));
        assert_eq!(iq.attr("to"), Some("push.test"));
        assert_eq!(iq.attr("id"), Some("push-1"));
    }
}
