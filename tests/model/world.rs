//! Random lives of a server's accounts against a naive model of the rules.
//!
//! The model is a small server: it archives, queues, delivers and stores messages as Prosody does
//! and puts every event to the engine. Push services fail, come back, answer late or never, and speak
//! of single devices; some answer errors alone; sessions end in every way; the server restarts. What the engine decides is checked
//! against promises, the invariants of everything that it does; each is an assertion with its name:
//!
//! 1. **at most once**: one push for one stanza to one registration, and another one only after a
//!    push service has not taken the first;
//! 2. **none to a live device**: one that receives it by its session, unless an acknowledgement is overdue
//!    or it is a call;
//! 3. **none after disable**, nor while a registration is suspended;
//! 4. **at once**: nothing that other devices, users or services do makes a push wait;
//! 5. **the limit holds** in any sixty seconds;
//! 6. **no call rings that is over**;
//! 7. **eventually one**: a device that stays away gets a push for whatever it has missed, or one
//!    that speaks for it, once its push service is back;
//! 8. **the trail is true**: it tells what has been decided and what has come back, each in its place, and nothing
//!    else;
//! 9. **what a filter leaves out is not pushed**, by no rule and at no time;
//! 10. **nothing is unread** only where that is so: a push says it to a device that is away, wants to know and was told
//!     of something, once, and after the user has read or fetched all of that;
//! 11. **the count is true**: no push tells of more messages than the device has missed;
//! 12. **silence is consent** of a push service that answers errors alone: a push that no error comes for is taken, and
//!     nobody is owed it; an error without an id is about the last one to that client.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use cloud_notify::engine::{
    Account, Answer, Cause, Connection, Counting, Decision, Engine, Event, Options, Outcome,
    PushId, Reason, Registration, Report, Session, Silence, Verdict,
};
use cloud_notify::stanza::{
    Call, Chat, Facts, Importance, Key, Label, Names, Party, Read, StanzaId, cut,
};

use crate::noted::Notes;

const USERS: [&str; 3] = ["anna", "rosa", "bert"];
/// How many push services there are.
pub const SERVICE_COUNT: usize = 3;

const SERVICES: [&str; SERVICE_COUNT] = ["push.test", "other.test", "gate.test"];
const TRIAL_AFTER: Duration = Duration::from_hours(24);
const WINDOW: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const LIMIT: usize = 6;
const MAX_IN_FLIGHT: usize = 10;

/// A device, as it never changes.
struct Kind {
    user: usize,
    identifier: &'static str,
    service: usize,
    /// Its pushes carry content.
    content: bool,
    /// It has filters.
    filters: bool,
    /// It wants to know when all is read.
    asks: bool,
    /// The text by which its push service knows it, if that answers errors alone.
    client: Option<&'static str>,
    /// Another registration of the same phone, by the other protocol.
    also: Option<usize>,
}

/// How many devices there are.
pub const DEVICES: usize = 9;

const KINDS: [Kind; DEVICES] = [
    Kind {
        also: Some(6),
        ..kind(0, "push.test<n0", 0)
    },
    asking(kind(0, "push.test<n1", 0)),
    kind(0, "other.test<n2", 1),
    kind(1, "push.test<n3", 0),
    asking(Kind {
        content: true,
        also: Some(7),
        ..kind(1, "other.test<n4", 1)
    }),
    kind(2, "push.test<n5", 0),
    silent("one", kind(0, "push2 n6", 2)),
    silent(
        "two",
        Kind {
            content: true,
            ..kind(1, "push2 n7", 0)
        },
    ),
    // The same app, for another account.
    silent("one", asking(kind(2, "push2 n8", 2))),
];

/// Its service answers errors alone.
const fn silent(client: &'static str, kind: Kind) -> Kind {
    Kind {
        client: Some(client),
        ..kind
    }
}

/// A client that speaks Tigase's protocols.
const fn asking(kind: Kind) -> Kind {
    Kind {
        filters: true,
        asks: true,
        ..kind
    }
}

const fn kind(user: usize, identifier: &'static str, service: usize) -> Kind {
    Kind {
        user,
        identifier,
        service,
        content: false,
        filters: false,
        asks: false,
        client: None,
        also: None,
    }
}

impl Kind {
    fn is_silent(&self) -> bool {
        self.client.is_some()
    }
}

/// Something that happens.
#[derive(Debug, Clone)]
pub enum Step {
    Message {
        user: usize,
        importance: Importance,
        archived: bool,
        with_id: bool,
        muted: bool,
        /// A room sends it to the bare JID.
        room: bool,
        /// Clients that have filters do not want it.
        filtered: bool,
    },
    /// The user reads a message on a device that nobody asks about, or such a device fetches all that there is.
    Read {
        message: usize,
        all: bool,
    },
    /// The caller gives up, or another device of the account answers.
    EndCall {
        message: usize,
        own: bool,
    },
    Ack(usize),
    AckOverdue(usize),
    /// The connection is lost: the session hibernates if it can.
    Cut(usize),
    Resume(usize),
    Expire(usize),
    Login {
        device: usize,
        available: bool,
        resumable: bool,
        asks_archive: bool,
    },
    /// It sends presence, or says that it is unavailable.
    Presence(usize, bool),
    /// The stream is closed, by whoever.
    Logout(usize),
    Enable(usize),
    Disable(usize),
    Answer {
        push: usize,
        answer: Answer<'static>,
        /// If it is an error, it says which push it is about.
        with_id: bool,
    },
    /// An answer to a push that has been given up.
    AnswerLate(usize),
    /// From now on a push service answers each push to this device with that.
    Tell {
        device: usize,
        answer: Option<Answer<'static>>,
    },
    /// The connection with a push service ends: each push is bounced at once.
    Down(usize),
    Up {
        service: usize,
        /// It shows: by its connection, or by something that it sends.
        sign: Option<bool>,
    },
    Restart,
    Wait(Duration),
}

#[derive(Debug)]
struct Message {
    user: usize,
    importance: Importance,
    archived: bool,
    with_id: bool,
    muted: bool,
    room: bool,
    filtered: bool,
    /// The user has read it.
    read: bool,
    /// A call that another device of the user has taken.
    taken: bool,
    /// A call that has ended, and has not been met since: whoever meets it anew cannot know.
    over: bool,
    mark: Option<StanzaId>,
}

#[derive(Debug)]
struct Client {
    device: usize,
    live: bool,
    available: bool,
    resumable: bool,
    asks_archive: bool,
    ack_overdue: bool,
    queue: Vec<usize>,
    /// It receives all messages from this one on.
    since: usize,
}

impl Client {
    /// What it is attached to, where that is in force.
    fn devices(&self) -> impl Iterator<Item = usize> + use<> {
        [Some(self.device), KINDS[self.device].also]
            .into_iter()
            .flatten()
    }

    fn is_of(&self, device: usize) -> bool {
        self.devices().any(|own| own == device)
    }
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
    /// It says that nothing is unread.
    is_zero: bool,
}

/// A device, as it changes.
#[derive(Debug, Clone, Default)]
struct Device {
    is_disabled: bool,
    suspended_until: Option<Duration>,
    /// What its push service says of it.
    told: Option<Answer<'static>>,
    /// The important messages that pushes were for since it was last there, but for what the user has fetched since.
    shows: Vec<usize>,
    /// The important messages that it was told of since then, or will be, in that order.
    knows: Vec<usize>,
    /// A push has told it of something since one has told it that nothing is unread.
    is_showing: bool,
    /// The important messages that rules have met since it was last there.
    met: usize,
    /// When a push to it has not been taken, if none was since, nor was it there.
    failed: Option<Duration>,
    /// It has missed something by offline storage or from a room, which a live session need not bring.
    is_wide: bool,
    /// When pushes left, as far as they count.
    sent: Vec<Duration>,
}

/// By which rule a stanza is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Unacked { client: usize, device: usize },
    Archived,
    Undelivered,
    Offline,
    Room,
}

/// A server with its accounts, and their devices.
pub struct World {
    engine: Engine<usize>,
    restarts: u64,
    now: Duration,
    messages: Vec<Message>,
    clients: Vec<Client>,
    devices: [Device; DEVICES],
    /// When pushes left for registrations that have ended, by user: they count for the next one.
    former: [Vec<Duration>; 3],
    down: [bool; SERVICE_COUNT],
    /// Push services take everything from now on.
    all_is_well: bool,
    pushes: HashMap<PushId, Push>,
    in_flight: Vec<PushId>,
    /// The place of each push among all that have left.
    order: HashMap<PushId, usize>,
    given_up: Vec<PushId>,
    missed: Vec<Missed>,
    /// What a device has acknowledged, as far as other sessions have not.
    received: HashSet<(usize, usize)>,
    /// The event that is being handled is an overdue acknowledgement.
    overdue: bool,
    /// What the trails have to tell, by user.
    notes: [Notes; 3],
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
            devices: Default::default(),
            former: Default::default(),
            down: [false; SERVICE_COUNT],
            all_is_well: false,
            pushes: HashMap::new(),
            in_flight: Vec::new(),
            order: HashMap::new(),
            given_up: Vec::new(),
            missed: Vec::new(),
            received: HashSet::new(),
            overdue: false,
            notes: Default::default(),
        }
    }

    fn engine(key: u64) -> Engine<usize> {
        let options = Options {
            max_errors: 3,
            max_failures: 3,
            max_in_flight: MAX_IN_FLIGHT,
            max_per_minute: u32::try_from(LIMIT).unwrap(),
            recovery_rate: 10,
            counting: Counting::Unread,
            // Some lives take days; promise 7 is about those whose time is not over.
            retry_age: Duration::from_hours(10_000),
            ..Options::default()
        };
        Engine::with_key(options, Key::known(key))
    }

    /// Lets it happen.
    pub fn run(&mut self, step: Step) {
        self.take(step);
        self.check_trails();
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Message {
                user,
                importance,
                archived,
                with_id,
                muted,
                room,
                filtered,
            } => {
                self.messages.push(Message {
                    user,
                    importance,
                    archived: archived && !room,
                    with_id,
                    muted,
                    room,
                    filtered,
                    read: false,
                    taken: false,
                    over: false,
                    mark: None,
                });
                let message = self.messages.len() - 1;
                if room {
                    self.meet(Rule::Room, message);
                } else {
                    self.deliver(message);
                }
            }
            Step::Read { message, all } => self.read(message, all),
            Step::EndCall { message, own } => self.end_call(message, own),
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
                    if self.clients[index].resumable {
                        self.clients[index].live = false;
                        self.unacked_queue(index);
                    } else {
                        self.end_session(index);
                    }
                }
            }
            Step::Resume(client) => {
                if let Some(index) = self.index(client, false) {
                    self.clients[index].live = true;
                    self.clients[index].ack_overdue = false;
                    for device in self.clients[index].devices() {
                        self.is_back(device);
                    }
                }
            }
            Step::Expire(client) => {
                if let Some(index) = self.index(client, false) {
                    self.end_session(index);
                }
            }
            Step::Login {
                device,
                available,
                resumable,
                asks_archive,
            } => {
                if !self.devices[device].is_disabled && self.clients.len() < 6 {
                    self.clients.push(Client {
                        device,
                        live: true,
                        available,
                        resumable,
                        asks_archive,
                        ack_overdue: false,
                        queue: Vec::new(),
                        since: self.messages.len(),
                    });
                    for device in [Some(device), KINDS[device].also].into_iter().flatten() {
                        self.is_back(device);
                    }
                }
            }
            Step::Presence(client, available) => {
                let since = self.messages.len();
                if let Some(client) = self.client(client, true) {
                    client.since = since;
                    client.available = available;
                    let devices = client.devices();
                    if available {
                        devices.for_each(|device| self.receives(device));
                    }
                }
            }
            Step::Logout(client) => {
                if let Some(index) = self.index(client, true) {
                    self.end_session(index);
                }
            }
            Step::Enable(device) => self.enable(device),
            Step::Disable(device) => self.disable(device),
            Step::Answer {
                push,
                answer,
                with_id,
            } => self.answer_one(push, answer, with_id),
            Step::AnswerLate(push) => {
                if push < self.given_up.len() {
                    let id = self.given_up.remove(push);
                    self.answer_late(id);
                }
            }
            Step::Tell { device, answer } => self.devices[device].told = answer,
            Step::Down(service) => {
                self.down[service] = true;
                for report in self.engine.disconnected(self.now, SERVICES[service]) {
                    let condition = report.after.map(|_| "remote-server-timeout");
                    self.given_up(&report, condition);
                }
                self.serve_deadlines();
            }
            Step::Up { service, sign } => {
                self.down[service] = false;
                match sign {
                    Some(true) => drop(self.engine.connected(self.now, SERVICES[service])),
                    Some(false) => drop(self.engine.heard(self.now, SERVICES[service])),
                    None => {}
                }
                self.serve_deadlines();
            }
            Step::Restart => self.restart(),
            Step::Wait(time) => self.wait(time),
        }
    }

    fn deliver(&mut self, message: usize) {
        let user = self.messages[message].user;
        if self.messages[message].archived {
            self.meet(Rule::Archived, message);
        }
        let available: Vec<_> = (0..self.clients.len())
            .filter(|&index| self.clients[index].available && self.user_of(index) == user)
            .collect();
        if available.is_empty() {
            self.meet(Rule::Offline, message);
        }
        for index in available {
            self.clients[index].queue.push(message);
            if !self.clients[index].live {
                self.unacked(index, message);
            }
        }
    }

    /// Offline storage sends a device what it has; what a room has sent is nowhere.
    fn receives(&mut self, device: usize) {
        for missed in &mut self.missed {
            let is_it = missed.device == device && !self.messages[missed.message].room;
            missed.received |= is_it;
            missed.still &= !is_it;
        }
    }

    /// As `mod_smacks` has it.
    fn end_session(&mut self, index: usize) {
        let client = self.clients.remove(index);
        let user = KINDS[client.device].user;
        let others: Vec<_> = (0..self.clients.len())
            .filter(|&other| self.user_of(other) == user)
            .collect();
        if client.queue.is_empty() && client.available && client.live {
            // What it has acknowledged others may not.
            let queues: Vec<_> = others
                .iter()
                .flat_map(|&other| self.clients[other].queue.clone())
                .filter(|message| *message >= client.since)
                .collect();
            for message in queues {
                let (id, facts) = (self.id(message), self.facts(message));
                for device in client.devices() {
                    let identifier = KINDS[device].identifier;
                    self.engine
                        .served(self.now, USERS[user], identifier, [(id, facts)]);
                    self.received.insert((device, message));
                }
            }
        }
        for message in client.queue {
            let is_archived = self.messages[message].archived;
            if is_archived && client.live {
                self.meet(Rule::Undelivered, message);
            }
            if !(is_archived && client.asks_archive) && others.is_empty() {
                self.meet(Rule::Offline, message);
            }
        }
    }

    fn unacked_queue(&mut self, client: usize) {
        for device in self.clients[client].devices() {
            for message in self.clients[client].queue.clone() {
                self.unacked_by(client, device, message);
            }
        }
    }

    fn unacked(&mut self, client: usize, message: usize) {
        for device in self.clients[client].devices() {
            self.unacked_by(client, device, message);
        }
    }

    fn unacked_by(&mut self, client: usize, device: usize, message: usize) {
        if !self.is_attached(device) {
            return;
        }
        // Those of the same account, as the engine is told of them.
        let user = KINDS[device].user;
        let place = self.clients[..client]
            .iter()
            .filter(|other| KINDS[other.device].user == user)
            .count();
        let rule = Rule::Unacked {
            client: place,
            device,
        };
        self.meet(rule, message);
    }

    /// A rule meets a message.
    fn meet(&mut self, rule: Rule, message: usize) {
        self.messages[message].over = false;
        let user = self.messages[message].user;
        let only = match rule {
            Rule::Unacked { device, .. } => Some(device),
            _ => None,
        };
        for (device, kind) in KINDS.iter().enumerate() {
            let is_met = kind.user == user
                && !self.devices[device].is_disabled
                && only.is_none_or(|only| only == device)
                && self.has_missed(rule, device, message);
            if is_met {
                self.miss(rule, device, message);
            }
        }
        if self.messages[message].importance >= Importance::Important {
            for (device, kind) in KINDS.iter().enumerate() {
                self.devices[device].met += usize::from(kind.user == user);
            }
        }
        let (facts, id) = (self.facts(message), self.id(message));
        let archive_id = StanzaId::archived(&format!("archive-{message}"), self.engine.key());
        let is_filtered = self.messages[message].filtered;
        let decisions =
            self.ask_filtered(user, only, is_filtered, |engine, now, account| match rule {
                Rule::Unacked { client, .. } => {
                    vec![engine.unacked(now, account, 0, client, &facts, id)]
                }
                Rule::Archived => engine.archived(now, account, &facts, archive_id),
                Rule::Undelivered => engine.undelivered(now, account, &facts, id),
                Rule::Offline => engine.offline(now, account, &facts, id),
                Rule::Room => engine.room(now, account, &facts, id),
            });
        self.note_decisions(&facts, &decisions);
        self.carry_out(rule, message, decisions);
    }

    fn is_filtered(&self, device: usize, message: usize) -> bool {
        KINDS[device].filters && self.messages[message].filtered
    }

    /// Whether the device learns of it by a push only, as far as this rule is concerned.
    fn has_missed(&self, rule: Rule, device: usize, message: usize) -> bool {
        if self.is_filtered(device, message) {
            return false;
        }
        let importance = self.messages[message].importance;
        let is_urgent = importance == Importance::Urgent;
        match rule {
            Rule::Unacked { .. } | Rule::Room => true,
            Rule::Archived => is_urgent || self.is_away_from_everything(device),
            Rule::Undelivered => {
                importance >= Importance::Important && self.is_away_from_everything(device)
            }
            Rule::Offline => is_urgent || !self.is_available(device),
        }
    }

    fn ask<T>(
        &mut self,
        user: usize,
        only: Option<usize>,
        question: impl FnOnce(&mut Engine<usize>, Duration, &Account<'_>) -> T,
    ) -> (Vec<usize>, T) {
        self.ask_filtered(user, only, false, question)
    }

    /// Puts a question to the engine about an account, with one device or all that are enabled, whose filters may
    /// leave out what it is about.
    fn ask_filtered<T>(
        &mut self,
        user: usize,
        only: Option<usize>,
        is_filtered: bool,
        question: impl FnOnce(&mut Engine<usize>, Duration, &Account<'_>) -> T,
    ) -> (Vec<usize>, T) {
        let devices: Vec<_> = (0..DEVICES)
            .filter(|&device| {
                KINDS[device].user == user
                    && only.map_or(!self.devices[device].is_disabled, |only| only == device)
            })
            .collect();
        let registrations: Vec<_> = devices
            .iter()
            .map(|&device| Registration {
                calls: false,
                client: KINDS[device].client,
                left_out: (is_filtered && KINDS[device].filters).then_some(Silence::Muted),
                identifier: KINDS[device].identifier,
                jid: SERVICES[KINDS[device].service],
                content: KINDS[device].content,
                suspended: self.devices[device]
                    .suspended_until
                    .map(|until| until.saturating_sub(self.now)),
            })
            .collect();
        let clients = self.clients.iter();
        let sessions: Vec<_> = clients
            .filter(|client| KINDS[client.device].user == user)
            .map(|client| Session {
                identifiers: [false, true].map(|is_silent| {
                    let mut devices = client.devices();
                    let attached = devices.find(|&device| {
                        KINDS[device].is_silent() == is_silent && self.is_attached(device)
                    });
                    attached.map(|device| KINDS[device].identifier)
                }),
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
            user: USERS[user],
            registrations: &registrations,
            sessions: &sessions,
        };
        let answer = question(&mut self.engine, self.now, &account);
        (devices, answer)
    }

    fn carry_out(
        &mut self,
        rule: Rule,
        message: usize,
        (devices, decisions): (Vec<usize>, Vec<Decision>),
    ) {
        let mut importance = self.messages[message].importance;
        if rule == Rule::Undelivered {
            // It does not ring any more.
            importance = importance.min(Importance::Important);
        }
        for decision in &decisions {
            let is_window =
                matches!(rule, Rule::Unacked { .. }) && importance < Importance::Important;
            if let reason @ Reason::Held { .. } = decision.reason() {
                let device = devices[decision.registration];
                assert!(
                    is_window || self.may_wait(device, importance),
                    "at once: {message} for device {device}, {}",
                    reason.phrase()
                );
            }
        }
        // They have left, whatever the answer to the first of them leads to.
        for decision in &decisions {
            if let Verdict::Push(id) = decision.verdict {
                self.leaves(id);
            }
        }
        for Decision {
            registration,
            verdict,
            ..
        } in decisions
        {
            let device = devices[registration];
            if importance >= Importance::Important && !matches!(verdict, Verdict::Silent(_)) {
                self.devices[device].knows.push(message);
            }
            let is_wide =
                importance == Importance::Urgent || matches!(rule, Rule::Offline | Rule::Room);
            match verdict {
                Verdict::Push(id) => {
                    self.devices[device].is_wide |= is_wide;
                    self.engine.keep(id, message);
                    self.sent(id, device, Some(message), importance, is_wide);
                }
                Verdict::Hold(ticket) => {
                    self.devices[device].is_wide |= is_wide;
                    self.engine.hold(self.now, ticket, Some(message));
                }
                Verdict::Silent(_) => {}
            }
        }
        self.serve_deadlines();
    }

    /// Whether a push for the device may have to wait, by what has happened to that device alone.
    fn may_wait(&self, device: usize, importance: Importance) -> bool {
        let one = &self.devices[device];
        let is_call = importance == Importance::Urgent;
        let limit = if is_call { 2 * LIMIT } else { LIMIT };
        // The engine counts by the second.
        let former = &self.former[KINDS[device].user];
        let minute = one
            .sent
            .iter()
            .chain(former)
            .filter(|at| **at + MINUTE + WINDOW > self.now);
        let has_one = |push: &PushId| self.pushes[push].device == device;
        // The others of an account have theirs before it, unanswered. Errors alone are not waited for.
        let awaited = self.in_flight.iter().filter(|id| !self.is_silent(**id));
        let answered = KINDS.iter().filter(|kind| !kind.is_silent());
        let is_full =
            !KINDS[device].is_silent() && awaited.count() + answered.count() > MAX_IN_FLIGHT;
        one.suspended_until.is_some()
            || one.failed.is_some() && !is_call
            || minute.count() >= limit
            || is_full && self.in_flight.iter().any(has_one)
    }

    fn sent(
        &mut self,
        id: PushId,
        device: usize,
        about: Option<usize>,
        importance: Importance,
        wide: bool,
    ) {
        self.leaves(id);
        let before = self.pushes.values().find(|push| {
            push.device == device
                && about.is_some()
                && push.about == about
                && push.fate != Fate::Failed
        });
        assert!(before.is_none(), "at most once: {before:?}");
        assert!(!self.devices[device].is_disabled, "none after disable");
        let until = self.devices[device].suspended_until;
        assert!(
            until.is_none_or(|until| until <= self.now),
            "none while suspended"
        );
        let is_urgent =
            about.is_some_and(|about| self.messages[about].importance == Importance::Urgent);
        assert!(
            is_urgent || self.overdue || wide || !self.is_online(device),
            "none to a live device"
        );
        if about.is_some_and(|about| self.messages[about].muted) {
            self.engine.vetoed(self.now, id, "muted");
            self.devices[device]
                .knows
                .retain(|known| Some(*known) != about);
            self.note(device, Event::Vetoed(cut("muted")));
            return;
        }
        if let Some(about) = about {
            assert!(
                !self.is_filtered(device, about),
                "what a filter leaves out is not pushed: {about}"
            );
        }
        self.shows(id, device, about, importance);
        let limit = if importance == Importance::Urgent {
            2 * LIMIT
        } else {
            LIMIT
        };
        let one = &mut self.devices[device];
        one.sent.push(self.now);
        let within = one
            .sent
            .iter()
            .filter(|at| **at + MINUTE > self.now)
            .count();
        assert!(within <= limit, "the limit holds: {within} of {limit}");
        let push = Push {
            device,
            about,
            importance,
            at: self.now,
            fate: Fate::InFlight,
            is_zero: self.engine.count(id) == 0,
        };
        assert!(self.pushes.insert(id, push).is_none());
        if self.down[KINDS[device].service] {
            let bounced = Answer::Error {
                kind: Some("wait"),
                condition: Some("remote-server-timeout"),
            };
            self.answer(id, bounced, true);
            return;
        }
        let well = self.all_is_well.then_some(Answer::Result);
        let answer = self.devices[device].told.or(well);
        match answer.filter(|answer| !KINDS[device].is_silent() || *answer != Answer::Result) {
            Some(answer) => self.answer(id, answer, self.last_like(id) != id),
            None => self.in_flight.push(id),
        }
    }

    fn leaves(&mut self, id: PushId) {
        let place = self.order.len();
        self.order.entry(id).or_insert(place);
    }

    /// What a push says of how many messages there are.
    fn shows(&mut self, id: PushId, device: usize, about: Option<usize>, importance: Importance) {
        let count = self.engine.count(id);
        let is_live = self.has_session(device, |client| client.live);
        let messages = &self.messages;
        let one = &mut self.devices[device];
        if count == 0 {
            let is_read = |shown: usize| messages[shown].read || messages[shown].taken;
            let unread = one.shows.iter().find(|shown| !is_read(**shown));
            assert_eq!(unread, None, "nothing is unread, to device {device}");
            assert!(KINDS[device].asks, "nothing is unread, unasked");
            assert!(
                about.is_some() || !is_live,
                "nothing is unread, to a live device"
            );
            assert!(
                one.is_showing,
                "nothing is unread, said twice or for nothing"
            );
            assert_eq!(importance, Importance::Unimportant);
            one.is_showing = false;
            return;
        }
        let count = usize::try_from(count).unwrap();
        assert!(
            count <= one.met.max(1),
            "the count is true: {count} of {}",
            one.met
        );
        if importance >= Importance::Important {
            one.is_showing = true;
            one.shows.extend(about);
        }
    }

    /// The user reads a message, and all before it in the same chat; or another client fetches all that there is.
    fn read(&mut self, message: usize, all: bool) {
        if message >= self.messages.len() {
            return;
        }
        let user = self.messages[message].user;
        let names = Self::names(message);
        let read = if all {
            Read::Everything
        } else {
            Read::UpTo(names.chat, [names.ids[0].unwrap(), StanzaId(0)])
        };
        for place in 0..self.messages.len() {
            let one = &mut self.messages[place];
            let is_in_chat = place <= message && Self::names(place).chat == names.chat;
            // Whoever reads is there: nobody has to be woken for what is not important.
            let is_important = one.importance >= Importance::Important;
            // Nor for a call that another device has taken, once nothing else is unread.
            one.read |= !all && one.user == user && (is_in_chat || !is_important || one.taken);
        }
        let messages = &self.messages;
        self.missed
            .iter_mut()
            .for_each(|missed| missed.still &= !messages[missed.message].read);
        for (device, kind) in KINDS.iter().enumerate() {
            if kind.user != user || self.devices[device].is_disabled {
                continue;
            }
            if all {
                self.devices[device].shows.clear();
            } else {
                self.read_as_told(device, message);
            }
            let waited = self.waits(device);
            let (_, push) = self.ask(user, Some(device), |engine, now, account| {
                engine.displayed(now, account, 0, read, kind.asks)
            });
            let waits = self.waits(device);
            // Something else may wait by now: the push that says so.
            let is_dropped =
                waited.is_some() && (waits.is_none() || self.is_dropped_before(device));
            if is_dropped {
                self.note_dropped(device, Silence::ReadElsewhere);
            }
            if let Some(id) = push {
                self.note(device, Event::Read(Reason::Pushed));
                self.sent(id, device, None, Importance::Unimportant, false);
            } else if waits.is_some() && (waited.is_none() || is_dropped) {
                assert!(
                    self.may_wait(device, Importance::Unimportant),
                    "at once: all is read"
                );
                let event = self.told_besides(device);
                let Some(event @ Event::Read(Reason::Held { .. })) = event else {
                    panic!("the trail is true: {event:?} when all is read");
                };
                self.note(device, event);
            }
        }
        self.serve_deadlines();
    }

    /// What a device was told of before a message that is read, in the same chat, it takes for read.
    fn read_as_told(&mut self, device: usize, message: usize) {
        let chat = Self::names(message).chat;
        let one = &mut self.devices[device];
        let Some(last) = one.knows.iter().position(|known| *known == message) else {
            return;
        };
        let mut before: HashSet<_> = one.knows[..=last].iter().copied().collect();
        before.retain(|known| Self::names(*known).chat == chat);
        one.knows.retain(|known| !before.contains(known));
        one.shows.retain(|shown| !before.contains(shown));
        for missed in &mut self.missed {
            if missed.device == device && before.contains(&missed.message) {
                (missed.still, missed.received) = (false, true);
            }
        }
    }

    /// Whether the trail tells that what has waited is read, and then of one thing more.
    fn is_dropped_before(&self, device: usize) -> bool {
        let Kind {
            user, identifier, ..
        } = KINDS[device];
        let event = Event::Turn {
            importance: None,
            trial: false,
            reason: Reason::Silent(Silence::ReadElsewhere),
        };
        let mut notes = self.notes[user].clone();
        notes.add(self.now, identifier, event);
        let told = self.engine.trail(USERS[user]);
        let Some(event) = notes.one_more(&told, self.now, identifier) else {
            return false;
        };
        notes.add(self.now, identifier, event);
        notes.is(&told)
    }

    fn is_silent(&self, id: PushId) -> bool {
        KINDS[self.pushes[&id].device].is_silent()
    }

    /// A push service answers one of the pushes under way; without an id the last one to the client of that.
    fn answer_one(&mut self, push: usize, answer: Answer<'static>, with_id: bool) {
        let Some(&id) = self.in_flight.get(push) else {
            return;
        };
        if !self.is_silent(id) {
            self.in_flight.remove(push);
            self.answer(id, answer, true);
        } else if answer != Answer::Result {
            let id = if with_id { id } else { self.last_like(id) };
            self.in_flight.retain(|other| *other != id);
            self.answer(id, answer, with_id);
        }
    }

    /// The last push under way to the client of this one.
    fn last_like(&self, id: PushId) -> PushId {
        let client = |id: &PushId| {
            let kind = &KINDS[self.pushes[id].device];
            (kind.service, kind.client)
        };
        let same = self.in_flight.iter().copied();
        let same = same.filter(|other| client(other) == client(&id));
        same.chain([id]).max_by_key(|id| self.order[id]).unwrap()
    }

    fn answer(&mut self, id: PushId, answer: Answer<'static>, with_id: bool) {
        let device = self.pushes[&id].device;
        let text = id.to_string();
        assert_eq!(
            self.engine.answered(self.now, &text, "x.test", answer),
            None
        );
        if let Some(client) = KINDS[device].client {
            self.answer_silent(id, client, answer, with_id);
            return;
        }
        if let Some(report) = self.engine_answered(device, &text, answer) {
            self.pushes.get_mut(&id).unwrap().fate = match report.outcome {
                Outcome::Failed => Fate::Failed,
                _ => Fate::Settled,
            };
            self.report(device, &report);
        }
        let again = self.engine_answered(device, &text, Answer::Result);
        // The push of a device that is owed it may be answered after all.
        if let Some(again) = again {
            self.pushes.get_mut(&id).unwrap().fate = Fate::Settled;
            self.is_shown_late(id);
            self.report(device, &again);
        }
        self.serve_deadlines();
    }

    /// An error of a push service that answers nothing else.
    fn answer_silent(&mut self, id: PushId, client: &str, answer: Answer<'static>, with_id: bool) {
        let device = self.pushes[&id].device;
        for (from, client) in [
            ("x.test", client),
            ("gate.test", "x"),
            ("other.test", client),
        ] {
            let forged = self
                .engine
                .answered_without_id(self.now, from, client, answer);
            assert_eq!(forged, None, "silence is consent: {from} {client}");
        }
        let is_awaited = self.engine.is_in_flight(&id.to_string());
        let from = SERVICES[KINDS[device].service];
        let report = if with_id {
            self.engine_answered(device, &id.to_string(), answer)
        } else {
            self.checked(device, true, answer, |engine, now| {
                engine.answered_without_id(now, from, client, answer)
            })
        };
        assert_eq!(
            report.as_ref().map(|report| report.push),
            is_awaited.then_some(id),
            "silence is consent: the last one"
        );
        if let Some(report) = report {
            self.pushes.get_mut(&id).unwrap().fate = match report.outcome {
                Outcome::Failed => Fate::Failed,
                _ => Fate::Settled,
            };
            self.report(device, &report);
        }
        self.serve_deadlines();
    }

    fn answer_late(&mut self, id: PushId) {
        let device = self.pushes[&id].device;
        if let Some(client) = KINDS[device].client {
            self.answer_late_silent(id, client);
            return;
        }
        let report = self.engine_answered(device, &id.to_string(), Answer::Result);
        if let Some(report) = report {
            self.pushes.get_mut(&id).unwrap().fate = Fate::Settled;
            self.is_shown_late(id);
            self.report(device, &report);
        }
        self.serve_deadlines();
    }

    /// An error comes too late: the push has been taken.
    fn answer_late_silent(&mut self, id: PushId, client: &str) {
        let from = SERVICES[KINDS[self.pushes[&id].device].service];
        let gone = Answer::Error {
            kind: Some("cancel"),
            condition: Some("gone"),
        };
        let late = self.engine.answered(self.now, &id.to_string(), from, gone);
        assert_eq!(late, None, "silence is consent: too late");
        let is_same = |other: &PushId| {
            let kind = &KINDS[self.pushes[other].device];
            (SERVICES[kind.service], kind.client) == (from, Some(client))
        };
        if !self.in_flight.iter().any(is_same) {
            let late = self
                .engine
                .answered_without_id(self.now, from, client, gone);
            assert_eq!(late, None, "silence is consent: too late");
        }
    }

    /// A push that was given up has been taken after all.
    fn is_shown_late(&mut self, id: PushId) {
        let push = &self.pushes[&id];
        self.devices[push.device].is_showing |= push.importance >= Importance::Important;
    }

    /// A push was not answered in time, or its connection has ended.
    fn given_up(&mut self, report: &Report, condition: Option<&'static str>) {
        self.note_report(report, condition);
        let push = self.pushes.get_mut(&report.push).unwrap();
        let device = push.device;
        let is_taken = matches!(report.outcome, Outcome::Delivered | Outcome::Revived);
        let is_silent = KINDS[device].is_silent();
        assert_eq!(
            (is_taken, report.after.is_none()),
            (is_silent, is_silent),
            "silence is consent"
        );
        push.fate = if is_taken {
            Fate::Settled
        } else {
            Fate::Failed
        };
        self.given_up.push(report.push);
        self.report(device, report);
        let engine = &self.engine;
        self.in_flight
            .retain(|id| engine.is_in_flight(&id.to_string()));
    }

    fn report(&mut self, device: usize, report: &Report) {
        let Some(reported) = &report.device else {
            return;
        };
        // It does not know yet.
        let is_taken = matches!(report.outcome, Outcome::Delivered | Outcome::Revived);
        if self.pushes[&report.push].is_zero && !is_taken {
            self.devices[device].is_showing = true;
        }
        assert_eq!(&*reported.identifier, KINDS[device].identifier);
        assert_eq!(&*reported.user, USERS[KINDS[device].user]);
        match report.outcome {
            Outcome::Failed => self.devices[device].failed = Some(self.now),
            Outcome::Delivered | Outcome::Revived => {
                // Silence says nothing of what has failed since.
                let sent = self.pushes[&report.push].at;
                self.devices[device]
                    .failed
                    .take_if(|failed| report.after.is_some() || sent >= *failed);
            }
            // What is owed waits on.
            Outcome::Refused | Outcome::Suspended | Outcome::Removed => {}
        }
        match report.outcome {
            Outcome::Removed => self.disable(device),
            Outcome::Suspended => {
                let until = self.now + TRIAL_AFTER;
                self.devices[device].suspended_until = Some(until);
                let Kind {
                    user, identifier, ..
                } = KINDS[device];
                self.engine
                    .suspend(self.now, USERS[user], identifier, TRIAL_AFTER);
                // What was missed before is not tried again, but for what the trial speaks for.
                for missed in &mut self.missed {
                    missed.still &= missed.device != device;
                }
            }
            Outcome::Revived => self.devices[device].suspended_until = None,
            Outcome::Delivered | Outcome::Failed | Outcome::Refused => {}
        }
    }

    fn end_call(&mut self, message: usize, own: bool) {
        let Some(call) = self.messages.get_mut(message) else {
            return;
        };
        // One that is in no archive may be met for the first time when it is over.
        if call.importance != Importance::Urgent || !call.archived {
            return;
        }
        call.over = true;
        call.taken |= own;
        let user = call.user;
        let end = Facts {
            importance: Importance::Unimportant,
            call: Some(Call::Ends(Party::new(
                u64::try_from(message).unwrap(),
                u64::from(!own),
                own,
            ))),
            to_account: !own,
            id: None,
            content: None,
            ..self.facts(message)
        };
        // Nothing else is to come of it.
        let id = self.engine.new_id();
        let known = Facts {
            to_account: false,
            ..end
        };
        let decisions = self.ask(user, None, |engine, now, account| {
            engine.archived(now, account, &known, id)
        });
        self.note_decisions(&known, &decisions);
    }

    fn restart(&mut self) {
        while !self.clients.is_empty() {
            self.end_session(0);
        }
        let (owed, failing) = self.engine.owed(self.now);
        let waits = std::array::from_fn::<_, DEVICES, _>(|device| self.waits(device));
        self.restarts += 1;
        self.engine = Self::engine(self.restarts);
        self.notes = Default::default();
        for failing in &failing {
            self.engine.restore_service(self.now, failing);
        }
        for (place, owed) in owed.iter().enumerate() {
            self.engine.restore(self.now, owed, place);
            let is_owed = |kind: &Kind| kind.identifier == &*owed.device.identifier;
            let device = KINDS.iter().position(is_owed).unwrap();
            assert!(
                !KINDS[device].is_silent() || waits[device].is_some(),
                "silence is consent: device {device} is owed what was under way"
            );
            self.devices[device].failed = Some(self.now);
            self.note(device, Event::Restored);
        }
        // What was under way is owed, or taken; nobody will ever know what has become of it.
        for id in self.in_flight.drain(..) {
            let push = self.pushes.get_mut(&id).unwrap();
            push.fate = if KINDS[push.device].is_silent() {
                Fate::Settled
            } else {
                Fate::Failed
            };
        }
        self.given_up.clear();
        for device in &mut self.devices {
            // Nothing is known of what was sent before, and what is owed may be for anything.
            device.sent.clear();
            device.is_wide = true;
            (device.shows, device.is_showing, device.met) = (Vec::new(), false, 1);
            device.knows.clear();
        }
        for message in &mut self.messages {
            message.mark = None;
        }
    }

    fn enable(&mut self, device: usize) {
        let one = &mut self.devices[device];
        if !one.is_disabled && one.suspended_until.is_none() {
            return;
        }
        one.is_disabled = false;
        one.suspended_until = None;
        one.failed = None;
        let Kind {
            user, identifier, ..
        } = KINDS[device];
        let waited = self.waits(device);
        self.engine.enabled(self.now, USERS[user], identifier);
        self.is_shown_all(device);
        self.note_return(device, waited);
        self.has_received_all(device);
        // What waited for it while it was suspended counts as received, also if a session has it in its hands.
        for client in self.clients.iter().filter(|one| one.is_of(device)) {
            let queue = client.queue.iter();
            self.received
                .extend(queue.map(|message| (device, *message)));
        }
    }

    fn disable(&mut self, device: usize) {
        self.former[KINDS[device].user].append(&mut self.devices[device].sent);
        self.devices[device] = Device {
            is_disabled: true,
            told: self.devices[device].told,
            ..Device::default()
        };
        let Kind {
            user, identifier, ..
        } = KINDS[device];
        self.engine.forget(self.now, USERS[user], identifier);
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
                self.given_up(&report, None);
            }
            assert_eq!(expired.given_up, []);
            for due in expired.due {
                self.release(&due.user, &due.identifier);
            }
        }
    }

    fn release(&mut self, user: &str, identifier: &str) {
        let is_due = |kind: &Kind| kind.identifier == identifier && USERS[kind.user] == user;
        let device = KINDS.iter().position(is_due).unwrap();
        // The registration may have ended with another turn.
        if self.devices[device].is_disabled {
            return;
        }
        let (_, released) = self.ask(KINDS[device].user, Some(device), |engine, now, account| {
            engine.release(now, account, 0)
        });
        let trial = self.devices[device].suspended_until.is_some();
        let Some(released) = released else {
            self.note_delay(device, trial);
            return;
        };
        let event = Event::Turn {
            importance: Some(released.importance),
            trial,
            reason: Reason::Pushed,
        };
        self.note(device, event);
        // Rule (a) has let it wait, so an overdue acknowledgement may still be.
        let is_wide = self.devices[device].is_wide;
        assert!(is_wide || !self.is_online(device), "none to a live device");
        if let Some(message) = released.stanza {
            let is_over = self.messages[message].over;
            let rings = released.importance == Importance::Urgent;
            assert!(!(rings && is_over), "no call rings that is over");
            self.engine.keep(released.id, message);
        }
        self.sent(
            released.id,
            device,
            released.stanza,
            released.importance,
            is_wide,
        );
    }

    fn is_back(&mut self, device: usize) {
        if self.devices[device].suspended_until.is_none() {
            let Kind {
                user, identifier, ..
            } = KINDS[device];
            let waited = self.waits(device);
            self.engine.back(self.now, USERS[user], identifier);
            self.note_return(device, waited);
            self.devices[device].failed = None;
            self.devices[device].is_wide = false;
            self.is_shown_all(device);
        }
        self.has_received_all(device);
    }

    /// The device shows nothing that it has been told of before.
    fn is_shown_all(&mut self, device: usize) {
        let one = &mut self.devices[device];
        (one.shows, one.is_showing, one.met) = (Vec::new(), false, 0);
        one.knows.clear();
    }

    /// The device is there, so that it learns of all that it has missed.
    fn has_received_all(&mut self, device: usize) {
        let missed = self.missed.iter_mut();
        for missed in missed.filter(|missed| missed.device == device) {
            (missed.still, missed.received) = (false, true);
        }
    }

    fn miss(&mut self, rule: Rule, device: usize, message: usize) {
        let Message { muted, read, .. } = self.messages[message];
        if muted || read || self.received.contains(&(device, message)) {
            return;
        }
        let is_live = self.has_session(device, |client| client.live);
        let still = match rule {
            // There is no trial while the device is there.
            _ if self.devices[device].suspended_until.is_some() => !is_live,
            Rule::Room => true,
            Rule::Offline => !self.is_available(device),
            _ => !is_live,
        };
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
        self.down = [false; SERVICE_COUNT];
        for device in &mut self.devices {
            device.told = None;
        }
        let pushes = &self.pushes;
        let is_answered = |id: &mut PushId| !KINDS[pushes[id].device].is_silent();
        let answered: Vec<_> = self.in_flight.extract_if(.., is_answered).collect();
        for id in answered {
            self.answer(id, Answer::Result, true);
        }
        for service in SERVICES {
            self.engine.connected(self.now, service);
        }
        self.wait(Duration::from_hours(24 * 3));
        self.check_trails();
        for Missed {
            device,
            message,
            at,
            ..
        } in self.missed.iter().filter(|missed| missed.still)
        {
            let is_important = self.messages[*message].importance >= Importance::Important;
            let served = self.pushes.values().any(|push| {
                push.device == *device
                    && push.fate == Fate::Settled
                    && (push.about == Some(*message)
                        || (push.importance >= Importance::Important || !is_important)
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

    fn note(&mut self, device: usize, event: Event) {
        let Kind {
            user, identifier, ..
        } = KINDS[device];
        self.notes[user].add(self.now, identifier, event);
    }

    fn note_decisions(
        &mut self,
        facts: &Facts,
        (devices, decisions): &(Vec<usize>, Vec<Decision>),
    ) {
        for decision in decisions {
            let event = Event::Met {
                rule: decision.rule,
                stanza: Some((decision.importance, facts.label)),
                reason: decision.reason(),
            };
            self.note(devices[decision.registration], event);
        }
    }

    fn note_report(&mut self, report: &Report, condition: Option<&'static str>) {
        if report.device.is_none() {
            return;
        }
        let push = &self.pushes[&report.push];
        let (device, after) = (push.device, self.now.saturating_sub(push.at));
        let is_assumed = report.after.is_none();
        let event = Event::Answered {
            outcome: report.outcome,
            condition,
            after: (!is_assumed).then_some(after),
            owed: report.owed,
        };
        self.note(device, event);
        if report.served {
            self.note_dropped(device, Silence::Served);
        }
    }

    fn note_dropped(&mut self, device: usize, silence: Silence) {
        let event = Event::Turn {
            importance: None,
            trial: false,
            reason: Reason::Silent(silence),
        };
        self.note(device, event);
    }

    /// The device is back: if anything has waited, it has that.
    fn note_return(&mut self, device: usize, waited: Option<Cause>) {
        // A trial may be for nothing that has come, which nobody but the engine knows.
        let has_waited = if waited == Some(Cause::Suspension) {
            self.told_besides(device).is_some()
        } else {
            waited.is_some()
        };
        if has_waited {
            self.note_dropped(device, Silence::Returned);
        }
    }

    /// What is released may have to wait on, or need no push any more, which nobody but the engine knows; but why is
    /// no secret.
    fn note_delay(&mut self, device: usize, trial: bool) {
        let Some(event) = self.told_besides(device) else {
            return;
        };
        let Event::Turn {
            importance: None,
            trial: told,
            reason,
        } = event
        else {
            panic!("the trail is true: {event:?} of what waited");
        };
        let is_true = match reason {
            Reason::Pushed | Reason::Silent(Silence::TooOld) => false,
            Reason::Held { cause, .. } => self.waits(device) == Some(cause),
            Reason::Silent(Silence::Returned) => {
                self.waits(device).is_none() && self.has_session(device, |client| client.live)
            }
            Reason::Silent(silence) => self.waits(device).is_none() && silence == Silence::Served,
        };
        assert!(is_true && told == trial, "the trail is true: {event:?}");
        self.note(device, event);
    }

    /// What the trail tells of the device besides what is known.
    fn told_besides(&self, device: usize) -> Option<Event> {
        let Kind {
            user, identifier, ..
        } = KINDS[device];
        self.notes[user].one_more(&self.engine.trail(USERS[user]), self.now, identifier)
    }

    /// Why the device waits for a push, if it does.
    fn waits(&self, device: usize) -> Option<Cause> {
        let Kind {
            user, identifier, ..
        } = KINDS[device];
        let status = self.engine.device(self.now, USERS[user], identifier)?;
        status.waiting.map(|(_, cause)| cause)
    }

    fn engine_answered(
        &mut self,
        device: usize,
        id: &str,
        answer: Answer<'static>,
    ) -> Option<Report> {
        let from = SERVICES[KINDS[device].service];
        let is_awaited = self.engine.is_in_flight(id);
        self.checked(device, is_awaited, answer, |engine, now| {
            engine.answered(now, id, from, answer)
        })
    }

    /// An answer to a push of the device.
    fn checked(
        &mut self,
        device: usize,
        is_awaited: bool,
        answer: Answer<'static>,
        answered: impl FnOnce(&mut Engine<usize>, Duration) -> Option<Report>,
    ) -> Option<Report> {
        let waited = self.waits(device);
        let report = answered(&mut self.engine, self.now)?;
        if report.device.is_some() {
            let waits = self.waits(device);
            let is_owed = waits.is_some_and(|cause| cause >= Cause::Debt);
            assert_eq!(report.owed, is_owed, "the trail is true: owed");
            let is_dropped = waited.is_some() && waits.is_none();
            assert!(!report.served || is_dropped, "the trail is true: served");
            // The answer to what was given up may settle just that.
            assert!(
                report.served || !is_dropped || !is_awaited,
                "the trail is true: not served"
            );
        }
        self.note_report(&report, answer.condition());
        Some(report)
    }

    fn check_trails(&self) {
        for (user, notes) in USERS.iter().zip(&self.notes) {
            let told = self.engine.trail(user);
            assert!(
                notes.is(&told),
                "the trail is true: {told:#?}\nand has happened: {:#?}",
                notes.in_order()
            );
        }
    }

    fn facts(&self, message: usize) -> Facts {
        let Message {
            importance,
            archived,
            with_id,
            ..
        } = self.messages[message];
        let number = u64::try_from(message).unwrap();
        let id = StanzaId(number);
        Facts {
            importance,
            message: true,
            push: false,
            call: (importance == Importance::Urgent)
                .then(|| Call::Begins(Party::new(number, 1, false))),
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
            said: None,
            names: (importance >= Importance::Important).then(|| Self::names(message)),
            amends: None,
            label: Label {
                id: cut(&message.to_string()),
                ..Label::default()
            },
        }
    }

    /// There are two chats.
    fn names(message: usize) -> Names {
        let number = u64::try_from(message).unwrap();
        Names {
            chat: Chat(number % 2),
            ids: [Some(StanzaId(1 << 32 | number)), None],
        }
    }

    fn id(&mut self, message: usize) -> StanzaId {
        let own = self.facts(message).id;
        let mark = &mut self.messages[message].mark;
        own.unwrap_or_else(|| *mark.get_or_insert_with(|| self.engine.new_id()))
    }

    fn user_of(&self, client: usize) -> usize {
        KINDS[self.clients[client].device].user
    }

    fn has_session(&self, device: usize, is: impl Fn(&Client) -> bool) -> bool {
        let mut clients = self.clients.iter();
        clients.any(|client| client.is_of(device) && is(client))
    }

    fn is_away_from_everything(&self, device: usize) -> bool {
        !self.has_session(device, |_| true)
    }

    /// A suspended registration has no sessions but for its trial.
    fn is_attached(&self, device: usize) -> bool {
        let one = &self.devices[device];
        !one.is_disabled && one.suspended_until.is_none_or(|until| until <= self.now)
    }

    fn is_available(&self, device: usize) -> bool {
        self.has_session(device, |client| client.live && client.available)
    }

    fn is_online(&self, device: usize) -> bool {
        self.has_session(device, |client| client.live && !client.ack_overdue)
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
