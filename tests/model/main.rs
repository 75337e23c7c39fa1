//! Random lives of a server's accounts: see [`world`].

mod noted;
mod world;

use std::time::Duration;

use cloud_notify::engine::Answer;
use cloud_notify::stanza::Importance;
use proptest::prelude::*;
use world::{DEVICES, SERVICE_COUNT, Step, World};

const fn error(kind: &'static str, condition: &'static str) -> Answer<'static> {
    Answer::Error {
        kind: Some(kind),
        condition: Some(condition),
    }
}

const ANSWERS: [Answer<'static>; 7] = [
    Answer::Result,
    error("wait", "internal-server-error"),
    error("wait", "bad-request"),
    error("wait", "recipient-unavailable"),
    error("wait", "resource-constraint"),
    error("cancel", "item-not-found"),
    error("auth", "forbidden"),
];

fn step() -> impl Strategy<Value = Step> {
    let importance = prop_oneof![
        4 => Just(Importance::Unimportant),
        4 => Just(Importance::Important),
        1 => Just(Importance::Urgent),
    ];
    let answer = || prop::sample::select(&ANSWERS[..]);
    let device = || 0..DEVICES;
    let service = || 0..SERVICE_COUNT;
    let rarely = || prop::bool::weighted(0.2);
    let message = (
        0..3usize,
        importance,
        any::<bool>(),
        any::<bool>(),
        rarely(),
        rarely(),
        rarely(),
    );
    let login = (device(), any::<bool>(), any::<bool>(), any::<bool>());
    prop_oneof![
        10 => message.prop_map(|(user, importance, archived, with_id, muted, room, filtered)| {
            Step::Message { user, importance, archived, with_id, muted, room, filtered }
        }),
        2 => (0..12usize, rarely()).prop_map(|(message, all)| Step::Read { message, all }),
        1 => (0..12usize, any::<bool>()).prop_map(|(message, own)| Step::EndCall { message, own }),
        2 => (0..6usize).prop_map(Step::Ack),
        2 => (0..6usize).prop_map(Step::AckOverdue),
        3 => (0..6usize).prop_map(Step::Cut),
        2 => (0..6usize).prop_map(Step::Resume),
        1 => (0..6usize).prop_map(Step::Expire),
        3 => login.prop_map(|(device, available, resumable, asks_archive)| {
            Step::Login { device, available, resumable, asks_archive }
        }),
        1 => (0..6usize, any::<bool>()).prop_map(|(client, available)| Step::Presence(client, available)),
        2 => (0..6usize).prop_map(Step::Logout),
        1 => device().prop_map(Step::Enable),
        1 => device().prop_map(Step::Disable),
        3 => (0..8usize, answer(), any::<bool>()).prop_map(|(push, answer, with_id)| {
            Step::Answer { push, answer, with_id }
        }),
        2 => (0..4usize).prop_map(Step::AnswerLate),
        2 => (device(), prop::option::of(answer())).prop_map(|(device, answer)| Step::Tell { device, answer }),
        1 => service().prop_map(Step::Down),
        2 => (service(), any::<Option<bool>>()).prop_map(|(service, sign)| Step::Up { service, sign }),
        1 => Just(Step::Restart),
        3 => (0..3000u64).prop_map(|ms| Step::Wait(Duration::from_millis(ms))),
        2 => (0..300u64).prop_map(|seconds| Step::Wait(Duration::from_secs(seconds))),
    ]
}

/// How many lives are lived: `MODEL_LIVES=1000000 cargo test --release --test model`.
fn lives() -> u32 {
    let lives = std::env::var("MODEL_LIVES").ok();
    lives.and_then(|lives| lives.parse().ok()).unwrap_or(5_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: lives(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_life_keeps_the_promises(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        for step in steps {
            world.run(step);
        }
        world.check();
    }
}
