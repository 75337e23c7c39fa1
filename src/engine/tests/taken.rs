//! Push services that answer errors alone.

use super::*;
use crate::engine::Count;
use crate::engine::about::About;
use crate::engine::identity::{ClientKey, DeviceKey};
use crate::engine::in_flight::{InFlight, MAX, MAX_OF_USER};
use crate::engine::kept::MAX_KEPT;
use crate::engine::service_state::ServiceState;

const CLIENT: &str = "https://push.test/device#app";
const SILENT: Registration<'static> = Registration {
    identifier: "push2 phone",
    client: Some(CLIENT),
    ..PHONE
};
const LIMIT: u64 = 120_000;

const ROUTE: Answer<'static> = Answer::Error {
    kind: Some("wait"),
    condition: Some("remote-server-timeout"),
};
const LIMITED: Answer<'static> = Answer::Error {
    kind: Some("wait"),
    condition: Some("resource-constraint"),
};

fn silent() -> Phone {
    let mut phone = Phone::new(vec![]);
    phone.registration = SILENT;
    phone
}

impl Phone {
    fn without_id(&mut self, at: u64, from: &str, answer: Answer<'_>) -> Option<Report> {
        self.engine
            .answered_without_id(ms(at), from, CLIENT, answer)
    }

    /// What has become of pushes whose time is over, of which nothing waits.
    fn over(&mut self, at: u64) -> Vec<Report> {
        let expired = self.engine.expire(ms(at));
        assert_eq!((expired.due, expired.given_up), (vec![], vec![]));
        expired.unanswered
    }

    fn outcome_of(&mut self, at: u64, answer: Answer<'_>) -> Outcome {
        self.without_id(at, "push.test", answer).unwrap().outcome
    }

    fn has_circuit(&self) -> bool {
        !self.engine.services_out().is_empty()
    }
}

#[test]
fn what_no_error_comes_for_is_taken() {
    let mut phone = silent();
    let push = pushed(phone.offline(0, Important, 1));
    assert_eq!(phone.over(LIMIT - 1), []);
    let reports = phone.over(LIMIT);
    assert_eq!(reports.len(), 1);
    let report = &reports[0];
    assert_eq!((report.push, report.outcome), (push, Outcome::Delivered));
    assert_eq!(
        (report.after, report.owed, &report.service),
        (None, false, &None)
    );
    assert_eq!((phone.engine.waiting(), phone.engine.deadline()), (0, None));
    let known = phone.offline(LIMIT, Important, 1);
    assert_eq!(known, Verdict::Silent(Silence::AlreadyPushed));
    // Nobody has been slow, and nobody has complained.
    assert!(phone.engine.take_latencies(1000).0.is_empty());
    let status = phone.engine.service(ms(LIMIT), "push.test").unwrap();
    assert_eq!((status.latency, status.complaint), (None, None));
    let counts = phone.engine.take_counts(false);
    let answers = counts.iter().filter(|count| count.name == "answers");
    let taken = Count {
        name: "answers",
        labels: vec!["delivered", "none"],
        value: 1,
    };
    assert_eq!(answers.collect::<Vec<_>>(), [&taken]);
    // Whatever comes now comes too late.
    for answer in [ROUTE, refused("gone"), Answer::Result] {
        assert_eq!(phone.answer_at(LIMIT + 1, push, answer), None);
        assert_eq!(phone.without_id(LIMIT + 1, "push.test", answer), None);
    }
}

#[test]
fn what_answers_each_push_has_not_taken_what_it_does_not_answer() {
    let mut phone = Phone::new(vec![]);
    pushed(phone.offline(0, Important, 1));
    let reports = phone.engine.expire(ms(LIMIT)).unanswered;
    assert_eq!(reports[0].outcome, Outcome::Failed);
    assert_eq!(reports[0].after, Some(ms(LIMIT)));
}

#[test]
fn errors_are_what_they_are_of_any_service() {
    let mut phone = silent();
    let push = pushed(phone.offline(0, Important, 1));
    let report = phone.answer_at(10, push, ROUTE).unwrap();
    assert_eq!((report.outcome, report.owed), (Outcome::Failed, true));
    let due = phone.engine.deadline().unwrap();
    let due = u64::try_from(due.as_millis()).unwrap() + 1;
    let (again, stanza) = phone.at(due).unwrap();
    assert_eq!(stanza, Some(1));
    assert_eq!(
        phone.outcome_of(due, refused("forbidden")),
        Outcome::Refused
    );
    assert!(!phone.engine.is_in_flight(&again.to_string()));
    assert_eq!(phone.engine.waiting(), 0);
}

#[test]
fn errors_in_a_row_end_with_one_that_does_not_come() {
    let mut phone = silent();
    for id in 0..3 {
        pushed(phone.offline(id, Important, id));
        phone.outcome_of(id, refused("forbidden"));
    }
    let errors = |phone: &Phone| {
        let device = phone.engine.device(ms(0), USER, SILENT.identifier);
        device.unwrap().errors
    };
    assert_eq!(errors(&phone), 3);
    pushed(phone.offline(5, Important, 5));
    let report = phone.over(LIMIT + 5).remove(0);
    assert_eq!((report.errors_before, report.errors), (3, 0));
    assert_eq!(errors(&phone), 0);
}

#[test]
fn an_error_without_an_id_is_about_the_last_push_to_that_client() {
    let mut phone = silent();
    let [first, second] = [1, 2].map(|id| pushed(phone.offline(id, Important, id)));
    // Another client of the service, and the same text at another service.
    let other = Registration {
        identifier: "push2 other",
        client: Some("other"),
        ..SILENT
    };
    let elsewhere = Registration {
        identifier: "push2 elsewhere",
        jid: "other.test",
        ..SILENT
    };
    for registration in [other, elsewhere] {
        phone.registration = registration;
        pushed(phone.offline(3, Important, 3));
    }
    let under_way = phone.engine.in_flight();
    let forged = |phone: &mut Phone, from, client| {
        let report = phone
            .engine
            .answered_without_id(ms(4), from, client, LIMITED);
        assert_eq!(report, None, "{from} {client}");
        assert_eq!(phone.engine.in_flight(), under_way);
    };
    forged(&mut phone, "evil.test", CLIENT);
    forged(&mut phone, "push.test/resource", CLIENT);
    forged(&mut phone, "push.test", "");
    forged(&mut phone, "push.test", "push2 phone");
    forged(&mut phone, "other.test", "other");
    for expected in [second, first] {
        let report = phone.without_id(5, "push.test", LIMITED).unwrap();
        assert_eq!(report.push, expected);
    }
    assert_eq!(phone.without_id(6, "push.test", LIMITED), None);
    assert!(phone.without_id(6, "other.test", LIMITED).is_some());
}

#[test]
fn an_error_without_an_id_says_nothing_of_pushes_that_are_answered() {
    let mut phone = Phone::new(vec![]);
    pushed(phone.offline(0, Important, 1));
    let node = &["n1", ID, ""];
    for client in node {
        let engine = &mut phone.engine;
        let report = engine.answered_without_id(ms(1), "push.test", client, LIMITED);
        assert_eq!(report, None);
    }
}

#[test]
fn the_index_of_clients_holds_what_is_under_way() {
    let mut phone = silent();
    let size = |phone: &Phone| phone.engine.schedule.in_flight.of_clients.len();
    let pushes = [1, 2, 3, 4, 5].map(|id| pushed(phone.offline(0, Important, id)));
    assert_eq!(size(&phone), 5);
    phone.answer(pushes[0], LIMITED).unwrap();
    phone.without_id(0, "push.test", LIMITED).unwrap();
    phone.engine.vetoed(ms(0), pushes[1], "");
    assert_eq!(size(&phone), 2);
    phone.engine.disconnected(ms(0), "push.test");
    assert_eq!((size(&phone), phone.engine.in_flight()), (0, 0));
    assert!(phone.engine.schedule.in_flight.of_users.is_empty());
}

#[test]
fn a_trial_that_no_error_comes_for_revives() {
    let mut phone = silent();
    let identifier = SILENT.identifier;
    phone.engine.suspend(ms(0), USER, identifier, ms(1000));
    phone.registration.suspended = Some(ms(1000));
    let verdict = phone.offline(1, Important, 1);
    assert!(matches!(verdict, Verdict::Hold(_)));
    phone.registration.suspended = Some(Duration::ZERO);
    let (trial, _) = phone.at(1000).unwrap();
    let report = phone.over(1000 + LIMIT).remove(0);
    assert_eq!((report.push, report.outcome), (trial, Outcome::Revived));
}

/// The service has failed to take three pushes, and is left alone since 10 ms; a fourth is under way.
fn out() -> Phone {
    let mut phone = silent();
    phone.engine.configure(Options {
        max_failures: 3,
        ..Options::default()
    });
    let lost: Vec<_> = (1..=3)
        .map(|id| pushed(phone.offline(0, Important, id)))
        .collect();
    phone.registration.identifier = "push2 other";
    phone.registration.client = Some("other");
    pushed(phone.offline(0, Important, 4));
    for push in lost {
        phone.answer_at(10, push, ROUTE).unwrap();
    }
    assert!(phone.has_circuit());
    phone.registration = SILENT;
    phone
}

#[test]
fn a_probe_that_no_error_comes_for_closes_the_circuit() {
    let mut phone = out();
    let due = phone.engine.deadline().unwrap();
    let due = u64::try_from(due.as_millis()).unwrap() + 1;
    phone.at(due).unwrap();
    // What had left before the service failed says nothing of it.
    let reports = phone.over(LIMIT);
    assert_eq!((reports.len(), &reports[0].service), (1, &None));
    assert!(phone.has_circuit());
    let report = phone.over(due + LIMIT).remove(0);
    let state = report.service.unwrap().state;
    assert_eq!((state, phone.has_circuit()), (ServiceState::Back, false));
    assert_eq!(phone.engine.waiting(), 0);
}

#[test]
fn a_probe_that_no_error_comes_for_closes_the_circuit_whatever_else_fails() {
    let mut phone = out();
    let due = phone.engine.deadline().unwrap();
    let due = u64::try_from(due.as_millis()).unwrap() + 1;
    phone.at(due).unwrap();
    phone.registration.identifier = "push2 third";
    let call = pushed(phone.offline(due + 60_000, Urgent, 5));
    phone.answer_at(due + 60_001, call, ROUTE).unwrap();
    let expired = phone.engine.expire(ms(due + LIMIT));
    let changes = expired
        .unanswered
        .iter()
        .filter_map(|one| one.service.as_ref());
    let states: Vec<_> = changes.map(|change| change.state).collect();
    assert_eq!(
        (states, phone.has_circuit()),
        (vec![ServiceState::Back], false)
    );
}

#[test]
fn failures_are_not_in_a_row_where_others_are_taken_in_between() {
    for is_busy in [false, true] {
        let mut phone = silent();
        phone.engine.configure(Options {
            max_failures: 3,
            ..Options::default()
        });
        let lost: Vec<_> = (1..=9)
            .map(|id| {
                if is_busy {
                    phone.registration.identifier = "push2 other";
                    pushed(phone.offline(0, Important, 10 + id));
                    phone.registration = SILENT;
                }
                pushed(phone.offline(0, Important, id))
            })
            .collect();
        // Those that left together may fail in any order.
        for &push in [&lost[1], &lost[0]].into_iter().chain(&lost[2..]) {
            phone.answer_at(10, push, ROUTE).unwrap();
        }
        assert_eq!(phone.has_circuit(), !is_busy);
        let status = phone.engine.service(ms(10), "push.test").unwrap();
        assert_eq!(status.failures, if is_busy { 1 } else { 9 });
    }
}

#[test]
fn a_probe_that_an_error_comes_for_does_not() {
    let mut phone = out();
    let due = phone.engine.deadline().unwrap();
    let due = u64::try_from(due.as_millis()).unwrap() + 1;
    let (probe, _) = phone.at(due).unwrap();
    phone.answer_at(due + 1000, probe, ROUTE).unwrap();
    assert!(phone.has_circuit());
}

#[test]
fn silence_says_nothing_of_what_has_failed_since() {
    let mut phone = silent();
    pushed(phone.offline(0, Unimportant, 1));
    let failed = pushed(phone.offline(60_000, Important, 2));
    phone.answer_at(119_000, failed, LIMITED).unwrap();
    let failures = |phone: &Phone| {
        let device = phone.engine.device(ms(LIMIT), USER, SILENT.identifier);
        device.unwrap().failures
    };
    let reports = phone.over(LIMIT);
    assert_eq!(reports[0].outcome, Outcome::Delivered);
    assert!(reports[0].owed);
    assert_eq!(failures(&phone), 1);
    assert!(phone.engine.deadline() > Some(ms(LIMIT)));
}

#[test]
fn an_error_of_what_left_later_speaks_against_a_service_whose_silence_has_counted() {
    let mut phone = silent();
    pushed(phone.offline(0, Unimportant, 1));
    let later = pushed(phone.offline(60_000, Important, 2));
    phone.over(LIMIT);
    phone.answer_at(LIMIT + 1, later, ROUTE).unwrap();
    let status = phone.engine.service(ms(LIMIT + 1), "push.test").unwrap();
    assert_eq!(status.failures, 1);
}

#[test]
fn what_is_under_way_when_the_server_stops_is_taken() {
    let mut phone = silent();
    pushed(phone.offline(0, Important, 1));
    assert_eq!(phone.engine.owed(ms(1)), (vec![], vec![]));
    // What has failed is owed all the same.
    let push = pushed(phone.offline(2, Important, 2));
    phone.answer_at(3, push, LIMITED).unwrap();
    assert_eq!(phone.engine.owed(ms(4)).0.len(), 1);
    // Unless one that left later tells of it.
    let call = pushed(phone.offline(5, Urgent, 3));
    assert!(phone.engine.is_in_flight(&call.to_string()));
    assert_eq!(phone.engine.owed(ms(6)).0, []);
}

#[test]
fn what_stands_by_for_a_push_that_is_taken_is_not_owed() {
    let mut phone = silent();
    let first = pushed(phone.offline(0, Important, 1));
    phone.answer_at(0, first, LIMITED).unwrap();
    for id in [2, 3] {
        assert!(matches!(phone.offline(1, Important, id), Verdict::Hold(_)));
    }
    let due = phone.engine.deadline().unwrap();
    let due = u64::try_from(due.as_millis()).unwrap() + 1;
    phone.at(due).unwrap();
    assert_eq!(phone.engine.waiting(), 1);
    assert_eq!(phone.engine.owed(ms(due)).0, []);
    phone.over(due + LIMIT);
    assert_eq!(phone.engine.waiting(), 0);
}

#[test]
fn what_is_under_way_when_a_connection_ends_is_taken() {
    let mut phone = silent();
    let push = pushed(phone.offline(0, Important, 1));
    let reports = phone.engine.disconnected(ms(1), "push.test");
    let outcomes = reports.iter().map(|one| (one.push, one.outcome, one.after));
    let expected = [(push, Outcome::Delivered, None)];
    assert_eq!(outcomes.collect::<Vec<_>>(), expected);
    assert_eq!(phone.engine.owed(ms(1)), (vec![], vec![]));
    assert_eq!((phone.engine.waiting(), phone.engine.deadline()), (0, None));
    let known = phone.offline(2, Important, 1);
    assert_eq!(known, Verdict::Silent(Silence::AlreadyPushed));
    let entries = phone.engine.trail(USER);
    let is_taken = |event| {
        matches!(
            event,
            Event::Answered {
                outcome: Outcome::Delivered,
                condition: None,
                after: None,
                owed: false
            }
        )
    };
    assert!(entries.iter().any(|entry| is_taken(entry.event)));
}

#[test]
fn the_end_of_a_connection_is_no_sign_of_life() {
    let mut phone = out();
    let due = phone.engine.deadline().unwrap();
    let due = u64::try_from(due.as_millis()).unwrap() + 1;
    phone.at(due).unwrap();
    phone.engine.disconnected(ms(due + 1), "push.test");
    assert!(phone.has_circuit());
}

#[test]
fn no_push_waits_for_errors_that_do_not_come() {
    let mut phone = silent();
    phone.engine.configure(Options {
        max_per_minute: 0,
        max_in_flight: 2,
        ..Options::default()
    });
    let share = u64::from(MAX_OF_USER);
    let refused_before = pushed(phone.offline(0, Important, share + 2));
    phone.answer(refused_before, refused("forbidden")).unwrap();
    let first = pushed(phone.offline(0, Important, 0));
    for id in 1..share {
        pushed(phone.offline(0, Important, id));
    }
    assert!(phone.engine.is_in_flight(&first.to_string()));
    // Two more, and the first ones are taken.
    pushed(phone.offline(0, Important, share));
    pushed(phone.offline(0, Important, share + 3));
    let taken = phone.over(0);
    assert_eq!(taken.len(), 2);
    assert!(taken.iter().any(|report| report.push == first));
    assert_eq!(
        (taken[0].outcome, taken[0].errors_before),
        (Outcome::Delivered, 1)
    );
    assert!(!phone.engine.is_in_flight(&first.to_string()));
    assert_eq!(phone.engine.in_flight(), MAX_OF_USER as usize);
    // Nor does the device of the user whose service answers.
    phone.registration = PHONE;
    for id in [1, 2] {
        pushed(phone.offline(0, Important, share + id));
    }
    assert!(matches!(
        phone.offline(0, Important, 9999),
        Verdict::Hold(_)
    ));
    // Which is the matter of that one alone.
    phone.registration = SILENT;
    pushed(phone.offline(0, Important, share + 4));
    assert_eq!(phone.engine.schedule.in_flight.of_users.len(), 2);
    assert!(phone.engine.schedule.in_flight.of_clients.len() < MAX);
}

#[test]
fn the_last_pushes_have_their_stanzas_and_take_no_room_from_others() {
    let mut phone = silent();
    let service = phone.engine.schedule.identities.service("push.test");
    let first = pushed(phone.offline(0, Important, 1));
    for nonce in 0..MAX_KEPT as u64 {
        let id = PushId {
            device: DeviceKey(0),
            nonce,
        };
        let push = InFlight {
            service,
            epoch: None,
            generation: 0,
            since: ms(0),
            sent: ms(0),
            deadline: ms(LIMIT),
            user: nonce,
            count: 1,
            content: true,
            trial: false,
            client: Some((ClientKey(nonce), nonce)),
            after: 0,
            is_over: false,
            about: About::nothing(Important),
            stanza: None,
        };
        let schedule = &mut phone.engine.schedule;
        schedule.add_in_flight(id, push, "push.test");
        phone.engine.keep(id, 0);
    }
    let last = pushed(phone.offline(1, Important, 2));
    let mut stanza = |push| {
        phone.answer_at(2, push, LIMITED).unwrap();
        let due = u64::try_from(phone.engine.deadline().unwrap().as_millis()).unwrap() + 1;
        phone.at(due).unwrap().1
    };
    assert_eq!((stanza(first), stanza(last)), (None, Some(2)));
    phone.registration = PHONE;
    let other = pushed(phone.offline(3, Important, 3));
    phone.answer_at(4, other, LIMITED).unwrap();
    let due = u64::try_from(phone.engine.deadline().unwrap().as_millis()).unwrap() + 1;
    assert_eq!(phone.at(due).unwrap().1, Some(3));
}

#[test]
fn what_was_owed_before_a_restart_waits_for_its_service() {
    let mut phone = silent();
    let push = pushed(phone.offline(0, Important, 1));
    phone.answer(push, ROUTE).unwrap();
    let (owed, _) = phone.engine.owed(ms(1));
    assert_eq!(owed[0].service.as_deref(), Some("push.test"));
    let restored = |service: Option<&str>| {
        let mut engine = Engine::<u64>::default();
        let owed = Owed {
            service: service.map(Into::into),
            ..owed[0].clone()
        };
        engine.restore(ms(10), &owed, 0);
        engine.connected(ms(11), "push.test");
        (engine.waiting(), engine.expire(ms(11)).due.len())
    };
    assert_eq!(restored(Some("push.test")), (1, 1));
    // Its identifier does not name one.
    assert_eq!(restored(None), (1, 0));
}

#[test]
fn a_device_that_cannot_be_read_and_waits_no_more_passes_its_turn() {
    let mut phone = out();
    let third = "push2 third";
    phone.registration.identifier = third;
    let push = pushed(phone.offline(11, Important, 9));
    phone.answer_at(12, push, ROUTE).unwrap();
    let due = phone.engine.deadline().unwrap();
    let expired = phone.engine.expire(due).due;
    assert_eq!(&*expired[0].identifier, SILENT.identifier);
    phone.engine.back(due, USER, SILENT.identifier);
    assert_eq!(phone.engine.expire(due).due, []);
    phone.engine.postpone(due, USER, SILENT.identifier);
    // Another one probes.
    let expired = phone.engine.expire(due).due;
    assert_eq!(&*expired[0].identifier, third);
}
