//! The business rules, without I/O.
//!
//! The engine knows nothing of Lua, sockets, clocks or storage. Its caller
//!
//! 1. hands it what happens ([`Engine::unacked`], [`Engine::archived`], [`Engine::offline`],
//!    [`Engine::ping`], [`Engine::answered`]) with the current time and with what the account
//!    looks like at that moment ([`Account`]);
//! 2. carries out the [`Verdict`] on each registration: publishes for a [`Verdict::Push`],
//!    keeps the stanza for a [`Verdict::Hold`] and hands it over with [`Engine::hold`];
//! 3. says when a listener has vetoed a push ([`Engine::vetoed`]), when a device is back
//!    ([`Engine::back`]) and when a registration has ended ([`Engine::forget`]);
//! 4. calls [`Engine::expire`] at the time that [`Engine::deadline`] names, and
//!    [`Engine::release`] for each device that it returns.
//!
//! Time is a [`Duration`] since any fixed moment and never goes back. `S` is whatever the
//! caller needs to get hold of a stanza again that has to wait.
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
//!     registrations: &[Registration { identifier: "push.test<n1", jid: "push.test", content: false }],
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
mod options;
mod rate;
pub mod registering;
mod rules;
mod timers;

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;

pub use account::{Account, Connection, Registration, Session};
pub use delivery::{Answer, PushId, Report};
pub use options::{NotifyOn, Options};
pub use rules::{Rule, Silence};

use crate::stanza::{Facts, Importance, StanzaId};
use delivery::InFlight;
use device::{Device, DeviceKey, Held, Ids, Pace, Waiting};
use timers::{Timer, Timers};

/// How many devices are remembered. The one not pushed to for the longest time is forgotten
/// first: what it loses is its error count and the knowledge of what it was pushed for.
const MAX_DEVICES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(65_535);

/// How many pushes may wait for an answer. Beyond that the oldest counts as unanswered.
const MAX_IN_FLIGHT: usize = 65_536;

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
    ids: Ids,
    importance: Importance,
    due: Duration,
    metered: bool,
}

impl Ticket {
    /// How much the stanza matters.
    pub fn importance(&self) -> Importance {
        self.importance
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
    /// Devices whose push service has not answered in time.
    pub unanswered: Vec<Due>,
}

/// A push that waited and is to be published now.
#[derive(Debug, PartialEq, Eq)]
pub struct Released<S> {
    /// Its id.
    pub id: PushId,
    /// The stanza that it is for.
    pub stanza: S,
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
    key: RandomState,
    count: u64,
    devices: LruCache<DeviceKey, Device<S>>,
    in_flight: HashMap<PushId, InFlight>,
    timers: Timers,
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
    pub const MAX_HELD: usize = device::MAX_WAITING;

    /// An engine that has not seen anything yet.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            key: RandomState::new(),
            count: 0,
            devices: LruCache::sparse(MAX_DEVICES),
            in_flight: HashMap::new(),
            timers: Timers::default(),
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
    pub fn key(&self) -> &RandomState {
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
            Met {
                facts,
                id,
                alias: None,
            },
        )
    }

    /// Why rule (b) has no push for any registration, whatever the stanza, unless it is a call.
    /// `None` if it depends on the stanza.
    pub fn silent_unless_call(account: &Account<'_>) -> Option<Silence> {
        let mut reasons = account
            .registrations
            .iter()
            .map(|registration| rules::archived(account, registration.identifier));
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

    /// Rule (c): a stanza that goes to offline storage, or a groupchat message to the bare JID.
    pub fn offline(
        &mut self,
        now: Duration,
        account: &Account<'_>,
        facts: &Facts,
        id: StanzaId,
    ) -> Vec<Decision> {
        self.meet_all(
            now,
            Rule::Offline,
            account,
            Met {
                facts,
                id,
                alias: None,
            },
        )
    }

    /// A push without a stanza.
    pub fn ping(&mut self, now: Duration, account: &Account<'_>, registration: usize) -> PushId {
        let device = self.device_key(account.user, account.registrations[registration].identifier);
        self.device(device, account, registration);
        self.send(now, device, account.registrations[registration].jid, false)
    }

    /// Keeps a stanza that has to wait. At most [`Self::MAX_HELD`] of them are candidates for the
    /// push; for the others `stanza` need not be given.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a ticket is good for one stanza"
    )]
    pub fn hold(&mut self, now: Duration, ticket: Ticket, stanza: Option<S>) {
        let Some(device) = self.devices.get_mut(&ticket.device) else {
            return;
        };
        if let Some(spoken_for) = device.held.take_if(|held| held.due.is_none()) {
            device.pushed.extend(spoken_for.ids);
        }
        let held = device
            .held
            .get_or_insert_with(|| Held::new(now, ticket.due, ticket.metered));
        held.add(ticket.ids, ticket.importance, stanza);
        if let Some(due) = held.due {
            self.timers.set(due, Timer::Held(ticket.device));
        }
    }

    /// Publishes what waited for a device, unless the device has come back meanwhile or another
    /// push has spoken for it.
    pub fn release(
        &mut self,
        now: Duration,
        account: &Account<'_>,
        registration: usize,
    ) -> Option<Released<S>> {
        let Registration {
            identifier,
            jid,
            content,
        } = account.registrations[registration];
        let key = self.device_key(account.user, identifier);
        let device = self.devices.get_mut(&key)?;
        let mut held = device
            .held
            .take_if(|held| held.due.is_some_and(|due| due <= now))?;
        if account.is_online(identifier) {
            return None;
        }
        // A push cannot speak for content that only another one would bring.
        if device.spoke_since(held.since) && !(content && held.is_important()) {
            device.pushed.extend(held.ids);
            return None;
        }
        let Waiting {
            stanza,
            ids,
            importance,
        } = held.take_most_important()?;
        device.pushed.add(ids);
        if held.metered {
            device.bucket.spend(now, self.options.max_per_minute);
        }
        let id = self.send(now, key, jid, held.metered);
        if let Some(device) = self.devices.get_mut(&key) {
            held.stand_by(id);
            device.held = Some(held);
        }
        Some(Released {
            id,
            stanza,
            importance,
        })
    }

    /// The device is back: its session was resumed, or a new one has been attached. What waited
    /// for it has been received, and need not be pushed any more.
    pub fn back(&mut self, user: &str, identifier: &str) {
        let key = self.device_key(user, identifier);
        let Some(device) = self.devices.get_mut(&key) else {
            return;
        };
        device.spoke = None;
        if let Some(held) = device.held.take() {
            device.pushed.extend(held.ids);
            if let Some(due) = held.due {
                self.timers.unset(due, Timer::Held(key));
            }
        }
    }

    /// The registration was enabled, perhaps again: its errors are forgiven, and its device is
    /// there. What it was pushed for stays known.
    pub fn enabled(&mut self, user: &str, identifier: &str) {
        self.back(user, identifier);
        let key = self.device_key(user, identifier);
        if let Some(device) = self.devices.get_mut(&key) {
            device.errors = 0;
        }
    }

    /// A listener has vetoed this push: it never left, and speaks for nothing.
    pub fn vetoed(&mut self, now: Duration, id: PushId) {
        let Some(InFlight {
            device: key,
            metered,
            deadline,
            ..
        }) = self.in_flight.remove(&id)
        else {
            return;
        };
        self.timers.unset(deadline, Timer::Answer(id));
        let Some(device) = self.devices.get_mut(&key) else {
            return;
        };
        device.spoke.take_if(|spoke| spoke.by == id);
        if metered {
            device.bucket.refund();
        }
        // The next candidate has its turn. Without one, the rest may be met again.
        device
            .held
            .take_if(|held| held.is_standing_by_for(id) && held.is_empty());
        if let Some(held) = device
            .held
            .as_mut()
            .filter(|held| held.is_standing_by_for(id))
        {
            held.due = Some(now);
            self.timers.set(now, Timer::Held(key));
        }
    }

    /// Forgets a registration that has ended.
    pub fn forget(&mut self, user: &str, identifier: &str) {
        let key = self.device_key(user, identifier);
        self.forget_device(key);
    }

    /// Forgets everything about a user.
    pub fn forget_user(&mut self, user: &str) {
        let devices: Vec<_> = self
            .devices
            .iter()
            .filter(|(_, device)| &*device.user == user)
            .map(|(key, _)| *key)
            .collect();
        for key in devices {
            self.forget_device(key);
        }
    }

    /// The next moment at which [`Engine::expire`] has something to do.
    pub fn deadline(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// Serves every deadline up to `now`.
    pub fn expire(&mut self, now: Duration) -> Expired {
        let mut expired = Expired::default();
        while let Some(timer) = self.timers.pop(now) {
            match timer {
                Timer::Answer(id) => {
                    if let Some(push) = self.take_in_flight(id) {
                        expired.unanswered.extend(self.due(push.device));
                    }
                }
                Timer::Held(key) => expired.due.extend(self.due(key)),
            }
        }
        expired
    }

    /// How many pushes wait for an answer.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether this is the id of a push that waits for its answer.
    pub fn is_in_flight(&self, id: &str) -> bool {
        id.parse().is_ok_and(|id| self.in_flight.contains_key(&id))
    }

    /// The registration's permanent errors in a row.
    pub fn errors(&self, user: &str, identifier: &str) -> u32 {
        self.devices
            .peek(&self.device_key(user, identifier))
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
        let Registration {
            identifier,
            jid,
            content,
        } = account.registrations[registration];
        if !self.options.notify_on.wants(facts) {
            return Verdict::Silent(Silence::NotWanted);
        }
        if let Some(silence) = rules::silence(rule, account, identifier, facts) {
            return Verdict::Silent(silence);
        }
        let Options {
            coalesce_window,
            max_per_minute,
            ..
        } = self.options;
        let key = self.device_key(account.user, identifier);
        let device = self.device(key, account, registration);
        // A stanza without an id is found again by its content, but only when it comes
        // back from storage: people do write the same thing twice.
        let content_id = facts.content.filter(|_| facts.id.is_none());
        let returned = content_id.filter(|_| facts.redelivered);
        let ids = [Some(id), content_id];
        if device.knows(id) || returned.is_some_and(|id| device.knows(id)) {
            return Verdict::Silent(Silence::AlreadyPushed);
        }
        if alias.is_some_and(|alias| device.knows(alias)) {
            device.pushed.add([Some(id), None]);
            return Verdict::Silent(Silence::AlreadyPushed);
        }
        let metered = !matches!(rule, Rule::Unacked { .. });
        let pace = if metered {
            device.bucket.pace(now, max_per_minute, facts.importance)
        } else {
            device.pace(now, coalesce_window, facts.importance, content)
        };
        match pace {
            Pace::Later(due) => Verdict::Hold(Ticket {
                device: key,
                ids,
                importance: facts.importance,
                due,
                metered,
            }),
            Pace::SpokenFor => {
                device.pushed.add(ids);
                Verdict::Silent(Silence::SpokenFor)
            }
            Pace::Now => {
                device.pushed.add(ids);
                let push = self.send(now, key, jid, metered);
                if !metered && facts.importance >= Importance::Important {
                    self.speak(key, now, push);
                }
                Verdict::Push(push)
            }
        }
    }

    fn speak(&mut self, key: DeviceKey, now: Duration, by: PushId) {
        let until = now + self.options.coalesce_window;
        if let Some(device) = self.devices.get_mut(&key) {
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

    /// Notes a push as sent and awaits its answer.
    fn send(&mut self, now: Duration, device: DeviceKey, jid: &str, metered: bool) -> PushId {
        let id = loop {
            let id = PushId(self.unique("push"));
            if !self.in_flight.contains_key(&id) {
                break id;
            }
        };
        if self.in_flight.len() >= MAX_IN_FLIGHT
            && let Some(oldest) = self.timers.first_answer()
        {
            self.take_in_flight(oldest);
        }
        let deadline = now + self.options.answer_timeout;
        self.in_flight.insert(
            id,
            InFlight {
                device,
                jid: jid.into(),
                metered,
                deadline,
            },
        );
        self.timers.set(deadline, Timer::Answer(id));
        id
    }

    /// The push is not awaited any more, and what stood by for it need not.
    fn take_in_flight(&mut self, id: PushId) -> Option<InFlight> {
        let push = self.in_flight.remove(&id)?;
        self.timers.unset(push.deadline, Timer::Answer(id));
        if let Some(device) = self.devices.peek_mut(&push.device) {
            let spoken_for = device.held.take_if(|held| held.is_standing_by_for(id));
            device
                .pushed
                .extend(spoken_for.into_iter().flat_map(|held| held.ids));
        }
        Some(push)
    }

    fn forget_device(&mut self, key: DeviceKey) {
        if let Some(device) = self.devices.pop(&key)
            && let Some(due) = device.held.and_then(|held| held.due)
        {
            self.timers.unset(due, Timer::Held(key));
        }
    }

    fn due(&self, key: DeviceKey) -> Option<Due> {
        self.devices.peek(&key).map(|device| Due {
            user: device.user.clone(),
            identifier: device.identifier.clone(),
        })
    }

    fn device(
        &mut self,
        key: DeviceKey,
        account: &Account<'_>,
        registration: usize,
    ) -> &mut Device<S> {
        self.devices.get_or_insert_mut(key, || {
            Device::new(account.user, account.registrations[registration].identifier)
        })
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

#[cfg(test)]
mod tests;
