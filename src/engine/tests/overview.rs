//! What administrators see.

use super::*;
use crate::engine::{Cause, CircuitState, DeviceStatus, Reason, ServiceStatus};

fn device(phone: &Phone, at: u64) -> Option<DeviceStatus> {
    phone.engine.device(ms(at), USER, ID)
}

fn service(phone: &Phone, at: u64) -> ServiceStatus {
    let mut services = phone.engine.services(ms(at));
    assert_eq!(services.len(), 1);
    services.remove(0)
}

fn error(kind: &'static str, condition: &'static str) -> Answer<'static> {
    Answer::Error {
        kind: Some(kind),
        condition: Some(condition),
    }
}

#[test]
fn a_device_is_shown_as_it_is_served() {
    let mut phone = Phone::new(vec![]);
    assert_eq!(device(&phone, 0), None);
    let push = pushed(phone.offline(0, Importance::Important, 1));
    let status = device(&phone, 0).unwrap();
    assert_eq!((status.in_flight, status.waiting), (1, None));
    phone.answer_at(100, push, error("wait", "resource-constraint"));
    let status = device(&phone, 3000).unwrap();
    let waiting = Some((ms(3000), Cause::Debt));
    assert_eq!((status.failures, status.waiting), (1, waiting));
    let (push, _) = phone.at(60_000).unwrap();
    phone.answer_at(60_000, push, error("cancel", "forbidden"));
    let status = device(&phone, 60_000).unwrap();
    let expected = DeviceStatus {
        errors: 1,
        failures: 0,
        told: 1,
        in_flight: 0,
        waiting: None,
    };
    assert_eq!(status, expected);
}

#[test]
fn a_service_is_shown_with_its_latency_and_what_was_wrong_last() {
    let mut phone = Phone::new(vec![]);
    assert_eq!(phone.engine.services(ms(0)), []);
    let push = pushed(phone.offline(0, Importance::Important, 1));
    let status = service(&phone, 0);
    assert_eq!((status.in_flight, status.latency), (1, None));
    phone.answer_at(40, push, Answer::Result);
    assert_eq!(service(&phone, 40).latency, Some((ms(40), ms(40))));
    let push = pushed(phone.offline(100, Importance::Important, 2));
    phone.answer_at(200, push, error("cancel", "made-up"));
    let status = service(&phone, 300);
    assert_eq!(status.latency, Some((ms(100), ms(100))));
    assert_eq!(status.complaint, Some(("undefined-condition", ms(100))));
    assert_eq!((status.failures, status.owed), (0, 0));
    assert_eq!(status.circuit, CircuitState::Closed);
}

#[test]
fn what_the_own_server_says_is_no_latency_of_the_service() {
    let mut phone = Phone::new(vec![]);
    let push = pushed(phone.offline(0, Importance::Important, 1));
    phone.answer_at(10, push, error("cancel", "remote-server-not-found"));
    let status = service(&phone, 10);
    assert_eq!((status.latency, status.failures, status.owed), (None, 1, 1));
    let complaint = Some(("remote-server-not-found", ms(0)));
    assert_eq!(status.complaint, complaint);
}

#[test]
fn silence_and_connections_that_end_are_complaints() {
    let mut phone = Phone::new(vec![]);
    pushed(phone.offline(0, Importance::Important, 1));
    phone.engine.expire(ms(120_000));
    let complaint = service(&phone, 120_000).complaint;
    assert_eq!(complaint, Some(("no answer", ms(0))));
    let mut phone = Phone::new(vec![]);
    pushed(phone.offline(0, Importance::Important, 1));
    phone.engine.disconnected(ms(5), "push.test");
    let complaint = service(&phone, 5).complaint;
    assert_eq!(complaint, Some(("remote-server-timeout", ms(0))));
}

#[test]
fn a_circuit_is_shown_open_then_recovering_then_closed() {
    let mut phone = Phone::new(vec![]);
    phone.engine.configure(Options {
        max_failures: 1,
        ..Options::default()
    });
    let push = pushed(phone.offline(0, Importance::Important, 1));
    phone.answer_at(0, push, error("wait", "remote-server-timeout"));
    assert_eq!(service(&phone, 0).circuit, CircuitState::Open);
    phone.engine.connected(ms(1), "push.test");
    assert_eq!(service(&phone, 1).circuit, CircuitState::Recovering);
    let (push, _) = phone.at(1).unwrap();
    phone.answer_at(2, push, Answer::Result);
    assert_eq!(service(&phone, 2).circuit, CircuitState::Closed);
}

#[test]
fn what_is_left_out_will_be_but_for_what_a_session_gets() {
    let mut phone = Phone::new(vec![]);
    let outlook =
        |phone: &mut Phone| phone.ask(|engine, account| engine.outlook(ms(0), account, 0));
    assert_eq!(outlook(&mut phone), Reason::Pushed);
    phone.registration.left_out = Some(Silence::NotMatched);
    let left_out = Reason::Silent(Silence::NotMatched);
    assert_eq!(outlook(&mut phone), left_out);
    phone.sessions = vec![hibernated()];
    assert_eq!(outlook(&mut phone), left_out);
    phone.sessions = vec![live()];
    assert_eq!(outlook(&mut phone), Reason::Silent(Silence::Online));
}
