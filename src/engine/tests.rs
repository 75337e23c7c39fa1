use std::time::Duration;

use super::about::About;
use super::copies::MAX_TWINS;
use super::deadlines::MAX_SERVED;
use super::decision::Wait;
use super::identity::DeviceKey;
use super::in_flight::MAX_OF_USER as MAX_IN_FLIGHT_OF_USER;
use super::*;
use crate::stanza::{Chat, Facts, Importance, Label, Names, Read, StanzaId};

mod delivery;
mod occasions;
mod overview;
mod reading;
mod ringing;
mod taken;

const USER: &str = "anna";
const ID: &str = "push.test<n1";
const PHONE: Registration<'static> = Registration {
    identifier: ID,
    jid: "push.test",
    content: false,
    calls: false,
    left_out: None,
    suspended: None,
    client: None,
};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn live() -> Session<'static> {
    Session {
        identifiers: [Some(ID), None],
        connection: Connection::Live {
            ack_overdue: false,
            available: true,
        },
    }
}

/// No presence, or a negative priority.
fn unavailable() -> Session<'static> {
    Session {
        identifiers: [Some(ID), None],
        connection: Connection::Live {
            ack_overdue: false,
            available: false,
        },
    }
}

fn overdue() -> Session<'static> {
    Session {
        identifiers: [Some(ID), None],
        connection: Connection::Live {
            ack_overdue: true,
            available: true,
        },
    }
}

fn hibernated() -> Session<'static> {
    Session {
        identifiers: [Some(ID), None],
        connection: Connection::Hibernated,
    }
}

fn gone() -> Session<'static> {
    Session {
        identifiers: [Some(ID), None],
        connection: Connection::Gone,
    }
}

fn names(chat: u64, id: u64) -> Names {
    Names {
        chat: Chat(chat),
        ids: [Some(name(id)), None],
    }
}

/// What others refer to a message by.
fn name(id: u64) -> StanzaId {
    StanzaId(id | 1 << 63)
}

fn facts(importance: Importance, id: u64) -> Facts {
    Facts {
        importance,
        message: true,
        push: false,
        call: None,
        id: Some(StanzaId(id)),
        content: Some(StanzaId(id)),
        redelivered: false,
        to_account: true,
        note_to_self: false,
        said: None,
        names: Some(names(1, id)),
        amends: None,
        label: Label::default(),
    }
}

/// Permanent errors in a row.
fn permanent_errors(engine: &Engine<u64>, user: &str) -> u32 {
    let key = engine.schedule.identities.device(user, ID);
    let device = engine.schedule.devices.get(key);
    device.map_or(0, |device| device.errors)
}

/// One device, with the sessions that a test gives it.
struct Phone {
    engine: Engine<u64>,
    registration: Registration<'static>,
    sessions: Vec<Session<'static>>,
}

impl Phone {
    fn new(sessions: Vec<Session<'static>>) -> Self {
        Self {
            engine: Engine::default(),
            registration: PHONE,
            sessions,
        }
    }

    fn ask<T>(&mut self, ask: impl FnOnce(&mut Engine<u64>, &Account<'_>) -> T) -> T {
        let registrations = [self.registration];
        let sessions = &self.sessions;
        ask(
            &mut self.engine,
            &Account {
                user: USER,
                registrations: &registrations,
                sessions,
            },
        )
    }

    fn unacked(&mut self, at: u64, importance: Importance, id: u64) -> Verdict {
        let decision = self.ask(|engine, account| {
            engine.unacked(ms(at), account, 0, 0, &facts(importance, id), StanzaId(id))
        });
        let verdict = decision.verdict;
        match verdict {
            Verdict::Hold(ticket) => self.hold(at, ticket, id),
            Verdict::Push(push) => {
                self.engine.keep(push, id);
                verdict
            }
            Verdict::Silent(_) => verdict,
        }
    }

    fn hold(&mut self, at: u64, ticket: Ticket, id: u64) -> Verdict {
        let copy = Ticket { ..ticket };
        self.engine.hold(ms(at), ticket, Some(id));
        Verdict::Hold(copy)
    }

    fn archived_as(&mut self, at: u64, facts: &Facts, archive_id: &str) -> Verdict {
        self.ask(|engine, account| {
            engine
                .archived(
                    ms(at),
                    account,
                    facts,
                    StanzaId::archived(archive_id, engine.key()),
                )
                .remove(0)
                .verdict
        })
    }

    fn archived(&mut self, at: u64, importance: Importance, archive_id: &str) -> Verdict {
        self.archived_as(at, &facts(importance, 0), archive_id)
    }

    fn offline_as(&mut self, at: u64, facts: &Facts, id: StanzaId) -> Verdict {
        let verdict = self
            .ask(|engine, account| engine.offline(ms(at), account, facts, id).remove(0).verdict);
        match verdict {
            Verdict::Hold(ticket) => self.hold(at, ticket, id.0),
            Verdict::Push(push) => {
                self.engine.keep(push, id.0);
                verdict
            }
            Verdict::Silent(_) => verdict,
        }
    }

    fn offline(&mut self, at: u64, importance: Importance, id: u64) -> Verdict {
        self.offline_as(at, &facts(importance, id), StanzaId(id))
    }

    /// Serves the deadlines up to `at` and returns the stanza that was released.
    fn at(&mut self, at: u64) -> Option<(PushId, Option<u64>)> {
        let due = self.engine.expire(ms(at)).due;
        assert!(due.len() <= 1);
        due.first()?;
        let released = self.ask(|engine, account| engine.release(ms(at), account, 0))?;
        if let Some(stanza) = released.stanza {
            self.engine.keep(released.id, stanza);
        }
        Some((released.id, released.stanza))
    }

    fn answer(&mut self, id: PushId, answer: Answer<'_>) -> Option<Report> {
        self.answer_at(0, id, answer)
    }

    fn answer_at(&mut self, at: u64, id: PushId, answer: Answer<'_>) -> Option<Report> {
        let id = id.to_string();
        self.engine.answered(ms(at), &id, "push.test", answer)
    }
}

fn pushed(verdict: Verdict) -> PushId {
    match verdict {
        Verdict::Push(id) => id,
        other => panic!("{other:?}"),
    }
}

fn refused(condition: &'static str) -> Answer<'static> {
    Answer::Error {
        kind: Some("cancel"),
        condition: Some(condition),
    }
}

use Importance::{Important, Unimportant, Urgent};

mod rule_a {
    use super::*;

    #[test]
    fn an_important_stanza_is_pushed_at_once_and_speaks_for_what_follows() {
        let mut phone = Phone::new(vec![hibernated()]);
        pushed(phone.unacked(0, Important, 1));
        assert_eq!(
            phone.unacked(999, Important, 2),
            Verdict::Silent(Silence::SpokenFor)
        );
        assert_eq!(
            phone.unacked(999, Unimportant, 3),
            Verdict::Silent(Silence::SpokenFor)
        );
        pushed(phone.unacked(1000, Important, 4));
    }

    #[test]
    fn an_unimportant_stanza_waits_for_the_end_of_the_window() {
        let mut phone = Phone::new(vec![hibernated()]);
        assert!(matches!(phone.unacked(0, Unimportant, 1), Verdict::Hold(_)));
        assert!(matches!(
            phone.unacked(500, Unimportant, 2),
            Verdict::Hold(_)
        ));
        assert_eq!(phone.engine.deadline(), Some(ms(1000)));
        assert_eq!(phone.at(999), None);
        assert_eq!(phone.at(1000).unwrap().1, Some(1));
        // It has spoken for both.
        assert_eq!(
            phone.unacked(2000, Unimportant, 2),
            Verdict::Silent(Silence::AlreadyPushed)
        );
    }

    #[test]
    fn an_important_push_speaks_for_what_waits() {
        let mut phone = Phone::new(vec![hibernated()]);
        assert!(matches!(phone.unacked(0, Unimportant, 1), Verdict::Hold(_)));
        pushed(phone.unacked(500, Important, 2));
        assert_eq!(phone.at(1000), None);
        assert_eq!(
            phone.unacked(5000, Unimportant, 1),
            Verdict::Silent(Silence::AlreadyPushed)
        );
    }

    #[test]
    fn what_a_push_speaks_for_is_known_without_the_stanzas() {
        let is_spoken_for = |phone: &mut Phone, at| {
            phone.ask(|engine, account| engine.is_spoken_for(ms(at), account, 0))
        };
        let mut phone = Phone::new(vec![hibernated()]);
        assert!(!is_spoken_for(&mut phone, 0));
        pushed(phone.unacked(0, Important, 1));
        assert!(is_spoken_for(&mut phone, 999) && !is_spoken_for(&mut phone, 1000));
        phone.registration.content = true;
        assert!(!is_spoken_for(&mut phone, 999));
        for (sessions, silence) in [
            (vec![hibernated()], None),
            (vec![hibernated(), live()], Some(Silence::Online)),
        ] {
            phone.sessions = sessions;
            let found = phone.ask(|_, account| rules::unacked(account, 0, ID));
            assert_eq!(found, silence);
        }
    }

    #[test]
    fn a_call_speaks_for_what_follows_by_whatever_rule_it_rings() {
        let mut phone = Phone::new(vec![hibernated()]);
        pushed(phone.archived(0, Urgent, "archive-1"));
        let retract = phone.unacked(300, Unimportant, 2);
        assert_eq!(retract, Verdict::Silent(Silence::SpokenFor));
    }

    #[test]
    fn a_call_never_waits() {
        let mut phone = Phone::new(vec![hibernated()]);
        pushed(phone.unacked(0, Important, 1));
        pushed(phone.unacked(1, Urgent, 2));
        pushed(phone.unacked(2, Urgent, 3));
    }

    #[test]
    fn pushes_with_content_come_for_each_important_stanza() {
        let mut phone = Phone::new(vec![hibernated()]);
        phone.registration.content = true;
        pushed(phone.unacked(0, Important, 1));
        pushed(phone.unacked(1, Important, 2));
        assert_eq!(
            phone.unacked(2, Unimportant, 3),
            Verdict::Silent(Silence::SpokenFor)
        );
    }

    #[test]
    fn no_push_speaks_for_content_that_waits() {
        let mut phone = Phone::new(vec![]);
        phone.registration.content = true;
        phone.engine.configure(Options {
            max_per_minute: 1,
            ..Options::default()
        });
        pushed(phone.offline(0, Important, 1));
        assert!(matches!(phone.offline(0, Important, 2), Verdict::Hold(_)));
        phone.sessions = vec![hibernated()];
        pushed(phone.unacked(10, Urgent, 3));
        assert_eq!(phone.at(61_000).unwrap().1, Some(2));
    }

    #[test]
    fn it_is_limited_as_the_other_rules_are() {
        let calls = |content| {
            let mut phone = Phone::new(vec![hibernated()]);
            phone.registration.content = content;
            phone.engine.configure(Options {
                max_per_minute: 5,
                coalesce_window: Duration::ZERO,
                ..Options::default()
            });
            let mut pushes = [0, 0];
            for id in 0..900 {
                let (kind, importance) = [(0, Important), (1, Urgent)][usize::from(id >= 100)];
                match phone.unacked(id, importance, id) {
                    Verdict::Push(_) => pushes[kind] += 1,
                    Verdict::Hold(_) => {}
                    Verdict::Silent(silence) => panic!("{silence:?}"),
                }
            }
            assert!(phone.at(60_999).is_none());
            assert!(
                phone.at(61_000).is_some(),
                "what exceeds the limit is merged"
            );
            assert!(phone.at(100_000).is_none());
            pushes
        };
        assert_eq!(calls(false), [5, 5]);
        assert_eq!(calls(true), [5, 5]);
    }

    #[test]
    fn without_a_window_everything_is_pushed_at_once() {
        let mut phone = Phone::new(vec![hibernated()]);
        phone.engine.configure(Options {
            coalesce_window: Duration::ZERO,
            ..Options::default()
        });
        pushed(phone.unacked(0, Unimportant, 1));
        pushed(phone.unacked(0, Important, 2));
        pushed(phone.unacked(0, Important, 3));
    }

    #[test]
    fn a_resume_ends_the_window_and_drops_what_waits() {
        let mut phone = Phone::new(vec![hibernated()]);
        assert!(matches!(phone.unacked(0, Unimportant, 1), Verdict::Hold(_)));
        phone.engine.back(ms(0), USER, ID);
        assert_eq!(phone.engine.deadline(), None);
        // It has been received with the resume.
        assert_eq!(
            phone.unacked(10, Unimportant, 1),
            Verdict::Silent(Silence::AlreadyPushed)
        );
        pushed(phone.unacked(10, Important, 2));
        phone.engine.back(ms(0), USER, ID);
        pushed(phone.unacked(20, Important, 3));
    }

    #[test]
    fn what_was_pushed_is_not_pushed_by_a_second_hibernation() {
        let mut phone = Phone::new(vec![overdue()]);
        pushed(phone.unacked(0, Important, 1));
        phone.sessions = vec![hibernated()];
        assert_eq!(
            phone.unacked(5000, Important, 1),
            Verdict::Silent(Silence::AlreadyPushed)
        );
        phone.engine.back(ms(0), USER, ID);
        assert_eq!(
            phone.unacked(9000, Important, 1),
            Verdict::Silent(Silence::AlreadyPushed)
        );
        phone.engine.enabled(ms(0), USER, ID);
        assert_eq!(
            phone.unacked(9500, Important, 1),
            Verdict::Silent(Silence::AlreadyPushed)
        );
    }

    #[test]
    fn a_live_session_of_the_same_device_silences_a_hibernated_one() {
        for other in [live(), overdue()] {
            let mut phone = Phone::new(vec![hibernated(), other]);
            for importance in [Unimportant, Important, Urgent] {
                let verdict = phone.unacked(0, importance, 1);
                assert_eq!(verdict, Verdict::Silent(Silence::Online));
            }
        }
        let mut phone = Phone::new(vec![hibernated(), gone()]);
        pushed(phone.unacked(0, Important, 1));
    }

    #[test]
    fn an_overdue_session_is_silenced_by_one_that_answers_only() {
        let mut phone = Phone::new(vec![overdue(), live()]);
        assert_eq!(
            phone.unacked(0, Important, 1),
            Verdict::Silent(Silence::Online)
        );
        let other = |session: Session<'static>| Session {
            identifiers: [Some("push.test<n2"), None],
            ..session
        };
        for sessions in [
            vec![overdue(), overdue()],
            vec![overdue(), other(live())],
            vec![hibernated(), other(live())],
            vec![hibernated(), other(hibernated())],
            vec![overdue(), other(overdue())],
            vec![hibernated(), hibernated()],
        ] {
            pushed(Phone::new(sessions).unacked(0, Important, 1));
        }
    }

    #[test]
    fn what_waits_is_dropped_if_the_device_answers_meanwhile() {
        let mut phone = Phone::new(vec![overdue()]);
        assert!(matches!(phone.unacked(0, Unimportant, 1), Verdict::Hold(_)));
        phone.sessions = vec![live()];
        assert_eq!(phone.at(1000), None);
    }
}

mod rules_b_and_c {
    use super::*;

    #[test]
    fn the_archive_is_a_reason_for_devices_without_a_session_only() {
        let cases = [
            (vec![], None),
            (vec![gone()], None),
            (vec![live()], Some(Silence::Online)),
            (vec![overdue()], Some(Silence::Online)),
            (vec![hibernated()], Some(Silence::Hibernated)),
            (vec![hibernated(), live()], Some(Silence::Online)),
        ];
        for (sessions, silence) in cases {
            let mut phone = Phone::new(sessions.clone());
            match (phone.archived(0, Important, "a"), silence) {
                (Verdict::Push(_), None) => {}
                (Verdict::Silent(is), Some(expected)) if is == expected => {}
                (verdict, _) => panic!("{sessions:?}: {verdict:?}"),
            }
        }
    }

    #[test]
    fn each_registration_of_the_user_is_met() {
        let other = Registration {
            identifier: "push.test<n2",
            ..PHONE
        };
        let account = Account {
            user: USER,
            registrations: &[PHONE, other],
            sessions: &[],
        };
        let facts = facts(Important, 1);
        let rules = [
            Engine::archived,
            Engine::undelivered,
            Engine::offline,
            Engine::room,
        ];
        for rule in rules {
            let mut engine = Engine::<u64>::default();
            let decisions = rule(&mut engine, ms(0), &account, &facts, StanzaId(1));
            let met: Vec<_> = decisions.iter().map(|one| one.registration).collect();
            assert_eq!(met, [0, 1]);
            for decision in decisions {
                pushed(decision.verdict);
            }
        }
    }

    #[test]
    fn what_does_not_depend_on_the_stanza_is_known_without_it() {
        let cases = [
            (vec![], None),
            (vec![live()], Some(Silence::Online)),
            (vec![hibernated()], Some(Silence::Hibernated)),
        ];
        for (sessions, silence) in cases {
            let mut phone = Phone::new(sessions);
            let found = phone.ask(|_, account| rules::silent_unless_call(account));
            assert_eq!(found, silence);
        }
        let other = Registration {
            identifier: "push.test<n2",
            ..PHONE
        };
        let account = Account {
            user: USER,
            registrations: &[PHONE, other],
            sessions: &[live()],
        };
        assert_eq!(rules::silent_unless_call(&account), None);
    }

    #[test]
    fn offline_storage_is_a_reason_for_all_that_do_not_receive() {
        let away = [
            vec![],
            vec![gone()],
            vec![hibernated()],
            vec![unavailable()],
            vec![unavailable(), hibernated()],
        ];
        for sessions in away {
            pushed(Phone::new(sessions).offline(0, Important, 1));
        }
        for sessions in [
            vec![live()],
            vec![overdue()],
            vec![gone(), live()],
            vec![unavailable(), live()],
        ] {
            let verdict = Phone::new(sessions).offline(0, Important, 1);
            assert_eq!(verdict, Verdict::Silent(Silence::Online));
        }
    }

    #[test]
    fn a_room_message_to_the_bare_jid_is_a_reason_for_all_once() {
        for sessions in [
            vec![],
            vec![hibernated()],
            vec![live()],
            vec![unavailable()],
        ] {
            let mut phone = Phone::new(sessions);
            let mut room = |id| {
                phone.ask(|engine, account| {
                    let facts = facts(Important, id);
                    let mut decisions = engine.room(ms(0), account, &facts, StanzaId(id));
                    decisions.remove(0).verdict
                })
            };
            pushed(room(1));
            assert_eq!(room(1), Verdict::Silent(Silence::AlreadyPushed));
        }
    }

    #[test]
    fn what_an_ended_session_has_not_acknowledged_is_a_reason_for_those_that_are_away() {
        let undelivered = |phone: &mut Phone, facts: &Facts| {
            phone.ask(|engine, account| {
                let mut decisions = engine.undelivered(ms(0), account, facts, StanzaId(1));
                decisions.remove(0).verdict
            })
        };
        let cases = [
            (vec![], None),
            (vec![gone()], None),
            (vec![gone(), live()], Some(Silence::Online)),
            (vec![unavailable()], Some(Silence::Online)),
            (vec![hibernated()], Some(Silence::Hibernated)),
        ];
        for importance in [Important, Urgent] {
            for (sessions, silence) in cases.clone() {
                let mut phone = Phone::new(sessions);
                match (undelivered(&mut phone, &facts(importance, 1)), silence) {
                    (Verdict::Push(_), None) => {
                        let again = undelivered(&mut phone, &facts(importance, 1));
                        assert_eq!(again, Verdict::Silent(Silence::AlreadyPushed));
                        let stored = phone.offline(0, importance, 1);
                        assert_eq!(stored, Verdict::Silent(Silence::AlreadyPushed));
                    }
                    (Verdict::Silent(is), Some(expected)) if is == expected => {}
                    (verdict, silence) => panic!("{verdict:?} instead of {silence:?}"),
                }
            }
        }
        let mut phone = Phone::new(vec![]);
        let verdict = undelivered(&mut phone, &facts(Unimportant, 1));
        assert_eq!(verdict, Verdict::Silent(Silence::Unimportant));
        let sent = Facts {
            to_account: false,
            ..facts(Important, 1)
        };
        let verdict = undelivered(&mut phone, &sent);
        assert_eq!(verdict, Verdict::Silent(Silence::NotRecipient));
    }

    #[test]
    fn what_a_device_has_received_is_no_reason_any_more() {
        let mut phone = Phone::new(vec![]);
        let facts = facts(Important, 1);
        phone.engine.served(ms(0), USER, ID, [(StanzaId(1), facts)]);
        let verdict = phone.offline(0, Important, 1);
        assert_eq!(verdict, Verdict::Silent(Silence::AlreadyPushed));
    }

    #[test]
    fn what_is_owed_goes_to_a_live_device_that_does_not_receive() {
        for (sessions, expected) in [(vec![unavailable()], true), (vec![live()], false)] {
            let mut phone = Phone::new(vec![]);
            let push = pushed(phone.offline(0, Important, 1)).to_string();
            let busy = Answer::Error {
                kind: Some("wait"),
                condition: Some("resource-constraint"),
            };
            phone.engine.answered(ms(0), &push, "push.test", busy);
            phone.sessions = sessions;
            let due = phone.engine.deadline().map(|at| at.as_millis()).unwrap();
            let released = phone.at(u64::try_from(due).unwrap() + 1);
            assert_eq!(released.is_some(), expected);
        }
    }

    #[test]
    fn a_call_rings_whatever_the_session_is_and_once() {
        for sessions in [vec![], vec![live()], vec![hibernated()]] {
            let mut phone = Phone::new(sessions);
            pushed(phone.archived(0, Urgent, "a"));
            let id = StanzaId::archived("a", phone.engine.key());
            let again = phone.offline_as(0, &facts(Urgent, 1), id);
            assert_eq!(again, Verdict::Silent(Silence::AlreadyPushed));
        }
    }

    #[test]
    fn the_senders_own_copy_is_no_reason() {
        let mut phone = Phone::new(vec![]);
        let copy = Facts {
            to_account: false,
            ..facts(Urgent, 1)
        };
        assert_eq!(
            phone.archived_as(0, &copy, "a"),
            Verdict::Silent(Silence::NotRecipient)
        );
    }

    #[test]
    fn the_archive_id_ties_a_stanza_to_its_clones() {
        let mut phone = Phone::new(vec![]);
        pushed(phone.archived(0, Important, "a"));
        let id = StanzaId::archived("a", phone.engine.key());
        let again = phone.offline_as(0, &facts(Important, 9), id);
        assert_eq!(again, Verdict::Silent(Silence::AlreadyPushed));
        pushed(phone.archived(0, Important, "b"));
    }

    #[test]
    fn a_note_to_self_is_pushed_once_for_its_two_copies() {
        let mut phone = Phone::new(vec![]);
        let note = Facts {
            note_to_self: true,
            ..facts(Important, 1)
        };
        pushed(phone.archived_as(0, &note, "a"));
        assert_eq!(
            phone.archived_as(0, &note, "b"),
            Verdict::Silent(Silence::AlreadyPushed)
        );
        let second = StanzaId::archived("b", phone.engine.key());
        assert_eq!(
            phone.offline_as(0, &note, second),
            Verdict::Silent(Silence::AlreadyPushed)
        );
        // The same words once more are another note.
        pushed(phone.archived_as(0, &note, "c"));
        assert_eq!(
            phone.archived_as(0, &note, "d"),
            Verdict::Silent(Silence::AlreadyPushed)
        );
        // Nor is another note a copy of it.
        let other = Facts {
            content: Some(StanzaId(2)),
            ..note
        };
        pushed(phone.archived_as(0, &note, "g"));
        pushed(phone.archived_as(0, &other, "h"));
        assert_eq!(
            phone.archived_as(0, &other, "i"),
            Verdict::Silent(Silence::AlreadyPushed)
        );
        // A first copy whose second one never came does not swallow a later note.
        pushed(phone.archived_as(0, &note, "e"));
        pushed(phone.archived_as(5000, &note, "f"));
    }

    #[test]
    fn what_storage_gives_back_is_known_by_its_content() {
        let mut phone = Phone::new(vec![]);
        let stored = Facts {
            id: None,
            content: Some(StanzaId(7)),
            ..facts(Important, 0)
        };
        pushed(phone.offline_as(0, &stored, StanzaId(100)));
        phone.sessions = vec![hibernated()];
        let returned = Facts {
            redelivered: true,
            ..stored
        };
        let again = phone.ask(|engine, account| {
            engine.unacked(ms(9000), account, 0, 0, &returned, StanzaId(101))
        });
        assert_eq!(again.verdict, Verdict::Silent(Silence::AlreadyPushed));
        // The same words again, but not from storage, are another message.
        let other = phone
            .ask(|engine, account| engine.unacked(ms(9000), account, 0, 0, &stored, StanzaId(102)));
        pushed(other.verdict);
    }

    #[test]
    fn a_flood_is_merged_into_one_later_push() {
        let mut phone = Phone::new(vec![]);
        phone.engine.configure(Options {
            max_per_minute: 6,
            ..Options::default()
        });
        for id in 0..6 {
            pushed(phone.offline(0, Important, id));
        }
        assert!(matches!(phone.offline(0, Unimportant, 6), Verdict::Hold(_)));
        for id in 7..100 {
            assert!(
                matches!(phone.offline(1, Important, id), Verdict::Hold(_)),
                "{id}"
            );
        }
        assert_eq!(
            phone.engine.deadline(),
            Some(ms(61_000)),
            "when the first are a minute old"
        );
        assert_eq!(
            phone.at(61_000).unwrap().1,
            Some(7),
            "the most important one"
        );
        for id in 6..100 {
            let verdict = phone.offline(61_001, Important, id);
            assert_eq!(verdict, Verdict::Silent(Silence::AlreadyPushed));
        }
        pushed(phone.offline(61_001, Important, 100));
    }

    #[test]
    fn however_many_wait_none_is_pushed_again_by_another_rule() {
        let mut phone = Phone::new(vec![]);
        phone.engine.configure(Options {
            max_per_minute: 1,
            ..Options::default()
        });
        pushed(phone.offline(0, Important, 0));
        for id in 1..2000 {
            assert!(matches!(phone.offline(1, Important, id), Verdict::Hold(_)));
            // The next rule meets it a moment later.
            let again = phone.offline(1, Important, id);
            assert_eq!(again, Verdict::Silent(Silence::AlreadyWaiting), "{id}");
        }
        let (push, _) = phone.at(61_000).unwrap();
        phone.answer_at(61_000, push, Answer::Result).unwrap();
        for id in 1000..2000 {
            let again = phone.offline(200_000, Important, id);
            assert_eq!(again, Verdict::Silent(Silence::AlreadyPushed), "{id}");
        }
    }

    #[test]
    fn calls_may_overdraw_the_rate_but_are_no_flood_either() {
        let mut phone = Phone::new(vec![]);
        phone.engine.configure(Options {
            max_per_minute: 3,
            ..Options::default()
        });
        for id in 0..3 {
            pushed(phone.offline(0, Important, id));
        }
        for id in 3..6 {
            pushed(phone.offline(0, Urgent, id));
        }
        assert!(matches!(phone.offline(0, Urgent, 6), Verdict::Hold(_)));
    }

    #[test]
    fn no_limit_is_no_limit() {
        let mut phone = Phone::new(vec![]);
        phone.engine.configure(Options {
            max_per_minute: 0,
            ..Options::default()
        });
        for id in 0..1000 {
            let push = pushed(phone.offline(0, Important, id));
            phone.answer(push, Answer::Result).unwrap();
        }
    }
}

#[test]
fn what_an_extension_leaves_out_is_no_reason_by_any_rule() {
    let mut phone = Phone::new(vec![hibernated()]);
    phone.registration.left_out = Some(Silence::Muted);
    let left_out = Verdict::Silent(Silence::Muted);
    assert_eq!(phone.unacked(0, Urgent, 1), left_out);
    assert_eq!(phone.archived_as(0, &facts(Urgent, 1), "a1"), left_out);
    assert_eq!(phone.offline(0, Important, 1), left_out);
    phone.registration.left_out = None;
    pushed(phone.offline(0, Important, 1));
}

#[test]
fn a_push_is_no_reason_for_a_push_by_any_rule() {
    let mut phone = Phone::new(vec![hibernated()]);
    for importance in [Unimportant, Important, Urgent] {
        let push = Facts {
            push: true,
            ..facts(importance, 1)
        };
        let unacked =
            phone.ask(|engine, account| engine.unacked(ms(0), account, 0, 0, &push, StanzaId(1)));
        let archived = phone.archived_as(0, &push, "a1");
        let offline = phone.offline_as(0, &push, StanzaId(1));
        for verdict in [unacked.verdict, archived, offline] {
            assert_eq!(verdict, Verdict::Silent(Silence::IsPush));
        }
    }
    assert_eq!(phone.engine.deadline(), None);
}

mod choices {
    use super::*;

    #[test]
    fn push_notify_on_chooses() {
        let presence = Facts {
            message: false,
            ..facts(Unimportant, 1)
        };
        let chat_state = facts(Unimportant, 2);
        let message = facts(Important, 3);
        for (notify_on, wanted) in [
            (NotifyOn::All, [true, true, true]),
            (NotifyOn::Messages, [false, true, true]),
            (NotifyOn::Important, [false, false, true]),
        ] {
            let mut phone = Phone::new(vec![]);
            phone.engine.configure(Options {
                notify_on,
                ..Options::default()
            });
            for (stanza, wanted) in [presence, chat_state, message].iter().zip(wanted) {
                let verdict = phone.offline_as(0, stanza, stanza.id.unwrap());
                if wanted {
                    pushed(verdict);
                } else {
                    assert_eq!(verdict, Verdict::Silent(Silence::NotWanted));
                }
            }
        }
    }
}

mod vetoes {
    use super::*;

    #[test]
    fn a_vetoed_push_speaks_for_nothing() {
        let mut phone = Phone::new(vec![hibernated()]);
        let id = pushed(phone.unacked(0, Important, 1));
        phone.engine.vetoed(ms(0), id, "");
        pushed(phone.unacked(1, Important, 2));
        assert_eq!(
            phone.unacked(2, Important, 1),
            Verdict::Silent(Silence::AlreadyPushed)
        );
    }

    #[test]
    fn after_a_veto_the_next_one_that_waits_has_its_turn() {
        let mut phone = Phone::new(vec![hibernated()]);
        for id in 1..=3 {
            assert!(matches!(
                phone.unacked(0, Unimportant, id),
                Verdict::Hold(_)
            ));
        }
        let (first, stanza) = phone.at(1000).unwrap();
        assert_eq!(stanza, Some(1));
        phone.engine.vetoed(ms(1000), first, "");
        let (second, stanza) = phone.at(1000).unwrap();
        assert_eq!(stanza, Some(2));
        // This one leaves, so the third is spoken for.
        assert_eq!(phone.at(2000), None);
        phone.answer(second, Answer::Result).unwrap();
        assert_eq!(phone.engine.deadline(), None);
    }

    #[test]
    fn what_no_candidate_could_speak_for_may_be_met_again() {
        let mut phone = Phone::new(vec![hibernated()]);
        for id in 0..100 {
            assert!(matches!(
                phone.unacked(0, Unimportant, id),
                Verdict::Hold(_)
            ));
        }
        while let Some((push, _)) = phone.at(1000) {
            phone.engine.vetoed(ms(1000), push, "");
        }
        assert_eq!(phone.engine.deadline(), None);
        assert_eq!(
            phone.unacked(2000, Unimportant, 0),
            Verdict::Silent(Silence::AlreadyPushed)
        );
        assert!(matches!(
            phone.unacked(2000, Unimportant, 99),
            Verdict::Hold(_)
        ));
    }

    #[test]
    fn vetoes_of_what_waited_leave_the_rate_as_it_was() {
        let mut phone = Phone::new(vec![]);
        phone.engine.configure(Options {
            max_per_minute: 1,
            ..Options::default()
        });
        pushed(phone.offline(0, Important, 0));
        for id in 1..20 {
            assert!(matches!(phone.offline(0, Important, id), Verdict::Hold(_)));
        }
        while let Some((push, _)) = phone.at(61_000) {
            phone.engine.vetoed(ms(61_000), push, "");
        }
        pushed(phone.offline(61_000, Important, 100));
    }

    #[test]
    fn a_vetoed_push_takes_nothing_from_the_rate() {
        let mut phone = Phone::new(vec![]);
        phone.engine.configure(Options {
            max_per_minute: 1,
            ..Options::default()
        });
        for id in 0..10 {
            let push = pushed(phone.offline(0, Important, id));
            phone.engine.vetoed(ms(0), push, "");
        }
        assert_eq!(phone.engine.in_flight(), 0);
    }
}

mod answers {
    use super::*;

    fn errors(answer: Answer<'_>) -> u32 {
        let mut phone = Phone::new(vec![]);
        let id = pushed(phone.offline(0, Important, 1));
        phone.answer(id, answer).unwrap().errors
    }

    #[test]
    fn permanent_errors_count() {
        for condition in [
            "item-not-found",
            "not-allowed",
            "forbidden",
            "gone",
            "not-authorized",
            "bad-request",
            "policy-violation",
        ] {
            for kind in ["cancel", "auth", "modify"] {
                let answer = Answer::Error {
                    kind: Some(kind),
                    condition: Some(condition),
                };
                assert_eq!(errors(answer), 1, "{kind} {condition}");
            }
        }
    }

    #[test]
    fn passing_errors_do_not() {
        for condition in [
            "remote-server-not-found",
            "remote-server-timeout",
            "recipient-unavailable",
            "service-unavailable",
            "internal-server-error",
        ] {
            assert_eq!(errors(refused(condition)), 0, "{condition}");
        }
        for condition in ["item-not-found", "bad-request", "policy-violation"] {
            let answer = Answer::Error {
                kind: Some("wait"),
                condition: Some(condition),
            };
            assert_eq!(errors(answer), 0, "{condition}");
        }
        assert_eq!(
            errors(Answer::Error {
                kind: None,
                condition: None
            }),
            0
        );
        assert_eq!(
            errors(Answer::Error {
                kind: Some("nonsense"),
                condition: None
            }),
            0
        );
    }

    #[test]
    fn so_many_in_a_row_end_the_registration() {
        let mut phone = Phone::new(vec![]);
        phone.engine.configure(Options {
            max_errors: 3,
            ..Options::default()
        });
        let mut answer = |id, answer| {
            let push = pushed(phone.offline(0, Important, id));
            phone.answer(push, answer).unwrap()
        };
        let gone = refused("item-not-found");
        assert_eq!((answer(1, gone).errors, answer(2, gone).errors), (1, 2));
        assert_eq!(answer(3, Answer::Result).errors, 0, "a success forgives");
        assert_eq!(answer(4, gone).outcome, Outcome::Refused);
        assert_eq!(answer(5, gone).outcome, Outcome::Refused);
        let passing = answer(6, refused("service-unavailable"));
        assert_eq!((passing.errors, passing.outcome), (2, Outcome::Failed));
        phone.engine.back(ms(0), USER, ID);
        let push = pushed(phone.offline(0, Important, 7));
        let report = phone.answer(push, gone).unwrap();
        assert_eq!((report.outcome, report.errors), (Outcome::Removed, 3));
        assert_eq!(&*report.device.as_ref().unwrap().user, USER);
        assert_eq!(&*report.device.unwrap().identifier, ID);
    }

    #[test]
    fn enabling_again_forgives() {
        let mut phone = Phone::new(vec![]);
        let push = pushed(phone.offline(0, Important, 1));
        phone.answer(push, refused("gone")).unwrap();
        assert_eq!(permanent_errors(&phone.engine, USER), 1);
        phone.engine.enabled(ms(0), USER, ID);
        assert_eq!(permanent_errors(&phone.engine, USER), 0);
    }

    #[test]
    fn errors_are_counted_per_user() {
        let mut phone = Phone::new(vec![]);
        let push = pushed(phone.offline(0, Important, 1));
        phone.answer(push, refused("gone")).unwrap();
        assert_eq!(permanent_errors(&phone.engine, "rosa"), 0);
    }

    #[test]
    fn an_answer_counts_once_from_the_service_that_was_asked() {
        let mut phone = Phone::new(vec![]);
        let id = pushed(phone.offline(0, Important, 1)).to_string();
        let other = pushed(phone.offline(0, Important, 2)).to_string();
        assert_ne!(id, other);
        for from in ["other.test", "push.test/x", "a@push.test", "PUSH.test"] {
            assert_eq!(
                phone.engine.answered(ms(0), &id, from, refused("gone")),
                None,
                "{from}"
            );
        }
        for nonsense in [
            "",
            "push-",
            "push-zz",
            "push-00000000000000000",
            "x",
            "push-+0000000000000000000000000000001",
            "push-\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}",
        ] {
            let answer = phone
                .engine
                .answered(ms(0), nonsense, "push.test", Answer::Result);
            assert_eq!(answer, None, "{nonsense}");
        }
        let mut answer = || {
            phone
                .engine
                .answered(ms(0), &id, "push.test", Answer::Result)
        };
        assert!(answer().is_some());
        assert!(answer().is_none());
        assert_eq!(phone.engine.in_flight(), 1);
    }

    #[test]
    fn a_jid_from_an_old_record_is_normalised_first() {
        let mut phone = Phone::new(vec![]);
        phone.registration.jid = "Push.TEST";
        let id = pushed(phone.offline(0, Important, 1));
        assert!(phone.answer(id, Answer::Result).is_some());
    }

    #[test]
    fn after_the_time_limit_a_push_counts_as_failed() {
        let mut phone = Phone::new(vec![]);
        let id = pushed(phone.offline(0, Important, 1));
        assert_eq!(phone.engine.deadline(), Some(Duration::from_mins(2)));
        let expired = phone.engine.expire(Duration::from_mins(2));
        assert_eq!(expired.unanswered.len(), 1);
        assert_eq!(expired.unanswered[0].outcome, Outcome::Failed);
        assert_eq!(phone.answer(id, refused("gone")), None);
        assert_eq!(phone.engine.in_flight(), 0);
        assert_eq!(permanent_errors(&phone.engine, USER), 0);
    }
}

mod services {
    use super::*;

    #[test]
    fn one_that_is_back_wakes_also_those_that_had_failed_before_it_was_left_alone() {
        let mut phone = Phone::new(vec![]);
        phone.engine.configure(Options {
            max_failures: 3,
            retry_min: Duration::from_hours(1),
            ..Options::default()
        });
        for (place, user) in ["anna", "rosa", "bert"].into_iter().enumerate() {
            let account = Account {
                user,
                registrations: &[PHONE],
                sessions: &[],
            };
            let id = StanzaId(u64::try_from(place).unwrap());
            let facts = facts(Important, id.0);
            let verdict = phone
                .engine
                .offline(ms(0), &account, &facts, id)
                .remove(0)
                .verdict;
            let report = phone
                .answer(pushed(verdict), refused("service-unavailable"))
                .unwrap();
            let state = report.service.map(|change| change.state);
            let expected = match user {
                "anna" => Some(ServiceState::Failing),
                "bert" => Some(ServiceState::Out),
                _ => None,
            };
            assert_eq!(state, expected);
        }
        assert_eq!(phone.engine.expire(ms(1000)).due, []);
        phone.engine.connected(ms(1000), "push.test");
        assert_eq!(phone.engine.expire(ms(1000)).due.len(), 3);
    }

    #[test]
    fn a_suspended_registration_has_no_sessions_whatever_is_attached_to_it() {
        for session in [live(), overdue(), hibernated()] {
            let mut phone = Phone::new(vec![session]);
            phone.registration.suspended = Some(ms(1000));
            for verdict in [
                phone.archived(0, Important, "a1"),
                phone.offline(0, Important, 2),
            ] {
                assert!(matches!(verdict, Verdict::Hold(_)), "{session:?}");
            }
            let silent = phone.ask(|_, account| rules::silent_unless_call(account));
            assert_eq!(silent, None, "{session:?}");
        }
    }

    #[test]
    fn a_trial_says_that_a_node_is_dead_whatever_was_said_before() {
        for (condition, outcome) in [
            ("item-not-found", Outcome::Removed),
            ("gone", Outcome::Removed),
            ("forbidden", Outcome::Suspended),
        ] {
            let mut phone = Phone::new(vec![]);
            phone.registration.suspended = Some(Duration::ZERO);
            assert!(matches!(phone.offline(0, Important, 1), Verdict::Hold(_)));
            let (trial, _) = phone.at(0).unwrap();
            assert_eq!(
                phone.answer(trial, refused(condition)).unwrap().outcome,
                outcome
            );
        }
    }
}

mod twins {
    use super::*;
    use crate::stanza::Queued;

    #[test]
    fn a_second_may_end_between_two_clones() {
        for (first, second) in [
            ([10, 10], [11, 11]),
            ([10, 11], [9, 11]),
            ([10, 11], [10, 12]),
        ] {
            let mut engine = Engine::<u64>::default();
            let mut ids = |stamps: [i64; 2], session| {
                let content = StanzaId(1);
                stamps.map(|second| engine.twin_id(Queued { content, second }, session))
            };
            let of_first = ids(first, 1);
            assert_ne!(of_first[0], of_first[1]);
            assert_eq!(ids(second, 2), of_first);
            assert!(ids([8, 13], 3).iter().all(|id| !of_first.contains(id)));
        }
    }

    #[test]
    fn clones_in_two_queues_are_one_stanza_but_not_two_in_one_queue() {
        let mut engine = Engine::<u64>::default();
        let mut id = |content, second, session| {
            let content = StanzaId(content);
            engine.twin_id(Queued { content, second }, session)
        };
        let first = id(1, 10, 1);
        assert_eq!(id(1, 10, 2), first);
        let second = id(1, 10, 1);
        assert_ne!(second, first, "the same words once more");
        assert_eq!(id(1, 10, 2), second);
        assert_ne!(id(2, 10, 2), first);
        for session in 0..10_000 {
            id(session / 3, 10, session % 2);
        }
        assert!(
            engine.copies.twins.len() <= MAX_TWINS
                && engine.copies.twins_in_order.len() == MAX_TWINS
        );
    }
}

#[test]
fn an_identity_fits_into_a_number_of_any_lua() {
    let mut engine = Engine::<u64>::default();
    assert!((0..100).all(|_| engine.new_id().0 < 1 << 53));
}

#[test]
fn the_option_that_delays_or_prevents_a_push_is_named() {
    let mut phone = Phone::new(vec![hibernated()]);
    phone.engine.configure(Options {
        max_per_minute: 1,
        ..Options::default()
    });
    let reason = |verdict| {
        let decision = Decision {
            registration: 0,
            rule: Rule::Unacked { session: 0 },
            importance: Important,
            verdict,
        };
        decision.reason().phrase()
    };
    let reasons = [
        reason(phone.unacked(0, Unimportant, 1)),
        reason(phone.unacked(0, Important, 2)),
        reason(phone.unacked(1000, Important, 3)),
    ];
    phone.engine.configure(Options {
        notify_on: NotifyOn::Important,
        ..Options::default()
    });
    let not_wanted = reason(phone.unacked(2000, Unimportant, 4));
    assert!(reasons[0].contains("push_coalesce_window"), "{reasons:?}");
    assert_eq!(reasons[1], "pushed");
    assert!(reasons[2].contains("push_max_per_minute"), "{reasons:?}");
    assert!(not_wanted.contains("push_notify_on"), "{not_wanted}");
}

mod memory {
    use super::*;

    #[test]
    fn a_registration_that_has_ended_leaves_nothing() {
        let mut phone = Phone::new(vec![hibernated()]);
        assert!(matches!(phone.unacked(0, Unimportant, 1), Verdict::Hold(_)));
        phone.engine.forget(ms(0), USER, ID);
        assert_eq!(phone.engine.deadline(), None);
        assert_eq!(phone.engine.schedule.devices.iter().count(), 0);
    }

    #[test]
    fn a_user_who_is_deleted_leaves_nothing() {
        let mut phone = Phone::new(vec![hibernated()]);
        assert!(matches!(phone.unacked(0, Unimportant, 1), Verdict::Hold(_)));
        phone.engine.forget_user(ms(0), "rosa");
        assert_eq!(phone.engine.schedule.devices.iter().count(), 1);
        phone.engine.forget_user(ms(0), USER);
        assert_eq!(phone.engine.schedule.devices.iter().count(), 0);
        assert_eq!(phone.engine.deadline(), None);
    }

    #[test]
    fn pushes_under_way_take_their_part() {
        let mut engine = Engine::<u64>::new(Options {
            max_per_minute: 0,
            ..Options::default()
        });
        // All that there is, but for two megabytes.
        let large: Vec<_> = (100..258)
            .map(|number| number.to_string().repeat((1 << 20) / 3))
            .collect();
        for identifier in &large {
            engine.served(ms(0), USER, identifier, []);
        }
        let mut push = |user: u64, id| {
            let account = Account {
                user: &user.to_string(),
                registrations: &[PHONE],
                sessions: &[],
            };
            engine.offline(ms(0), &account, &facts(Important, id), StanzaId(id));
            engine.schedule.devices.iter().count()
        };
        assert_eq!(push(0, 0), 159);
        let last = (0..32).flat_map(|user| (1..256).map(move |id| (user, id)));
        let last = last.map(|(user, id)| push(user, id)).last();
        assert!(last < Some(158 + 32), "{last:?}");
    }

    #[test]
    fn what_a_device_was_pushed_for_is_bounded() {
        let mut phone = Phone::new(vec![]);
        phone.engine.configure(Options {
            max_per_minute: 0,
            ..Options::default()
        });
        for id in 0..1400 {
            let push = pushed(phone.offline(0, Important, id));
            phone.answer(push, Answer::Result).unwrap();
        }
        pushed(phone.offline(0, Important, 0));
        let last = phone.offline(0, Important, 1399);
        assert_eq!(last, Verdict::Silent(Silence::AlreadyPushed));
    }
}

mod calls {
    use super::*;
    use crate::stanza::Call;

    fn call(name: &str, from: &str, id: &str) -> (Facts, Call) {
        let xml = format!(
            "<message xmlns='jabber:client' from='{from}' id='{name}-{id}'>\
             <{name} xmlns='urn:xmpp:jingle-message:0' id='{id}'/></message>"
        );
        let message: minidom::Element = xml.parse().unwrap();
        let facts = Facts::read(&message, "anna@home.test", &crate::stanza::Key::known(1));
        (facts, facts.call.unwrap())
    }

    fn phone() -> Phone {
        let mut phone = Phone::new(vec![]);
        phone.engine = Engine::with_key(Options::default(), crate::stanza::Key::known(1));
        phone
    }

    /// Whether the call that an away phone is owed rings after this has come.
    fn rings_after(name: &str, from: &str, id: &str) -> bool {
        let mut phone = phone();
        let (propose, _) = call("propose", "rosa@home.test/phone", "c1");
        let push = pushed(phone.offline_as(0, &propose, StanzaId(1)));
        phone
            .answer(push, refused("remote-server-timeout"))
            .unwrap();
        let (end, _) = call(name, from, id);
        phone.archived_as(1000, &end, "archive-2");
        phone.engine.expire(ms(10_000));
        let released = phone.ask(|engine, account| engine.release(ms(10_000), account, 0));
        let released = released.expect("that it was missed is owed still");
        assert_eq!(released.stanza.is_some(), released.importance == Urgent);
        assert!(released.importance >= Important);
        released.importance == Urgent
    }

    #[test]
    fn one_that_is_over_does_not_ring() {
        assert!(!rings_after("retract", "rosa@home.test/phone", "c1"));
        for name in ["proceed", "accept", "reject", "finish"] {
            assert!(!rings_after(name, "anna@home.test/desk", "c1"), "{name}");
        }
    }

    #[test]
    fn another_call_does_not_end_it() {
        assert!(rings_after("retract", "rosa@home.test/phone", "c2"));
        assert!(rings_after("retract", "eve@home.test/phone", "c1"));
    }

    #[test]
    fn one_that_ends_while_its_push_is_under_way_does_not_ring_later() {
        let mut phone = phone();
        let (propose, _) = call("propose", "rosa@home.test/phone", "c1");
        let push = pushed(phone.offline_as(0, &propose, StanzaId(1)));
        let (end, _) = call("retract", "rosa@home.test/phone", "c1");
        phone.archived_as(1000, &end, "archive-2");
        phone
            .answer(push, refused("remote-server-timeout"))
            .unwrap();
        phone.engine.expire(ms(10_000));
        let released = phone
            .ask(|engine, account| engine.release(ms(10_000), account, 0))
            .unwrap();
        assert_eq!((released.stanza, released.importance), (None, Important));
    }
}

mod receivers {
    use super::*;

    /// What is owed to a device by a rule, and whether it is dropped once a session is like that.
    fn is_dropped(rule: fn(&mut Phone) -> Verdict, session: Session<'static>) -> bool {
        let mut phone = Phone::new(vec![]);
        let push = pushed(rule(&mut phone));
        phone
            .answer(push, refused("remote-server-timeout"))
            .unwrap();
        phone.sessions = vec![session];
        phone.at(10_000).is_none()
    }

    #[test]
    fn what_a_session_brings_need_not_be_pushed() {
        let archived = |phone: &mut Phone| phone.archived(0, Important, "archive-1");
        let called = |phone: &mut Phone| phone.archived(0, Urgent, "archive-1");
        let offline = |phone: &mut Phone| phone.offline(0, Important, 1);
        let room = |phone: &mut Phone| {
            phone.ask(|engine, account| {
                let facts = facts(Important, 1);
                engine
                    .room(ms(0), account, &facts, StanzaId(1))
                    .remove(0)
                    .verdict
            })
        };
        assert!(is_dropped(archived, live()) && is_dropped(archived, unavailable()));
        assert!(is_dropped(called, live()) && !is_dropped(called, unavailable()));
        assert!(is_dropped(offline, live()) && !is_dropped(offline, unavailable()));
        assert!(!is_dropped(room, live()) && !is_dropped(room, unavailable()));
        assert!(!is_dropped(archived, overdue()) && !is_dropped(offline, overdue()));
    }

    #[test]
    fn a_call_that_a_session_leaves_behind_does_not_ring_any_more() {
        let mut phone = Phone::new(vec![]);
        let facts = facts(Urgent, 1);
        let decision = phone.ask(|engine, account| {
            engine
                .undelivered(ms(0), account, &facts, StanzaId(1))
                .remove(0)
        });
        let push = pushed(decision.verdict);
        phone.engine.keep(push, 1);
        phone
            .answer(push, refused("remote-server-timeout"))
            .unwrap();
        phone.engine.expire(ms(10_000));
        let released = phone.ask(|engine, account| engine.release(ms(10_000), account, 0));
        assert_eq!(released.unwrap().importance, Important);
    }

    #[test]
    fn what_a_push_speaks_for_is_for_whoever_receives_it_should_that_fail() {
        let mut phone = Phone::new(vec![]);
        let first = pushed(phone.offline(0, Important, 1));
        phone
            .answer(first, refused("remote-server-timeout"))
            .unwrap();
        let room = phone.ask(|engine, account| {
            let facts = facts(Important, 2);
            let decision = engine
                .room(ms(1000), account, &facts, StanzaId(2))
                .remove(0);
            decision.verdict
        });
        let Verdict::Hold(ticket) = room else {
            panic!("{room:?}");
        };
        phone.engine.hold(ms(1000), ticket, Some(2));
        let (second, _) = phone.at(10_000).unwrap();
        // Something else comes, for which there is a push of its own.
        phone.sessions = vec![hibernated()];
        assert!(matches!(
            phone.unacked(10_100, Unimportant, 3),
            Verdict::Hold(_)
        ));
        phone
            .answer_at(10_200, second, refused("remote-server-timeout"))
            .unwrap();
        phone.sessions = vec![live()];
        assert!(
            phone.at(100_000).is_some(),
            "no session brings a room's message"
        );
    }
}
