//! Random lives of an account against a naive model of the rules.
//!
//! The model is a small server: it archives, queues, delivers and stores messages as Prosody does
//! and puts every event to the engine. Push services fail, come back, answer late or never; the
//! server restarts. What the engine decides is checked against four promises, the invariants of
//! everything that it does; each is an assertion with its name in [`World::sent`] or
//! [`World::check`]:
//!
//! 1. **at most once**: one push for one stanza to one registration, and another one only after a
//!    push service has not taken the first;
//! 2. **none to a live device**: one that is online, unless an acknowledgement is overdue or it is a
//!    call;
//! 3. **none after disable**, nor while a registration is suspended;
//! 4. **eventually one**: a device that stays away gets a push for whatever it has missed, or one
//!    that speaks for it, once its push service is back.

use std::collections::HashMap;
use std::time::Duration;

use cloud_notify::engine::{
    Account, Answer, Connection, Decision, Engine, Options, Outcome, PushId, Registration, Report,
    Session, Verdict,
};
use cloud_notify::stanza::{Facts, Importance, Key, StanzaId};
const USER: &str = "anna";
const SERVICES: [&str; 2] = ["push.test", "other.test"];
const DEVICES: [&str; 3] = ["push.test<n0", "push.test<n1", "other.test<n2"];
/// The push service of each device.
const SERVICE_OF: [usize; 3] = [0, 0, 1];
const TRIAL_AFTER: Duration = Duration::from_hours(24);
const WINDOW: Duration = Duration::from_secs(1);

/// Something that happens.
#[derive(Debug, Clone)]
pub enum Step {
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
    /// An answer to a push that has been given up.
    AnswerLate(usize),
    /// From now on a push service takes nothing: each push is bounced at once.
    Down(usize),
    Up {
        service: usize,
        /// It shows.
        sign: bool,
    },
    Restart,
    Wait(Duration),
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

/// What has become of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    InFlight,
    /// Not taken, as far as the server knows.
    Failed,
    /// Taken, or refused for good.
    Settled,
}

#[derive(Debug)]
struct Push {
    device: usize,
    /// What it is for, as far as the engine still knows.
    about: Option<usize>,
    importance: Importance,
    at: Duration,
    fate: Fate,
}

/// A server with one account that has three devices.
pub struct World {
    engine: Engine<usize>,
    restarts: u64,
    now: Duration,
    messages: Vec<Message>,
    clients: Vec<Client>,
    enabled: [bool; 3],
    suspended_until: [Option<Duration>; 3],
    down: [bool; 2],
    /// Push services take everything from now on.
    all_is_well: bool,
    pushes: HashMap<PushId, Push>,
    /// In the order in which they left.
    in_flight: Vec<PushId>,
    given_up: Vec<PushId>,
    missed: Vec<Missed>,
    /// The event that is being handled is an overdue acknowledgement.
    overdue: bool,
    /// It is that offline storage has taken something, or what is pushed has waited.
    stored: bool,
}

impl World {
    /// Nothing has happened yet.
    pub fn new() -> Self {
        Self {
            engine: Self::engine(0),
            restarts: 0,
            now: Duration::from_hours(24 * 365),
            messages: Vec::new(),
            clients: Vec::new(),
            enabled: [true; 3],
            suspended_until: [None; 3],
            down: [false; 2],
            all_is_well: false,
            pushes: HashMap::new(),
            in_flight: Vec::new(),
            given_up: Vec::new(),
            missed: Vec::new(),
            overdue: false,
            stored: false,
        }
    }

    fn engine(key: u64) -> Engine<usize> {
        let options = Options {
            max_errors: 3,
            max_failures: 3,
            max_in_flight: 6,
            recovery_rate: 10,
            // Some lives take days; promise 4 is about those whose time is not over.
            retry_age: Duration::from_hours(10_000),
            ..Options::default()
        };
        Engine::with_key(options, Key::known(key))
    }

    /// Lets it happen.
    pub fn run(&mut self, step: Step) {
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
                if !self.enabled[device] || self.suspended_until[device].is_some() {
                    self.enabled[device] = true;
                    self.suspended_until[device] = None;
                    self.engine.enabled(USER, DEVICES[device]);
                    for missed in &mut self.missed {
                        missed.still &= missed.device != device;
                    }
                }
            }
            Step::Disable(device) => self.disable(device),
            Step::Answer { push, answer } => {
                if push < self.in_flight.len() {
                    let id = self.in_flight.remove(push);
                    self.answer(id, answer);
                }
            }
            Step::AnswerLate(push) => {
                if push < self.given_up.len() {
                    let id = self.given_up.remove(push);
                    self.answer_late(id);
                }
            }
            Step::Down(service) => self.down[service] = true,
            Step::Up { service, sign } => {
                self.down[service] = false;
                if sign {
                    self.engine.connected(self.now, SERVICES[service]);
                    self.serve_deadlines();
                }
            }
            Step::Restart => self.restart(),
            Step::Wait(time) => self.wait(time),
        }
    }

    fn deliver(&mut self, message: usize) {
        if self.messages[message].archived {
            let urgent = self.messages[message].importance == Importance::Urgent;
            for device in 0..3 {
                if self.enabled[device] && (urgent || self.is_away_from_everything(device)) {
                    self.miss(device, message);
                }
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
        self.stored = true;
        for device in 0..3 {
            if self.enabled[device] && !self.is_available(device) {
                self.miss(device, message);
            }
        }
        let (facts, id) = (self.facts(message), self.id(message));
        let decisions = self.ask(None, |engine, now, account| {
            engine.offline(now, account, &facts, id)
        });
        self.carry_out(message, decisions);
        self.stored = false;
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
                jid: SERVICES[SERVICE_OF[device]],
                content: false,
                suspended: self.suspended_until[device].map(|until| until.saturating_sub(self.now)),
            })
            .collect();
        let sessions: Vec<_> = self
            .clients
            .iter()
            .map(|client| Session {
                identifier: self.is_attached(client).then_some(DEVICES[client.device]),
                connection: if client.live {
                    Connection::Live {
                        ack_overdue: client.ack_overdue,
                        available: client.available,
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
                Verdict::Push(id) => {
                    self.engine.keep(id, message);
                    let importance = self.messages[message].importance;
                    self.sent(id, devices[registration], Some(message), importance);
                }
                Verdict::Hold(ticket) => self.engine.hold(self.now, ticket, Some(message)),
                Verdict::Silent(_) => {}
            }
        }
        self.serve_deadlines();
    }

    fn sent(&mut self, id: PushId, device: usize, about: Option<usize>, importance: Importance) {
        let before = self.pushes.values().find(|push| {
            push.device == device
                && about.is_some()
                && push.about == about
                && push.fate != Fate::Failed
        });
        assert!(before.is_none(), "at most once: {before:?}");
        assert!(self.enabled[device], "none after disable");
        let until = self.suspended_until[device];
        assert!(
            until.is_none_or(|until| until <= self.now),
            "none while suspended"
        );
        let urgent =
            about.is_some_and(|about| self.messages[about].importance == Importance::Urgent);
        let is_there = if self.stored {
            self.is_receiving(device)
        } else {
            self.is_online(device)
        };
        assert!(urgent || self.overdue || !is_there, "none to a live device");
        if about.is_some_and(|about| self.messages[about].muted) {
            self.engine.vetoed(self.now, id);
            return;
        }
        let push = Push {
            device,
            about,
            importance,
            at: self.now,
            fate: Fate::InFlight,
        };
        assert!(self.pushes.insert(id, push).is_none());
        if self.down[SERVICE_OF[device]] {
            let bounced = Answer::Error {
                kind: Some("wait"),
                condition: Some("remote-server-timeout"),
            };
            self.answer(id, bounced);
        } else if self.all_is_well {
            self.answer(id, Answer::Result);
        } else {
            self.in_flight.push(id);
        }
    }

    fn answer(&mut self, id: PushId, answer: Answer<'static>) {
        let device = self.pushes[&id].device;
        let from = SERVICES[SERVICE_OF[device]];
        let text = id.to_string();
        assert_eq!(
            self.engine.answered(self.now, &text, "x.test", answer),
            None
        );
        if let Some(report) = self.engine.answered(self.now, &text, from, answer) {
            self.pushes.get_mut(&id).unwrap().fate = match report.outcome {
                Outcome::Failed => Fate::Failed,
                _ => Fate::Settled,
            };
            self.report(device, &report);
        }
        let again = self.engine.answered(self.now, &text, from, Answer::Result);
        // The push of a device that is owed it may be answered after all.
        if again.is_some() {
            self.pushes.get_mut(&id).unwrap().fate = Fate::Settled;
        }
        self.serve_deadlines();
    }

    fn answer_late(&mut self, id: PushId) {
        let device = self.pushes[&id].device;
        let from = SERVICES[SERVICE_OF[device]];
        let text = id.to_string();
        if self
            .engine
            .answered(self.now, &text, from, Answer::Result)
            .is_some()
        {
            self.pushes.get_mut(&id).unwrap().fate = Fate::Settled;
        }
        self.serve_deadlines();
    }

    fn report(&mut self, device: usize, report: &Report) {
        let Some(reported) = &report.device else {
            assert!(report.service.is_some(), "there is something to report");
            return;
        };
        assert_eq!(&*reported.identifier, DEVICES[device]);
        match report.outcome {
            Outcome::Removed => self.disable(device),
            Outcome::Suspended => {
                self.suspended_until[device] = Some(self.now + TRIAL_AFTER);
                self.engine
                    .suspend(self.now, USER, DEVICES[device], TRIAL_AFTER);
                // What was missed before is not tried again, but for what the trial speaks for.
                for missed in &mut self.missed {
                    missed.still &= missed.device != device;
                }
            }
            Outcome::Revived => self.suspended_until[device] = None,
            Outcome::Delivered | Outcome::Failed | Outcome::Refused => {}
        }
    }

    fn restart(&mut self) {
        // The queues of all sessions go to offline storage.
        while !self.clients.is_empty() {
            let client = self.clients.remove(0);
            for message in client.queue {
                self.offline(message);
            }
        }
        let (owed, failing) = self.engine.owed(self.now);
        self.restarts += 1;
        self.engine = Self::engine(self.restarts);
        for failing in &failing {
            self.engine.restore_service(self.now, failing);
        }
        for (place, owed) in owed.iter().enumerate() {
            self.engine.restore(self.now, owed, place);
        }
        // What was under way has left; nobody will ever know.
        for id in self.in_flight.drain(..) {
            self.pushes.get_mut(&id).unwrap().fate = Fate::Settled;
        }
        self.given_up.clear();
        for message in &mut self.messages {
            message.mark = None;
        }
    }

    fn disable(&mut self, device: usize) {
        self.enabled[device] = false;
        self.suspended_until[device] = None;
        self.engine.forget(self.now, USER, DEVICES[device]);
        self.missed.retain(|missed| missed.device != device);
        // What comes after the next enable is a new registration.
        for push in self.pushes.values_mut() {
            if push.device == device {
                push.about = None;
            }
        }
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
        while self
            .engine
            .deadline()
            .is_some_and(|deadline| deadline <= self.now)
        {
            let expired = self.engine.expire(self.now);
            for report in expired.unanswered {
                let push = self.pushes.get_mut(&report.push).unwrap();
                push.fate = Fate::Failed;
                let device = push.device;
                self.given_up.push(report.push);
                self.report(device, &report);
            }
            // Those that were given up for registrations that have ended need not be reported.
            let engine = &self.engine;
            self.in_flight
                .retain(|id| engine.is_in_flight(&id.to_string()));
            assert_eq!(expired.given_up, []);
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
                    assert!(!self.is_receiving(device), "none to a live device");
                    if let Some(message) = released.stanza {
                        self.engine.keep(released.id, message);
                    }
                    let stored = std::mem::replace(&mut self.stored, true);
                    self.sent(released.id, device, released.stanza, released.importance);
                    self.stored = stored;
                }
            }
        }
    }

    fn is_back(&mut self, device: usize) {
        if self.suspended_until[device].is_none() {
            self.engine.back(USER, DEVICES[device]);
        }
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
        let still = self.stored || !self.is_live(device);
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

    /// The push services are well again: what is owed goes out.
    pub fn check(&mut self) {
        self.all_is_well = true;
        self.down = [false; 2];
        while !self.in_flight.is_empty() {
            let id = self.in_flight.remove(0);
            self.answer(id, Answer::Result);
        }
        for service in SERVICES {
            self.engine.connected(self.now, service);
        }
        self.wait(Duration::from_hours(24 * 3));
        for Missed {
            device,
            message,
            at,
            ..
        } in self.missed.iter().filter(|missed| missed.still)
        {
            let important = self.messages[*message].importance >= Importance::Important;
            let served = self.pushes.values().any(|push| {
                push.device == *device
                    && push.fate == Fate::Settled
                    && (push.about == Some(*message)
                        || (push.importance >= Importance::Important || !important)
                            && at.iter().any(|&at| push.at + WINDOW >= at))
            });
            assert!(
                served,
                "eventually one: {message} for device {device} at {at:?}"
            );
        }
        assert_eq!(
            self.engine.in_flight(),
            0,
            "everything is answered or given up"
        );
        assert_eq!(self.engine.waiting(), 0, "nothing waits");
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
            push: false,
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

    fn is_away_from_everything(&self, device: usize) -> bool {
        self.clients.iter().all(|client| client.device != device)
    }

    /// A suspended registration has no sessions but for its trial.
    fn is_attached(&self, client: &Client) -> bool {
        let until = self.suspended_until[client.device];
        self.enabled[client.device] && until.is_none_or(|until| until <= self.now)
    }

    fn is_live(&self, device: usize) -> bool {
        self.clients
            .iter()
            .any(|client| client.device == device && client.live)
    }

    fn is_available(&self, device: usize) -> bool {
        self.clients
            .iter()
            .any(|client| client.device == device && client.live && client.available)
    }

    /// It gets what is sent to the bare JID.
    fn is_receiving(&self, device: usize) -> bool {
        self.clients.iter().any(|client| {
            client.device == device && client.live && client.available && !client.ack_overdue
        })
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
