//! The example of RFC 8291, step by step, and a device that reads what is sent.

use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::{Aes128Gcm, Nonce};
use hkdf::hmac::{Hmac, Mac};
use p256::{PublicKey, SecretKey};
use proptest::prelude::*;
use sha2::Sha256;

use super::*;
use crate::wire::base64;

/// RFC 8291 section 5 and appendix A.
const TEXT: &[u8] = b"When I grow up, I want to be a watermelon";
const UA_PRIVATE: &str = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94";
const UA_PUBLIC: &str =
    "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
const AUTH_SECRET: &str = "BTBZMqHH6r4Tts7J_aSIgg";
const AS_PRIVATE: &str = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw";
const AS_PUBLIC: &str =
    "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8";
const SALT: &str = "DGv6ra1nlYgDCS1FRnbzlw";
const ECDH_SECRET: &str = "kyrL1jIIOHEzg3sM2ZWRHDRB62YACZhhSlknJ672kSs";
const IKM: &str = "S4lYMb_L0FxCeq0WhDx813KgSYqU26kOyzWUdsXYyrg";
const CEK: &str = "oIhVW04MRdy2XN9CiKLxTg";
const NONCE: &str = "4h_95klXJ5E_qnoN";
const MESSAGE: &str = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6\
    TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";

fn bytes<const SIZE: usize>(text: &str) -> [u8; SIZE] {
    base64::decode(text).unwrap().try_into().unwrap()
}

fn subscription() -> Subscription {
    let ua_public: [u8; 65] = bytes(UA_PUBLIC);
    Subscription::new(&ua_public, &bytes::<16>(AUTH_SECRET)).unwrap()
}

fn private(text: &str) -> SecretKey {
    SecretKey::from_bytes(&bytes::<32>(text).into()).unwrap()
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut hmac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    for part in parts {
        hmac.update(part);
    }
    hmac.finalize().into_bytes().into()
}

/// RFC 8291 section 3.4, in its own words.
fn read(message: &[u8]) -> Vec<u8> {
    let (salt, rest) = message.split_at(16);
    let (record_size, rest) = rest.split_at(4);
    assert_eq!(record_size, [0, 0, 0x10, 0]);
    assert_eq!(rest[0], 65);
    let (as_public, record) = rest[1..].split_at(65);

    let sender = PublicKey::from_sec1_bytes(as_public).unwrap();
    let ecdh_secret = private(UA_PRIVATE).diffie_hellman(&sender);
    let ua_public: [u8; 65] = bytes(UA_PUBLIC);
    let prk_key = hmac(
        &bytes::<16>(AUTH_SECRET),
        &[ecdh_secret.raw_secret_bytes().as_slice()],
    );
    let info: [&[u8]; 4] = [b"WebPush: info\0", &ua_public, as_public, &[1]];
    let prk = hmac(salt, &[&hmac(&prk_key, &info)]);
    let cek = hmac(&prk, &[b"Content-Encoding: aes128gcm\0\x01"]);
    let nonce = hmac(&prk, &[b"Content-Encoding: nonce\0\x01"]);

    let key: [u8; 16] = cek[..16].try_into().unwrap();
    let nonce: [u8; 12] = nonce[..12].try_into().unwrap();
    let cipher = Aes128Gcm::new(&key.into());
    let mut text = cipher.decrypt(&Nonce::from(nonce), record).unwrap();
    while text.pop_if(|last| *last == 0).is_some() {}
    assert_eq!(text.pop(), Some(2));
    text
}

#[test]
fn each_step_is_as_in_the_rfc() {
    let key = PrivateKey::from_private_key(&ECDH_P256, &bytes::<32>(AS_PRIVATE)).unwrap();
    let as_public = key.compute_public_key().unwrap();
    assert_eq!(base64::encode_url_safe(&as_public), AS_PUBLIC);

    let ua_public = UnparsedPublicKey::new(&ECDH_P256, bytes::<65>(UA_PUBLIC));
    let ikm = agree(&key, ua_public, EncryptError::Failed, |ecdh_secret| {
        assert_eq!(base64::encode_url_safe(ecdh_secret), ECDH_SECRET);
        subscription().ikm(ecdh_secret, as_public.as_ref())
    });
    let ikm = ikm.unwrap();
    assert_eq!(base64::encode_url_safe(*ikm), IKM);

    let keys = Keys::derive(&ikm, bytes(SALT)).unwrap();
    assert_eq!(base64::encode_url_safe(*keys.content), CEK);
    assert_eq!(base64::encode_url_safe(*keys.nonce), NONCE);

    let message = subscription().encrypt_with(&key, bytes(SALT), TEXT);
    assert_eq!(base64::encode_url_safe(message.unwrap()), MESSAGE);
}

#[test]
fn the_device_reads_the_rfcs_message() {
    assert_eq!(read(&base64::decode(MESSAGE).unwrap()), TEXT);
}

#[test]
fn every_text_that_fits_is_read() {
    for size in [0, 1, 15, 16, 17, 2847, MAX_PLAINTEXT - 1, MAX_PLAINTEXT] {
        let text = vec![0xa5; size];
        let message = subscription().encrypt(&text).unwrap();
        assert_eq!(message.len(), HEADER + size + 1 + TAG);
        assert_eq!(read(&message), text, "{size}");
    }
}

#[test]
fn the_longest_message_is_one_that_push_services_take() {
    assert_eq!(MAX_PLAINTEXT, 3993);
    let message = subscription().encrypt(&[0; MAX_PLAINTEXT]).unwrap();
    assert_eq!(message.len(), 4096);
    for size in [MAX_PLAINTEXT + 1, 100_000] {
        let message = subscription().encrypt(&vec![0; size]);
        assert_eq!(message, Err(EncryptError::TooLong));
    }
}

#[test]
fn no_message_has_the_key_or_the_salt_of_another() {
    let first = subscription().encrypt(TEXT).unwrap();
    let second = subscription().encrypt(TEXT).unwrap();
    assert_ne!(first[..16], second[..16]);
    assert_ne!(first[21..HEADER], second[21..HEADER]);
    assert_ne!(first[HEADER..], second[HEADER..]);
}

#[test]
fn what_is_no_point_is_refused() {
    let point: [u8; 65] = bytes(UA_PUBLIC);
    let is_refused = |ua_public: &[u8]| {
        let refused = Subscription::new(ua_public, &[0; 16]).err();
        assert_eq!(refused, Some(KeyError::Public), "{ua_public:x?}");
    };
    is_refused(&[]);
    is_refused(&[0]);
    is_refused(&[0; 65]);
    is_refused(&point[..64]);
    is_refused(&[&point[..], &[0]].concat());
    is_refused(&point[1..]);
    // At infinity, in projective coordinates, and nearly so
    is_refused(&[&[4], &[0; 64][..]].concat());
    is_refused(&[&[4], &[0xff; 64][..]].concat());
    // Compressed, whatever follows, and both at once (X9.62's hybrid form)
    let parity = 2 + (point[64] & 1);
    is_refused(&[&[parity], &point[1..33]].concat());
    for tag in [0, 1, 2, 3, 5, 6, 7, 0xff] {
        is_refused(&[&[tag], &point[1..]].concat());
    }
    // Off the curve
    for i in 1..65 {
        let mut other = point;
        other[i] ^= 1;
        is_refused(&other);
    }
}

#[test]
fn a_secret_of_another_size_is_refused() {
    let ua_public: [u8; 65] = bytes(UA_PUBLIC);
    for size in [0, 15, 17, 32] {
        let refused = Subscription::new(&ua_public, &vec![7; size]).err();
        assert_eq!(refused, Some(KeyError::Secret), "{size}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_text_is_read(text in prop::collection::vec(any::<u8>(), 0..=MAX_PLAINTEXT)) {
        prop_assert_eq!(read(&subscription().encrypt(&text).unwrap()), text);
    }

    #[test]
    fn any_bytes_may_be_a_key(key in prop::collection::vec(any::<u8>(), 0..70), secret: Vec<u8>) {
        prop_assert!(Subscription::new(&key, &secret).is_err());
    }
}
