//! Clients decode what is sent as this does: strictly.

use std::collections::HashSet;

use ::base64::Engine;
use ::base64::engine::general_purpose;
use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::{Aes128Gcm, Nonce};
use minidom::rxml::{Namespace, NcName};
use proptest::prelude::*;
use serde::Deserialize;
use unicode_segmentation::UnicodeSegmentation;
use xmpp_parsers::stanza_error::DefinedCondition;

use super::*;
use crate::extension::{EXTENSIONS, Others};
use crate::notification::{Disclosure, Notification, Protocol, Push, Target};
use crate::stanza::Importance;
use crate::wire::publish::Writer;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODw==";

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    Chat,
    Groupchat,
    Call,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Media {
    Audio,
    Video,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    unread: i64,
    sender: String,
    r#type: Type,
    message: Option<String>,
    nickname: Option<String>,
    sid: Option<String>,
    media: Option<Vec<Media>>,
}

fn chat(sender: &str, message: Option<&str>) -> Told {
    Told {
        unread: 1,
        sender: sender.to_owned(),
        r#type: Type::Chat,
        message: message.map(str::to_owned),
        nickname: None,
        sid: None,
        media: None,
    }
}

/// A record, as the store has it.
#[derive(Clone)]
struct Stored(Vec<(Field, Kept)>);

impl Stored {
    fn get(&self, field: Field) -> Option<&Kept> {
        let found = self.0.iter().find(|(name, _)| *name == field);
        found.map(|(_, kept)| kept)
    }
}

impl Asked for Stored {
    fn is_set(&self, field: Field) -> bool {
        self.get(field).is_some()
    }
}

impl Record for Stored {
    fn text(&self, field: Field) -> Option<&str> {
        match self.get(field)? {
            Kept::Text(text) => Some(text),
            _ => None,
        }
    }

    fn number(&self, field: Field) -> Option<i64> {
        match self.get(field)? {
            Kept::Number(number) => Some((*number).into()),
            _ => None,
        }
    }

    fn inside(&self, field: Field, look: &mut dyn FnMut(&dyn Record)) {
        if let Some(Kept::Table(fields)) = self.get(field) {
            look(&Self(fields.clone()));
        }
    }
}

/// What the record keeps of `<encrypt/>` with these attributes and this text.
fn enabled(attributes: &str, text: &str) -> Result<Stored, RequestError> {
    let xml = format!(
        "<enable xmlns='urn:xmpp:push:0' jid='push.test'><priority xmlns='tigase:push:priority:0'/>\
         <encrypt xmlns='{NS}' {attributes}>{text}</encrypt></enable>"
    );
    let enable: Element = xml.parse().unwrap();
    EXTENSIONS.enable(&enable, Others::default()).map(Stored)
}

fn with_max_size(max_size: u32) -> Stored {
    enabled(&format!("alg='{ALGORITHM}' max-size='{max_size}'"), KEY).unwrap()
}

/// All that is written, without the syntax.
#[derive(Default)]
struct Text(String);

impl Writer for Text {
    type Element = ();

    fn open<V: AsRef<str>>(&mut self, name: &str, ns: Option<&str>, attrs: &[(&str, V)]) {
        let values = attrs.iter().map(|(_, value)| value.as_ref());
        for text in [name, ns.unwrap_or_default()].into_iter().chain(values) {
            self.text(text);
        }
    }

    fn open_like(&mut self, (): ()) {}

    fn text(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\n');
    }

    fn child(&mut self, (): ()) {}

    fn close(&mut self) {}
}

struct Sent {
    /// Its parts by name.
    encrypted: Option<Part>,
    priority: String,
    has_form: bool,
    all: String,
}

/// The notification for a stanza, or for one that is not known any more, where the options tell all that they can.
fn sent(record: &Stored, importance: Importance, stanza: Option<&Element>) -> Sent {
    let disclosure = Disclosure {
        body: true,
        sender: true,
        important_body: Some("New Message!".to_owned()),
        ..Disclosure::default()
    };
    let target = Target {
        identifier: "push.test<n",
        protocol: Protocol::Push0,
        jid: "push.test",
        node: "n",
        whole: false,
        record,
    };
    let push = Push::new(
        "push-00000000000000010000000000000002".parse().unwrap(),
        importance,
        1,
    );
    let stanza = stanza.map(|stanza| (stanza, "anna@home.test"));
    let notification = Notification::compose(push, target, stanza, &disclosure);
    let payload = notification.payload(&disclosure);
    let part = |name| payload.parts.iter().find(|part| part.name == name);
    let mut all = Text::default();
    payload.write_item(&mut all);
    Sent {
        encrypted: part("encrypted").cloned(),
        priority: part("priority").unwrap().text.clone(),
        has_form: payload.summary.is_some(),
        all: all.0,
    }
}

fn decrypted(part: &Part) -> Told {
    serde_json::from_str(str::from_utf8(&opened(part)).unwrap()).unwrap()
}

fn opened(part: &Part) -> Vec<u8> {
    let iv = &part.attrs.iter().find(|(name, _)| *name == "iv").unwrap().1;
    // Padded, as clients read it
    let iv: Iv = general_purpose::STANDARD
        .decode(iv)
        .unwrap()
        .try_into()
        .unwrap();
    let sealed = general_purpose::STANDARD.decode(&part.text).unwrap();
    let cipher = Aes128Gcm::new((&*Key::read(KEY).unwrap().0).into());
    cipher.decrypt(&Nonce::from(iv), &*sealed).unwrap()
}

fn is_voip(part: &Part) -> bool {
    part.attrs.contains(&("type", "voip".to_owned()))
}

fn message(attributes: &str, children: &str) -> Element {
    format!("<message xmlns='jabber:client' {attributes}>{children}</message>")
        .parse()
        .unwrap()
}

/// What the device gets of an important or urgent message.
fn told(importance: Importance, attributes: &str, children: &str) -> (Told, bool) {
    let stanza = message(attributes, children);
    let sent = sent(&with_max_size(3000), importance, Some(&stanza));
    assert!(!sent.has_form && sent.priority == "high");
    let part = sent.encrypted.unwrap();
    (decrypted(&part), is_voip(&part))
}

#[test]
fn the_cipher_text_is_what_others_make() {
    let json = r#"{"unread":1,"sender":"rosa@example.net","type":"chat","message":"Tee um 4?"}"#;
    let content = crate::stanza::Content {
        body: Some("Tee um 4?".to_owned()),
        ..crate::stanza::Content::new(crate::stanza::Sort::Chat, "rosa@example.net/phone")
    };
    let plain = Json::new(&content, Importance::Important, 1, 3000).write(3000);
    assert_eq!(plain.as_deref(), Some(json.as_bytes()));
    let iv = *b"defghijklmno";
    assert_eq!(base64::encode(iv), "ZGVmZ2hpamtsbW5v");
    let sealed = Key::read(KEY).unwrap().seal(iv, json.as_bytes());
    assert_eq!(
        sealed.as_deref(),
        Some(
            "YUA7y6ln2Z65BGY8pLlOglTtCt2oi681hw7x8sSTmoPWmXxK7mwFvagsXjbooH4luPV8B78qY0Wm/XI8q/tHWkbO\
             d2iMwv+qE5gcr+0U4O0XRAZb17PcVYnEtkc="
        )
    );
}

#[test]
fn no_iv_comes_twice() {
    let stanza = message("from='rosa@home.test/pc'", "<body>Tee um 4?</body>");
    let record = with_max_size(3000);
    let ivs = (0..1000).map(|_| {
        let part = sent(&record, Importance::Important, Some(&stanza)).encrypted;
        part.unwrap().attrs[0].1.clone()
    });
    assert_eq!(ivs.collect::<HashSet<_>>().len(), 1000);
}

#[test]
fn keys_are_read_in_all_forms_and_stored_in_one() {
    let url = "-_-_-_-_-_-_-_-_-_-_-w==";
    let standard = "+/+/+/+/+/+/+/+/+/+/+w==";
    for (text, stored) in [
        (KEY, KEY),
        ("AAECAwQFBgcICQoLDA0ODw", KEY),
        ("AAECAwQFBgcICQoLDA0ODw=", KEY),
        ("\n  AAECAwQFBgcICQoLDA0ODw==\t", KEY),
        ("AAECAwQFBgcI\nCQoLDA0ODw==", KEY),
        (url, standard),
        (&url[..22], standard),
        (standard, standard),
    ] {
        let record = enabled("alg='aes-128-gcm'", text).unwrap();
        record.inside(Field::Encryption, &mut |encryption| {
            assert_eq!(encryption.text(Field::Secret), Some(stored));
            assert_eq!(encryption.text(Field::Algorithm), Some("aes-128-gcm"));
            assert_eq!(encryption.number(Field::MaxSize), Some(3000));
        });
    }
}

#[test]
fn what_is_no_key_is_refused_and_not_repeated() {
    let long = "A".repeat(30_000);
    for text in [
        "",
        " ",
        "AAECAwQFBgcICQoLDA0O",
        "AAECAwQFBgcICQoLDA0ODxA=",
        "AAECAwQFBgcICQoLDA0ODw===",
        "AAECAwQFBgcICQoLDA0OD",
        "AAECAwQFBgcICQ*LDA0ODw==",
        "000102030405060708090a0b0c0d0e0f",
        "ÄÄÄÄÄÄÄÄÄÄÄ",
        &long,
    ] {
        let error = enabled("", text).err().unwrap();
        assert_eq!(error, RequestError::MalformedKey, "{text}");
        assert_eq!(error.stanza_error().1, DefinedCondition::BadRequest);
        assert!(text.len() < 4 || !error.to_string().contains(text));
    }
}

#[test]
fn the_algorithm_is_the_one_there_is() {
    assert!(enabled("", KEY).is_ok());
    for alg in ["", "aes-256-gcm", "AES-128-GCM", "aes-128-gcm "] {
        let error = enabled(&format!("alg='{alg}'"), KEY).err().unwrap();
        assert_eq!(error, RequestError::UnknownAlgorithm, "{alg}");
        let condition = error.stanza_error().1;
        assert_eq!(condition, DefinedCondition::FeatureNotImplemented);
    }
}

#[test]
fn sizes_are_whole_numbers_within_bounds() {
    let size = |size: &str| {
        let record = enabled(&format!("max-size='{size}'"), KEY)?;
        let mut found = None;
        record.inside(Field::Encryption, &mut |encryption| {
            found = encryption.number(Field::MaxSize);
        });
        Ok(found.unwrap())
    };
    for (asked, got) in [
        ("200", 200),
        (" 3500\n", 3500),
        ("003500", 3500),
        ("16384", 16384),
        ("16385", 16384),
        ("99999999999999999999999", 16384),
    ] {
        assert_eq!(size(asked), Ok(got), "{asked}");
    }
    for asked in [
        "",
        "0",
        "199",
        "-1",
        "+300",
        "3e3",
        "3000.0",
        "0x1000",
        "٣٠٠٠",
        "3000 bytes",
    ] {
        assert_eq!(size(asked), Err(RequestError::MalformedMaxSize), "{asked}");
    }
}

#[test]
fn the_record_of_the_communitys_module_is_understood() {
    let stored = |secret: &str| {
        Stored(vec![
            (Field::Priority, Kept::Set),
            (
                Field::Encryption,
                Kept::Table(vec![
                    (Field::Algorithm, Kept::Text(ALGORITHM.to_owned())),
                    (Field::Secret, Kept::Text(secret.to_owned())),
                ]),
            ),
        ])
    };
    let body = "a".repeat(5000);
    let stanza = message("from='rosa@home.test/pc'", &format!("<body>{body}</body>"));
    for secret in [KEY, "\nAAECAwQFBgcICQoLDA0ODw\n"] {
        let part = sent(&stored(secret), Importance::Important, Some(&stanza)).encrypted;
        let part = part.unwrap();
        assert_eq!(part.text.len(), 3000);
        assert_eq!(decrypted(&part).sender, "rosa@home.test");
    }
}

#[test]
fn a_damaged_record_tells_nothing() {
    let table = |fields| Kept::Table(fields);
    let text = |text: &str| Kept::Text(text.to_owned());
    let stanza = message("from='rosa@home.test/pc'", "<body>Tee um 4?</body>");
    for encryption in [
        Kept::Set,
        text("aes-128-gcm"),
        table(vec![]),
        table(vec![(Field::Algorithm, text(ALGORITHM))]),
        table(vec![(Field::Secret, text(KEY))]),
        table(vec![
            (Field::Algorithm, text(ALGORITHM)),
            (Field::Secret, text("AAEC")),
        ]),
        table(vec![
            (Field::Algorithm, text("aes-256-gcm")),
            (Field::Secret, text(KEY)),
        ]),
        table(vec![
            (Field::Algorithm, text(ALGORITHM)),
            (Field::Secret, Kept::Number(1)),
        ]),
    ] {
        let record = Stored(vec![
            (Field::Priority, Kept::Set),
            (Field::Encryption, encryption),
        ]);
        let sent = sent(&record, Importance::Important, Some(&stanza));
        assert!(sent.encrypted.is_none() && sent.has_form);
        assert_eq!(sent.priority, "high");
        assert!(sent.all.contains("New Message!"));
        assert!(!sent.all.contains("rosa") && !sent.all.contains("Tee"));
    }
}

#[test]
fn stored_sizes_are_brought_within_bounds() {
    let body = "a".repeat(20_000);
    let stanza = message("from='rosa@home.test/pc'", &format!("<body>{body}</body>"));
    for (stored, size) in [(0, 200), (u32::MAX, 16384)] {
        let mut record = with_max_size(200);
        let Kept::Table(encryption) = &mut record.0[0].1 else {
            panic!("no table")
        };
        encryption.retain(|(field, _)| *field != Field::MaxSize);
        encryption.push((Field::MaxSize, Kept::Number(stored)));
        let part = sent(&record, Importance::Important, Some(&stanza)).encrypted;
        assert_eq!(part.unwrap().text.len(), size);
    }
}

#[test]
fn what_shows_nothing_or_is_not_known_is_not_encrypted() {
    let record = with_max_size(3000);
    let stanza = message(
        "from='rosa@home.test/pc'",
        "<composing xmlns='http://jabber.org/protocol/chatstates'/><subject>Tee</subject>",
    );
    let unimportant = sent(&record, Importance::Unimportant, Some(&stanza));
    assert!(unimportant.encrypted.is_none() && unimportant.has_form);
    assert_eq!(unimportant.priority, "low");
    assert!(unimportant.all.contains("message-count"));
    assert!(!unimportant.all.contains("last-message"));
    assert!(!unimportant.all.contains("rosa") && !unimportant.all.contains("Tee"));

    let forgotten = sent(&record, Importance::Important, None);
    assert!(forgotten.encrypted.is_none() && forgotten.has_form);
    assert_eq!(forgotten.priority, "high");
    assert!(forgotten.all.contains("New Message!"));
}

#[test]
fn messages() {
    let important = Importance::Important;
    let from = "from='rosa@home.test/pc' type='chat'";
    let body = "<body>\"Tee\"\n\\ um 4? äöü</body>";
    let (text, voip) = told(important, from, body);
    assert_eq!(text, chat("rosa@home.test", Some("\"Tee\"\n\\ um 4? äöü")));
    assert!(!voip);

    let fallback = "<body>I sent you an OMEMO message</body>\
        <encrypted xmlns='eu.siacs.conversations.axolotl'><payload/></encrypted>";
    let encrypted = "You have received an encrypted message";
    assert_eq!(
        told(important, from, fallback).0,
        chat("rosa@home.test", Some(encrypted))
    );

    let file = "<x xmlns='jabber:x:oob'><url>https://home.test/f</url></x>";
    assert_eq!(told(important, from, file).0, chat("rosa@home.test", None));

    let (own, _) = told(important, "", body);
    assert_eq!(own.sender, "anna@home.test");
}

#[test]
fn messages_in_rooms() {
    let important = Importance::Important;
    let from = "from='team@rooms.test/Rosa of the Team' type='groupchat'";
    let expected = Told {
        r#type: Type::Groupchat,
        nickname: Some("Rosa of the Team".to_owned()),
        ..chat("team@rooms.test", Some("Tee"))
    };
    assert_eq!(told(important, from, "<body>Tee</body>").0, expected);

    let by_room = "from='team@rooms.test' type='groupchat'";
    let expected = Told {
        nickname: None,
        ..expected
    };
    assert_eq!(told(important, by_room, "<body>Tee</body>").0, expected);

    let invitation =
        "<x xmlns='http://jabber.org/protocol/muc#user'><invite from='rosa@home.test'/></x>";
    assert_eq!(
        told(important, "from='team@rooms.test'", invitation).0,
        chat("team@rooms.test", Some("You are invited to this room"))
    );
}

#[test]
fn subscription_requests() {
    let request: Element =
        "<presence xmlns='jabber:client' type='subscribe' from='rosa@home.test'/>"
            .parse()
            .unwrap();
    let sent = sent(&with_max_size(3000), Importance::Important, Some(&request));
    assert_eq!(
        decrypted(&sent.encrypted.unwrap()),
        chat("rosa@home.test", Some("Asks to see when you are online"))
    );
}

#[test]
fn calls() {
    let from = "from='rosa@home.test/phone' id='m1'";
    let propose = |media: &[&str]| {
        let description =
            |media| format!("<description xmlns='urn:xmpp:jingle:apps:rtp:1' media='{media}'/>");
        let media: String = media.iter().map(description).collect();
        format!(
            "<propose xmlns='urn:xmpp:jingle-message:0' id='c1'>{media}</propose><body>A call</body>"
        )
    };
    let call = |sid: &str, media| Told {
        r#type: Type::Call,
        sid: Some(sid.to_owned()),
        media,
        ..chat("rosa@home.test/phone", None)
    };
    let audio = || Some(vec![Media::Audio]);
    for (children, expected) in [
        (propose(&["audio"]), call("c1", audio())),
        (
            propose(&["video", "audio", "other"]),
            call("c1", Some(vec![Media::Audio, Media::Video])),
        ),
        (propose(&[]), call("c1", audio())),
        (
            "<invite xmlns='urn:xmpp:call-invites:0'/>".to_owned(),
            call("m1", audio()),
        ),
        (
            "<retract xmlns='urn:xmpp:jingle-message:0' id='c1'/>".to_owned(),
            call("c1", None),
        ),
    ] {
        assert_eq!(
            told(Importance::Urgent, from, &children),
            (expected, true),
            "{children}"
        );
    }

    // It does not ring any more.
    let missed = told(Importance::Important, from, &propose(&["audio"]));
    assert_eq!(missed, (chat("rosa@home.test", Some("Missed call")), false));

    // There is no room for its id.
    let id = "i".repeat(3000);
    let propose = format!("<propose xmlns='urn:xmpp:jingle-message:0' id='{id}'/>");
    let (text, voip) = told(Importance::Urgent, from, &propose);
    assert_eq!(text, chat("rosa@home.test", Some("Incoming call")));
    assert!(!voip);
}

/// What people write: of every script, with what needs escapes, and characters of several code points.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<char>().prop_map(String::from),
        "[ -~]{1,40}",
        "[\"\\\\\n\t]{1,20}",
        Just("e\u{301}\u{328}".to_owned()),
        Just("👩‍👩‍👧‍👦🇩🇪🇫🇷".to_owned()),
        Just("नमस्ते".to_owned()),
        "\u{301}{1,80}",
    ];
    proptest::collection::vec(piece, 0..120).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn whatever_is_said_fits_and_only_the_device_can_read_it(
        body in text(),
        local in "[a-z0-9äöü]{12,700}",
        nick in "[A-Za-zäöü\"\\\\]{12,400}",
        sort in 0..3usize,
        max_size in 200..=4096u32,
    ) {
        let kind = if sort == 1 { "groupchat" } else { "chat" };
        let from = format!("{local}@rooms.test/{nick}");
        let mut stanza = message(&format!("type='{kind}'"), "<body/>");
        stanza.set_attr(Namespace::NONE, NcName::try_from("from").unwrap(), from.as_str());
        stanza.get_child_mut("body", "jabber:client").unwrap().append_text_node(body.as_str());
        let importance = if sort == 2 {
            let propose = "<propose xmlns='urn:xmpp:jingle-message:0' id='d2c1e7b0-63c5-4b1f-9c53-6a3c5e0f8a11'/>";
            stanza.append_child(propose.parse().unwrap());
            Importance::Urgent
        } else {
            Importance::Important
        };

        let sent = sent(&with_max_size(max_size), importance, Some(&stanza));
        let part = sent.encrypted.unwrap();
        prop_assert!(!sent.has_form);
        prop_assert!(part.text.len() <= usize::try_from(max_size).unwrap());
        for secret in [&body, &local, &nick] {
            let pieces = secret.as_bytes().chunks(12).filter(|piece| piece.len() == 12);
            let mut pieces = pieces.filter_map(|piece| str::from_utf8(piece).ok());
            prop_assert!(pieces.all(|piece| !sent.all.contains(piece)));
        }

        let told = decrypted(&part);
        let bare = format!("{local}@rooms.test");
        let sender = if sort == 2 { &from } else { &bare };
        let whole = Told {
            r#type: [Type::Chat, Type::Groupchat, Type::Call].into_iter().nth(sort).unwrap(),
            message: Some(body.clone()).filter(|body| sort != 2 && !body.is_empty()),
            nickname: Some(nick.clone()).filter(|_| sort == 1),
            sid: told.sid.clone(),
            media: Some(vec![Media::Audio]).filter(|_| sort == 2),
            ..chat(sender, None)
        };
        prop_assert_eq!(&told.r#type, &whole.r#type);
        prop_assert_eq!(&told.media, &whole.media);
        prop_assert_eq!(told.sid.is_some(), sort == 2);

        // What is shortened comes first, and no more of it is taken than has to be.
        let no_message = told.message.is_none();
        prop_assert!(told.nickname == whole.nickname || no_message);
        prop_assert!(told.sender == whole.sender || no_message && told.nickname.is_none());
        for (text, whole) in [(&told.message, &whole.message), (&told.nickname, &whole.nickname)] {
            if let (Some(text), Some(whole)) = (text, whole) {
                let rest = whole.strip_prefix(&**text);
                let mut borders = whole.grapheme_indices(true).map(|(at, _)| at);
                prop_assert!(rest.is_some());
                prop_assert!(rest == Some("") || borders.any(|at| at == text.len()));
            }
        }
        if let Some(end) = told.sender.strip_prefix('…') {
            prop_assert!(bare.ends_with(end) && end.ends_with("rooms.test"));
        } else {
            prop_assert!([&from, &bare].contains(&&told.sender));
        }
        if let Some(text) = told.message.as_ref().filter(|text| **text != body) {
            let next = body[text.len()..].graphemes(true).next().unwrap();
            let next = serde_json::to_string(next).unwrap().len() - 2;
            let json = opened(&part).len() + next;
            prop_assert!(4 * (json + TAG).div_ceil(3) > usize::try_from(max_size).unwrap());
        }
    }
}
