//! `<enable/>` and `<disable/>` (XEP-0357 sections 5 and 6).
//!
//! Read attribute by attribute and child by child: clients send extensions that no
//! strict type knows.

use arrayvec::ArrayString;
use minidom::rxml::NcName;
use minidom::{Element, Node};
use thiserror::Error;
use xmpp_parsers::jid::Jid;
use xmpp_parsers::stanza_error::{DefinedCondition, ErrorType};

use super::ns;

/// The longest node, in bytes.
pub const MAX_NODE: usize = 2048;
/// The largest publish-options form, in bytes of XML. It is stored, and written again with each
/// change of the user's registrations; an element takes many times as much room there.
pub const MAX_FORM: usize = 16 * 1024;
/// The largest number of elements in it: fields, values and all.
pub const MAX_FORM_ELEMENTS: usize = 128;
/// The largest number of attributes in it.
pub const MAX_FORM_ATTRIBUTES: usize = 256;
/// The largest extension element, in bytes of XML.
pub const MAX_EXTENSION: usize = 32 * 1024;
/// The most chats in a list of them.
pub const MAX_CHATS: usize = 10_000;
/// The largest list of chats, in bytes of XML.
pub const MAX_CHATS_BYTES: usize = 1024 * 1024;
/// The longest nickname in a room, in bytes (RFC 7622 section 3.4).
pub const MAX_NICK: usize = 1023;
/// The longest attribute besides `jid` and `node`, in bytes.
pub const MAX_ATTRIBUTE: usize = 256;
/// The smallest `max-size` of `<encrypt/>`: there is always room for a sender then.
pub const MIN_ENCRYPTED: u32 = 200;
/// The largest number of elements in an `<enable/>`.
pub const MAX_ELEMENTS: usize = 32;
/// The longest `<client/>`, in bytes.
pub const MAX_CLIENT: usize = 2048;
/// The most `<match/>`es in an `<enable/>` of Push 2.0.
pub const MAX_MATCHES: usize = 8;
/// The longest `<grace/>`, in seconds: a day.
pub const MAX_GRACE: u32 = 24 * 60 * 60;
/// The most `<filter/>`s in all `<match/>`es.
pub const MAX_FILTERS: usize = 5000;
/// The largest that they may be together, in bytes of XML.
pub const MAX_FILTERS_BYTES: usize = 512 * 1024;
/// The most claims of a VAPID token (RFC 8292 section 2).
pub const MAX_CLAIMS: usize = 16;
/// The longest name of one, in bytes.
pub const MAX_CLAIM_NAME: usize = 256;
/// The longest value of one, in bytes.
pub const MAX_CLAIM: usize = 1024;
/// The largest that their names and values may be together, in bytes: tokens are kept for an hour.
pub const MAX_CLAIMS_BYTES: usize = 4096;

/// What a client calls something that is not known, as far as there is room for it.
pub type Unknown = ArrayString<64>;

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RequestError {
    /// No `jid`.
    #[error("The 'jid' of the push service is missing")]
    MissingJid,
    /// Not a JID (RFC 7622).
    #[error("The 'jid' of the push service is not a valid JID")]
    MalformedJid,
    /// The client itself.
    #[error("The 'jid' of the push service must not be your own")]
    OwnJid,
    /// Over [`MAX_NODE`].
    #[error("The 'node' is longer than {MAX_NODE} bytes")]
    NodeTooLong,
    /// Over [`MAX_FORM`], [`MAX_FORM_ELEMENTS`] or [`MAX_FORM_ATTRIBUTES`].
    #[error(
        "The publish-options form is larger than {MAX_FORM} bytes, {MAX_FORM_ELEMENTS} elements \
         or {MAX_FORM_ATTRIBUTES} attributes"
    )]
    FormTooLarge,
    /// Over [`MAX_EXTENSION`], [`MAX_ELEMENTS`] or [`MAX_ATTRIBUTE`].
    #[error(
        "An extension is larger than {MAX_EXTENSION} bytes, or there are more than {MAX_ELEMENTS}"
    )]
    ExtensionTooLarge,
    /// Over [`MAX_CHATS`] or [`MAX_CHATS_BYTES`].
    #[error(
        "A list of chats has more than {MAX_CHATS} entries or {MAX_CHATS_BYTES} bytes, or has \
         elements too deep in others"
    )]
    TooManyChats,
    /// A chat without a JID, or with one that is none (RFC 7622).
    #[error("A 'jid' in a list of chats is missing or not a valid JID")]
    MalformedChat,
    /// Over [`MAX_NICK`].
    #[error("A 'nick' in a list of rooms is longer than {MAX_NICK} bytes")]
    NickTooLong,
    /// Not one that notifications can be encrypted with.
    #[error("The 'alg' of <encrypt/> is unknown, only aes-128-gcm is supported")]
    UnknownAlgorithm,
    /// Not 16 bytes in base64.
    #[error("The key in <encrypt/> is not 16 bytes in base64")]
    MalformedKey,
    /// Not a whole number, or too small for any notification.
    #[error(
        "The 'max-size' of <encrypt/> is not a whole number of bytes, {MIN_ENCRYPTED} at least"
    )]
    MalformedMaxSize,
    /// No `<service/>`.
    #[error("The <service/> with the JID of the push service is missing")]
    MissingService,
    /// Not a JID (RFC 7622).
    #[error("The <service/> is not a valid JID")]
    MalformedService,
    /// The client itself.
    #[error("The <service/> must not be your own JID")]
    OwnService,
    /// No `<client/>`, or an empty one.
    #[error("The <client/> is missing or empty")]
    MissingClient,
    /// Over [`MAX_CLIENT`].
    #[error("The <client/> is longer than {MAX_CLIENT} bytes")]
    ClientTooLong,
    /// No `<match/>`.
    #[error("There is no <match/>, and nothing would be pushed")]
    MissingMatch,
    /// Over [`MAX_MATCHES`].
    #[error("There are more than {MAX_MATCHES} <match/> elements")]
    TooManyMatches,
    /// No `profile`.
    #[error("The 'profile' of a <match/> is missing")]
    MissingProfile,
    /// Not one of [`Profile`](crate::push2::Profile).
    #[error("The match profile '{0}' is not supported")]
    UnknownMatch(Unknown),
    /// None, or several.
    #[error("A <match/> has no <send/>, or more than one")]
    NotOneSend,
    /// Not one of [`SendProfile`](crate::push2::SendProfile).
    #[error("The send profile '{0}' is not supported")]
    UnknownSend(Unknown),
    /// Not a whole number, or over [`MAX_GRACE`].
    #[error("A <grace/> is not a whole number of seconds, {MAX_GRACE} at most")]
    MalformedGrace,
    /// A filter without a JID, or with one that is none (RFC 7622).
    #[error("The 'jid' of a <filter/> is missing or not a valid JID")]
    MalformedFilter,
    /// Over [`MAX_FILTERS`] or [`MAX_FILTERS_BYTES`].
    #[error(
        "There are more than {MAX_FILTERS} <filter/> elements or {MAX_FILTERS_BYTES} bytes of \
         them, or they have elements too deep in others"
    )]
    TooManyFilters,
    /// Not a key that messages can be encrypted to.
    #[error("The <ua-public/> is not an uncompressed point of P-256, 65 bytes in base64")]
    MalformedPublicKey,
    /// Not 16 bytes in base64.
    #[error("The <auth-secret/> is not 16 bytes in base64")]
    MalformedAuthSecret,
    /// Not ES256.
    #[error("The <jwt-alg/> '{0}' is not supported, only ES256 is (RFC 8292 section 2)")]
    UnknownSignature(Unknown),
    /// Not a key that tokens can be signed with.
    #[error("The <jwt-key/> is not a private key of P-256, PKCS#8 in base64")]
    MalformedSigningKey,
    /// Something to sign, and nothing to sign it with.
    #[error("There is a <jwt-alg/> or <jwt-claim/> without a <jwt-key/>")]
    MissingSigningKey,
    /// A key, and nothing that says what for.
    #[error("There is a <jwt-key/> without a <jwt-alg/>")]
    MissingSignature,
    /// Over [`MAX_CLAIMS`] or [`MAX_CLAIMS_BYTES`].
    #[error(
        "There are more than {MAX_CLAIMS} <jwt-claim/> elements in a <send/>, or {MAX_CLAIMS_BYTES} \
         bytes of them"
    )]
    TooManyClaims,
    /// Over [`MAX_CLAIM_NAME`] or [`MAX_CLAIM`].
    #[error("A <jwt-claim/> is longer than {MAX_CLAIM} bytes, or its 'name' than {MAX_CLAIM_NAME}")]
    ClaimTooLong,
    /// A claim that does not say what it claims.
    #[error("The 'name' of a <jwt-claim/> is missing or empty")]
    UnnamedClaim,
    /// Two claims of the same name.
    #[error("A <jwt-claim/> of the same 'name' is there twice")]
    RepeatedClaim,
    /// Too many elements, or too deep, to be read at all.
    #[error("The request is too large, or has elements too deep in others")]
    TooLarge,
    /// Not an element that can be read at all.
    #[error("The request cannot be read")]
    Unreadable,
}

impl RequestError {
    /// The stanza error (RFC 6120 section 8.3) that tells the client.
    pub fn stanza_error(self) -> (ErrorType, DefinedCondition) {
        let condition = match self {
            Self::MissingJid
            | Self::OwnJid
            | Self::MalformedKey
            | Self::MalformedMaxSize
            | Self::MissingService
            | Self::OwnService
            | Self::MissingClient
            | Self::MissingMatch
            | Self::MissingProfile
            | Self::NotOneSend
            | Self::MalformedGrace
            | Self::MalformedPublicKey
            | Self::MalformedAuthSecret
            | Self::MalformedSigningKey
            | Self::MissingSigningKey
            | Self::MissingSignature
            | Self::UnnamedClaim
            | Self::RepeatedClaim
            | Self::Unreadable => DefinedCondition::BadRequest,
            Self::UnknownAlgorithm
            | Self::UnknownMatch(_)
            | Self::UnknownSend(_)
            | Self::UnknownSignature(_) => DefinedCondition::FeatureNotImplemented,
            Self::MalformedJid
            | Self::MalformedChat
            | Self::MalformedService
            | Self::MalformedFilter => DefinedCondition::JidMalformed,
            Self::NodeTooLong
            | Self::FormTooLarge
            | Self::ExtensionTooLarge
            | Self::TooManyChats
            | Self::NickTooLong
            | Self::ClientTooLong
            | Self::TooManyMatches
            | Self::TooManyFilters
            | Self::TooManyClaims
            | Self::ClaimTooLong
            | Self::TooLarge => DefinedCondition::PolicyViolation,
        };
        (ErrorType::Modify, condition)
    }
}

/// The address of a registration: its push service, normalised (RFC 7622), and its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The push service.
    pub jid: Jid,
    /// The node, as the client wrote it.
    pub node: Option<String>,
}

/// Reads `<enable/>` that the client with the full JID `own` has sent.
///
/// # Errors
/// What is wrong with it, for the client.
pub fn enable(element: &Element, own: &str) -> Result<Address, RequestError> {
    let address = address(element)?;
    if is_own(&address.jid, own)? {
        return Err(RequestError::OwnJid);
    }
    let too_long = |((_, name), value): ((&_, &NcName), &String)| {
        !matches!(name.as_str(), "jid" | "node") && value.len() > MAX_ATTRIBUTE
    };
    if element.children().count() > MAX_ELEMENTS || element.attrs().iter().any(too_long) {
        return Err(RequestError::ExtensionTooLarge);
    }
    for child in element.children() {
        let size = Size::of(child);
        if child.is("x", ns::DATA_FORMS) {
            let Size {
                bytes,
                elements,
                attributes,
            } = size;
            if bytes > MAX_FORM
                || elements > MAX_FORM_ELEMENTS + 1
                || attributes > MAX_FORM_ATTRIBUTES
            {
                return Err(RequestError::FormTooLarge);
            }
        } else if is_chats(child.name(), &child.ns()) {
            if size.bytes > MAX_CHATS_BYTES || size.elements > MAX_CHATS + 1 {
                return Err(RequestError::TooManyChats);
            }
        } else if size.bytes > MAX_EXTENSION {
            return Err(RequestError::ExtensionTooLarge);
        }
    }
    Ok(address)
}

/// Whether a JID is that of the client with the full JID `own`.
///
/// # Errors
/// If that is none.
pub(super) fn is_own(jid: &Jid, own: &str) -> Result<bool, RequestError> {
    let own = Jid::new(own).map_err(|_| RequestError::Unreadable)?;
    Ok(*jid == own || *jid == own.to_bare())
}

/// Whether an extension is a list of chats, which may be longer than others.
pub fn is_chats(name: &str, ns: &str) -> bool {
    matches!(
        (name, ns),
        ("muted", ns::FILTER_MUTED) | ("groupchat", ns::FILTER_GROUPCHAT)
    )
}

/// Reads `<disable/>`. Without a node it is about all nodes of the service.
///
/// # Errors
/// What is wrong with it, for the client.
pub fn disable(element: &Element) -> Result<Address, RequestError> {
    address(element)
}

fn address(element: &Element) -> Result<Address, RequestError> {
    let jid = element.attr("jid").ok_or(RequestError::MissingJid)?;
    let jid = Jid::new(jid).map_err(|_| RequestError::MalformedJid)?;
    let node = element.attr("node").map(str::to_owned);
    if node.as_ref().is_some_and(|node| node.len() > MAX_NODE) {
        return Err(RequestError::NodeTooLong);
    }
    Ok(Address { jid, node })
}

/// How large an element is, with all that is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Size {
    pub bytes: usize,
    elements: usize,
    attributes: usize,
}

impl Size {
    pub fn of(element: &Element) -> Self {
        let mut size = Self::default();
        size.add(element, &element.ns());
        size
    }

    /// As in XML without escapes, where only the namespace `usual` need not be said.
    fn add(&mut self, element: &Element, usual: &str) {
        self.elements += 1;
        self.bytes += "<></>".len() + 2 * element.name().len();
        if !element.has_ns(usual) {
            self.bytes += " xmlns=''".len() + element.ns().len();
        }
        for ((ns, name), value) in element.attrs() {
            self.attributes += 1;
            self.bytes += " =''".len() + ns.len() + name.len() + value.len();
        }
        for node in element.nodes() {
            match node {
                Node::Element(child) => self.add(child, usual),
                Node::Text(text) => self.bytes += text.len(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "anna@home.test/phone";
    const FORM: &str = "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
        <value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
        <field var='secret'><value>s3-91b</value></field></x>";

    fn parse(attrs: &str, children: &str) -> Result<Address, RequestError> {
        let xml = format!("<enable xmlns='urn:xmpp:push:0' {attrs}>{children}</enable>");
        enable(&xml.parse().unwrap(), OWN)
    }

    fn refusal(attrs: &str, children: &str) -> RequestError {
        parse(attrs, children).unwrap_err()
    }

    #[test]
    fn reads_what_clients_send() {
        let address = parse("jid='Push.Vendor.TEST' node='Dev-7c1'", FORM).unwrap();
        assert_eq!(address.jid.as_str(), "push.vendor.test");
        assert_eq!(address.node.as_deref(), Some("Dev-7c1"));
        assert_eq!(parse("jid='push.test'", "").unwrap().node, None);
        assert!(parse("jid='svc@push.test/apns'", "").is_ok());
    }

    #[test]
    fn extensions_are_no_error() {
        let extensions = "<priority xmlns='tigase:push:priority:0'/>\
            <muted xmlns='tigase:push:filter:muted:0'><item jid='x@y.test'/></muted>\
            <encrypt xmlns='tigase:push:encrypt:0' alg='aes-128-gcm'>AAECAwQFBgcICQoLDA0ODw==</encrypt>";
        assert!(parse("jid='push.test' node='n' away='true'", extensions).is_ok());
    }

    #[test]
    fn the_jid_is_needed_valid_and_not_the_own() {
        assert_eq!(refusal("node='n'", ""), RequestError::MissingJid);
        for jid in ["", "@", "a@", "a b@c", "push.test/"] {
            assert_eq!(
                refusal(&format!("jid='{jid}'"), ""),
                RequestError::MalformedJid,
                "{jid}"
            );
        }
        let long = format!("jid='{}@push.test'", "a".repeat(1024));
        assert_eq!(refusal(&long, ""), RequestError::MalformedJid);
        for own in [OWN, "anna@home.test", "ANNA@HOME.test/phone"] {
            assert_eq!(
                refusal(&format!("jid='{own}'"), ""),
                RequestError::OwnJid,
                "{own}"
            );
        }
    }

    #[test]
    fn sizes_are_bounded() {
        let node = |length| format!("jid='push.test' node='{}'", "n".repeat(length));
        assert!(parse(&node(MAX_NODE), "").is_ok());
        assert_eq!(refusal(&node(MAX_NODE + 1), ""), RequestError::NodeTooLong);

        let form = |fields| {
            let field = "<field var='a'><value>b</value></field>";
            format!(
                "<x xmlns='jabber:x:data' type='submit'>{}</x>",
                field.repeat(fields)
            )
        };
        let fields = MAX_FORM_ELEMENTS / 2;
        assert!(parse("jid='push.test'", &form(fields)).is_ok());
        assert_eq!(
            refusal("jid='push.test'", &form(fields + 1)),
            RequestError::FormTooLarge
        );
        let values = |count| form(1).replace("<value>b</value>", &"<value/>".repeat(count));
        assert!(parse("jid='push.test'", &values(MAX_FORM_ELEMENTS - 1)).is_ok());
        assert_eq!(
            refusal("jid='push.test'", &values(MAX_FORM_ELEMENTS)),
            RequestError::FormTooLarge
        );
        let attributes = |count| {
            let attributes: Vec<_> = (2..count).map(|i| format!("a{i}=''")).collect();
            form(1).replace("<value>", &format!("<value {}>", attributes.join(" ")))
        };
        assert!(parse("jid='push.test'", &attributes(MAX_FORM_ATTRIBUTES)).is_ok());
        assert_eq!(
            refusal("jid='push.test'", &attributes(MAX_FORM_ATTRIBUTES + 1)),
            RequestError::FormTooLarge
        );
        let namespaces = format!("<y xmlns='{}'/>", "n".repeat(1024)).repeat(16);
        assert_eq!(
            refusal(
                "jid='push.test'",
                &form(1).replace("<value>b</value>", &namespaces)
            ),
            RequestError::FormTooLarge
        );
        let large = FORM.replace("s3-91b", &"s".repeat(MAX_FORM));
        assert_eq!(
            refusal("jid='push.test'", &large),
            RequestError::FormTooLarge
        );

        let extension = format!("<e xmlns='urn:x'>{}</e>", "e".repeat(MAX_EXTENSION));
        assert_eq!(
            refusal("jid='push.test'", &extension),
            RequestError::ExtensionTooLarge
        );
        let long = format!(
            "jid='push.test' include_payload='{}'",
            "p".repeat(MAX_ATTRIBUTE + 1)
        );
        assert_eq!(refusal(&long, ""), RequestError::ExtensionTooLarge);
        let many = "<e xmlns='urn:x'/>".repeat(MAX_ELEMENTS + 1);
        assert_eq!(
            refusal("jid='push.test'", &many),
            RequestError::ExtensionTooLarge
        );
    }

    #[test]
    fn lists_of_chats_may_be_long() {
        let list = |name, count| {
            let entry = "<item jid='x@y.test'/>";
            let ns = format!("tigase:push:filter:{name}:0");
            format!("<{name} xmlns='{ns}'>{}</{name}>", entry.repeat(count))
        };
        for name in ["muted", "groupchat"] {
            assert!(parse("jid='push.test'", &list(name, MAX_CHATS)).is_ok());
            assert_eq!(
                refusal("jid='push.test'", &list(name, MAX_CHATS + 1)),
                RequestError::TooManyChats
            );
            let long = "x".repeat(MAX_CHATS_BYTES / MAX_CHATS);
            let long = list(name, MAX_CHATS).replace("x@", &format!("{long}@"));
            assert_eq!(
                refusal("jid='push.test'", &long),
                RequestError::TooManyChats
            );
        }
        assert_eq!(
            refusal("jid='push.test'", &list("unknown", MAX_CHATS)),
            RequestError::ExtensionTooLarge
        );
    }

    #[test]
    fn a_form_may_be_of_any_type() {
        for form in [
            "<x xmlns='jabber:x:data'/>",
            "<x xmlns='jabber:x:data' type='result'/>",
            "<x xmlns='jabber:x:data' type='submit'><field><value>b</value></field></x>",
        ] {
            assert!(parse("jid='push.test'", form).is_ok(), "{form}");
        }
    }

    #[test]
    fn every_error_is_the_clients_to_mend() {
        for error in [
            RequestError::MissingJid,
            RequestError::MalformedJid,
            RequestError::NodeTooLong,
        ] {
            assert_eq!(error.stanza_error().0, ErrorType::Modify);
        }
        assert_eq!(
            RequestError::MalformedJid.stanza_error().1,
            DefinedCondition::JidMalformed
        );
    }
}
