//! Random lives of an account against a naive model of the rules.
//!
//! The model is a small server: it archives, queues, delivers and stores messages as Prosody does
//! and puts every event to the engine. What the engine decides is checked against four
//! promises, which are written down in [`World::check`] and [`World::sent`]:
//!
//! 1. at most one push for one stanza to one registration;
//! 2. none to a device that is online, unless an acknowledgement is overdue or it is a call;
//! 3. none for a registration that is disabled;
//! 4. none lost: a device that stays away gets a push for whatever it has missed, or one
//!    that speaks for it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use cloud_notify::engine::{
    Account, Answer, Connection, Decision, Engine, Options, PushId, Registration, Session, Verdict,
};
use cloud_notify::stanza::{Facts, Importance, StanzaId};
use proptest::prelude::*;

const USER: &str = "anna";
const SERVICE: &str = "push.test";
const DEVICES: [&str; 3] = ["push.test<n0", "push.test<n1", "push.test<n2"];
const WINDOW: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
enum Step {
    Message {
        importance: Importance,
        archived: bool,
        with_id: bool,
        muted: bool,
    },
    Ack(usize),
    AckOverdue(usize),
    Cut(usize),
    Resume(usize),
    Expire(usize),
    Login {
        device: usize,
        available: bool,
    },
    Logout(usize),
    Enable(usize),
    Disable(usize),
    Answer {
        push: usize,
        answer: Answer<'static>,
    },
    Wait(Duration),
}

fn step() -> impl Strategy<Value = Step> {
    let importance = prop_oneof![
        4 => Just(Importance::Unimportant),
        4 => Just(Importance::Important),
        1 => Just(Importance::Urgent),
    ];
    let answer = prop_oneof![
        Just(Answer::Result),
        Just(Answer::Error {
            kind: Some("wait"),
            condition: Some("internal-server-error")
        }),
        Just(Answer::Error {
            kind: Some("cancel"),
            condition: Some("item-not-found")
        }),
    ];
    prop_oneof![
        8 => (importance, any::<bool>(), any::<bool>(), prop::bool::weighted(0.2)).prop_map(
            |(importance, archived, with_id, muted)| Step::Message { importance, archived, with_id, muted }
        ),
        2 => (0..4usize).prop_map(Step::Ack),
        2 => (0..4usize).prop_map(Step::AckOverdue),
        3 => (0..4usize).prop_map(Step::Cut),
        2 => (0..4usize).prop_map(Step::Resume),
        1 => (0..4usize).prop_map(Step::Expire),
        2 => (0..3usize, any::<bool>()).prop_map(|(device, available)| Step::Login { device, available }),
        1 => (0..4usize).prop_map(Step::Logout),
        1 => (0..3usize).prop_map(Step::Enable),
        1 => (0..3usize).prop_map(Step::Disable),
        2 => (0..8usize, answer).prop_map(|(push, answer)| Step::Answer { push, answer }),
        3 => (0..3000u64).prop_map(|ms| Step::Wait(Duration::from_millis(ms))),
    ]
}

#[derive(Debug)]
struct Message {
    importance: Importance,
    archived: bool,
    with_id: bool,
    muted: bool,
    mark: Option<StanzaId>,
}

#[derive(Debug)]
struct Client {
    device: usize,
    live: bool,
    available: bool,
    ack_overdue: bool,
    queue: Vec<usize>,
}

/// A stanza that a device has missed, by one of the rules.
#[derive(Debug)]
struct Missed {
    device: usize,
    message: usize,
    /// Each time that a rule has met it: the push of any of them is enough.
    at: Vec<Duration>,
    /// The device has been away when a rule met it, and has not been back since.
    still: bool,
    /// The device has been back since, and has received it then.
    received: bool,
}

struct World {
    engine: Engine<usize>,
    now: Duration,
    messages: Vec<Message>,
    clients: Vec<Client>,
    enabled: [bool; 3],
    in_flight: Vec<PushId>,
    devices_of: HashMap<PushId, usize>,
    pushed: HashSet<(usize, usize)>,
    /// Pushes that really left: device, message, when.
    left: Vec<(usize, usize, Duration)>,
    missed: Vec<Missed>,
    /// The event that is being handled is an overdue acknowledgement.
    overdue: bool,
}

impl World {
    fn new() -> Self {
        Self {
            engine: Engine::new(Options {
                max_errors: 3,
                ..Options::default()
            }),
            now: Duration::ZERO,
            messages: Vec::new(),
            clients: Vec::new(),
            enabled: [true; 3],
            in_flight: Vec::new(),
            devices_of: HashMap::new(),
            pushed: HashSet::new(),
            left: Vec::new(),
            missed: Vec::new(),
            overdue: false,
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Message {
                importance,
                archived,
                with_id,
                muted,
            } => {
                self.messages.push(Message {
                    importance,
                    archived,
                    with_id,
                    muted,
                    mark: None,
                });
                self.deliver(self.messages.len() - 1);
            }
            Step::Ack(client) => {
                if let Some(client) = self.client(client, true) {
                    client.queue.clear();
                    client.ack_overdue = false;
                }
            }
            Step::AckOverdue(client) => {
                if let Some(index) = self.index(client, true) {
                    self.clients[index].ack_overdue = true;
                    self.overdue = true;
                    self.unacked_queue(index);
                    self.overdue = false;
                }
            }
            Step::Cut(client) => {
                if let Some(index) = self.index(client, true) {
                    self.clients[index].live = false;
                    self.unacked_queue(index);
                }
            }
            Step::Resume(client) => {
                if let Some(index) = self.index(client, false) {
                    self.clients[index].live = true;
                    self.clients[index].ack_overdue = false;
                    self.is_back(self.clients[index].device);
                }
            }
            Step::Expire(client) => {
                if let Some(index) = self.index(client, false) {
                    let client = self.clients.remove(index);
                    for message in client.queue {
                        self.offline(message);
                    }
                }
            }
            Step::Login { device, available } => {
                if self.enabled[device] && self.clients.len() < 4 {
                    self.clients.push(Client {
                        device,
                        live: true,
                        available,
                        ack_overdue: false,
                        queue: Vec::new(),
                    });
                    self.is_back(device);
                }
            }
            Step::Logout(client) => {
                if let Some(index) = self.index(client, true) {
                    self.clients.remove(index);
                }
            }
            Step::Enable(device) => {
                if !self.enabled[device] {
                    self.enabled[device] = true;
                    self.engine.enabled(USER, DEVICES[device]);
                }
            }
            Step::Disable(device) => self.disable(device),
            Step::Answer { push, answer } => self.answer(push, answer),
            Step::Wait(time) => self.wait(time),
        }
    }

    fn deliver(&mut self, message: usize) {
        if self.messages[message].archived {
            for device in self.away_from_everything() {
                self.miss(device, message);
            }
            let facts = self.facts(message);
            let id = StanzaId::archived(&format!("archive-{message}"), self.engine.key());
            let decisions = self.ask(None, |engine, now, account| {
                engine.archived(now, account, &facts, id)
            });
            self.carry_out(message, decisions);
        }
        let available: Vec<_> = (0..self.clients.len())
            .filter(|&index| self.clients[index].available)
            .collect();
        if available.is_empty() {
            self.offline(message);
        }
        for index in available {
            self.clients[index].queue.push(message);
            if !self.clients[index].live {
                self.unacked(index, message);
            }
        }
    }

    fn offline(&mut self, message: usize) {
        for device in 0..3 {
            if self.enabled[device] && !self.is_live(device) {
                self.miss(device, message);
            }
        }
        let (facts, id) = (self.facts(message), self.id(message));
        let decisions = self.ask(None, |engine, now, account| {
            engine.offline(now, account, &facts, id)
        });
        self.carry_out(message, decisions);
    }

    fn unacked_queue(&mut self, client: usize) {
        for message in self.clients[client].queue.clone() {
            self.unacked(client, message);
        }
    }

    fn unacked(&mut self, client: usize, message: usize) {
        let device = self.clients[client].device;
        if !self.enabled[device] {
            return;
        }
        self.miss(device, message);
        let (facts, id) = (self.facts(message), self.id(message));
        let decisions = self.ask(Some(device), |engine, now, account| {
            let verdict = engine.unacked(now, account, 0, client, &facts, id);
            vec![Decision {
                registration: 0,
                verdict,
            }]
        });
        self.carry_out(message, decisions);
    }

    /// Puts a question to the engine about one device, or all that are enabled.
    fn ask<T>(
        &mut self,
        only: Option<usize>,
        question: impl FnOnce(&mut Engine<usize>, Duration, &Account<'_>) -> T,
    ) -> (Vec<usize>, T) {
        let devices: Vec<_> = (0..3)
            .filter(|&device| only.map_or(self.enabled[device], |only| only == device))
            .collect();
        let registrations: Vec<_> = devices
            .iter()
            .map(|&device| Registration {
                identifier: DEVICES[device],
                jid: SERVICE,
                content: false,
            })
            .collect();
        let sessions: Vec<_> = self
            .clients
            .iter()
            .map(|client| Session {
                identifier: self.enabled[client.device].then_some(DEVICES[client.device]),
                connection: if client.live {
                    Connection::Live {
                        ack_overdue: client.ack_overdue,
                    }
                } else {
                    Connection::Hibernated
                },
            })
            .collect();
        let account = Account {
            user: USER,
            registrations: &registrations,
            sessions: &sessions,
        };
        let answer = question(&mut self.engine, self.now, &account);
        (devices, answer)
    }

    fn carry_out(&mut self, message: usize, (devices, decisions): (Vec<usize>, Vec<Decision>)) {
        for Decision {
            registration,
            verdict,
        } in decisions
        {
            match verdict {
                Verdict::Push(id) => self.sent(id, devices[registration], message),
                Verdict::Hold(ticket) => self.engine.hold(self.now, ticket, Some(message)),
                Verdict::Silent(_) => {}
            }
        }
    }

    fn sent(&mut self, id: PushId, device: usize, message: usize) {
        assert!(self.pushed.insert((device, message)), "at most once");
        assert!(
            self.enabled[device],
            "none for a registration that is disabled"
        );
        let urgent = self.messages[message].importance == Importance::Urgent;
        assert!(
            urgent || self.overdue || !self.is_online(device),
            "none to a device that is online"
        );
        if self.messages[message].muted {
            self.engine.vetoed(self.now, id);
            self.serve_deadlines();
            return;
        }
        self.left.push((device, message, self.now));
        self.in_flight.push(id);
        self.devices_of.insert(id, device);
    }

    fn answer(&mut self, push: usize, answer: Answer<'static>) {
        if push >= self.in_flight.len() {
            return;
        }
        let id = self.in_flight.remove(push);
        assert_eq!(
            self.engine.answered(&id.to_string(), "other.test", answer),
            None
        );
        if let Some(report) = self.engine.answered(&id.to_string(), SERVICE, answer)
            && report.ended
        {
            self.disable(self.devices_of[&id]);
        }
        assert_eq!(
            self.engine.answered(&id.to_string(), SERVICE, answer),
            None,
            "only once"
        );
    }

    fn disable(&mut self, device: usize) {
        self.enabled[device] = false;
        self.engine.forget(USER, DEVICES[device]);
        self.missed.retain(|missed| missed.device != device);
        // What comes after the next enable is a new registration.
        self.pushed.retain(|(pushed, _)| *pushed != device);
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.engine.deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.serve_deadlines();
        }
        self.now = end;
    }

    fn serve_deadlines(&mut self) {
        let expired = self.engine.expire(self.now);
        for due in expired.due {
            let device = DEVICES
                .iter()
                .position(|device| *device == &*due.identifier)
                .unwrap();
            assert!(
                self.enabled[device],
                "nothing waits for a registration that is disabled"
            );
            let (_, released) = self.ask(Some(device), |engine, now, account| {
                engine.release(now, account, 0)
            });
            if let Some(released) = released {
                // Rule (a) has let it wait, so an overdue acknowledgement may still be.
                self.overdue = true;
                assert!(!self.is_online(device));
                self.sent(released.id, device, released.stanza);
                self.overdue = false;
            }
        }
    }

    fn is_back(&mut self, device: usize) {
        self.engine.back(USER, DEVICES[device]);
        for missed in self
            .missed
            .iter_mut()
            .filter(|missed| missed.device == device)
        {
            (missed.still, missed.received) = (false, true);
        }
    }

    fn miss(&mut self, device: usize, message: usize) {
        if self.messages[message].muted {
            return;
        }
        let still = !self.is_live(device);
        let known = self
            .missed
            .iter_mut()
            .find(|missed| (missed.device, missed.message) == (device, message));
        match known {
            Some(missed) => {
                missed.at.push(self.now);
                missed.still |= still && !missed.received;
            }
            None => self.missed.push(Missed {
                device,
                message,
                at: vec![self.now],
                still,
                received: false,
            }),
        }
    }

    /// Promise 4. A minute without events is enough for all that waits.
    fn check(&mut self) {
        self.wait(Duration::from_secs(300));
        for Missed {
            device,
            message,
            at,
            ..
        } in self.missed.iter().filter(|missed| missed.still)
        {
            let important = self.messages[*message].importance >= Importance::Important;
            let served = self.left.iter().any(|&(to, about, when)| {
                let about_important = self.messages[about].importance >= Importance::Important;
                to == *device
                    && (about == *message
                        || (about_important || !important)
                            && at.iter().any(|&at| when + WINDOW >= at))
            });
            assert!(served, "none lost: {message} for device {device} at {at:?}");
        }
        assert_eq!(
            self.engine.in_flight(),
            0,
            "everything is answered or given up"
        );
        assert_eq!(self.engine.deadline(), None, "nothing is left to do");
    }

    fn facts(&self, message: usize) -> Facts {
        let Message {
            importance,
            archived,
            with_id,
            ..
        } = self.messages[message];
        let id = StanzaId(u64::try_from(message).unwrap());
        Facts {
            importance,
            message: true,
            id: if archived {
                Some(StanzaId::archived(
                    &format!("archive-{message}"),
                    self.engine.key(),
                ))
            } else {
                with_id.then_some(id)
            },
            content: Some(id),
            redelivered: false,
            to_account: true,
            note_to_self: false,
        }
    }

    fn id(&mut self, message: usize) -> StanzaId {
        let own = self.facts(message).id;
        let mark = &mut self.messages[message].mark;
        own.unwrap_or_else(|| *mark.get_or_insert_with(|| self.engine.new_id()))
    }

    fn away_from_everything(&self) -> Vec<usize> {
        (0..3)
            .filter(|&device| {
                self.enabled[device] && self.clients.iter().all(|client| client.device != device)
            })
            .collect()
    }

    fn is_live(&self, device: usize) -> bool {
        self.clients
            .iter()
            .any(|client| client.device == device && client.live)
    }

    fn is_online(&self, device: usize) -> bool {
        self.clients
            .iter()
            .any(|client| client.device == device && client.live && !client.ack_overdue)
    }

    fn index(&self, client: usize, live: bool) -> Option<usize> {
        self.clients
            .get(client)
            .filter(|found| found.live == live)
            .map(|_| client)
    }

    fn client(&mut self, client: usize, live: bool) -> Option<&mut Client> {
        self.index(client, live)
            .map(|index| &mut self.clients[index])
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_life_keeps_the_promises(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            world.run(step);
        }
        world.check();
    }
}
