//! What clients and push services ask for, as XML and as trees.
#![no_main]

use arbitrary::{Result, Unstructured};
use cloud_notify::extension::{EXTENSIONS, Field, Kept, Others};
use cloud_notify::web_push::{Signer, Subscription};
use cloud_notify::wire::options::{self, Submitted};
use cloud_notify::wire::publish::is_xml_text;
use cloud_notify::wire::push2::{self, Enabled, Send, WebPush};
use cloud_notify::wire::{affiliation, base64, ns, request};
use libfuzzer_sys::fuzz_target;
use minidom::Element;
use minidom::rxml::{Namespace, NcName};
use xmpp_parsers::data_forms::DataForm;
use xmpp_parsers::jid::Jid;
use xmpp_parsers::stanza_error::ErrorType;

const OWN: &str = "anna@home.test/phone";
const ACCOUNT: &str = "anna@home.test";
/// The binding reads no deeper ones.
const MAX_DEPTH: usize = 16;
/// About what Prosody lets through, in bytes.
const MAX_STANZA: usize = 64 * 1024;

const NAMES: &[&str] = &[
    "affiliation",
    "auth-secret",
    "client",
    "disable",
    "enable",
    "encrypt",
    "field",
    "filter",
    "grace",
    "groupchat",
    "item",
    "jwt-alg",
    "jwt-claim",
    "jwt-key",
    "match",
    "mention",
    "muted",
    "priority",
    "pubsub",
    "reply",
    "send",
    "service",
    "ua-public",
    "value",
    "x",
];
const NAMESPACES: &[&str] = &[
    ns::DATA_FORMS,
    ns::FILTER_GROUPCHAT,
    ns::FILTER_MUTED,
    ns::PUBSUB,
    ns::PUSH,
    ns::PUSH2,
    "tigase:push:encrypt:0",
    "tigase:push:priority:0",
    "urn:x",
    "urn:xmpp:push2:send:notify-only:0",
    "urn:xmpp:push2:send:sce+rfc8291+rfc8292:0",
];
const ATTRIBUTES: &[&str] = &[
    "affiliation",
    "alg",
    "jid",
    "max-size",
    "name",
    "node",
    "profile",
    "type",
    "var",
];
const VALUES: &[&str] = &[
    "-_-_-_-_-_-_-_-_-_-_-w",
    "120",
    "3000",
    "AAECAwQFBgcICQoLDA0ODw==",
    "aes-128-gcm",
    "anna@home.test",
    "ANNA@Home.Test/phone",
    "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
    "BTBZMqHH6r4Tts7J_aSIgg",
    "ES256",
    "FORM_TYPE",
    "hidden",
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgw/G4LPpf8JPsY6uU3E2sQpjRNvzCOdnwG9PHhQ8GiMGhRANCAASzr87EvAs0+EEcyUTAZ+7/4c/WUn1WMN09G+2AWYOB/i9j44XJbQRgb/cKshTNIQ8bnc7lNcO75leGZCWC/ot7",
    "none",
    "Push.Test",
    "result",
    "submit",
    "urn:xmpp:push2:match:all",
    "urn:xmpp:push2:match:archived",
];

fuzz_target!(|data: &[u8]| {
    if let Some(element) = str::from_utf8(data).ok().and_then(|text| text.parse().ok()) {
        check(&element);
    }
    if let Ok(element) = tree(&mut Unstructured::new(data), MAX_DEPTH) {
        check(&element);
    }
});

fn check(element: &Element) {
    let enabled = request::enable(element, OWN);
    let kept = EXTENSIONS.enable(element, Others::default());
    let disabled = request::disable(element);
    let enabled2 = push2::enable(element, OWN);
    let revoked = affiliation::revoked_node(element, ACCOUNT);

    // What is written says the same. (Some of it is too long to be read.)
    if let Ok(again) = String::from(element).parse() {
        assert_eq!(enabled, request::enable(&again, OWN));
        assert_eq!(kept, EXTENSIONS.enable(&again, Others::default()));
        assert_eq!(disabled, request::disable(&again));
        assert_eq!(enabled2, push2::enable(&again, OWN));
        assert_eq!(revoked, affiliation::revoked_node(&again, ACCOUNT));
    }

    match &enabled {
        Ok(address) => {
            check_address(address, element);
            assert!(![OWN, ACCOUNT].contains(&address.jid.as_str()));
            assert_eq!(Ok(address), disabled.as_ref());
            check_children(element);
        }
        Err(error) => assert_eq!(error.stanza_error().0, ErrorType::Modify),
    }
    match &enabled2 {
        Ok(enabled) => check_enabled2(enabled),
        Err(error) => assert_eq!(error.stanza_error().0, ErrorType::Modify),
    }
    match &kept {
        Ok(fields) => check_kept(fields),
        Err(error) => assert_eq!(error.stanza_error().0, ErrorType::Modify),
    }
    if let Ok(address) = &disabled {
        check_address(address, element);
    }

    if let Some(node) = revoked {
        assert!(element.is("pubsub", ns::PUBSUB));
        assert_eq!(element.attr("node"), Some(&*node));
    }
}

/// What is kept is within bounds, and keys can be used.
fn check_enabled2(enabled: &Enabled) {
    let Enabled {
        service,
        client,
        matches,
    } = enabled;
    assert_eq!(Jid::new(service.as_str()).as_ref(), Ok(service));
    assert!(![OWN, ACCOUNT].contains(&service.as_str()));
    assert!((1..=request::MAX_CLIENT).contains(&client.len()));
    assert!((1..=request::MAX_MATCHES).contains(&matches.len()));
    let filters = matches.iter().flat_map(|one| &one.filters);
    assert!(filters.clone().count() <= request::MAX_FILTERS);
    for (chat, _) in filters {
        assert_eq!(Jid::new(chat).expect("a valid JID").as_str(), chat);
    }
    for one in matches {
        assert!(one.grace.unwrap_or_default() <= request::MAX_GRACE);
        if let Send::WebPush(keys) = &one.send {
            check_keys(keys);
        }
    }
}

fn check_keys(keys: &WebPush) {
    let decoded = |text: &str| {
        let bytes = base64::decode(text).expect("base64");
        assert_eq!(base64::encode(&bytes), text);
        bytes
    };
    let (public, secret) = (decoded(&keys.ua_public), decoded(&keys.auth_secret));
    assert!(Subscription::new(&public, &secret).is_ok());
    let Some(jwt) = &keys.jwt else {
        return;
    };
    assert!(Signer::new(&decoded(&jwt.key)).is_ok());
    assert!(jwt.claims.len() <= request::MAX_CLAIMS);
    for (name, value) in &jwt.claims {
        assert!((1..=request::MAX_CLAIM_NAME).contains(&name.len()));
        assert!(value.len() <= request::MAX_CLAIM);
    }
}

fn check_address(address: &request::Address, element: &Element) {
    let jid = Jid::new(address.jid.as_str()).expect("a valid JID");
    assert_eq!(jid, address.jid, "normalised once and for all");
    assert_eq!(element.attr("node"), address.node.as_deref());
    assert!(address.node.as_deref().unwrap_or_default().len() <= request::MAX_NODE);
}

/// What is stored can be read again, whatever stood there.
fn check_kept(fields: &[(Field, Kept)]) {
    for (field, kept) in fields {
        match (field, kept) {
            (Field::Encryption, Kept::Table(fields)) => check_kept(fields),
            (Field::Algorithm, Kept::Text(algorithm)) => assert_eq!(algorithm, "aes-128-gcm"),
            (Field::Secret, Kept::Text(key)) => assert!(key.len() == 24 && key.ends_with("==")),
            (Field::MaxSize, Kept::Number(size)) => assert!(*size >= request::MIN_ENCRYPTED),
            _ => {}
        }
    }
}

fn check_children(element: &Element) {
    assert!(element.children().count() <= request::MAX_ELEMENTS);
    for ((_, name), value) in element.attrs() {
        let is_address = matches!(name.as_str(), "jid" | "node");
        assert!(is_address || value.len() <= request::MAX_ATTRIBUTE);
    }
    for child in element.children() {
        let (length, elements) = size(child);
        if child.is("x", ns::DATA_FORMS) {
            assert!(length <= request::MAX_FORM && elements <= request::MAX_FORM_ELEMENTS);
            check_submitted(child);
        } else if request::is_chats(child.name(), &child.ns()) {
            assert!(length <= request::MAX_CHATS_BYTES && elements <= request::MAX_CHATS);
        } else {
            assert!(length <= request::MAX_EXTENSION);
        }
    }
}

/// Bytes of text and of attributes, and elements inside.
fn size(element: &Element) -> (usize, usize) {
    let attributes: usize = element.attrs().iter().map(|(_, value)| value.len()).sum();
    element.children().map(size).fold(
        (element.text().len() + attributes, 0),
        |(bytes, elements), (more_bytes, more)| (bytes + more_bytes, elements + 1 + more),
    )
}

fn check_submitted(form: &Element) {
    let mut submitted = Element::bare("x", ns::DATA_FORMS);
    match options::submitted(form.clone()).expect("it is a form") {
        Submitted::AsItIs => submitted = form.clone(),
        Submitted::Fields(fields) => {
            for field in fields {
                let mut element = Element::bare("field", ns::DATA_FORMS);
                element.set_attr(
                    Namespace::NONE,
                    NcName::try_from("var").expect("a name"),
                    field.var,
                );
                for value in field.values {
                    let mut child = Element::bare("value", ns::DATA_FORMS);
                    child.append_text_node(value);
                    element.append_child(child);
                }
                submitted.append_child(element);
            }
        }
    }
    submitted.set_attr(
        Namespace::NONE,
        NcName::try_from("type").expect("a name"),
        "submit",
    );
    DataForm::try_from(submitted).expect("services can read it");
}

fn tree(input: &mut Unstructured<'_>, depth: usize) -> Result<Element> {
    let name = name(input, NAMES)?;
    let mut element = Element::bare(name.as_str(), *input.choose(NAMESPACES)?);
    for _ in 0..input.int_in_range(0..=4)? {
        let name = self::name(input, ATTRIBUTES)?;
        element.set_attr(Namespace::NONE, name, text(input)?);
    }
    while depth > 1 && !input.is_empty() && input.ratio(2, 3)? {
        if input.ratio(1, 4)? {
            element.append_text_node(text(input)?);
        } else {
            let child = tree(input, depth - 1)?;
            let times = match depth {
                MAX_DEPTH => times(input, String::from(&child).len())?,
                _ => 1,
            };
            for _ in 0..times {
                element.append_child(child.clone());
            }
        }
    }
    Ok(element)
}

/// Mostly once; sometimes so often that limits come into sight, but not those of a stanza.
fn times(input: &mut Unstructured<'_>, length: usize) -> Result<usize> {
    if !input.is_empty() && input.ratio(1, 8)? {
        input.int_in_range(1..=(MAX_STANZA / length.max(1)).clamp(1, 3000))
    } else {
        Ok(1)
    }
}

fn name(input: &mut Unstructured<'_>, known: &[&str]) -> Result<NcName> {
    let any = if input.ratio(1, 8)? {
        NcName::try_from(input.arbitrary::<&str>()?).ok()
    } else {
        None
    };
    match any {
        Some(name) if name != "xmlns" => Ok(name),
        _ => Ok(NcName::try_from(*input.choose(known)?).expect("a name")),
    }
}

fn text(input: &mut Unstructured<'_>) -> Result<String> {
    let text = if input.ratio(1, 2)? {
        *input.choose(VALUES)?
    } else {
        input.arbitrary()?
    };
    // The binding refuses any other.
    let text = if is_xml_text(text) { text } else { "" };
    Ok(text.repeat(times(input, text.len())?))
}
