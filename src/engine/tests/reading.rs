//! What a device has been told of, and what of that is read elsewhere.

use super::*;
use crate::engine::about::About;
use crate::engine::told::Told;
use crate::engine::{Counting, Owed};

const CHAT: u64 = 1;
const OTHER_CHAT: u64 = 2;

fn message(chat: u64, id: u64) -> Facts {
    Facts {
        names: Some(names(chat, id)),
        ..facts(Important, id)
    }
}

fn amendment(of: u64, id: u64) -> Facts {
    Facts {
        names: None,
        amends: Some(name(of)),
        ..facts(Unimportant, id)
    }
}

fn up_to(chat: u64, id: u64) -> Read {
    Read::UpTo(Chat(chat), [name(id), StanzaId(0)])
}

impl Phone {
    fn counting() -> Self {
        let mut phone = Self::new(vec![]);
        phone.engine.configure(Options {
            counting: Counting::Unread,
            ..Options::default()
        });
        phone
    }

    fn message(&mut self, at: u64, chat: u64, id: u64) -> PushId {
        pushed(self.offline_as(at, &message(chat, id), StanzaId(id)))
    }

    fn hold_message(&mut self, at: u64, chat: u64, id: u64) {
        let verdict = self.offline_as(at, &message(chat, id), StanzaId(id));
        assert!(matches!(verdict, Verdict::Hold(_)));
    }

    fn count_of(&mut self, at: u64, chat: u64, id: u64) -> u32 {
        let push = self.message(at, chat, id);
        self.engine.count(push)
    }

    fn read(&mut self, at: u64, read: Read) -> Option<PushId> {
        self.read_as(at, read, true)
    }

    fn read_as(&mut self, at: u64, read: Read, asked: bool) -> Option<PushId> {
        self.ask(|engine, account| engine.displayed(ms(at), account, 0, read, asked))
    }

    fn back(&mut self, at: u64) {
        self.engine.back(ms(at), USER, ID);
    }

    fn told(&self) -> u32 {
        self.engine.device(ms(0), USER, ID).unwrap().told
    }

    fn last_event(&self) -> Event {
        self.engine.trail(USER).last().unwrap().event
    }
}

fn no_answer() -> Answer<'static> {
    Answer::Error {
        kind: Some("wait"),
        condition: Some("resource-constraint"),
    }
}

#[test]
fn messages_are_counted_until_the_device_is_live() {
    let mut phone = Phone::counting();
    let counts = [1, 2, 3].map(|id| phone.count_of(id, CHAT, id));
    assert_eq!(counts, [1, 2, 3]);
    let push = pushed(phone.offline(4, Unimportant, 4));
    assert_eq!(phone.engine.count(push), 3, "that is none");
    phone.back(5);
    assert_eq!(phone.count_of(6, CHAT, 6), 1);
    let mut phone = Phone::new(vec![]);
    let counts = [1, 2].map(|id| phone.count_of(id, CHAT, id));
    assert_eq!(counts, [1, 1], "push_notification_count is \"one\"");
}

#[test]
fn an_unimportant_push_before_any_other_tells_of_one() {
    let mut phone = Phone::counting();
    let push = pushed(phone.offline(0, Unimportant, 1));
    assert_eq!(phone.engine.count(push), 1);
}

#[test]
fn what_waited_is_counted_with_the_push_for_it() {
    let mut phone = Phone::counting();
    let first = phone.message(0, CHAT, 1);
    phone.answer_at(1, first, no_answer());
    phone.hold_message(2, CHAT, 2);
    assert_eq!(phone.told(), 2);
    let (push, _) = phone.at(60_000).unwrap();
    assert_eq!(phone.engine.count(push), 2);
}

#[test]
fn a_vetoed_push_has_told_nothing() {
    let mut phone = Phone::counting();
    let push = phone.message(0, CHAT, 1);
    phone.engine.vetoed(ms(0), push, "");
    assert_eq!(phone.count_of(1, CHAT, 2), 1);
}

#[test]
fn once_all_is_read_the_device_is_told_so_once() {
    let mut phone = Phone::new(vec![]);
    assert_eq!(phone.read(0, up_to(CHAT, 1)), None, "nothing is told");
    phone.message(1, CHAT, 1);
    phone.message(2, CHAT, 2);
    phone.message(3, OTHER_CHAT, 3);
    assert_eq!(phone.read(4, up_to(CHAT, 1)), None, "an older one");
    assert_eq!(phone.read(5, up_to(CHAT, 9)), None, "an unknown one");
    assert_eq!(phone.read(6, up_to(CHAT, 3)), None, "another chat's");
    assert_eq!(phone.told(), 2);
    assert_eq!(
        phone.read(7, up_to(CHAT, 2)),
        None,
        "another chat is unread"
    );
    assert_eq!(phone.told(), 1);
    let push = phone.read(8, up_to(OTHER_CHAT, 3)).unwrap();
    assert_eq!(phone.engine.count(push), 0);
    assert_eq!(phone.last_event(), Event::Read(Reason::Pushed));
    assert_eq!(phone.read(9, up_to(OTHER_CHAT, 3)), None);
    assert_eq!(phone.read(10, Read::Everything), None);
}

#[test]
fn a_message_is_read_by_each_of_its_names() {
    for name_of_it in [name(1), StanzaId(1), name(7)] {
        let mut phone = Phone::new(vec![]);
        let mut in_room = message(CHAT, 1);
        in_room.names.as_mut().unwrap().ids[1] = Some(name(7));
        pushed(phone.offline_as(0, &in_room, StanzaId(1)));
        let read = |chat, name| Read::UpTo(Chat(chat), [StanzaId(99), name]);
        assert_eq!(phone.read(1, read(OTHER_CHAT, name_of_it)), None);
        assert!(phone.read(1, read(CHAT, name_of_it)).is_some());
    }
}

#[test]
fn what_is_fetched_is_all_of_a_chat_or_everything() {
    let mut phone = Phone::new(vec![]);
    phone.message(1, CHAT, 1);
    phone.message(2, OTHER_CHAT, 2);
    assert_eq!(phone.read(3, Read::Chat(Chat(CHAT))), None);
    assert!(phone.read(4, Read::Chat(Chat(OTHER_CHAT))).is_some());
    phone.message(5, CHAT, 5);
    phone.message(6, OTHER_CHAT, 6);
    assert!(phone.read(7, Read::Everything).is_some());
}

#[test]
fn a_device_is_not_told_that_is_live_suspended_or_has_not_asked() {
    let mut phone = Phone::new(vec![]);
    phone.message(0, CHAT, 1);
    phone.sessions = vec![live()];
    assert_eq!(phone.read(1, Read::Everything), None);
    phone.sessions = vec![];
    phone.registration.suspended = Some(ms(1000));
    assert_eq!(phone.read(2, Read::Everything), None);
    phone.registration.suspended = None;
    phone.sessions = vec![hibernated()];
    assert!(phone.read(3, Read::Everything).is_some());
    phone.message(4, CHAT, 4);
    assert_eq!(phone.read_as(5, Read::Everything, false), None);
    let push = pushed(phone.offline(6, Unimportant, 6));
    assert_eq!(phone.engine.count(push), 1, "it has not asked");
}

#[test]
fn one_that_is_back_need_not_be_told() {
    let mut phone = Phone::new(vec![]);
    phone.message(0, CHAT, 1);
    phone.back(1);
    assert_eq!(phone.read(2, Read::Everything), None);
}

#[test]
fn messages_that_are_not_known_one_by_one_are_read_with_everything_only() {
    let mut phone = Phone::counting();
    phone.engine.schedule.options.max_per_minute = 0;
    for id in 1..=65 {
        assert_eq!(phone.count_of(0, CHAT, id), u32::try_from(id).unwrap());
    }
    assert_eq!(phone.read(1, up_to(CHAT, 1)), None);
    assert_eq!(phone.read(2, up_to(CHAT, 65)), None);
    assert_eq!(phone.read(3, Read::Chat(Chat(CHAT))), None);
    assert_eq!(phone.told(), 1);
    assert!(phone.read(4, Read::Everything).is_some());
}

#[test]
fn that_all_is_read_is_not_said_again_if_it_was_not_taken_but_with_the_next_chance() {
    let mut phone = Phone::new(vec![]);
    let first = phone.message(0, CHAT, 1);
    phone.answer_at(0, first, Answer::Result);
    let push = phone.read(1, Read::Everything).unwrap();
    assert!(!phone.answer_at(2, push, no_answer()).unwrap().owed);
    assert_eq!(phone.at(600_000), None);
    let push = phone.read(600_001, up_to(OTHER_CHAT, 9)).unwrap();
    assert_eq!(phone.engine.count(push), 0);
    phone.back(600_002);
    phone.answer_at(600_003, push, no_answer());
    assert_eq!(
        phone.read(600_004, Read::Everything),
        None,
        "it is back since"
    );
}

#[test]
fn it_waits_as_others_do_and_news_take_its_place() {
    let mut phone = Phone::new(vec![]);
    phone.engine.schedule.options.max_per_minute = 1;
    let first = phone.message(0, CHAT, 1);
    phone.answer_at(0, first, Answer::Result);
    for at in [1, 2] {
        assert_eq!(phone.read(at, Read::Everything), None);
    }
    assert!(matches!(
        phone.last_event(),
        Event::Read(Reason::Held {
            cause: Cause::Rate,
            ..
        })
    ));
    let (push, _) = phone.at(61_000).unwrap();
    assert_eq!(phone.engine.count(push), 0);
    phone.answer_at(61_000, push, Answer::Result);
    phone.hold_message(61_001, CHAT, 2);
    let (push, stanza) = phone.at(122_000).unwrap();
    assert_eq!((phone.engine.count(push), stanza), (1, Some(2)));
    phone.answer_at(122_000, push, Answer::Result);
    phone.read(122_001, Read::Everything);
    phone.hold_message(122_002, CHAT, 3);
    let (push, stanza) = phone.at(183_000).unwrap();
    assert_eq!((phone.engine.count(push), stanza), (1, Some(3)));
    phone.answer_at(183_001, push, Answer::Result);
    assert_eq!(phone.at(600_000), None);
}

#[test]
fn a_push_that_waits_is_dropped_once_the_user_has_seen_all_of_it() {
    let mut phone = Phone::new(vec![]);
    let first = phone.message(0, CHAT, 1);
    phone.answer_at(1, first, no_answer());
    phone.hold_message(2, CHAT, 2);
    phone.hold_message(3, OTHER_CHAT, 3);
    assert_eq!(phone.read(4, up_to(CHAT, 2)), None);
    assert!(
        phone
            .engine
            .device(ms(5), USER, ID)
            .unwrap()
            .waiting
            .is_some()
    );
    let push = phone.read(6, up_to(OTHER_CHAT, 3));
    assert_eq!(push, None, "it was told of nothing");
    assert!(matches!(
        phone.last_event(),
        Event::Turn {
            reason: Reason::Silent(Silence::ReadElsewhere),
            ..
        }
    ));
    assert_eq!(phone.at(600_000), None);
    let again = phone.offline(600_001, Important, 2);
    assert_eq!(again, Verdict::Silent(Silence::AlreadyPushed));
}

#[test]
fn one_that_another_client_has_only_fetched_is_pushed_all_the_same() {
    for read in [Read::Everything, Read::Chat(Chat(CHAT))] {
        let mut phone = Phone::new(vec![]);
        let first = phone.message(0, CHAT, 1);
        phone.answer_at(1, first, no_answer());
        assert_eq!(phone.read(2, read), None);
        assert_eq!(phone.told(), 1, "it is unread");
        assert_eq!(phone.at(60_000).unwrap().1, Some(1));
    }
}

#[test]
fn one_under_way_that_is_read_is_not_owed_and_one_that_is_fetched_is() {
    for (read, is_owed) in [(up_to(CHAT, 2), false), (Read::Everything, true)] {
        let mut phone = Phone::new(vec![]);
        phone.registration.content = true;
        let pushes = [1, 2].map(|id| phone.message(0, CHAT, id));
        assert!(phone.read(1, read).is_some());
        for push in pushes {
            assert_eq!(phone.answer_at(2, push, no_answer()).unwrap().owed, is_owed);
        }
        assert_eq!(phone.at(60_000).is_some(), is_owed);
        if is_owed {
            assert!(phone.told() > 0, "what waits is unread");
        }
    }
}

#[test]
fn what_does_not_matter_goes_on_waiting() {
    let mut phone = Phone::new(vec![]);
    for (id, answer) in [(1, Answer::Result), (3, no_answer())] {
        let push = phone.message(0, CHAT, id);
        phone.answer_at(1, push, answer);
    }
    let verdict = phone.offline(2, Unimportant, 2);
    assert!(matches!(verdict, Verdict::Hold(_)));
    assert_eq!(phone.read(3, up_to(CHAT, 3)), None, "the next push says so");
    let (push, stanza) = phone.at(60_000).unwrap();
    assert_eq!((phone.engine.count(push), stanza), (0, Some(2)));
}

#[test]
fn the_trial_of_a_suspended_registration_is_made_all_the_same() {
    let mut phone = Phone::new(vec![]);
    let first = phone.message(0, CHAT, 1);
    phone.answer_at(0, first, Answer::Result);
    phone.engine.suspend(ms(1), USER, ID, ms(10_000));
    phone.registration.suspended = Some(ms(9000));
    let verdict = phone.ask(|engine, account| {
        let facts = message(CHAT, 2);
        let decision = engine.offline(ms(2), account, &facts, StanzaId(2));
        decision.into_iter().next().unwrap().verdict
    });
    let Verdict::Hold(ticket) = verdict else {
        panic!("{verdict:?}");
    };
    phone.engine.hold(ms(2), ticket, None);
    assert_eq!(phone.read(3, up_to(CHAT, 2)), None);
    phone.registration.suspended = Some(ms(0));
    let (_, stanza) = phone.at(20_000).unwrap();
    assert_eq!(stanza, None);
}

#[test]
fn what_was_owed_before_a_restart_is_not_known_to_be_read() {
    let mut phone = Phone::new(vec![]);
    let owed = Owed {
        service: None,
        device: DeviceName {
            user: USER.into(),
            identifier: ID.into(),
        },
        importance: Important,
        age: ms(0),
        due_in: ms(1000),
        failures: 1,
        failing_for: ms(1000),
        suspended: false,
    };
    phone.engine.restore(ms(100_000), &owed, 0);
    phone.hold_message(100_001, CHAT, 1);
    assert_eq!(phone.told(), 2);
    for read in [up_to(CHAT, 1), Read::Everything] {
        assert_eq!(phone.read(100_002, read), None);
        assert_eq!(phone.told(), 1);
    }
    assert!(phone.at(200_000).is_some());
}

#[test]
fn that_all_is_read_is_not_owed_over_a_restart() {
    let mut phone = Phone::new(vec![]);
    let push = phone.message(0, CHAT, 1);
    phone.answer_at(1, push, Answer::Result);
    phone.read(2, Read::Everything).unwrap();
    assert_eq!(phone.engine.owed(ms(3)).0, []);
}

#[test]
fn what_amends_a_message_wakes_nobody_who_knows_of_that() {
    let mut phone = Phone::new(vec![]);
    phone.message(0, CHAT, 1);
    let amend = |phone: &mut Phone, of, id| phone.offline_as(10, &amendment(of, id), StanzaId(id));
    let silent = Verdict::Silent(Silence::Amends);
    assert_eq!(amend(&mut phone, 1, 2), silent);
    let again = amend(&mut phone, 1, 2);
    assert_eq!(again, Verdict::Silent(Silence::AlreadyPushed));
    pushed(amend(&mut phone, 9, 3));
    phone.back(11);
    let known = amend(&mut phone, 1, 2);
    assert_eq!(known, Verdict::Silent(Silence::AlreadyPushed));
}

#[test]
fn what_amends_a_message_that_waits_joins_it() {
    let mut phone = Phone::new(vec![]);
    let push = phone.message(0, CHAT, 1);
    phone.answer_at(1, push, no_answer());
    let joins = phone.offline_as(2, &amendment(1, 2), StanzaId(2));
    assert_eq!(joins, Verdict::Silent(Silence::Amends));
    let (push, stanza) = phone.at(60_000).unwrap();
    assert_eq!(stanza, Some(1));
    phone.answer_at(60_001, push, Answer::Result);
    assert_eq!(phone.at(600_000), None);
}

#[test]
fn a_push_that_was_not_taken_has_told_nothing_unless_it_was_late() {
    let mut phone = Phone::new(vec![]);
    let refused_push = phone.message(0, CHAT, 1);
    phone.answer_at(1, refused_push, refused("forbidden"));
    assert_eq!(phone.read(2, Read::Everything), None);
    let late = phone.message(3, CHAT, 2);
    phone.at(200_000);
    phone.answer_at(200_001, late, Answer::Result);
    assert!(phone.read(200_002, Read::Everything).is_some());
}

#[test]
fn a_request_to_which_nobody_refers_is_unread_until_all_is_read() {
    let mut phone = Phone::new(vec![]);
    let request = Facts {
        names: None,
        ..facts(Important, 1)
    };
    pushed(phone.offline_as(0, &request, StanzaId(1)));
    let second = phone.message(1, CHAT, 2);
    phone.answer_at(2, second, no_answer());
    assert_eq!(phone.read(3, up_to(CHAT, 2)), None);
    assert_eq!(phone.told(), 1);
    let again = phone.at(60_000);
    assert!(again.is_some(), "what was not taken may have been for both");
    assert!(phone.read(60_001, Read::Everything).is_some());
}

#[test]
fn what_a_push_without_a_stanza_was_for_is_not_counted_twice() {
    let mut told = Told::default();
    told.add(name(1), &message(CHAT, 1));
    let about = About::nothing(Important);
    told.owe(&about, false);
    assert_eq!(told.len(), 1);
    told.owe(&about, true);
    assert_eq!(told.len(), 2);
}
