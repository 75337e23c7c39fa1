//! What comes out is parsed by others: minidom, and xmpp-parsers.

use minidom::Node;
use minidom::rxml::{Namespace, NcName, NcNameStr};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use unicode_segmentation::UnicodeSegmentation;
use xmpp_parsers::forwarding::Forwarded;

use super::*;

const ACCOUNT: &str = "anna@home.test";
const ID: &str = "0190c2d4-8a51-7c6e-b7b5-3f1d2a9c4e60";
const FROM: &str = "rosa@home.test/phone";
const ATTRS: &str = "from='rosa@home.test/phone' to='anna@home.test' id='m1' type='chat'";

fn message(attrs: &str, children: &str) -> Element {
    let xml = format!(
        "<message xmlns='jabber:client' {attrs}>{children}\
         <stanza-id xmlns='urn:xmpp:sid:0' by='{ACCOUNT}' id='{ID}'/></message>"
    );
    xml.parse().unwrap()
}

/// The stanza in an envelope that is as it has to be.
fn opened(envelope: &str, limit: usize) -> Element {
    let overhead = PADDING.concat().len();
    let length = envelope.len();
    assert!(length <= limit, "{length} > {limit}");
    let parsed: Element = envelope.parse().unwrap();
    assert!(parsed.is("envelope", "urn:xmpp:sce:1"));
    let padding = parsed
        .get_child("rpad", "urn:xmpp:sce:1")
        .map(Element::text);
    let is_size = SIZES.contains(&length) || length == limit;
    assert!(
        is_size || padding.is_none() && length + overhead > limit,
        "{length}"
    );
    if let Some(padding) = padding {
        let unpadded = length - padding.len() - overhead;
        let fits = |size: &usize| *size == unpadded || *size >= unpadded + overhead;
        let smallest = SIZES.into_iter().filter(|size| *size < limit).find(fits);
        assert_eq!(length, smallest.unwrap_or(limit));
        assert!(
            padding
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte))
        );
    }
    let content = parsed.get_child("content", "urn:xmpp:sce:1").unwrap();
    let forwarded = content
        .get_child("forwarded", "urn:xmpp:forward:0")
        .unwrap();
    assert_eq!((content.nodes().count(), forwarded.nodes().count()), (1, 1));
    forwarded.children().next().unwrap().clone()
}

fn sent(stanza: &Element, limit: usize) -> Element {
    opened(&envelope(stanza, ACCOUNT, limit).unwrap(), limit)
}

fn names(stanza: &Element) -> Vec<String> {
    stanza
        .children()
        .map(|child| child.name().to_owned())
        .collect()
}

fn body(stanza: &Element) -> Option<String> {
    stanza.get_child("body", "jabber:client").map(Element::text)
}

fn filler(bytes: usize) -> String {
    format!("<x xmlns='urn:x'>{}</x>", "x".repeat(bytes))
}

#[test]
fn what_fits_is_whole() {
    let stanza = message(
        &format!("{ATTRS} xml:lang='de' xmlns:e='urn:e' e:a='1' e:b='&lt;&#10;&quot;&apos;'"),
        "<body>A &amp; B ]]&gt; 'c' \"d\"&#13;\n\tend</body><body xml:lang='fr'>Oui</body>\
         <x xmlns='urn:x'><y xmlns='jabber:client'><z xmlns=''/></y>text<e:z/></x><active/>",
    );
    assert_eq!(sent(&stanza, LIMIT), stanza);

    let xml = envelope(&stanza, ACCOUNT, LIMIT).unwrap();
    assert!(xml.starts_with(
        "<envelope xmlns='urn:xmpp:sce:1'><content><forwarded xmlns='urn:xmpp:forward:0'>\
         <message xmlns='jabber:client' "
    ));
    assert!(xml.contains("</message></forwarded></content><rpad>"));
    assert!(xml.ends_with("</rpad></envelope>"));
}

#[test]
fn others_read_it() {
    let stanza = message(ATTRS, &format!("<body>{}</body>", "Tea? ".repeat(1000)));
    let envelope: Element = envelope(&stanza, ACCOUNT, LIMIT).unwrap().parse().unwrap();
    let forwarded = envelope
        .children()
        .next()
        .unwrap()
        .children()
        .next()
        .unwrap();
    let message = Forwarded::try_from(forwarded.clone()).unwrap().message;
    assert_eq!(message.from.unwrap().as_str(), FROM);
    assert!(message.bodies[""].starts_with("Tea? Tea?"));
}

#[test]
fn what_xml_cannot_say_is_left_out() {
    let mut stanza = message(ATTRS, "<body a=''/>");
    let body = stanza.get_child_mut("body", "jabber:client").unwrap();
    *body.attrs_mut().values_mut().next().unwrap() = "d\u{0}e".to_owned();
    body.append_text_node("a\u{1}b\u{fffe}c\u{b}");
    for (ns, name) in [
        ("", "xmlns"),
        (Namespace::XMLNS.as_str(), "a"),
        ("a\u{1}", "b"),
    ] {
        body.set_attr(
            Namespace::from(ns.to_owned()),
            NcName::try_from(name).unwrap(),
            "urn:y",
        );
    }
    for (name, ns) in [
        ("a b", "urn:x"),
        ("", "urn:x"),
        ("e:f", "urn:x"),
        ("1", "urn:x"),
    ] {
        stanza.append_child(Element::bare(name, ns));
    }
    for ns in [
        "urn:\u{1}",
        Namespace::XMLNS.as_str(),
        Namespace::XML.as_str(),
    ] {
        stanza.append_child(Element::bare("g", ns));
    }
    let expected = message(ATTRS, "<body a='de'>abc</body>");
    assert_eq!(sent(&stanza, LIMIT), expected);

    // Nor when it is reduced.
    stanza.append_child(filler(3000).parse().unwrap());
    assert_eq!(sent(&stanza, LIMIT), expected);

    assert_eq!(
        envelope(&Element::bare("a b", "jabber:client"), ACCOUNT, LIMIT),
        None
    );
}

#[test]
fn other_stanzas_are_sent_too() {
    for xml in [
        "<presence xmlns='jabber:client' type='subscribe' from='rosa@home.test'><status>Hi</status></presence>",
        "<iq xmlns='jabber:client' type='get' id='1'><query xmlns='urn:x'/></iq>",
    ] {
        let stanza = xml.parse().unwrap();
        assert_eq!(sent(&stanza, LIMIT), stanza);
    }
}

#[test]
fn first_goes_what_is_not_known() {
    let known = "<body>Tea?</body><subject>S</subject><thread>t</thread>\
        <x xmlns='jabber:x:oob'><url>u</url></x><file-sharing xmlns='urn:xmpp:sfs:0'/>\
        <sticker xmlns='urn:xmpp:stickers:0'/><encrypted xmlns='eu.siacs.conversations.axolotl'/>\
        <encrypted xmlns='urn:xmpp:omemo:0'/><encrypted xmlns='urn:xmpp:omemo:1'/>\
        <encrypted xmlns='urn:xmpp:omemo:2'/><x xmlns='jabber:x:encrypted'/>\
        <openpgp xmlns='urn:xmpp:openpgp:0'/><envelope xmlns='urn:xmpp:sce:1'/>\
        <encryption xmlns='urn:xmpp:eme:0'/><propose xmlns='urn:xmpp:jingle-message:0' id='c'/>\
        <invite xmlns='urn:xmpp:call-invites:0'/><x xmlns='jabber:x:conference' jid='r@rooms.test'/>\
        <x xmlns='http://jabber.org/protocol/muc#user'><invite/></x><reply xmlns='urn:xmpp:reply:0'/>\
        <reactions xmlns='urn:xmpp:reactions:0'/><replace xmlns='urn:xmpp:message-correct:0'/>\
        <retract xmlns='urn:xmpp:message-retract:1'/><delay xmlns='urn:xmpp:delay'/>\
        <nick xmlns='http://jabber.org/protocol/nick'/>\
        <reference xmlns='urn:xmpp:reference:0' begin='0' end='2'/><fallback xmlns='urn:xmpp:fallback:0'/>\
        <body xml:lang='fr'>Oui</body>";
    let unknown = format!(
        "<active xmlns='urn:y'/>text<body xmlns='urn:y'/><x xmlns='http://jabber.org/protocol/muc#user'/>\
         <stanza-id xmlns='urn:xmpp:sid:0' by='rosa@home.test' id='s'/>{}",
        filler(2000)
    );
    let attrs = format!("{ATTRS} xml:lang='de'");
    let stanza = message(&attrs, &format!("{unknown}{known}"));
    assert_eq!(sent(&stanza, 4096), stanza);
    assert_eq!(sent(&stanza, LIMIT), message(&attrs, known));
}

#[test]
fn a_long_description_is_not_known() {
    for ns in ["urn:xmpp:sfs:0", "urn:xmpp:jingle-message:0"] {
        let (small, large) = ("y".repeat(900), "y".repeat(1024));
        for (text, is_left) in [(small, true), (large, false)] {
            let child = format!("<a xmlns='{ns}'>{text}</a>");
            let stanza = message(ATTRS, &format!("<body>Tea?</body>{child}{}", filler(3000)));
            let sent = sent(&stanza, LIMIT);
            assert_eq!(sent.has_child("a", ns), is_left);
            assert_eq!(body(&sent).unwrap(), "Tea?");
        }
    }
}

#[test]
fn then_other_languages_go() {
    let first = "<body xml:lang='de'>&gt; Tee?\nJa</body><fallback xmlns='urn:xmpp:fallback:0'/>";
    let stanza = message(ATTRS, &format!("{first}<body>{}</body>", "y".repeat(3000)));
    assert_eq!(sent(&stanza, LIMIT), message(ATTRS, first));
}

#[test]
fn then_quotes_go_and_the_body_is_cut() {
    let children = "<reply xmlns='urn:xmpp:reply:0' id='r'/>\
        <reference xmlns='urn:xmpp:reference:0' begin='0' end='2' uri='xmpp:anna@home.test'/>";
    let with = |body: &str| {
        let mut stanza = message(
            ATTRS,
            &format!(
                "<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'/>{children}<body/>"
            ),
        );
        stanza
            .get_child_mut("body", "jabber:client")
            .unwrap()
            .append_text_node(body);
        stanza
    };

    let quoted = format!("> {}\n>\n> b\n\nTea?\n>_<\n> c\nYes", "y".repeat(3000));
    let quoted = sent(&with(&quoted), LIMIT);
    assert_eq!(body(&quoted).unwrap(), "Tea?\n>_<\nYes");
    assert_eq!(names(&quoted), ["reply", "reference", "body", "stanza-id"]);
    let reference = quoted
        .get_child("reference", "urn:xmpp:reference:0")
        .unwrap();
    assert_eq!(reference.attr("uri"), Some("xmpp:anna@home.test"));
    assert_eq!(
        (reference.attr("begin"), reference.attr("end")),
        (None, None)
    );

    for (character, bytes) in [
        ("y", 1),
        ("&", 5),
        ("<", 4),
        ("\r", 5),
        ("é", 2),
        ("👩‍👩‍👧", 18),
    ] {
        let stanza = with(&character.repeat(3000));
        let envelope = envelope(&stanza, ACCOUNT, LIMIT).unwrap();
        let sent = opened(&envelope, LIMIT);
        let body = body(&sent).unwrap();
        let head = body.strip_suffix('…').unwrap();
        assert_eq!(head, character.repeat(head.len() / character.len()));
        let unpadded = envelope.find("<rpad>").map(|at| at + END.len());
        let unpadded = unpadded.unwrap_or(envelope.len());
        assert!(unpadded + bytes > LIMIT, "{character}");
        assert_eq!(names(&sent), ["reply", "reference", "body", "stanza-id"]);
    }

    // There is nothing else to show
    let all_quoted = body(&sent(&with(&format!("> {}\n", "y".repeat(3000))), LIMIT)).unwrap();
    assert!(all_quoted.starts_with("> yyy"));
}

#[test]
fn then_all_but_body_calls_and_invitations_go() {
    let vital =
        "<propose xmlns='urn:xmpp:jingle-message:0' id='c'/><x xmlns='jabber:x:conference'/>";
    let known = format!("<subject>{}</subject>", "y".repeat(2900));
    let body = "<body>Tea?</body>";
    let attrs = format!("{ATTRS} xml:lang='de'");
    let stanza = message(&attrs, &format!("{known}{vital}{body}"));
    assert_eq!(
        sent(&stanza, LIMIT),
        message(&attrs, &format!("{vital}{body}"))
    );
}

#[test]
fn then_the_body_goes() {
    // Which is one character, as people see it.
    let body = format!("<body>y{}</body>", "\u{301}".repeat(3000));
    let vital = "<propose xmlns='urn:xmpp:jingle-message:0' id='c'/>";
    let attrs = format!("{ATTRS} xml:lang='de'");
    let stanza = message(&attrs, &format!("{body}{vital}"));
    assert_eq!(sent(&stanza, LIMIT), message(&attrs, vital));
}

#[test]
fn then_attributes_go() {
    let vital = "<propose xmlns='urn:xmpp:jingle-message:0' id='c'/>";
    let long = "y".repeat(LIMIT);
    for (attrs, left) in [
        (
            format!("{ATTRS} xml:lang='{long}' xmlns:e='urn:e' e:id='e'"),
            ATTRS,
        ),
        (
            format!("from='rosa@home.test/{long}' to='anna@home.test' id='m1' type='chat'"),
            "from='rosa@home.test' to='anna@home.test' id='m1' type='chat'",
        ),
        (
            format!("from='rosa@home.test/p' to='anna@home.test' id='{long}' type='chat'"),
            "from='rosa@home.test' to='anna@home.test' type='chat'",
        ),
    ] {
        let stanza = message(&attrs, vital);
        assert_eq!(sent(&stanza, LIMIT), message(left, vital), "{left}");
    }

    let nobody = message(&format!("to='{long}'"), vital);
    assert_eq!(envelope(&nobody, ACCOUNT, LIMIT), None);
    assert_eq!(envelope(&message(ATTRS, ""), ACCOUNT, 20), None);
}

#[test]
fn what_names_it_in_the_archive_is_left_to_the_last() {
    let vital = format!(
        "<x xmlns='jabber:x:conference' reason='{}'/>",
        "y".repeat(900)
    );
    for (attrs, left) in [
        (ATTRS.to_owned(), ATTRS),
        (
            format!(
                "from='rosa@home.test/{}' to='anna@home.test' id='m1'",
                "y".repeat(200)
            ),
            "from='rosa@home.test' to='anna@home.test' id='m1'",
        ),
        (
            format!(
                "from='rosa@home.test' to='anna@home.test' id='{}'",
                "y".repeat(200)
            ),
            "from='rosa@home.test' to='anna@home.test'",
        ),
    ] {
        let stanza = message(&attrs, &vital);
        assert_eq!(sent(&stanza, 400), message(left, ""));
    }
}

#[test]
fn a_room_names_its_messages_itself() {
    let id = |by| format!("<stanza-id xmlns='urn:xmpp:sid:0' by='{by}' id='s'/>");
    let ids = [id("team@rooms.test"), id("rosa@home.test"), filler(3000)].concat();
    for (kind, left) in [
        ("groupchat", id("team@rooms.test")),
        ("chat", String::new()),
    ] {
        let attrs = format!("from='team@rooms.test/Rosa' to='anna@home.test' type='{kind}'");
        let stanza = message(&attrs, &ids);
        assert_eq!(sent(&stanza, LIMIT), message(&attrs, &left));
    }
}

#[test]
fn its_length_says_only_how_large_it_is_about() {
    let overhead = PADDING.concat().len();
    let limit = 2500;
    for extra in (0..2600).step_by(7) {
        let stanza = message(ATTRS, &format!("<body>{}</body>", "y".repeat(extra)));
        opened(&envelope(&stanza, ACCOUNT, limit).unwrap(), limit);
    }
    let empty = message(ATTRS, "<body>y</body>");
    let paddings = [(); 2].map(|()| envelope(&empty, ACCOUNT, limit).unwrap());
    assert_ne!(paddings[0], paddings[1]);
    let unpadded = paddings[0].find("<rpad>").unwrap() + END.len() - 1;
    for (length, padded) in [
        (512 - overhead, 512),
        (512 - overhead + 1, 1024),
        (511, 1024),
        (512, 512),
        (513, 1024),
        (2048, 2048),
        (2049, limit),
        (limit - overhead, limit),
        (limit - overhead + 1, limit - overhead + 1),
        (limit - 1, limit - 1),
        (limit, limit),
    ] {
        let stanza = message(
            ATTRS,
            &format!("<body>{}</body>", "y".repeat(length - unpadded)),
        );
        assert_eq!(
            envelope(&stanza, ACCOUNT, limit).unwrap().len(),
            padded,
            "{length}"
        );
    }
}

/// What people write, and what programs do: of every script, with what needs escapes, characters of several code
/// points, and what XML cannot say.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<char>().prop_map(String::from),
        select(vec![
            "Tea? ",
            "<",
            ">",
            "&",
            "'",
            "\"",
            "\n",
            "\r",
            "\t",
            "\u{1}",
            "> ",
            ">\n",
            "\n> quoted\n",
            "]]>",
            "&lt;",
            "👩‍👩‍👧‍👦🇩🇪🇫🇷",
            "e\u{301}नमस्ते",
            "\u{301}",
        ])
        .prop_map(str::to_owned),
    ];
    let times = prop_oneof![9 => 1..4usize, 1 => 1..400usize];
    vec((piece, times), 0..6).prop_map(|pieces| {
        pieces
            .iter()
            .map(|(piece, times)| piece.repeat(*times))
            .collect()
    })
}

/// Names, of which the last are none.
const NAMES: [&str; 12] = [
    "a",
    "body",
    "subject",
    "stanza-id",
    "x",
    "é-1",
    "xmlns",
    "",
    "a b",
    "e:f",
    "1",
    "a>",
];
const ATTRIBUTES: [&str; 7] = ["a", "begin", "by", "id", "lang", "é-1", "xmlns"];

fn namespace() -> impl Strategy<Value = String> {
    let known = KNOWN.into_iter().chain([
        "",
        "jabber:client",
        "jabber:x:conference",
        "urn:x",
        "urn:xmpp:fallback:0",
        "urn:xmpp:jingle-message:0",
        "urn:xmpp:sfs:0",
        "urn:xmpp:sid:0",
        "http://www.w3.org/XML/1998/namespace",
        "http://www.w3.org/2000/xmlns/",
    ]);
    let known = known.map(str::to_owned).collect::<Vec<_>>();
    prop_oneof![9 => select(known), 1 => text()]
}

fn attrs() -> impl Strategy<Value = Vec<(String, String, String)>> {
    let ns = prop_oneof![3 => Just(String::new()), 1 => namespace()];
    vec(
        (ns, select(&ATTRIBUTES[..]).prop_map(str::to_owned), text()),
        0..3,
    )
}

fn tree() -> impl Strategy<Value = Element> {
    let head = || {
        (select(&NAMES[..]), namespace(), attrs()).prop_map(|(name, ns, attrs)| {
            let mut element = Element::bare(name, ns);
            set(&mut element, attrs);
            element
        })
    };
    head().prop_recursive(3, 8, 3, move |inner| {
        (head(), text(), vec((inner, text()), 0..3)).prop_map(|(mut element, text, children)| {
            element.append_text_node(text);
            for (child, text) in children {
                element.append_child(child);
                element.append_text_node(text);
            }
            element
        })
    })
}

fn set(element: &mut Element, attrs: Vec<(String, String, String)>) {
    for (ns, name, value) in attrs {
        element.set_attr(Namespace::from(ns), NcName::try_from(name).unwrap(), value);
    }
}

/// What XML can say of an element, as a parser makes it.
fn said(element: &Element) -> Element {
    let mut said = Element::bare(element.name(), element.ns());
    for ((ns, name), value) in element.attrs() {
        let is_declaration = ns.is_none() && name.as_str() == "xmlns";
        if !is_declaration && *ns != Namespace::XMLNS && *xml_text(ns) == **ns {
            said.set_attr(ns.clone(), name.to_owned(), xml_text(value).into_owned());
        }
    }
    for node in element.nodes() {
        match node {
            Node::Text(text) if xml_text(text).is_empty() => {}
            Node::Text(text) => said.append_text(xml_text(text)),
            Node::Element(child) if can_be_said(child) => {
                said.append_node(self::said(child).into());
            }
            Node::Element(_) => {}
        }
    }
    said
}

fn can_be_said(element: &Element) -> bool {
    let ns = element.ns();
    NcNameStr::from_str(element.name()).is_ok()
        && xml_text(&ns) == ns
        && !ns.starts_with("http://www.w3.org/")
}

/// Whether `left` may be what is left of a body.
fn is_left_of(left: &str, body: &str) -> bool {
    let body = xml_text(body);
    let unquoted: String = body
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("> ") && line.trim_end() != ">")
        .collect();
    let whole = match unquoted.trim_matches('\n') {
        "" => &*body,
        rest => rest,
    };
    let mut borders = whole.grapheme_indices(true).map(|(at, _)| at).skip(1);
    left == whole
        || left.strip_suffix('…').is_some_and(|head| {
            whole.starts_with(head) && borders.any(|border| border == head.len())
        })
}

proptest! {
    #[test]
    fn whatever_there_is_fits_and_has_its_id(
        before in vec(tree(), 0..6),
        bodies in vec(text(), 0..3),
        after in vec(tree(), 0..6),
        attributes in attrs(),
        limit in 400..=4096usize,
    ) {
        let mut stanza = Element::bare("message", "jabber:client");
        let core = [("from", FROM), ("to", ACCOUNT), ("id", "m1"), ("type", "chat")];
        let core = core.map(|(name, value)| (String::new(), name.to_owned(), value.to_owned()));
        set(&mut stanza, [attributes, core.to_vec()].concat());
        for child in before {
            stanza.append_child(child);
        }
        for text in &bodies {
            stanza.append_child(Element::builder("body", "jabber:client").append(&**text).build());
        }
        stanza.append_child(message("", "").unshift_child().unwrap());
        for child in after {
            stanza.append_child(child);
        }

        let sent = sent(&stanza, limit);
        prop_assert!(sent.is("message", "jabber:client"));
        prop_assert_eq!(sent.attr("from").map(bare), Some("rosa@home.test"));
        prop_assert_eq!(sent.attr("to"), Some(ACCOUNT));
        prop_assert_eq!(sent.attr("type"), Some("chat"));
        let is_id = |child: &Element| {
            child.is("stanza-id", "urn:xmpp:sid:0") && child.attr("by") == Some(ACCOUNT) && child.attr("id") == Some(ID)
        };
        prop_assert!(sent.children().any(is_id));

        let whole = said(&stanza);
        if sent == whole {
            return Ok(());
        }
        // All that is there was there, in the same order.
        let mut originals = whole.children();
        for child in sent.children() {
            let is_original = |original: &Element| {
                let is_body = child.is("body", "jabber:client") && original.is("body", "jabber:client");
                let is_reference = child.has_ns(REFERENCE) && original.has_ns(REFERENCE);
                child == original || is_reference || is_body && is_left_of(&child.text(), &original.text())
            };
            prop_assert!(originals.any(is_original), "{}", String::from(child));
        }
    }

    #[test]
    fn what_is_whole_is_what_was_sent(child in tree(), attributes in attrs()) {
        let mut stanza = message("", "");
        set(&mut stanza, attributes);
        stanza.append_child(child);
        let whole = said(&stanza);
        let limit = 8192; // Of minidom's parser, for a name or an attribute
        if String::from(&whole).len() < limit / 2 {
            prop_assert_eq!(sent(&stanza, limit), whole);
        }
    }
}
