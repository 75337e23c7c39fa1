//! Users who are away or offline, sessions that are about to end, and the start of the server.

use super::*;
use Importance::{Important, Unimportant, Urgent};

type Ask = fn(&mut Engine<u64>, Duration, &Account<'_>, &Facts, StanzaId) -> Vec<Decision>;

fn ask(phone: &mut Phone, ask: Ask, facts: &Facts) -> Verdict {
    phone.ask(|engine, account| {
        let mut decisions = ask(engine, ms(0), account, facts, StanzaId(1));
        decisions.remove(0).verdict
    })
}

fn is_pushed(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Push(_))
}

#[test]
fn what_others_receive_while_nobody_looks_is_a_reason_for_those_without_a_session() {
    let rules: [Ask; 2] = [Engine::away, Engine::subscription];
    for rule in rules {
        for (sessions, silence) in [
            (vec![], None),
            (vec![gone()], None),
            (vec![live()], Some(Silence::Online)),
            (vec![unavailable()], Some(Silence::Online)),
            (vec![hibernated()], Some(Silence::Hibernated)),
        ] {
            let mut phone = Phone::new(sessions);
            let verdict = ask(&mut phone, rule, &facts(Important, 1));
            match silence {
                Some(silence) => assert_eq!(verdict, Verdict::Silent(silence)),
                None => assert!(is_pushed(&verdict)),
            }
        }
    }
}

#[test]
fn what_others_receive_is_pushed_once_by_whatever_rule() {
    let mut phone = Phone::new(vec![]);
    assert!(is_pushed(&phone.offline(0, Important, 1)));
    let again = ask(&mut phone, Engine::away, &facts(Important, 1));
    assert_eq!(again, Verdict::Silent(Silence::AlreadyPushed));
    let mut phone = Phone::new(vec![]);
    assert!(is_pushed(&ask(
        &mut phone,
        Engine::away,
        &facts(Important, 1)
    )));
    let again = phone.offline(0, Important, 1);
    assert_eq!(again, Verdict::Silent(Silence::AlreadyPushed));
}

#[test]
fn while_the_user_is_away_only_what_is_important_and_to_the_account_counts() {
    let verdict = |facts: &Facts| ask(&mut Phone::new(vec![]), Engine::away, facts);
    let unimportant = facts(Unimportant, 1);
    assert_eq!(verdict(&unimportant), Verdict::Silent(Silence::Unimportant));
    let elsewhere = Facts {
        to_account: false,
        ..facts(Important, 1)
    };
    assert_eq!(verdict(&elsewhere), Verdict::Silent(Silence::NotRecipient));
    assert!(is_pushed(&verdict(&facts(Urgent, 1))));
}

#[test]
fn a_request_is_pushed_once_until_it_is_made_anew() {
    let mut phone = Phone::new(vec![]);
    let request = |phone: &mut Phone| {
        let id = StanzaId::request("rosa@away.test", phone.engine.key());
        let facts = Facts {
            id: Some(id),
            content: None,
            ..facts(Important, 1)
        };
        phone.ask(|engine, account| {
            let mut decisions = engine.subscription(ms(0), account, &facts, id);
            decisions.remove(0).verdict
        })
    };
    assert!(is_pushed(&request(&mut phone)));
    phone.engine.asked_anew(USER, ID, "bert@away.test");
    let again = request(&mut phone);
    assert_eq!(again, Verdict::Silent(Silence::AlreadyPushed));
    phone.engine.asked_anew(USER, ID, "rosa@away.test");
    assert!(is_pushed(&request(&mut phone)));
}

/// One that wakes devices 120 s before their sessions end.
fn engine() -> Engine<u64> {
    Engine::new(Options {
        wake_before_timeout: Duration::from_mins(2),
        ..Options::default()
    })
}

fn ending(engine: &mut Engine<u64>, seconds: u64) -> usize {
    engine.expire(Duration::from_secs(seconds)).ending.len()
}

#[test]
fn a_device_is_named_before_its_session_ends_and_once() {
    let mut engine = engine();
    engine.plan_wake(ms(0), USER, ID, Duration::from_mins(10));
    assert_eq!(engine.deadline(), Some(Duration::from_mins(8)));
    assert_eq!(ending(&mut engine, 479), 0);
    let named = engine.expire(Duration::from_mins(8)).ending;
    assert_eq!(named.len(), 1);
    assert_eq!((&*named[0].user, &*named[0].identifier), (USER, ID));
    assert_eq!(engine.deadline(), None);
}

#[test]
fn it_is_not_named_before_half_of_the_time_is_over() {
    let mut engine = engine();
    engine.plan_wake(ms(0), USER, ID, Duration::from_secs(100));
    assert_eq!(engine.deadline(), Some(Duration::from_secs(50)));
}

#[test]
fn another_time_takes_the_place_of_the_first() {
    let mut engine = engine();
    engine.plan_wake(ms(0), USER, ID, Duration::from_mins(10));
    engine.plan_wake(ms(0), USER, ID, Duration::from_hours(1));
    assert_eq!(ending(&mut engine, 3479), 0);
    assert_eq!(ending(&mut engine, 3480), 1);
}

#[test]
fn nothing_is_planned_without_the_option() {
    let mut engine = Engine::<u64>::default();
    engine.plan_wake(ms(0), USER, ID, Duration::from_mins(10));
    assert_eq!(engine.deadline(), None);
}

#[test]
fn it_is_not_named_once_it_is_back_or_has_no_registration_in_force() {
    let ends: [fn(&mut Engine<u64>); 5] = [
        |engine| engine.back(ms(0), USER, ID),
        |engine| engine.enabled(ms(0), USER, ID),
        |engine| engine.suspend(ms(0), USER, ID, Duration::from_hours(24)),
        |engine| engine.forget(ms(0), USER, ID),
        |engine| engine.forget_user(ms(0), USER),
    ];
    for end in ends {
        let mut engine = engine();
        engine.plan_wake(ms(0), USER, ID, Duration::from_mins(10));
        engine.plan_wake(ms(0), "rosa", ID, Duration::from_mins(10));
        end(&mut engine);
        assert_eq!(ending(&mut engine, 480), 1, "that of another user");
    }
}

fn ping(phone: &mut Phone, occasion: Occasion) -> Result<PushId, Reason> {
    phone.ask(|engine, account| engine.ping(ms(0), account, 0, occasion))
}

#[test]
fn who_is_there_need_not_be_woken_unless_somebody_asks_for_it() {
    use Occasion::{Asked, Start, Timeout};
    let silent = |silence| Some(Reason::Silent(silence));
    for (sessions, occasion, reason) in [
        (vec![], Start, None),
        (vec![hibernated()], Start, silent(Silence::Hibernated)),
        (vec![live()], Start, silent(Silence::Online)),
        (vec![hibernated()], Timeout, None),
        (vec![hibernated(), live()], Timeout, silent(Silence::Online)),
        (vec![live()], Asked, None),
    ] {
        let mut phone = Phone::new(sessions);
        assert_eq!(ping(&mut phone, occasion).err(), reason);
    }
}

#[test]
fn who_is_owed_a_push_or_has_had_one_is_not_woken_once_more() {
    let mut owed = Phone::new(vec![]);
    let push = ping(&mut owed, Occasion::Asked).unwrap();
    let wait = Answer::Error {
        kind: Some("wait"),
        condition: Some("resource-constraint"),
    };
    owed.answer_at(0, push, wait);
    for occasion in [Occasion::Timeout, Occasion::Start] {
        let waiting = Err(Reason::Silent(Silence::AlreadyWaiting));
        assert_eq!(ping(&mut owed, occasion), waiting);
    }
    let mut served = Phone::new(vec![]);
    let push = ping(&mut served, Occasion::Asked).unwrap();
    served.answer_at(0, push, Answer::Result);
    let served_already = Err(Reason::Silent(Silence::AlreadyPushed));
    assert_eq!(ping(&mut served, Occasion::Start), served_already);
    assert!(ping(&mut served, Occasion::Timeout).is_ok());
}

#[test]
fn a_suspended_one_waits_for_its_trial_whatever_the_occasion() {
    for occasion in [Occasion::Asked, Occasion::Timeout, Occasion::Start] {
        let mut phone = Phone::new(vec![]);
        phone.registration.suspended = Some(Duration::from_hours(24));
        let held = Err(Reason::Held {
            cause: Cause::Suspension,
            until: Some(Duration::from_hours(24)),
        });
        assert_eq!(ping(&mut phone, occasion), held);
    }
}
