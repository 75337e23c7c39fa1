//! Calls of which a device learns the beginning and the end; what users have said in rooms.

use super::*;
use crate::stanza::{Call, Party, StanzaId};

const WAIT: Answer<'static> = Answer::Error {
    kind: Some("wait"),
    condition: Some("resource-constraint"),
};

fn by(who: u64, call: u64) -> Party {
    Party::new(call, who, who == OWN)
}

const ROSA: u64 = 1;
const EVE: u64 = 2;
const OWN: u64 = 3;

fn begin(id: u64, call: u64) -> Facts {
    Facts {
        call: Some(Call::Begins(by(ROSA, call))),
        ..facts(Urgent, id)
    }
}

fn end(id: u64, who: u64, call: u64) -> Facts {
    Facts {
        call: Some(Call::Ends(by(who, call))),
        to_account: who != OWN,
        ..facts(Unimportant, id)
    }
}

fn phone(sessions: Vec<Session<'static>>) -> Phone {
    let mut phone = Phone::new(sessions);
    phone.registration.calls = true;
    phone
}

/// One that was pushed for a call.
fn ringing(sessions: Vec<Session<'static>>) -> Phone {
    let mut phone = phone(sessions);
    pushed(phone.offline_as(0, &begin(1, 7), StanzaId(1)));
    phone
}

/// A rule by which an end meets the phone at some time.
type Meeting = fn(&mut Phone, u64, &Facts) -> Decision;

fn archived(phone: &mut Phone, at: u64, facts: &Facts) -> Decision {
    let id = StanzaId(1000 + at);
    phone.ask(|engine, account| engine.archived(ms(at), account, facts, id).remove(0))
}

fn offline(phone: &mut Phone, at: u64, facts: &Facts) -> Decision {
    let id = StanzaId(1000 + at);
    phone.ask(|engine, account| engine.offline(ms(at), account, facts, id).remove(0))
}

fn sent(phone: &mut Phone, at: u64, facts: &Facts) -> Decision {
    let id = StanzaId(1000 + at);
    phone.ask(|engine, account| engine.sent(ms(at), account, facts, id).remove(0))
}

fn unacked(phone: &mut Phone, at: u64, facts: &Facts) -> Decision {
    let id = StanzaId(1000 + at);
    phone.ask(|engine, account| engine.unacked(ms(at), account, 0, 0, facts, id))
}

#[test]
fn it_stops_ringing_by_whatever_rule_the_end_is_met_first_and_only_once() {
    let rules: [(Meeting, Vec<Session<'static>>, u64); 7] = [
        (archived, vec![], ROSA),
        (archived, vec![], OWN),
        (archived, vec![hibernated()], OWN),
        (offline, vec![], ROSA),
        (sent, vec![], OWN),
        (unacked, vec![hibernated()], ROSA),
        (unacked, vec![hibernated()], OWN),
    ];
    for (place, (meet, sessions, who)) in rules.into_iter().enumerate() {
        let mut phone = ringing(sessions);
        let first = meet(&mut phone, 500, &end(2, who, 7));
        assert_eq!(first.importance, Urgent, "{place}");
        pushed(first.verdict);
        let again = meet(&mut phone, 600, &end(3, who, 7));
        let known = Verdict::Silent(Silence::AlreadyPushed);
        assert_eq!(again.verdict, known, "{place}");
    }
}

#[test]
fn whoever_does_not_ask_for_it_gets_what_others_get_for_an_end() {
    let mut phone = Phone::new(vec![hibernated()]);
    pushed(phone.offline_as(0, &begin(1, 7), StanzaId(1)));
    let silent = archived(&mut phone, 500, &end(2, OWN, 7));
    let (importance, verdict) = (silent.importance, silent.verdict);
    let expected = Verdict::Silent(Silence::NotRecipient);
    assert_eq!((importance, verdict), (Unimportant, expected));
    let own = sent(&mut phone, 500, &end(2, OWN, 7));
    assert_eq!(own.verdict, Verdict::Silent(Silence::NotRecipient));
    let later = unacked(&mut phone, 5000, &end(3, ROSA, 7));
    assert!(matches!(later.verdict, Verdict::Hold(_)));
}

#[test]
fn only_what_rings_stops() {
    let mut ringing_one = ringing(vec![]);
    for other in [end(2, ROSA, 8), end(3, EVE, 7)] {
        let decision = offline(&mut ringing_one, 500, &other);
        assert_eq!(decision.importance, Unimportant);
    }
    // Nobody was woken, or it has rung for too long.
    let mut phone = phone(vec![]);
    assert_eq!(
        offline(&mut phone, 0, &end(2, ROSA, 7)).importance,
        Unimportant
    );
    for (at, importance) in [(60_000, Urgent), (60_001, Unimportant)] {
        let mut phone = ringing(vec![]);
        let decision = offline(&mut phone, at, &end(2, ROSA, 7));
        assert_eq!(decision.importance, importance, "{at}");
    }
}

#[test]
fn a_call_that_nobody_was_woken_for_ends_in_silence() {
    for answer in [WAIT, refused("bad-request")] {
        let mut phone = phone(vec![]);
        let push = pushed(phone.offline_as(0, &begin(1, 7), StanzaId(1)));
        phone.answer(push, answer).unwrap();
        let decision = offline(&mut phone, 500, &end(2, ROSA, 7));
        assert_eq!(decision.importance, Unimportant, "{answer:?}");
    }
    let mut phone = phone(vec![]);
    let push = pushed(phone.offline_as(0, &begin(1, 7), StanzaId(1)));
    phone.engine.vetoed(ms(1), push, "");
    let decision = offline(&mut phone, 500, &end(2, ROSA, 7));
    assert_eq!(decision.importance, Unimportant);
}

#[test]
fn what_is_online_stops_by_itself() {
    for meet in [archived as Meeting, offline, sent] {
        let mut phone = ringing(vec![]);
        phone.sessions = vec![live()];
        let decision = meet(&mut phone, 500, &end(2, ROSA, 7));
        assert_eq!(decision.verdict, Verdict::Silent(Silence::Online));
        // It knows: it is not told once more when it is gone.
        phone.sessions = vec![];
        let decision = meet(&mut phone, 600, &end(3, ROSA, 7));
        assert_eq!(decision.verdict, Verdict::Silent(Silence::AlreadyPushed));
        let mut phone = ringing(vec![overdue()]);
        pushed(meet(&mut phone, 500, &end(2, ROSA, 7)).verdict);
    }
    let mut phone = ringing(vec![hibernated(), live()]);
    let decision = unacked(&mut phone, 500, &end(2, ROSA, 7));
    assert_eq!(decision.verdict, Verdict::Silent(Silence::Online));
}

#[test]
fn what_filters_leave_out_does_not_stop_either() {
    let mut phone = ringing(vec![]);
    phone.registration.left_out = Some(Silence::Muted);
    let decision = offline(&mut phone, 500, &end(2, ROSA, 7));
    assert_eq!(decision.verdict, Verdict::Silent(Silence::Muted));
}

#[test]
fn each_call_is_told_and_no_push_for_one_speaks_for_another() {
    let mut phone = phone(vec![]);
    let first = pushed(phone.offline_as(0, &begin(1, 7), StanzaId(1)));
    let second = pushed(phone.offline_as(10, &begin(2, 8), StanzaId(2)));
    phone.answer_at(20, second, Answer::Result).unwrap();
    phone.answer_at(30, first, WAIT).unwrap();
    let (_, stanza) = phone.at(10_000).unwrap();
    assert_eq!(stanza, Some(1));
    // Both ring then, and four in all.
    pushed(offline(&mut phone, 10_100, &end(3, ROSA, 7)).verdict);
    pushed(offline(&mut phone, 10_200, &end(4, ROSA, 8)).verdict);
    for call in 0..5 {
        pushed(phone.offline_as(10_300, &begin(10 + call, 20 + call), StanzaId(10 + call)));
    }
    let first = offline(&mut phone, 10_400, &end(30, ROSA, 20));
    let second = offline(&mut phone, 10_500, &end(31, ROSA, 21));
    assert_eq!((first.importance, second.importance), (Unimportant, Urgent));
}

#[test]
fn what_stops_a_call_speaks_for_nothing() {
    let mut phone = ringing(vec![hibernated()]);
    pushed(unacked(&mut phone, 2000, &end(2, ROSA, 7)).verdict);
    pushed(phone.unacked(2100, Important, 3));
}

#[test]
fn an_end_that_is_owed_stops_the_call_or_is_nothing_to_show() {
    for (turn, expected) in [(10_000, (Urgent, Some(2))), (90_000, (Unimportant, None))] {
        let mut phone = ringing(vec![]);
        let id = StanzaId(2);
        let push = pushed(phone.offline_as(500, &end(2, ROSA, 7), id));
        phone.answer_at(600, push, WAIT).unwrap();
        let due = phone.engine.expire(ms(turn)).due;
        assert_eq!(due.len(), 1);
        let released = phone.ask(|engine, account| engine.release(ms(turn), account, 0));
        let released = released.unwrap();
        assert_eq!((released.importance, released.stanza), expected, "{turn}");
    }
}

#[test]
fn an_end_without_its_stanza_is_nothing_to_show() {
    let mut phone = ringing(vec![]);
    let push = pushed(offline(&mut phone, 500, &end(2, ROSA, 7)).verdict);
    phone.answer_at(600, push, WAIT).unwrap();
    assert_eq!(phone.engine.expire(ms(10_000)).due.len(), 1);
    let released = phone.ask(|engine, account| engine.release(ms(10_000), account, 0));
    assert_eq!(released.unwrap().importance, Unimportant);
}

#[test]
fn an_end_is_nothing_to_show_after_a_restart() {
    let mut phone = ringing(vec![]);
    let end = end(2, ROSA, 7);
    let push = pushed(phone.offline_as(500, &end, StanzaId(2)));
    let owed = |phone: &Phone| phone.engine.owed(ms(1000)).0[0].importance;
    // The call itself is not answered either, and is over.
    assert_eq!(owed(&phone), Important);
    phone.engine.back(ms(600), USER, ID);
    assert_eq!(phone.engine.owed(ms(1000)).0, []);
    let mut phone = ringing(vec![]);
    let begun = phone.engine.schedule.in_flight.iter().next().unwrap().0;
    phone.answer_at(100, begun, Answer::Result).unwrap();
    let push_of_end = pushed(phone.offline_as(500, &end, StanzaId(2)));
    assert_ne!(push, push_of_end);
    assert_eq!(owed(&phone), Unimportant);
    phone.answer_at(600, push_of_end, WAIT).unwrap();
    assert_eq!(owed(&phone), Unimportant);
}

#[test]
fn an_end_cancels_what_waits() {
    let mut phone = phone(vec![]);
    let push = pushed(phone.offline_as(0, &begin(1, 7), StanzaId(1)));
    phone.answer(push, WAIT).unwrap();
    sent(&mut phone, 500, &end(2, OWN, 7));
    let due = phone.engine.expire(ms(10_000)).due;
    assert_eq!(due.len(), 1);
    let released = phone.ask(|engine, account| engine.release(ms(10_000), account, 0));
    let released = released.unwrap();
    assert_eq!((released.importance, released.stanza), (Important, None));
}

/// Rule (a), (b), (c) and what a room sends to the bare JID.
#[test]
fn what_the_user_has_said_in_a_room_is_no_reason_by_any_rule() {
    let said = StanzaId(77);
    let own = Facts {
        said: Some(said),
        ..facts(Important, 1)
    };
    let others = Facts {
        said: Some(StanzaId(78)),
        ..facts(Important, 2)
    };
    let room: Meeting = |phone, at, facts| {
        let id = StanzaId(1000 + at);
        phone.ask(|engine, account| engine.room(ms(at), account, facts, id).remove(0))
    };
    for (meet, sessions) in [
        (archived as Meeting, vec![]),
        (offline, vec![]),
        (room, vec![]),
        (unacked, vec![hibernated()]),
    ] {
        let mut phone = Phone::new(sessions);
        phone.engine.said(ms(0), said);
        let silent = Verdict::Silent(Silence::OwnMessage);
        assert_eq!(meet(&mut phone, 100, &own).verdict, silent);
        pushed(meet(&mut phone, 200, &others).verdict);
        pushed(meet(&mut phone, 3_700_000, &own).verdict);
    }
}

#[test]
fn a_call_that_another_device_has_taken_need_not_be_shown() {
    for (who, told) in [(OWN, 0), (ROSA, 1)] {
        let mut phone = ringing(vec![]);
        offline(&mut phone, 500, &end(2, who, 7));
        assert_eq!(phone.engine.device(ms(501), USER, ID).unwrap().told, told);
    }
}

#[test]
fn an_end_that_is_owed_is_no_message_that_is_read() {
    let mut phone = ringing(vec![]);
    let push = pushed(offline(&mut phone, 500, &end(2, ROSA, 7)).verdict);
    phone.answer_at(600, push, WAIT).unwrap();
    let read = Read::UpTo(Chat(1), [name(1), name(1)]);
    phone.ask(|engine, account| engine.displayed(ms(700), account, 0, read, true));
    let status = phone.engine.device(ms(700), USER, ID).unwrap();
    assert_eq!((status.told, status.waiting.is_some()), (0, true));
}
