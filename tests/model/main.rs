//! Random lives of an account: see [`world`].

mod world;

use std::time::Duration;

use cloud_notify::engine::Answer;
use cloud_notify::stanza::Importance;
use proptest::prelude::*;
use world::{Step, World};

fn step() -> impl Strategy<Value = Step> {
    let importance = prop_oneof![
        4 => Just(Importance::Unimportant),
        4 => Just(Importance::Important),
        1 => Just(Importance::Urgent),
    ];
    let answer = prop_oneof![
        Just(Answer::Result),
        Just(Answer::Error {
            kind: Some("wait"),
            condition: Some("internal-server-error")
        }),
        Just(Answer::Error {
            kind: Some("cancel"),
            condition: Some("item-not-found")
        }),
        Just(Answer::Error {
            kind: Some("auth"),
            condition: Some("forbidden")
        }),
    ];
    prop_oneof![
        8 => (importance, any::<bool>(), any::<bool>(), prop::bool::weighted(0.2)).prop_map(
            |(importance, archived, with_id, muted)| Step::Message { importance, archived, with_id, muted }
        ),
        2 => (0..4usize).prop_map(Step::Ack),
        2 => (0..4usize).prop_map(Step::AckOverdue),
        3 => (0..4usize).prop_map(Step::Cut),
        2 => (0..4usize).prop_map(Step::Resume),
        1 => (0..4usize).prop_map(Step::Expire),
        2 => (0..3usize, any::<bool>()).prop_map(|(device, available)| Step::Login { device, available }),
        1 => (0..4usize).prop_map(Step::Logout),
        1 => (0..3usize).prop_map(Step::Enable),
        1 => (0..3usize).prop_map(Step::Disable),
        2 => (0..8usize, answer).prop_map(|(push, answer)| Step::Answer { push, answer }),
        2 => (0..4usize).prop_map(Step::AnswerLate),
        1 => (0..2usize).prop_map(Step::Down),
        2 => (0..2usize, any::<bool>()).prop_map(|(service, sign)| Step::Up { service, sign }),
        1 => Just(Step::Restart),
        3 => (0..3000u64).prop_map(|ms| Step::Wait(Duration::from_millis(ms))),
        2 => (0..300u64).prop_map(|seconds| Step::Wait(Duration::from_secs(seconds))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_life_keeps_the_promises(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            world.run(step);
        }
        world.check();
    }
}
