//! `<enable/>` of Push 2.0 (`urn:xmpp:push2:0`). Its `<disable/>` has no parameters.

use std::fmt;

use minidom::Element;
use xmpp_parsers::jid::Jid;
use zeroize::Zeroizing;

use super::request::{
    MAX_CLAIM, MAX_CLAIM_NAME, MAX_CLAIMS, MAX_CLAIMS_BYTES, MAX_CLIENT, MAX_FILTERS,
    MAX_FILTERS_BYTES, MAX_GRACE, MAX_MATCHES, RequestError, Size, is_own,
};
use super::{base64, ns};
use crate::push2::{Filter, Profile, SendProfile};
use crate::stanza::cut;
use crate::web_push::{KeyError, Signer, Subscription};

/// The only `<jwt-alg/>` (RFC 8292 section 2).
pub const ES256: &str = "ES256";

/// What a client wants to be pushed for, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enabled {
    /// The push service, normalised (RFC 7622).
    pub service: Jid,
    /// What that knows the device by.
    pub client: String,
    /// What is pushed for: any of these.
    pub matches: Vec<Match>,
}

/// `<match/>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Which stanzas it is about.
    pub profile: Profile,
    /// For how many seconds after the user has been active on another device it wants none.
    pub grace: Option<u32>,
    /// What it wants of chats, by their JIDs, normalised: the last counts.
    pub filters: Vec<(String, Filter)>,
    /// How notifications tell of the stanza.
    pub send: Send,
}

/// `<send/>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Send {
    /// Not at all.
    NotifyOnly,
    /// Encrypted to the device.
    WebPush(Box<WebPush>),
}

impl Send {
    /// Its profile.
    pub fn profile(&self) -> SendProfile {
        match self {
            Self::NotifyOnly => SendProfile::NotifyOnly,
            Self::WebPush(_) => SendProfile::WebPush,
        }
    }
}

/// The keys of a device, in standard base64 with padding. They can be used.
#[derive(Clone, PartialEq, Eq)]
pub struct WebPush {
    /// What messages are encrypted to.
    pub ua_public: String,
    /// A secret of the device (RFC 8291 section 3.2).
    pub auth_secret: String,
    /// What tokens are made of.
    pub jwt: Option<Jwt>,
}

/// How tokens for the push service are signed (RFC 8292), by [`ES256`].
#[derive(Clone, PartialEq, Eq)]
pub struct Jwt {
    /// A private key: PKCS#8 in standard base64 with padding.
    pub key: String,
    /// What they claim besides `exp`: each once.
    pub claims: Vec<(String, String)>,
}

/// No secrets.
impl fmt::Debug for WebPush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebPush")
            .field("ua_public", &self.ua_public)
            .field("jwt", &self.jwt)
            .finish_non_exhaustive()
    }
}

/// No secrets.
impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwt")
            .field("claims", &self.claims)
            .finish_non_exhaustive()
    }
}

/// Reads `<enable/>` that the client with the full JID `own` has sent.
///
/// # Errors
/// What is wrong with it, for the client.
pub fn enable(element: &Element, own: &str) -> Result<Enabled, RequestError> {
    let service = text(element, "service").ok_or(RequestError::MissingService)?;
    let service = Jid::new(service.trim()).map_err(|_| RequestError::MalformedService)?;
    if is_own(&service, own)? {
        return Err(RequestError::OwnService);
    }
    let client = text(element, "client").filter(|client| !client.trim().is_empty());
    let client = client.ok_or(RequestError::MissingClient)?;
    if client.len() > MAX_CLIENT {
        return Err(RequestError::ClientTooLong);
    }
    let matches: Vec<_> = matches(element).collect();
    match matches.len() {
        0 => return Err(RequestError::MissingMatch),
        1..=MAX_MATCHES => {}
        _ => return Err(RequestError::TooManyMatches),
    }
    let filters = matches.iter().flat_map(|one| filters(one));
    let (count, bytes) = filters.fold((0, 0), |(count, bytes), filter| {
        (count + 1, bytes + Size::of(filter).bytes)
    });
    if count > MAX_FILTERS || bytes > MAX_FILTERS_BYTES {
        return Err(RequestError::TooManyFilters);
    }
    Ok(Enabled {
        service,
        client,
        matches: matches
            .into_iter()
            .map(read_match)
            .collect::<Result<_, _>>()?,
    })
}

/// Whether an element of a request is a `<match/>`, which may have many filters.
pub fn is_match(name: &str, ns: &str) -> bool {
    (name, ns) == ("match", ns::PUSH2)
}

/// Whether an element of that is a `<filter/>`.
pub fn is_filter(name: &str, ns: &str) -> bool {
    (name, ns) == ("filter", ns::PUSH2)
}

fn matches(enable: &Element) -> impl Iterator<Item = &Element> {
    enable
        .children()
        .filter(|child| is_match(child.name(), &child.ns()))
}

fn filters(element: &Element) -> impl Iterator<Item = &Element> {
    element
        .children()
        .filter(|child| is_filter(child.name(), &child.ns()))
}

fn text(parent: &Element, name: &str) -> Option<String> {
    Some(parent.get_child(name, &*parent.ns())?.text())
}

fn read_match(element: &Element) -> Result<Match, RequestError> {
    let uri = element
        .attr("profile")
        .ok_or(RequestError::MissingProfile)?;
    let profile = Profile::from_uri(uri).ok_or_else(|| RequestError::UnknownMatch(cut(uri)))?;
    let grace = text(element, "grace");
    let mut sends = element.children().filter(|child| child.name() == "send");
    let (Some(send), None) = (sends.next(), sends.next()) else {
        return Err(RequestError::NotOneSend);
    };
    Ok(Match {
        profile,
        grace: grace.map(|grace| read_grace(&grace)).transpose()?,
        filters: filters(element)
            .map(read_filter)
            .collect::<Result<_, _>>()?,
        send: read_send(send)?,
    })
}

fn read_grace(grace: &str) -> Result<u32, RequestError> {
    let grace = grace.trim();
    let is_number = grace.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = grace.parse().ok().filter(|_| is_number);
    seconds
        .filter(|seconds| *seconds <= MAX_GRACE)
        .ok_or(RequestError::MalformedGrace)
}

fn read_filter(element: &Element) -> Result<(String, Filter), RequestError> {
    let jid = element.attr("jid").and_then(|jid| Jid::new(jid).ok());
    let jid = jid.ok_or(RequestError::MalformedFilter)?;
    let filter = Filter {
        mention: element.has_child("mention", ns::PUSH2),
        reply: element.has_child("reply", ns::PUSH2),
    };
    Ok((jid.into_inner(), filter))
}

fn read_send(element: &Element) -> Result<Send, RequestError> {
    let uri = element.ns();
    match SendProfile::from_uri(&uri) {
        Some(SendProfile::NotifyOnly) => Ok(Send::NotifyOnly),
        Some(SendProfile::WebPush) => {
            let web_push = read_web_push(element)?;
            Ok(Send::WebPush(Box::new(web_push)))
        }
        None => Err(RequestError::UnknownSend(cut(&uri))),
    }
}

fn read_web_push(send: &Element) -> Result<WebPush, RequestError> {
    let ua_public = decoded(send, "ua-public").ok_or(RequestError::MalformedPublicKey)?;
    let auth_secret = decoded(send, "auth-secret").ok_or(RequestError::MalformedAuthSecret)?;
    Subscription::new(&ua_public, &auth_secret).map_err(key_error)?;
    Ok(WebPush {
        ua_public: base64::encode(&ua_public),
        auth_secret: base64::encode(&auth_secret),
        jwt: read_jwt(send)?,
    })
}

fn read_jwt(send: &Element) -> Result<Option<Jwt>, RequestError> {
    let claims = read_claims(send)?;
    match text(send, "jwt-alg").as_deref().map(str::trim) {
        Some(ES256) => {}
        Some(alg) => return Err(RequestError::UnknownSignature(cut(alg))),
        None if send.has_child("jwt-key", &*send.ns()) => {
            return Err(RequestError::MissingSignature);
        }
        None if claims.is_empty() => return Ok(None),
        None => return Err(RequestError::MissingSigningKey),
    }
    if !send.has_child("jwt-key", &*send.ns()) {
        return Err(RequestError::MissingSigningKey);
    }
    let key = decoded(send, "jwt-key").ok_or(RequestError::MalformedSigningKey)?;
    Signer::new(&key).map_err(key_error)?;
    let key = base64::encode(&key);
    Ok(Some(Jwt { key, claims }))
}

fn read_claims(send: &Element) -> Result<Vec<(String, String)>, RequestError> {
    let mut claims: Vec<(String, String)> = Vec::new();
    let elements = send.children();
    for element in elements.filter(|child| child.is("jwt-claim", &*send.ns())) {
        let name = element.attr("name").filter(|name| !name.is_empty());
        let name = name.ok_or(RequestError::UnnamedClaim)?;
        let value = element.text();
        if claims.len() == MAX_CLAIMS {
            return Err(RequestError::TooManyClaims);
        }
        if name.len() > MAX_CLAIM_NAME || value.len() > MAX_CLAIM {
            return Err(RequestError::ClaimTooLong);
        }
        if claims.iter().any(|(known, _)| known == name) {
            return Err(RequestError::RepeatedClaim);
        }
        claims.push((name.to_owned(), value));
    }
    if size(&claims) > MAX_CLAIMS_BYTES {
        return Err(RequestError::TooManyClaims);
    }
    Ok(claims)
}

/// What the names and values of claims take, in bytes.
pub fn size(claims: &[(String, String)]) -> usize {
    let sizes = claims.iter().map(|(name, value)| name.len() + value.len());
    sizes.sum()
}

/// The bytes that a child has in base64.
fn decoded(send: &Element, name: &str) -> Option<Zeroizing<Vec<u8>>> {
    let text = Zeroizing::new(text(send, name)?);
    base64::decode(&text).map(Zeroizing::new)
}

fn key_error(error: KeyError) -> RequestError {
    match error {
        KeyError::Public => RequestError::MalformedPublicKey,
        KeyError::Secret => RequestError::MalformedAuthSecret,
        KeyError::Private => RequestError::MalformedSigningKey,
    }
}

#[cfg(test)]
mod tests;
