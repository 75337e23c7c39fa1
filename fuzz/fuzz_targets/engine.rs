#![no_main]
//! Any sequence of events keeps the promises of the engine.

#[path = "../../tests/model/noted.rs"]
mod noted;
#[path = "../../tests/model/world.rs"]
mod world;

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use cloud_notify::engine::Answer;
use cloud_notify::stanza::Importance;
use libfuzzer_sys::fuzz_target;
use world::{DEVICES, SERVICE_COUNT, Step, World};

/// Later events find nothing new, and take time.
const MAX_STEPS: usize = 200;

fn step(bytes: &mut Unstructured<'_>) -> Result<Step> {
    let error = |kind, condition| Answer::Error {
        kind: Some(kind),
        condition: Some(condition),
    };
    let answers = [
        Answer::Result,
        error("wait", "internal-server-error"),
        error("wait", "bad-request"),
        error("wait", "recipient-unavailable"),
        error("cancel", "item-not-found"),
        error("auth", "forbidden"),
    ];
    let client = |bytes: &mut Unstructured<'_>| bytes.int_in_range(0..=5_usize);
    let device = |bytes: &mut Unstructured<'_>| bytes.int_in_range(0..=DEVICES - 1);
    let service = |bytes: &mut Unstructured<'_>| bytes.int_in_range(0..=SERVICE_COUNT - 1);
    Ok(match bytes.int_in_range(0..=21_u8)? {
        0..=2 => Step::Message {
            user: bytes.int_in_range(0..=2)?,
            importance: *bytes.choose(&[
                Importance::Unimportant,
                Importance::Important,
                Importance::Urgent,
            ])?,
            archived: bytes.arbitrary()?,
            with_id: bytes.arbitrary()?,
            muted: bytes.ratio(1, 5)?,
            room: bytes.ratio(1, 5)?,
            filtered: bytes.ratio(1, 5)?,
        },
        3 => Step::Ack(client(bytes)?),
        4 => Step::AckOverdue(client(bytes)?),
        5 => Step::Cut(client(bytes)?),
        6 => Step::Resume(client(bytes)?),
        7 => Step::Expire(client(bytes)?),
        8 => Step::Login {
            device: device(bytes)?,
            available: bytes.arbitrary()?,
            resumable: bytes.arbitrary()?,
            asks_archive: bytes.arbitrary()?,
        },
        9 => Step::Logout(client(bytes)?),
        10 => Step::Enable(device(bytes)?),
        11 => Step::Disable(device(bytes)?),
        12 => Step::Answer {
            push: bytes.int_in_range(0..=7)?,
            answer: *bytes.choose(&answers)?,
            with_id: bytes.arbitrary()?,
        },
        13 => Step::AnswerLate(client(bytes)?),
        14 => Step::Down(service(bytes)?),
        15 => Step::Up {
            service: service(bytes)?,
            sign: bytes.arbitrary()?,
        },
        16 => Step::Restart,
        17 => Step::Presence(client(bytes)?, bytes.arbitrary()?),
        18 => Step::EndCall {
            message: bytes.int_in_range(0..=31)?,
            own: bytes.arbitrary()?,
        },
        19 => Step::Tell {
            device: device(bytes)?,
            answer: bytes
                .arbitrary::<bool>()?
                .then_some(*bytes.choose(&answers)?),
        },
        20 => Step::Read {
            message: bytes.int_in_range(0..=31)?,
            all: bytes.ratio(1, 5)?,
        },
        _ => Step::Wait(Duration::from_millis(bytes.arbitrary::<u32>()?.into()) / 1000),
    })
}

fuzz_target!(|data: &[u8]| {
    let mut bytes = Unstructured::new(data);
    let mut world = World::new();
    for _ in 0..MAX_STEPS {
        match step(&mut bytes) {
            Ok(step) if !bytes.is_empty() => world.run(step),
            _ => break,
        }
    }
    world.check();
});
