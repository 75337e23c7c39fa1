//! How many tokens are made, and how many kept.

use p256::SecretKey;
use p256::elliptic_curve::Generate;
use p256::pkcs8::EncodePrivateKey;

use super::*;

const NOW: u64 = 1_700_000_000;
const HOUR: u64 = 3600;
const SUBJECT: &str = "xmpp:home.test";

fn key() -> String {
    base64::encode(SecretKey::generate().to_pkcs8_der().unwrap().as_bytes())
}

fn claim(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn token(bytes: usize) -> Arc<Token> {
    Arc::new(Token {
        jwt: "j".repeat(bytes),
        key: String::new(),
    })
}

fn nth(i: usize) -> Origin {
    let mut origin = [0; 32];
    origin[..8].copy_from_slice(&i.to_le_bytes());
    origin
}

#[test]
fn a_token_is_made_once_an_hour() {
    let (mut tokens, key) = (Tokens::default(), key());
    let mut at = |now| tokens.get(&key, &[], SUBJECT, now).unwrap();
    let first = at(NOW);
    assert!(Arc::ptr_eq(&first, &at(NOW + HOUR - 1)));
    let second = at(NOW + HOUR);
    assert!(first.jwt != second.jwt && first.key == second.key);
    assert!(Arc::ptr_eq(&second, &at(NOW + 2 * HOUR - 1)));
    // The clock has been set back: what was made in the future might be refused.
    assert!(!Arc::ptr_eq(&second, &at(NOW)));
}

#[test]
fn each_key_claim_and_subject_has_its_own() {
    let (mut tokens, key, other_key) = (Tokens::default(), key(), key());
    let made: Vec<Arc<Token>> = [
        (&key, &[][..], SUBJECT),
        (&other_key, &[], SUBJECT),
        (&key, &[], "xmpp:other.test"),
        (&key, &[claim("a", "bc")], SUBJECT),
        (&key, &[claim("ab", "c")], SUBJECT),
        (&key, &[claim("a", "b"), claim("c", "")], SUBJECT),
        (&key, &[claim("a", "b"), claim("", "c")], SUBJECT),
    ]
    .into_iter()
    .map(|(key, claims, subject)| tokens.get(key, claims, subject, NOW).unwrap())
    .collect();
    for (i, token) in made.iter().enumerate() {
        assert!(made[..i].iter().all(|other| !Arc::ptr_eq(token, other)));
    }
    assert_eq!(tokens.known.len(), made.len());
}

#[test]
fn a_key_may_be_url_safe_and_a_bad_one_leaves_nothing() {
    let mut tokens = Tokens::default();
    let url_safe = base64::encode_url_safe(base64::decode(&key()).unwrap());
    assert!(tokens.get(&url_safe, &[], SUBJECT, NOW).is_ok());
    for bad in ["", "*", "AAAA"] {
        let refused = tokens.get(bad, &[], SUBJECT, NOW).err();
        assert_eq!(refused, Some(KeyError::Private), "{bad}");
    }
    assert_eq!(tokens.known.len(), 1);
}

#[test]
fn the_least_recently_used_goes_first() {
    let mut tokens = Tokens::default();
    for i in 0..MAX_TOKENS {
        tokens.learn(nth(i), token(1), NOW);
    }
    tokens.known.get(&nth(0));
    tokens.learn(nth(MAX_TOKENS), token(1), NOW);
    assert_eq!(tokens.known.len(), MAX_TOKENS);
    assert!(tokens.known.contains(&nth(0)));
    assert!(!tokens.known.contains(&nth(1)));
}

#[test]
fn large_tokens_take_no_more_memory() {
    let mut tokens = Tokens::default();
    for i in 0..100 {
        tokens.learn(nth(i), token(1024 * 1024), NOW);
        tokens.learn(nth(i), token(1024 * 1024), NOW); // in place of the other
        let kept: usize = tokens
            .known
            .iter()
            .map(|(_, known)| known.token.bytes())
            .sum();
        assert_eq!(tokens.bytes, kept);
        assert!(kept <= MAX_BYTES);
    }
    assert_eq!(tokens.known.len(), MAX_BYTES / token(1024 * 1024).bytes());
    tokens.learn(nth(100), token(MAX_BYTES), NOW);
    assert_eq!((tokens.known.len(), tokens.bytes), (0, 0));
}
