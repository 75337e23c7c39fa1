//! `tigase:push:encrypt:0`: notifications tell what is in a message, and only the device can read it.
//!
//! The record keeps `encryption = { algorithm, key_base64, max_size }`; records of the community's module have no
//! `max_size`, and the key as the client wrote it.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use minidom::Element;
use zeroize::Zeroizing;

use super::interface::{Extension, News};
use super::others::Community;
use super::record::{Asked, Field, Kept, Record};
use crate::wire::base64;
use crate::wire::json::Json;
use crate::wire::publish::Part;
use crate::wire::request::{MIN_ENCRYPTED, RequestError};

const NS: &str = "tigase:push:encrypt:0";
const ALGORITHM: &str = "aes-128-gcm";

/// The largest `max-size`. Push services of phones carry a quarter of that.
const MAX_SIZE: u32 = 16 * 1024;
/// That of a client that says nothing.
const USUAL_SIZE: u32 = 3000;

/// Of the cipher text (NIST SP 800-38D).
const TAG: usize = 16;

type Iv = [u8; 12];

/// See the module.
pub struct Encryption;

impl Extension for Encryption {
    fn features(&self) -> &'static [&'static str] {
        &[NS, "tigase:push:encrypt:aes-128-gcm"]
    }

    fn community(&self) -> Option<Community> {
        Some(Community::Encrypted)
    }

    fn is_asked(&self, record: &dyn Asked) -> bool {
        record.is_set(Field::Encryption)
    }

    fn enable(&self, enable: &Element) -> Result<Vec<(Field, Kept)>, RequestError> {
        let Some(encrypt) = enable.get_child("encrypt", NS) else {
            return Ok(Vec::new());
        };
        if encrypt.attr("alg").is_some_and(|alg| alg != ALGORITHM) {
            return Err(RequestError::UnknownAlgorithm);
        }
        let key = Key::read(&encrypt.text()).ok_or(RequestError::MalformedKey)?;
        let max_size = encrypt.attr("max-size").map_or(Ok(USUAL_SIZE), read_size)?;
        let kept = vec![
            (Field::Algorithm, Kept::Text(ALGORITHM.to_owned())),
            (Field::Secret, Kept::Text(base64::encode(*key.0))),
            (Field::MaxSize, Kept::Number(max_size)),
        ];
        Ok(vec![(Field::Encryption, Kept::Table(kept))])
    }

    fn carries_content(&self, _: &dyn Record) -> bool {
        true
    }

    fn keeps_secret(&self) -> bool {
        true
    }

    /// Nothing for what shows nothing, and for a stanza that is not known any more: the form tells no secret.
    fn parts(&self, record: &dyn Record, news: &News<'_>) -> Vec<Part> {
        let mut part = None;
        if let Some(content) = news.important() {
            record.inside(Field::Encryption, &mut |settings| {
                part = read_settings(settings).and_then(|(key, max_size)| {
                    // base64 has four bytes for three, and begins no four that it does not fill.
                    let room = max_size / 4 * 3 - TAG;
                    let json = Json::new(content, news.importance, news.count, room);
                    key.encrypted(json, room)
                });
            });
        }
        part.into_iter().collect()
    }

    fn replaces_summary(&self) -> bool {
        true
    }
}

fn read_size(size: &str) -> Result<u32, RequestError> {
    let size = size.trim();
    let is_number = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_digit());
    let size = size.parse().unwrap_or(MAX_SIZE); // Digits without end
    if is_number && size >= MIN_ENCRYPTED {
        Ok(size.min(MAX_SIZE))
    } else {
        Err(RequestError::MalformedMaxSize)
    }
}

/// The key, and how large the cipher text may become. Nothing if the record is damaged.
fn read_settings(settings: &dyn Record) -> Option<(Key, usize)> {
    settings
        .text(Field::Algorithm)
        .filter(|algorithm| *algorithm == ALGORITHM)?;
    let key = Key::read(settings.text(Field::Secret)?)?;
    let max_size = settings.number(Field::MaxSize).unwrap_or(USUAL_SIZE.into());
    let max_size = max_size.clamp(MIN_ENCRYPTED.into(), MAX_SIZE.into());
    Some((key, usize::try_from(max_size).ok()?))
}

/// It is no more than it was once it is dropped, and nobody can print it.
struct Key(Zeroizing<[u8; 16]>);

impl Key {
    fn read(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(base64::decode(text)?);
        Some(Self(Zeroizing::new(bytes.as_slice().try_into().ok()?)))
    }

    fn encrypted(&self, json: Json<'_>, room: usize) -> Option<Part> {
        let mut iv = Iv::default();
        getrandom::fill(&mut iv).ok()?;
        let is_call = json.is_call();
        let text = self.seal(iv, &json.write(room)?)?;
        let mut attrs = vec![("iv", base64::encode(iv))];
        if is_call {
            attrs.push(("type", "voip".to_owned()));
        }
        Some(Part {
            name: "encrypted",
            ns: Some(NS),
            attrs,
            text,
            ..Part::default()
        })
    }

    /// Cipher text and tag, in base64. Never twice with the same `iv`.
    fn seal(&self, iv: Iv, plain: &[u8]) -> Option<String> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &*self.0).ok()?);
        let nonce = Nonce::assume_unique_for_key(iv);
        let mut sealed = plain.to_vec();
        key.seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed)
            .ok()?;
        Some(base64::encode(sealed))
    }
}

#[cfg(test)]
mod tests;
