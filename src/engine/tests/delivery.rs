//! What is tried again, when, and what is not.

use std::collections::HashSet;

use super::*;

mod circuits;
mod turns;

const WAIT: Answer<'static> = Answer::Error {
    kind: Some("wait"),
    condition: Some("remote-server-timeout"),
};

const LIMITED: Answer<'static> = Answer::Error {
    kind: Some("wait"),
    condition: Some("resource-constraint"),
};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A phone that is away, whose first push for stanza 1 has just failed.
fn owed(importance: Importance) -> Phone {
    let mut phone = Phone::new(vec![]);
    let push = pushed(phone.offline(0, importance, 1));
    let report = phone.answer(push, WAIT).unwrap();
    assert_eq!((report.outcome, report.errors), (Outcome::Failed, 0));
    phone
}

/// Fails each attempt; returns the times of `count` attempts, in milliseconds.
fn attempts(phone: &mut Phone, count: usize) -> Vec<u64> {
    let mut times = Vec::new();
    while times.len() < count {
        let due = phone.engine.deadline().expect("another attempt");
        let now = u64::try_from(due.as_millis()).unwrap() + 1;
        if let Some((push, _)) = phone.at(now) {
            phone.answer_at(now, push, WAIT).unwrap();
            times.push(now);
        }
    }
    times
}

#[test]
fn what_is_owed_goes_before_what_a_call_speaks_for() {
    let mut phone = Phone::new(vec![hibernated()]);
    let push = pushed(phone.unacked(0, Important, 1));
    phone.answer(push, WAIT).unwrap();
    pushed(phone.unacked(100, Urgent, 2));
    assert!(!phone.ask(|engine, account| engine.is_spoken_for(ms(200), account, 0)));
    assert!(matches!(phone.unacked(200, Important, 3), Verdict::Hold(_)));
}

#[test]
fn a_transient_failure_is_tried_again_with_its_stanza() {
    let mut phone = owed(Important);
    let due = phone.engine.deadline().unwrap();
    assert!(
        (seconds(5)..=Duration::from_millis(7500)).contains(&due),
        "{due:?}"
    );
    let (push, stanza) = phone.at(7500).unwrap();
    assert_eq!(stanza, Some(1));
    phone.answer_at(7600, push, Answer::Result).unwrap();
    assert_eq!(phone.engine.deadline(), None);
    assert_eq!(phone.engine.waiting(), 0);
    let again = phone.offline(8000, Important, 1);
    assert_eq!(again, Verdict::Silent(Silence::AlreadyPushed));
}

#[test]
fn the_time_between_attempts_grows_to_the_longest() {
    let mut phone = owed(Important);
    phone.engine.configure(Options {
        max_failures: 0,
        ..Options::default()
    });
    let times = attempts(&mut phone, 14);
    let pauses: Vec<_> = times
        .windows(2)
        .map(|pair| (pair[1] - pair[0]) / 1000)
        .collect();
    for (attempt, pause) in pauses.iter().enumerate() {
        let base = (5 << (attempt + 1)).min(1800);
        assert!(
            (base..=(base * 3 / 2).min(1800) + 1).contains(pause),
            "{attempt}: {pauses:?}"
        );
    }
    assert_eq!(*pauses.last().unwrap(), 1800);
}

#[test]
fn who_has_failed_together_does_not_try_again_together() {
    let mut fleet = Fleet::new(Options {
        max_failures: 0,
        ..Options::default()
    });
    for push in fleet.offline(Duration::ZERO, 1) {
        fleet.answer(Duration::ZERO, push, WAIT);
    }
    let mut times = HashSet::new();
    while let Some(now) = fleet.engine.deadline().filter(|due| *due < seconds(8)) {
        times.insert(now);
        fleet.serve(now);
    }
    assert_eq!(times.len(), NODES.len(), "{times:?}");
}

#[test]
fn what_comes_meanwhile_is_owed_with_it_and_the_most_important_goes() {
    let mut phone = owed(Unimportant);
    assert!(matches!(
        phone.offline(1000, Important, 2),
        Verdict::Hold(_)
    ));
    assert!(matches!(
        phone.offline(1000, Important, 3),
        Verdict::Hold(_)
    ));
    let again = phone.offline(1000, Important, 2);
    assert_eq!(again, Verdict::Silent(Silence::AlreadyWaiting));
    let (push, stanza) = phone.at(7500).unwrap();
    assert_eq!(stanza, Some(2));
    let spoken_for = phone.offline(7500, Important, 3);
    assert_eq!(spoken_for, Verdict::Silent(Silence::AlreadyPushed));
    phone.answer_at(7500, push, Answer::Result).unwrap();
    assert_eq!(phone.at(100_000), None, "one push for all");
}

#[test]
fn a_call_is_tried_at_once_and_rings_for_a_minute_only() {
    let mut phone = owed(Important);
    let call = pushed(phone.offline(1000, Urgent, 2));
    phone.answer_at(1000, call, WAIT).unwrap();
    let released = |phone: &mut Phone, at| {
        phone.engine.expire(ms(at));
        let released = phone.ask(|engine, account| engine.release(ms(at), account, 0));
        released.map(|released| (released.stanza, released.importance))
    };
    assert_eq!(released(&mut phone, 20_000), Some((Some(2), Urgent)));

    let mut phone = Phone::new(vec![]);
    let call = pushed(phone.offline(0, Urgent, 2));
    phone.answer(call, WAIT).unwrap();
    assert_eq!(released(&mut phone, 70_000), Some((None, Important)));
}

#[test]
fn a_call_that_is_tried_again_may_take_twice_as_many_too() {
    let mut phone = Phone::new(vec![]);
    phone.engine.configure(Options {
        max_per_minute: 1,
        ..Options::default()
    });
    let call = pushed(phone.offline(0, Urgent, 1));
    phone.answer(call, WAIT).unwrap();
    assert_eq!(phone.at(7500).unwrap().1, Some(1));
}

#[test]
fn a_device_that_is_back_is_owed_nothing() {
    let cancels: [fn(&mut Phone); 4] = [
        |phone| phone.engine.back(ms(0), USER, ID),
        |phone| phone.engine.enabled(ms(0), USER, ID),
        |phone| phone.engine.forget(ms(0), USER, ID),
        |phone| phone.sessions = vec![live()],
    ];
    for (number, cancel) in cancels.iter().enumerate() {
        let mut phone = owed(Important);
        cancel(&mut phone);
        assert_eq!(phone.at(100_000), None, "{number}");
        assert_eq!(phone.engine.waiting(), 0, "{number}");
        // Nor does it get anything that fails only now.
        let mut phone = Phone::new(vec![]);
        let push = pushed(phone.offline(0, Important, 1));
        phone.engine.back(ms(0), USER, ID);
        phone.answer(push, WAIT);
        assert_eq!(phone.engine.waiting(), 0);
    }
}

#[test]
fn what_an_online_device_was_owed_is_met_again_if_its_session_dies() {
    let mut phone = owed(Important);
    phone.sessions = vec![live()];
    assert_eq!(phone.at(10_000), None);
    phone.sessions = vec![];
    pushed(phone.offline(20_000, Important, 1));
}

#[test]
fn nothing_is_owed_for_longer_than_a_day() {
    let mut phone = owed(Important);
    phone.engine.configure(Options {
        retry_age: seconds(60),
        ..Options::default()
    });
    attempts(&mut phone, 2);
    assert_eq!(phone.at(100_000), None);
    assert_eq!(phone.engine.waiting(), 0);
}

#[test]
fn a_push_that_is_answered_late_is_not_sent_again() {
    let mut phone = Phone::new(vec![]);
    let push = pushed(phone.offline(0, Important, 1));
    let expired = phone.engine.expire(seconds(120));
    assert_eq!(expired.unanswered[0].outcome, Outcome::Failed);
    let other = PushId {
        nonce: push.nonce ^ 1,
        ..push
    };
    let from_elsewhere =
        phone
            .engine
            .answered(seconds(121), &push.to_string(), "x.test", Answer::Result);
    assert_eq!(from_elsewhere, None);
    assert_eq!(phone.answer_at(121_000, other, Answer::Result), None);
    assert_eq!(phone.answer_at(121_000, push, refused("gone")), None);
    let report = phone.answer_at(121_000, push, Answer::Result).unwrap();
    assert_eq!(report.outcome, Outcome::Delivered);
    assert_eq!((phone.engine.waiting(), phone.at(1_000_000)), (0, None));
}

/// Several devices of one push service.
struct Fleet {
    engine: Engine<u64>,
    registrations: Vec<Registration<'static>>,
}

const NODES: [&str; 12] = [
    "push.test<0",
    "push.test<1",
    "push.test<2",
    "push.test<3",
    "push.test<4",
    "push.test<5",
    "push.test<6",
    "push.test<7",
    "push.test<8",
    "push.test<9",
    "push.test<10",
    "push.test<11",
];

impl Fleet {
    fn new(options: Options) -> Self {
        let registration = |identifier| Registration {
            identifier,
            ..PHONE
        };
        Self {
            engine: Engine::with_key(options, crate::stanza::Key::known(1)),
            registrations: NODES.into_iter().map(registration).collect(),
        }
    }

    /// A message for each device; returns the pushes that leave.
    fn offline(&mut self, now: Duration, id: u64) -> Vec<PushId> {
        let account = Account {
            user: USER,
            registrations: &self.registrations,
            sessions: &[],
        };
        let facts = facts(Important, id);
        let decisions = self
            .engine
            .offline(now, &account, &facts, StanzaId(id))
            .into_iter();
        let mut pushes = Vec::new();
        for decision in decisions {
            match decision.verdict {
                Verdict::Push(push) => pushes.push(push),
                Verdict::Hold(ticket) => self.engine.hold(now, ticket, Some(id)),
                Verdict::Silent(silence) => panic!("{silence:?}"),
            }
        }
        pushes
    }

    fn answer(&mut self, now: Duration, push: PushId, answer: Answer<'_>) -> Report {
        self.engine
            .answered(now, &push.to_string(), "push.test", answer)
            .unwrap()
    }

    /// The pushes that leave when all deadlines up to `end` are served, each in its time.
    fn serve(&mut self, end: Duration) -> Vec<PushId> {
        let mut pushes = Vec::new();
        while let Some(now) = self.engine.deadline().filter(|due| *due <= end) {
            for due in self.engine.expire(now).due {
                let registration = |one: &&Registration<'_>| one.identifier == &*due.identifier;
                let found = self.registrations.iter().find(registration).unwrap();
                let account = Account {
                    user: USER,
                    registrations: &[*found],
                    sessions: &[],
                };
                let released = self.engine.release(now, &account, 0);
                pushes.extend(released.map(|released| released.id));
            }
        }
        pushes
    }

    /// All devices are owed a push, and the service is out.
    fn out(options: Options) -> Self {
        let mut fleet = Self::new(options);
        let pushes = fleet.offline(Duration::ZERO, 1);
        assert_eq!(pushes.len(), NODES.len());
        let reports: Vec<_> = pushes
            .into_iter()
            .map(|push| fleet.answer(Duration::ZERO, push, WAIT))
            .collect();
        let changes: Vec<_> = reports
            .iter()
            .filter_map(|report| report.service.clone())
            .collect();
        let said: Vec<_> = changes
            .iter()
            .map(|change| (change.state, change.failures, &*change.jid))
            .collect();
        let expected = [
            (ServiceState::Failing, 1, "push.test"),
            (ServiceState::Out, 5, "push.test"),
        ];
        assert_eq!(said, expected, "each is said once");
        assert_eq!(fleet.engine.services_out(), ["push.test"]);
        fleet
    }
}

#[test]
fn a_service_that_fails_is_probed_by_one_push_at_a_time() {
    let mut fleet = Fleet::out(Options::default());
    let probe = fleet.serve(seconds(10));
    assert_eq!(probe.len(), 1);
    assert_eq!(
        fleet.offline(seconds(11), 2),
        [],
        "all others are only owed it"
    );
    assert_eq!(
        fleet.serve(seconds(60)),
        [],
        "no other one before it is answered"
    );
    fleet.answer(seconds(60), probe[0], WAIT);
    let second = fleet.serve(seconds(76));
    assert_eq!(second.len(), 1);
    assert_ne!(
        second[0].device, probe[0].device,
        "not always the same device"
    );
    fleet.answer(seconds(76), second[0], WAIT);
    assert_eq!(fleet.serve(seconds(76 + 19)), [], "the pauses grow");
    assert_eq!(fleet.serve(seconds(76 + 31)).len(), 1);
}

#[test]
fn a_connection_releases_all_that_is_owed_there() {
    let mut fleet = Fleet::out(Options::default());
    assert_eq!(fleet.engine.connected(seconds(1), "other.test"), []);
    assert_eq!(fleet.serve(seconds(1)), []);
    let changes = fleet.engine.connected(seconds(1), "push.test");
    let said = (changes[0].state, changes[0].failures, changes[0].owed);
    assert_eq!(said, (ServiceState::Back, 12, 12));
    assert_eq!(
        fleet.serve(seconds(1)).len(),
        5,
        "a tenth of what a second may bring"
    );
    assert_eq!(fleet.serve(seconds(2)).len(), NODES.len() - 5);
}

#[test]
fn a_connection_releases_also_where_the_circuit_was_never_open() {
    let mut phone = owed(Important);
    for _ in 0..4 {
        let now = phone.engine.deadline().unwrap().as_millis();
        let now = u64::try_from(now).unwrap() + 1;
        let (push, _) = phone.at(now).unwrap();
        phone
            .answer_at(now, push, refused("service-unavailable"))
            .unwrap();
    }
    let before = phone.engine.deadline().unwrap();
    assert!(before > seconds(60));
    assert_eq!(phone.engine.connected(seconds(60), "push.test"), []);
    assert!(phone.at(60_000).is_some());
}

#[test]
fn stanzas_of_a_service_may_come_by_the_thousand() {
    let mut fleet = Fleet::out(Options::default());
    let change = fleet.engine.heard(seconds(1), "push.test").unwrap();
    assert_eq!(change.state, ServiceState::Back);
    assert_eq!(
        fleet.serve(seconds(1)),
        [],
        "answers on their way come first"
    );
    for push in fleet.serve(seconds(3)) {
        fleet.answer(seconds(3), push, WAIT);
    }
    assert_eq!(fleet.engine.services_out(), ["push.test"]);
    for _ in 0..10 {
        assert_eq!(
            fleet.engine.heard(Duration::from_millis(5999), "push.test"),
            None
        );
        assert_eq!(
            fleet
                .engine
                .heard(Duration::from_millis(5999), "user@push.test"),
            None
        );
    }
    assert!(
        fleet.engine.heard(seconds(6), "push.test").is_some(),
        "one sign in five seconds"
    );
}

#[test]
fn a_probe_that_has_no_turn_does_not_stop_others() {
    let mut fleet = Fleet::new(Options {
        max_failures: 1,
        ..Options::default()
    });
    for push in fleet.offline(Duration::ZERO, 1) {
        fleet.answer(Duration::ZERO, push, WAIT);
    }
    let due = fleet.engine.expire(seconds(8)).due;
    assert_eq!(due.len(), 1);
    assert_eq!(
        fleet.engine.expire(seconds(8)).due,
        [],
        "one turn at a time"
    );
    fleet.engine.postpone(seconds(8), USER, &due[0].identifier);
    let second = fleet.engine.expire(seconds(8)).due;
    assert_eq!(second.len(), 1);
    assert_ne!(second, due);
    fleet.engine.forget(seconds(8), USER, &second[0].identifier);
    let third = fleet.engine.expire(seconds(8)).due;
    assert_eq!(third.len(), 1);
    // Nobody takes it: it comes again, and another device has one besides.
    assert_eq!(fleet.engine.expire(Duration::from_millis(8999)).due, []);
    assert_eq!(fleet.engine.expire(seconds(9)).due.len(), 2);
}

#[test]
fn the_probe_is_a_call_or_of_who_has_failed_least() {
    let mut fleet = Fleet::out(Options::default());
    let mut probed = HashSet::new();
    let mut now = Duration::ZERO;
    while probed.len() < NODES.len() {
        now = fleet.engine.deadline().unwrap();
        for probe in fleet.serve(now) {
            assert!(probed.insert(probe.device), "another one has failed less");
            fleet.answer(now, probe, WAIT);
        }
    }
    let caller = fleet.registrations[7];
    let account = Account {
        user: USER,
        registrations: &[caller],
        sessions: &[],
    };
    let decision = fleet
        .engine
        .offline(now, &account, &facts(Urgent, 3), StanzaId(3))
        .remove(0);
    let Verdict::Push(call) = decision.verdict else {
        panic!("a call waits for nobody")
    };
    fleet.answer(now, call, WAIT);
    let mut probe = Vec::new();
    while probe.is_empty() {
        probe = fleet.serve(fleet.engine.deadline().unwrap());
    }
    assert_eq!(probe.len(), 1);
    assert_eq!(probe[0].device, call.device);
}

#[test]
fn whoever_has_not_failed_is_pushed_to_at_once() {
    let mut fleet = Fleet::out(Options::default());
    let fresh = Registration {
        identifier: "push.test<fresh",
        ..PHONE
    };
    let account = Account {
        user: "rosa",
        registrations: &[fresh],
        sessions: &[],
    };
    let mut push = |id| {
        let facts = facts(Important, id);
        let decision = fleet
            .engine
            .offline(seconds(1), &account, &facts, StanzaId(id))
            .remove(0);
        decision.verdict
    };
    let first = pushed(push(1));
    pushed(push(2));
    fleet.answer(seconds(1), first, WAIT);
    let account = Account {
        user: "rosa",
        registrations: &[fresh],
        sessions: &[],
    };
    let decision = fleet
        .engine
        .offline(seconds(1), &account, &facts(Important, 3), StanzaId(3));
    assert!(
        matches!(decision[0].verdict, Verdict::Hold(_)),
        "now it waits with the others"
    );
}

#[test]
fn whoever_answers_is_alive() {
    let said_of_one = [
        ("wait", "bad-request"),
        ("wait", "recipient-unavailable"),
        ("wait", "resource-constraint"),
        ("wait", "undefined-condition"),
        ("cancel", "recipient-unavailable"),
    ];
    for (kind, condition) in said_of_one {
        let answer = Answer::Error {
            kind: Some(kind),
            condition: Some(condition),
        };
        let mut fleet = Fleet::new(Options::default());
        for push in fleet.offline(Duration::ZERO, 1) {
            let report = fleet.answer(Duration::ZERO, push, answer);
            assert_eq!(report.outcome, Outcome::Failed, "{condition}");
        }
        assert_eq!(fleet.engine.services_out(), [""; 0], "{condition}");
        // Each has its own pause; that others get an answer shortens none.
        assert_eq!(fleet.serve(Duration::from_millis(4999)), [], "{condition}");
        let again = fleet.serve(Duration::from_millis(7500));
        assert_eq!(again.len(), NODES.len(), "{condition}");
    }
}

#[test]
fn what_a_service_says_of_itself_to_one_user_may_be_about_that_one() {
    let itself = Answer::Error {
        kind: Some("wait"),
        condition: Some("internal-server-error"),
    };
    let mut fleet = Fleet::new(Options::default());
    for push in fleet.offline(Duration::ZERO, 1) {
        fleet.answer(Duration::ZERO, push, itself);
    }
    assert_eq!(fleet.engine.services_out(), [""; 0]);
    let other = Registration {
        identifier: "push.test<other",
        ..PHONE
    };
    let account = Account {
        user: "rosa",
        registrations: &[other],
        sessions: &[],
    };
    let decision = fleet
        .engine
        .offline(seconds(1), &account, &facts(Important, 1), StanzaId(1))
        .remove(0);
    let push = pushed(decision.verdict);
    let report = fleet.answer(seconds(1), push, itself);
    assert_eq!(
        report.service.unwrap().state,
        ServiceState::Out,
        "it says so to two"
    );
}

#[test]
fn what_a_service_has_said_of_itself_is_its_matter_once_it_says_so_to_others() {
    let mut engine = Engine::default();
    for user in ["1", "2", "3", "4", "5", "6"] {
        let push = offline_for(&mut engine, seconds(0), user, ID, 1).unwrap();
        let said = refused("internal-server-error");
        engine.answered(seconds(0), &push.to_string(), "push.test", said);
    }
    assert_eq!(engine.services_out(), ["push.test"]);
    assert!(engine.heard(seconds(1), "push.test").is_some());
    let mut released = 0;
    while let Some(now) = engine.deadline().filter(|due| *due < seconds(3)) {
        for due in engine.expire(now).due {
            engine.back(ms(0), &due.user, &due.identifier);
            released += 1;
        }
    }
    assert_eq!(released, 6, "also those who were told before the others");
}

#[test]
fn a_success_in_between_speaks_for_the_service() {
    let itself = Answer::Error {
        kind: Some("wait"),
        condition: Some("internal-server-error"),
    };
    let mut fleet = Fleet::new(Options {
        max_failures: 3,
        ..Options::default()
    });
    for (index, push) in fleet.offline(Duration::ZERO, 1).into_iter().enumerate() {
        let answer = if index % 3 == 2 {
            Answer::Result
        } else {
            itself
        };
        fleet.answer(Duration::ZERO, push, answer);
    }
    assert_eq!(fleet.engine.services_out(), [""; 0]);
}

#[test]
fn that_others_get_an_answer_releases_also_who_has_failed_for_long() {
    let mut phone = owed(Important);
    phone.engine.configure(Options {
        max_failures: 0,
        ..Options::default()
    });
    let now = *attempts(&mut phone, 5).last().unwrap() + 1000;
    let next = phone.engine.deadline().unwrap();
    assert!(next > ms(now + 60_000));
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
        .ping(ms(now), &account, 0, Occasion::Asked)
        .unwrap();
    phone.answer_at(now, ping, Answer::Result).unwrap();
    assert!(phone.at(now + 250).is_some());
}

#[test]
fn who_has_failed_again_and_again_is_not_tried_whenever_others_get_an_answer() {
    let mut phone = owed(Important);
    phone.engine.configure(Options {
        max_per_minute: 0,
        ..Options::default()
    });
    let other = Registration {
        identifier: "push.test<other",
        ..PHONE
    };
    let mut tries = 0;
    for second in 1..600_u64 {
        let now = second * 1000;
        let account = Account {
            user: "rosa",
            registrations: &[other],
            sessions: &[],
        };
        if let Ok(ping) = phone.engine.ping(ms(now), &account, 0, Occasion::Asked) {
            phone.answer_at(now, ping, Answer::Result).unwrap();
        }
        for step in 0..10 {
            if let Some((push, _)) = phone.at(now + step * 100) {
                phone.answer_at(now + step * 100, push, WAIT).unwrap();
                tries += 1;
            }
        }
    }
    assert!((4..=10).contains(&tries), "{tries} times in ten minutes");
}

#[test]
fn what_a_lost_connection_has_in_its_hands_is_owed_at_once() {
    let mut fleet = Fleet::new(Options::default());
    let pushes = fleet.offline(Duration::ZERO, 1);
    assert_eq!(fleet.engine.disconnected(seconds(1), "other.test"), []);
    let reports = fleet.engine.disconnected(seconds(1), "push.test");
    let lost: Vec<_> = reports.iter().map(|report| report.push).collect();
    assert_eq!((lost.len(), fleet.engine.in_flight()), (pushes.len(), 0));
    assert!(
        reports
            .iter()
            .all(|report| report.outcome == Outcome::Failed)
    );
    assert_eq!(fleet.engine.waiting(), NODES.len());
    fleet.engine.connected(seconds(2), "push.test");
    assert_eq!(fleet.serve(seconds(3)).len(), NODES.len());
}

#[test]
fn a_refused_push_speaks_for_nothing() {
    for answer in [refused("forbidden"), WAIT] {
        let mut phone = Phone::new(vec![hibernated()]);
        let push = pushed(phone.unacked(0, Important, 1));
        assert_eq!(
            phone.unacked(100, Important, 2),
            Verdict::Silent(Silence::SpokenFor)
        );
        phone.answer_at(200, push, answer).unwrap();
        match phone.unacked(300, Important, 3) {
            Verdict::Push(_) => assert_ne!(answer, WAIT),
            Verdict::Hold(_) => assert_eq!(answer, WAIT, "it is owed with the first"),
            Verdict::Silent(silence) => panic!("{silence:?}"),
        }
    }
}

#[test]
fn a_push_that_was_refused_ends_no_window_but_its_own() {
    let mut phone = Phone::new(vec![hibernated()]);
    let first = pushed(phone.unacked(0, Important, 1));
    let second = pushed(phone.unacked(1500, Important, 2));
    phone.answer_at(1600, first, refused("forbidden")).unwrap();
    assert_eq!(
        phone.unacked(1700, Important, 3),
        Verdict::Silent(Silence::SpokenFor)
    );
    phone.answer_at(1800, second, Answer::Result).unwrap();
}

#[test]
fn what_a_delivered_push_speaks_for_wakes_nobody_again() {
    let mut phone = Phone::new(vec![]);
    let older = pushed(phone.offline(0, Important, 1));
    let newer = pushed(phone.offline(1000, Important, 2));
    phone.answer_at(1100, newer, Answer::Result).unwrap();
    let expired = phone.engine.expire(seconds(120));
    assert_eq!(expired.unanswered.len(), 1);
    assert_eq!(expired.unanswered[0].push, older);
    assert_eq!((phone.engine.waiting(), phone.engine.deadline()), (0, None));
    pushed(phone.offline(130_000, Important, 3));
}

#[test]
fn a_delivered_push_does_not_speak_for_more_than_it_says() {
    // A newer one, a more important one, and content that only the older one carries.
    let mut phone = Phone::new(vec![]);
    let older = pushed(phone.offline(0, Important, 1));
    pushed(phone.offline(1000, Important, 2));
    phone.answer_at(1100, older, Answer::Result).unwrap();
    phone.engine.expire(seconds(121));
    assert_eq!(phone.engine.waiting(), 1);

    let mut phone = Phone::new(vec![]);
    pushed(phone.offline(0, Important, 1));
    let newer = pushed(phone.offline(1000, Unimportant, 2));
    phone.answer_at(1100, newer, Answer::Result).unwrap();
    phone.engine.expire(seconds(120));
    assert_eq!(phone.engine.waiting(), 1);

    let mut phone = Phone::new(vec![]);
    phone.registration.content = true;
    pushed(phone.offline(0, Important, 1));
    let newer = pushed(phone.offline(1000, Important, 2));
    phone.answer_at(1100, newer, Answer::Result).unwrap();
    phone.engine.expire(seconds(120));
    assert_eq!(phone.engine.waiting(), 1);
}

#[test]
fn a_device_that_is_told_to_wait_for_thirty_days_is_given_up() {
    let day = Duration::from_hours(24);
    let told = Answer::Error {
        kind: Some("wait"),
        condition: Some("recipient-unavailable"),
    };
    let mut phone = Phone::new(vec![]);
    let mut now = Duration::ZERO;
    let mut suspended_at = None;
    for id in 1..=40 {
        // A message a day, while others at this service succeed.
        let verdict = phone.offline(u64::try_from(now.as_millis()).unwrap(), Important, id);
        let mut push = match verdict {
            Verdict::Push(push) => Some(push),
            Verdict::Hold(ticket) => {
                phone.engine.hold(now, ticket, Some(id));
                None
            }
            Verdict::Silent(silence) => panic!("{silence:?}"),
        };
        let end = now + day;
        while suspended_at.is_none() {
            if let Some(push) = push.take() {
                let report = phone
                    .engine
                    .answered(now, &push.to_string(), "push.test", told)
                    .unwrap();
                if report.outcome == Outcome::Suspended {
                    suspended_at = Some(now);
                }
            }
            let Some(due) = phone.engine.deadline().filter(|due| *due < end) else {
                break;
            };
            now = due;
            push = phone
                .at(u64::try_from(now.as_millis()).unwrap() + 1)
                .map(|(push, _)| push);
        }
        now = end;
    }
    let suspended_at = suspended_at.expect("it ends");
    assert!(
        (30 * day..=31 * day).contains(&suspended_at),
        "{suspended_at:?}"
    );
    assert_eq!(phone.engine.services_out(), [""; 0]);
}

#[test]
fn what_is_under_way_is_owed_after_a_restart() {
    let mut phone = Phone::new(vec![]);
    pushed(phone.offline(0, Important, 1));
    let answered = pushed(phone.offline(0, Unimportant, 2));
    phone.answer(answered, Answer::Result).unwrap();
    let (owed, failing) = phone.engine.owed(seconds(3));
    assert_eq!((owed.len(), failing.len()), (1, 0));
    assert_eq!(
        (owed[0].importance, owed[0].age, owed[0].due_in),
        (Important, seconds(3), seconds(5))
    );
    phone.engine = Engine::default();
    phone.engine.restore(seconds(100), &owed[0], 0);
    assert!(phone.at(104_999).is_none());
    assert!(phone.at(105_000).is_some());

    // The device is back meanwhile: it has received all.
    let mut phone = Phone::new(vec![]);
    pushed(phone.offline(0, Important, 1));
    phone.engine.back(ms(0), USER, ID);
    assert_eq!(phone.engine.owed(seconds(3)).0, []);
}

#[test]
fn what_stands_by_for_a_push_that_is_moot_is_owed_after_a_restart() {
    let mut phone = Phone::new(vec![]);
    let first = pushed(phone.offline(0, Important, 1));
    phone.engine.expire(seconds(120));
    assert!(matches!(
        phone.offline(121_000, Important, 2),
        Verdict::Hold(_)
    ));
    let (second, _) = phone.at(130_000).unwrap();
    phone.answer_at(130_001, first, Answer::Result).unwrap();
    assert!(phone.engine.is_in_flight(&second.to_string()));
    let (owed, _) = phone.engine.owed(seconds(131));
    assert_eq!(owed.len(), 1);
}

#[test]
fn what_was_owed_before_a_restart_goes_out_when_its_service_connects() {
    let mut phone = owed(Important);
    let (owed, _) = phone.engine.owed(seconds(1));
    phone.engine = Engine::default();
    phone.engine.restore(seconds(100), &owed[0], 0);
    phone.engine.connected(seconds(101), "push.test");
    assert!(phone.at(101_000).is_some());
}

#[test]
fn what_was_owed_before_a_restart_goes_out_when_its_service_says_anything() {
    let mut phone = owed(Important);
    let (owed, _) = phone.engine.owed(seconds(1));
    phone.engine = Engine::default();
    phone.engine.restore(seconds(100), &owed[0], 0);
    assert_eq!(phone.engine.services_watched(), ["push.test"]);
    phone.engine.heard(seconds(101), "push.test");
    assert!(phone.at(101_250).is_some());
}

#[test]
fn a_service_that_nobody_waits_for_any_more_is_watched_again_when_somebody_does() {
    let mut phone = owed(Important);
    assert_eq!(phone.engine.services_watched(), ["push.test"]);
    phone.engine.back(ms(0), USER, ID);
    assert_eq!(phone.engine.services_watched(), [""; 0]);
    let push = pushed(phone.offline(1, Important, 2));
    let report = phone.answer_at(1, push, WAIT).unwrap();
    assert_eq!(report.service.unwrap().state, ServiceState::Failing);
    assert_eq!(phone.engine.services_watched(), ["push.test"]);
}

#[test]
fn an_error_that_comes_late_says_that_the_service_is_back_unless_it_says_that_it_is_not() {
    let mut phone = Phone::new(vec![]);
    phone.engine.configure(Options {
        max_failures: 1,
        ..Options::default()
    });
    let push = pushed(phone.offline(0, Important, 1));
    assert!(phone.at(120_000).is_none());
    assert_eq!(phone.engine.services_out(), ["push.test"]);
    for condition in [
        "internal-server-error",
        "remote-server-not-found",
        "remote-server-timeout",
        "service-unavailable",
    ] {
        let answer = Answer::Error {
            kind: Some("wait"),
            condition: Some(condition),
        };
        assert_eq!(phone.answer_at(121_000, push, answer), None);
        assert_eq!(phone.engine.services_out(), ["push.test"]);
    }
    let report = phone.answer_at(121_000, push, LIMITED).unwrap();
    assert_eq!(report.device, None);
    assert_eq!(report.service.unwrap().state, ServiceState::Back);
    assert_eq!(phone.answer_at(122_000, push, LIMITED), None);
}

#[test]
fn whoever_fills_all_room_delays_nobody_else() {
    let mut fleet = Fleet::new(Options {
        max_in_flight: 3,
        max_per_minute: 0,
        ..Options::default()
    });
    // Each device has one, whatever is under way.
    assert_eq!(fleet.offline(Duration::ZERO, 1).len(), NODES.len());
    // A second one waits for the answer to the first, a call does not.
    assert_eq!(fleet.offline(Duration::ZERO, 2), []);
    let account = Account {
        user: USER,
        registrations: &fleet.registrations[..1],
        sessions: &[],
    };
    let decision = fleet
        .engine
        .offline(Duration::ZERO, &account, &facts(Urgent, 3), StanzaId(3))
        .remove(0);
    let call = pushed(decision.verdict);
    assert_eq!(
        fleet.engine.deadline(),
        Some(seconds(120)),
        "nothing is asked for again and again"
    );
    fleet.answer(Duration::ZERO, call, Answer::Result);
    assert_eq!(
        fleet.serve(Duration::ZERO),
        [],
        "the call has spoken for it, and its first one is under way"
    );
    let now = seconds(1);
    let first = fleet
        .engine
        .schedule
        .in_flight
        .iter()
        .map(|(id, _)| id)
        .find(|id| id.device != call.device)
        .unwrap();
    fleet.answer(now, first, Answer::Result);
    let second = fleet.serve(now);
    assert_eq!(second.len(), 1);
    assert_eq!(second[0].device, first.device);
}

#[test]
fn a_user_has_a_share_and_calls_twice_as_much() {
    let mut phone = Phone::new(vec![]);
    phone.engine.configure(Options {
        max_per_minute: 0,
        ..Options::default()
    });
    let share = u64::from(MAX_IN_FLIGHT_OF_USER);
    for id in 0..share {
        pushed(phone.offline(0, Important, id));
    }
    assert!(matches!(
        phone.offline(0, Important, share),
        Verdict::Hold(_)
    ));
    for id in 0..share {
        pushed(phone.offline(0, Urgent, 1000 + id));
    }
    assert!(matches!(phone.offline(0, Urgent, 2000), Verdict::Hold(_)));
    // Another device of the same user still has its first one, and other users all of theirs.
    for (user, identifier) in [
        (USER, "push.test<second"),
        ("rosa", "push.test<hers"),
        ("rosa", "push.test<hers"),
    ] {
        let account = Account {
            user,
            registrations: &[Registration {
                identifier,
                ..PHONE
            }],
            sessions: &[],
        };
        assert!(
            phone
                .engine
                .ping(ms(0), &account, 0, Occasion::Asked)
                .is_ok(),
            "{identifier}"
        );
    }
    let account = Account {
        user: USER,
        registrations: &[Registration {
            identifier: "push.test<second",
            ..PHONE
        }],
        sessions: &[],
    };
    assert_eq!(
        phone.engine.ping(ms(0), &account, 0, Occasion::Asked).ok(),
        None
    );
    phone.engine.expire(seconds(120));
    assert_eq!(
        (
            phone.engine.in_flight(),
            phone.engine.schedule.in_flight.of_users.len()
        ),
        (0, 0)
    );
}

#[test]
fn what_is_owed_goes_out_at_a_bounded_rate() {
    let mut fleet = Fleet::out(Options {
        recovery_rate: 20,
        ..Options::default()
    });
    let probe = fleet.serve(seconds(10));
    let report = fleet.answer(seconds(10), probe[0], Answer::Result);
    let change = report.service.unwrap();
    assert_eq!(
        (change.state, change.owed),
        (ServiceState::Back, NODES.len() - 1)
    );
    assert_eq!(fleet.engine.services_out(), [""; 0]);
    // Answers that are on their way come first.
    assert_eq!(fleet.serve(seconds(10) + Duration::from_millis(249)), []);
    let mut counts = Vec::new();
    for tenth in 0..7 {
        let now = seconds(10) + Duration::from_millis(250 + tenth * 100);
        let pushes = fleet.serve(now);
        counts.push(pushes.len());
        for push in pushes {
            fleet.answer(now, push, Answer::Result);
        }
    }
    assert_eq!(counts, [2, 2, 2, 2, 2, 1, 0]);
    assert_eq!(
        (fleet.engine.waiting(), fleet.engine.services_busy()),
        (0, 0)
    );
}

#[test]
fn a_permanent_error_shows_that_the_service_works() {
    let mut fleet = Fleet::out(Options::default());
    let probe = fleet.serve(seconds(10));
    let report = fleet.answer(seconds(10), probe[0], refused("gone"));
    assert_eq!((report.outcome, report.errors), (Outcome::Refused, 1));
    assert_eq!(report.service.unwrap().state, ServiceState::Back);
}

#[test]
fn without_a_limit_of_failures_each_device_is_on_its_own() {
    let mut fleet = Fleet::new(Options {
        max_failures: 0,
        ..Options::default()
    });
    for push in fleet.offline(Duration::ZERO, 1) {
        fleet.answer(Duration::ZERO, push, WAIT);
    }
    assert_eq!(fleet.engine.services_out(), [""; 0]);
    assert_eq!(fleet.serve(Duration::from_millis(7500)).len(), NODES.len());
}

#[test]
fn a_service_that_nobody_could_reach_for_thirty_days_is_given_up() {
    let day = Duration::from_hours(24);
    let mut fleet = Fleet::out(Options {
        retry_age: 100 * day,
        ..Options::default()
    });
    let mut now = Duration::ZERO;
    while now < 30 * day {
        now = fleet.engine.deadline().unwrap().max(now) + Duration::from_secs(1);
        for push in fleet.serve(now) {
            let report = fleet.answer(now, push, WAIT);
            assert_eq!(report.outcome == Outcome::Suspended, now >= 30 * day);
        }
    }
    let expired = fleet.engine.expire(now + seconds(1));
    assert!(!expired.given_up.is_empty());
}

#[test]
fn errors_that_blame_the_registration_suspend_it() {
    let mut phone = Phone::new(vec![]);
    phone.engine.configure(Options {
        max_errors: 2,
        ..Options::default()
    });
    let mut refuse = |id, answer| {
        let push = pushed(phone.offline(0, Important, id));
        phone.answer(push, answer).unwrap().outcome
    };
    assert_eq!(refuse(1, refused("gone")), Outcome::Refused);
    assert_eq!(refuse(2, refused("forbidden")), Outcome::Suspended);
    assert_eq!(refuse(3, refused("item-not-found")), Outcome::Removed);
    assert_eq!(refuse(4, refused("gone")), Outcome::Removed);
}

#[test]
fn a_suspended_registration_gets_one_push_after_its_pause() {
    let mut phone = Phone::new(vec![]);
    phone.engine.suspend(ms(0), USER, ID, seconds(1000));
    phone.registration.suspended = Some(seconds(1000));
    for (id, importance) in [(1, Unimportant), (2, Important), (3, Urgent)] {
        let verdict = phone.offline(1000, importance, id);
        assert!(matches!(verdict, Verdict::Hold(_)));
    }
    assert_eq!(phone.at(999_999), None);
    phone.registration.suspended = Some(Duration::ZERO);
    let (trial, _) = phone.at(1_000_000).unwrap();
    let report = phone.answer_at(1_000_000, trial, Answer::Result).unwrap();
    assert_eq!(report.outcome, Outcome::Revived);
    phone.registration.suspended = None;
    pushed(phone.offline(1_000_001, Important, 4));
}

#[test]
fn nothing_has_waited_for_a_device_that_is_back_before_a_trial_for_nothing() {
    let returned = |prepare: fn(&mut Phone)| {
        let mut phone = Phone::new(vec![]);
        prepare(&mut phone);
        phone.engine.enabled(seconds(1), USER, ID);
        let trail = phone.engine.trail(USER);
        trail
            .last()
            .is_some_and(|last| last.event == Event::RETURNED)
    };
    let suspend = |phone: &mut Phone| {
        phone.engine.suspend(ms(0), USER, ID, seconds(1000));
        phone.registration.suspended = Some(seconds(1000));
    };
    assert!(!returned(|_| ()));
    assert!(!returned(suspend));
    assert!(returned(|phone| {
        phone.engine.suspend(ms(0), USER, ID, seconds(1000));
        phone.registration.suspended = Some(seconds(1000));
        phone.offline(500, Important, 1);
    }));
    assert!(returned(|phone| {
        let push = pushed(phone.offline(0, Important, 1));
        phone.answer(push, WAIT);
    }));
}

#[test]
fn a_trial_that_fails_suspends_again_and_a_passing_failure_is_tried_again() {
    let mut phone = Phone::new(vec![]);
    phone.engine.suspend(ms(0), USER, ID, seconds(1000));
    phone.registration.suspended = Some(Duration::ZERO);
    let (trial, stanza) = phone.at(1_000_000).unwrap();
    assert_eq!(stanza, None, "nothing was missed");
    let report = phone.answer_at(1_000_000, trial, WAIT).unwrap();
    assert_eq!(report.outcome, Outcome::Failed);
    let (trial, _) = phone.at(1_010_000).unwrap();
    let report = phone
        .answer_at(1_010_000, trial, refused("forbidden"))
        .unwrap();
    assert_eq!(report.outcome, Outcome::Suspended);
}

#[test]
fn a_suspension_that_only_the_record_knows_of_counts() {
    let mut phone = Phone::new(vec![]);
    phone.registration.suspended = Some(seconds(100));
    assert!(matches!(phone.offline(0, Important, 1), Verdict::Hold(_)));
    assert_eq!(phone.at(99_999), None);
    phone.registration.suspended = Some(Duration::ZERO);
    assert_eq!(phone.at(100_000).unwrap().1, Some(1));
}

#[test]
fn what_is_owed_outlives_the_engine() {
    let mut phone = owed(Important);
    let (owed, failing) = phone.engine.owed(seconds(1));
    assert_eq!((owed.len(), failing.len()), (1, 1));
    assert_eq!(owed[0].importance, Important);
    assert_eq!(owed[0].age, seconds(1));

    phone.engine = Engine::default();
    phone.engine.restore_service(seconds(100), &failing[0]);
    phone.engine.restore(seconds(100), &owed[0], 0);
    assert_eq!(
        phone.at(110_000).map(|(_, stanza)| stanza),
        Some(None),
        "without its stanza"
    );
    assert_eq!(phone.engine.owed(seconds(200)).1[0].age, seconds(101));
}

#[test]
fn what_is_too_old_is_not_restored_and_the_rest_not_all_at_once() {
    let device = |number: usize| DeviceName {
        user: USER.into(),
        identifier: format!("push.test<{number}").into(),
    };
    let owed = |number, age| Owed {
        service: None,
        device: device(number),
        importance: Important,
        age,
        due_in: Duration::ZERO,
        failures: 1,
        failing_for: age,
        suspended: false,
    };
    let mut engine = Engine::<u64>::default();
    let now = Duration::from_hours(48);
    engine.restore(now, &owed(0, Duration::from_hours(25)), 0);
    assert_eq!(engine.waiting(), 0);
    for number in 0..200 {
        engine.restore(now, &owed(number, Duration::ZERO), number);
    }
    for second in 0..4 {
        let due = engine.expire(now + seconds(second)).due;
        assert_eq!(due.len(), 50);
        for due in due {
            engine.back(ms(0), &due.user, &due.identifier);
        }
    }
}

#[test]
fn a_turn_that_cannot_be_taken_comes_again() {
    let mut phone = owed(Important);
    assert_eq!(phone.engine.expire(seconds(10)).due.len(), 1);
    phone.engine.postpone(seconds(10), USER, ID);
    assert!(phone.at(70_000).is_some());
}

#[test]
fn a_turn_that_can_never_be_taken_ends_with_the_debt() {
    let mut phone = owed(Important);
    let retry_age = phone.engine.schedule.options.retry_age;
    for hour in 1.. {
        let now = Duration::from_hours(hour);
        if phone.engine.expire(now).due.is_empty() {
            break;
        }
        assert!(now <= retry_age + Duration::from_hours(1));
        phone.engine.postpone(now, USER, ID);
    }
    assert_eq!(phone.engine.waiting(), 0);
}

#[test]
fn devices_that_are_owed_something_are_forgotten_last() {
    let mut phone = owed(Important);
    assert_eq!(phone.engine.schedule.devices.max_count, 131_072);
    phone.engine.schedule.devices.max_count = 1000;
    let mut now = ms(0);
    for number in 0..2000 {
        now += ms(1);
        let identifier = format!("other.test<{number}");
        let other = Registration {
            identifier: &identifier,
            jid: "other.test",
            ..PHONE
        };
        let account = Account {
            user: USER,
            registrations: &[other],
            sessions: &[],
        };
        let id = phone
            .engine
            .ping(now, &account, 0, Occasion::Asked)
            .unwrap();
        phone
            .engine
            .answered(now, &id.to_string(), "other.test", Answer::Result);
    }
    let remembered = phone.engine.schedule.devices.iter().count();
    assert_eq!(remembered, 1000);
    assert_eq!(phone.engine.waiting(), 1);
}

#[test]
fn a_push_service_is_reported_also_where_the_registration_has_ended_meanwhile() {
    let mut fleet = Fleet::new(Options {
        max_failures: 1,
        recovery_rate: 1000,
        ..Options::default()
    });
    let pushes = fleet.offline(Duration::ZERO, 1);
    let identifier = |fleet: &Fleet, push: PushId| {
        fleet
            .engine
            .schedule
            .devices
            .get(push.device)
            .unwrap()
            .name()
            .identifier
    };
    let first = identifier(&fleet, pushes[0]);
    fleet.engine.forget(seconds(0), USER, &first);
    let report = fleet.answer(Duration::ZERO, pushes[0], WAIT);
    assert_eq!((report.device, report.outcome), (None, Outcome::Failed));
    assert_eq!(report.service.unwrap().state, ServiceState::Out);
    for push in &pushes[1..] {
        fleet.answer(Duration::ZERO, *push, WAIT);
    }

    let probe = fleet.serve(seconds(10));
    assert_eq!(probe.len(), 1);
    let probed = identifier(&fleet, probe[0]);
    fleet.engine.forget(seconds(10), USER, &probed);
    let report = fleet.answer(seconds(10), probe[0], Answer::Result);
    assert_eq!(report.device, None);
    assert_eq!(report.service.unwrap().state, ServiceState::Back);
    assert_eq!(fleet.serve(seconds(20)).len(), NODES.len() - 2);
}

#[test]
fn what_a_store_says_makes_nobody_wait_longer_than_any_pause() {
    for (suspended, longest) in [(false, 30 * 60), (true, 16 * 24 * 3600)] {
        let mut phone = Phone::new(vec![]);
        let owed = Owed {
            service: None,
            device: DeviceName {
                user: USER.into(),
                identifier: ID.into(),
            },
            importance: Important,
            age: Duration::ZERO,
            due_in: Duration::from_hours(24_000),
            failures: 0,
            failing_for: Duration::ZERO,
            suspended,
        };
        phone.engine.restore(Duration::ZERO, &owed, 0);
        assert_eq!(phone.engine.deadline(), Some(seconds(longest)));
    }
}

#[test]
fn attempts_do_not_make_what_is_owed_younger() {
    let mut phone = owed(Important);
    phone.engine.configure(Options {
        max_failures: 0,
        ..Options::default()
    });
    let mut last = 0;
    for _ in 0..400 {
        let Some(due) = phone.engine.deadline() else {
            break;
        };
        let now = u64::try_from(due.as_millis()).unwrap() + 1;
        if let Some((push, _)) = phone.at(now) {
            phone.answer_at(now, push, WAIT).unwrap();
            last = now;
        }
    }
    assert!(
        last <= 25 * 3_600_000,
        "last attempt at {} h",
        last / 3_600_000
    );
}

#[test]
fn attempts_do_not_make_a_call_ring_longer() {
    let mut phone = Phone::new(vec![]);
    phone.engine.configure(Options {
        max_failures: 0,
        ..Options::default()
    });
    let call = pushed(phone.offline(0, Urgent, 2));
    phone.answer(call, WAIT).unwrap();
    let mut rang = 0;
    for _ in 0..8 {
        let due = phone.engine.deadline().unwrap();
        phone.engine.expire(due);
        let now = due;
        let r = phone
            .ask(|engine, account| engine.release(now, account, 0))
            .unwrap();
        if r.importance == Urgent {
            rang = now.as_secs();
        }
        if let Some(s) = r.stanza {
            phone.engine.keep(r.id, s);
        }
        phone
            .engine
            .answered(now, &r.id.to_string(), "push.test", WAIT);
    }
    assert!(rang <= 60, "rang at {rang}");
}

#[test]
fn a_trial_says_nothing_of_what_was_enabled_after_it() {
    let mut phone = Phone::new(vec![]);
    phone.engine.suspend(ms(0), USER, ID, seconds(1000));
    phone.registration.suspended = Some(Duration::ZERO);
    let (trial, _) = phone.at(1_000_000).unwrap();
    phone.engine.enabled(ms(0), USER, ID);
    phone.registration.suspended = None;
    let report = phone.answer_at(1_000_001, trial, refused("gone")).unwrap();
    assert_eq!(report.outcome, Outcome::Delivered);
}

#[test]
fn a_trial_that_could_not_be_taken_has_its_pause_too() {
    let mut phone = Phone::new(vec![]);
    phone.engine.suspend(ms(0), USER, ID, seconds(1000));
    phone.registration.suspended = Some(Duration::ZERO);
    let (trial, _) = phone.at(1_000_000).unwrap();
    phone.answer_at(1_000_000, trial, WAIT).unwrap();
    phone.offline(1_000_100, Important, 7);
    assert_eq!(phone.at(1_000_100), None, "backoff bypassed");
}

#[test]
fn one_trial_at_a_time() {
    let mut phone = Phone::new(vec![]);
    phone.engine.suspend(ms(0), USER, ID, seconds(1000));
    phone.registration.suspended = Some(Duration::ZERO);
    let _ = phone.at(1_000_000).unwrap();
    phone.offline(1_000_100, Important, 7);
    assert_eq!(
        phone.at(1_000_100),
        None,
        "second trial while the first is under way"
    );
}

#[test]
fn refusals_that_were_under_way_do_not_suspend_again() {
    let mut phone = Phone::new(vec![]);
    phone.engine.configure(Options {
        max_errors: 2,
        ..Options::default()
    });
    let p: Vec<_> = (1..=4)
        .map(|id| pushed(phone.offline(0, Important, id)))
        .collect();
    let mut outcomes = vec![];
    for push in p {
        let r = phone.answer(push, refused("forbidden")).unwrap();
        if r.outcome == Outcome::Suspended {
            phone.engine.suspend(ms(0), USER, ID, seconds(86400));
            phone.registration.suspended = Some(seconds(86400));
        }
        outcomes.push(r.outcome);
    }
    assert_eq!(
        outcomes
            .iter()
            .filter(|o| **o == Outcome::Suspended)
            .count(),
        1,
        "{outcomes:?}"
    );
}

#[test]
fn a_trial_waits_for_its_service() {
    let mut phone = Phone::new(vec![]);
    phone.engine.configure(Options {
        max_failures: 1,
        ..Options::default()
    });
    let day = 86_400_000;
    phone.engine.suspend(ms(0), USER, ID, seconds(86400));
    // another device makes the service fail just then
    let other = Registration {
        identifier: "push.test<other",
        ..PHONE
    };
    let acc = Account {
        user: USER,
        registrations: &[other],
        sessions: &[],
    };
    let p = phone
        .engine
        .ping(ms(day - 10), &acc, 0, Occasion::Asked)
        .unwrap();
    phone
        .engine
        .answered(ms(day - 10), &p.to_string(), "push.test", WAIT);
    phone.registration.suspended = Some(Duration::ZERO);
    let (trial, _) = phone.at(day).expect("it has not failed itself");
    phone.answer_at(day, trial, WAIT).unwrap();
    let mut got = false;
    for i in 1..200 {
        let now = ms(day + i * 1000);
        for due in phone.engine.expire(now).due {
            if &*due.identifier == ID {
                got |= phone
                    .ask(|engine, account| engine.release(now, account, 0))
                    .is_some();
            } else {
                let acc = Account {
                    user: USER,
                    registrations: &[other],
                    sessions: &[],
                };
                if let Some(r) = phone.engine.release(now, &acc, 0) {
                    phone
                        .engine
                        .answered(now, &r.id.to_string(), "push.test", Answer::Result);
                }
            }
        }
    }
    assert!(got, "trial lost; waiting {}", phone.engine.waiting());
}

#[test]
fn a_service_that_owes_nothing_more_is_forgotten() {
    let mut fleet = Fleet::out(Options::default());
    let probe = fleet.serve(seconds(10));
    fleet.answer(seconds(10), probe[0], Answer::Result);
    // The rest is too old / online when its turn comes
    let mut n = 0;
    let mut now = seconds(10);
    while let Some(d) = fleet.engine.deadline() {
        now = now.max(d);
        for due in fleet.engine.expire(now).due {
            let reg = *fleet
                .registrations
                .iter()
                .find(|r| r.identifier == &*due.identifier)
                .unwrap();
            let s = Session {
                identifiers: [Some(reg.identifier), None],
                connection: Connection::Live {
                    ack_overdue: false,
                    available: true,
                },
            };
            let acc = Account {
                user: USER,
                registrations: &[reg],
                sessions: &[s],
            };
            assert!(fleet.engine.release(now, &acc, 0).is_none());
            n += 1;
        }
    }
    assert_eq!(n, 11);
    assert_eq!(
        (
            fleet.engine.waiting(),
            fleet.engine.in_flight(),
            fleet.engine.services_busy()
        ),
        (0, 0, 0)
    );
}

#[test]
fn that_a_service_is_back_is_said_though_the_device_is_gone() {
    let mut fleet = Fleet::out(Options::default());
    let probe = fleet.serve(seconds(10));
    let node = NODES
        .iter()
        .find(|n| fleet.engine.schedule.identities.device(USER, n) == probe[0].device)
        .unwrap();
    fleet.engine.forget(seconds(10), USER, node);
    let r = fleet.engine.answered(
        seconds(11),
        &probe[0].to_string(),
        "push.test",
        Answer::Result,
    );
    assert_eq!(fleet.engine.services_out(), [""; 0]);
    assert!(r.is_some(), "back, but nobody told");
}

#[test]
fn that_a_service_is_out_is_said_though_the_devices_are_gone() {
    let mut fleet = Fleet::new(Options::default());
    let pushes = fleet.offline(Duration::ZERO, 1);
    for n in NODES {
        fleet.engine.forget(seconds(0), USER, n);
    }
    let told = pushes
        .iter()
        .take(6)
        .filter(|p| {
            fleet
                .engine
                .answered(Duration::ZERO, &p.to_string(), "push.test", WAIT)
                .is_some()
        })
        .count();
    assert_eq!(fleet.engine.services_out(), ["push.test"]);
    assert!(told > 0, "out, but nobody told");
}

#[test]
fn a_registration_is_given_up_once() {
    let day = Duration::from_hours(24);
    let mut phone = Phone::new(vec![]);
    let failing = FailingService {
        jid: "push.test".into(),
        failures: 20,
        age: 31 * day,
    };
    phone.engine.restore_service(100 * day, &failing);
    let now = 100 * day;
    let acc = Account {
        user: USER,
        registrations: &[PHONE],
        sessions: &[],
    };
    let d = phone
        .engine
        .offline(now, &acc, &facts(Important, 1), StanzaId(1))
        .remove(0);
    let Verdict::Push(_) = d.verdict else {
        panic!()
    };
    let e = phone.engine.expire(now + seconds(120));
    assert!(
        e.given_up.is_empty() || e.unanswered[0].outcome != Outcome::Suspended,
        "both: {e:?}"
    );
}

#[test]
fn two_outages_a_month_apart_are_no_outage_of_a_month() {
    let mut phone = Phone::new(vec![]);
    let day = 86_400_000;
    phone.engine.configure(Options {
        max_failures: 0,
        ..Options::default()
    });
    for id in 0..16 {
        let p = pushed(phone.offline(0, Important, 100 + id));
        phone.answer(p, WAIT);
        phone.engine.back(ms(0), USER, ID);
    }
    let p = pushed(phone.offline(31 * day, Important, 1));
    let r = phone.answer_at(31 * day, p, WAIT).unwrap();
    assert_eq!(r.outcome, Outcome::Failed);
}

#[test]
fn pushes_that_fail_together_are_one_attempt() {
    let mut phone = Phone::new(vec![]);
    phone.engine.configure(Options {
        max_failures: 0,
        ..Options::default()
    });
    let p: Vec<_> = (1..=9)
        .map(|id| pushed(phone.offline(0, Important, id)))
        .collect();
    for push in p {
        phone.answer(push, WAIT);
    }
    let d = phone.engine.deadline().unwrap();
    assert!(d <= seconds(8), "{d:?}");
}

#[test]
fn what_was_sent_before_a_recovery_says_nothing_of_it() {
    let mut fleet = Fleet::new(Options::default());
    let pushes = fleet.offline(Duration::ZERO, 1);
    for p in &pushes[..5] {
        fleet.answer(seconds(100), *p, WAIT);
    }
    assert_eq!(fleet.engine.services_out(), ["push.test"]);
    fleet.engine.connected(seconds(101), "push.test");
    assert_eq!(fleet.engine.services_out(), [""; 0]);
    // the rest of those sent at 0 time out now
    let sent = fleet.serve(seconds(119));
    for p in sent {
        fleet.answer(seconds(119), p, Answer::Result);
    }
    fleet.engine.expire(seconds(120));
    assert_eq!(fleet.engine.services_out(), [""; 0]);
}

#[test]
fn what_a_service_says_of_one_device_is_no_matter_of_others() {
    let said = refused("service-unavailable");
    let mut phone = Phone::new(vec![]);
    let push = pushed(phone.offline(0, Important, 1));
    phone.answer(push, said).unwrap();
    for _ in 0..4 {
        let due = phone.engine.deadline().unwrap();
        let now = u64::try_from(due.as_millis()).unwrap() + 1;
        let (push, _) = phone.at(now).unwrap();
        phone.answer_at(now, push, said).unwrap();
    }
    let now = phone.engine.deadline().unwrap();
    let other = Registration {
        identifier: "push.test<other",
        ..PHONE
    };
    let acc = Account {
        user: "rosa",
        registrations: &[other],
        sessions: &[],
    };
    let d = phone
        .engine
        .offline(
            now.saturating_sub(ms(1000)),
            &acc,
            &facts(Urgent, 1),
            StanzaId(1),
        )
        .remove(0);
    assert!(matches!(d.verdict, Verdict::Push(_)), "{:?}", d.verdict);
}

#[test]
fn who_is_given_up_but_cannot_be_suspended_is_not_forgotten() {
    let day = Duration::from_hours(24);
    let mut phone = Phone::new(vec![]);
    let failing = FailingService {
        jid: "push.test".into(),
        failures: 20,
        age: 31 * day,
    };
    phone.engine.restore_service(100 * day, &failing);
    let now = 100 * day;
    let acc = Account {
        user: USER,
        registrations: &[PHONE],
        sessions: &[],
    };
    let d = phone
        .engine
        .offline(now, &acc, &facts(Important, 1), StanzaId(1))
        .remove(0);
    let Verdict::Push(_) = d.verdict else {
        panic!()
    };
    phone.engine.expire(now + seconds(120)); // shim: save_records fails, returns
    let later = now + seconds(1000);
    assert!(
        phone.engine.deadline().is_some(),
        "stuck, waiting {}, then {:?}",
        phone.engine.waiting(),
        phone
            .engine
            .offline(later, &acc, &facts(Urgent, 2), StanzaId(2))
    );
}

/// A message for a device of a user of its own; returns the push that leaves.
fn offline_for(
    engine: &mut Engine<u64>,
    now: Duration,
    user: &str,
    identifier: &str,
    id: u64,
) -> Option<PushId> {
    let account = Account {
        user,
        registrations: &[Registration {
            identifier,
            jid: registering::service_of(identifier).unwrap(),
            ..PHONE
        }],
        sessions: &[],
    };
    let met = facts(Important, id);
    let decision = engine.offline(now, &account, &met, StanzaId(id)).remove(0);
    match decision.verdict {
        Verdict::Push(push) => Some(push),
        Verdict::Hold(ticket) => {
            engine.hold(now, ticket, None);
            None
        }
        Verdict::Silent(silence) => panic!("{silence:?}"),
    }
}

#[test]
fn services_that_failed_and_that_nobody_waits_for_are_not_kept_without_end() {
    let mut engine = Engine::new(Options {
        max_per_minute: 0,
        ..Options::default()
    });
    for number in 0..5000 {
        let now = seconds(number);
        let jid = format!("{number}.test");
        let nodes = ["1", "2", "3", "4", "5"].map(|node| format!("{jid}<{node}"));
        for node in &nodes {
            let push = offline_for(&mut engine, now, USER, node, number).unwrap();
            engine.answered(now, &push.to_string(), &jid, WAIT);
        }
        assert!(engine.services_out().contains(&jid));
        for node in &nodes {
            engine.forget(now, USER, node);
        }
    }
    assert_eq!(engine.services_watched().len(), 4096);
}

#[test]
fn registrations_that_end_leave_no_services_behind_without_end() {
    let mut engine = Engine::default();
    for number in 0..5000 {
        let (user, node) = (number.to_string(), format!("{number}.test<1"));
        offline_for(&mut engine, seconds(0), &user, &node, number).unwrap();
        engine.forget(seconds(0), &user, &node);
    }
    assert_eq!((engine.in_flight(), engine.services_busy()), (4095, 4095));
}

#[test]
fn a_connection_that_comes_and_goes_does_not_speed_up_what_is_owed() {
    let mut fleet = Fleet::out(Options::default());
    let mut pushes = 0;
    for ms in 0..1000 {
        let now = seconds(1) + Duration::from_millis(ms);
        fleet.engine.connected(now, "push.test");
        pushes += fleet.serve(now).len();
        fleet.engine.disconnected(now, "push.test");
    }
    assert!((20..=50).contains(&pushes), "{pushes}: push_recovery_rate");
}

#[test]
fn however_many_services_there_are_at_a_host_it_recovers_at_one_rate() {
    let mut engine = Engine::default();
    for number in 0..500 {
        let user = format!("user{number}");
        let node = format!("{number}@push.test<n");
        let push = offline_for(&mut engine, seconds(0), &user, &node, number).unwrap();
        engine.answered(
            seconds(0),
            &push.to_string(),
            &format!("{number}@push.test"),
            WAIT,
        );
    }
    engine.connected(seconds(1), "push.test");
    let mut released = 0;
    for tenth in 0..20 {
        let now = seconds(1) + Duration::from_millis(tenth * 100);
        for due in engine.expire(now).due {
            engine.back(ms(0), &due.user, &due.identifier);
            released += 1;
        }
    }
    assert!((80..=110).contains(&released), "{released} in two seconds");
}

#[test]
fn who_was_released_in_vain_waits_for_pauses_of_its_own_though_others_succeed() {
    let mut fleet = Fleet::out(Options {
        max_per_minute: 0,
        ..Options::default()
    });
    let other = Registration {
        identifier: "push.test<other",
        ..PHONE
    };
    let mut tries = 0;
    for quarter in 1..2400_u64 {
        let now = Duration::from_millis(quarter * 250);
        let account = Account {
            user: "rosa",
            registrations: &[other],
            sessions: &[],
        };
        if let Ok(ping) = fleet.engine.ping(now, &account, 0, Occasion::Asked) {
            fleet.answer(now, ping, Answer::Result);
        }
        for push in fleet.serve(now) {
            fleet.answer(now, push, WAIT);
            tries += 1;
        }
    }
    let each = tries / NODES.len();
    assert!((5..=14).contains(&each), "{each} attempts in ten minutes");
}

#[test]
fn whoever_enables_again_and_again_gets_no_more() {
    let mut phone = Phone::new(vec![]);
    let mut pushes = 0;
    for id in 0..1000 {
        if let Verdict::Push(push) = phone.offline(id, Urgent, id) {
            phone.answer_at(id, push, Answer::Result);
            pushes += 1;
        }
        if id % 10 == 9 {
            phone.engine.forget(ms(id), USER, ID);
        }
    }
    assert_eq!(pushes, 120, "twice push_max_per_minute");
    phone.engine.forget_user(ms(1000), USER);
    pushed(phone.offline(1000, Urgent, 5000));
}

#[test]
fn who_has_got_nothing_makes_nobody_forget_what_others_have_got() {
    let mut engine = Engine::new(Options {
        max_per_minute: 1,
        ..Options::default()
    });
    offline_for(&mut engine, seconds(0), USER, ID, 1).unwrap();
    engine.forget(seconds(0), USER, ID);
    for number in 0..5000 {
        let user = number.to_string();
        engine.served(seconds(0), &user, ID, []);
        engine.forget(seconds(0), &user, ID);
    }
    assert_eq!(offline_for(&mut engine, seconds(1), USER, ID, 2), None);
}

#[test]
fn a_user_who_ends_registrations_has_no_more_under_way_than_one_who_does_not() {
    let mut engine = Engine::new(Options {
        max_per_minute: 0,
        ..Options::default()
    });
    for number in 0..1000 {
        let node = format!("push.test<{number}");
        offline_for(&mut engine, seconds(0), USER, &node, number).unwrap();
        engine.forget(seconds(0), USER, &node);
    }
    let most = 2 * usize::try_from(MAX_IN_FLIGHT_OF_USER).unwrap();
    assert_eq!(engine.in_flight(), most);
    engine.expire(seconds(120));
    assert_eq!(
        (engine.in_flight(), engine.schedule.in_flight.of_users.len()),
        (0, 0)
    );
}

#[test]
fn a_late_answer_leaves_the_second_push_to_what_came_later() {
    let late = || {
        let mut phone = Phone::new(vec![]);
        let first = pushed(phone.offline(0, Important, 1));
        phone.engine.expire(seconds(120));
        assert!(matches!(
            phone.offline(121_000, Important, 2),
            Verdict::Hold(_)
        ));
        let (second, stanza) = phone.at(130_000).unwrap();
        assert_eq!(stanza, Some(1));
        phone.answer_at(131_000, first, Answer::Result).unwrap();
        (phone, second)
    };
    let (phone, _) = late();
    let (owed, _) = phone.engine.owed(seconds(132));
    assert_eq!(owed.len(), 1, "the server stops");
    assert_eq!(owed[0].age, seconds(11));

    let (mut phone, second) = late();
    phone.sessions = vec![hibernated()];
    let window = phone.unacked(131_500, Unimportant, 3);
    assert!(matches!(window, Verdict::Hold(_)));
    phone.answer_at(131_600, second, WAIT).unwrap();
    assert_eq!(
        phone.at(200_000).unwrap().1,
        Some(2),
        "something else waits"
    );

    let (mut phone, second) = late();
    phone.answer_at(131_600, second, Answer::Result).unwrap();
    assert_eq!(phone.engine.deadline(), None);
    let again = phone.offline(132_000, Important, 2);
    assert_eq!(again, Verdict::Silent(Silence::AlreadyPushed));
}

#[test]
fn a_late_answer_settles_the_second_push_of_a_registration_that_has_been_suspended_since() {
    let mut phone = Phone::new(vec![]);
    let first = pushed(phone.offline(0, Important, 1));
    phone.engine.expire(seconds(120));
    let (second, _) = phone.at(130_000).unwrap();
    phone.engine.suspend(seconds(131), USER, ID, seconds(1000));
    phone.answer_at(132_000, first, Answer::Result).unwrap();
    phone.answer_at(133_000, second, WAIT).unwrap();
    assert_eq!(phone.engine.waiting(), 0);
}

#[test]
fn a_turn_to_probe_is_passed_on_though_its_device_is_back() {
    let mut fleet = Fleet::out(Options::default());
    let probing = loop {
        let now = fleet.engine.deadline().unwrap();
        let mut due = fleet.engine.expire(now).due;
        if !due.is_empty() {
            break (now, due.remove(0));
        }
    };
    let (now, DeviceName { user, identifier }) = probing;
    fleet.engine.back(ms(0), &user, &identifier);
    fleet.engine.postpone(now, &user, &identifier);
    assert_eq!(fleet.serve(now).len(), 1);
}

/// As with the default options, where no push says what its stanza says.
#[test]
fn a_late_answer_settles_nothing_that_came_later_where_no_stanza_is_kept() {
    let mut engine = Engine::default();
    let first = offline_for(&mut engine, seconds(0), USER, ID, 1).unwrap();
    engine.expire(seconds(120));
    assert_eq!(offline_for(&mut engine, seconds(121), USER, ID, 2), None);
    let late = engine.answered(
        seconds(122),
        &first.to_string(),
        "push.test",
        Answer::Result,
    );
    assert_eq!(late.unwrap().outcome, Outcome::Delivered);
    let account = Account {
        user: USER,
        registrations: &[PHONE],
        sessions: &[],
    };
    assert_eq!(engine.expire(seconds(122)).due.len(), 1);
    let second = engine.release(seconds(122), &account, 0).unwrap().id;
    engine.answered(seconds(123), &second.to_string(), "push.test", WAIT);
    assert_eq!(engine.waiting(), 1, "the second one is owed");

    // So it is where one push is for both.
    let mut engine = Engine::default();
    let first = offline_for(&mut engine, seconds(0), USER, ID, 1).unwrap();
    engine.expire(seconds(120));
    assert_eq!(offline_for(&mut engine, seconds(121), USER, ID, 2), None);
    assert_eq!(engine.expire(seconds(130)).due.len(), 1);
    let both = engine.release(seconds(130), &account, 0).unwrap().id;
    engine.answered(
        seconds(131),
        &first.to_string(),
        "push.test",
        Answer::Result,
    );
    engine.answered(seconds(132), &both.to_string(), "push.test", WAIT);
    assert_eq!(engine.waiting(), 1, "the second one is owed");
}

#[test]
fn a_late_answer_settles_nothing_that_came_later_whatever_is_kept_and_matters() {
    let hold = |phone: &mut Phone, importance| {
        let verdict = phone.ask(|engine, account| {
            let met = facts(importance, 2);
            let decision = engine
                .offline(seconds(121), account, &met, StanzaId(2))
                .remove(0);
            decision.verdict
        });
        let Verdict::Hold(ticket) = verdict else {
            panic!("{verdict:?}");
        };
        phone.engine.hold(seconds(121), ticket, None);
    };
    // The first one is kept, what came later is not.
    let mut phone = Phone::new(vec![]);
    let first = pushed(phone.offline(0, Important, 1));
    phone.engine.expire(seconds(120));
    hold(&mut phone, Important);
    phone.answer_at(122_000, first, Answer::Result).unwrap();
    assert_eq!(phone.engine.waiting(), 1);

    // None is kept, and one push is for both.
    let mut phone = Phone::new(vec![]);
    let first = offline_for(&mut phone.engine, seconds(0), USER, ID, 1).unwrap();
    phone.engine.expire(seconds(120));
    hold(&mut phone, Unimportant);
    let (both, _) = phone.at(130_000).unwrap();
    phone.answer_at(131_000, first, Answer::Result).unwrap();
    phone.answer_at(132_000, both, WAIT).unwrap();
    assert_eq!(phone.engine.waiting(), 1);
}

#[test]
fn what_times_out_in_one_moment_is_served_in_parts() {
    let mut engine = Engine::default();
    let count = MAX_SERVED + 10;
    for number in 0..count {
        let user = number.to_string();
        offline_for(&mut engine, seconds(0), &user, ID, 1).unwrap();
    }
    let now = seconds(120);
    assert_eq!(engine.expire(now).unanswered.len(), MAX_SERVED);
    assert_eq!(engine.deadline(), Some(now));
    assert_eq!(engine.expire(now).unanswered.len(), 10);
    assert!(engine.deadline() > Some(now));
}

#[test]
fn who_has_had_an_answer_or_is_back_begins_with_the_shortest_pause() {
    let cases: [fn(&mut Phone, u64, PushId); 4] = [
        |phone, at, push| drop(phone.answer_at(at, push, Answer::Result)),
        |phone, at, push| drop(phone.answer_at(at, push, refused("forbidden"))),
        |phone, _, _| phone.engine.back(ms(0), USER, ID),
        |phone, at, push| {
            phone.engine.expire(ms(at + 120_000));
            phone.answer_at(at + 120_000, push, Answer::Result).unwrap();
        },
    ];
    for (case, answer) in cases.iter().enumerate() {
        let mut phone = owed(Important);
        phone.engine.configure(Options {
            max_failures: 0,
            ..Options::default()
        });
        attempts(&mut phone, 3);
        let due = phone.engine.deadline().unwrap();
        let now = u64::try_from(due.as_millis()).unwrap() + 1;
        let (push, _) = phone.at(now).unwrap();
        answer(&mut phone, now, push);
        assert_eq!(phone.engine.waiting(), 0, "{case}");
        let now = now + 200_000;
        phone.engine.expire(ms(now));
        let push = pushed(phone.offline(now, Important, 99));
        phone.answer_at(now, push, WAIT).unwrap();
        let due = phone.engine.deadline().unwrap().saturating_sub(ms(now));
        assert!(
            (seconds(5)..=Duration::from_millis(7500)).contains(&due),
            "{case}: {due:?}"
        );
    }
}

#[test]
fn a_trial_that_is_answered_late_revives_and_what_came_after_it_is_pushed() {
    let trial = || {
        let mut phone = Phone::new(vec![]);
        phone.engine.suspend(ms(0), USER, ID, seconds(1000));
        phone.registration.suspended = Some(Duration::ZERO);
        let (trial, _) = phone.at(1_000_000).unwrap();
        (phone, trial)
    };
    let late = |phone: &mut Phone, trial| {
        phone.engine.expire(seconds(1120));
        let report = phone.answer_at(1_121_000, trial, Answer::Result).unwrap();
        assert_eq!(report.outcome, Outcome::Revived);
        phone.registration.suspended = None;
    };
    let (mut phone, push) = trial();
    late(&mut phone, push);
    assert_eq!(phone.engine.waiting(), 0);

    let (mut phone, push) = trial();
    let verdict = phone.offline(1_060_000, Important, 7);
    assert!(matches!(verdict, Verdict::Hold(_)));
    late(&mut phone, push);
    let released = phone.at(1_121_000).map(|(_, stanza)| stanza);
    assert_eq!(released, Some(Some(7)));
    assert_eq!(phone.engine.waiting(), 1, "it stands by");
}

#[test]
fn a_delivered_call_does_not_speak_for_content_that_is_owed() {
    let mut phone = Phone::new(vec![]);
    phone.registration.content = true;
    let push = pushed(phone.offline(0, Important, 1));
    phone.answer(push, WAIT).unwrap();
    let call = pushed(phone.offline(1000, Urgent, 2));
    phone.answer_at(1000, call, Answer::Result).unwrap();
    assert_eq!(phone.at(1000).map(|(_, stanza)| stanza), Some(Some(1)));
}

#[test]
fn a_delivered_call_speaks_for_what_is_owed() {
    let mut phone = owed(Important);
    let call = pushed(phone.offline(1000, Urgent, 2));
    phone.answer_at(1000, call, Answer::Result).unwrap();
    assert_eq!((phone.engine.waiting(), phone.at(100_000)), (0, None));
    let again = phone.offline(100_000, Important, 1);
    assert_eq!(again, Verdict::Silent(Silence::AlreadyPushed));
}
