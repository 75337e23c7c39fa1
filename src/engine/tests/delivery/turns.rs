//! What happens when a device's turn comes, and what outlives a restart.

use super::*;

#[test]
fn who_has_ended_joins_no_queue() {
    let mut phone = owed(Important);
    phone.engine.back(ms(0), USER, ID);
    let identities = &phone.engine.schedule.identities;
    let ticket = Ticket {
        device: identities.device("rosa", ID),
        about: About::nothing(Important),
        wait: Wait::SignOfLife(identities.service("push.test")),
        cause: Cause::Debt,
        until: None,
    };
    phone.engine.hold(ms(1000), ticket, Some(2));
    assert_eq!(phone.engine.services_watched(), [""; 0]);
}

fn without_circuits(phone: &mut Phone, options: &Options) {
    phone.engine.configure(Options {
        max_failures: 0,
        ..options.clone()
    });
}

#[test]
fn what_is_owed_is_given_up_after_its_age() {
    for (now, expected) in [(60_000, true), (60_001, false)] {
        let mut phone = owed(Important);
        let options = Options {
            retry_age: seconds(60),
            ..Options::default()
        };
        without_circuits(&mut phone, &options);
        assert_eq!(phone.at(now).is_some(), expected, "{now}");
        assert_eq!(phone.engine.in_flight(), usize::from(expected));
    }
}

#[test]
fn what_waits_for_the_window_is_spoken_for_also_where_pushes_have_content() {
    for (first, expected) in [(Unimportant, None), (Important, Some(Some(1)))] {
        let mut phone = Phone::new(vec![hibernated()]);
        phone.registration.content = true;
        let device = phone.engine.schedule.identities.device(USER, ID);
        phone.engine.schedule.device(ms(0), device, USER, ID);
        let about = About {
            ids: [Some(StanzaId(1)), None],
            ..About::nothing(first)
        };
        let ticket = Ticket {
            device,
            about,
            wait: Wait::Until(ms(1000)),
            cause: Cause::Window,
            until: None,
        };
        phone.engine.hold(ms(0), ticket, Some(1));
        pushed(phone.unacked(500, Important, 2));
        assert_eq!(phone.at(1000).map(|(_, stanza)| stanza), expected);
    }
}

#[test]
fn what_exceeds_the_rate_is_spoken_for_by_no_window() {
    let mut phone = Phone::new(vec![hibernated()]);
    phone.engine.configure(Options {
        max_per_minute: 1,
        coalesce_window: Duration::ZERO,
        ..Options::default()
    });
    pushed(phone.unacked(0, Unimportant, 1));
    assert!(matches!(phone.unacked(0, Important, 2), Verdict::Hold(_)));
    pushed(phone.unacked(10, Urgent, 3));
    assert_eq!(phone.at(61_000).unwrap().1, Some(2));
}

#[test]
fn a_trial_waits_as_long_as_the_record_says() {
    for (wait, due) in [(100, 1100), (1, 1005)] {
        let mut phone = Phone::new(vec![]);
        phone.engine.suspend(ms(0), USER, ID, seconds(1000));
        phone.registration.suspended = Some(seconds(wait));
        assert_eq!(phone.at(1_000_000), None);
        assert_eq!(phone.engine.deadline(), Some(seconds(due)));
    }
}

#[test]
fn a_turn_that_is_postponed_comes_after_a_pause() {
    let mut phone = owed(Important);
    without_circuits(&mut phone, &Options::default());
    let before = phone.engine.deadline();
    phone.engine.postpone(seconds(1), USER, ID);
    assert_eq!(phone.engine.deadline(), before, "it is not its turn");
    phone.engine.expire(seconds(10));
    phone.engine.postpone(seconds(10), USER, ID);
    let due = phone.engine.deadline().unwrap();
    let pause = seconds(50)..=seconds(70);
    assert!(pause.contains(&due), "{due:?}");
}

#[test]
fn a_ping_that_may_not_leave_now_is_owed() {
    let mut phone = Phone::new(vec![]);
    phone.engine.configure(Options {
        max_per_minute: 1,
        ..Options::default()
    });
    let ping = |phone: &mut Phone| {
        phone.ask(|engine, account| engine.ping(ms(0), account, 0, Occasion::Asked).ok())
    };
    assert!(ping(&mut phone).is_some());
    assert_eq!(ping(&mut phone), None);
    assert_eq!(phone.at(60_999), None);
    assert_eq!(phone.at(61_000).map(|(_, stanza)| stanza), Some(None));

    let mut phone = Phone::new(vec![]);
    phone.registration.suspended = Some(seconds(1));
    assert_eq!(ping(&mut phone), None);
    assert_eq!(phone.engine.waiting(), 0);
}

#[test]
fn what_stands_by_is_owed_as_what_it_stands_by_for() {
    let mut phone = Phone::new(vec![hibernated()]);
    for id in [1, 2] {
        assert!(matches!(
            phone.unacked(0, Unimportant, id),
            Verdict::Hold(_)
        ));
    }
    let (owed, _) = phone.engine.owed(ms(400));
    assert_eq!((owed.len(), owed[0].due_in), (1, ms(600)));
    let (push, _) = phone.at(1000).unwrap();
    let (owed, _) = phone.engine.owed(ms(1000));
    assert_eq!((owed.len(), owed[0].due_in), (1, seconds(5)));
    assert!(!owed[0].suspended);
    phone.answer_at(1000, push, Answer::Result).unwrap();
    assert_eq!(phone.engine.owed(ms(1000)).0, []);
}

fn owed_before(age: Duration, suspended: bool) -> Owed {
    Owed {
        service: Some("push.test".into()),
        device: DeviceName {
            user: USER.into(),
            identifier: ID.into(),
        },
        importance: Important,
        age,
        due_in: seconds(100),
        failures: 3,
        failing_for: seconds(50),
        suspended,
    }
}

#[test]
fn a_suspension_outlives_the_engine() {
    let day = Duration::from_hours(24);
    let mut phone = Phone::new(vec![]);
    phone.engine.suspend(ms(0), USER, ID, seconds(1000));
    let (owed, _) = phone.engine.owed(seconds(900));
    assert_eq!((owed[0].suspended, owed[0].due_in), (true, seconds(100)));

    let mut phone = Phone::new(vec![]);
    phone.registration.suspended = Some(Duration::ZERO);
    let restored = owed_before(20 * day, true);
    phone.engine.restore(30 * day, &restored, 0);
    assert_eq!(phone.engine.deadline(), Some(30 * day + seconds(100)));
    phone.engine.connected(30 * day, "push.test");
    assert_eq!(phone.engine.expire(30 * day).due, [], "no debt");
    let again = phone.engine.owed(30 * day).0;
    let expected = Owed {
        service: None, // Nothing has been sent there
        ..restored
    };
    assert_eq!(again, [expected]);
}

#[test]
fn a_device_that_fails_for_thirty_days_is_given_up_also_with_a_restart_in_between() {
    let month = Duration::from_hours(30 * 24);
    let (restart, later) = (4 * month, 4 * month + seconds(1));
    let mut phone = Phone::new(vec![]);
    without_circuits(&mut phone, &Options::default());
    let owed = Owed {
        due_in: Duration::ZERO,
        failures: 15,
        failing_for: month,
        ..owed_before(Duration::ZERO, false)
    };
    phone.engine.restore(restart, &owed, 0);
    let later = u64::try_from(later.as_millis()).unwrap();
    let (push, _) = phone.at(later).unwrap();
    let report = phone.answer_at(later, push, WAIT).unwrap();
    assert_eq!(report.outcome, Outcome::Suspended);
}

#[test]
fn what_is_restored_is_as_old_as_it_was() {
    let day = Duration::from_hours(24);
    for (age, expected) in [(day, 1), (day + ms(1), 0)] {
        let mut phone = Phone::new(vec![]);
        let restored = owed_before(age, false);
        phone.engine.restore(10 * day, &restored, 0);
        let (owed, failing) = phone.engine.owed(10 * day);
        assert_eq!((owed.len(), failing.len()), (expected, 0));
        assert!(owed.iter().all(|one| *one == restored));
    }
}

#[test]
fn what_waits_already_is_not_replaced_by_what_is_restored() {
    let mut phone = owed(Urgent);
    let before = phone.engine.owed(seconds(1)).0;
    phone
        .engine
        .restore(seconds(1), &owed_before(Duration::ZERO, true), 0);
    assert_eq!(phone.engine.owed(seconds(1)).0, before);
}

#[test]
fn what_is_restored_goes_out_at_the_rate_of_recovery() {
    let mut engine = Engine::<u64>::default();
    let mut restore = |place: usize| {
        let identifier = format!("push.test<{place}");
        let owed = Owed {
            service: None,
            device: DeviceName {
                user: USER.into(),
                identifier: identifier.into(),
            },
            due_in: Duration::ZERO,
            ..owed_before(Duration::ZERO, true)
        };
        engine.restore(seconds(1000), &owed, place);
        engine.deadline().unwrap()
    };
    assert_eq!(restore(149), seconds(1002));
    assert_eq!(restore(99), seconds(1001));
    assert_eq!(restore(49), seconds(1000));
}

#[test]
fn a_turn_is_over_when_another_begins() {
    let mut fleet = Fleet::new(Options {
        max_failures: 1,
        ..Options::default()
    });
    for push in fleet.offline(Duration::ZERO, 1) {
        fleet.answer(Duration::ZERO, push, WAIT);
    }
    let first = fleet.engine.expire(seconds(8)).due;
    assert_eq!(first.len(), 1);
    // The device is back: another one has its turn.
    fleet.engine.forget(seconds(8), USER, &first[0].identifier);
    assert_eq!(fleet.serve(seconds(8)).len(), 1);
}

#[test]
fn who_is_given_up_is_named_once_and_by_name() {
    let day = Duration::from_hours(24);
    let mut fleet = Fleet::new(Options {
        retry_age: 100 * day,
        ..Options::default()
    });
    let failing = FailingService {
        jid: "push.test".into(),
        failures: 20,
        age: 31 * day,
    };
    let now = 100 * day;
    fleet.engine.restore_service(now, &failing);
    fleet.offline(now, 1);
    let expired = fleet.engine.expire(now + seconds(120));
    let mut named: Vec<_> = expired.given_up.iter().map(|due| &due.identifier).collect();
    for report in &expired.unanswered {
        assert_eq!(report.outcome, Outcome::Suspended);
        named.push(&report.device.as_ref().unwrap().identifier);
    }
    named.sort_unstable();
    let count = named.len();
    named.dedup();
    assert_eq!((named.len(), count), (NODES.len(), NODES.len()));
    assert_eq!(expired.due, []);
}

/// A push for stanza 1 has timed out and was answered late. Stanza 2 has come in between; the push that is
/// returned is another one for stanza 1, under way.
fn late_and_again() -> (Phone, PushId) {
    let mut phone = Phone::new(vec![]);
    let late = pushed(phone.offline(0, Important, 1));
    phone.engine.expire(seconds(120));
    assert!(matches!(
        phone.offline(121_000, Important, 2),
        Verdict::Hold(_)
    ));
    let (again, stanza) = phone.at(128_000).unwrap();
    assert_eq!(stanza, Some(1));
    phone.answer_at(129_000, late, Answer::Result).unwrap();
    (phone, again)
}

#[test]
fn what_is_answered_late_is_not_owed_again_where_the_second_attempt_fails() {
    let (mut phone, again) = late_and_again();
    phone.answer_at(130_000, again, WAIT).unwrap();
    let (push, stanza) = phone.at(200_000).unwrap();
    assert_eq!(stanza, Some(2), "it has not been pushed yet");
    phone.answer_at(200_000, push, Answer::Result).unwrap();
    assert_eq!(phone.engine.waiting(), 0);

    let (mut phone, again) = late_and_again();
    phone.answer_at(130_000, again, Answer::Result).unwrap();
    assert_eq!(phone.engine.waiting(), 0, "the second one speaks for all");

    // Nothing has come in between.
    let mut phone = Phone::new(vec![]);
    let late = pushed(phone.offline(0, Important, 1));
    phone.engine.expire(seconds(120));
    let (again, _) = phone.at(128_000).unwrap();
    phone.answer_at(129_000, late, Answer::Result).unwrap();
    phone.answer_at(130_000, again, WAIT).unwrap();
    assert_eq!(phone.engine.waiting(), 0);
}

#[test]
fn a_failure_that_does_not_matter_any_more_delays_nothing() {
    let mut phone = Phone::new(vec![hibernated()]);
    let older = pushed(phone.offline_as(0, &facts(Important, 1), StanzaId(1)));
    let newer = pushed(phone.offline_as(10, &facts(Important, 2), StanzaId(2)));
    phone.answer_at(15, newer, Answer::Result).unwrap();
    assert!(matches!(
        phone.unacked(20, Unimportant, 3),
        Verdict::Hold(_)
    ));
    phone.answer_at(30, older, WAIT).unwrap();
    assert_eq!(phone.at(1020).map(|(_, stanza)| stanza), Some(Some(3)));
}

#[test]
fn what_was_restored_leaves_nothing_when_the_device_is_back() {
    let mut phone = Phone::new(vec![]);
    let restored = owed_before(Duration::ZERO, false);
    phone.engine.restore(seconds(1000), &restored, 0);
    assert_eq!(phone.engine.services_busy(), 1);
    phone.engine.back(ms(0), USER, ID);
    assert_eq!(
        (phone.engine.services_busy(), phone.engine.deadline()),
        (0, None)
    );
}

#[test]
fn a_push_is_in_flight_until_it_is_answered() {
    let mut phone = Phone::new(vec![]);
    let push = pushed(phone.offline(0, Important, 1));
    let other = PushId {
        nonce: push.nonce ^ 1,
        ..push
    };
    assert!(phone.engine.is_in_flight(&push.to_string()));
    assert!(!phone.engine.is_in_flight(&other.to_string()));
    assert!(!phone.engine.is_in_flight("push-"));
    phone.answer(push, Answer::Result).unwrap();
    assert!(!phone.engine.is_in_flight(&push.to_string()));
}

#[test]
fn that_one_is_suspended_gives_up_the_others_all_the_same() {
    let now = Duration::from_hours(100 * 24);
    let mut phone = Phone::new(vec![]);
    let failing = FailingService {
        jid: "push.test".into(),
        failures: 20,
        age: Duration::from_hours(31 * 24),
    };
    phone.engine.restore_service(now, &failing);
    let restored = owed_before(Duration::ZERO, false);
    phone.engine.restore(now, &restored, 0);
    let other = Registration {
        identifier: "push.test<other",
        ..PHONE
    };
    let account = Account {
        user: USER,
        registrations: &[other],
        sessions: &[],
    };
    phone
        .engine
        .ping(now, &account, 0, Occasion::Asked)
        .unwrap();
    let expired = phone.engine.expire(now + seconds(120));
    assert_eq!(expired.unanswered.len(), 1);
    assert_eq!(expired.unanswered[0].outcome, Outcome::Suspended);
    assert!(expired.given_up.contains(&restored.device));
}

#[test]
fn only_important_pushes_of_rule_a_speak_for_what_follows() {
    let mut phone = Phone::new(vec![hibernated()]);
    pushed(phone.offline(0, Important, 1));
    pushed(phone.unacked(1, Important, 2));

    let mut phone = Phone::new(vec![hibernated()]);
    phone.engine.configure(Options {
        coalesce_window: Duration::ZERO,
        ..Options::default()
    });
    pushed(phone.unacked(0, Unimportant, 1));
    phone.engine.configure(Options::default());
    pushed(phone.unacked(0, Important, 2));
}
