//! Push services check tokens as this does.

use p256::SecretKey;
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};
use p256::elliptic_curve::Generate;
use p256::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use proptest::prelude::*;
use serde_json::json;

use super::*;

const NOW: u64 = 1_700_000_000;
const SUBJECT: &str = "xmpp:home.test";

fn pkcs8() -> Vec<u8> {
    let key = SecretKey::generate().to_pkcs8_der().unwrap();
    key.as_bytes().to_vec()
}

fn claims(claims: &[(&str, &str)]) -> Vec<(String, String)> {
    claims
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn json_of(part: &str) -> Value {
    assert!(!part.contains(['=', '+', '/']), "{part}");
    serde_json::from_slice(&base64::decode(part).unwrap()).unwrap()
}

/// What a token says, if its signature is right.
fn checked(jwt: &str, public_key: &str) -> Value {
    let key = base64::decode(public_key).unwrap();
    assert_eq!(base64::encode(&key), public_key);
    assert_eq!((key.len(), key[0]), (65, 4));
    let (signed, signature) = jwt.rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    let signature = Signature::from_slice(&base64::decode(signature).unwrap()).unwrap();
    VerifyingKey::from_sec1_bytes(&key)
        .unwrap()
        .verify(signed.as_bytes(), &signature)
        .unwrap();
    assert_eq!(json_of(header), json!({ "typ": "JWT", "alg": "ES256" }));
    json_of(payload)
}

fn said(of_client: &[(&str, &str)]) -> Value {
    let signer = Signer::new(&pkcs8()).unwrap();
    let jwt = signer.token(&claims(of_client), SUBJECT, NOW).unwrap();
    checked(&jwt, &signer.public_key())
}

#[test]
fn a_token_says_for_whom_from_whom_and_until_when() {
    let aud = "https://push.test";
    assert_eq!(
        said(&[("aud", aud)]),
        json!({ "aud": aud, "sub": SUBJECT, "exp": NOW + 12 * 60 * 60 })
    );
}

#[test]
fn whom_to_contact_may_be_the_clients_word() {
    let said = said(&[("sub", "mailto:anna@home.test")]);
    assert_eq!(said["sub"], "mailto:anna@home.test");
}

#[test]
fn when_a_token_is_valid_is_not() {
    let said = said(&[("exp", "9999999999"), ("iat", "1"), ("nbf", "9999999999")]);
    assert_eq!(said, json!({ "sub": SUBJECT, "exp": NOW + 12 * 60 * 60 }));
}

#[test]
fn claims_are_json_whatever_is_in_them() {
    let value = "\"}\\\u{0}\n\u{1f600}";
    assert_eq!(said(&[(value, value)])[value], value);
}

/// From OpenSSL (`genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`), with its public key.
const OPENSSL: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgVyCaKC502nIWXF7FbZS5W87Vk8JrwykkZRPsDbeQYkmhRANC\
     AARN2f7lC4yMs1nGHIwoaBpFAV02LzCBtOKWKOd/Jvi2TVvkxIa0BiLMnbs9RYDkHn4PSS58QtL+svegNu+ENmmH";
const OPENSSL_PUBLIC: &str =
    "BE3Z/uULjIyzWcYcjChoGkUBXTYvMIG04pYo538m+LZNW+TEhrQGIsyduz1FgOQefg9JLnxC0v6y96A274Q2aYc=";

/// On other curves, and in other forms.
const OTHERS: [&str; 5] = [
    // secp256k1
    "MIGEAgEAMBAGByqGSM49AgEGBSuBBAAKBG0wawIBAQQgLXoD9sijzu7UVZ2hItacgVcIQaEP0Fqejd3+g0/84UahRANCAATZ\
     cxGVfrBzHuoUlNGLzpSrwhlLX+Sb36az9tpisrStWSv3buGOqSVHs0v+U7sH+A3R7V98hvSvTMYZyApe+Gfj",
    // secp384r1
    "MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDCZ74Xs7ejnDGL2mrRhyjm8C4uA0Hf4/kSIwKidj+cKxvSdeo5i\
     Ikyg+ukHH1v/l1mhZANiAAQs59APSXQI8l5sF8JAzzPBxykq7QhoFmQ0qCi69D0oGVfBy3yTG76WMeL0PjKNaFDvZhWK0hZi\
     6APJ4nsMqFPmQ3Q/w2fcQPns9oUnBk4ScGSSg3r9Bfr3if2CiDyC6KI=",
    // Ed25519
    "MC4CAQAwBQYDK2VwBCIEIEg5JEoXQPu065600pHwTciMDt0uglRsmYrxPlg+E64e",
    // SEC 1, without PKCS#8 around it
    "MHcCAQEEIFcgmigudNpyFlxexW2UuVvO1ZPCa8MpJGUT7A23kGJJoAoGCCqGSM49AwEHoUQDQgAETdn+5QuMjLNZxhyMKGga\
     RQFdNi8wgbTilijnfyb4tk1b5MSGtAYizJ27PUWA5B5+D0kufELS/rL3oDbvhDZphw==",
    // Public
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAETdn+5QuMjLNZxhyMKGgaRQFdNi8wgbTilijnfyb4tk1b5MSGtAYizJ27PUWA\
     5B5+D0kufELS/rL3oDbvhDZphw==",
];

#[test]
fn the_key_of_another_implementation_signs() {
    let signer = Signer::new(&base64::decode(OPENSSL).unwrap()).unwrap();
    assert_eq!(signer.public_key(), OPENSSL_PUBLIC);
    let jwt = signer.token(&[], SUBJECT, NOW).unwrap();
    checked(&jwt, OPENSSL_PUBLIC);
}

#[test]
fn another_kind_of_key_is_refused() {
    for pkcs8 in OTHERS {
        let refused = Signer::new(&base64::decode(pkcs8).unwrap()).err();
        assert_eq!(refused, Some(KeyError::Private), "{pkcs8}");
    }
}

#[test]
fn a_damaged_key_is_refused() {
    let key = pkcs8();
    let is_refused = |key: &[u8]| assert_eq!(Signer::new(key).err(), Some(KeyError::Private));
    for length in 0..key.len() {
        is_refused(&key[..length]);
    }
    is_refused(&[&key[..], &[0]].concat());
    // A public key that is not that of the private one
    let mut other = key.clone();
    other[key.len() - 1] ^= 1;
    is_refused(&other);
    // Zero, and more than the order of the curve
    let scalar = SecretKey::from_pkcs8_der(&key).unwrap().to_bytes();
    let at = key.windows(32).position(|part| part == scalar.as_slice());
    let at = at.unwrap();
    for scalar in [[0; 32], [0xff; 32]] {
        let mut other = key.clone();
        other[at..at + 32].copy_from_slice(&scalar);
        is_refused(&other);
    }
}

proptest! {
    #[test]
    fn any_bytes_may_be_a_key(key: Vec<u8>) {
        prop_assert!(Signer::new(&key).is_err());
    }
}
