//! The business rules, without I/O.
//!
//! The engine knows nothing of Lua, sockets, clocks or storage. Its caller
//!
//! 1. hands it what happens ([`Engine::unacked`], [`Engine::archived`], [`Engine::undelivered`],
//!    [`Engine::offline`], [`Engine::room`], [`Engine::ping`], [`Engine::answered`]) with the current
//!    time and with what the account looks like at that moment ([`Account`]);
//! 2. carries out the [`Verdict`] on each registration: publishes for a [`Verdict::Push`], and hands
//!    the stanza over with [`Engine::keep`], in case it has to be pushed again; for a
//!    [`Verdict::Hold`] it hands it over with [`Engine::hold`];
//! 3. says when a listener has vetoed a push ([`Engine::vetoed`]), when a device is back
//!    ([`Engine::back`]), when a registration is suspended ([`Engine::suspend`]) or has ended
//!    ([`Engine::forget`]); when a push service gives a sign of life ([`Engine::heard`],
//!    [`Engine::connected`]) and when its connection has ended ([`Engine::disconnected`]);
//! 4. calls [`Engine::expire`] at the time that [`Engine::deadline`] names, and carries out what it
//!    returns: [`Engine::release`] for each device whose turn it is ([`Engine::postpone`] if its
//!    registration cannot be read), and what each [`Report`] says;
//! 5. takes what is owed ([`Engine::owed`]) before it ends, and gives it to the next engine
//!    ([`Engine::restore`]).
//!
//! Time is a [`Duration`] since any fixed moment, at least a hundred days ago, and never goes back. `S`
//! is whatever the caller needs to get hold of a stanza again that has to wait.
//!
//! ```
//! use std::time::Duration;
//! use cloud_notify::engine::{Account, Engine, Options, Registration, Verdict};
//! use cloud_notify::stanza::{Facts, StanzaId};
//!
//! let mut engine = Engine::<()>::new(Options::default());
//! let message: minidom::Element =
//!     "<message xmlns='jabber:client' from='rosa@home.test'><body>hi</body></message>".parse()?;
//! let facts = Facts::read(&message, "anna@home.test", engine.key());
//! let account = Account {
//!     user: "anna",
//!     registrations: &[Registration { identifier: "push.test<n1", jid: "push.test", content: false, suspended: None }],
//!     sessions: &[],
//! };
//! let id = StanzaId::archived("archive-id-1", engine.key());
//! let decisions = engine.archived(Duration::ZERO, &account, &facts, id);
//! assert!(matches!(decisions[0].verdict, Verdict::Push(_)));
//! // The same message, now met by offline storage: never pushed twice.
//! let decisions = engine.offline(Duration::ZERO, &account, &facts, id);
//! assert!(matches!(decisions[0].verdict, Verdict::Silent(_)));
//! # Ok::<(), minidom::Error>(())
//! ```

mod account;
mod delivery;
mod device;
mod devices;
mod options;
mod pushed;
mod rate;
pub mod registering;
mod rules;
mod service;
pub mod suspension;
mod timers;
mod waiting;

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;
use xmpp_parsers::jid::Jid;

pub use account::{Account, Connection, Registration, Session};
pub use delivery::{Answer, Outcome, PushId, Report};
pub use options::{NotifyOn, Options};
pub use rules::{Rule, Silence};
pub use service::{FailingService, ServiceChange, ServiceState};

use crate::stanza::{Call, Facts, Importance, Key, StanzaId};
use delivery::{Fault, InFlight};
use device::{Device, DeviceKey, Pace};
use devices::Devices;
use pushed::Ids;
use rate::Meter;
use service::{Next, ServiceKey, Services, Sign};
use timers::{Timer, Timers};
use waiting::{About, Cause, Chosen, Keeper, Until, Waiting};

/// How many pushes may wait for an answer, of all devices together and of one user's. One of each device
/// may always, and calls may take twice a user's share: whoever fills it delays nobody else.
const MAX_IN_FLIGHT: usize = 65_536;
const MAX_IN_FLIGHT_OF_USER: u32 = 256;

/// How many deadlines are served at once. Those that have passed as well follow after whatever else there is to do:
/// many pushes may have left for a silent service in one moment.
const MAX_SERVED: usize = 4096;

/// A device whose registration cannot be read tries again after as long as one that failed so often.
const POSTPONED: u32 = 4;

/// For how many users it is remembered what registrations that have ended have got within the last minute.
const MAX_FORMER: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

/// When a device has another turn that nobody has taken.
const ANOTHER_TURN: Duration = Duration::from_secs(1);

/// How many stanzas in queues of several sessions of one device are told apart.
const MAX_TWINS: usize = 1024;

/// Two archive events belong to one note to self if they come within this time.
const ECHO: Duration = Duration::from_secs(1);

/// What is to be done about one registration.
#[derive(Debug, PartialEq, Eq)]
pub struct Decision {
    /// Its place in [`Account::registrations`].
    pub registration: usize,
    /// What to do.
    pub verdict: Verdict,
}

/// What is to be done about a stanza and a registration.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Publish now, under this id.
    Push(PushId),
    /// Not yet: hand the stanza over to [`Engine::hold`].
    Hold(Ticket),
    /// No push, and why.
    Silent(Silence),
}

/// The place of a stanza that has to wait; see [`Engine::hold`].
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub struct Ticket {
    device: DeviceKey,
    about: About,
    wait: Wait,
    cause: Cause,
}

/// What a stanza has to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    Until(Duration),
    Room,
    SignOfLife(ServiceKey),
}

impl Ticket {
    /// How much the stanza matters.
    pub fn importance(&self) -> Importance {
        self.about.importance
    }

    /// Why it has to wait: a phrase for the log.
    pub fn reason(&self) -> &'static str {
        match self.cause {
            Cause::Window => "not important, waits for the end of push_coalesce_window",
            Cause::Rate => "more than push_max_per_minute, waits for its turn",
            Cause::Room => "too many pushes wait for an answer, waits for one",
            Cause::Debt => "push service could not take the last one, waits for the next attempt",
            Cause::Suspension => "registration is suspended, waits for the next trial",
        }
    }
}

/// A device whose waiting stanzas are due; see [`Engine::release`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The user name.
    pub user: Box<str>,
    /// The registration's identifier.
    pub identifier: Box<str>,
}

/// What [`Engine::expire`] found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Devices that have stanzas waiting which are due.
    pub due: Vec<Due>,
    /// What has become of pushes that were not answered in time.
    pub unanswered: Vec<Report>,
    /// Devices that wait for a push service that nobody could reach for thirty days: their
    /// registrations are to be suspended.
    pub given_up: Vec<Due>,
}

/// What a device is owed, to outlive the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// Whose device it is.
    pub device: Due,
    /// How much the most important stanza matters.
    pub importance: Importance,
    /// Time since the last one came.
    pub age: Duration,
    /// Time until the next attempt.
    pub due_in: Duration,
    /// Transient failures in a row.
    pub failures: u32,
    /// Time since the first of them.
    pub failing_for: Duration,
    /// Whether the registration is suspended.
    pub suspended: bool,
}

/// A push that waited and is to be published now.
#[derive(Debug, PartialEq, Eq)]
pub struct Released<S> {
    /// Its id.
    pub id: PushId,
    /// The stanza that it is for, if there is one and it is still known.
    pub stanza: Option<S>,
    /// How much that matters.
    pub importance: Importance,
}

/// A stanza without an identity of its own, and the sessions that have it in their queues.
struct Twin {
    id: StanzaId,
    sessions: Vec<u64>,
}

/// A stanza as it meets the registrations.
#[derive(Clone, Copy)]
struct Met<'a> {
    facts: &'a Facts,
    id: StanzaId,
    /// Another identity that it has been met by.
    alias: Option<StanzaId>,
}

impl<'a> Met<'a> {
    fn new(facts: &'a Facts, id: StanzaId) -> Self {
        let alias = None;
        Self { facts, id, alias }
    }
}

/// The first copy of a note to self, as the archive announced it.
struct Echo {
    account: u64,
    content: Option<StanzaId>,
    id: StanzaId,
    at: Duration,
}

/// The rules of one host and all that they have to remember.
pub struct Engine<S> {
    options: Options,
    key: Key,
    count: u64,
    devices: Devices<S>,
    in_flight: HashMap<PushId, InFlight<S>>,
    /// By user, as a keyed hash.
    users_in_flight: HashMap<u64, u32>,
    /// What a user's registrations have got that have ended counts for the next one: nobody gets more by
    /// enabling again and again. By user, as a keyed hash.
    former: LruCache<u64, Meter>,
    services: Services,
    timers: Timers,
    keeper: Keeper,
    echo: Option<Echo>,
    twins: HashMap<StanzaId, VecDeque<Twin>>,
    twins_in_order: VecDeque<StanzaId>,
}

impl<S> Default for Engine<S> {
    fn default() -> Self {
        Self::new(Options::default())
    }
}

impl<S> Engine<S> {
    /// How many stanzas of a device are kept for one later push.
    pub const MAX_HELD: usize = waiting::MAX_CANDIDATES;

    /// For how long a call rings: until then what ends it may come.
    pub const MAX_RINGING: Duration = waiting::MAX_RINGING;

    /// An engine that has not seen anything yet.
    pub fn new(options: Options) -> Self {
        Self::with_key(options, Key::random())
    }

    /// The same with a key of one's own: equal events lead to equal decisions.
    pub fn with_key(options: Options, key: Key) -> Self {
        Self {
            options,
            services: Services::new(key.clone()),
            key,
            count: 0,
            devices: Devices::default(),
            in_flight: HashMap::new(),
            users_in_flight: HashMap::new(),
            former: LruCache::sparse(MAX_FORMER),
            timers: Timers::default(),
            keeper: Keeper::default(),
            echo: None,
            twins: HashMap::new(),
            twins_in_order: VecDeque::new(),
        }
    }

    /// Changes the options; what is under way keeps the deadlines that it has.
    pub fn configure(&mut self, options: Options) {
        self.options = options;
    }

    /// The secret of all stanza identities, for [`Facts::read`].
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// An identity for a stanza that has none of its own (see [`Facts::id`]). It fits into the
    /// 53 bits that all Luas have for a whole number.
    pub fn new_id(&mut self) -> StanzaId {
        StanzaId(self.unique("stanza") >> 11)
    }

    /// An identity for a stanza without one that waits in the queue of `session`, where several
    /// sessions of a device may have been given a clone of it. `queued` is what the clones have in
    /// common ([`crate::stanza::queued_id`]).
    pub fn twin_id(&mut self, queued: StanzaId, session: u64) -> StanzaId {
        if let Some(twins) = self.twins.get_mut(&queued)
            && let Some(twin) = twins
                .iter_mut()
                .find(|twin| !twin.sessions.contains(&session))
        {
            twin.sessions.push(session);
            return twin.id;
        }
        let id = self.new_id();
        if self.twins_in_order.len() == MAX_TWINS
            && let Some(oldest) = self.twins_in_order.pop_front()
        {
            self.twins.remove(&oldest);
        }
        self.twins_in_order.push_back(queued);
        self.twins.entry(queued).or_default().push_back(Twin {
            id,
            sessions: vec![session],
        });
        id
    }

    /// Rule (a): a stanza that `account.sessions[session]` has not acknowledged, for the
    /// registration that this session is attached to.
    pub fn unacked(
        &mut self,
        now: Duration,
        account: &Account<'_>,
        registration: usize,
        session: usize,
        facts: &Facts,
        id: StanzaId,
    ) -> Verdict {
        self.meet(
            now,
            Rule::Unacked { session },
            account,
            registration,
            Met::new(facts, id),
        )
    }

    /// Why rule (b) has no push for any registration, whatever the stanza, unless it is a call.
    /// `None` if it depends on the stanza.
    pub fn silent_unless_call(account: &Account<'_>) -> Option<Silence> {
        let mut reasons = account
            .registrations
            .iter()
            .map(|one| rules::archived(&account.of(one), one.identifier));
        let first = reasons.next()??;
        reasons.all(|reason| reason.is_some()).then_some(first)
    }

    /// Rule (b): a stanza that went into the archive of `account`, where `id` is
    /// [`StanzaId::archived`].
    pub fn archived(
        &mut self,
        now: Duration,
        account: &Account<'_>,
        facts: &Facts,
        id: StanzaId,
    ) -> Vec<Decision> {
        let alias = self.first_copy(now, account, facts, id);
        self.meet_all(now, Rule::Archived, account, Met { facts, id, alias })
    }

    /// Rule (b) again: a stanza in the archive of `account` that a session has not acknowledged which
    /// has ended without hibernating.
    pub fn undelivered(
        &mut self,
        now: Duration,
        account: &Account<'_>,
        facts: &Facts,
        id: StanzaId,
    ) -> Vec<Decision> {
        // Whoever was called has been called when it was archived.
        let facts = Facts {
            importance: facts.importance.min(Importance::Important),
            call: None,
            ..*facts
        };
        self.meet_all(now, Rule::Undelivered, account, Met::new(&facts, id))
    }

    /// Rule (c): a stanza that offline storage has taken.
    pub fn offline(
        &mut self,
        now: Duration,
        account: &Account<'_>,
        facts: &Facts,
        id: StanzaId,
    ) -> Vec<Decision> {
        self.meet_all(now, Rule::Offline, account, Met::new(facts, id))
    }

    /// Rule (c): a groupchat message to the bare JID, which no session receives.
    pub fn room(
        &mut self,
        now: Duration,
        account: &Account<'_>,
        facts: &Facts,
        id: StanzaId,
    ) -> Vec<Decision> {
        self.meet_all(now, Rule::Room, account, Met::new(facts, id))
    }

    /// Rule (a): why there is no push for any stanza of `account.sessions[session]`'s queue.
    pub fn silent_unacked(
        account: &Account<'_>,
        registration: usize,
        session: usize,
    ) -> Option<Silence> {
        rules::unacked(
            account,
            session,
            account.registrations[registration].identifier,
        )
    }

    /// Whether an important push of rule (a) speaks for all that comes now, but for calls.
    pub fn is_spoken_for(&self, now: Duration, account: &Account<'_>, registration: usize) -> bool {
        let Registration {
            identifier,
            content,
            ..
        } = account.registrations[registration];
        let device = self.devices.get(self.device_key(account.user, identifier));
        !content && device.is_some_and(|device| device.is_spoken_for(now))
    }

    /// Stanzas that the device has received, or that a push has spoken for, without their having been met
    /// one by one.
    pub fn served(
        &mut self,
        now: Duration,
        user: &str,
        identifier: &str,
        stanzas: impl IntoIterator<Item = (StanzaId, Facts)>,
    ) {
        let key = self.device_key(user, identifier);
        let device = self.device(now, key, user, identifier);
        for (id, facts) in stanzas {
            device.pushed.add(recognised_by(id, &facts));
        }
        self.measure(now, key);
    }

    /// A push without a stanza. If there cannot be one now, the device is owed it.
    pub fn ping(
        &mut self,
        now: Duration,
        account: &Account<'_>,
        registration: usize,
    ) -> Option<PushId> {
        let registration = &account.registrations[registration];
        if registration.suspended.is_some() {
            return None;
        }
        let key = self.device_key(account.user, registration.identifier);
        self.device(now, key, account.user, registration.identifier);
        let about = About::nothing(Importance::Unimportant);
        match self.obstacle(now, key, registration, account.user, about.importance) {
            None => {
                let push = self.push(now, account.user, registration, about);
                let id = self.send(key, registration.jid, push);
                self.measure(now, key);
                Some(id)
            }
            Some((wait, cause)) => {
                let ticket = Ticket {
                    device: key,
                    about,
                    wait,
                    cause,
                };
                self.hold(now, ticket, None);
                None
            }
        }
    }

    /// Keeps the stanza of a push that has been decided on, as long as there is room, in case that it
    /// has to be pushed again.
    pub fn keep(&mut self, id: PushId, stanza: S) {
        if let Some(push) = self.in_flight.get_mut(&id) {
            push.stanza = self.keeper.keep(stanza);
        }
    }

    /// Keeps a stanza that has to wait. At most [`Self::MAX_HELD`] of them are candidates for the
    /// push; for the others `stanza` need not be given.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a ticket is good for one stanza"
    )]
    pub fn hold(&mut self, now: Duration, ticket: Ticket, stanza: Option<S>) {
        let kept = stanza.and_then(|stanza| self.keeper.keep(stanza));
        let Some(device) = self.devices.get_mut(ticket.device) else {
            return;
        };
        if let Some(spoken_for) = device.waiting.take_if(|waiting| waiting.is_standing_by()) {
            // Should that push fail, the next one is for those, too.
            if let Until::Answer(id) = spoken_for.until
                && let Some(push) = self.in_flight.get_mut(&id)
            {
                push.about.receiver = push.about.receiver.max(spoken_for.receiver());
            }
            device.pushed.append(spoken_for.ids);
        }
        // What waits for something that takes longer goes on waiting for it.
        let goes_on = device
            .waiting
            .as_ref()
            .is_some_and(|waiting| waiting.cause >= ticket.cause);
        let waiting = device
            .waiting
            .get_or_insert_with(|| Waiting::new(now, Until::Time(now), ticket.cause));
        waiting.add(now, ticket.about, kept);
        if !goes_on {
            let until = self.until(now, ticket.device, ticket.wait);
            self.set_until(now, ticket.device, until, ticket.cause);
        }
        self.measure(now, ticket.device);
    }

    /// Publishes what waited for a device, unless the device has come back meanwhile or another
    /// push has spoken for it.
    pub fn release(
        &mut self,
        now: Duration,
        account: &Account<'_>,
        registration: usize,
    ) -> Option<Released<S>> {
        let registration = account.registrations[registration];
        let key = self.device_key(account.user, registration.identifier);
        let service = self.service_key(registration.jid);
        let released = self.release_device(now, account, &registration, key);
        // It may have been this device's turn to probe the service.
        self.services.turn_is_over(service);
        self.wake(service, now);
        released
    }

    fn release_device(
        &mut self,
        now: Duration,
        account: &Account<'_>,
        registration: &Registration<'_>,
        key: DeviceKey,
    ) -> Option<Released<S>> {
        let device = self.devices.get_mut(key)?;
        let waiting = device
            .waiting
            .as_mut()
            .filter(|waiting| waiting.is_due(now))?;
        waiting.end_old_calls(now);
        let waiting = device.waiting.as_ref()?;
        let cause = waiting.cause;
        let is_too_old = cause == Cause::Debt && now > waiting.latest + self.options.retry_age;
        // A push cannot speak for content that only another one would bring.
        let is_spoken_for = cause == Cause::Window
            && device.spoke_since(waiting.since)
            && !(registration.content && waiting.is_important());
        if waiting
            .receiver()
            .is_there(account, registration.identifier)
        {
            // It gets the stanzas by its session; should that die before, they are met again.
            self.leave_waiting(key);
            return None;
        }
        if is_too_old || is_spoken_for {
            self.drop_waiting(key);
            return None;
        }
        if let Some(wait) = registration.suspended {
            // One trial at a time.
            let is_under_way = !device.in_flight.is_empty();
            if is_under_way || !wait.is_zero() {
                let wait = wait.max(self.options.retry_min);
                self.set_until(now, key, Until::Time(now + wait), Cause::Suspension);
                return None;
            }
        }
        let Some(importance) = waiting.next_importance() else {
            self.drop_waiting(key);
            return None;
        };
        if let Some((wait, obstacle)) =
            self.obstacle(now, key, registration, account.user, importance)
        {
            let until = self.until(now, key, wait);
            self.set_until(now, key, until, cause.max(obstacle));
            return None;
        }
        let mut waiting = self.leave_waiting(key)?;
        let Chosen {
            stanza,
            about,
            since,
        } = waiting.take_most_important()?;
        let push = InFlight {
            since,
            ..self.push(now, account.user, registration, about)
        };
        let id = self.send(key, registration.jid, push);
        if let Some(device) = self.devices.get_mut(key) {
            device.pushed.add(about.ids);
            waiting.until = Until::Answer(id);
            device.waiting = Some(waiting);
        }
        Some(Released {
            id,
            stanza,
            importance: about.importance,
        })
    }

    /// A device's turn has come, but its registration cannot be read: not yet.
    pub fn postpone(&mut self, now: Duration, user: &str, identifier: &str) {
        let key = self.device_key(user, identifier);
        // The store may be away for long, and all who are owed something read it.
        let until = Until::Time(now + self.backoff(POSTPONED));
        if let Some(waiting) = self.devices.get(key).and_then(|one| one.waiting.as_ref())
            && waiting.is_due(now)
        {
            let (cause, before) = (waiting.cause, waiting.until);
            self.set_until(now, key, until, cause);
            self.pass_turn(now, before);
        } else {
            // It may have had a turn, and is back since.
            let service = self.service_key(registering::service_of(identifier));
            self.services.turn_is_over(service);
            self.wake(service, now);
        }
    }

    /// The device is back: its session was resumed, or a new one has been attached. What waited
    /// for it has been received, and need not be pushed any more.
    pub fn back(&mut self, user: &str, identifier: &str) {
        let key = self.device_key(user, identifier);
        self.count += 1;
        let epoch = self.count;
        if let Some(device) = self.devices.get_mut(key) {
            device.spoke = None;
            device.failing = device::Failing::default();
            device.epoch = epoch;
            self.drop_waiting(key);
        }
    }

    /// The registration was enabled, perhaps again: its errors are forgiven, and its device is
    /// there. What it was pushed for stays known.
    pub fn enabled(&mut self, user: &str, identifier: &str) {
        self.back(user, identifier);
        let key = self.device_key(user, identifier);
        self.count += 1;
        let generation = self.count;
        if let Some(device) = self.devices.get_mut(key) {
            device.errors = 0;
            device.generation = generation;
        }
    }

    /// A listener has vetoed this push: it never left, and speaks for nothing.
    pub fn vetoed(&mut self, now: Duration, id: PushId) {
        let Some(push) = self.take_in_flight(now, id) else {
            return;
        };
        self.nobody_was_woken(id);
        self.wake(push.service, now);
        let Some(device) = self.devices.get_mut(id.device) else {
            return;
        };
        device.meter.refund();
        let Some(waiting) = device
            .waiting
            .as_ref()
            .filter(|waiting| waiting.is_standing_by_for(id))
        else {
            return;
        };
        // The next candidate has its turn. Without one, the rest may be met again.
        if waiting.is_empty() {
            device.waiting = None;
        } else {
            let cause = waiting.cause;
            self.set_until(now, id.device, Until::Time(now), cause);
        }
    }

    /// The registration is suspended: nothing is pushed to it for `wait`, then what has come meanwhile
    /// is its trial.
    pub fn suspend(&mut self, now: Duration, user: &str, identifier: &str, wait: Duration) {
        let key = self.device_key(user, identifier);
        let device = self.device(now, key, user, identifier);
        let until = Until::Time(now + wait);
        if device.waiting.is_none() {
            let mut waiting = Waiting::new(now, until, Cause::Suspension);
            waiting.add(now, About::nothing(Importance::Unimportant), None);
            device.waiting = Some(waiting);
        }
        self.set_until(now, key, until, Cause::Suspension);
        self.measure(now, key);
    }

    /// A sign of life: `from` is a push service that a stanza has come from. What is owed there goes out,
    /// paced by `push_recovery_rate`.
    pub fn heard(&mut self, now: Duration, from: &str) -> Option<ServiceChange> {
        let service = self.service_key(from);
        self.alive(now, service, Sign::Heard)
    }

    /// The same: there is a connection with `host` now.
    pub fn connected(&mut self, now: Duration, host: &str) -> Vec<ServiceChange> {
        let there = self.services.at_host(host).into_iter();
        there
            .filter_map(|service| self.alive(now, service, Sign::Connected))
            .collect()
    }

    fn alive(&mut self, now: Duration, service: ServiceKey, sign: Sign) -> Option<ServiceChange> {
        let change = self.services.alive(service, now, sign, &self.options);
        self.wake(service, now);
        change
    }

    /// What all devices are owed, and the push services that are failing, for how long. What has been
    /// sent and is not answered is among it: nobody will be there to take the answer.
    pub fn owed(&self, now: Duration) -> (Vec<Owed>, Vec<FailingService>) {
        let owed = |(key, device): (DeviceKey, &Device<S>)| {
            let waiting = device.waiting.as_ref();
            let unanswered = self.unanswered(device);
            let importance = waiting.and_then(Waiting::importance);
            let importance = importance.max(unanswered.map(|(importance, _)| importance))?;
            let latest = waiting.map(|one| one.latest);
            let latest = latest.max(unanswered.map(|(_, since)| since))?;
            let due_in = match waiting.map(|one| one.until) {
                Some(Until::Time(due)) => due.saturating_sub(now),
                Some(Until::Service { retry, .. }) => {
                    retry.map_or(Duration::ZERO, |retry| retry.saturating_sub(now))
                }
                Some(Until::Turn { .. } | Until::Room) => Duration::ZERO,
                Some(Until::Answer(_)) | None => self.options.retry_min,
            };
            Some((
                key,
                Owed {
                    device: Due::of(device),
                    importance,
                    age: now.saturating_sub(latest),
                    due_in,
                    failures: device.failing.attempts,
                    failing_for: now.saturating_sub(device.failing.since),
                    suspended: waiting.is_some_and(|one| one.cause == Cause::Suspension),
                },
            ))
        };
        let mut devices: Vec<_> = self.devices.iter().filter_map(owed).collect();
        devices.sort_by_key(|(key, owed)| (owed.due_in, *key));
        let devices = devices.into_iter().map(|(_, owed)| owed).collect();
        (devices, self.services.failing(now))
    }

    /// How much that matters which was sent to a device and is not answered, and when it came.
    fn unanswered(&self, device: &Device<S>) -> Option<(Importance, Duration)> {
        let pushes = device
            .in_flight
            .iter()
            .filter_map(|id| self.in_flight.get(id));
        pushes
            .filter(|push| push.epoch == Some(device.epoch))
            .map(|push| (push.about.importance, push.since))
            .reduce(|one, other| (one.0.max(other.0), one.1.max(other.1)))
    }

    /// A device was owed this before a restart. `place` is its place among the others: not all of
    /// them shall go out at once.
    pub fn restore(&mut self, now: Duration, owed: &Owed, place: usize) {
        let Due { user, identifier } = &owed.device;
        let key = self.device_key(user, identifier);
        if owed.age > self.options.retry_age && !owed.suspended {
            return;
        }
        let turn = u32::try_from(place).unwrap_or(u32::MAX) / self.options.recovery_rate.max(1);
        let (cause, longest) = if owed.suspended {
            (Cause::Suspension, suspension::LONGEST)
        } else {
            (Cause::Debt, self.options.retry_max)
        };
        let due_in = owed.due_in.min(longest);
        let due = now + due_in.max(Duration::from_secs(turn.into()));
        let device = self.device(now, key, user, identifier);
        if device.waiting.is_some() {
            return;
        }
        device.failing = device::Failing {
            attempts: owed.failures,
            since: now.saturating_sub(owed.failing_for),
            at: now,
            ..device::Failing::default()
        };
        let came = now.saturating_sub(owed.age);
        let mut waiting = Waiting::new(came, Until::Time(due), cause);
        waiting.add(came, About::nothing(owed.importance), None);
        device.waiting = Some(waiting);
        let mut until = Until::Time(due);
        if !owed.suspended {
            let jid = registering::service_of(identifier);
            let service = self.service_key(jid);
            self.services.remember(service, jid);
            until = match self.until_alive(now, service, key, Fault::Route) {
                Until::Service { service, place, .. } => Until::Service {
                    service,
                    place,
                    retry: Some(due),
                },
                _ => until,
            };
        }
        self.set_until(now, key, until, cause);
        self.measure(now, key);
        if let Until::Service { service, .. } = until {
            // The caller asks who is waited for once it has restored everything.
            self.services.watch(service);
        }
    }

    /// A push service was failing before a restart.
    pub fn restore_service(&mut self, now: Duration, failing: &FailingService) {
        let key = self.service_key(&failing.jid);
        self.services.restore(key, failing, now);
    }

    /// Forgets a registration that has ended.
    pub fn forget(&mut self, now: Duration, user: &str, identifier: &str) {
        let key = self.device_key(user, identifier);
        self.forget_device(now, key);
    }

    /// Forgets everything about a user.
    pub fn forget_user(&mut self, now: Duration, user: &str) {
        let own = |(key, device): (DeviceKey, &Device<S>)| (&*device.user == user).then_some(key);
        let devices: Vec<_> = self.devices.iter().filter_map(own).collect();
        for key in devices {
            self.forget_device(now, key);
        }
        self.former.pop(&self.key.hash_one(user));
    }

    /// The next moment at which [`Engine::expire`] has something to do.
    pub fn deadline(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// Serves the deadlines up to `now`; if there are very many, the first of them.
    pub fn expire(&mut self, now: Duration) -> Expired {
        let mut expired = Expired::default();
        for _ in 0..MAX_SERVED {
            let Some(timer) = self.timers.pop(now) else {
                break;
            };
            match timer {
                Timer::Answer(id) => {
                    let report = self.failed(now, id, Fault::Silence);
                    expired.unanswered.extend(report);
                }
                Timer::Waiting(key) => {
                    let device = self.devices.get(key);
                    let waiting = device.and_then(|device| device.waiting.as_ref());
                    if waiting.is_some_and(|waiting| waiting.is_due(now)) {
                        expired.due.extend(self.turn(now, key));
                    }
                }
                Timer::Probe(service) => {
                    if let Some(key) = self.services.take_probe(service, now) {
                        expired.due.extend(self.turn(now, key));
                    }
                }
                Timer::Helping(service) => {
                    let is_dead = self.services.is_dead(service, now);
                    for key in self.services.take_helping(service, now, &self.options) {
                        if let Some(device) = self.devices.get_mut(key) {
                            device.failing.released = true;
                        }
                        let due = self.turn(now, key);
                        if is_dead {
                            expired.given_up.extend(due);
                        } else {
                            expired.due.extend(due);
                        }
                    }
                    self.wake(service, now);
                }
            }
        }
        let Expired {
            unanswered,
            given_up,
            ..
        } = &mut expired;
        // A timeout has said so of some already.
        given_up.retain(|due| {
            !unanswered.iter().any(|report| {
                report.outcome == Outcome::Suspended && report.device.as_ref() == Some(due)
            })
        });
        expired
    }

    /// It is this device's turn.
    fn turn(&mut self, now: Duration, key: DeviceKey) -> Option<Due> {
        let waiting = self.devices.get(key)?.waiting.as_ref()?;
        let service = match waiting.until {
            Until::Service { service, .. } => Some(service),
            Until::Turn { service, .. } => service,
            Until::Time(_) | Until::Answer(_) | Until::Room => None,
        };
        if let Until::Turn { .. } = waiting.until {
            self.pass_turn(now, waiting.until);
        }
        let again = now + ANOTHER_TURN;
        let cause = self.devices.get(key)?.waiting.as_ref()?.cause;
        self.set_until(now, key, Until::Turn { service, again }, cause);
        self.due(key)
    }

    /// Should it have been a turn to probe a service, it is that of another device.
    fn pass_turn(&mut self, now: Duration, until: Until) {
        if let Until::Turn {
            service: Some(service),
            ..
        } = until
        {
            self.services.turn_is_over(service);
            self.wake(service, now);
        }
    }

    /// How many pushes wait for an answer.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// How many devices there are with something that waits.
    pub fn waiting(&self) -> usize {
        let devices = self.devices.iter();
        devices.filter(|(_, one)| one.waiting.is_some()).count()
    }

    /// The JIDs of the push services whose signs of life are waited for, and of no others.
    pub fn services_watched(&mut self) -> Vec<String> {
        self.services.watched()
    }

    /// The JIDs of the push services that are left alone because they failed.
    pub fn services_out(&self) -> Vec<String> {
        self.services.out()
    }

    /// How many push services there is something to be known of: a push under way, a failure.
    pub fn services(&self) -> usize {
        self.services.len()
    }

    /// Whether this is the id of a push that waits for its answer.
    pub fn is_in_flight(&self, id: &str) -> bool {
        id.parse().is_ok_and(|id| self.in_flight.contains_key(&id))
    }

    /// The registration's permanent errors in a row.
    pub fn errors(&self, user: &str, identifier: &str) -> u32 {
        self.devices
            .get(self.device_key(user, identifier))
            .map_or(0, |device| device.errors)
    }

    fn meet_all(
        &mut self,
        now: Duration,
        rule: Rule,
        account: &Account<'_>,
        met: Met<'_>,
    ) -> Vec<Decision> {
        (0..account.registrations.len())
            .map(|registration| Decision {
                registration,
                verdict: self.meet(now, rule, account, registration, met),
            })
            .collect()
    }

    /// The one path on which a stanza meets a registration, whatever the rule.
    fn meet(
        &mut self,
        now: Duration,
        rule: Rule,
        account: &Account<'_>,
        registration: usize,
        Met { facts, id, alias }: Met<'_>,
    ) -> Verdict {
        let registration = &account.registrations[registration];
        let importance = facts.importance;
        if let Some(end @ Call::Ends(_)) = facts.call {
            self.end_call(account.user, registration.identifier, end);
        }
        if !self.options.notify_on.wants(facts) {
            return Verdict::Silent(Silence::NotWanted);
        }
        let seen = account.of(registration);
        if let Some(silence) = rules::silence(rule, &seen, registration.identifier, facts) {
            return Verdict::Silent(silence);
        }
        let key = self.device_key(account.user, registration.identifier);
        let window = self.options.coalesce_window;
        let device = self.device(now, key, account.user, registration.identifier);
        let ids = recognised_by(id, facts);
        let returned = ids[1].filter(|_| facts.redelivered);
        if device.knows(id) || returned.is_some_and(|id| device.knows(id)) {
            return Verdict::Silent(Silence::AlreadyPushed);
        }
        if alias.is_some_and(|alias| device.knows(alias)) {
            device.pushed.add([Some(id), None]);
            return Verdict::Silent(Silence::AlreadyPushed);
        }
        let about = About {
            ids,
            importance,
            call: facts.call,
            receiver: rule.receiver(importance),
        };
        let wait = |wait, cause| {
            Verdict::Hold(Ticket {
                device: key,
                about,
                wait,
                cause,
            })
        };
        // A call does not wait for the next attempt.
        if let Some(owed) = device.waiting.as_ref().filter(|waiting| waiting.is_owed())
            && (importance < Importance::Urgent || registration.suspended.is_some())
        {
            return wait(Wait::Until(now), owed.cause);
        }
        if let Some(pause) = registration.suspended {
            return wait(Wait::Until(now + pause), Cause::Suspension);
        }
        let is_unacked = matches!(rule, Rule::Unacked { .. });
        if is_unacked {
            match device.pace(now, window, importance, registration.content) {
                Pace::Now => {}
                Pace::Later(due) => return wait(Wait::Until(due), Cause::Window),
                Pace::SpokenFor => {
                    device.pushed.add(ids);
                    self.measure(now, key);
                    return Verdict::Silent(Silence::SpokenFor);
                }
            }
        }
        if let Some((what, cause)) = self.obstacle(now, key, registration, account.user, importance)
        {
            return wait(what, cause);
        }
        let push = self.push(now, account.user, registration, about);
        let id = self.send(key, registration.jid, push);
        if let Some(device) = self.devices.get_mut(key) {
            device.pushed.add(ids);
        }
        // By whatever rule it rings, the device is waking.
        if is_unacked && importance >= Importance::Important || importance == Importance::Urgent {
            self.speak(key, now, id);
        }
        self.measure(now, key);
        Verdict::Push(id)
    }

    /// What is owed is reconsidered by what comes after it: a call that is over does not ring.
    fn end_call(&mut self, user: &str, identifier: &str, end: Call) {
        let Some(device) = self.devices.get_mut(self.device_key(user, identifier)) else {
            return;
        };
        if let Some(waiting) = &mut device.waiting {
            waiting.end_call(end);
        }
        for id in &device.in_flight {
            if let Some(push) = self.in_flight.get_mut(id)
                && push.about.end_call(end)
            {
                push.stanza = None;
            }
        }
    }

    /// What prevents that a push leaves for a device now, whatever it is for.
    fn obstacle(
        &mut self,
        now: Duration,
        key: DeviceKey,
        registration: &Registration<'_>,
        user: &str,
        importance: Importance,
    ) -> Option<(Wait, Cause)> {
        let service = self.service_key(registration.jid);
        let is_call = importance == Importance::Urgent;
        let per_minute = self.options.max_per_minute;
        let device = self.devices.get_mut(key)?;
        // Nothing that others have met with keeps a device from being pushed to.
        let at_once = is_call || device.failing.attempts == 0;
        if !self.services.admits(service, now, at_once) {
            return Some((Wait::SignOfLife(service), Cause::Debt));
        }
        if !device.in_flight.is_empty() {
            let user = self.key.hash_one(user);
            let of_user = self.users_in_flight.get(&user).copied().unwrap_or(0);
            let has_room = if is_call {
                of_user < 2 * MAX_IN_FLIGHT_OF_USER
            } else {
                of_user < MAX_IN_FLIGHT_OF_USER
                    && self.services.in_flight() < MAX_IN_FLIGHT
                    && self.services.in_flight_at(service) < self.options.max_in_flight
            };
            if !has_room {
                return Some((Wait::Room, Cause::Room));
            }
        }
        let due = device.meter.wait(now, per_minute, importance)?;
        Some((Wait::Until(due), Cause::Rate))
    }

    fn speak(&mut self, key: DeviceKey, now: Duration, by: PushId) {
        let until = now + self.options.coalesce_window;
        if let Some(device) = self.devices.get_mut(key) {
            device.spoke = Some(device::Spoke { at: now, until, by });
        }
    }

    /// A note to self goes into the archive twice, under two ids. Returns the first id when the
    /// second one is announced.
    fn first_copy(
        &mut self,
        now: Duration,
        account: &Account<'_>,
        facts: &Facts,
        id: StanzaId,
    ) -> Option<StanzaId> {
        if !facts.note_to_self {
            return None;
        }
        let user = self.key.hash_one(account.user);
        let first = self.echo.take().filter(|echo| {
            echo.account == user && echo.content == facts.content && now <= echo.at + ECHO
        });
        if first.is_none() {
            self.echo = Some(Echo {
                account: user,
                content: facts.content,
                id,
                at: now,
            });
        }
        first.map(|echo| echo.id)
    }

    fn push(
        &self,
        now: Duration,
        user: &str,
        registration: &Registration<'_>,
        about: About,
    ) -> InFlight<S> {
        InFlight {
            service: self.service_key(registration.jid),
            user: self.key.hash_one(user),
            epoch: None,
            generation: 0,
            since: now,
            sent: now,
            deadline: now + self.options.answer_timeout,
            content: registration.content,
            trial: registration.suspended.is_some(),
            about,
            stanza: None,
        }
    }

    /// Notes a push as sent and awaits its answer.
    fn send(&mut self, key: DeviceKey, jid: &str, mut push: InFlight<S>) -> PushId {
        let id = loop {
            let nonce = self.unique("push");
            let id = PushId { device: key, nonce };
            if !self.in_flight.contains_key(&id) {
                break id;
            }
        };
        let is_limited = self.options.max_per_minute > 0;
        if let Some(device) = self.devices.get_mut(key) {
            device.in_flight.push(id);
            if is_limited {
                device.meter.spend(push.sent);
            }
            push.epoch = Some(device.epoch);
            push.generation = device.generation;
        }
        *self.users_in_flight.entry(push.user).or_default() += 1;
        self.services.sent(push.service, jid, push.sent, id);
        self.timers.set(push.deadline, Timer::Answer(id));
        self.in_flight.insert(id, push);
        id
    }

    /// Sets the timer that those who wait for a service wait for.
    fn wake(&mut self, service: ServiceKey, now: Duration) {
        match self.services.next(service, now) {
            Next::Nothing => {}
            Next::Probe(at) => self.timers.set(at, Timer::Probe(service)),
            Next::Helping(at) => self.timers.set(at, Timer::Helping(service)),
        }
    }

    fn until(&mut self, now: Duration, key: DeviceKey, wait: Wait) -> Until {
        match wait {
            Wait::Until(due) => Until::Time(due),
            Wait::Room => Until::Room,
            Wait::SignOfLife(service) => self.until_alive(now, service, key, Fault::Route),
        }
    }

    /// Makes what waits for a device wait for this. The only place that leaves what it has waited for.
    fn set_until(&mut self, now: Duration, key: DeviceKey, until: Until, cause: Cause) {
        let Some(waiting) = self
            .devices
            .get_mut(key)
            .and_then(|device| device.waiting.as_mut())
        else {
            return;
        };
        let before = std::mem::replace(&mut waiting.until, until);
        waiting.cause = cause;
        if before != until {
            self.leave(key, before);
        }
        match until {
            Until::Time(due) => self.timers.set(due, Timer::Waiting(key)),
            Until::Turn { again, .. } => self.timers.set(again, Timer::Waiting(key)),
            Until::Service { service, retry, .. } => {
                if let Some(retry) = retry {
                    self.timers.set(retry, Timer::Waiting(key));
                }
                self.wake(service, now);
            }
            Until::Answer(_) | Until::Room => {}
        }
    }

    fn leave(&mut self, key: DeviceKey, until: Until) {
        match until {
            Until::Time(due) => self.timers.unset(due, Timer::Waiting(key)),
            Until::Turn { again, .. } => self.timers.unset(again, Timer::Waiting(key)),
            Until::Service {
                service,
                place,
                retry,
            } => {
                if let Some(retry) = retry {
                    self.timers.unset(retry, Timer::Waiting(key));
                }
                self.services.leave(service, place);
            }
            Until::Answer(_) | Until::Room => {}
        }
    }

    /// Nothing waits for the device any more: it knows, or learns otherwise.
    fn drop_waiting(&mut self, key: DeviceKey) {
        let waiting = self.leave_waiting(key);
        if let (Some(device), Some(waiting)) = (self.devices.get_mut(key), waiting) {
            device.pushed.append(waiting.ids);
            self.devices.measure(key);
        }
    }

    fn leave_waiting(&mut self, key: DeviceKey) -> Option<Waiting<S>> {
        let waiting = self.devices.get_mut(key)?.waiting.take()?;
        self.leave(key, waiting.until);
        Some(waiting)
    }

    /// What stood by for a push that has left for good need not be pushed.
    fn drop_standing_by(&mut self, id: PushId) {
        let device = self.devices.get(id.device);
        let waiting = device.and_then(|device| device.waiting.as_ref());
        if waiting.is_some_and(|waiting| waiting.is_standing_by_for(id)) {
            self.drop_waiting(id.device);
        }
    }

    fn forget_device(&mut self, now: Duration, key: DeviceKey) {
        let Some(device) = self.devices.remove(key) else {
            return;
        };
        if let Some(waiting) = device.waiting {
            self.leave(key, waiting.until);
            self.pass_turn(now, waiting.until);
        }
        // What is under way may still say something of the service, but no bound is exceeded by ending
        // registrations.
        let user = self.key.hash_one(&*device.user);
        if !device.meter.is_empty() {
            self.former
                .get_or_insert_mut(user, Meter::default)
                .absorb(now, &device.meter);
        }
        for id in device.in_flight {
            let of_user = self.users_in_flight.get(&user).copied().unwrap_or(0);
            if (of_user > 2 * MAX_IN_FLIGHT_OF_USER || self.services.is_full())
                && let Some(push) = self.take_in_flight(now, id)
            {
                self.wake(push.service, now);
            }
        }
    }

    fn due(&self, key: DeviceKey) -> Option<Due> {
        self.devices.get(key).map(Due::of)
    }

    fn device(
        &mut self,
        now: Duration,
        key: DeviceKey,
        user: &str,
        identifier: &str,
    ) -> &mut Device<S> {
        self.count += 1;
        let epoch = self.count;
        let (former, hasher) = (&mut self.former, &self.key);
        self.devices.get_or_insert(key, now, || Device {
            meter: former.pop(&hasher.hash_one(user)).unwrap_or_default(),
            ..Device::new(user, identifier, epoch)
        })
    }

    /// Takes note of how much is remembered of a device, and forgets others that there is no room for.
    fn measure(&mut self, now: Duration, key: DeviceKey) {
        self.devices.measure(key);
        let besides = self.services.bytes() + self.in_flight.len() * delivery::IN_FLIGHT;
        while let Some(key) = self.devices.surplus(now, besides) {
            self.forget_device(now, key);
        }
    }

    fn service_key(&self, jid: &str) -> ServiceKey {
        ServiceKey(self.key.hash_one(&*normalised(jid)))
    }

    fn device_key(&self, user: &str, identifier: &str) -> DeviceKey {
        DeviceKey(self.key.hash_one((user, identifier)))
    }

    /// A number that nobody outside can foresee.
    fn unique(&mut self, what: &str) -> u64 {
        self.count += 1;
        self.key.hash_one((what, self.count))
    }
}

impl Due {
    fn of<S>(device: &Device<S>) -> Self {
        Self {
            user: device.user.clone(),
            identifier: device.identifier.clone(),
        }
    }
}

/// A stanza without an id is found again by its content, but only when it comes back from storage:
/// people do write the same thing twice.
fn recognised_by(id: StanzaId, facts: &Facts) -> Ids {
    [Some(id), facts.content.filter(|_| facts.id.is_none())]
}

/// The JID of a push service as it stands on stanzas (RFC 7622). Stores may hold some that an older
/// version has not normalised.
pub fn normalised(jid: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    // A host name, as almost all of them are.
    if jid.len() < 254
        && jid
            .split('.')
            .all(|label| !label.is_empty() && label.len() < 64 && label.bytes().all(is_plain))
    {
        return Cow::Borrowed(jid);
    }
    Jid::new(jid).map_or(Cow::Borrowed(jid), |jid| Cow::Owned(jid.to_string()))
}

#[cfg(test)]
mod tests;
