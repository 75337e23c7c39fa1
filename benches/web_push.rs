//! Web Push's cryptography alone: the floor of what a notification that only the device can read costs.
//!
//! `cargo bench --bench web_push`. A token is made once an hour, so that `encrypt` is the usual case.

use std::hint::black_box;

use cloud_notify::web_push::{MAX_PLAINTEXT, Signer, Subscription};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use p256::SecretKey;
use p256::elliptic_curve::Generate;
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::pkcs8::EncodePrivateKey;

const SMALL: usize = 512;

fn ua_public() -> Vec<u8> {
    let device = SecretKey::generate().public_key();
    device.to_sec1_point(false).as_bytes().to_vec()
}

fn pkcs8() -> Vec<u8> {
    let key = SecretKey::generate().to_pkcs8_der();
    key.expect("a key").as_bytes().to_vec()
}

fn claims() -> Vec<(String, String)> {
    vec![("aud".to_owned(), "https://push.test".to_owned())]
}

fn sign(pkcs8: &[u8], claims: &[(String, String)]) {
    let signer = Signer::new(pkcs8).expect("a key");
    let token = signer.token(claims, "xmpp:home.test", 1_700_000_000);
    black_box((signer.public_key(), token.expect("a token")));
}

fn web_push(c: &mut Criterion) {
    let (ua_public, pkcs8, claims) = (ua_public(), pkcs8(), claims());
    let encrypt = |text: &[u8]| {
        let device = Subscription::new(&ua_public, &[7; 16]).expect("a subscription");
        black_box(device.encrypt(text)).expect("a message")
    };
    let mut group = c.benchmark_group("web push");
    group.throughput(Throughput::Elements(1));
    for size in [SMALL, MAX_PLAINTEXT] {
        let text = vec![b'a'; size];
        group.bench_function(BenchmarkId::new("encrypt", size), |b| {
            b.iter(|| encrypt(&text));
        });
    }
    group.bench_function("sign", |b| b.iter(|| sign(&pkcs8, &claims)));
    for size in [SMALL, MAX_PLAINTEXT] {
        let text = vec![b'a'; size];
        group.bench_function(BenchmarkId::new("encrypt and sign", size), |b| {
            b.iter(|| {
                sign(&pkcs8, &claims);
                encrypt(&text)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, web_push);
criterion_main!(benches);
