//! Who probes a service that is left alone, and who waits meanwhile.

use super::*;
use crate::engine::about::About;
use crate::engine::in_flight::InFlight;

/// All devices have failed, the circuit is open, and none waits: each was online when its turn came.
fn idle(now: Duration) -> Fleet {
    let mut fleet = Fleet::new(Options {
        max_failures: 1,
        ..Options::default()
    });
    for push in fleet.offline(Duration::ZERO, 1) {
        fleet.answer(Duration::ZERO, push, WAIT);
    }
    loop {
        let due = fleet.engine.expire(now).due;
        if due.is_empty() {
            break;
        }
        for due in due {
            let identifier = Some(&*due.identifier);
            let registration = |one: &&Registration<'_>| Some(one.identifier) == identifier;
            let account = Account {
                user: USER,
                registrations: &[*fleet.registrations.iter().find(registration).unwrap()],
                sessions: &[Session {
                    identifiers: [identifier, None],
                    ..live()
                }],
            };
            assert_eq!(fleet.engine.release(now, &account, 0), None);
        }
    }
    assert_eq!(fleet.engine.waiting(), 0);
    fleet
}

fn one(fleet: &mut Fleet, now: Duration, device: usize, id: u64) -> Verdict {
    let account = Account {
        user: USER,
        registrations: &fleet.registrations[device..=device],
        sessions: &[],
    };
    let facts = facts(Important, id);
    let verdict = fleet
        .engine
        .offline(now, &account, &facts, StanzaId(id))
        .remove(0)
        .verdict;
    if let Verdict::Hold(ticket) = verdict {
        let copy = Ticket { ..ticket };
        fleet.engine.hold(now, ticket, Some(id));
        return Verdict::Hold(copy);
    }
    verdict
}

#[test]
fn where_nobody_waits_the_next_push_is_the_probe() {
    let now = seconds(8);
    let mut fleet = idle(now);
    let probe = pushed(one(&mut fleet, now, 0, 2));
    let while_probed = one(&mut fleet, now, 1, 2);
    assert!(matches!(while_probed, Verdict::Hold(_)), "one at a time");
    fleet.answer(now, probe, WAIT);
    let too_soon = one(&mut fleet, seconds(9), 2, 2);
    assert!(matches!(too_soon, Verdict::Hold(_)), "{too_soon:?}");
    pushed(one(&mut fleet, seconds(60), 3, 2));
}

#[test]
fn a_probe_that_is_vetoed_is_that_of_the_next_one() {
    let mut fleet = Fleet::new(Options {
        max_failures: 1,
        ..Options::default()
    });
    for push in fleet.offline(Duration::ZERO, 1) {
        fleet.answer(Duration::ZERO, push, WAIT);
    }
    let probe = fleet.serve(seconds(8));
    assert_eq!(probe.len(), 1);
    fleet.engine.vetoed(seconds(8), probe[0], "");
    let next = fleet.serve(seconds(8));
    assert_eq!(next.len(), 1);
    assert_ne!(next[0].device, probe[0].device);
}

#[test]
fn when_all_room_is_taken_each_device_still_has_one_push_and_calls() {
    let mut phone = Phone::new(vec![]);
    let other = phone.engine.schedule.identities.service("other.test");
    let id = |nonce| PushId {
        device: DeviceKey(0),
        nonce,
    };
    pushed(phone.offline(0, Important, 1));
    for nonce in 1..65_536 {
        let push = InFlight {
            service: other,
            epoch: None,
            generation: 0,
            since: ms(0),
            sent: ms(0),
            deadline: ms(120_000),
            user: nonce,
            count: 1,
            content: false,
            trial: false,
            client: None,
            after: 0,
            is_over: false,
            about: About::nothing(Important),
            stanza: None,
        };
        let schedule = &mut phone.engine.schedule;
        schedule.add_in_flight(id(nonce), push, "other.test");
    }
    assert!(matches!(phone.offline(0, Important, 2), Verdict::Hold(_)));
    pushed(phone.offline(0, Urgent, 3));
    for nonce in [1, 2] {
        phone.engine.schedule.take_in_flight(ms(0), id(nonce));
    }
    let mut second = Phone::new(vec![]);
    second.engine = phone.engine;
    pushed(second.offline(0, Important, 4));
}

#[test]
fn that_others_get_an_answer_releases_who_has_failed_once() {
    let mut phone = owed(Important);
    let other = Registration {
        identifier: "push.test<other",
        ..PHONE
    };
    let account = Account {
        user: "rosa",
        registrations: &[other],
        sessions: &[],
    };
    let ping = phone
        .engine
        .ping(ms(1000), &account, 0, Occasion::Asked)
        .unwrap();
    phone.answer_at(1000, ping, Answer::Result).unwrap();
    assert_eq!(phone.at(1249), None);
    assert!(phone.at(1250).is_some());
}

#[test]
fn a_stanza_of_the_service_is_a_sign_of_life_where_somebody_waits_for_one() {
    let mut phone = owed(Important);
    assert_eq!(phone.engine.heard(ms(1000), "push.test"), None);
    assert_eq!(phone.at(1249), None);
    assert!(phone.at(1250).is_some());

    // Nobody does: what speaks against it stays.
    let mut fleet = Fleet::new(Options::default());
    let pushes = fleet.offline(Duration::ZERO, 1);
    for push in &pushes[..4] {
        fleet.answer(Duration::ZERO, *push, WAIT);
    }
    for node in NODES {
        fleet.engine.back(ms(0), USER, node);
    }
    assert_eq!(fleet.engine.heard(seconds(1), "push.test"), None);
    let report = fleet.answer(seconds(2), pushes[4], WAIT);
    assert_eq!(report.service.unwrap().state, ServiceState::Out);
}

#[test]
fn what_was_sent_at_the_moment_of_an_answer_was_not_answered_by_it() {
    let mut fleet = Fleet::new(Options::default());
    let pushes = fleet.offline(Duration::ZERO, 1);
    fleet.answer(Duration::ZERO, pushes[0], Answer::Result);
    for push in &pushes[1..] {
        fleet.answer(Duration::ZERO, *push, WAIT);
    }
    assert_eq!(fleet.engine.services_out(), ["push.test"]);
}

#[test]
fn an_answer_makes_room_for_one() {
    let mut phone = Phone::new(vec![]);
    phone.engine.configure(Options {
        max_per_minute: 0,
        ..Options::default()
    });
    let share = u64::from(MAX_IN_FLIGHT_OF_USER);
    let pushes: Vec<_> = (0..share)
        .map(|id| pushed(phone.offline(0, Important, id)))
        .collect();
    for (id, push) in (share..share + 3).zip(pushes) {
        phone.answer(push, Answer::Result).unwrap();
        pushed(phone.offline(0, Important, id));
        let verdict = phone.offline(0, Important, 1000 + id);
        assert!(matches!(verdict, Verdict::Hold(_)), "{id}");
        phone.engine.schedule.drop_waiting(push.device);
    }
}

#[test]
fn so_many_may_wait_for_the_answer_of_a_service() {
    let mut phone = Phone::new(vec![]);
    phone.engine.configure(Options {
        max_in_flight: 2,
        ..Options::default()
    });
    pushed(phone.offline(0, Important, 1));
    pushed(phone.offline(0, Important, 2));
    assert!(matches!(phone.offline(0, Important, 3), Verdict::Hold(_)));
}

#[test]
fn without_a_limit_nothing_is_counted() {
    let mut phone = Phone::new(vec![]);
    phone.engine.configure(Options {
        max_per_minute: 0,
        ..Options::default()
    });
    let push = pushed(phone.offline(0, Important, 1));
    let device = phone.engine.schedule.devices.get(push.device).unwrap();
    assert_eq!(device.meter.bytes(), 0);
}
